//! `SORT`: the elements of a list in order, possibly through other keys.
//!
//! The other keys come of patterns, so no table can name them: with `BY` or `GET` the command sees every shard. What is
//! stored is logged as the list that came of it.

use std::cmp::Ordering;

use super::arguments::{integer, is};
use super::entry::{Access, Categories, Command, Flags, Group, KeySpec};
use super::permission::may_read_every_key;
use super::{Context, Outcome, table};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::{Type, Value};
use crate::resp::Args;

/// What `SORT` is told besides the key.
#[derive(Default)]
struct Order<'a> {
    /// The pattern of keys that hold the weights.
    by: Option<&'a [u8]>,
    /// Elements stay as they are: of one pattern at least all would have the same weight.
    in_order: bool,
    /// The patterns of what is returned in place of the elements.
    get: Vec<&'a [u8]>,
    /// Offset and count.
    limit: Option<(i64, i64)>,
    descending: bool,
    alphabetical: bool,
    store: Option<&'a [u8]>,
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]`
fn sort(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    answer(cx, args, true)
}

/// `SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]`
fn sort_ro(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    answer(cx, args, false)
}

fn answer(cx: &mut Context<'_>, args: Args<'_>, may_store: bool) -> Result<Outcome, Error> {
    let row = table().get(&args[0]).expect("it is being run");
    let may_look_up = may_read_every_key(cx.server, &mut cx.session.identity, row, args);
    let order = order(args, may_store, may_look_up)?;
    let elements = match cx.keys.get(&args[1]) {
        None => {
            // Of `SORT_RO`, which only reads, it follows from the reply.
            if may_store {
                cx.notify_miss(&args[1]);
            }
            Vec::new()
        }
        Some(Value::List(list)) => list.iter().map(<[u8]>::to_vec).collect(),
        Some(_) => return Err(Error::WRONG_TYPE),
    };
    let sorted = arrange(cx, elements, &order)?;
    let shown: Vec<Option<Vec<u8>>> = if order.get.is_empty() {
        sorted.into_iter().map(Some).collect()
    } else {
        let mut shown = Vec::with_capacity(sorted.len() * order.get.len());
        for element in sorted {
            shown.extend(order.get.iter().map(|pattern| look_up(cx, pattern, &element)));
        }
        shown
    };
    if let Some(destination) = order.store {
        return store(cx, destination, shown);
    }
    let replied = cx.reply.array(shown.len());
    for element in shown {
        cx.reply.optional(element);
    }
    Ok(replied.into())
}

/// Whoever may not read every key may not have any looked up.
fn order(args: Args<'_>, may_store: bool, may_look_up: bool) -> Result<Order<'_>, Error> {
    const NO_BY: Error = Error::new("ERR BY option of SORT denied due to insufficient ACL permissions.");
    const NO_GET: Error = Error::new("ERR GET option of SORT denied due to insufficient ACL permissions.");
    let mut order = Order::default();
    let mut options = args.tail(2).iter();
    while let Some(option) = options.next() {
        match option {
            _ if is(option, "ASC") => order.descending = false,
            _ if is(option, "DESC") => order.descending = true,
            _ if is(option, "ALPHA") => order.alphabetical = true,
            _ if is(option, "LIMIT") && options.len() >= 2 => {
                let mut number = || integer(options.next().expect("there are two"));
                order.limit = Some((number()?, number()?));
            }
            _ if is(option, "STORE") && may_store && options.len() > 0 => order.store = options.next(),
            _ if is(option, "BY") && options.len() > 0 => {
                order.by = options.next();
                let varies = order.by.is_some_and(|pattern| pattern.contains(&b'*'));
                if !may_look_up && varies {
                    return Err(NO_BY);
                }
                order.in_order |= !varies;
            }
            _ if is(option, "GET") && options.len() > 0 && !may_look_up => return Err(NO_GET),
            _ if is(option, "GET") && options.len() > 0 => order.get.extend(options.next()),
            _ => return Err(Error::SYNTAX),
        }
    }
    Ok(order)
}

/// The elements that are asked for, in order.
fn arrange(
    cx: &mut Context<'_>,
    mut elements: Vec<Vec<u8>>,
    order: &Order<'_>,
) -> Result<Vec<Vec<u8>>, Error> {
    if order.in_order {
        if order.descending {
            elements.reverse();
        }
    } else {
        let direct = |ordering: Ordering| if order.descending { ordering.reverse() } else { ordering };
        let weigh = |element: Vec<u8>| match order.by {
            Some(pattern) => (look_up(cx, pattern, &element), element),
            None => (Some(element.clone()), element),
        };
        let mut weighed: Vec<(Option<Vec<u8>>, Vec<u8>)> = elements.into_iter().map(weigh).collect();
        if order.alphabetical {
            weighed.sort_by(|one, other| direct(one.0.cmp(&other.0)));
            elements = weighed.into_iter().map(|(_, element)| element).collect();
        } else {
            let number =
                |(text, it): (Option<Vec<u8>>, _)| Ok((text.map_or(Ok(0.0), |text| score(&text))?, it));
            let mut numbered: Vec<(f64, Vec<u8>)> =
                weighed.into_iter().map(number).collect::<Result<_, Error>>()?;
            // Elements of equal weight have an order as well, or the answer would not be the same twice.
            numbered
                .sort_by(|one, other| direct(one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1))));
            elements = numbered.into_iter().map(|(_, element)| element).collect();
        }
    }
    if let Some((offset, count)) = order.limit {
        let offset = usize::try_from(offset.max(0)).unwrap_or(usize::MAX).min(elements.len());
        elements.drain(..offset);
        if let Ok(count) = usize::try_from(count) {
            elements.truncate(count);
        }
    }
    Ok(elements)
}

fn score(text: &[u8]) -> Result<f64, Error> {
    const NO_SCORE: Error = Error::new("ERR One or more scores can't be converted into double");
    let text = std::str::from_utf8(text).map_err(|_| NO_SCORE)?;
    if text.is_empty() {
        return Ok(0.0);
    }
    // Adding zero makes one zero of the two.
    text.parse::<f64>().ok().filter(|score| !score.is_nan()).map(|score| score + 0.0).ok_or(NO_SCORE)
}

/// What a pattern means for an element: `#` is the element itself, else the string under the key that the pattern
/// becomes with the element in place of its first `*`. A field of a hash (`*->field`) is never there.
fn look_up(cx: &mut Context<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = pattern.iter().position(|byte| *byte == b'*')?;
    let (before, after) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = after.windows(2).position(|two| two == b"->").filter(|at| at + 2 < after.len());
    let key = [before, element, &after[..arrow.unwrap_or(after.len())]].concat();
    match cx.keys.get(&key) {
        Some(Value::String(text)) if arrow.is_none() => Some(text.bytes.clone()),
        Some(_) => None,
        None => {
            cx.notify_miss(&key);
            None
        }
    }
}

/// Makes a list of what was found.
fn store(cx: &mut Context<'_>, destination: &[u8], found: Vec<Option<Vec<u8>>>) -> Result<Outcome, Error> {
    let before = cx.before(destination);
    let existed = cx.keys.remove(destination).is_some();
    if existed {
        cx.log(&[b"DEL", destination]);
    }
    let elements: Vec<Vec<u8>> = found.into_iter().map(Option::unwrap_or_default).collect();
    if !elements.is_empty() {
        let list = cx.keys.list_or_new(destination)?;
        elements.iter().for_each(|element| list.push_back(element));
        let mut record: Vec<&[u8]> = vec![b"RPUSH", destination];
        record.extend(elements.iter().map(Vec::as_slice));
        cx.log(&record);
        cx.notify_new(before, destination);
        cx.notify_overwritten(before, Type::List, destination);
        cx.notify(KeyspaceEvents::LIST, "sortstore", destination);
    } else if existed {
        cx.notify_del(destination);
    }
    Ok(cx.reply.count(elements.len()).into())
}

/// Where the key stands that `STORE` names: the last one counts.
fn destination(args: Args<'_>) -> Option<usize> {
    let mut found = None;
    let mut at = 2;
    while at < args.len() {
        let option = &args[at];
        at += match option {
            _ if is(option, "LIMIT") => 3,
            _ if is(option, "BY") || is(option, "GET") => 2,
            _ if is(option, "STORE") && at + 1 < args.len() => {
                found = Some(at + 1);
                2
            }
            _ => 1,
        };
    }
    found
}

/// `BY` and `GET` name no keys, but patterns.
fn nothing(_: Args<'_>) -> Option<usize> {
    None
}

const SORT: Command = Command {
    arity: -2,
    categories: Categories::SORTABLE,
    group: Group::Generic,
    complexity: "O(N+M*log(M)) where N is the number of elements and M the number of returned ones",
    ..Command::DEFAULT
};

const READ: KeySpec = KeySpec::first(Access::RO.union(Access::ACCESS));
const PATTERNS: KeySpec = KeySpec::unknown(nothing, Access::RO.union(Access::ACCESS));

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLEKEYS).union(Flags::WHOLE),
        categories: SORT.categories.union(Categories::DANGEROUS),
        keys: &[READ, PATTERNS, KeySpec::unknown(destination, Access::OW.union(Access::UPDATE))],
        summary: "Returns the elements of a list in order, or stores them.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]",
        handler: sort,
        ..SORT
    },
    Command {
        name: "sort_ro",
        since: "7.0.0",
        flags: Flags::READONLY.union(Flags::MOVABLEKEYS).union(Flags::WHOLE),
        categories: SORT.categories.union(Categories::DANGEROUS),
        keys: &[READ, PATTERNS],
        summary: "Returns the elements of a list in order.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        handler: sort_ro,
        ..SORT
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedArgs;

    #[test]
    fn the_destination_is_what_the_last_store_names() {
        for (request, expected) in [
            ("SORT k", None),
            ("SORT k STORE", None),
            ("SORT k STORE d", Some(3)),
            ("SORT k BY STORE d", None),
            ("SORT k BY store GET store STORE store", Some(7)),
            ("SORT k STORE a LIMIT 0 STORE store b", Some(8)),
            ("SORT k STORE a STORE b", Some(5)),
        ] {
            let args: OwnedArgs = request.split(' ').collect();
            assert_eq!(destination(args.as_args()), expected, "{request}");
        }
    }

    #[test]
    fn scores_are_read_as_redis_reads_them() {
        for (text, value) in
            [("", 0.0), (".5", 0.5), ("-0", 0.0), ("+2", 2.0), ("1e3", 1000.0), ("inf", f64::INFINITY)]
        {
            assert_eq!(score(text.as_bytes()), Ok(value), "{text}");
        }
        for text in ["x", "1x", " 1", "1 ", "nan"] {
            assert!(score(text.as_bytes()).is_err(), "{text}");
        }
    }
}
