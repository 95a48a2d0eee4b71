//! Millstream: a durable message-queue and stream server that speaks the Redis protocol.
#![forbid(unsafe_code)]

pub mod aof;
pub mod config;
pub mod glob;
pub mod keyspace;
pub mod metrics;
