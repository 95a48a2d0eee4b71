//! The grammar of `Command::syntax`: what the manual writes, read as the tree that `COMMAND DOCS` sends.
//!
//! ```text
//! sequence     = item { item }
//! item         = WORD | word | optional | choice
//! optional     = "[" alternatives "]"
//! choice       = "<" alternatives ">"
//! alternatives = sequence { "|" sequence }
//! ```
//!
//! A word without small letters is typed as it stands; the argument words or the choice behind it belong to it:
//! `COUNT count`. `[… ...]` repeats what it contains: `field value [field value ...]` is a pair, once or more, and so
//! is `field value [...]` of `value`.
//! Whether there are spaces around `|` makes no difference.
//!
//! What kind of value an argument is follows from its name; the manual uses the same names for the same things.

/// An argument of a command, or several that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    /// What it is called.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: Kind,
    /// The word that announces it, or that it consists of.
    pub(super) token: Option<&'static str>,
    /// Whether it may be left out.
    pub(super) optional: bool,
    /// Whether it may be repeated.
    pub(super) multiple: bool,
    /// Whether its token is repeated with it.
    pub(super) multiple_token: bool,
    /// What it is made of.
    pub(super) parts: Vec<Argument>,
}

/// What an argument is, in the words of `COMMAND DOCS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    /// A fixed word.
    Token,
    /// One of its parts.
    OneOf,
    /// All of its parts.
    Block,
}

impl Kind {
    /// Its name in `COMMAND DOCS`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::Token => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    /// The kind of the argument of that name; `keys` if the command has any.
    fn of(name: &str, keys: bool) -> Kind {
        match name {
            "key" | "key1" | "key2" | "source" | "destination" | "newkey" if keys => Kind::Key,
            "timeout" | "increment-by-float" => Kind::Double,
            "pattern" => Kind::Pattern,
            "unix-time-seconds" | "unix-time-milliseconds" => Kind::UnixTime,
            "client-id" | "cluster-bus-port" | "columns" | "config-epoch" | "end-slot" | "limit" | "port"
            | "slot" | "start-slot" | "count" | "cursor" | "db" | "decrement" | "destination-db" | "end"
            | "entries-added" | "entries-read" | "increment" | "index" | "len" | "maxage"
            | "milliseconds" | "min-idle-time" | "min-match-len" | "num-matches" | "numids" | "numkeys"
            | "offset" | "protover" | "rank" | "rows" | "seconds" | "start" | "stop" | "version" => {
                Kind::Integer
            }
            _ => Kind::String,
        }
    }
}

/// Reads a syntax. `keys` says whether the command has keys, so that `source` is one.
///
/// # Errors
/// With what is wrong; a test sees to it that nothing is in the table.
pub(super) fn parse(syntax: &'static str, keys: bool) -> Result<Vec<Argument>, String> {
    let mut reader = Reader { rest: syntax, keys };
    let sequence = reader.sequence()?;
    if !reader.rest.is_empty() {
        return Err(format!("unexpected: {}", reader.rest));
    }
    Ok(sequence)
}

struct Reader {
    rest: &'static str,
    keys: bool,
}

impl Reader {
    fn sequence(&mut self) -> Result<Vec<Argument>, String> {
        let mut items: Vec<Argument> = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.as_bytes().first() {
                None | Some(b']' | b'>' | b'|') => break,
                Some(b'[') => self.optional(&mut items)?,
                Some(b'<') => {
                    let (mut alternatives, repeats) = self.group(">")?;
                    if repeats {
                        return Err("only what is in square brackets can be repeated".to_owned());
                    }
                    items.push(choice(&mut alternatives));
                }
                Some(_) => {
                    let word = self.word();
                    items.push(self.argument(word));
                }
            }
        }
        Ok(attach_tokens(items))
    }

    /// What is in square brackets: something optional, or more of what stands before.
    fn optional(&mut self, items: &mut Vec<Argument>) -> Result<(), String> {
        let (mut alternatives, repeats) = self.group("]")?;
        if repeats && let [sequence] = &alternatives[..] {
            // Words that stand before have not been given what they announce yet.
            for (tokens_too, mut before) in [(false, items.clone()), (true, attach_tokens(items.clone()))] {
                let repeated = sequence.len().max(1);
                let Some(at) = before.len().checked_sub(repeated) else { continue };
                if before[at..] == sequence[..] || sequence.is_empty() {
                    let mut whole = all(&mut before.split_off(at));
                    whole.multiple = true;
                    whole.multiple_token = tokens_too;
                    before.push(whole);
                    *items = before;
                    return Ok(());
                }
            }
        }
        let mut argument = choice(&mut alternatives);
        argument.optional = true;
        argument.multiple |= repeats;
        items.push(argument);
        Ok(())
    }

    /// The alternatives between an opening bracket and the closing one, and whether they end in `...`.
    fn group(&mut self, close: &str) -> Result<(Vec<Vec<Argument>>, bool), String> {
        let start = self.rest;
        self.rest = &self.rest[1..];
        let mut alternatives = Vec::new();
        loop {
            let mut sequence = self.sequence()?;
            let repeats = sequence.pop_if(|last| last.name == "...").is_some();
            if sequence.is_empty() && !repeats {
                return Err(format!("nothing in: {start}"));
            }
            alternatives.push(sequence);
            if let Some(rest) = self.rest.strip_prefix(close) {
                self.rest = rest;
                return Ok((alternatives, repeats));
            }
            self.rest = self.rest.strip_prefix('|').ok_or_else(|| format!("not closed: {start}"))?;
        }
    }

    fn word(&mut self) -> &'static str {
        let end = self.rest.find([' ', '[', ']', '<', '>', '|']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn argument(&self, word: &'static str) -> Argument {
        let is_token = word != "..." && !word.bytes().any(|byte| byte.is_ascii_lowercase());
        Argument {
            name: word.to_lowercase(),
            kind: if is_token { Kind::Token } else { Kind::of(word, self.keys) },
            token: is_token.then_some(word),
            optional: false,
            multiple: false,
            multiple_token: false,
            parts: Vec::new(),
        }
    }
}

/// Gives each word that is typed as it stands what it announces.
fn attach_tokens(items: Vec<Argument>) -> Vec<Argument> {
    let mut attached = Vec::new();
    let mut items = items.into_iter().peekable();
    while let Some(item) = items.next() {
        if item.kind != Kind::Token || item.optional {
            attached.push(item);
            continue;
        }
        let is_value = |next: &Argument| {
            !next.optional && next.token.is_none() && next.kind != Kind::OneOf && next.name != "..."
        };
        let mut announced = Vec::new();
        while let Some(value) = items.next_if(is_value) {
            announced.push(value);
        }
        if announced.is_empty() {
            announced.extend(items.next_if(|next| next.kind == Kind::OneOf && !next.optional));
        }
        if announced.is_empty() {
            attached.push(item);
            continue;
        }
        let mut value = all(&mut announced);
        if value.kind == Kind::Block {
            value.name = item.name;
        }
        value.token = item.token;
        attached.push(value);
    }
    attached
}

/// One of several.
fn choice(alternatives: &mut [Vec<Argument>]) -> Argument {
    let mut parts: Vec<Argument> = alternatives.iter_mut().map(all).collect();
    if parts.len() == 1 {
        return parts.remove(0);
    }
    group(Kind::OneOf, "-or-", parts)
}

/// All of several.
fn all(sequence: &mut Vec<Argument>) -> Argument {
    if sequence.len() == 1 {
        return sequence.remove(0);
    }
    group(Kind::Block, "-", std::mem::take(sequence))
}

fn group(kind: Kind, joint: &str, parts: Vec<Argument>) -> Argument {
    let names: Vec<&str> = parts.iter().map(|part| &*part.name).collect();
    Argument {
        name: names.join(joint),
        kind,
        token: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        parts,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::command::{KeySpec, Row, table};

    #[test]
    fn every_entry_of_the_table_parses() {
        let is_container = |row: &&Row| row.command.arity == -2 && !row.subcommands.is_empty();
        for row in table().rows().iter().filter(|row| !is_container(row)) {
            let command = row.command;
            let has_keys = command.keys.iter().any(KeySpec::names_keys);
            let arguments = parse(command.syntax, has_keys)
                .unwrap_or_else(|error| panic!("{}: {error}", command.full_name()));
            // The least number of arguments is what the arity says, where every argument is one.
            let name_words = if command.full_name().contains('|') { 2 } else { 1 };
            let least = name_words + arguments.iter().map(least).sum::<usize>();
            assert_eq!(least, usize::from(command.arity.unsigned_abs()), "{}", command.full_name());
            let keys = arguments.iter().map(count_keys).sum::<usize>();
            assert_eq!(keys > 0, has_keys, "{}: keys", command.full_name());
        }
    }

    fn least(argument: &Argument) -> usize {
        if argument.optional {
            return 0;
        }
        let parts = argument.parts.iter().map(least);
        let token = usize::from(argument.token.is_some() && argument.kind != Kind::Token);
        token
            + match argument.kind {
                Kind::OneOf => parts.min().unwrap_or(0),
                Kind::Block => parts.sum(),
                _ => 1,
            }
    }

    fn count_keys(argument: &Argument) -> usize {
        usize::from(argument.kind == Kind::Key) + argument.parts.iter().map(count_keys).sum::<usize>()
    }

    #[track_caller]
    fn check(syntax: &'static str, expected: &str) {
        let mut shown = String::new();
        for argument in parse(syntax, true).unwrap() {
            show(&argument, &mut shown);
        }
        assert_eq!(shown.trim(), expected);
    }

    /// `kind:name` with the token before it; behind it `?`, `*`, and another `*` if the token is repeated too.
    fn show(argument: &Argument, shown: &mut String) {
        if let Some(token) = argument.token {
            write!(shown, " {token}").unwrap();
        }
        if argument.kind != Kind::Token {
            write!(shown, " {}:{}", argument.kind.name(), argument.name).unwrap();
        }
        shown.push_str(if argument.optional { "?" } else { "" });
        shown.push_str(if argument.multiple { "*" } else { "" });
        shown.push_str(if argument.multiple_token { "*" } else { "" });
        if !argument.parts.is_empty() {
            shown.push_str(" (");
            argument.parts.iter().for_each(|part| show(part, shown));
            shown.push_str(" )");
        }
    }

    #[test]
    fn words_tokens_and_brackets() {
        check("", "");
        check("key value", "key:key string:value");
        check("[message]", "string:message?");
        check(
            "key element [RANK rank] [COUNT num-matches]",
            "key:key string:element RANK integer:rank? COUNT integer:num-matches?",
        );
        check(
            "source destination <LEFT | RIGHT>",
            "key:source key:destination oneof:left-or-right ( LEFT RIGHT )",
        );
        check("[ASYNC|SYNC]", "oneof:async-or-sync? ( ASYNC SYNC )");
        check("[DB db] [REPLACE]", "DB integer:db? REPLACE?");
        check(
            "[NX|IFEQ value] [EX seconds|KEEPTTL]",
            "oneof:nx-or-value? ( NX IFEQ string:value ) oneof:seconds-or-keepttl? ( EX integer:seconds KEEPTTL )",
        );
        check(
            "[<COUNT count | EXACTLY count> <OBO | BULK>]",
            "block:count-or-count-obo-or-bulk? ( oneof:count-or-count ( COUNT integer:count EXACTLY integer:count ) oneof:obo-or-bulk ( OBO BULK ) )",
        );
        check("ID <* | id>", "ID oneof:*-or-id ( * string:id )");
    }

    #[test]
    fn repetition() {
        check("key [key ...] timeout", "key:key* double:timeout");
        check(
            "parameter value [parameter value ...]",
            "block:parameter-value* ( string:parameter string:value )",
        );
        check("[command-name ...]", "string:command-name?*");
        check("[ID client-id [client-id ...]]", "ID integer:client-id?*");
        check("[PREFIX prefix [PREFIX prefix ...]]", "PREFIX string:prefix?**");
        check("<ON | OFF> [...]", "oneof:on-or-off* ( ON OFF )");
        check(
            "[BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
            "BLOCK integer:milliseconds? STREAMS block:streams ( key:key* string:id* )",
        );
        check(
            "[protover [AUTH username password] [SETNAME clientname]]",
            "block:protover-auth-clientname? ( integer:protover AUTH block:auth? ( string:username string:password ) SETNAME string:clientname? )",
        );
    }

    #[test]
    fn what_is_not_a_syntax() {
        for syntax in ["[key", "key]", "<a | >", "[]", "a | b", "<a | b]", "<a ...>"] {
            assert!(parse(syntax, true).is_err(), "{syntax}");
        }
    }
}
