//! All users, as they are in force.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;

use super::file::is_name;
use super::identity::Identity;
use super::log::Log;
use super::password::{Password, hex};
use super::selector::Catalog;
use super::user::{RuleError, User};
use super::{DEFAULT_USER, merge_selectors};

/// The users. Taken for writing by the `ACL` commands that change one, for reading when somebody logs in or has to
/// look its user up again.
#[derive(Debug)]
pub struct Users {
    by_name: RwLock<BTreeMap<Box<[u8]>, Arc<User>>>,
    /// Raised after the users have changed.
    generation: AtomicU64,
    /// The last id that was given; the default user's is 0.
    last_id: AtomicU64,
    /// What was refused of late.
    pub log: Log,
    outside: OnceLock<Box<dyn Outside>>,
}

/// What became of a user. Connections that have no right any more to what they have are to be ended.
#[derive(Debug)]
pub struct Change {
    /// As it was; one that is new was never anything else.
    pub before: Arc<User>,
    /// As it is; `None` for one that is there no more.
    pub now: Option<Arc<User>>,
}

impl Change {
    /// Whether a channel, or a pattern of `PSUBSCRIBE`, may be used no more.
    #[must_use]
    pub fn takes_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let may = |user: &User| user.may_use_channel(channel, is_pattern);
        may(&self.before) && !self.now.as_deref().is_some_and(may)
    }
}

/// What only the shell can do for commands about users.
pub trait Outside: Send + Sync {
    /// Fills it with bytes that nobody can guess.
    ///
    /// # Errors
    /// If the system has none to give.
    fn random(&self, bytes: &mut [u8]) -> Result<(), String>;

    /// Reads the ACL file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// Replaces the ACL file, durably and as a whole.
    ///
    /// # Errors
    /// Why it cannot be written; then it is as it was.
    fn write(&self, path: &str, text: &[u8]) -> Result<(), String>;
}

impl fmt::Debug for dyn Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}

impl Users {
    /// The default user alone. An empty password lets everybody in.
    #[must_use]
    pub fn new(default_password: &str) -> Users {
        Users {
            by_name: RwLock::new(BTreeMap::from([(
                DEFAULT_USER.into(),
                Arc::new(default_user(default_password)),
            )])),
            // A fresh identity knows nothing of a password.
            generation: AtomicU64::new(1),
            last_id: AtomicU64::new(0),
            log: Log::default(),
            outside: OnceLock::new(),
        }
    }

    /// Says what the shell can do. Once, before the first command.
    ///
    /// # Panics
    /// If that has been said already.
    pub fn set_outside(&self, outside: Box<dyn Outside>) {
        assert!(self.outside.set(outside).is_ok(), "there is one shell");
    }

    /// What the shell can do, if there is a shell.
    #[must_use]
    pub fn outside(&self) -> Option<&dyn Outside> {
        self.outside.get().map(|outside| &**outside)
    }

    /// A number that is another one after each change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The user of that name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.by_name.read().get(name).cloned()
    }

    /// The user that connections have at first.
    #[must_use]
    pub fn default_user(&self) -> Arc<User> {
        self.get(DEFAULT_USER).expect("the default user cannot be deleted")
    }

    /// All users, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<User>> {
        self.by_name.read().values().cloned().collect()
    }

    /// Name and rules of each, as a configuration file has them; of the default user, if it is not what this password
    /// alone makes it.
    ///
    /// # Errors
    /// If a rule is no text.
    pub fn lines(&self, default_password: &str) -> Result<Vec<Vec<String>>, String> {
        let at_first = default_user(default_password).line();
        let lines = self.all().into_iter().map(|user| user.line()).filter(|line| *line != at_first);
        let words = |line: Vec<u8>| match String::from_utf8(line) {
            Ok(line) => Ok(line.split(' ').skip(1).map(str::to_owned).collect()),
            Err(_) => Err("a user has rules that are no text".to_owned()),
        };
        lines.map(words).collect()
    }

    /// The user of that name, for a connection to keep.
    #[must_use]
    pub fn identify(&self, name: &[u8]) -> Option<Identity> {
        // Under the lock that changes are made under: the generation is that of the user.
        let by_name = self.by_name.read();
        by_name.get(name).map(|user| Identity::new(Arc::clone(user), self.generation()))
    }

    /// Whom a name and a password let in.
    #[must_use]
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Identity> {
        let given = Password::of(password);
        let found = self.identify(name);
        // Compared even for a user who does not exist, so that time does not tell who does.
        let nobody = [Password::of(b"")];
        let known = found.as_ref().map_or(&nobody[..], |identity| &identity.user().passwords);
        let matches = known.iter().fold(false, |matches, known| known.is_same(&given) | matches);
        found.filter(|identity| identity.user().enabled && (identity.user().no_password || matches))
    }

    /// Changes or makes a user: by all rules, or not at all.
    ///
    /// # Errors
    /// With the rule that is none.
    pub fn set<'a>(
        &self,
        name: &[u8],
        rules: impl Iterator<Item = &'a [u8]>,
        catalog: &impl Catalog,
        all_channels: bool,
    ) -> Result<Change, SetError> {
        if !is_name(name) {
            return Err(SetError::Name);
        }
        let rules = merge_selectors(rules).map_err(SetError::Parenthesis)?;
        let mut by_name = self.by_name.write();
        let before = by_name.get(name).cloned();
        let mut user = match &before {
            Some(known) => User::clone(known),
            None => User::new(self.next_id(), name, all_channels),
        };
        for rule in rules {
            if let Err(error) = user.apply(&rule, catalog, all_channels) {
                return Err(SetError::Rule(rule, error));
            }
        }
        let user = Arc::new(user);
        by_name.insert(name.into(), Arc::clone(&user));
        self.changed();
        Ok(Change { before: before.unwrap_or_else(|| Arc::clone(&user)), now: Some(user) })
    }

    /// Gives the default user this password and no other; an empty one lets everybody in.
    pub fn set_default_password(&self, password: &str) {
        let mut by_name = self.by_name.write();
        let mut user = User::clone(&by_name[DEFAULT_USER]);
        user.no_password = password.is_empty();
        user.passwords = if password.is_empty() { vec![] } else { vec![Password::of(password.as_bytes())] };
        by_name.insert(DEFAULT_USER.into(), Arc::new(user));
        self.changed();
    }

    /// Deletes a user other than the default one, if there is one of that name.
    pub fn remove(&self, name: &[u8]) -> Option<Change> {
        debug_assert_ne!(name, DEFAULT_USER);
        let mut by_name = self.by_name.write();
        let before = by_name.remove(name)?;
        self.changed();
        Some(Change { before, now: None })
    }

    /// Puts these users in the place of all others. Connections whose user is among them stay; a default user that
    /// is not is as at first, with this password if it is not empty. Returns what became of those there were.
    pub fn load(&self, loaded: Vec<User>, default_password: &str) -> Vec<Change> {
        let mut by_name = self.by_name.write();
        let before = std::mem::take(&mut *by_name);
        by_name.insert(DEFAULT_USER.into(), Arc::new(default_user(default_password)));
        for user in loaded {
            let id = if *user.name == *DEFAULT_USER {
                Some(0)
            } else {
                before.get(&user.name).map(|known| known.id)
            };
            let id = id.unwrap_or_else(|| self.next_id());
            by_name.insert(user.name.clone(), Arc::new(User { id, ..user }));
        }
        self.changed();
        before
            .into_values()
            .map(|user| Change { now: by_name.get(&user.name).cloned(), before: user })
            .collect()
    }

    /// A password of so many bits nobody can guess, in hexadecimal digits.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn random_password(&self, bits: usize) -> Result<String, String> {
        let digits = bits.div_ceil(4);
        let mut bytes = vec![0; digits.div_ceil(2)];
        self.outside().ok_or("there is no source of randomness")?.random(&mut bytes)?;
        let mut text = hex(&bytes);
        text.truncate(digits);
        Ok(text)
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Called while the users are held for writing.
    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }
}

fn default_user(password: &str) -> User {
    let mut user = User::default_user();
    if !password.is_empty() {
        user.no_password = false;
        user.passwords = vec![Password::of(password.as_bytes())];
    }
    user
}

/// Why a user was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// Nobody can be called so.
    Name,
    /// A parenthesis that nobody closes: the word that opens it.
    Parenthesis(Vec<u8>),
    /// A rule that is none, and why.
    Rule(Vec<u8>, RuleError),
}
