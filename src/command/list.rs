//! Lists: queues that are pushed to at one end and popped from the other.
//!
//! Blocking commands are their plain twins with one more ending: where the twin finds nothing, they wait. Being
//! woken runs them again from the start, so there is no second code path for elements that come later.

use super::arguments::{integer, is, non_negative, timeout_seconds};
use super::entry::{Access, Command, Flags, Group, KeySpec};
use super::notice::Before;
use super::{Condition, Context, Outcome, Wait};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::list::{List, Where};
use crate::number;
use crate::resp::{Args, Reply};

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

impl End {
    fn parse(arg: &[u8]) -> Result<End, Error> {
        match () {
            () if is(arg, "LEFT") => Ok(End::Left),
            () if is(arg, "RIGHT") => Ok(End::Right),
            () => Err(Error::SYNTAX),
        }
    }

    fn word(self) -> &'static [u8] {
        match self {
            End::Left => b"LEFT",
            End::Right => b"RIGHT",
        }
    }

    /// The command that pops from this end, as it is logged.
    fn pop_command(self) -> &'static [u8] {
        match self {
            End::Left => b"LPOP",
            End::Right => b"RPOP",
        }
    }

    fn push_command(self) -> &'static [u8] {
        match self {
            End::Left => b"LPUSH",
            End::Right => b"RPUSH",
        }
    }

    /// The event of a pop from this end.
    fn pop_event(self) -> &'static str {
        match self {
            End::Left => "lpop",
            End::Right => "rpop",
        }
    }

    fn push_event(self) -> &'static str {
        match self {
            End::Left => "lpush",
            End::Right => "rpush",
        }
    }

    fn peek(self, list: &List) -> Option<&[u8]> {
        match self {
            End::Left => list.front(),
            End::Right => list.back(),
        }
    }

    fn drop(self, list: &mut List) {
        match self {
            End::Left => list.drop_front(),
            End::Right => list.drop_back(),
        };
    }

    fn push(self, list: &mut List, element: &[u8]) {
        match self {
            End::Left => list.push_front(element),
            End::Right => list.push_back(element),
        }
    }
}

fn lpush(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    push(cx, args, End::Left)
}

fn rpush(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    push(cx, args, End::Right)
}

fn push(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Result<Outcome, Error> {
    let before = cx.before(&args[1]);
    let list = cx.keys.list_or_new(&args[1])?;
    let len = push_all(list, args, end);
    cx.log_request(args);
    cx.notify_new(before, &args[1]);
    cx.notify(KeyspaceEvents::LIST, end.push_event(), &args[1]);
    Ok(cx.reply.count(len).into())
}

fn lpushx(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    push_existing(cx, args, End::Left)
}

fn rpushx(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    push_existing(cx, args, End::Right)
}

fn push_existing(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Result<Outcome, Error> {
    let Some(list) = cx.keys.list_mut(&args[1])? else { return Ok(cx.reply.integer(0).into()) };
    let len = push_all(list, args, end);
    cx.log_request(args);
    cx.notify(KeyspaceEvents::LIST, end.push_event(), &args[1]);
    Ok(cx.reply.count(len).into())
}

fn push_all(list: &mut List, args: Args<'_>, end: End) -> usize {
    for element in args.tail(2).iter() {
        end.push(list, element);
    }
    list.len()
}

fn lpop(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    pop(cx, args, End::Left)
}

fn rpop(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    pop(cx, args, End::Right)
}

fn pop(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Result<Outcome, Error> {
    if args.len() > 3 {
        return Err(Error::arity(if end == End::Left { "lpop" } else { "rpop" }));
    }
    let key = &args[1];
    let Some(count) = args.get(2) else {
        return match pop_one(cx, key, end, |_| ())? {
            true => Ok(Outcome::Reply),
            false => Ok(cx.reply.null().into()),
        };
    };
    let count = non_negative(count)?;
    match pop_many(cx, key, end, count, |_| ())? {
        true => Ok(Outcome::Reply),
        false => Ok(cx.reply.null_array().into()),
    }
}

/// Pops an element and answers it, after what `announce` has to say. Returns whether there was a list.
fn pop_one(
    cx: &mut Context<'_>,
    key: &[u8],
    end: End,
    announce: impl FnOnce(&mut Reply),
) -> Result<bool, Error> {
    let Some(list) = cx.keys.list_mut(key)? else { return Ok(false) };
    announce(cx.reply);
    cx.reply.optional(end.peek(list));
    end.drop(list);
    let emptied = list.is_empty();
    if emptied {
        cx.keys.remove(key);
    }
    cx.log(&[end.pop_command(), key]);
    notify_removal(cx, end.pop_event(), key, emptied);
    Ok(true)
}

/// Says that elements were removed, and the key with the last of them.
fn notify_removal(cx: &mut Context<'_>, event: &str, key: &[u8], emptied: bool) {
    cx.notify(KeyspaceEvents::LIST, event, key);
    if emptied {
        cx.notify_del(key);
    }
}

/// Pops up to `count` elements and answers them as an array, after what `announce` has to say. Returns whether
/// there was a list.
fn pop_many(
    cx: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: usize,
    announce: impl FnOnce(&mut Reply),
) -> Result<bool, Error> {
    let Some(list) = cx.keys.list_mut(key)? else { return Ok(false) };
    announce(cx.reply);
    let popped = count.min(list.len());
    let kept = list.len() - popped;
    cx.reply.array(popped);
    match end {
        End::Left => {
            list.range(0..popped).for_each(|element| _ = cx.reply.bulk(element));
            list.trim(popped..usize::MAX);
        }
        End::Right => {
            list.range(kept..usize::MAX).rev().for_each(|element| _ = cx.reply.bulk(element));
            list.trim(0..kept);
        }
    }
    if kept == 0 {
        cx.keys.remove(key);
    }
    if popped > 0 {
        let mut number = itoa::Buffer::new();
        cx.log(&[end.pop_command(), key, number.format(popped).as_bytes()]);
        notify_removal(cx, end.pop_event(), key, kept == 0);
    }
    Ok(true)
}

/// What a pop from one of several lists says first: which list it was.
fn announce(key: &[u8]) -> impl FnOnce(&mut Reply) {
    move |reply| {
        reply.array(2);
        reply.bulk(key);
    }
}

fn llen(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let len = cx.keys.list(&args[1])?.map_or(0, List::len);
    Ok(cx.reply.count(len).into())
}

fn lindex(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let Some(list) = cx.keys.list(&args[1])? else { return Ok(cx.reply.null().into()) };
    let index = integer(&args[2])?;
    let element = place(index, list.len()).and_then(|at| list.get(at));
    Ok(cx.reply.optional(element).into())
}

fn lset(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let list = cx.keys.list_mut(&args[1])?.ok_or(Error::NO_SUCH_KEY)?;
    let index = integer(&args[2])?;
    let at = place(index, list.len()).ok_or(Error::INDEX_OUT_OF_RANGE)?;
    list.set(at, &args[3]);
    cx.log_request(args);
    cx.notify(KeyspaceEvents::LIST, "lset", &args[1]);
    Ok(cx.reply.ok().into())
}

fn linsert(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let side = match () {
        () if is(&args[2], "BEFORE") => Where::Before,
        () if is(&args[2], "AFTER") => Where::After,
        () => return Err(Error::SYNTAX),
    };
    let Some(list) = cx.keys.list_mut(&args[1])? else { return Ok(cx.reply.integer(0).into()) };
    match list.insert(side, &args[3], &args[4]) {
        None => Ok(cx.reply.integer(-1).into()),
        Some(len) => {
            cx.log_request(args);
            cx.notify(KeyspaceEvents::LIST, "linsert", &args[1]);
            Ok(cx.reply.count(len).into())
        }
    }
}

fn lrange(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    let Some(list) = cx.keys.list(&args[1])? else { return Ok(cx.reply.array(0).into()) };
    let range = span(start, stop, list.len());
    cx.reply.array(range.len());
    for element in list.range(range) {
        cx.reply.bulk(element);
    }
    Ok(Outcome::Reply)
}

fn ltrim(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    let Some(list) = cx.keys.list_mut(&args[1])? else { return Ok(cx.reply.ok().into()) };
    let before = list.len();
    let range = span(start, stop, before);
    let emptied = range.is_empty();
    if emptied {
        cx.keys.remove(&args[1]);
        cx.log(&[b"DEL", &args[1]]);
    } else if range.len() < before {
        list.trim(range);
        cx.log_request(args);
    }
    notify_removal(cx, "ltrim", &args[1], emptied);
    Ok(cx.reply.ok().into())
}

fn lrem(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let count = with_opposite(&args[2])?;
    let Some(list) = cx.keys.list_mut(&args[1])? else { return Ok(cx.reply.integer(0).into()) };
    let removed = list.remove_matching(count, &args[3]);
    let emptied = list.is_empty();
    if emptied {
        cx.keys.remove(&args[1]);
    }
    if removed > 0 {
        cx.log_request(args);
        notify_removal(cx, "lrem", &args[1], emptied);
    }
    Ok(cx.reply.count(removed).into())
}

fn lpos(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let (mut rank, mut count, mut max_len) = (1, None, 0);
    let mut options = args.tail(3).iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(Error::SYNTAX)?;
        match () {
            () if is(option, "RANK") => rank = parse_rank(value)?,
            () if is(option, "COUNT") => {
                count = Some(parse_length(value, Error::new("ERR COUNT can't be negative"))?);
            }
            () if is(option, "MAXLEN") => {
                max_len = parse_length(value, Error::new("ERR MAXLEN can't be negative"))?;
            }
            () => return Err(Error::SYNTAX),
        }
    }
    let list = cx.keys.list(&args[1])?;
    // Zero means no limit, for both.
    let most = count.map(|count| if count == 0 { usize::MAX } else { count });
    let max_len = if max_len == 0 { usize::MAX } else { max_len };
    let matches = list.map(|list| list.positions(&args[2], rank, max_len));
    let found: Vec<usize> = matches.into_iter().flatten().take(most.unwrap_or(1)).collect();
    match (count, found.first()) {
        (None, None) => Ok(cx.reply.null().into()),
        (None, Some(at)) => Ok(cx.reply.count(*at).into()),
        (Some(_), _) => {
            cx.reply.array(found.len());
            for at in found {
                cx.reply.count(at);
            }
            Ok(Outcome::Reply)
        }
    }
}

fn parse_rank(arg: &[u8]) -> Result<i64, Error> {
    match with_opposite(arg)? {
        0 => Err(Error::new(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
             or use negative to start from the end of the list",
        )),
        rank => Ok(rank),
    }
}

/// An integer whose sign is a direction: the least one has no opposite.
fn with_opposite(arg: &[u8]) -> Result<i64, Error> {
    match integer(arg)? {
        i64::MIN => Err(Error::new(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        number => Ok(number),
    }
}

fn parse_length(arg: &[u8], error: Error) -> Result<usize, Error> {
    number::integer(arg).and_then(|length| usize::try_from(length).ok()).ok_or(error)
}

fn lmove(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let ends = (End::parse(&args[3])?, End::parse(&args[4])?);
    move_one(cx, args, ends, None)
}

fn rpoplpush(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    move_one(cx, args, (End::Right, End::Left), None)
}

fn blmove(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let ends = (End::parse(&args[3])?, End::parse(&args[4])?);
    let timeout = timeout_seconds(&args[5])?;
    move_one(cx, args, ends, Some(timeout))
}

fn brpoplpush(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let timeout = timeout_seconds(&args[3])?;
    move_one(cx, args, (End::Right, End::Left), Some(timeout))
}

/// Moves an element from one list to another, or waits for one if there is a `timeout` to wait for.
fn move_one(
    cx: &mut Context<'_>,
    args: Args<'_>,
    (from, to): (End, End),
    timeout: Option<Option<u64>>,
) -> Result<Outcome, Error> {
    let (source, destination) = (&args[1], &args[2]);
    let Some(list) = cx.keys.list(source)? else {
        return match timeout {
            Some(timeout_ms) if cx.may_block => Ok(wait([source], timeout_ms)),
            _ => Ok(cx.reply.null().into()),
        };
    };
    cx.keys.list(destination)?;
    let element = from.peek(list).unwrap_or_default().to_vec();
    let before = cx.before(destination);
    relocate(cx, source, destination, from, |list| to.push(list, &element))?;
    cx.log(&[b"LMOVE", source, destination, from.word(), to.word()]);
    notify_move(cx, source, destination, (from, to), before);
    Ok(cx.reply.bulk(element).into())
}

/// Says that elements were pushed to one list and, in this order, popped from another, or from the same.
fn notify_move(
    cx: &mut Context<'_>,
    source: &[u8],
    destination: &[u8],
    (from, to): (End, End),
    before: Before,
) {
    cx.notify_new(before, destination);
    cx.notify(KeyspaceEvents::LIST, to.push_event(), destination);
    let emptied = !cx.events.is_empty() && !cx.keys.contains(source);
    notify_removal(cx, from.pop_event(), source, emptied);
}

/// Drops an element of the source and lets `push` add it to the destination.
fn relocate(
    cx: &mut Context<'_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    push: impl FnOnce(&mut List),
) -> Result<(), Error> {
    if let Some(list) = cx.keys.list_mut(source)? {
        from.drop(list);
        if list.is_empty() && source != destination {
            cx.keys.remove(source);
        }
    }
    push(cx.keys.list_or_new(destination)?);
    Ok(())
}

fn lmovem(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let block = Block::parse(args, 5)?;
    move_block(cx, args, &block, None)
}

fn blmovem(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let block = Block::parse(args, 6)?;
    let timeout = timeout_seconds(&args[5])?;
    move_block(cx, args, &block, Some(timeout))
}

/// What `LMOVEM` moves and how.
#[derive(Debug)]
struct Block {
    from: End,
    to: End,
    count: usize,
    /// All of them or nothing.
    exactly: bool,
    /// Popped and pushed one by one, so that from one end to the same end their order turns round.
    one_by_one: bool,
}

impl Block {
    fn parse(args: Args<'_>, options: usize) -> Result<Block, Error> {
        let (from, to) = (End::parse(&args[3])?, End::parse(&args[4])?);
        if args.len() == options {
            return Ok(Block { from, to, count: 1, exactly: false, one_by_one: true });
        }
        if args.len() != options + 3 {
            return Err(Error::SYNTAX);
        }
        let exactly = match &args[options] {
            word if is(word, "COUNT") => false,
            word if is(word, "EXACTLY") => true,
            _ => return Err(Error::SYNTAX),
        };
        let count = parse_count(&args[options + 1])?;
        let one_by_one = match &args[options + 2] {
            word if is(word, "OBO") => true,
            word if is(word, "BULK") => false,
            _ => return Err(Error::SYNTAX),
        };
        Ok(Block { from, to, count, exactly, one_by_one })
    }
}

/// Moves several elements from one list to another, or waits for them if there is a `timeout` to wait for.
fn move_block(
    cx: &mut Context<'_>,
    args: Args<'_>,
    block: &Block,
    timeout: Option<Option<u64>>,
) -> Result<Outcome, Error> {
    let (source, destination) = (&args[1], &args[2]);
    let available = cx.keys.list(source)?.map_or(0, List::len);
    if available == 0 || (block.exactly && available < block.count) {
        return match timeout {
            Some(timeout_ms) if cx.may_block => Ok(wait([source], timeout_ms)),
            _ => Ok(cx.reply.null_array().into()),
        };
    }
    cx.keys.list(destination)?;
    let before = cx.before(destination);
    let count = block.count.min(available);
    let mut elements = Vec::with_capacity(count);
    if let Some(list) = cx.keys.list_mut(source)? {
        for _ in 0..count {
            elements.push(block.from.peek(list).unwrap_or_default().to_vec());
            block.from.drop(list);
        }
        // The same list is about to be filled again, and keeps what else belongs to its key.
        if list.is_empty() && source != destination {
            cx.keys.remove(source);
        }
    }
    // In bulk the block keeps its order: what is pushed first must be what comes to lie deepest.
    let turns_round = block.from == block.to;
    if turns_round && !block.one_by_one {
        elements.reverse();
    }
    let list = cx.keys.list_or_new(destination)?;
    for element in &elements {
        block.to.push(list, element);
    }
    log_block(cx, args, block, &elements);
    notify_move(cx, source, destination, (block.from, block.to), before);
    cx.reply.array(count);
    let in_list_order: Box<dyn Iterator<Item = &Vec<u8>>> = match block.to {
        End::Left => Box::new(elements.iter().rev()),
        End::Right => Box::new(elements.iter()),
    };
    for element in in_list_order {
        cx.reply.bulk(element);
    }
    Ok(Outcome::Reply)
}

/// Logs a move of several elements in words that every Redis since 7.0 knows.
fn log_block(cx: &mut Context<'_>, args: Args<'_>, block: &Block, pushed: &[Vec<u8>]) {
    let (source, destination) = (&args[1], &args[2]);
    let mut number = itoa::Buffer::new();
    if block.from != block.to || (block.one_by_one && source != destination) {
        for _ in pushed {
            cx.log(&[b"LMOVE", source, destination, block.from.word(), block.to.word()]);
        }
    } else if source != destination {
        cx.log(&[block.from.pop_command(), source, number.format(pushed.len()).as_bytes()]);
        let mut record = vec![block.to.push_command(), destination];
        record.extend(pushed.iter().map(Vec::as_slice));
        cx.log(&record);
    } else if block.one_by_one && pushed.len() > 1 {
        // Elements have changed places at one end of one list; a pop of all of them would take the key away.
        let len = pushed.len() as i64;
        for (element, at) in pushed.iter().zip(0..) {
            let index = if block.to == End::Left { len - 1 - at } else { at - len };
            cx.log(&[b"LSET", source, number.format(index).as_bytes(), element]);
        }
    }
}

fn blpop(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    blocking_pop(cx, args, End::Left)
}

fn brpop(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    blocking_pop(cx, args, End::Right)
}

fn blocking_pop(cx: &mut Context<'_>, args: Args<'_>, end: End) -> Result<Outcome, Error> {
    let keys = args.len() - 2;
    let timeout_ms = timeout_seconds(&args[args.len() - 1])?;
    for key in args.tail(1).iter().take(keys) {
        if pop_one(cx, key, end, announce(key))? {
            return Ok(Outcome::Reply);
        }
    }
    if !cx.may_block {
        return Ok(cx.reply.null_array().into());
    }
    Ok(wait(args.tail(1).iter().take(keys), timeout_ms))
}

fn lmpop(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let pop = MultiPop::parse(args, 1)?;
    if pop.run(cx)? { Ok(Outcome::Reply) } else { Ok(cx.reply.null_array().into()) }
}

fn blmpop(cx: &mut Context<'_>, args: Args<'_>) -> Result<Outcome, Error> {
    let pop = MultiPop::parse(args, 2)?;
    let timeout_ms = timeout_seconds(&args[1])?;
    match pop.run(cx)? {
        true => Ok(Outcome::Reply),
        false if cx.may_block => Ok(wait(pop.keys(), timeout_ms)),
        false => Ok(cx.reply.null_array().into()),
    }
}

/// `numkeys key [key ...] LEFT|RIGHT [COUNT count]`
struct MultiPop<'a> {
    args: Args<'a>,
    first: usize,
    keys: usize,
    end: End,
    count: usize,
}

impl<'a> MultiPop<'a> {
    fn parse(args: Args<'a>, numkeys: usize) -> Result<MultiPop<'a>, Error> {
        let keys = number::integer(&args[numkeys])
            .and_then(|keys| usize::try_from(keys).ok())
            .filter(|keys| *keys > 0)
            .ok_or(Error::new("ERR numkeys should be greater than 0"))?;
        let first = numkeys + 1;
        let end = keys.checked_add(first).and_then(|at| args.get(at)).ok_or(Error::SYNTAX)?;
        let end = End::parse(end)?;
        let options = args.tail(first + keys + 1);
        let count = match (options.get(0), options.get(1)) {
            (None, _) => 1,
            (Some(word), Some(count)) if is(word, "COUNT") => {
                let count = parse_count(count)?;
                if options.len() > 2 {
                    return Err(Error::SYNTAX);
                }
                count
            }
            _ => return Err(Error::SYNTAX),
        };
        Ok(MultiPop { args, first, keys, end, count })
    }

    fn keys(&self) -> impl Iterator<Item = &'a [u8]> {
        self.args.tail(self.first).iter().take(self.keys)
    }

    /// Pops from the first list that is there. Returns whether there was one.
    fn run(&self, cx: &mut Context<'_>) -> Result<bool, Error> {
        for key in self.keys() {
            if pop_many(cx, key, self.end, self.count, announce(key))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn parse_count(arg: &[u8]) -> Result<usize, Error> {
    number::integer(arg)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(Error::new("ERR count should be greater than 0"))
}

fn wait<'k>(keys: impl IntoIterator<Item = &'k [u8]>, timeout_ms: Option<u64>) -> Outcome {
    Outcome::Block(Wait {
        keys: keys.into_iter().map(Box::from).collect(),
        condition: Condition::List,
        timeout_ms,
        request: None,
        retry_at_ms: None,
    })
}

/// An index that may count from the end, as a place in a list of that length.
fn place(index: i64, len: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(at).ok().filter(|at| *at < len)
}

/// Two inclusive indexes that may count from the end, as a range of places in a list of that length.
fn span(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let from_start = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
    let start = usize::try_from(from_start(start).max(0)).unwrap_or(usize::MAX).min(len);
    let end = usize::try_from(from_start(stop).saturating_add(1).max(0)).unwrap_or(usize::MAX).min(len);
    start..end.max(start)
}

const PUSH: Flags = Flags::WRITE.union(Flags::DENYOOM).union(Flags::FAST);
const CHANGE: Flags = Flags::WRITE.union(Flags::DENYOOM);
const MOVE: Flags = CHANGE.union(Flags::DRAINS);
const READ: Flags = Flags::READONLY;
const WAITS: Flags = Flags::WRITE.union(Flags::BLOCKING);
const INSERTS: Access = Access::RW.union(Access::INSERT);
const DELETES: Access = Access::RW.union(Access::DELETE);
const TAKES: Access = Access::RW.union(Access::ACCESS).union(Access::DELETE);
const SHOWS: Access = Access::RO.union(Access::ACCESS);

/// What list commands have in common.
const LIST: Command = Command { group: Group::List, ..Command::DEFAULT };

/// The family's table.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "lpush",
        since: "1.0.0",
        arity: -3,
        flags: PUSH,
        keys: &[KeySpec::first(INSERTS)],
        summary: "Puts elements before the first of a list, making the list if need be.",
        complexity: "O(1) for each element",
        syntax: "key element [element ...]",
        handler: lpush,
        ..LIST
    },
    Command {
        name: "rpush",
        since: "1.0.0",
        arity: -3,
        flags: PUSH,
        keys: &[KeySpec::first(INSERTS)],
        summary: "Puts elements after the last of a list, making the list if need be.",
        complexity: "O(1) for each element",
        syntax: "key element [element ...]",
        handler: rpush,
        ..LIST
    },
    Command {
        name: "lpushx",
        since: "2.2.0",
        arity: -3,
        flags: PUSH,
        keys: &[KeySpec::first(INSERTS)],
        summary: "Puts elements before the first of a list that exists.",
        complexity: "O(1) for each element",
        syntax: "key element [element ...]",
        handler: lpushx,
        ..LIST
    },
    Command {
        name: "rpushx",
        since: "2.2.0",
        arity: -3,
        flags: PUSH,
        keys: &[KeySpec::first(INSERTS)],
        summary: "Puts elements after the last of a list that exists.",
        complexity: "O(1) for each element",
        syntax: "key element [element ...]",
        handler: rpushx,
        ..LIST
    },
    Command {
        name: "lpop",
        since: "1.0.0",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::first(TAKES)],
        summary: "Takes the first elements of a list.",
        complexity: "O(N) where N is the number of elements returned",
        syntax: "key [count]",
        handler: lpop,
        ..LIST
    },
    Command {
        name: "rpop",
        since: "1.0.0",
        arity: -2,
        flags: Flags::WRITE.union(Flags::FAST),
        keys: &[KeySpec::first(TAKES)],
        summary: "Takes the last elements of a list.",
        complexity: "O(N) where N is the number of elements returned",
        syntax: "key [count]",
        handler: rpop,
        ..LIST
    },
    Command {
        name: "llen",
        since: "1.0.0",
        arity: 2,
        flags: READ.union(Flags::FAST),
        keys: &[KeySpec::first(Access::RO)],
        summary: "Tells the length of a list.",
        syntax: "key",
        handler: llen,
        ..LIST
    },
    Command {
        name: "lindex",
        since: "1.0.0",
        arity: 3,
        flags: READ,
        keys: &[KeySpec::first(SHOWS)],
        summary: "Shows the element at an index.",
        complexity: "O(N) where N is the number of chunks to the nearer end",
        syntax: "key index",
        handler: lindex,
        ..LIST
    },
    Command {
        name: "lset",
        since: "1.0.0",
        arity: 4,
        flags: CHANGE,
        keys: &[KeySpec::first(Access::RW.union(Access::UPDATE))],
        summary: "Replaces the element at an index.",
        complexity: "O(N) where N is the number of chunks to the nearer end",
        syntax: "key index element",
        handler: lset,
        ..LIST
    },
    Command {
        name: "linsert",
        since: "2.2.0",
        arity: 5,
        flags: CHANGE,
        keys: &[KeySpec::first(INSERTS)],
        summary: "Puts an element before or after the first one that equals another.",
        complexity: "O(N) where N is the number of elements before it",
        syntax: "key <BEFORE | AFTER> pivot element",
        handler: linsert,
        ..LIST
    },
    Command {
        name: "lrange",
        since: "1.0.0",
        arity: 4,
        flags: READ,
        keys: &[KeySpec::first(SHOWS)],
        summary: "Shows the elements between two indexes.",
        complexity: "O(S+N) where S is the number of chunks to the start and N the number of elements shown",
        syntax: "key start stop",
        handler: lrange,
        ..LIST
    },
    Command {
        name: "ltrim",
        since: "1.0.0",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::first(DELETES)],
        summary: "Removes all elements but those between two indexes.",
        complexity: "O(N) where N is the number of elements removed",
        syntax: "key start stop",
        handler: ltrim,
        ..LIST
    },
    Command {
        name: "lrem",
        since: "1.0.0",
        arity: 4,
        flags: Flags::WRITE,
        keys: &[KeySpec::first(DELETES)],
        summary: "Removes elements that equal a value.",
        complexity: "O(N) where N is the length of the list",
        syntax: "key count element",
        handler: lrem,
        ..LIST
    },
    Command {
        name: "lpos",
        since: "6.0.6",
        arity: -3,
        flags: READ,
        keys: &[KeySpec::first(SHOWS)],
        summary: "Tells the indexes of elements that equal a value.",
        complexity: "O(N) where N is the number of elements looked at",
        syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        handler: lpos,
        ..LIST
    },
    Command {
        name: "lmove",
        since: "6.2.0",
        arity: 5,
        flags: MOVE,
        keys: &[KeySpec::at(1, TAKES), KeySpec::at(2, INSERTS)],
        summary: "Moves an element from one end of a list to one end of another and returns it.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        handler: lmove,
        ..LIST
    },
    Command {
        name: "rpoplpush",
        deprecated: Some(("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")),
        since: "1.2.0",
        arity: 3,
        flags: MOVE,
        keys: &[KeySpec::at(1, TAKES), KeySpec::at(2, INSERTS)],
        summary: "Moves the last element of a list to the front of another and returns it.",
        syntax: "source destination",
        handler: rpoplpush,
        ..LIST
    },
    Command {
        name: "lmpop",
        since: "7.0.0",
        arity: -4,
        flags: Flags::WRITE.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::counted(1, TAKES)],
        summary: "Takes elements of the first list that has any.",
        complexity: "O(N+M) where N is the number of keys and M the number of elements returned",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: lmpop,
        ..LIST
    },
    Command {
        name: "lmovem",
        since: "8.10.0",
        arity: -5,
        flags: MOVE,
        keys: &[KeySpec::at(1, TAKES), KeySpec::at(2, INSERTS)],
        summary: "Moves several elements from one end of a list to one end of another and returns them.",
        complexity: "O(N) where N is the number of elements moved",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> [<COUNT count | EXACTLY count> <OBO | BULK>]",
        handler: lmovem,
        ..LIST
    },
    Command {
        name: "blpop",
        since: "2.0.0",
        arity: -3,
        flags: WAITS,
        keys: &[KeySpec::range(1, -2, 1, TAKES)],
        summary: "Takes the first element of the first list that has any, or waits for one.",
        complexity: "O(N) where N is the number of keys",
        syntax: "key [key ...] timeout",
        handler: blpop,
        ..LIST
    },
    Command {
        name: "brpop",
        since: "2.0.0",
        arity: -3,
        flags: WAITS,
        keys: &[KeySpec::range(1, -2, 1, TAKES)],
        summary: "Takes the last element of the first list that has any, or waits for one.",
        complexity: "O(N) where N is the number of keys",
        syntax: "key [key ...] timeout",
        handler: brpop,
        ..LIST
    },
    Command {
        name: "blmove",
        since: "6.2.0",
        arity: 6,
        flags: MOVE.union(Flags::BLOCKING),
        keys: &[KeySpec::at(1, TAKES), KeySpec::at(2, INSERTS)],
        summary: "Moves an element from one list to another and returns it, or waits for one.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        handler: blmove,
        ..LIST
    },
    Command {
        name: "brpoplpush",
        deprecated: Some(("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")),
        since: "2.2.0",
        arity: 4,
        flags: MOVE.union(Flags::BLOCKING),
        keys: &[KeySpec::at(1, TAKES), KeySpec::at(2, INSERTS)],
        summary: "Moves the last element of a list to the front of another and returns it, or waits for one.",
        syntax: "source destination timeout",
        handler: brpoplpush,
        ..LIST
    },
    Command {
        name: "blmpop",
        since: "7.0.0",
        arity: -5,
        flags: WAITS.union(Flags::MOVABLEKEYS),
        keys: &[KeySpec::counted(2, TAKES)],
        summary: "Takes elements of the first list that has any, or waits for one.",
        complexity: "O(N+M) where N is the number of keys and M the number of elements returned",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        handler: blmpop,
        ..LIST
    },
    Command {
        name: "blmovem",
        since: "8.10.0",
        arity: -6,
        flags: MOVE.union(Flags::BLOCKING),
        keys: &[KeySpec::at(1, TAKES), KeySpec::at(2, INSERTS)],
        summary: "Moves several elements from one list to another and returns them, or waits for them.",
        complexity: "O(N) where N is the number of elements moved",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout [<COUNT count | EXACTLY count> <OBO | BULK>]",
        handler: blmovem,
        ..LIST
    },
];
