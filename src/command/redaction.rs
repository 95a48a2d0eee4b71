//! Requests without their secrets, for whoever is shown what others send: the slow log and `MONITOR`.

use super::arguments::is;
use super::table::Row;
use crate::config::{Kind, option};
use crate::resp::Args;

/// What stands in place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// The words of a request whose command is known, passwords and whatever stands where one could be left out.
pub(crate) fn redacted<'a>(row: &Row, args: Args<'a>) -> Vec<&'a [u8]> {
    let mut words: Vec<&[u8]> = args.iter().collect();
    match row.command.full_name() {
        "auth" => words[1..].fill(REDACTED),
        "acl|setuser" => words[2..].fill(REDACTED),
        "hello" => {
            if let Some(at) = words.iter().position(|word| is(word, "AUTH")) {
                // Of an incomplete one as well: what is missing need not be the password.
                words.iter_mut().skip(at + 1).take(2).for_each(|word| *word = REDACTED);
            }
        }
        "config|set" => {
            for pair in words[2..].chunks_mut(2) {
                let [name, value] = pair else { continue };
                let known = std::str::from_utf8(name).ok().and_then(option);
                // What is no option may be one mistyped.
                if known.is_none_or(|option| option.kind == Kind::Secret) {
                    *value = REDACTED;
                }
            }
        }
        _ => {}
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;
    use crate::resp::OwnedArgs;

    #[track_caller]
    fn check(request: &str, expected: &str) {
        let args: OwnedArgs = request.split(' ').collect();
        let row = table().named(args.as_args()).expect("the table has it");
        let words = redacted(row, args.as_args());
        let words: Vec<_> = words.into_iter().map(String::from_utf8_lossy).collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn secrets_are_left_out() {
        check("AUTH hunter2", "AUTH (redacted)");
        check("auth joe hunter2", "auth (redacted) (redacted)");
        check("HELLO 3 AUTH joe hunter2 SETNAME x", "HELLO 3 AUTH (redacted) (redacted) SETNAME x");
        check("HELLO 3 SETNAME x auth joe hunter2", "HELLO 3 SETNAME x auth (redacted) (redacted)");
        check("HELLO 3 AUTH hunter2", "HELLO 3 AUTH (redacted)");
        check("CONFIG SET hz 5 RequirePass hunter2", "CONFIG SET hz 5 RequirePass (redacted)");
        check("CONFIG SET requirepas hunter2", "CONFIG SET requirepas (redacted)");
        check("SET AUTH hunter2", "SET AUTH hunter2");
    }
}
