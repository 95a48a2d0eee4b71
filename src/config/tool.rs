//! The command line of `millstream aof`: the tool for logs that a server has written or will read.

use super::options::option;
use clap::{Arg, ArgAction, Command, value_parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// What the tool is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AofCommand {
    /// Verify a log.
    Check {
        /// The data directory.
        dir: PathBuf,
        /// Whether to leave out applying the commands, which takes as much memory as the server needs.
        blocks_only: bool,
    },
    /// Make a new log of what can be read of a damaged one.
    Salvage {
        /// The data directory.
        dir: PathBuf,
        /// The data directory to be made.
        to: PathBuf,
        /// Whether something that was durable may be lost.
        accept_loss: bool,
    },
    /// Print the commands of a log.
    Cat {
        /// The data directory.
        dir: PathBuf,
        /// The first block to print.
        from: u64,
        /// The last block to print.
        to: u64,
        /// Only commands that name this key.
        key: Option<OsString>,
    },
    /// Make a log of an append-only file that Redis or Valkey has written.
    Import {
        /// The other server's data directory, its append-only directory, or its append-only file.
        from: PathBuf,
        /// The data directory to be made.
        dir: PathBuf,
    },
}

impl AofCommand {
    /// Reads the arguments behind `millstream aof`.
    ///
    /// The error is what clap makes of it, as for [`CommandLine::parse`](super::CommandLine::parse).
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let name = std::iter::once(OsString::from(NAME));
        let matches = command().try_get_matches_from(name.chain(arguments))?;
        let (name, matches) = matches.subcommand().expect("clap insists on one");
        let path = |name: &str| matches.get_one::<PathBuf>(name).expect("clap insists on it").clone();
        let block = |name: &str| *matches.get_one::<u64>(name).expect("it has a default");
        Ok(match name {
            "check" => Self::Check { dir: path("dir"), blocks_only: matches.get_flag("blocks-only") },
            "salvage" => Self::Salvage {
                dir: path("dir"),
                to: path("to"),
                accept_loss: matches.get_flag("accept-loss"),
            },
            "cat" => Self::Cat {
                dir: path("dir"),
                from: block("from"),
                to: block("to"),
                key: matches.get_one::<OsString>("key").cloned(),
            },
            _ => Self::Import { from: path("from"), dir: path("dir") },
        })
    }
}

const NAME: &str = "millstream aof";

fn command() -> Command {
    Command::new(NAME)
        .bin_name(NAME)
        .about("Looks at a log, prints it, rescues what is left of a damaged one, imports one of Redis.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("check")
                .about("Verify a log and say what the server would do with it")
                .long_about(
                    "Verifies every block of a log and says what the server would do with it at its start. Changes \
                     nothing; a server may be running.\n\nExit code: 0 the server would start, 1 it would refuse, 2 \
                     wrong usage.",
                )
                .arg(dir())
                .arg(
                    Arg::new("blocks-only")
                        .long("blocks-only")
                        .action(ArgAction::SetTrue)
                        .help("Do not apply the commands, which takes as much memory as the server needs"),
                ),
        )
        .subcommand(
            Command::new("salvage")
                .about("Make a new log of everything that can be read of a damaged one")
                .long_about(
                    "Makes a new data directory with everything that can be read of a damaged log, and says what is \
                     lost. The original stays as it is. Commands are applied on the way, which takes as much memory as \
                     the server needs.\n\nExit code: 0 done, 1 not done, 2 wrong usage.",
                )
                .arg(dir())
                .arg(path("to", "The data directory to make; it must be empty or not there yet"))
                .arg(
                    Arg::new("accept-loss")
                        .long("accept-loss")
                        .action(ArgAction::SetTrue)
                        .help("Go on although something that was durable is lost"),
                ),
        )
        .subcommand(
            Command::new("cat")
                .about("Print the commands of a log: block, time, database, command")
                .arg(dir())
                .arg(lsn("from", "0", "The first block to print"))
                .arg(lsn("to", "18446744073709551615", "The last block to print").hide_default_value(true))
                .arg(
                    Arg::new("key")
                        .long("key")
                        .value_name("KEY")
                        .value_parser(value_parser!(OsString))
                        .help("Only commands that name this key"),
                ),
        )
        .subcommand(
            Command::new("import")
                .about("Make a log of an append-only file that Redis or Valkey has written")
                .arg(path("from", "Their data directory, append-only directory, or append-only file"))
                .arg(path("dir", "The data directory to make; it must not hold a log")),
        )
}

fn dir() -> Arg {
    let default = option("dir").expect("there is such an option").default;
    path("dir", "The data directory").required(false).default_value(default)
}

fn path(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("DIRECTORY")
        .value_parser(value_parser!(PathBuf))
        .required(true)
        .help(help)
}

fn lsn(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("LSN")
        .value_parser(value_parser!(u64))
        .default_value(default)
        .help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<AofCommand, clap::Error> {
        AofCommand::parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn reads_each_command() {
        command().debug_assert();
        let dir = PathBuf::from("d");
        let check = |dir: &str, blocks_only| AofCommand::Check { dir: dir.into(), blocks_only };
        assert_eq!(parse(&["check"]).unwrap(), check("./millstream-data", false));
        assert_eq!(parse(&["check", "--dir=d", "--blocks-only"]).unwrap(), check("d", true));
        assert_eq!(
            parse(&["salvage", "--dir", "d", "--to", "n", "--accept-loss"]).unwrap(),
            AofCommand::Salvage { dir: dir.clone(), to: "n".into(), accept_loss: true }
        );
        assert_eq!(
            parse(&["cat", "--dir", "d", "--from", "3", "--key", "k"]).unwrap(),
            AofCommand::Cat { dir: dir.clone(), from: 3, to: u64::MAX, key: Some("k".into()) }
        );
        assert_eq!(
            parse(&["import", "--from", "r", "--dir", "d"]).unwrap(),
            AofCommand::Import { from: "r".into(), dir }
        );
    }

    #[test]
    fn wrong_usage_ends_with_2_and_help_with_0() {
        for arguments in [
            &[][..],
            &["chekc"],
            &["check", "--dri", "x"],
            &["check", "x"],
            &["salvage", "--dir", "d"],
            &["cat", "--from", "-1"],
            &["import", "--from", "r"],
        ] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
        for arguments in [&["--help"][..], &["check", "--help"], &["cat", "-h"]] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 0, "{arguments:?}");
        }
        assert!(parse(&["chekc"]).unwrap_err().to_string().contains("check"));
    }
}
