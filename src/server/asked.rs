//! What the core asks the shell for.

use std::fmt;
use std::sync::OnceLock;

/// Something that only the shell can give. Set once, before the first command; in tests there may be no shell.
pub struct Asked<T>(OnceLock<T>);

/// How to look at something.
pub type Reading<T> = Box<dyn Fn() -> T + Send + Sync>;

impl<T> Asked<T> {
    /// Says what it is.
    ///
    /// # Panics
    /// If that has been said already.
    pub fn set(&self, answer: T) {
        assert!(self.0.set(answer).is_ok(), "there is one shell");
    }

    /// What it is, if there is a shell.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }
}

impl<T: Default> Asked<Reading<T>> {
    /// Looks; everything is zero if there is no shell.
    #[must_use]
    pub fn read(&self) -> T {
        self.get().map_or_else(T::default, |reading| reading())
    }
}

impl<T> Default for Asked<T> {
    fn default() -> Asked<T> {
        Asked(OnceLock::new())
    }
}

impl<T> fmt::Debug for Asked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").finish_non_exhaustive()
    }
}
