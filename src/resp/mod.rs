//! The Redis serialization protocol: bytes to requests, replies to bytes. Knows no command and no socket.

mod args;
mod inline;
mod reply;
mod request;

pub use args::{Args, OwnedArgs, Places};
pub use reply::{Protocol, Replied, Reply};
pub use request::{Limits, ProtocolError, RequestParser};
