//! The settings that the whole server shares, and `CONFIG GET` and `CONFIG SET` on them.
//!
//! # Who may touch what
//!
//! Everybody reads through a [`View`] of their own: a handle on one consistent state of all settings, renewed when the generation
//! has moved. Looking at the generation is one load of a line that nobody writes to in normal operation; no lock is taken for
//! a command. A change builds new settings and puts them in place of the old ones as a whole, so nobody sees half of a `CONFIG SET`.
//!
//! What a change brings about is not done here: see [`Config::set_checked`] for what must happen before, [`View::refresh`]
//! for what may happen after.

use super::events::KeyspaceEvents;
use super::options::{ConfigOption, OPTIONS, Settings, When, option};
use crate::glob::Pattern;
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The settings that are in force.
#[derive(Debug)]
pub struct Config {
    /// Held for the length of a clone or a swap.
    current: RwLock<Arc<Settings>>,
    /// Raised after `current` has changed.
    generation: AtomicU64,
    /// The bits of `notify-keyspace-events`, which every command looks at. Changed before `generation` is raised.
    keyspace_events: AtomicU32,
    /// `stream-node-max-bytes` and `stream-node-max-entries`, which every `XADD` looks at, in the same way.
    stream_node_max: [AtomicU64; 2],
    /// Held by the one change that is under way.
    changing: Mutex<()>,
}

impl Config {
    /// Puts these settings in force.
    pub fn new(settings: Settings) -> Self {
        Self {
            keyspace_events: AtomicU32::new(settings.notify_keyspace_events.bits()),
            stream_node_max: stream_node_max(&settings).map(AtomicU64::new),
            current: RwLock::new(Arc::new(settings)),
            generation: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.current.read())
    }

    /// `notify-keyspace-events` as it is now: one load.
    pub fn keyspace_events(&self) -> KeyspaceEvents {
        KeyspaceEvents::from_bits_retain(self.keyspace_events.load(Ordering::Relaxed))
    }

    /// `stream-node-max-bytes` and `stream-node-max-entries` as they are now: two loads.
    pub fn stream_node_max(&self) -> [u64; 2] {
        self.stream_node_max.each_ref().map(|max| max.load(Ordering::Relaxed))
    }

    /// A number that is another one after each change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A handle for frequent reading.
    pub fn view(&self) -> View {
        // The generation first: should a change come between the two, the next refresh sees it once more.
        let generation = self.generation();
        View { settings: self.settings(), generation }
    }

    /// `CONFIG GET`: names and values of the options that match one of the patterns.
    ///
    /// A name without wildcards is answered as it was asked, so `HZ` comes back as `HZ`. Each option comes once under each of its
    /// names, in the order of the patterns and, within a pattern, of the table.
    pub fn get<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(String, String)> {
        let settings = self.settings();
        let mut found: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, option: &ConfigOption| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_owned(), option.text(&settings)));
            }
        };
        for pattern in patterns {
            let pattern = pattern.as_ref();
            if pattern.iter().any(|byte| b"[*?".contains(byte)) {
                let pattern = Pattern::ignoring_case(pattern);
                for option in OPTIONS {
                    option
                        .names()
                        .filter(|name| pattern.matches(name.as_bytes()))
                        .for_each(|name| add(name, option));
                }
            } else if let Ok(name) = str::from_utf8(pattern)
                && let Some(option) = option(name)
            {
                add(name, option);
            }
        }
        found
    }

    /// `CONFIG SET`: all of the names and values, or none.
    pub fn set<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Result<(), ConfigError> {
        self.set_checked(arguments, |_, _| Ok(()))
    }

    /// The same for someone who has to have a say: `check` gets the settings as they were and as they would be, and may refuse
    /// with the option's name and the reason. It runs while other changes wait, and before anybody sees the new settings.
    ///
    /// # Deadlocks
    /// `check` must not change the settings itself.
    pub fn set_checked<A: AsRef<[u8]>>(
        &self,
        arguments: &[A],
        check: impl FnOnce(&Settings, &Settings) -> Result<(), (&'static str, String)>,
    ) -> Result<(), ConfigError> {
        let (pairs, []) = arguments.as_chunks::<2>() else { return Err(ConfigError::OddArguments) };
        let pairs = pairs.iter().map(|[name, value]| (name.as_ref(), value.as_ref()));
        let changes = named_options(pairs)?;
        let _changing = self.changing.lock();
        let old = self.settings();
        let mut new = Settings::clone(&old);
        for Change { option, name, value } in changes {
            let refused = |reason| ConfigError::Refused { name: name.into(), reason };
            let value = str::from_utf8(value).map_err(|_| refused("argument must be UTF-8 text".into()))?;
            option.assign(&mut new, &[value]).map_err(refused)?;
        }
        check(&old, &new).map_err(|(name, reason)| ConfigError::Refused { name: name.into(), reason })?;
        if new != *old {
            self.keyspace_events.store(new.notify_keyspace_events.bits(), Ordering::Relaxed);
            for (max, new) in self.stream_node_max.iter().zip(stream_node_max(&new)) {
                max.store(new, Ordering::Relaxed);
            }
            *self.current.write() = Arc::new(new);
            self.generation.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }
}

fn stream_node_max(settings: &Settings) -> [u64; 2] {
    [settings.stream_node_max_bytes, settings.stream_node_max_entries]
}

/// One pair of a `CONFIG SET`, not yet looked at further.
struct Change<'a> {
    option: &'static ConfigOption,
    /// Whichever of the option's names was used, as the table writes it.
    name: &'static str,
    value: &'a [u8],
}

/// Looks up all names before any value is looked at, as Redis does: the first name that cannot be set is the error.
fn named_options<'a>(
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<Vec<Change<'a>>, ConfigError> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    for (given, value) in pairs {
        let given = String::from_utf8_lossy(given).into_owned();
        let Some(option) = option(&given) else { return Err(ConfigError::Unknown { name: given }) };
        if option.when == When::AtStart {
            return Err(ConfigError::Refused { name: given, reason: "can't set immutable config".into() });
        }
        if changes.iter().any(|change| std::ptr::eq(change.option, option)) {
            return Err(ConfigError::Refused { name: given, reason: "duplicate parameter".into() });
        }
        let name = option.names().find(|name| name.eq_ignore_ascii_case(&given)).unwrap_or(option.name);
        changes.push(Change { option, name, value });
    }
    Ok(changes)
}

/// Why `CONFIG SET` changed nothing. Its text is the reply, code included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A name without a value.
    OddArguments,
    /// There is no such option.
    Unknown {
        /// As the client wrote it.
        name: String,
    },
    /// The option exists and does not take the value, or not now.
    Refused {
        /// Which option.
        name: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An error is one line, whatever the client called its option.
        let line = |text: &str| text.replace(['\r', '\n'], " ");
        match self {
            Self::OddArguments => formatter.write_str("ERR syntax error"),
            Self::Unknown { name } => {
                write!(
                    formatter,
                    "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                    line(name)
                )
            }
            Self::Refused { name, reason } => {
                let (name, reason) = (line(name), line(reason));
                write!(formatter, "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// One reader's own handle on the settings. An event loop keeps one and reads from it without any lock.
#[derive(Clone, Debug)]
pub struct View {
    settings: Arc<Settings>,
    generation: u64,
}

impl View {
    /// Catches up with the shared settings; returns the ones this view had before when there was something new, so that the
    /// reader can act on the difference. One atomic load when there was not.
    pub fn refresh(&mut self, config: &Config) -> Option<Arc<Settings>> {
        if config.generation() == self.generation {
            return None;
        }
        let before = std::mem::replace(self, config.view());
        Some(before.settings)
    }

    /// The settings as of the last refresh.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }
}

impl std::ops::Deref for View {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(Settings::default())
    }

    #[track_caller]
    fn check_set(arguments: &[&str], expected: &str) {
        let config = config();
        let reply = config.set(arguments).map_or_else(|error| error.to_string(), |()| "OK".into());
        assert_eq!(reply, expected, "{arguments:?}");
        assert_eq!(expected == "OK", *config.settings() != Settings::default());
    }

    fn failed(name: &str, reason: &str) -> String {
        format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    }

    /// The words of redis-server 8.2.3.
    #[test]
    fn errors_are_worded_as_in_redis() {
        let integer = "argument couldn't be parsed into an integer";
        check_set(&["hz", "11"], "OK");
        check_set(&["x", "y"], "ERR Unknown option or number of arguments for CONFIG SET - 'x'");
        check_set(&["NoSuch", "y"], "ERR Unknown option or number of arguments for CONFIG SET - 'NoSuch'");
        check_set(
            &["hz", "abc", "nosuch", "2"],
            "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
        );
        check_set(&["a\r\nb", "2"], "ERR Unknown option or number of arguments for CONFIG SET - 'a  b'");
        check_set(&["hz", "1", "x"], "ERR syntax error");
        check_set(&["hz", "abc"], &failed("hz", integer));
        check_set(&["HZ", "abc"], &failed("hz", integer));
        check_set(&["list-max-ziplist-size", "x"], &failed("list-max-ziplist-size", integer));
        check_set(&["hz", "1", "HZ", "2"], &failed("HZ", "duplicate parameter"));
        check_set(&["DATABASES", "3"], &failed("DATABASES", "can't set immutable config"));
        check_set(&["databases", "3", "nosuch", "2"], &failed("databases", "can't set immutable config"));
        check_set(
            &["timeout", "-1"],
            &failed("timeout", "argument must be between 0 and 2147483647 inclusive"),
        );
        check_set(&["maxmemory", "1zb"], &failed("maxmemory", "argument must be a memory value"));
        check_set(&["appendonly", "maybe"], &failed("appendonly", "argument must be 'yes' or 'no'"));
        check_set(
            &["loglevel", "notice debug"],
            &failed(
                "loglevel",
                "argument(s) must be one of the following: debug, verbose, notice, warning, nothing",
            ),
        );
        check_set(&["save", "900"], &failed("save", "Invalid save parameters"));
        check_set(&["requirepass", "a\u{0}b"], "OK");
    }

    /// What redis-server 8.2.3 said to `CONFIG SET option value`: option, value, `yes` with the value that `CONFIG GET` then shows or `no`
    /// with the refusal. Left out: amounts of memory beyond 2^63, which Redis lets wrap around.
    const ANSWERS: &str = include_str!("../../tests/data/config-set-redis-8.2.3.txt");

    #[test]
    fn values_are_taken_and_refused_as_in_redis() {
        check_answers(ANSWERS);
    }

    fn check_answers(answers: &str) {
        for line in answers.lines() {
            let [name, value, taken, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line:?}");
            };
            let config = config();
            match config.set(&[name, value]) {
                Ok(()) => {
                    let shown = config.get(&[name]).remove(0).1;
                    // Another default shines through the classes that the value does not name.
                    let different = name == "save"
                        || (name == "client-output-buffer-limit" && !value.starts_with("normal"));
                    assert!(taken == "yes" && (shown == expected || different), "{line:?}: {shown}");
                }
                Err(error) => {
                    assert_eq!((taken, error.to_string()), ("no", failed(name, expected)), "{line:?}");
                }
            }
        }
    }

    #[test]
    fn several_change_together_or_not_at_all() {
        let config = config();
        assert!(config.set(&["timeout", "5", "maxclients", "0"]).is_err());
        assert_eq!((config.settings().timeout, config.generation()), (0, 0));
        config.set(&["timeout", "5", "maxclients", "7"]).unwrap();
        assert_eq!((config.settings().timeout, config.settings().maxclients, config.generation()), (5, 7, 1));
        // Nothing new, nothing to act on.
        config.set(&["timeout", "5"]).unwrap();
        assert_eq!(config.generation(), 1);
        assert!(config.set(&[b"requirepass".as_slice(), b"\xff"]).is_err());
    }

    #[test]
    fn a_check_can_refuse() {
        let config = config();
        let refusal = config.set_checked(&["maxclients", "9"], |old, new| {
            assert_eq!((old.maxclients, new.maxclients), (10000, 9));
            Err(("maxclients", "no".into()))
        });
        assert_eq!(refusal.unwrap_err().to_string(), failed("maxclients", "no"));
        assert_eq!(config.settings().maxclients, 10000);
    }

    #[test]
    fn names_come_back_as_asked() {
        let config = config();
        let get = |patterns: &[&str]| {
            config
                .get(patterns)
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(get(&["hz", "port", "hz"]), ["hz=10", "port=6379"]);
        assert_eq!(get(&["HZ", "*hz", "nosuch"]), ["HZ=10", "dynamic-hz=yes"]);
        assert_eq!(get(&["[hp]z"]), ["hz=10"]);
        assert_eq!(get(&["list-max-*"]), ["list-max-listpack-size=-2", "list-max-ziplist-size=-2"]);
        assert_eq!(get(&["LIST-MAX-ZIPLIST-SIZE"]), ["LIST-MAX-ZIPLIST-SIZE=-2"]);
        assert_eq!(get(&["save"]), ["save="]);
        assert_eq!(config.get(&["*"]).len(), OPTIONS.iter().flat_map(ConfigOption::names).count());
        assert!(config.get(&[b"\xff"]).is_empty());
    }

    #[test]
    fn a_view_follows_on_request() {
        let config = config();
        let mut view = config.view();
        assert!(view.refresh(&config).is_none());
        config.set(&["timeout", "5"]).unwrap();
        assert_eq!(view.timeout, 0);
        assert_eq!(view.refresh(&config).unwrap().timeout, 0);
        assert_eq!((view.timeout, view.settings().timeout), (5, 5));
        assert!(view.refresh(&config).is_none());
    }

    /// Two options that always change together are never seen apart.
    #[test]
    fn nobody_sees_half_a_change() {
        let config = config();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for value in 1..500 {
                        let value = value.to_string();
                        config.set(&["timeout", &value, "tcp-keepalive", &value]).unwrap();
                    }
                });
            }
            let mut view = config.view();
            for _ in 0..10_000 {
                if view.refresh(&config).is_some() {
                    assert_eq!(view.timeout, view.tcp_keepalive);
                }
            }
        });
    }
}
