//! The configuration file: reading `redis.conf`, writing a commented sample, and `CONFIG REWRITE`.
//!
//! A line is an option and its value; blank lines and lines that start with `#` are skipped; a later line overrides an earlier
//! one. Whoever calls this reads and writes the file itself: only its text is known here. What Millstream cannot do (`include`,
//! `replicaof` …) is refused with the reason and never skipped in silence.

use super::options::{ConfigOption, Group, OPTIONS, Settings, option};
use super::users::UserLines;
use super::words::{quote, split_words};
use std::collections::BTreeSet;
use std::fmt;

/// What is wrong with which line.
///
/// It quotes the line only where that cannot give a password away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Counted from 1.
    pub line: usize,
    /// The line, or the start of it.
    pub shown: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: '{}': {}", self.line, self.shown, self.reason)
    }
}

impl std::error::Error for FileError {}

/// Why a Redis option that is not in the table is refused. None for a name that Redis does not have either.
pub(super) fn why_refused(name: &str) -> Option<&'static str> {
    Some(match name {
        "include" => "other files are not included: put all options into one file",
        "replicaof" | "slaveof" | "masterauth" | "masteruser" => "Millstream does not replicate",
        "loadmodule" => "there are no modules",
        "rename-command" => "commands cannot be renamed: use ACL rules",
        _ => return None,
    })
}

impl Settings {
    /// Applies the text of a configuration file. On an error, what came before it is applied.
    pub fn apply_file(&mut self, text: &str) -> Result<(), FileError> {
        for (index, line) in text.lines().enumerate() {
            if let Some(words) = user_line(index + 1, line)? {
                self.users.0.push(words);
            } else if let Some((option, arguments)) = parse_line(index + 1, line)? {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                option
                    .assign(self, &arguments)
                    .map_err(|reason| refuse(index + 1, line, Some(option), reason))?;
            }
        }
        Ok(())
    }
}

/// What a line says about a user, if that is what it does: name and rules.
fn user_line(number: usize, line: &str) -> Result<Option<Vec<String>>, FileError> {
    let trimmed = line.trim();
    let is_user =
        trimmed.split_ascii_whitespace().next().is_some_and(|first| first.eq_ignore_ascii_case("user"));
    if !is_user {
        return Ok(None);
    }
    let refused = |reason: &str| refuse(number, line, None, reason.into());
    let words = split_words(trimmed).ok_or_else(|| refused("Unbalanced quotes in configuration line"))?;
    let words = words.into_iter().skip(1).map(String::from_utf8).collect::<Result<Vec<String>, _>>();
    let words = words.map_err(|_| refused("argument must be UTF-8 text"))?;
    if words.is_empty() { Err(refused("wrong number of arguments")) } else { Ok(Some(words)) }
}

/// The option that a line sets and the arguments it gives; none for blank lines and comments.
fn parse_line(number: usize, line: &str) -> Result<Option<(&'static ConfigOption, Vec<String>)>, FileError> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let first = line.split_ascii_whitespace().next().unwrap_or(line).to_ascii_lowercase();
    let known = option(&first);
    let words = split_words(line)
        .ok_or_else(|| refuse(number, line, known, "Unbalanced quotes in configuration line".into()))?;
    let words = words.into_iter().map(String::from_utf8).collect::<Result<Vec<String>, _>>();
    let mut words = words.map_err(|_| refuse(number, line, known, "argument must be UTF-8 text".into()))?;
    let name = words.remove(0).to_ascii_lowercase();
    let Some(option) = option(&name) else {
        let reason = why_refused(&name).unwrap_or("there is no such option");
        return Err(refuse(number, line, None, reason.into()));
    };
    Ok(Some((option, words)))
}

fn refuse(line: usize, text: &str, option: Option<&ConfigOption>, reason: String) -> FileError {
    let text = text.trim();
    let shown = match option {
        Some(option) if !option.is_secret() => text,
        // A mistyped `requirepass` is followed by a password, too.
        _ => text.split_ascii_whitespace().next().unwrap_or(text),
    };
    FileError { line, shown: shown.to_owned(), reason }
}

/// Every option with its help and default, as a configuration file: those with an effect first, all commented out.
pub fn sample() -> String {
    let mut text = String::from(
        "# Millstream's options. Each is shown with its default; remove the `# ` in front of a line to change it.\n\
         # The same options work on the command line: millstream /path/to/this/file --port 7000\n",
    );
    let mut group = None;
    for option in OPTIONS {
        if group.replace(option.group) != Some(option.group) {
            let title = option.group.title();
            text.push_str(&format!("\n### {title} {}\n", "#".repeat(90usize.saturating_sub(title.len()))));
        }
        // Those without an effect are many and short: they stand close together.
        if option.group != Group::Compatibility {
            text.push('\n');
        }
        for help in wrap(&option.help(), 100) {
            text.push_str(&format!("## {help}\n"));
        }
        text.push_str(&format!("# {}\n", option_line(option, option.default)));
    }
    text
}

/// A configuration file's text with these settings and users: lines stay where they are and comments are kept, options
/// that are not in the file are added at its end unless they have their default, and so are other users. What the file
/// says of users who are not among these goes.
pub fn rewrite(text: &str, settings: &Settings, users: &UserLines) -> String {
    let mut rewritten = String::new();
    let mut add = |line: &str| rewritten.extend([line, "\n"]);
    let mut written = BTreeSet::new();
    let mut users: Vec<&[String]> = users.0.iter().map(Vec::as_slice).collect();
    for (index, old) in text.lines().enumerate() {
        if let Ok(Some(words)) = user_line(index + 1, old) {
            if let Some(at) = users.iter().position(|user| user[0] == words[0]) {
                add(&line("user", users.remove(at)));
            }
            continue;
        }
        match parse_line(index + 1, old) {
            Ok(Some((option, _))) => {
                // Repeated lines become one: its value is what they amounted to.
                if written.insert(option.name) {
                    add(&option_line(option, &option.text(settings)));
                }
            }
            Ok(None) | Err(_) => add(old),
        }
    }
    let defaults = Settings::default();
    let missing: Vec<&ConfigOption> = OPTIONS
        .iter()
        .filter(|option| !written.contains(option.name) && option.text(settings) != option.text(&defaults))
        .collect();
    let adds = !missing.is_empty() || !users.is_empty();
    if adds && !text.lines().any(|line| line == GENERATED) {
        add(GENERATED);
    }
    missing.iter().for_each(|option| add(&option_line(option, &option.text(settings))));
    users.iter().for_each(|user| add(&line("user", user)));
    rewritten
}

/// Breaks a text at its blanks into lines of at most so many bytes, as far as its words allow.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

const GENERATED: &str = "# Generated by CONFIG REWRITE";

/// The line that gives an option this value.
fn option_line(option: &ConfigOption, value: &str) -> String {
    if option.kind.takes_many() && !value.is_empty() {
        let words: Vec<&str> = value.split_whitespace().collect();
        return line(option.name, &words);
    }
    line(option.name, &[value])
}

fn line(name: &str, words: &[impl AsRef<str>]) -> String {
    let quoted = words.iter().map(|word| format!(" {}", quote(word.as_ref())));
    quoted.fold(name.to_owned(), |line, word| line + &word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.apply_file(text).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn reads_a_redis_conf() {
        let settings = check(
            "# a comment\r\n\
             \r\n\
             port 7000\r\n\
             BIND 127.0.0.1 -::1\r\n\
             \tmaxmemory 1gb   \r\n\
             requirepass 'it\\'s \"secret\"'\r\n\
             proc-title-template \"{title} \\x41\"\r\n\
             save\r\n\
             save 900 1\r\n\
             client-output-buffer-limit normal 1mb 0 0\r\n\
             client-output-buffer-limit pubsub 2mb 0 0\r\n\
             lua-time-limit 7\r\n\
             port 7001",
        )
        .unwrap();
        assert_eq!((settings.port, settings.maxmemory, settings.busy_reply_threshold), (7001, 1 << 30, 7));
        assert_eq!(settings.requirepass.expose(), "it's \"secret\"");
        assert_eq!(settings.proc_title_template, "{title} A");
        let limits = settings.client_output_buffer_limit;
        assert_eq!(
            (limits.normal.hard_bytes, limits.pubsub.hard_bytes, limits.replica.hard_bytes),
            (1 << 20, 2 << 20, 256 << 20)
        );
    }

    #[test]
    fn says_which_line_and_why() {
        for (text, expected) in [
            ("\nport 7000x", "line 2: 'port 7000x': argument couldn't be parsed into an integer"),
            ("port", "line 1: 'port': wrong number of arguments"),
            ("port 1 2", "line 1: 'port 1 2': wrong number of arguments"),
            ("hz \"1", "line 1: 'hz \"1': Unbalanced quotes in configuration line"),
            ("pidfile \"\\xff\"", "line 1: 'pidfile \"\\xff\"': argument must be UTF-8 text"),
            ("prot 7000", "line 1: 'prot': there is no such option"),
            ("INCLUDE /x", "line 1: 'INCLUDE': other files are not included: put all options into one file"),
            ("replicaof a 1", "line 1: 'replicaof': Millstream does not replicate"),
            (
                "appendonly no",
                "line 1: 'appendonly no': Millstream always keeps its log: only 'yes' is accepted, see appendfsync for how often it \
                 is synced",
            ),
        ] {
            assert_eq!(check(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn errors_show_no_password() {
        for text in [
            "requirepass hunter2 x",
            "requirepass \"hunter2",
            "requirepas hunter2",
            "user a \"hunter2",
            "user a \"hunter2\\xff\"",
            "requirepass \"hunter2\\xff\"",
        ] {
            assert!(!check(text).unwrap_err().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn the_sample_is_the_defaults() {
        let sample = sample();
        assert_eq!(check(&sample).unwrap(), Settings::default());
        for option in OPTIONS {
            let line = format!("# {}", option_line(option, option.default));
            assert!(sample.lines().any(|known| known == line), "{line}");
            assert_eq!(check(&line[2..]).unwrap(), Settings::default());
        }
        assert!(sample.lines().all(|line| line.len() <= 110));
    }

    #[test]
    fn a_rewrite_keeps_the_file_and_adds_what_changed() {
        let text = "# mine\nport 1\n\nbind ::1\nport 2\n";
        let mut settings = check(text).unwrap();
        for (name, value) in [("port", "7000"), ("requirepass", "a b"), ("bind", "")] {
            option(name).unwrap().assign(&mut settings, &[value]).unwrap();
        }
        let rewritten = rewrite(text, &settings, &UserLines::default());
        assert_eq!(
            rewritten,
            "# mine\nport 7000\n\nbind \"\"\n# Generated by CONFIG REWRITE\nrequirepass \"a b\"\n"
        );
        assert_eq!(check(&rewritten).unwrap(), settings);
        assert_eq!(rewrite(&rewritten, &settings, &UserLines::default()), rewritten);
    }

    #[test]
    fn a_rewrite_has_the_users_of_now_in_the_place_of_those_of_then() {
        let text = "user old on nopass\n# mine\nuser kept on >secret\nUSER kept off\nport 1\n";
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        let users = UserLines(vec![words("kept off #12 ~a\"b"), words("new (~x +get)")]);
        let rewritten = rewrite(text, &Settings { port: 1, ..Settings::default() }, &users);
        let expected = "# mine\nuser kept off \"#12\" \"~a\\\"b\"\nport 1\n# Generated by CONFIG REWRITE\nuser new (~x +get)\n";
        assert_eq!(rewritten, expected);
        assert!(check(&rewritten).unwrap().users == users);
    }

    proptest! {
        #[test]
        fn a_rewritten_file_reads_back(values in proptest::collection::vec((0..OPTIONS.len(), ".{0,8}|[0-9]{1,5}(mb|%)?|yes|no"), 0..20)) {
            let mut settings = Settings::default();
            for (index, value) in values {
                let _ = OPTIONS[index].assign(&mut settings, &[&value]);
            }
            for before in ["", "port 1\n# x\nport 2\nsave 1 1\n"] {
                let rewritten = rewrite(before, &settings, &UserLines::default());
                prop_assert_eq!(check(&rewritten).unwrap(), settings.clone());
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = check(&text);
        }
    }
}
