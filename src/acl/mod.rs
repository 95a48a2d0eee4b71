//! Access control: who may run which commands on which keys and channels.
//!
//! A [`User`] is an immutable value: whether it may log in, its passwords (as SHA-256 sums, never as they are) and its
//! [`Selector`]s, each of which allows some commands on some keys and channels; a request is allowed if one of them
//! allows all of it. [`Users`] holds the users in force. To change one is to put another value in its place and to
//! raise the generation; every connection keeps an [`Identity`] and looks its user up again when the generation has
//! moved, so a request costs one load and no lock.
//!
//! What commands and keys there are is not known here: rules are read against a [`Catalog`], and whoever asks for
//! permission says which numbers, keys and channels a request is about.

mod file;
mod identity;
mod log;
mod password;
mod selector;
mod user;
mod users;

pub use file::{load_lines, load_text};
pub use identity::Identity;
pub use log::{Entry, Log, Object};
pub use password::Password;
pub use selector::{Catalog, Denial, Named, Reason, Request, Selector, Touch, merge_selectors};
pub use user::{RuleError, User};
pub use users::{Change, Outside, SetError, Users};

/// The name of the user that connections have before they log in as another.
pub const DEFAULT_USER: &[u8] = b"default";

/// All categories, in the order of `ACL CAT`; some have no commands here.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Commands are numbered below this.
pub const COMMANDS_MAX: usize = 512;
