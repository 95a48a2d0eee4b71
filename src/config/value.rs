//! The kinds of values an option can have: how each is read, written and refused.
//!
//! The words of a refusal are Redis' own; it comes without the option's name, which the caller puts in front.

use super::memory::parse_memory;
use std::fmt;

/// What an option accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// A whole number within bounds, both included.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A whole number from zero up.
    Unsigned,
    /// A whole number; one out of bounds becomes the nearest bound, as Redis does for `hz`. A negative one is refused.
    Clamped {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// File permissions, in octal.
    Permissions,
    /// An amount of memory, see [`parse_memory`].
    Memory {
        /// The least.
        min: u64,
    },
    /// An amount of memory, or a percentage of `maxmemory`.
    MemoryOrPercent,
    /// One of several words.
    Choice {
        /// The words, in the order in which Redis lists them.
        words: &'static [&'static str],
        /// The same for the help: `a|b|c`.
        hint: &'static str,
    },
    /// One word of those that Redis takes; the others are refused with the reason.
    Only {
        /// What Redis takes.
        words: &'static [&'static str],
        /// What Millstream takes.
        word: &'static str,
        /// Why not the others.
        why: &'static str,
    },
    /// Any text.
    Text {
        /// What it is, for the help.
        hint: &'static str,
    },
    /// The name of a file or directory, without a path.
    Name {
        /// The option, which Redis names in the refusal.
        option: &'static str,
        /// `filename` or `dirname`.
        what: &'static str,
    },
    /// Any text, which is never shown in help, logs and errors.
    Secret,
    /// Any words.
    Words {
        /// What one of them is, for the help.
        hint: &'static str,
    },
    /// See [`super::Percentiles`].
    Percentiles,
    /// Redis' snapshot rules: pairs of seconds and changes.
    SavePoints,
    /// See [`super::Bind`].
    Addresses,
    /// See [`super::OutputLimits`].
    OutputLimits,
    /// See [`super::KeyspaceEvents`].
    Events,
}

impl Kind {
    /// Whether the value is a list of words, which may be given as one argument or as several.
    pub fn takes_many(self) -> bool {
        matches!(
            self,
            Kind::Words { .. } | Kind::Percentiles | Kind::SavePoints | Kind::Addresses | Kind::OutputLimits
        )
    }

    /// What to write after the option's name, for the help.
    pub fn hint(self) -> &'static str {
        match self {
            Kind::YesNo => "yes|no",
            Kind::Integer { .. } | Kind::Unsigned | Kind::Clamped { .. } => "NUMBER",
            Kind::Permissions => "OCTAL",
            Kind::Memory { .. } => "BYTES",
            Kind::MemoryOrPercent => "BYTES|PERCENT%",
            Kind::Choice { hint, .. } | Kind::Text { hint } | Kind::Words { hint } => hint,
            Kind::Only { word, .. } => word,
            Kind::Name { .. } => "NAME",
            Kind::Secret => "PASSWORD",
            Kind::Percentiles => "PERCENT...",
            Kind::SavePoints => "SECONDS CHANGES...",
            Kind::Addresses => "ADDRESS...",
            Kind::OutputLimits => "CLASS HARD SOFT SECONDS...",
            Kind::Events => "LETTERS",
        }
    }
}

/// A type of value that an option can have.
///
/// `assign` gets exactly one word unless the kind [takes many](Kind::takes_many). When it refuses, the value is as before.
/// What `text` returns, `assign` accepts, and it stands for the same value.
pub(super) trait Setting {
    fn assign(&mut self, kind: &Kind, words: &[&str]) -> Result<(), String>;
    fn text(&self, kind: &Kind) -> String;
}

impl Setting for bool {
    fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
        *self = match words[0] {
            word if word.eq_ignore_ascii_case("yes") => true,
            word if word.eq_ignore_ascii_case("no") => false,
            _ => return Err("argument must be 'yes' or 'no'".into()),
        };
        Ok(())
    }

    fn text(&self, _kind: &Kind) -> String {
        if *self { "yes".into() } else { "no".into() }
    }
}

macro_rules! integer_settings {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn assign(&mut self, kind: &Kind, words: &[&str]) -> Result<(), String> {
                *self = Self::try_from(number(kind, words[0])?)
                    .map_err(|_| format!("argument must be between {} and {} inclusive", Self::MIN, Self::MAX))?;
                Ok(())
            }

            fn text(&self, kind: &Kind) -> String {
                if *kind == Kind::Permissions { format!("{self:o}") } else { self.to_string() }
            }
        }
    )*};
}

integer_settings!(u16, u32, u64, i32, i64, usize);

fn number(kind: &Kind, text: &str) -> Result<i128, String> {
    let signed = i128::from(i64::MAX);
    let (value, min, max) = match *kind {
        Kind::Integer { min, max } => (decimal(text)?, min.into(), max.into()),
        Kind::Clamped { min, max } => {
            let value = within(decimal(text)?, 0, i32::MAX.into())?;
            return Ok(value.clamp(min.into(), max.into()));
        }
        Kind::Permissions => {
            let digits = if text.is_empty() { "0" } else { text };
            let value = i64::from_str_radix(digits, 8)
                .map_err(|_| "argument couldn't be parsed as an octal number")?;
            return if (0..=0o777).contains(&value) {
                Ok(value.into())
            } else {
                Err("argument must be between 0 and 777 inclusive".into())
            };
        }
        Kind::Memory { min } => {
            // What does not fit is reported as out of bounds: it is a memory value all the same.
            let too_large = || {
                !text.starts_with('-')
                    && parse_memory(text.trim_start_matches(|c: char| c.is_ascii_digit())).is_some()
            };
            let value = parse_memory(text).map(i128::from).or_else(|| too_large().then_some(i128::MAX));
            (value.ok_or("argument must be a memory value")?, min.into(), signed)
        }
        Kind::Unsigned => {
            let value = decimal(text)?;
            return if value < 0 { Err("argument must be greater or equal to 0".into()) } else { Ok(value) };
        }
        _ => unreachable!("no number is of kind {kind:?}"),
    };
    within(value, min, max)
}

fn within(value: i128, min: i128, max: i128) -> Result<i128, String> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

/// A whole number in its only spelling: no plus sign, no leading zeros, no blanks.
fn decimal(text: &str) -> Result<i128, String> {
    let value: Option<i64> = text.parse().ok();
    let value = value.filter(|value| value.to_string() == text);
    value.map(i128::from).ok_or_else(|| "argument couldn't be parsed into an integer".into())
}

impl Setting for String {
    fn assign(&mut self, kind: &Kind, words: &[&str]) -> Result<(), String> {
        if let Kind::Name { option, what } = kind {
            if words[0].is_empty() {
                return Err(format!("{option} can't be empty"));
            }
            if words[0].contains('/') || matches!(words[0], "." | "..") {
                return Err(format!("{option} can't be a path, just a {what}"));
            }
        }
        *self = words[0].to_owned();
        Ok(())
    }

    fn text(&self, _kind: &Kind) -> String {
        self.clone()
    }
}

impl Setting for Vec<String> {
    fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
        *self = words.iter().map(|word| (*word).to_owned()).collect();
        Ok(())
    }

    fn text(&self, _kind: &Kind) -> String {
        self.join(" ")
    }
}

/// Percentages, each from 0 to 100.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Percentiles(Vec<f64>);

impl Percentiles {
    /// The percentages, as they were given.
    pub fn iter(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }
}

impl Setting for Percentiles {
    fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
        let percentages: Result<Vec<f64>, _> = words.iter().map(|word| word.parse()).collect();
        let percentages = percentages.map_err(|_| "Invalid latency-tracking-info-percentiles parameters")?;
        if !percentages.iter().all(|percent| (0.0..=100.0).contains(percent)) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
        }
        *self = Percentiles(percentages);
        Ok(())
    }

    fn text(&self, _kind: &Kind) -> String {
        let words: Vec<String> = self.0.iter().map(f64::to_string).collect();
        words.join(" ")
    }
}

/// A password. Its `Debug` form says whether there is one, never what it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Whether it is not empty.
    pub fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// The password itself. Not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_set() { "(set)" } else { "(not set)" })
    }
}

impl Setting for Secret {
    fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
        self.0 = words[0].to_owned();
        Ok(())
    }

    fn text(&self, _kind: &Kind) -> String {
        self.0.clone()
    }
}

/// The value of an option that can have only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed;

impl Setting for Fixed {
    fn assign(&mut self, kind: &Kind, words: &[&str]) -> Result<(), String> {
        match *kind {
            // Snapshot rules are checked and then dropped.
            Kind::SavePoints => {
                let pairs = words.as_chunks::<2>();
                let valid = |[seconds, changes]: &[&str; 2]| {
                    seconds.parse::<i64>().is_ok_and(|seconds| seconds >= 1)
                        && changes.parse::<i32>().is_ok_and(|changes| changes >= 0)
                };
                let valid = pairs.1.is_empty() && pairs.0.iter().all(valid);
                if valid { Ok(()) } else { Err("Invalid save parameters".into()) }
            }
            Kind::Only { words: known, word, why } => match choose(known, words[0]) {
                Some(index) if known[index] == word => Ok(()),
                Some(_) => Err(why.into()),
                None if known == ["yes", "no"] => Err("argument must be 'yes' or 'no'".into()),
                None => Err(not_a_choice(known)),
            },
            _ => unreachable!("no fixed value is of kind {kind:?}"),
        }
    }

    fn text(&self, kind: &Kind) -> String {
        if let Kind::Only { word, .. } = kind { (*word).to_owned() } else { String::new() }
    }
}

/// An amount of memory, or a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryOrPercent {
    /// So many bytes; zero means no bound.
    Bytes(u64),
    /// So many hundredths; from 1 to 100.
    Percent(u8),
}

impl Default for MemoryOrPercent {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

impl Setting for MemoryOrPercent {
    fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
        let malformed = "argument must be a memory or percent value";
        *self = if let Some(percent) = words[0].strip_suffix('%') {
            match decimal(percent) {
                Ok(0) => Self::Bytes(0),
                Ok(percent @ 1..=100) => Self::Percent(percent as u8),
                Ok(101..) => return Err("percentage argument must be less or equal to 100".into()),
                _ => return Err(malformed.into()),
            }
        } else {
            Self::Bytes(
                parse_memory(words[0]).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or(malformed)?,
            )
        };
        Ok(())
    }

    fn text(&self, _kind: &Kind) -> String {
        match self {
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Percent(percent) => format!("{percent}%"),
        }
    }
}

/// The place of a word among several, whatever its case.
fn choose(words: &[&str], text: &str) -> Option<usize> {
    words.iter().position(|word| word.eq_ignore_ascii_case(text))
}

fn not_a_choice(words: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", words.join(", "))
}

/// Declares an option's words as a type.
macro_rules! choices {
    ($($(#[$doc:meta])* $type:ident { $(#[$first_doc:meta])* $first:ident $first_word:literal $(, $(#[$variant_doc:meta])* $variant:ident $word:literal)* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $type {
            $(#[$first_doc])*
            #[default]
            $first,
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            pub(super) const KIND: Kind =
                Kind::Choice { words: &[$first_word $(, $word)*], hint: concat!($first_word $(, "|", $word)*) };

            /// The word for it.
            pub fn word(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl Setting for $type {
            fn assign(&mut self, _kind: &Kind, words: &[&str]) -> Result<(), String> {
                let known = &[$first_word $(, $word)*];
                let values = [Self::$first $(, Self::$variant)*];
                *self = values[choose(known, words[0]).ok_or_else(|| not_a_choice(known))?];
                Ok(())
            }

            fn text(&self, _kind: &Kind) -> String {
                self.word().to_owned()
            }
        }
    )*};
}

choices! {
    /// When the log is synced to disk, and with it, when replies leave.
    AppendFsync {
        /// Once a second; a reply leaves when the kernel has the bytes.
        Everysec "everysec",
        /// Before each reply.
        Always "always",
        /// When the kernel likes.
        No "no",
    }

    /// How much is logged.
    LogLevel {
        /// Everything.
        Debug "debug",
        /// What is rarely useful.
        Verbose "verbose",
        /// What an operator wants to know.
        Notice "notice",
        /// What needs attention.
        Warning "warning",
        /// Nothing at all.
        Nothing "nothing",
    }

    /// Whether TLS clients show a certificate.
    TlsAuthClients {
        /// They must.
        Yes "yes",
        /// They are not asked.
        No "no",
        /// They may; a wrong one is refused.
        Optional "optional",
    }

    /// As whom a TLS client begins that shows a certificate.
    TlsAuthClientsUser {
        /// As the default user, like everybody.
        Off "off",
        /// As the user that the certificate's common name names.
        CommonName "CN",
    }

    /// What new users may do with channels.
    AclPubsubDefault {
        /// Nothing.
        None "resetchannels",
        /// Use all of them.
        All "allchannels",
    }

    /// What a line of the log looks like.
    LogFormat {
        /// `human` on a terminal, `json` elsewhere.
        Auto "auto",
        /// For people.
        Human "human",
        /// For collectors.
        Json "json",
    }

    /// Redis' `supervised`.
    Supervised {
        /// No supervisor.
        No "no",
        /// systemd.
        Systemd "systemd",
        /// upstart.
        Upstart "upstart",
        /// Whichever the environment tells of.
        Auto "auto",
    }

    /// Redis' `oom-score-adj`.
    OomScoreAdj {
        /// Leave the score alone.
        No "no",
        /// As `relative`.
        Yes "yes",
        /// Add to the score.
        Relative "relative",
        /// Set the score.
        Absolute "absolute",
    }

    /// Redis' `repl-diskless-load`.
    ReplDisklessLoad {
        /// Through a file.
        Disabled "disabled",
        /// When there are no data.
        OnEmptyDb "on-empty-db",
        /// Beside the old data.
        Swapdb "swapdb",
    }

    /// Redis' `sanitize-dump-payload`.
    SanitizeDumpPayload {
        /// Never.
        No "no",
        /// Always.
        Yes "yes",
        /// For clients only.
        Clients "clients",
    }

    /// Redis' `enable-debug-command`.
    DebugCommands {
        /// For nobody.
        No "no",
        /// For everybody.
        Yes "yes",
        /// For connections from the same machine.
        Local "local",
    }
}

impl AclPubsubDefault {
    /// Whether every channel is allowed.
    pub fn allows(self) -> bool {
        self == Self::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: Setting + Default>(kind: Kind, given: &str, expected: Result<&str, &str>) {
        let mut value = T::default();
        let got = value.assign(&kind, &[given]).map(|()| value.text(&kind));
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{kind:?} {given:?}");
    }

    #[test]
    fn integers_have_one_spelling() {
        let kind = Kind::Integer { min: -2, max: 100 };
        check::<i32>(kind, "-2", Ok("-2"));
        check::<i32>(kind, "100", Ok("100"));
        for out in ["-3", "101"] {
            check::<i32>(kind, out, Err("argument must be between -2 and 100 inclusive"));
        }
        for malformed in ["", "abc", "1 ", " 1", "01", "+1", "0x10", "-0", "1kb", "99999999999999999999"] {
            check::<i32>(kind, malformed, Err("argument couldn't be parsed into an integer"));
        }
        check::<u64>(Kind::Unsigned, "-1", Err("argument must be greater or equal to 0"));
        check::<u64>(Kind::Unsigned, "9223372036854775807", Ok("9223372036854775807"));
        let hz = Kind::Clamped { min: 1, max: 500 };
        check::<u32>(hz, "0", Ok("1"));
        check::<u32>(hz, "501", Ok("500"));
        check::<u32>(hz, "-1", Err("argument must be between 0 and 2147483647 inclusive"));
    }

    #[test]
    fn permissions_are_octal() {
        check::<u32>(Kind::Permissions, "700", Ok("700"));
        check::<u32>(Kind::Permissions, "", Ok("0"));
        check::<u32>(Kind::Permissions, "999", Err("argument couldn't be parsed as an octal number"));
        check::<u32>(Kind::Permissions, "1777", Err("argument must be between 0 and 777 inclusive"));
    }

    #[test]
    fn memory_is_printed_in_bytes() {
        let kind = Kind::Memory { min: 1 << 20 };
        check::<u64>(kind, "1gb", Ok("1073741824"));
        let bounds = "argument must be between 1048576 and 9223372036854775807 inclusive";
        for out in ["1", "", "99999999999gb", "18446744073709551615", "18446744073709551616"] {
            check::<u64>(kind, out, Err(bounds));
        }
        for malformed in ["abc", "-1", "1.5gb", "1zb", "50%"] {
            check::<u64>(kind, malformed, Err("argument must be a memory value"));
        }
        check::<MemoryOrPercent>(Kind::MemoryOrPercent, "5%", Ok("5%"));
        check::<MemoryOrPercent>(Kind::MemoryOrPercent, "0%", Ok("0"));
        check::<MemoryOrPercent>(Kind::MemoryOrPercent, "1mb", Ok("1048576"));
        check::<MemoryOrPercent>(
            Kind::MemoryOrPercent,
            "500%",
            Err("percentage argument must be less or equal to 100"),
        );
        check::<MemoryOrPercent>(
            Kind::MemoryOrPercent,
            "5x%",
            Err("argument must be a memory or percent value"),
        );
        check::<MemoryOrPercent>(
            Kind::MemoryOrPercent,
            "-5%",
            Err("argument must be a memory or percent value"),
        );
    }

    #[test]
    fn words_are_chosen_whatever_their_case() {
        check::<bool>(Kind::YesNo, "YES", Ok("yes"));
        check::<bool>(Kind::YesNo, "1", Err("argument must be 'yes' or 'no'"));
        check::<LogLevel>(LogLevel::KIND, "NOTICE", Ok("notice"));
        let levels = "argument(s) must be one of the following: debug, verbose, notice, warning, nothing";
        check::<LogLevel>(LogLevel::KIND, "loud", Err(levels));
    }

    #[test]
    fn a_fixed_value_gives_its_reason() {
        let kind = Kind::Only { words: &["yes", "no"], word: "yes", why: "because" };
        check::<Fixed>(kind, "Yes", Ok("yes"));
        check::<Fixed>(kind, "no", Err("because"));
        check::<Fixed>(kind, "maybe", Err("argument must be 'yes' or 'no'"));
        let mut fixed = Fixed;
        assert!(fixed.assign(&Kind::SavePoints, &["900", "1", "300", "10"]).is_ok());
        assert!(fixed.assign(&Kind::SavePoints, &[]).is_ok());
        for bad in [&["900"][..], &["abc", "1"], &["0", "1"], &["900", "-1"]] {
            assert_eq!(fixed.assign(&Kind::SavePoints, bad).unwrap_err(), "Invalid save parameters");
        }
    }

    #[test]
    fn names_are_not_paths() {
        let kind = Kind::Name { option: "appenddirname", what: "dirname" };
        check::<String>(kind, "log", Ok("log"));
        check::<String>(kind, "", Err("appenddirname can't be empty"));
        for path in ["a/b", "..", "."] {
            check::<String>(kind, path, Err("appenddirname can't be a path, just a dirname"));
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let mut secret = Secret::default();
        assert_eq!(format!("{secret:?}"), "(not set)");
        secret.assign(&Kind::Secret, &["hunter2"]).unwrap();
        assert_eq!((format!("{secret:?}").as_str(), secret.expose()), ("(set)", "hunter2"));
    }
}
