//! Millstream: a durable message-queue and stream server that speaks the Redis protocol.
//!
//! # Bird's-eye view
//!
//! Three promises shape everything here. A reply means the bytes are on disk, and nobody sees what a crash could
//! take back. A thousand waiting workers cost nothing: one message wakes one worker. What a Redis client does to a
//! list, a stream or a key works here byte for byte.
//!
//! The core decides and the shell does. The core is plain synchronous code that is *handed* the time, randomness
//! and requests and *returns* replies, log records and wakes as values. The shell owns sockets, files, clocks and
//! threads. So everything a command means can be replayed, compared and simulated without any of them.
//!
//! # Rooms
//!
//! ```text
//! net ──► engine ──► command ──► keyspace
//!  │        │           ├──────► pubsub ──► resp::Reply
//!  │        └───────────┴──────► aof::record (pure)
//!  ├──► resp (bytes ↔ requests and replies)
//!  └──► aof (writer, loader, rewrite, storage), config, acl, metrics     main ──► everything
//! ```
//!
//! | room | what lives there | never there |
//! |---|---|---|
//! | [`resp`] | request parser, [`resp::Reply`], both protocol versions | commands, sockets |
//! | [`keyspace`] | keys, expiry, lists, streams | RESP, clocks, I/O |
//! | [`command`] | one file a family, its table at its foot; [`command::table`] is all of them | sockets, shards, files, clocks |
//! | [`engine`] | shards, waiters, transactions; [`engine::Turn`] runs requests | tokio, files |
//! | [`pubsub`] | who listens to what ([`pubsub::Registry`]), messages on their way to them | connections, what commands mean |
//! | [`aof`] | blocks and records (pure), the live log, its base, recovery, the storage it all goes through | what commands mean |
//! | [`net`] | event loops, connections, the tick, the threads that load | what commands mean |
//! | [`config`] | the one table of options and what is made of it | files |
//! | [`acl`] | users, their rules, what was refused | what commands there are |
//! | [`session`], [`server`], [`metrics`] | what a connection, all connections, all loops share | |
//! | [`error`], [`glob`], [`number`] | leaves that anybody may use | |
//! | [`tool`] | `millstream aof`: check, salvage, cat, import | sockets |
//! | [`report`], [`supervisor`] | how events are printed, what systemd is told | |
//!
//! # Invariants
//!
//! 1. **One table.** Arity, keys, flags, documentation and code of a command are one entry
//!    ([`command::Command`]); whatever asks about commands reads it.
//! 2. **Shards are taken in one function**, in ascending order, and together with every shard that their waiters
//!    could need. Nothing suspends or does I/O while it holds one. A waiter stands in all its queues or in none.
//! 3. **What is not logged has not happened.** The records of a command say which keys it changed; waiters and
//!    `WATCH` are told from them and from nothing else.
//! 4. **The log's order agrees with every shard's order**, because records enter its tail while their shards are
//!    held. One step of the engine is one piece of one block.
//! 5. **Every reply has a gate**: the log position it depends on, a read's as well. It leaves when that position is
//!    as safe as `appendfsync` asks.
//!    A published message has one too, and is posted before its publisher lets the shards go: so a key's events are
//!    heard in the order in which they happened, and none that a crash could take back.
//! 6. **Every queue has a bound**, or a sentence at its definition says why its sender has one.
//! 7. **No key is touched that nobody was asked about.** Permission is asked for the keys that the table finds in a
//!    request, again whenever it runs again; in debug builds the view a command is given refuses any other key.
//!
//! # The life of one command
//!
//! A client sends `RPUSH jobs a`. The loop that owns the connection (`net::connection`) reads into its shared
//! buffer; [`resp::RequestParser`] finds the request as ranges of it. [`engine::Turn::execute`] looks it up in the
//! table, checks arity, admission and the user's permission, takes the shard of `jobs`, removes it first if its time
//! has come, and calls the handler in `command::list`: take arguments, push, log the request, answer the length. The reply is encoded
//! into the connection's buffer. The record names `jobs`, somebody waits for it: the first waiter's own `BLPOP` is
//! run again in place, its record follows, its reply goes to its loop. [`engine::Turn::finish`] hands the records
//! to the log's tail, lets the shard go and returns the block number they will be in.
//!
//! When every ready connection has had its turn, the loop flushes: whichever loop comes first commits the tail as
//! one checksummed block, one write and, under `always`, one sync, for everybody. Replies whose block is released
//! are written to their sockets. After a crash [`aof::open_with`] reads the blocks back, each command through
//! [`engine::Engine::replay`], on all cores ([`net::Appliers`]), and cuts at most what nobody was ever told.
//!
//! When the log has grown, a thread beside the loops rewrites it (`net::caretaker`): all shards are held for the moment
//! in which a new file begins, then [`engine::Engine::walk`] hands out the keys as they were at that moment, a few at a
//! time; [`command::recreate`] says each in commands, and [`aof::Base`] puts them in the place of the older files.
#![forbid(unsafe_code)]

pub mod acl;
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
pub mod pubsub;
pub mod report;
pub mod resp;
pub mod server;
pub mod session;
pub mod supervisor;
pub mod tool;
