//! The data: what a key holds and what can be done to it. Knows no protocol, no clock and no disk.

mod database;
pub mod list;
mod slot;
pub mod stream;
mod value;
mod view;
mod walk;

pub use database::Database;
pub use slot::{SHARDS, hash_slot, shard_of};
pub use value::{Text, Type, Value, WrongType};
pub use view::{Keys, Keyspace, Lookups};
pub use walk::{Frozen, Item};
