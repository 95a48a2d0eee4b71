//! Who a connection is.

use std::sync::{Arc, LazyLock};

use super::user::User;
use super::users::Users;

/// A connection's user, as it was when the connection last looked. Owned by the connection.
#[derive(Clone, Debug)]
pub struct Identity {
    user: Arc<User>,
    /// The generation of the users it was looked up in.
    generation: u64,
    /// Whether nothing is refused to it: then a request costs one comparison.
    may_do_everything: bool,
}

impl Identity {
    /// That user, as of that generation.
    pub(super) fn new(user: Arc<User>, generation: u64) -> Identity {
        Identity { may_do_everything: user.may_do_everything(), user, generation }
    }

    /// Whether nothing is refused to it as the users are now.
    #[must_use]
    pub fn may_do_everything(&self, users: &Users) -> bool {
        self.may_do_everything && self.generation == users.generation()
    }

    /// The user as of the last look.
    #[must_use]
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The user as it is now, or nobody if it was deleted.
    pub fn renew(&mut self, users: &Users) -> Option<&Arc<User>> {
        if self.generation != users.generation() {
            *self = users.identify(&self.user.name).filter(|found| found.user.id == self.user.id)?;
        }
        Some(&self.user)
    }
}

impl Default for Identity {
    /// The default user as it is before anybody has changed it.
    fn default() -> Identity {
        static DEFAULT: LazyLock<Arc<User>> = LazyLock::new(|| Arc::new(User::default_user()));
        Identity::new(Arc::clone(&DEFAULT), 0)
    }
}
