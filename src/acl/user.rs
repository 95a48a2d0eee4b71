//! One user: how it logs in, and what it may do.

use std::borrow::Cow;

use super::password::Password;
use super::selector::{Catalog, Denial, Request, Selector, Touch};

/// A user. Never changed in place: another value takes its place, see [`Users`](super::Users).
#[derive(Clone, Debug)]
pub struct User {
    /// Unlike its name, never used again after it was deleted.
    pub id: u64,
    /// Its name: no blanks, no NUL.
    pub name: Box<[u8]>,
    /// Whether one may log in as it. Who has done so stays.
    pub enabled: bool,
    /// Whether any password will do.
    pub no_password: bool,
    /// Whether the payload of `RESTORE` is checked; kept for those who look at it, it always is.
    pub sanitizes_payload: bool,
    /// Any of these will do.
    pub passwords: Vec<Password>,
    /// What it may do; the first one is there always and is what rules outside of parentheses are about.
    pub selectors: Vec<Selector>,
}

/// Why a rule changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// There is no such command or category.
    Unknown,
    /// It is no rule.
    Syntax,
    /// A key pattern where all keys are allowed.
    KeysAreAll,
    /// A channel pattern where all channels are allowed.
    ChannelsAreAll,
    /// A password to be removed that is not there.
    NoSuchPassword,
    /// Not a SHA-256 sum.
    NotAHash,
    /// A subcommand and an argument of it.
    FirstArgOfSubcommand,
}

impl RuleError {
    /// What a client is told, without the rule.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::KeysAreAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::ChannelsAreAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have \
                 any effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            RuleError::NotAHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

impl User {
    /// A user that may do nothing, not even log in; with `all_channels` it may use every channel.
    #[must_use]
    pub fn new(id: u64, name: &[u8], all_channels: bool) -> User {
        User {
            id,
            name: name.into(),
            enabled: false,
            no_password: false,
            sanitizes_payload: true,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
        }
    }

    /// The user everybody is at first: may do everything and needs no password.
    #[must_use]
    pub fn default_user() -> User {
        User {
            enabled: true,
            no_password: true,
            selectors: vec![Selector::everything()],
            ..User::new(0, super::DEFAULT_USER, true)
        }
    }

    /// Changes it by one rule. An empty one changes nothing. `all_channels` is what `acl-pubsub-default` says.
    ///
    /// # Errors
    /// Why the rule is none.
    pub fn apply(
        &mut self,
        rule: &[u8],
        catalog: &impl Catalog,
        all_channels: bool,
    ) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if is("on") {
            self.enabled = true;
        } else if is("off") {
            self.enabled = false;
        } else if is("nopass") {
            self.no_password = true;
            self.passwords.clear();
        } else if is("resetpass") {
            self.no_password = false;
            self.passwords.clear();
        } else if is("sanitize-payload") {
            self.sanitizes_payload = true;
        } else if is("skip-sanitize-payload") {
            self.sanitizes_payload = false;
        } else if is("clearselectors") {
            self.selectors.truncate(1);
        } else if is("reset") {
            *self = User::new(self.id, &self.name, all_channels);
        } else {
            match rule {
                [b'>', plain @ ..] => self.add_password(Password::of(plain)),
                [b'#', hash @ ..] => self.add_password(Password::from_hex(hash).ok_or(RuleError::NotAHash)?),
                [b'<', plain @ ..] => self.remove_password(&Password::of(plain))?,
                [b'!', hash @ ..] => {
                    self.remove_password(&Password::from_hex(hash).ok_or(RuleError::NotAHash)?)?;
                }
                [b'(', rules @ .., b')'] => {
                    self.selectors.push(Selector::parse(rules, catalog, all_channels)?);
                }
                rule => self.selectors[0].apply(rule, catalog)?,
            }
        }
        Ok(())
    }

    /// Whether nothing at all is refused to it.
    #[must_use]
    pub fn may_do_everything(&self) -> bool {
        self.selectors[0].is_everything()
    }

    /// Whether one is let in as it without saying a word.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.enabled && self.no_password
    }

    /// Whether a request is allowed: see [`Request`]. Keys come with the number of the argument they are, channels
    /// with that and whether they are patterns.
    ///
    /// # Errors
    /// What the selector that came closest refuses.
    pub fn check<'a, K, C>(
        &self,
        request: Request<'_>,
        keys: impl Fn() -> K,
        channels: impl Fn() -> C,
    ) -> Result<(), Denial>
    where
        K: Iterator<Item = (usize, &'a [u8], Touch)>,
        C: Iterator<Item = (usize, &'a [u8], bool)>,
    {
        let mut closest: Option<Denial> = None;
        for selector in &self.selectors {
            let Err(denial) = selector.check(request, &keys, &channels) else { return Ok(()) };
            if closest.is_none_or(|known| (denial.reason, denial.at) > (known.reason, known.at)) {
                closest = Some(denial);
            }
        }
        closest.map_or(Ok(()), Err)
    }

    /// Whether it may publish to a channel or subscribe to it. One that is a pattern (`PSUBSCRIBE`) must be
    /// allowed literally.
    #[must_use]
    pub fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.may_use_channel(channel, is_pattern))
    }

    /// Whether it may run a command on whatever keys it reads: for commands like `SORT … BY`, whose keys follow from
    /// the data and stand in no request.
    #[must_use]
    pub fn may_read_every_key(&self, request: Request<'_>) -> bool {
        self.selectors.iter().any(|selector| selector.may_read_every_key(request))
    }

    /// Its flags, as `ACL GETUSER` shows them.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let sanitizes = if self.sanitizes_payload { "sanitize-payload" } else { "skip-sanitize-payload" };
        let enabled = if self.enabled { "on" } else { "off" };
        [Some(enabled), self.no_password.then_some("nopass"), Some(sanitizes)].into_iter().flatten()
    }

    /// Rules that make it what it is out of a fresh user.
    #[must_use]
    pub fn description(&self) -> Vec<u8> {
        let flags = self.flags().map(|flag| Cow::Borrowed(flag.as_bytes()));
        let passwords =
            self.passwords.iter().map(|password| format!("#{}", password.hex()).into_bytes().into());
        let first = [Cow::Owned(self.selectors[0].description())];
        let others = self.selectors[1..].iter();
        let others = others.map(|selector| [b"(", &*selector.description(), b")"].concat().into());
        flags.chain(passwords).chain(first).chain(others).collect::<Vec<Cow<'_, [u8]>>>().join(&b' ')
    }

    /// Its line in an ACL file and in `ACL LIST`.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        [b"user ", &*self.name, b" ", &self.description()].concat()
    }

    fn add_password(&mut self, password: Password) {
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
        self.no_password = false;
    }

    fn remove_password(&mut self, password: &Password) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == password);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }
}
