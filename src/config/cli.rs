//! The command line: `millstream [FILE] [--option value...]...`, in Redis' style.
//!
//! Every option of the table is a flag of the same name. Its values are all the arguments up to the next one that starts with
//! `--`, so `--bind 127.0.0.1 -::1 --port 7000` means what it means in Redis; `--port=7000` works as well. The first argument may be a
//! configuration file (`-` for the standard input); flags override it, wherever they stand.
//!
//! clap knows the flags, writes the help and finds what was misspelt. It is not asked to tell values from flags, because its
//! rules for values with a dash differ: before it sees the arguments, each flag and its values become one `--name=value`, with
//! the value quoted as in a configuration file. Nothing is read from the environment.

use super::file::{FileError, why_refused};
use super::options::{ConfigOption, Group, OPTIONS, Settings, option};
use super::users::UserLines;
use super::words::{quote, split_words};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;
use std::sync::LazyLock;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The configuration file, `-` for the standard input. Whoever starts the server reads it.
    pub config_file: Option<String>,
    flags: Vec<Flag>,
    users: UserLines,
}

#[derive(Clone)]
struct Flag {
    option: &'static ConfigOption,
    arguments: Vec<String>,
}

impl std::fmt::Debug for Flag {
    /// The name only: the value may be a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.option.name)
    }
}

impl CommandLine {
    /// Reads the arguments, without the program's own name.
    ///
    /// The error is what clap makes of it: `exit` prints help and version and leaves with 0, or says which argument is wrong and why,
    /// and leaves with 2.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = command();
        let mut texts = Vec::new();
        for (index, argument) in arguments.into_iter().enumerate() {
            // Not shown: it may be a password.
            let refusal = |_| {
                command.error(ErrorKind::InvalidUtf8, format!("argument {} is not UTF-8 text", index + 1))
            };
            texts.push(argument.into_string().map_err(refusal)?);
        }
        let (users, texts) = take_users(texts)
            .map_err(|message| command.error(ErrorKind::MissingRequiredArgument, message))?;
        let arguments =
            join_values(texts).map_err(|message| command.error(ErrorKind::UnknownArgument, message))?;
        let matches = command.try_get_matches_from_mut(arguments)?;
        let mut flags = Vec::new();
        for option in OPTIONS {
            for name in option.names() {
                for value in matches.get_many::<String>(name).into_iter().flatten() {
                    let words = split_words(value).unwrap_or_default().into_iter();
                    let arguments = words.map(|word| String::from_utf8_lossy(&word).into_owned()).collect();
                    flags.push(Flag { option, arguments });
                }
            }
        }
        let config_file = matches.get_one::<String>(FILE).cloned();
        let command_line = Self { config_file, flags, users };
        command_line
            .apply(&mut Settings::default())
            .map_err(|(flag, reason)| command.error(ErrorKind::ValueValidation, flag.refusal(&reason)))?;
        Ok(command_line)
    }

    /// The settings: the defaults, changed by the text of the configuration file if there is one, changed by the flags.
    pub fn settings(&self, file_text: Option<&str>) -> Result<Settings, FileError> {
        let mut settings = Settings::default();
        settings.apply_file(file_text.unwrap_or_default())?;
        settings.users.0.extend(self.users.0.iter().cloned());
        self.apply(&mut settings).map_err(|(flag, reason)| FileError {
            line: 0,
            shown: format!("--{}", flag.option.name),
            reason,
        })?;
        Ok(settings)
    }

    fn apply(&self, settings: &mut Settings) -> Result<(), (&Flag, String)> {
        for flag in &self.flags {
            let arguments: Vec<&str> = flag.arguments.iter().map(String::as_str).collect();
            flag.option.assign(settings, &arguments).map_err(|reason| (flag, reason))?;
        }
        Ok(())
    }
}

impl Flag {
    fn refusal(&self, reason: &str) -> String {
        let name = self.option.name;
        let words: Vec<String> = self.arguments.iter().map(|argument| quote(argument)).collect();
        match words.len() {
            _ if self.option.is_secret() => format!("invalid value for '--{name}': {reason}"),
            0 | 1 => format!("invalid value '{}' for '--{name}': {reason}", self.arguments.join(" ")),
            count if !self.option.kind.takes_many() => {
                format!("'--{name}' takes one value and was given {count}: {}", words.join(" "))
            }
            _ => format!("invalid value '{}' for '--{name}': {reason}", words.join(" ")),
        }
    }
}

const FILE: &str = "FILE";

/// The version and, if whoever built it said so, the commit.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("MILLSTREAM_COMMIT") {
        None | Some("") => version.to_owned(),
        Some(commit) => format!("{version} ({commit})"),
    }
});

/// The program's command line, from the table.
fn command() -> Command {
    let mut command = Command::new("millstream")
        .version(VERSION.as_str())
        .about("A durable message-queue and stream server that speaks the Redis protocol.")
        .override_usage("millstream [FILE] [--OPTION VALUE...]...\n       millstream aof check|salvage|cat|import [--OPTION VALUE]...")
        .after_help(
            "Options are named as in Redis, and can be given in a configuration file in the syntax of redis.conf as well; the \
             command line overrides the file. `--user NAME RULE...` makes a user by ACL rules.\n\n`millstream aof \
             --help` explains how to check, rescue, print and import logs.",
        )
        .no_binary_name(true)
        .disable_version_flag(true)
        .args_override_self(false)
        .arg(Arg::new(FILE).help("Configuration file; `-` reads it from the standard input"))
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .short_alias('v')
                .action(ArgAction::Version)
                .help("Print the version"),
        );
    for option in OPTIONS {
        let compatibility = option.group == Group::Compatibility;
        command = command
            .next_help_heading(option.group.title())
            .arg(flag(option, option.name).hide_short_help(compatibility));
        for alias in option.older_names {
            command = command.arg(flag(option, alias).hide(true));
        }
    }
    command
}

fn flag(option: &'static ConfigOption, name: &'static str) -> Arg {
    let default =
        if option.default.is_empty() { String::new() } else { format!(" [default: {}]", option.default) };
    Arg::new(name)
        .long(name)
        .value_name(option.kind.hint())
        .action(ArgAction::Append)
        .help(format!("{}{default}", option.help()))
}

/// Takes out every `--user NAME RULE...`, which is no option: each makes another user. Its rules are all the arguments up
/// to the next one that starts with `--`.
fn take_users(arguments: Vec<String>) -> Result<(UserLines, Vec<String>), String> {
    let (mut users, mut others) = (UserLines::default(), Vec::new());
    let mut in_user = false;
    for argument in arguments {
        if argument.starts_with("--") && argument.len() > 2 {
            in_user = argument.eq_ignore_ascii_case("--user");
            if in_user {
                users.0.push(Vec::new());
                continue;
            }
        }
        match users.0.last_mut().filter(|_| in_user) {
            Some(user) => user.push(argument),
            None => others.push(argument),
        }
    }
    match users.0.iter().any(Vec::is_empty) {
        true => Err("'--user' takes a name and rules".to_owned()),
        false => Ok((users, others)),
    }
}

/// Makes one `--name=value` of each flag and the values that follow it. Everything else stays as it is. An error is a flag that Redis
/// has and that is refused here.
fn join_values(arguments: Vec<String>) -> Result<Vec<String>, String> {
    let mut joined = Vec::new();
    let mut open: Option<(String, Vec<String>)> = None;
    for argument in arguments {
        if let Some(flag) = argument.strip_prefix("--").filter(|flag| !flag.is_empty()) {
            joined.extend(open.take().map(join_flag));
            let (name, value) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
            let name = name.to_ascii_lowercase();
            if let Some(reason) = why_refused(&name) {
                return Err(format!("'--{name}': {reason}"));
            }
            if name == "help" || name == "version" {
                joined.push(format!("--{name}"));
            } else {
                open = Some((name, value.into_iter().collect()));
            }
            continue;
        }
        let complete = open.as_ref().is_none_or(|(_, values)| !values.is_empty());
        if complete && matches!(argument.as_str(), "-h" | "-v" | "-V") {
            joined.push(argument);
        } else if let Some((_, values)) = &mut open {
            values.push(argument);
        } else {
            joined.push(argument);
        }
    }
    joined.extend(open.take().map(join_flag));
    Ok(joined)
}

fn join_flag((name, values): (String, Vec<String>)) -> String {
    let may_be_empty = option(&name).is_some_and(|option| option.kind.takes_many());
    if values.is_empty() && !may_be_empty {
        // clap says which value is missing.
        return format!("--{name}");
    }
    let words: Vec<String> = values.iter().map(|value| quote(value)).collect();
    format!("--{name}={}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::parse(arguments.iter().map(OsString::from))
    }

    #[track_caller]
    fn settings(arguments: &[&str], file: &str) -> Settings {
        parse(arguments).unwrap().settings(Some(file)).unwrap()
    }

    #[track_caller]
    fn refused(arguments: &[&str]) -> String {
        let error = parse(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
        error.to_string()
    }

    #[test]
    fn the_table_makes_a_sound_command() {
        command().debug_assert();
    }

    #[test]
    fn reads_flags_in_redis_style() {
        let given = settings(
            &["--port", "7000", "--bind", "127.0.0.1", "-::1", "--list-max-listpack-size", "-1"],
            "",
        );
        assert_eq!((given.port, given.list_max_listpack_size), (7000, -1));
        assert_eq!(option("bind").unwrap().text(&given), "127.0.0.1 -::1");
        let given = settings(
            &[
                "--PORT=7000",
                "--bind",
                "127.0.0.1 ::1",
                "--requirepass=a b",
                "--appendonly",
                "yes",
                "--save",
                "",
            ],
            "",
        );
        assert_eq!((given.port, given.bind.0.len(), given.requirepass.expose()), (7000, 2, "a b"));
        // A list may be empty, even without saying so.
        assert!(settings(&["--bind", "--port", "1"], "").bind.0.is_empty());
        assert_eq!(settings(&["--requirepass", "-h"], "").requirepass.expose(), "-h");
        assert_eq!(settings(&["--requirepass", "\"'\\ "], "").requirepass.expose(), "\"'\\ ");
        assert_eq!(settings(&["--lua-time-limit", "7"], "").busy_reply_threshold, 7);
        let limits = settings(
            &[
                "--client-output-buffer-limit",
                "normal",
                "1",
                "2",
                "3",
                "--client-output-buffer-limit",
                "pubsub",
                "4",
                "5",
                "6",
            ],
            "",
        );
        let limits = limits.client_output_buffer_limit;
        assert_eq!((limits.normal.hard_bytes, limits.pubsub.hard_bytes), (1, 4));
    }

    #[test]
    fn flags_override_the_file_and_the_last_one_wins() {
        let arguments = ["/etc/millstream.conf", "--port", "7000", "--port", "7001"];
        assert_eq!(parse(&arguments).unwrap().config_file.as_deref(), Some("/etc/millstream.conf"));
        let given = settings(&arguments, "port 1\ntimeout 5\n");
        assert_eq!((given.port, given.timeout), (7001, 5));
        assert_eq!(parse(&["-"]).unwrap().config_file.as_deref(), Some("-"));
        let wrong = parse(&[]).unwrap().settings(Some("port x")).unwrap_err();
        assert_eq!(wrong.to_string(), "line 1: 'port x': argument couldn't be parsed into an integer");
    }

    #[test]
    fn says_which_argument_and_why() {
        for (arguments, expected) in [
            (&["--prot", "7000"][..], "unexpected argument '--prot' found"),
            (&["--prot", "7000"], "'--port'"),
            (&["--port"], "a value is required for '--port <NUMBER>'"),
            (
                &["--port", "abc"],
                "invalid value 'abc' for '--port': argument couldn't be parsed into an integer",
            ),
            (
                &["--port", "70000"],
                "invalid value '70000' for '--port': argument must be between 0 and 65535 inclusive",
            ),
            (&["--port", "1", "a.conf"], "'--port' takes one value and was given 2: 1 a.conf"),
            (
                &["--appendonly", "no"],
                "invalid value 'no' for '--appendonly': Millstream always keeps its log",
            ),
            (&["--daemonize", "yes"], "stays in the foreground"),
            (&["--maxmemory-policy", "allkeys-lru"], "never evicts"),
            (&["--include", "x"], "'--include': other files are not included"),
            (&["--replicaof", "a", "1"], "does not replicate"),
            (&["a.conf", "b.conf"], "unexpected argument 'b.conf' found"),
            (&["-x"], "unexpected argument '-x' found"),
        ] {
            let message = refused(arguments);
            assert!(message.contains(expected), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn errors_and_debug_output_show_no_password() {
        for arguments in
            [&["--requirepass", "hunter2", "x"][..], &["--requirepas", "hunter2"], &["--requirepas=hunter2"]]
        {
            let message = refused(arguments);
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(!format!("{:?}", parse(&["--requirepass", "hunter2"])).contains("hunter2"));
    }

    #[test]
    fn an_argument_that_is_not_text_is_counted_not_shown() {
        use std::os::unix::ffi::OsStringExt;
        let arguments = ["--requirepass".into(), OsString::from_vec(b"hunter2\xff".to_vec())];
        let error = CommandLine::parse(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with("error: argument 2 is not UTF-8 text"), "{error}");
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for arguments in [
            &["--help"][..],
            &["-h"],
            &["--version"],
            &["-v"],
            &["-V"],
            &["--port", "1", "--help"],
            &["--port", "1", "-h"],
        ] {
            let shown = parse(arguments).unwrap_err();
            assert_eq!(shown.exit_code(), 0, "{arguments:?}");
        }
        let long = parse(&["--help"]).unwrap_err().to_string();
        let short = parse(&["-h"]).unwrap_err().to_string();
        for option in OPTIONS {
            assert!(long.contains(&format!("--{} <", option.name)), "{}", option.name);
            let shown = short.contains(&format!("--{} <", option.name));
            assert_eq!(shown, option.group != Group::Compatibility, "{}", option.name);
        }
    }

    proptest! {
        #[test]
        fn any_arguments_are_taken_or_refused(arguments in proptest::collection::vec("(--(port|bind|save|x)?=?)?.{0,6}", 0..6)) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let _ = parse(&arguments);
        }

        #[test]
        fn values_arrive_unchanged(value in "([^-].*)?") {
            let given = settings(&["--requirepass", &value, "--logfile", &value], "");
            prop_assert_eq!((given.requirepass.expose(), &given.logfile), (value.as_str(), &value));
        }
    }
}
