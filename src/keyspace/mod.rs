//! The data: what a key holds and what can be done to it.

pub mod list;
pub mod stream;
