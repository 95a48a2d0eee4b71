//! Millstream: a durable message-queue and stream server that speaks the Redis protocol.
#![forbid(unsafe_code)]

pub mod aof;
pub mod command;
pub mod config;
pub mod engine;
pub mod error;
pub mod glob;
pub mod keyspace;
pub mod metrics;
pub mod net;
pub mod number;
pub mod resp;
pub mod server;
pub mod session;
