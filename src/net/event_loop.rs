//! One event loop: its connections, its turns, and the flush that ends each tick.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use ahash::RandomState;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::bell::Bell;
use super::caretaker;
use super::clock::Clock;
use super::connection::{Connection, OUTPUT_HIGH};
use super::journal::LogJournal;
use super::mailbox::{Mailbox, Message};
use super::memory;
use super::nudge::Nudge;
use super::socket::{self, Accepted};
use super::tls::Tls;
use crate::acl::DEFAULT_USER;
use crate::aof::{Commit, LogFailed, Policy};
use crate::command::permission::log_in;
use crate::command::{Action, Effects};
use crate::config::{Settings, TlsAuthClientsUser};
use crate::engine::{Engine, Lsn, Turn, Wake, Woken};
use crate::metrics::latency::Event;
use crate::metrics::{Counter, Gauge, LoopMetrics};
use crate::pubsub::Posted;
use crate::report;
use crate::session::{Client, Session};

/// What all loops share.
#[derive(Debug)]
pub struct Shell {
    /// The data, and what commands do to it.
    pub engine: Engine,
    /// Where it is kept.
    pub journal: Arc<LogJournal>,
    /// How TLS connections are made.
    pub tls: Arc<Tls>,
    /// How the loops reach each other; as many as there are loops.
    pub mailboxes: Arc<[Mailbox]>,
    /// Connections of each loop, those on their way to it included.
    pub connections: Box<[AtomicUsize]>,
    /// Calls the thread that syncs the log.
    pub syncer: Bell,
    /// Calls the thread that rewrites the log.
    pub rewriter: Bell,
    /// Held by the loop that has the log follow `appendfsync`.
    pub policy: Mutex<()>,
    /// Set once: no further request is run.
    pub stopping: AtomicBool,
    /// Called when the log fails: says so and does not return.
    pub on_log_failure: fn(&LogFailed) -> !,
    /// Woken when the server is to stop.
    pub on_stop: Notify,
}

impl Shell {
    /// Asks all loops to finish what has been said and end.
    pub fn stop(&self) {
        if !self.stopping.swap(true, Relaxed) {
            for mailbox in &*self.mailboxes {
                mailbox.send(Message::Stop);
            }
            self.on_stop.notify_one();
        }
    }

    /// Refuses producers while the disk is full, and says so when that begins and ends.
    pub(super) fn look_at_disk(&self) {
        let Some(log) = self.journal.log() else { return };
        let (is_full, refused) = (log.is_disk_full(), &self.engine.server.disk_full);
        if refused.load(Relaxed) == is_full || refused.swap(is_full, Relaxed) == is_full {
            return;
        }
        let reserve_bytes = log.status().reserve_bytes;
        if is_full {
            tracing::error!(
                reserve_bytes,
                "the disk is full: producers are refused, consumers have the reserve"
            );
        } else {
            tracing::warn!(reserve_bytes, "the disk has room again: producers are let in");
        }
    }

    /// Waits until [`stop`](Self::stop) is called.
    pub async fn stopped(&self) {
        self.on_stop.notified().await;
    }
}

/// One loop: a thread's share of the connections. Everything in it belongs to that thread.
#[derive(Debug)]
pub struct EventLoop {
    pub(super) shell: Arc<Shell>,
    pub(super) clock: Clock,
    /// Its index among the loops.
    home: usize,
    connections: RefCell<HashMap<u64, Rc<Connection>, RandomState>>,
    /// Connections with replies that have not left.
    unsent: RefCell<Vec<Rc<Connection>>>,
    /// Wakes the task that ends the tick.
    tick_ends: Nudge,
    /// Whether the last turn has published more than is being delivered.
    pub(super) floods: Cell<bool>,
    /// Whether this loop has published to itself.
    messages_wait: Cell<bool>,
    /// The log position that everything said or done on this loop depends on.
    owed: Cell<Lsn>,
    effects: RefCell<Effects>,
    pub(super) metrics: LoopMetrics,
    random: Cell<u64>,
    settings: RefCell<(u64, Arc<Settings>)>,
    /// Bytes of unsent replies beyond which a client's requests wait and its limits are looked at: below every
    /// limit, so that who reads its replies does not meet one by asking for much at once.
    pub(super) output_high: Cell<usize>,
    /// How many connections are above their soft limit.
    pub(super) over_soft: Cell<usize>,
    /// Bytes read since the memory in use was looked at.
    taken_in: Cell<usize>,
    /// Connections whose requests wait for the log to catch up; each at most once.
    held_back: RefCell<Vec<Rc<Connection>>>,
    /// Where sockets are read into; shared by all connections, so that an idle one needs no buffer.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

/// Bytes read from a socket at once.
const SCRATCH: usize = 64 * 1024;

/// Bytes that wait to be written to the log beyond which no further request is run: what a slow disk may cost.
const PENDING_MAX: u64 = 64 * 1024 * 1024;

/// Bytes read from sockets after which the memory in use is looked at again, housekeeping or not: by how much, for
/// each loop, `maxmemory` may be passed before producers are refused.
const MEMORY_STEP: usize = 8 * 1024 * 1024;

/// Connections with replies for which the loop keeps room from tick to tick.
const UNSENT_KEEP: usize = 1024;

/// How often the loop looks after what happens without requests: keys that expire, the log's last block.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

impl EventLoop {
    /// The loop of index `home`, to be run on its own thread. `random` seeds its random choices.
    #[must_use]
    pub fn new(shell: Arc<Shell>, home: usize, metrics: LoopMetrics, random: u64) -> Rc<EventLoop> {
        let config = &shell.engine.server.config;
        let settings = (config.generation(), config.settings());
        Rc::new(EventLoop {
            shell,
            clock: Clock,
            home,
            connections: RefCell::default(),
            unsent: RefCell::default(),
            tick_ends: Nudge::default(),
            floods: Cell::new(false),
            messages_wait: Cell::new(false),
            owed: Cell::new(0),
            effects: RefCell::default(),
            metrics,
            random: Cell::new(random | 1),
            output_high: Cell::new(output_high(&settings.1)),
            over_soft: Cell::new(0),
            taken_in: Cell::new(0),
            held_back: RefCell::default(),
            settings: RefCell::new(settings),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
        })
    }

    /// Runs until the server stops. Must be called inside a `LocalSet` on the loop's own thread.
    pub async fn run(self: &Rc<EventLoop>) {
        let housekeeper = tokio::task::spawn_local(Rc::clone(self).keep_house());
        let flusher = tokio::task::spawn_local(Rc::clone(self).end_ticks());
        loop {
            for message in self.shell.mailboxes[self.home].receive().await {
                match message {
                    Message::Connection(accepted) => self.adopt(accepted),
                    Message::Woken { client, wake, lsn } => self.wake(client, wake, lsn),
                    Message::Published => self.deliver(),
                    Message::Kill(client) => self.kill(client),
                    Message::Unpaused => self.connections.borrow().values().for_each(|c| c.look_again()),
                    Message::Shown(client, requests) => self.take_in(&client, &requests),
                    Message::Committed => self.schedule_flush(),
                    Message::Stop => {
                        housekeeper.abort();
                        flusher.abort();
                        self.drain().await;
                        return;
                    }
                }
            }
        }
    }

    /// The settings as this loop knows them: as they were when its last turn ended, or later.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow().1)
    }

    /// One of them.
    pub(super) fn setting<T>(&self, one: impl FnOnce(&Settings) -> T) -> T {
        one(&self.settings.borrow().1)
    }

    /// Counts what has been read; after enough of it, looks at the memory in use.
    pub(super) fn took_in(&self, bytes: usize) {
        self.taken_in.set(self.taken_in.get() + bytes);
        if self.taken_in.get() >= MEMORY_STEP {
            self.look_at_memory();
        }
    }

    fn look_at_memory(&self) {
        self.taken_in.set(0);
        self.shell.engine.server.judge_memory(memory::used());
    }

    /// Acts on changed settings: one atomic load where there are none. Whoever has changed them has not been told
    /// yet, so finds them in force.
    fn renew_settings(self: &Rc<EventLoop>) {
        let config = &self.shell.engine.server.config;
        if self.settings.borrow().0 == config.generation() {
            return;
        }
        let before = self.settings().loglevel;
        *self.settings.borrow_mut() = (config.generation(), config.settings());
        self.output_high.set(output_high(&self.settings()));
        if self.settings().loglevel != before {
            report::set_level(self.settings().loglevel);
        }
        let Some(log) = self.shell.journal.log() else { return };
        if log.policy() == Policy::from(self.settings().appendfsync) {
            return;
        }
        {
            // Our settings may be old news by now; whoever comes last here knows the newest.
            let _one_at_a_time = self.shell.policy.lock();
            let policy = Policy::from(config.settings().appendfsync);
            if log.policy() != policy
                && let Err(failed) = log.set_policy(policy)
            {
                (self.shell.on_log_failure)(&failed);
            }
        }
        // Some replies were waiting for the old policy, and a commit may have found the change in its way.
        for mailbox in &*self.shell.mailboxes {
            mailbox.send(Message::Committed);
        }
    }

    /// Runs something in a turn of the engine and sees to everything it caused. Returns the log position that
    /// what was said depends on, and what the shell must do for whoever ran it.
    pub(super) fn turn<T>(
        self: &Rc<EventLoop>,
        run: impl FnOnce(&mut Turn<'_>) -> T,
    ) -> (T, Lsn, Vec<Action>) {
        let mut effects = self.effects.borrow_mut();
        self.random
            .set(self.random.get().wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1442695040888963407));
        let mut turn =
            self.shell.engine.turn(self.clock.now_ms(), self.random.get() >> 1, &self.metrics, &mut effects);
        let result = run(&mut turn);
        let (lsn, woken) = turn.finish();
        let actions = std::mem::take(&mut effects.actions);
        self.tell_of_messages(&mut effects.waiting);
        let published = std::mem::take(&mut effects.published);
        self.floods.set(published && self.shell.engine.server.pubsub.outboxes.is_full());
        if !effects.shown.is_empty() {
            self.show(&effects.shown);
            effects.shown.clear();
        }
        drop(effects);
        self.renew_settings();
        if lsn > self.owed.get() {
            self.owed.set(lsn);
            self.schedule_flush();
        }
        for Woken { client, wake } in woken {
            if usize::from(client.home) == self.home {
                self.wake(client.id, wake, lsn);
            } else {
                let message = Message::Woken { client: client.id, wake, lsn };
                self.shell.mailboxes[usize::from(client.home)].send(message);
            }
        }
        (result, lsn, actions)
    }

    /// Tells loops that there are published messages for them. Ours are delivered at the end of the tick: now a
    /// connection of ours may be in the middle of its requests.
    fn tell_of_messages(self: &Rc<EventLoop>, waiting: &mut Vec<u16>) {
        for home in waiting.drain(..).map(usize::from) {
            if home == self.home {
                self.messages_wait.set(true);
                self.schedule_flush();
            } else {
                self.shell.mailboxes[home].send(Message::Published);
            }
        }
    }

    /// Hands published messages to the connections they are for. Done before requests are read too: who was told that
    /// its message is published and tells somebody else is not ahead of the message.
    pub(super) fn deliver(self: &Rc<EventLoop>) {
        let outboxes = &self.shell.engine.server.pubsub.outboxes;
        if outboxes.is_empty(self.home as u16) {
            return;
        }
        let connections = self.connections.borrow();
        for Posted { parcel, lsn } in outboxes.collect(self.home as u16) {
            self.owed.set(self.owed.get().max(lsn));
            for client in parcel.listeners.iter().filter(|client| parcel.told != Some(**client)) {
                if let Some(connection) = connections.get(client) {
                    connection.deliver(self, &parcel, lsn);
                }
            }
        }
    }

    /// Shows requests to those who monitor. One that is too far behind is disconnected.
    fn show(&self, requests: &[u8]) {
        let requests: Arc<[u8]> = requests.into();
        let bytes = requests.len() as u64;
        let most = self.settings().client_output_buffer_limit.normal.hard_bytes;
        for client in self.shell.engine.server.monitors.all() {
            let behind =
                client.output_bytes.load(Relaxed) + client.shown_bytes.fetch_add(bytes, Relaxed) + bytes;
            let mailbox = &self.shell.mailboxes[usize::from(client.home)];
            if most > 0 && behind > most {
                self.metrics.count(Counter::OutputBufferDisconnections);
                self.shell.engine.server.monitors.remove(&client);
                mailbox.send(Message::Kill(client.id));
            } else {
                mailbox.send(Message::Shown(client, Arc::clone(&requests)));
            }
        }
    }

    /// Adds requests to what a monitor of this loop is sent.
    fn take_in(self: &Rc<EventLoop>, client: &Client, requests: &[u8]) {
        client.shown_bytes.fetch_sub(requests.len() as u64, Relaxed);
        let connection = self.connections.borrow().get(&client.id).cloned();
        if let Some(connection) = connection.filter(|_| client.monitors.load(Relaxed)) {
            connection.show(self, requests);
        }
    }

    /// Does what a command asked the shell for, but for closing its own connection.
    pub(super) fn act(self: &Rc<EventLoop>, action: &Action) {
        match action {
            Action::Close => {}
            Action::Kill(id) => {
                if let Some(client) = self.shell.engine.server.clients.get(*id) {
                    self.shell.mailboxes[usize::from(client.home)].send(Message::Kill(*id));
                }
            }
            Action::Unpause => {
                self.shell.mailboxes.iter().for_each(|mailbox| mailbox.send(Message::Unpaused));
            }
            Action::Shutdown => self.shell.stop(),
            Action::Rewrite => self.shell.rewriter.ring(),
            Action::Sync => self.shell.syncer.ring(),
            #[expect(clippy::disallowed_methods, reason = "DEBUG SLEEP is asked to stop the loop")]
            Action::Sleep(ms) => std::thread::sleep(Duration::from_millis(*ms)),
        }
    }

    /// Notes that a connection has something to send, once the tick ends.
    pub(super) fn has_replies(self: &Rc<EventLoop>, connection: Rc<Connection>) {
        self.unsent.borrow_mut().push(connection);
        self.schedule_flush();
    }

    /// Ends the tick after the tasks that are ready now.
    pub(super) fn schedule_flush(self: &Rc<EventLoop>) {
        self.tick_ends.give();
    }

    /// Strikes a connection that is gone.
    pub(super) fn forget(&self, client: &Client) {
        self.connections.borrow_mut().remove(&client.id);
        self.shell.engine.server.clients.remove(client.id);
        self.shell.engine.server.monitors.remove(client);
        self.metrics.lower(Gauge::ConnectedClients);
        self.shell.connections[self.home].fetch_sub(1, Relaxed);
    }

    /// Flushes whenever that is scheduled.
    async fn end_ticks(self: Rc<EventLoop>) {
        let end_tick = |cx: &mut Context<'_>| {
            if self.tick_ends.poll_taken(cx).is_ready() {
                self.flush();
                // Asked for again meanwhile: behind the tasks that are ready by now.
                if self.tick_ends.poll_taken(cx).is_ready() {
                    self.tick_ends.give();
                    cx.waker().wake_by_ref();
                }
            }
            Poll::<()>::Pending
        };
        std::future::poll_fn(end_tick).await;
    }

    /// The end of a tick: commits the log if anything here depends on it, then sends what is safe to say.
    fn flush(self: &Rc<EventLoop>) {
        if self.messages_wait.take() {
            self.deliver();
        }
        let journal = &self.shell.journal;
        if journal.released() < self.owed.get() {
            self.commit();
        }
        let released = journal.released();
        if released >= self.owed.get() {
            self.shell.mailboxes[self.home].await_commit(false);
        }
        let mut unsent = std::mem::take(&mut *self.unsent.borrow_mut());
        unsent.retain(|connection| !connection.send(self, released));
        // What came to it meanwhile goes behind; its memory stays, but for that of a crowd.
        unsent.append(&mut self.unsent.borrow_mut());
        unsent.shrink_to(UNSENT_KEEP.max(unsent.len()));
        *self.unsent.borrow_mut() = unsent;
        self.let_go();
    }

    /// Commits the log, unless another loop is at it: then that one tells us when it is done, and what it left
    /// is for the first to ask. So one sync is under way at a time, and the next is filling meanwhile.
    fn commit(self: &Rc<EventLoop>) {
        let Some(log) = self.shell.journal.log() else { return };
        self.shell.mailboxes[self.home].await_commit(true);
        let latency = &self.shell.engine.server.latency;
        // Nobody measures what nobody wants to know.
        let began_ns = (latency.threshold_ns() < u64::MAX).then(Clock::cycles_ns);
        let committed = log.commit(self.clock.now_ms().unsigned_abs());
        if let (Some(began_ns), Ok(Commit::Done { .. })) = (began_ns, &committed) {
            let event = if log.policy() == Policy::Always { Event::LogSync } else { Event::LogWrite };
            latency.observe(event, Clock::cycles_ns() - began_ns, self.clock.now_ms());
        }
        self.settle(committed);
    }

    /// Sees to everything that a commit of this loop means, for all loops.
    fn settle(self: &Rc<EventLoop>, committed: Result<Commit, LogFailed>) {
        match committed {
            Ok(Commit::Done { more, .. }) => {
                self.shell.look_at_disk();
                if more {
                    self.schedule_flush();
                }
                self.shell.tell_committed(Some(self.home));
            }
            Ok(Commit::DiskFull) => self.shell.look_at_disk(),
            // Idle means that nothing is left to be written; what was may be on its way to the disk.
            Ok(Commit::Idle | Commit::InProgress) => {}
            Err(failed) => (self.shell.on_log_failure)(&failed),
        }
    }

    /// Whether the log has more to write than the disk has taken for a while: no further request is run.
    pub(super) fn is_log_behind(&self) -> bool {
        self.shell.journal.log().is_some_and(|log| log.pending_bytes() > PENDING_MAX)
    }

    /// Has a connection nudged once the log is not behind any more.
    pub(super) fn hold_back(&self, connection: Rc<Connection>) {
        self.held_back.borrow_mut().push(connection);
        self.shell.mailboxes[self.home].await_commit(true);
    }

    /// Nudges those who were held back, when the log is not behind any more.
    fn let_go(&self) {
        if !self.held_back.borrow().is_empty() && !self.is_log_behind() {
            self.held_back.take().iter().for_each(|connection| connection.let_go());
        }
    }

    fn adopt(self: &Rc<EventLoop>, accepted: Accepted) {
        let server = &self.shell.engine.server;
        let settings = self.settings();
        let keepalive = Duration::from_secs(settings.tcp_keepalive.into());
        let Accepted { raw, address, local_address } = accepted;
        let (source, sink) = match socket::register(raw, keepalive, &self.shell.tls) {
            Ok(halves) => halves,
            Err(error) => {
                tracing::debug!(%error, address, "the connection was gone before it began");
                self.shell.connections[self.home].fetch_sub(1, Relaxed);
                return;
            }
        };
        let id = server.clients.next_id();
        let client = Client::new(id, self.home as u16, address, local_address, self.clock.now_ms());
        let client = Arc::new(client);
        server.clients.insert(Arc::clone(&client));
        self.metrics.raise(Gauge::ConnectedClients);
        let mut session = Session::new(client, server.users.default_user().is_open());
        session.identity = server.users.identify(DEFAULT_USER).unwrap_or_default();
        let connection = Rc::new(Connection::new(sink, session));
        self.connections.borrow_mut().insert(id, Rc::clone(&connection));
        tokio::task::spawn_local(connection.run(source, Rc::clone(self)));
    }

    /// Makes a session that of the user whom a verified certificate names, if the settings say so and there is one.
    pub(super) fn log_in_by_certificate(&self, session: &mut Session, name: &str) {
        if self.settings().tls_auth_clients_user == TlsAuthClientsUser::Off {
            return;
        }
        let found = self.shell.engine.server.users.identify(name.as_bytes());
        match found.filter(|identity| identity.user().enabled) {
            Some(identity) => log_in(session, identity),
            None => {
                tracing::debug!(client = session.client.id, "the certificate names nobody who may log in");
            }
        }
    }

    /// Tells a waiting client something.
    fn wake(self: &Rc<EventLoop>, client: u64, wake: Wake, lsn: Lsn) {
        // What was done on another loop may not be committed yet: the reply is owed here now.
        self.owed.set(self.owed.get().max(lsn));
        let connection = self.connections.borrow().get(&client).cloned();
        if let Some(connection) = connection {
            connection.wake(self, wake, lsn);
        }
    }

    fn kill(self: &Rc<EventLoop>, client: u64) {
        if let Some(connection) = self.connections.borrow().get(&client) {
            connection.kill();
        }
    }

    /// What happens without requests: keys expire, a full disk gets room again, the log's last block is covered
    /// by another.
    async fn keep_house(self: Rc<EventLoop>) {
        let mut ticks = tokio::time::interval(HOUSEKEEPING);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut position = 0;
        let mut round = 0_u32;
        loop {
            ticks.tick().await;
            round = round.wrapping_add(1);
            if round.is_multiple_of(10) {
                self.drop_handshakes();
                self.drop_idle_connections();
                self.cut_off_slow_readers();
            }
            let Some(log) = self.shell.journal.log() else { continue };
            self.let_go();
            let is_urgent = self.shell.engine.server.memory_full.load(Relaxed);
            if round.is_multiple_of(if is_urgent { 5 } else { 20 }) {
                memory::tidy();
            }
            if log.released() < self.owed.get() {
                self.schedule_flush();
            }
            if self.home != 0 {
                continue;
            }
            let server = &self.shell.engine.server;
            let now_ms = self.clock.now_ms();
            server.metrics.sample(now_ms.unsigned_abs());
            let settings = self.settings();
            let (percentage, min_bytes) =
                (settings.auto_aof_rewrite_percentage, settings.auto_aof_rewrite_min_size);
            if caretaker::is_overgrown(log, percentage, min_bytes) && server.rewriting.begin_unasked(now_ms) {
                self.shell.rewriter.ring();
            }
            self.look_at_memory();
            if log.is_disk_full() && round.is_multiple_of(5) {
                log.restock();
            }
            self.shell.look_at_disk();
            let is_paused = server.pause.holds_until(true, now_ms).is_some();
            if server.active_expire.load(Relaxed) && !is_paused {
                for shard in 0..crate::keyspace::SHARDS {
                    self.turn(|turn| turn.expire(shard));
                }
            }
            let quiet = std::mem::replace(&mut position, log.position()) == position;
            if quiet {
                // It may have written what others wait for, too.
                self.settle(log.cover(self.clock.now_ms().unsigned_abs()));
                if !self.unsent.borrow().is_empty() {
                    self.schedule_flush();
                }
            }
        }
    }

    /// Ends connections that have not come to terms about their keys in good time.
    fn drop_handshakes(&self) {
        const HANDSHAKE_MS: i64 = 10_000;
        if self.settings().tls_port == 0 {
            return;
        }
        let deadline = self.clock.now_ms() - HANDSHAKE_MS;
        for connection in self.connections.borrow().values() {
            if connection.is_handshaking_since(deadline) {
                connection.kill();
            }
        }
    }

    /// Ends connections that have been silent for longer than `timeout` and do not wait for anything.
    fn drop_idle_connections(&self) {
        let timeout_ms = i64::from(self.settings().timeout) * 1000;
        if timeout_ms == 0 {
            return;
        }
        let deadline = self.clock.now_ms() - timeout_ms;
        for connection in self.connections.borrow().values() {
            if connection.is_idle_since(deadline) {
                connection.kill();
            }
        }
    }

    /// Ends connections that have been above their soft limit for too long.
    fn cut_off_slow_readers(&self) {
        if self.over_soft.get() > 0 {
            self.connections.borrow().values().for_each(|connection| connection.check_soft_limit(self));
        }
    }

    /// Sends what has been said, with the log committed, for as long as clients go on taking it: a second without any
    /// ends it, and ten in any case.
    async fn drain(self: &Rc<EventLoop>) {
        const LOOK: Duration = Duration::from_millis(10);
        let (mut left, mut looks_in_vain) = (usize::MAX, 0);
        for _ in 0..1000 {
            self.flush();
            let unsent = self.connections.borrow().values().map(|connection| connection.unsent()).sum();
            let committed = self.shell.journal.released() >= self.owed.get();
            looks_in_vain = if unsent < left { 0 } else { looks_in_vain + 1 };
            if (unsent == 0 && committed) || looks_in_vain == 100 {
                break;
            }
            left = unsent;
            tokio::time::sleep(LOOK).await;
        }
        self.connections.borrow_mut().clear();
    }
}

fn output_high(settings: &Settings) -> usize {
    let lowest = settings.client_output_buffer_limit.lowest();
    lowest.map_or(OUTPUT_HIGH, |bytes| OUTPUT_HIGH.min(usize::try_from(bytes / 2).unwrap_or(usize::MAX)))
}
