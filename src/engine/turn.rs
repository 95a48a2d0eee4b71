//! A turn: requests run one after the other, with everything they cause.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::journal::Lsn;
use super::shard::{Shard, ShardSet};
use super::waiter::{Ending, Queue, Waiter};
use super::{Engine, Held, logged, shards_of};
use crate::command::monitor;
use crate::command::permission::permit;
use crate::command::redaction::redacted;
use crate::command::{
    Action, Condition, Context, Effects, Flags, Group, Outcome, Row, Wait, announce, table,
};
use crate::config::KeyspaceEvents;
use crate::error::Error;
use crate::keyspace::{Keys, Lookups, SHARDS, Type, Value, shard_of};
use crate::metrics::latency::Event;
use crate::metrics::slow_log::{self, Entry};
use crate::metrics::{Counter, Gauge, LoopMetrics};
use crate::number;
use crate::resp::{Args, Limits, Reply, RequestParser};
use crate::server::Server;
use crate::session::{Client, Replies, Session, Transaction};

/// Runs requests. Shards that one request took are kept for the next if it wants no others.
///
/// Everything said in a turn (replies, wakes) depends on the log position that [`finish`](Turn::finish)
/// returns. A turn must not be kept across anything that waits.
#[derive(Debug)]
pub struct Turn<'e> {
    pub(super) engine: &'e Engine,
    pub(super) now_ms: i64,
    pub(super) effects: &'e mut Effects,
    metrics: &'e LoopMetrics,
    /// The command that ran last: what it logged is likely to be itself.
    ran: Option<&'static Row>,
    random: u64,
    /// How long what runs takes; `None` while the log is replayed, which is not counted at all.
    stopwatch: Option<fn() -> u64>,
    /// When the last command ended, by the stopwatch.
    ended_ns: u64,
    held: Held<'e>,
    /// The shards that are held.
    set: ShardSet,
    /// Those of them that a request has asked for; the others are there for whom it may wake.
    asked: ShardSet,
    /// Keys whose waiters are to be served before the next request, in the order in which they became ready.
    ready: VecDeque<Ready>,
    lsn: Lsn,
    /// What those who published in this turn had been told depends on this.
    published_after: Lsn,
    /// How many of the messages not yet on their way their publisher has been shown, if it listens itself.
    shown: usize,
    woken: Vec<Woken>,
}

/// A key whose waiters are to be served.
#[derive(Debug)]
struct Ready {
    db: u8,
    key: Box<[u8]>,
    /// Whether entries may have been added to a stream.
    news: bool,
}

/// How a request ended.
#[derive(Debug)]
pub enum Executed {
    /// Its reply, if it may have one, has been added to the buffer.
    Replied,
    /// It waits; its reply comes as [`Woken`] or from [`Turn::end_wait`].
    Blocked(Arc<Waiter>),
    /// It has not run: `CLIENT PAUSE` holds it back until then, milliseconds since the Unix epoch, or until that
    /// is over. It is to be run again.
    Paused(i64),
}

/// Somebody to tell something, on whatever loop their connection lives.
#[derive(Debug)]
pub struct Woken {
    /// Who.
    pub client: Arc<Client>,
    /// What.
    pub wake: Wake,
}

/// What a waiting connection is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Wake {
    /// The wait is over: the reply.
    Reply(Vec<u8>),
    /// Look again at this time, milliseconds since the Unix epoch.
    Retry(i64),
}

/// Bytes made room for in the reply to a waiter: enough for a small message.
const WOKEN_REPLY: usize = 256;

/// The most keys one command removes because their time has come, besides its own.
const EXPIRED_MAX: usize = 256;

impl<'e> Turn<'e> {
    pub(super) fn new(
        engine: &'e Engine,
        now_ms: i64,
        random: u64,
        metrics: &'e LoopMetrics,
        effects: &'e mut Effects,
        stopwatch: Option<fn() -> u64>,
    ) -> Turn<'e> {
        effects.records.clear();
        Turn {
            stopwatch,
            ended_ns: stopwatch.map_or(0, |now_ns| now_ns()),
            engine,
            metrics,
            ran: None,
            now_ms,
            effects,
            random: random | 1,
            held: Held::None,
            set: ShardSet::EMPTY,
            asked: ShardSet::EMPTY,
            ready: VecDeque::new(),
            lsn: 0,
            published_after: 0,
            shown: 0,
            woken: Vec::new(),
        }
    }

    /// Runs one request and adds its reply to `reply`.
    pub fn execute(&mut self, session: &mut Session, args: Args<'_>, reply: &mut Reply) -> Executed {
        let start = reply.len();
        if session.replies == Replies::SkipNext {
            session.replies = Replies::Skip;
        }
        let executed = self.dispatch(session, args, reply, start).unwrap_or_else(|error| {
            reply.truncate(start);
            self.say_error(&error, reply);
            Executed::Replied
        });
        match session.replies {
            Replies::On | Replies::SkipNext => {}
            Replies::Off => reply.truncate(start),
            // The reply that is to be skipped comes later.
            Replies::Skip if !matches!(executed, Executed::Replied) => {}
            Replies::Skip => {
                reply.truncate(start);
                session.replies = Replies::On;
            }
        }
        self.say_aside(session, reply);
        executed
    }

    /// Says what is said besides the reply: what `CLIENT REPLY` does not hold back, and messages that the client has
    /// published to itself.
    fn say_aside(&mut self, session: &Session, reply: &mut Reply) {
        let Effects { aside, parcels, .. } = &mut *self.effects;
        if !aside.is_empty() {
            reply.raw(&aside.take());
        }
        let shown = std::mem::replace(&mut self.shown, parcels.len());
        if shown == parcels.len() {
            return;
        }
        self.published_after = self.published_after.max(session.lsn);
        let listener = session.listener();
        for parcel in parcels[shown..].iter_mut().filter(|parcel| parcel.is_for(listener)) {
            reply.pushed(&parcel.message);
            parcel.told = Some(listener.client);
        }
    }

    /// The time of this turn: milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Whether a request asked for something only the shell can do. It should be done before the next one.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.effects.actions.is_empty()
    }

    /// Removes keys whose time has come, in one shard, and serves those who waited for them. There may be more
    /// such keys than are removed at once.
    pub fn expire(&mut self, shard: usize) {
        self.hold(ShardSet::EMPTY.with(shard));
        let mark = self.effects.records.mark();
        self.expire_due(EXPIRED_MAX);
        self.serve(mark);
        let duration_ns = self.lap();
        self.engine.server.latency.observe(Event::ExpireCycle, duration_ns, self.now_ms);
    }

    /// Runs a waiter's request again because its time to look again has come.
    pub fn retry(&mut self, waiter: &Arc<Waiter>) {
        self.hold(waiter.shards);
        if !waiter.parked.load(Relaxed) {
            return;
        }
        if waiter.keys.is_empty() {
            if self.serve_one(waiter) {
                self.unpark(waiter, None);
            }
        } else {
            let keys = waiter.keys.iter().cloned();
            self.ready.extend(keys.map(|key| Ready { db: waiter.db, key, news: false }));
            self.serve_ready();
        }
    }

    /// Ends a wait from outside. Returns the reply that is due (empty for a client that is gone), or `None` if
    /// the waiter has been served already and its reply is on its way.
    pub fn end_wait(&mut self, waiter: &Waiter, ending: Ending) -> Option<Vec<u8>> {
        self.hold(waiter.shards);
        let reply = self.give_up(waiter, ending);
        self.serve_ready();
        reply
    }

    /// Takes a waiter whose shards are held out of its queues. Returns the reply that is due, or `None` if it has
    /// been served already. Who stood behind it is still to be served.
    fn give_up(&mut self, waiter: &Waiter, ending: Ending) -> Option<Vec<u8>> {
        debug_assert!(self.set.contains(waiter.shards));
        if !waiter.parked.load(Relaxed) {
            return None;
        }
        self.unpark(waiter, None);
        let number = waiter.row.number.into();
        let mut reply = Reply::new(waiter.protocol);
        match ending {
            Ending::Timeout if waiter.keys.is_empty() => self.answer_late(waiter, &mut reply),
            Ending::Timeout => {
                self.metrics.command_executed(number, 0);
                reply.null_array();
            }
            Ending::Unblocked => {
                self.metrics.command_executed(number, 0);
                self.metrics.command_failed(number);
                let error = Error::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                self.say_error(&error, &mut reply);
            }
            Ending::Gone => {}
        }
        Some(reply.take())
    }

    /// Runs the request of one who waited only for time to pass: now it must answer, as inside a transaction.
    fn answer_late(&mut self, waiter: &Waiter, reply: &mut Reply) {
        let mut session = Session::new(Arc::clone(&waiter.client), true);
        session.db = waiter.db;
        session.transaction = Some(Transaction::default());
        if let Err(error) = self.run(waiter.row, &mut session, waiter.request.as_args(), reply) {
            reply.truncate(0);
            self.say_error(&error, reply);
        }
    }

    /// Ends the turn: hands what happened to the journal and lets all shards go. Returns the log position that
    /// must be safe before anything said in this turn may leave, and whom to wake.
    #[must_use]
    pub fn finish(mut self) -> (Lsn, Vec<Woken>) {
        self.release();
        (self.lsn, self.woken)
    }

    /// Ends a turn of replaying: what it did came from the log.
    pub(super) fn discard(self) {
        self.effects.records.clear();
    }

    /// Repeats a change from the log.
    pub(super) fn repeat(
        &mut self,
        row: &'static Row,
        session: &mut Session,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        self.hold(shards_of(row, args));
        self.run(row, session, args, reply).map(|_| ())
    }

    fn dispatch(
        &mut self,
        session: &mut Session,
        args: Args<'_>,
        reply: &mut Reply,
        start: usize,
    ) -> Result<Executed, Error> {
        let row = match self.admit(session, args) {
            Ok(row) => row,
            Err(_) if is_http(args) => {
                // A browser that somebody has sent here: what it posts could carry commands.
                self.effects.actions.push(Action::Close);
                return Ok(Executed::Replied);
            }
            Err(error) => return Err(self.refuse(session, args, error)),
        };
        if self.engine.server.pause.is_on()
            && let Some(until_ms) = self.engine.server.pause.holds_until(may_write(row, session), self.now_ms)
        {
            return Ok(Executed::Paused(until_ms));
        }
        if session.transaction.is_some() && !row.command.flags.contains(Flags::IMMEDIATE) {
            self.queue(session, args);
            reply.simple("QUEUED");
            return Ok(Executed::Replied);
        }
        let (shards, flags) = (shards_of(row, args), row.command.flags);
        // One that waits and has no keys waits for what was done before to be safe: the journal must have it.
        if flags.contains(Flags::UNHELD) || (shards == ShardSet::EMPTY && flags.contains(Flags::BLOCKING)) {
            self.release();
        }
        self.hold(shards);
        let mark = self.effects.records.mark();
        self.expire_for(row, session.db, args);
        self.serve(mark);
        let mark = self.effects.records.mark();
        let outcome = self.run(row, session, args, reply);
        // A transaction is shown behind what it ran.
        if self.engine.server.monitors.any() && !matches!(outcome, Ok(Outcome::Execute)) {
            self.show(row, session, args);
        }
        // Even of a command that fails or is to wait: what it did is done, and it does not wait for that itself.
        self.serve(mark);
        match outcome? {
            Outcome::Reply => {}
            Outcome::Block(wait) => {
                reply.truncate(start);
                return Ok(Executed::Blocked(self.park(row, session, args, wait)));
            }
            Outcome::Unblock { client, with_error } => {
                let found = self.unblock(client, with_error);
                reply.integer(i64::from(found));
                self.serve_ready();
            }
            Outcome::Watch => {
                self.watch(row, session, args);
                reply.ok();
            }
            Outcome::Unwatch => self.stop_watching(session),
            Outcome::RewriteConfig => {
                self.release();
                let server = &self.engine.server;
                let rewritten = server.config_file.rewrite(&server.config.settings());
                rewritten.map_err(|reason| Error::with(format!("ERR Rewriting config file: {reason}")))?;
                reply.ok();
            }
            Outcome::Execute => {
                let began_ns = self.ended_ns;
                let done = self.transact(session, reply);
                self.lap();
                self.account(row, session, args, self.ended_ns - began_ns, done.is_err());
                if self.engine.server.monitors.any() {
                    self.show(row, session, args);
                }
                done?;
            }
        }
        Ok(Executed::Replied)
    }

    /// What becomes of a transaction when a request cannot even be queued: it is broken, or if that request was
    /// `EXEC` itself, over.
    fn refuse(&mut self, session: &mut Session, args: Args<'_>, error: Error) -> Error {
        if args.get(0).is_some_and(|name| name.eq_ignore_ascii_case(b"exec")) {
            return self.abort(session, &error);
        }
        if let Some(transaction) = &mut session.transaction {
            transaction.broken = true;
        }
        error
    }

    /// Finds the command and checks that it may run now.
    fn admit(&mut self, session: &mut Session, args: Args<'_>) -> Result<&'static Row, Error> {
        // Who has sent a command is likely to send it again.
        let last = session.client.last_command.load(Relaxed);
        let row = match table().rows().get(usize::from(last)) {
            Some(row) if row.is_named_by(args) => row,
            _ => table().resolve(args).inspect_err(|_| {
                if let Some(row) = table().named(args) {
                    self.metrics.command_rejected(row.number.into());
                }
            })?,
        };
        // Refused ones as well: ACL LOG describes the client with it.
        session.client.last_command.store(row.number, Relaxed);
        self.may_run(row, session, args).inspect_err(|_| self.metrics.command_rejected(row.number.into()))?;
        Ok(row)
    }

    /// Checks that a command may run now.
    fn may_run(&self, row: &Row, session: &mut Session, args: Args<'_>) -> Result<(), Error> {
        let flags = row.command.flags;
        let server = &self.engine.server;
        if !session.authenticated && !flags.contains(Flags::NO_AUTH) && !server.users.default_user().is_open()
        {
            return Err(Error::NO_AUTH);
        }
        if session.only_listens() && !flags.contains(Flags::LISTENING) {
            return Err(Error::only_listens(row.command.full_name()));
        }
        if flags.contains(Flags::NO_MULTI) && session.transaction.is_some() {
            return Err(Error::new("ERR Command not allowed inside a transaction"));
        }
        permit(server, session, row, args, self.now_ms)?;
        if server.loading.load(Relaxed) && !flags.contains(Flags::LOADING) {
            return Err(Error::LOADING);
        }
        if flags.grow() {
            server.may_grow()?;
        }
        if server.monitors.any()
            && session.client.monitors.load(Relaxed)
            && flags.intersects(Flags::READONLY.union(Flags::WRITE))
        {
            return Err(Error::new("ERR Replica can't interact with the keyspace"));
        }
        Ok(())
    }

    /// Runs a command on the shards that are held.
    pub(super) fn run(
        &mut self,
        row: &'static Row,
        session: &mut Session,
        args: Args<'_>,
        reply: &mut Reply,
    ) -> Result<Outcome, Error> {
        self.ran = Some(row);
        let mut keys = view(&mut self.held, session.db);
        let uses_keys =
            row.uses_keys && (!session.client.no_touch.load(Relaxed) || row.command.name == "touch");
        keys.mark_use(uses_keys.then_some(self.now_ms));
        if cfg!(debug_assertions) && !row.command.flags.contains(Flags::WHOLE) {
            keys.only(row.command.touches(args).map(|(_, key, _)| key));
        }
        let mut context = Context {
            now_ms: self.now_ms,
            random: next_random(&mut self.random),
            keys,
            events: self.engine.server.keyspace_events(),
            may_block: session.transaction.is_none(),
            session,
            reply,
            effects: self.effects,
            server: &self.engine.server,
            metrics: self.metrics,
        };
        // Whatever one command logs belongs together; inside `EXEC` all of it does.
        let alone = context.may_block;
        if alone {
            context.effects.records.begin_transaction();
        }
        let outcome = (row.command.handler)(&mut context, args);
        if !context.events.is_empty() {
            context.notify_misses(row, args, &outcome);
        }
        let lookups = context.keys.lookups();
        if alone {
            self.effects.records.end_transaction();
        }
        if row.counts_lookups {
            self.count_lookups(row, lookups);
        }
        let duration_ns = self.lap();
        // One that is to wait counts once, when its wait is over, and so does a transaction.
        if !matches!(outcome, Ok(Outcome::Block(_) | Outcome::Execute)) {
            self.account(row, session, args, duration_ns, outcome.is_err());
        }
        outcome
    }

    /// The time since the last command ended, in nanoseconds: that of the command which ends now.
    fn lap(&mut self) -> u64 {
        let Some(stopwatch) = self.stopwatch else { return 0 };
        let now_ns = stopwatch();
        now_ns.saturating_sub(std::mem::replace(&mut self.ended_ns, now_ns))
    }

    /// Counts what a read found. A command that has one key asks for one, however often it looks.
    fn count_lookups(&self, row: &Row, Lookups { hits, misses }: Lookups) {
        let most = if row.only_key.is_some() { 1 } else { u32::MAX };
        let hits = hits.min(most);
        if hits > 0 {
            self.metrics.add(Counter::KeyspaceHits, hits.into());
        }
        let misses = misses.min(most - hits);
        if misses > 0 {
            self.metrics.add(Counter::KeyspaceMisses, misses.into());
        }
    }

    /// Counts a command that has run, and remembers it if it was slow.
    fn account(&self, row: &Row, session: &Session, args: Args<'_>, duration_ns: u64, failed: bool) {
        if self.stopwatch.is_none() {
            return;
        }
        self.metrics.command_executed(row.number.into(), duration_ns);
        if failed {
            self.metrics.command_failed(row.number.into());
        }
        if duration_ns >= slow_ns(&self.engine.server) {
            self.remember(row, session, args, duration_ns);
        }
    }

    /// Keeps a slow command for the slow log, the latency monitor, or both.
    #[cold]
    fn remember(&self, row: &Row, session: &Session, args: Args<'_>, duration_ns: u64) {
        let (server, flags) = (&self.engine.server, row.command.flags);
        let is_fast = flags.contains(Flags::FAST);
        let event = if is_fast { Event::FastCommand } else { Event::Command };
        server.latency.observe(event, duration_ns, self.now_ms);
        if duration_ns >= server.slow_log.threshold_ns() && !flags.contains(Flags::SKIP_SLOWLOG) {
            server.slow_log.add(Entry {
                id: 0,
                time_s: self.now_ms.div_euclid(1000),
                duration_us: duration_ns / 1000,
                arguments: slow_log::trim(redacted(row, args).into_iter()),
                address: session.client.address.clone(),
                name: session.client.names.lock().name.clone(),
            });
        }
    }

    /// Shows a request to those who monitor.
    #[cold]
    pub(super) fn show(&mut self, row: &Row, session: &Session, args: Args<'_>) {
        monitor::show(&mut self.effects.shown, self.now_ms, row, session, args);
    }

    /// Answers with an error, and counts it.
    pub(super) fn say_error(&self, error: &Error, reply: &mut Reply) {
        self.metrics.count(Counter::ErrorReplies);
        self.engine.server.metrics.error(error.code());
        reply.error(error);
    }

    /// Takes the shards of a request, or keeps those that are held if they will do. Many are not kept for a
    /// request that needs fewer: others could work on them.
    pub(super) fn hold(&mut self, wanted: ShardSet) {
        let kept = wanted == self.asked || self.asked.single().is_some();
        if kept && self.set.contains(wanted) {
            return;
        }
        self.release();
        (self.set, self.held) = self.engine.hold(wanted);
        self.asked = wanted;
    }

    /// Hands what happened to the journal, then lets the shards go.
    pub(super) fn release(&mut self) {
        if !self.effects.records.is_empty() {
            let lsn = self.engine.journal.append(&self.effects.records);
            self.effects.records.clear();
            for shard in self.held.shards_mut() {
                shard.lsn = lsn;
            }
            self.lsn = self.lsn.max(lsn);
        } else {
            // Whoever only read depends on what it saw.
            self.lsn = self.held.shards().map(|shard| shard.lsn).fold(self.lsn, Lsn::max);
        }
        // While the shards are held: nobody's messages about these keys may overtake ours.
        if !self.effects.parcels.is_empty() {
            self.effects.published = true;
            let Effects { parcels, waiting, .. } = &mut *self.effects;
            let lsn = self.lsn.max(self.published_after);
            self.engine.server.pubsub.outboxes.post(parcels, lsn, waiting);
            self.shown = 0;
        }
        self.held = Held::None;
        (self.set, self.asked) = (ShardSet::EMPTY, ShardSet::EMPTY);
    }

    /// Removes the keys whose time has come before a command can see them; who waited for them is still to be
    /// served.
    pub(super) fn expire_for(&mut self, row: &Row, db: u8, args: Args<'_>) {
        let flags = row.command.flags;
        let whole = flags.contains(Flags::WHOLE);
        // Commands about keys of any type may look into other databases.
        let every_database = whole || row.command.group == Group::Generic;
        if !self.held.shards().any(|shard| is_due(shard, db, every_database, self.now_ms)) {
            return;
        }
        self.expire_due(if whole { usize::MAX } else { EXPIRED_MAX });
        for at in row.command.key_positions(args) {
            let key = &args[at];
            let database = self.held.shard(shard_of(key)).keyspace.database_mut(db);
            if database.expiry(key).is_some_and(|deadline| deadline <= self.now_ms) {
                database.remove(key);
                self.metrics.count(Counter::ExpiredKeys);
                self.effects.records.push(db, &[b"DEL", key]);
                notify_expired(&self.engine.server, self.effects, db, key);
            }
        }
    }

    /// Removes every key of the held shards whose time has come, and serves those who waited for them.
    pub(super) fn expire_all(&mut self) {
        let mark = self.effects.records.mark();
        self.expire_due(usize::MAX);
        self.serve(mark);
    }

    /// Removes up to `most` keys a shard whose time has come.
    fn expire_due(&mut self, most: usize) {
        for shard in self.held.shards_mut() {
            let mut removed = 0;
            for db in 0..shard.keyspace.databases() {
                let database = shard.keyspace.database_mut(db);
                while removed < most
                    && let Some(key) = database.due(self.now_ms)
                {
                    let key = Box::<[u8]>::from(key);
                    database.remove(&key);
                    self.effects.records.push(db, &[b"DEL", &key]);
                    notify_expired(&self.engine.server, self.effects, db, &key);
                    removed += 1;
                }
            }
            self.metrics.add(Counter::ExpiredKeys, removed as u64);
        }
    }

    /// How many shards are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.shards().count()
    }

    /// The shard of that number, which must be held.
    pub(super) fn shard(&mut self, number: usize) -> &mut Shard {
        self.held.shard(number)
    }

    /// Puts the client into the queues of its keys.
    fn park(&mut self, row: &'static Row, session: &Session, args: Args<'_>, wait: Wait) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter {
            client: Arc::clone(&session.client),
            identity: session.identity.clone(),
            timeout_ms: wait.timeout_ms,
            retry_at_ms: wait.retry_at_ms,
            ticket: self.engine.next_ticket(),
            row,
            request: wait.request.unwrap_or_else(|| args.to_owned()),
            db: session.db,
            protocol: session.protocol,
            shards: shards_of(row, args),
            keys: wait.keys,
            condition: wait.condition,
            parked: AtomicBool::new(true),
        });
        for key in &waiter.keys {
            self.held.shard(shard_of(key)).waiters.insert(key, &waiter);
        }
        session.client.blocked.store(true, Relaxed);
        self.metrics.raise(Gauge::BlockedClients);
        self.engine.blocked.lock().insert(session.client.id, Arc::clone(&waiter));
        waiter
    }

    /// Takes a waiter out of its queues, but for that of a key that is being served. Where it stood first among
    /// those who wait for time to pass, it kept the time for all of them: the next one must look again.
    fn unpark(&mut self, waiter: &Waiter, served: Option<&[u8]>) {
        for key in waiter.keys.iter().filter(|key| served != Some(&***key)) {
            let was_first = self.held.shard(shard_of(key)).waiters.remove(key, waiter);
            if was_first && matches!(waiter.condition, Condition::Claim(..)) {
                self.ready.push_back(Ready { db: waiter.db, key: key.clone(), news: false });
            }
        }
        waiter.parked.store(false, Relaxed);
        waiter.client.blocked.store(false, Relaxed);
        self.metrics.lower(Gauge::BlockedClients);
        self.engine.blocked.lock().remove(&waiter.client.id);
    }

    /// Ends another client's wait; every shard is held. Returns whether it waited. Who stood behind it is still to
    /// be served.
    pub(super) fn unblock(&mut self, client: u64, with_error: bool) -> bool {
        let ending = if with_error { Ending::Unblocked } else { Ending::Timeout };
        let waiter = self.engine.blocked.lock().get(&client).cloned();
        let Some(waiter) = waiter else { return false };
        let Some(reply) = self.give_up(&waiter, ending) else { return false };
        self.woken.push(Woken { client: Arc::clone(&waiter.client), wake: Wake::Reply(reply) });
        true
    }

    /// Serves those who wait for what the records from `mark` on have changed, and tells those who watch it.
    pub(super) fn serve(&mut self, mark: usize) {
        self.collect_ready(mark);
        self.serve_ready();
    }

    /// Runs waiters' requests, key by key in the order in which they became ready, until nobody is left who
    /// can be served. Serving may make further keys ready.
    fn serve_ready(&mut self) {
        while let Some(ready) = self.ready.pop_front() {
            self.serve_key(&ready);
        }
    }

    /// Serves those who wait for one key, first come first served whatever they wait for.
    fn serve_key(&mut self, ready: &Ready) {
        let Ready { db, ref key, news } = *ready;
        let home = shard_of(key);
        let mut queues = self.held.shard(home).waiters.take(db, key);
        // The next to try of each queue.
        let first = |(at, queue): (usize, &Queue)| Some(Reverse((queue.first_after(None)?, at)));
        let mut next: BinaryHeap<_> = queues.iter().enumerate().filter_map(first).collect();
        while let Some(Reverse((ticket, at))) = next.pop() {
            let queue = &mut queues[at];
            let value = self.held.shard(home).keyspace.database(db).get(key);
            if !may_serve(&queue.condition, value, news) {
                continue;
            }
            let waiter = Arc::clone(&queue.waiters[&ticket]);
            if waiter.client.killed.load(Relaxed) {
                // Its connection, which takes it out of its queues, may not know yet.
            } else if self.serve_one(&waiter) {
                queue.waiters.remove(&ticket);
                self.held.shard(home).waiters.count(&waiter, home, -1);
                self.unpark(&waiter, Some(key));
            } else if matches!(queue.condition, Condition::Group(_) | Condition::Claim(..)) {
                // What the first does not find, nobody behind it does. Of a list some want more than others,
                // of a stream some have read less.
                continue;
            }
            next.extend(queue.first_after(Some(ticket)).map(|ticket| Reverse((ticket, at))));
        }
        self.held.shard(home).waiters.put_back(db, key, queues);
    }

    /// Runs one waiter's request. Returns whether its wait is over.
    fn serve_one(&mut self, waiter: &Arc<Waiter>) -> bool {
        let mut session = Session::new(Arc::clone(&waiter.client), true);
        session.db = waiter.db;
        session.protocol = waiter.protocol;
        session.identity = waiter.identity.clone();
        let mut reply = Reply::new(waiter.protocol);
        reply.reserve(WOKEN_REPLY);
        let mark = self.effects.records.mark();
        self.expire_for(waiter.row, waiter.db, waiter.request.as_args());
        let request = waiter.request.as_args();
        // Rules may have changed since it began to wait.
        let outcome = match permit(&self.engine.server, &mut session, waiter.row, request, self.now_ms) {
            Ok(()) => self.run(waiter.row, &mut session, request, &mut reply),
            Err(error) => Err(error),
        };
        self.collect_ready(mark);
        match outcome {
            Ok(Outcome::Block(wait)) => {
                if let Some(at) = wait.retry_at_ms {
                    self.woken.push(Woken { client: Arc::clone(&waiter.client), wake: Wake::Retry(at) });
                }
                return false;
            }
            Ok(_) => {}
            Err(error) => {
                reply.truncate(0);
                self.say_error(&error, &mut reply);
            }
        }
        self.woken.push(Woken { client: Arc::clone(&waiter.client), wake: Wake::Reply(reply.take()) });
        true
    }

    /// Finds which keys the records from `mark` on have changed: tells those who watch them, and notes which of
    /// them somebody waits for. That is the only notion of change there is: what is not logged has not happened.
    fn collect_ready(&mut self, mark: usize) {
        if self.effects.records.mark() == mark || !self.held.shards().any(Shard::observed) {
            return;
        }
        let limits = Limits { bulk_max: u64::MAX, authenticated: true };
        for (db, run) in self.effects.records.runs_from(mark) {
            let mut parser = RequestParser::default();
            while let Some(args) = parser.next(run, limits).expect("records are requests") {
                let mut carried = RequestParser::default();
                let args = logged(args, &mut carried).expect("what records carry are requests");
                let row = match self.ran {
                    Some(row) if row.is_named_by(args) => row,
                    _ => table().resolve(args).expect("records are commands of the table"),
                };
                if row.command.flags.contains(Flags::WHOLE) {
                    // The only such command with arguments is `SWAPDB`, and they are databases.
                    let named = args.tail(1).iter().filter_map(number::unsigned).map(|db| db as u8);
                    for db in named.chain((args.len() == 1).then_some(db)) {
                        for shard in self.held.shards() {
                            shard.mark_all_changed(db);
                            let waited_for = shard.waiters.keys().filter(|at| at.0 == db);
                            let all = waited_for.map(|(db, key)| Ready { db, key: key.into(), news: true });
                            self.ready.extend(all);
                        }
                    }
                }
                // No other command about streams alone adds entries.
                let news = row.command.group != Group::Stream || row.command.name == "xadd";
                for at in row.command.key_positions(args) {
                    let key = &args[at];
                    let shard = self.held.shard(shard_of(key));
                    shard.mark_changed(db, key);
                    if shard.waiters.contains(db, key, news) {
                        match self.ready.iter_mut().find(|ready| ready.db == db && *ready.key == *key) {
                            Some(ready) => ready.news |= news,
                            None => self.ready.push_back(Ready { db, key: key.into(), news }),
                        }
                    }
                }
            }
        }
    }
}

/// Says that a key went because its time had come.
fn notify_expired(server: &Server, effects: &mut Effects, db: u8, key: &[u8]) {
    let events = server.keyspace_events();
    if events.contains(KeyspaceEvents::EXPIRED) {
        announce(&server.pubsub, events, effects, db, "expired", key);
    }
}

/// Whether a waiter could find what it waits for in the key as it is: if not, its command need not run.
fn may_serve(condition: &Condition, value: Option<&Value>, news: bool) -> bool {
    match (condition, value) {
        (Condition::List, value) => value.is_some_and(|value| value.kind() == Type::List),
        (Condition::Stream, value) => news && value.is_some_and(|value| value.kind() == Type::Stream),
        (Condition::Group(name), Some(Value::Stream(stream))) => {
            stream.group_id(name).is_none_or(|group| stream.has_new(group))
        }
        // A group that is gone ends the wait, and to claim is to look at the time.
        (Condition::Group(_) | Condition::Claim(..) | Condition::Time, _) => true,
    }
}

/// The keys of the held shards.
fn view<'a>(held: &'a mut Held<'_>, db: u8) -> Keys<'a> {
    match held {
        Held::One(shard, guard) => Keys::one(db, *shard, &mut guard.keyspace),
        held => {
            let mut parts = Box::new([const { None }; SHARDS]);
            if let Held::Many(shards) = held {
                for (number, guard) in shards {
                    parts[*number] = Some(&mut guard.keyspace);
                }
            }
            Keys::many(db, parts)
        }
    }
}

/// Whether a request may change data or tell others something: by itself or, for `EXEC`, by what is queued.
fn may_write(row: &Row, session: &Session) -> bool {
    let writes = |row: &Row| {
        row.command.flags.contains(Flags::WRITE) || matches!(row.command.name, "publish" | "spublish")
    };
    let queued = session.transaction.iter().flat_map(|transaction| &transaction.queue);
    let mut queued = queued.filter_map(|request| table().resolve(request.as_args()).ok());
    writes(row) || (row.command.name == "exec" && queued.any(writes))
}

/// From how many nanoseconds on a command is slow, to the slow log or to the latency monitor.
fn slow_ns(server: &Server) -> u64 {
    server.slow_log.threshold_ns().min(server.latency.threshold_ns())
}

/// Whether a request is the first line or the host line of an HTTP request.
fn is_http(args: Args<'_>) -> bool {
    args.get(0).is_some_and(|name| name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:"))
}

fn is_due(shard: &Shard, db: u8, every_database: bool, now_ms: i64) -> bool {
    let due = |db| shard.keyspace.database(db).next_deadline().is_some_and(|deadline| deadline <= now_ms);
    due(db) || (every_database && (0..shard.keyspace.databases()).any(due))
}

/// Xorshift: good enough to pick keys with, and the same turn gives the same numbers.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
