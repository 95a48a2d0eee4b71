//! Selectors: one set of commands, keys and channels that are allowed together.

use crate::glob::Pattern;

use super::user::RuleError;
use super::{CATEGORIES, COMMANDS_MAX};

/// What rules need to know of the commands there are.
pub trait Catalog {
    /// The command of this name, of any case: `get`, `client|kill`.
    fn find(&self, full_name: &str) -> Option<Named>;

    /// The numbers of the commands of a category, and of all subcommands of a container that belongs to it.
    fn in_category(&self, category: &str) -> Vec<u16>;
}

/// A command that was found by its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its number, below [`COMMANDS_MAX`](super::COMMANDS_MAX).
    pub number: u16,
    /// Its name in lower case, `container|name` for a subcommand.
    pub full_name: &'static str,
    /// Whether it is a subcommand.
    pub is_subcommand: bool,
    /// The numbers of its subcommands.
    pub subcommands: Vec<u16>,
}

/// What a command does to a key, as far as permissions care. A command that only asks whether a key is there does
/// neither, and needs a pattern of any kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// Its value is read.
    pub read: bool,
    /// It is changed.
    pub write: bool,
}

/// The command of a request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its number.
    pub number: u16,
    /// Whether everybody may run it: what one logs in and out with.
    pub free: bool,
    /// The argument after its name.
    pub first_arg: Option<&'a [u8]>,
}

/// Why a request is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What is not.
    pub reason: Reason,
    /// The number of the argument that names it; 0 for the command.
    pub at: usize,
}

/// What is not allowed. Where several selectors refuse, the last of these is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
}

/// A set of commands by number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CommandSet([u64; COMMANDS_MAX / 64]);

impl CommandSet {
    const NONE: CommandSet = CommandSet([0; COMMANDS_MAX / 64]);
    const ALL: CommandSet = CommandSet([u64::MAX; COMMANDS_MAX / 64]);

    fn contains(&self, number: u16) -> bool {
        self.0[usize::from(number) / 64] & (1 << (number % 64)) != 0
    }

    fn set(&mut self, number: u16, allowed: bool) {
        let (word, bit) = (&mut self.0[usize::from(number) / 64], 1 << (number % 64));
        *word = if allowed { *word | bit } else { *word & !bit };
    }
}

/// Some commands, keys and channels.
#[derive(Clone)]
pub struct Selector {
    commands: CommandSet,
    /// Whether commands that nobody has heard of yet are allowed: which of `+@all` and `-@all` came last.
    begins_with_all: bool,
    /// Commands that are only allowed with a certain first argument.
    first_args: Vec<(u16, Box<[u8]>)>,
    /// What was said about commands since the last `±@all`, each once: allowed or not, name.
    rules: Vec<(bool, String)>,
    /// Whether every key is allowed; then there are no patterns.
    all_keys: bool,
    keys: Vec<KeyPattern>,
    /// Whether every channel is allowed; then there are no patterns.
    all_channels: bool,
    channels: Vec<ChannelPattern>,
}

#[derive(Clone)]
struct KeyPattern {
    text: Box<[u8]>,
    pattern: Pattern,
    allows: Touch,
}

#[derive(Clone)]
struct ChannelPattern {
    text: Box<[u8]>,
    pattern: Pattern,
}

const KEYS_AND_COMMANDS_NONE: Selector = Selector {
    commands: CommandSet::NONE,
    begins_with_all: false,
    first_args: Vec::new(),
    rules: Vec::new(),
    all_keys: false,
    keys: Vec::new(),
    all_channels: false,
    channels: Vec::new(),
};

impl Selector {
    /// Nothing, or no more than every channel.
    #[must_use]
    pub fn new(all_channels: bool) -> Selector {
        Selector { all_channels, ..KEYS_AND_COMMANDS_NONE }
    }

    /// Everything.
    #[must_use]
    pub fn everything() -> Selector {
        Selector {
            commands: CommandSet::ALL,
            begins_with_all: true,
            all_keys: true,
            all_channels: true,
            ..KEYS_AND_COMMANDS_NONE
        }
    }

    /// Reads what stands between the parentheses of a selector.
    pub(super) fn parse(
        text: &[u8],
        catalog: &impl Catalog,
        all_channels: bool,
    ) -> Result<Selector, RuleError> {
        let mut selector = Selector::new(all_channels);
        for rule in text.split(u8::is_ascii_whitespace) {
            selector.apply(rule, catalog)?;
        }
        Ok(selector)
    }

    /// Whether nothing at all is refused.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.all_keys && self.all_channels && self.commands == CommandSet::ALL
    }

    /// Changes it by one rule. An empty one changes nothing.
    ///
    /// # Errors
    /// Why the rule is none.
    pub fn apply(&mut self, rule: &[u8], catalog: &impl Catalog) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("allkeys") || is("~*") {
            self.all_keys = true;
            self.keys.clear();
        } else if is("resetkeys") {
            self.all_keys = false;
            self.keys.clear();
        } else if is("allchannels") || is("&*") {
            self.all_channels = true;
            self.channels.clear();
        } else if is("resetchannels") {
            self.all_channels = false;
            self.channels.clear();
        } else if is("allcommands") || is("+@all") {
            self.all_commands(true);
        } else if is("nocommands") || is("-@all") {
            self.all_commands(false);
        } else {
            match rule {
                [] => {}
                [b'~', pattern @ ..] => {
                    self.add_keys(pattern, Touch { read: true, write: true })?;
                }
                [b'%', ..] if self.all_keys => return Err(RuleError::KeysAreAll),
                [b'%', rest @ ..] => {
                    let (allows, pattern) = touch_and_pattern(rest).ok_or(RuleError::Syntax)?;
                    self.add_keys(pattern, allows)?;
                }
                [b'&', pattern @ ..] => self.add_channels(pattern)?,
                [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                    self.change_category(category, *sign == b'+', catalog)?;
                }
                [b'+', name @ ..] => self.allow(name, catalog)?,
                [b'-', name @ ..] => {
                    let command = find(name, catalog)?;
                    self.change(&command, false);
                    self.note(command.full_name, false);
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    /// Whether a request is allowed: its command, all its keys, all its channels (those of `PSUBSCRIBE` are
    /// patterns). Keys and channels come with the number of the argument they are.
    pub(super) fn check<'a, K, C>(
        &self,
        request: Request<'_>,
        keys: &impl Fn() -> K,
        channels: &impl Fn() -> C,
    ) -> Result<(), Denial>
    where
        K: Iterator<Item = (usize, &'a [u8], Touch)>,
        C: Iterator<Item = (usize, &'a [u8], bool)>,
    {
        if !request.free && !self.may_run(request) {
            return Err(Denial { reason: Reason::Command, at: 0 });
        }
        if !self.all_keys
            && let Some((at, ..)) = keys().find(|(_, key, touch)| !self.may_touch(key, *touch))
        {
            return Err(Denial { reason: Reason::Key, at });
        }
        if !self.all_channels
            && let Some((at, ..)) =
                channels().find(|(_, name, is_pattern)| !self.may_use_channel(name, *is_pattern))
        {
            return Err(Denial { reason: Reason::Channel, at });
        }
        Ok(())
    }

    fn may_run(&self, request: Request<'_>) -> bool {
        self.commands.contains(request.number)
            || request.first_arg.is_some_and(|given| {
                let allowed = |(number, first): &(u16, Box<[u8]>)| {
                    *number == request.number && first.eq_ignore_ascii_case(given)
                };
                self.first_args.iter().any(allowed)
            })
    }

    fn may_touch(&self, key: &[u8], touch: Touch) -> bool {
        let allows = |pattern: &KeyPattern| {
            let Touch { read, write } = pattern.allows;
            (read || !touch.read) && (write || !touch.write) && pattern.pattern.matches(key)
        };
        self.all_keys || self.keys.iter().any(allows)
    }

    pub(super) fn may_read_every_key(&self, request: Request<'_>) -> bool {
        let is_every_key = |pattern: &KeyPattern| pattern.allows.read && *pattern.text == *b"*";
        self.may_run(request) && (self.all_keys || self.keys.iter().any(is_every_key))
    }

    /// Whether a channel may be used. Who subscribes to a pattern must be allowed just that pattern: whether
    /// one pattern lies within another is not asked.
    #[must_use]
    pub fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let allows = |pattern: &ChannelPattern| match is_pattern {
            true => *pattern.text == *channel,
            false => pattern.pattern.matches(channel),
        };
        self.all_channels || self.channels.iter().any(allows)
    }

    /// Its rules about commands, as they are shown: what to begin with, and what to change about that.
    #[must_use]
    pub fn command_rules(&self) -> String {
        let mut text = String::from(if self.begins_with_all { "+@all" } else { "-@all" });
        for (allowed, name) in &self.rules {
            text.extend([if *allowed { " +" } else { " -" }, name]);
        }
        text
    }

    /// Its key patterns, separated by blanks.
    #[must_use]
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let shown = |pattern: &KeyPattern| {
            let sign: &[u8] = match pattern.allows {
                Touch { read: true, write: false } => b"%R~",
                Touch { read: false, write: true } => b"%W~",
                _ => b"~",
            };
            [sign, &pattern.text].concat()
        };
        self.keys.iter().map(shown).collect::<Vec<_>>().join(&b' ')
    }

    /// Its channel patterns, separated by blanks.
    #[must_use]
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|channel| [b"&", &*channel.text].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// Rules that make it what it is out of an empty one.
    #[must_use]
    pub fn description(&self) -> Vec<u8> {
        let reset: &[u8] = if self.all_channels { b"" } else { b"resetchannels" };
        let parts =
            [self.key_rules(), reset.to_vec(), self.channel_rules(), self.command_rules().into_bytes()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b' ')
    }

    fn add_keys(&mut self, text: &[u8], allows: Touch) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAreAll);
        }
        check_pattern(text)?;
        match self.keys.iter_mut().find(|known| *known.text == *text) {
            Some(known) => {
                known.allows.read |= allows.read;
                known.allows.write |= allows.write;
            }
            None => self.keys.push(KeyPattern { text: text.into(), pattern: Pattern::new(text), allows }),
        }
        Ok(())
    }

    fn add_channels(&mut self, text: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAreAll);
        }
        check_pattern(text)?;
        if !self.channels.iter().any(|known| *known.text == *text) {
            self.channels.push(ChannelPattern { text: text.into(), pattern: Pattern::new(text) });
        }
        Ok(())
    }

    fn all_commands(&mut self, allowed: bool) {
        self.commands = if allowed { CommandSet::ALL } else { CommandSet::NONE };
        self.begins_with_all = allowed;
        self.first_args.clear();
        self.rules.clear();
    }

    fn change_category(
        &mut self,
        category: &[u8],
        allowed: bool,
        catalog: &impl Catalog,
    ) -> Result<(), RuleError> {
        let known = CATEGORIES.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(category));
        let category = known.ok_or(RuleError::Unknown)?;
        for number in catalog.in_category(category) {
            self.set(number, allowed);
        }
        self.note(&format!("@{category}"), allowed);
        Ok(())
    }

    fn allow(&mut self, name: &[u8], catalog: &impl Catalog) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let command = find(name, catalog)?;
            self.change(&command, true);
            self.note(command.full_name, true);
            return Ok(());
        };
        let (container, first_arg) = (find(&name[..bar], catalog)?, &name[bar + 1..]);
        if container.is_subcommand {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if first_arg.is_empty() {
            return Err(RuleError::Syntax);
        }
        if container.subcommands.is_empty() {
            let (number, first_arg) = (container.number, first_arg.to_ascii_lowercase());
            if !self.first_args.iter().any(|(known, arg)| *known == number && **arg == *first_arg) {
                self.first_args.push((number, first_arg.into()));
            }
        } else {
            self.change(&find(name, catalog)?, true);
        }
        self.note(&String::from_utf8_lossy(name).to_ascii_lowercase(), true);
        Ok(())
    }

    fn change(&mut self, command: &Named, allowed: bool) {
        self.set(command.number, allowed);
        for number in &command.subcommands {
            self.set(*number, allowed);
        }
    }

    fn set(&mut self, number: u16, allowed: bool) {
        self.commands.set(number, allowed);
        self.first_args.retain(|(known, _)| *known != number);
    }

    /// Keeps a rule to be shown, in place of what it makes void: rules about the same, or about a part of it.
    fn note(&mut self, name: &str, allowed: bool) {
        let is_void =
            |rule: &str| rule.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'));
        self.rules.retain(|(_, rule)| !is_void(rule));
        self.rules.push((allowed, name.to_owned()));
    }
}

impl std::fmt::Debug for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.description()))
    }
}

fn find(name: &[u8], catalog: &impl Catalog) -> Result<Named, RuleError> {
    str::from_utf8(name).ok().and_then(|name| catalog.find(name)).ok_or(RuleError::Unknown)
}

/// Reads `R~pattern`, `W~pattern` or `RW~pattern`.
fn touch_and_pattern(rule: &[u8]) -> Option<(Touch, &[u8])> {
    let mut touch = Touch::default();
    let mut at = 0;
    while let Some(letter) = rule.get(at) {
        at += 1;
        match letter.to_ascii_uppercase() {
            b'R' if !touch.read => touch.read = true,
            b'W' if !touch.write => touch.write = true,
            b'~' if touch.read || touch.write => break,
            _ => return None,
        }
    }
    (touch.read || touch.write).then_some((touch, &rule[at..]))
}

/// A pattern stands among others in one line, so it has no blanks in it.
fn check_pattern(text: &[u8]) -> Result<(), RuleError> {
    let breaks = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b);
    if text.iter().any(breaks) { Err(RuleError::Syntax) } else { Ok(()) }
}

/// Joins the words of each selector: `( +get` `~a` `)` is one rule.
///
/// # Errors
/// With the word that opens a parenthesis nobody closes.
pub fn merge_selectors<'a>(words: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut rules: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        match &mut open {
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    rules.extend(open.take().map(|(_, selector)| selector));
                }
            }
            None if word.starts_with(b"(") && !word.ends_with(b")") => open = Some((word, word.to_vec())),
            None => rules.push(word.to_vec()),
        }
    }
    match open {
        Some((first, _)) => Err(first.to_vec()),
        None => Ok(rules),
    }
}
