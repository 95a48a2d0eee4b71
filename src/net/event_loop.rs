//! One event loop: its connections, its turns, and the flush that ends each tick.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use ahash::RandomState;
use tokio::sync::Notify;

use super::clock::Clock;
use super::connection::Connection;
use super::journal::LogJournal;
use super::mailbox::{Mailbox, Message};
use super::socket::{self, Accepted};
use crate::aof::{Commit, Log, LogFailed, Policy};
use crate::command::{Action, Effects};
use crate::config::Settings;
use crate::engine::{Engine, Lsn, Turn, Wake, Woken};
use crate::metrics::{Gauge, LoopMetrics};
use crate::session::{Client, Session};

/// What all loops share.
#[derive(Debug)]
pub struct Shell {
    /// The data, and what commands do to it.
    pub engine: Engine,
    /// Where it is kept.
    pub journal: Arc<LogJournal>,
    /// How the loops reach each other; as many as there are loops.
    pub mailboxes: Arc<[Mailbox]>,
    /// Connections of each loop, those on their way to it included.
    pub connections: Box<[AtomicUsize]>,
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
    flush_scheduled: Cell<bool>,
    /// The log position that everything said or done on this loop depends on.
    owed: Cell<Lsn>,
    /// Whether more than [`LOG_BEHIND`] bytes waited for the disk when the last tick ended.
    log_behind: Cell<bool>,
    effects: RefCell<Effects>,
    pub(super) metrics: LoopMetrics,
    random: Cell<u64>,
    settings: RefCell<(u64, Arc<Settings>)>,
    /// Where sockets are read into; shared by all connections, so that an idle one needs no buffer.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

/// Bytes read from a socket at once.
const SCRATCH: usize = 64 * 1024;

/// Bytes of the log in memory beyond which clients that do not wait for their replies must wait for the disk: a slow one
/// must not fill the memory. Each connection may add what it reads at once.
const LOG_BEHIND: u64 = 64 * 1024 * 1024;

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
            flush_scheduled: Cell::new(false),
            owed: Cell::new(0),
            log_behind: Cell::new(false),
            effects: RefCell::default(),
            metrics,
            random: Cell::new(random | 1),
            settings: RefCell::new(settings),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
        })
    }

    /// Runs until the server stops. Must be called inside a `LocalSet` on the loop's own thread.
    pub async fn run(self: &Rc<EventLoop>) {
        let housekeeper = tokio::task::spawn_local(Rc::clone(self).keep_house());
        loop {
            for message in self.shell.mailboxes[self.home].receive().await {
                match message {
                    Message::Connection(accepted) => self.adopt(accepted),
                    Message::Woken { client, wake, lsn } => self.wake(client, wake, lsn),
                    Message::Kill(client) => self.kill(client),
                    Message::Committed => self.schedule_flush(),
                    Message::Stop => {
                        housekeeper.abort();
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

    /// Acts on changed settings: one atomic load where there are none. Whoever has changed them has not been told
    /// yet, so finds them in force.
    fn renew_settings(self: &Rc<EventLoop>) {
        let config = &self.shell.engine.server.config;
        if self.settings.borrow().0 == config.generation() {
            return;
        }
        *self.settings.borrow_mut() = (config.generation(), config.settings());
        let policy = Policy::from(self.settings().appendfsync);
        let Some(log) = self.shell.journal.log().filter(|log| log.policy() != policy) else { return };
        if let Err(failed) = log.set_policy(policy) {
            (self.shell.on_log_failure)(&failed);
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

    /// Does what a command asked the shell for, but for closing its own connection.
    pub(super) fn act(self: &Rc<EventLoop>, action: &Action) {
        match action {
            Action::Close => {}
            Action::Kill(id) => {
                if let Some(client) = self.shell.engine.server.clients.get(*id) {
                    self.shell.mailboxes[usize::from(client.home)].send(Message::Kill(*id));
                }
            }
            Action::Shutdown => self.shell.stop(),
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
        if !self.flush_scheduled.replace(true) {
            let event_loop = Rc::clone(self);
            tokio::task::spawn_local(async move { event_loop.flush() });
        }
    }

    /// Strikes a connection that is gone.
    pub(super) fn forget(&self, client: &Client) {
        self.connections.borrow_mut().remove(&client.id);
        self.shell.engine.server.clients.remove(client.id);
        self.metrics.lower(Gauge::ConnectedClients);
        self.shell.connections[self.home].fetch_sub(1, Relaxed);
    }

    /// The end of a tick: commits the log if anything here depends on it, then sends what is safe to say.
    fn flush(self: &Rc<EventLoop>) {
        self.flush_scheduled.set(false);
        let journal = &self.shell.journal;
        if journal.released() < self.owed.get() {
            self.commit();
        }
        self.look_after_log();
        let released = journal.released();
        if released >= self.owed.get() {
            self.shell.mailboxes[self.home].await_commit(false);
        }
        let unsent = std::mem::take(&mut *self.unsent.borrow_mut());
        for connection in unsent {
            if !connection.send(self, released) {
                self.unsent.borrow_mut().push(connection);
            }
        }
    }

    /// Whether the disk is far behind.
    pub(super) fn is_log_behind(&self) -> bool {
        self.log_behind.get()
    }

    /// Notes whether the log is far behind; when it has caught up, connections go on. On a full disk producers are
    /// refused anyway, and everybody else must be able to make room.
    fn look_after_log(&self) {
        let disk_full = self.shell.engine.server.disk_full.load(Relaxed);
        let pending = self.shell.journal.log().map_or(0, Log::pending_bytes);
        let behind = pending > LOG_BEHIND && !disk_full;
        if self.log_behind.replace(behind) && !behind {
            self.connections.borrow().values().for_each(|connection| connection.go_on());
        }
    }

    /// Commits the log, unless another loop is at it: then that one tells us when it is done, and what it left
    /// is for the first to ask. So one sync is under way at a time, and the next is filling meanwhile.
    fn commit(self: &Rc<EventLoop>) {
        let Some(log) = self.shell.journal.log() else { return };
        self.shell.mailboxes[self.home].await_commit(true);
        self.settle(log.commit(self.clock.now_ms().unsigned_abs()));
    }

    /// Sees to everything that a commit of this loop means, for all loops.
    fn settle(self: &Rc<EventLoop>, committed: Result<Commit, LogFailed>) {
        let Shell { engine, mailboxes, .. } = &*self.shell;
        let server = &engine.server;
        match committed {
            Ok(Commit::Done { more, .. }) => {
                server.disk_full.store(false, Relaxed);
                if more {
                    self.schedule_flush();
                }
                let others = mailboxes.iter().enumerate().filter(|(home, _)| *home != self.home);
                others.for_each(|(_, mailbox)| mailbox.committed());
            }
            Ok(Commit::DiskFull) => {
                if !server.disk_full.swap(true, Relaxed) {
                    tracing::error!(
                        "the disk is full: producers are refused, replies wait until there is room"
                    );
                }
            }
            // Idle means that nothing is left to be written; what was may be on its way to the disk.
            Ok(Commit::Idle | Commit::InProgress) => {}
            Err(failed) => (self.shell.on_log_failure)(&failed),
        }
    }

    fn adopt(self: &Rc<EventLoop>, accepted: Accepted) {
        let server = &self.shell.engine.server;
        let settings = self.settings();
        let keepalive = Duration::from_secs(settings.tcp_keepalive.into());
        let Accepted { raw, address, local_address } = accepted;
        let (source, sink) = match socket::register(raw, keepalive) {
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
        let session = Session::new(client, !settings.requirepass.is_set());
        let connection = Rc::new(Connection::new(sink, session));
        self.connections.borrow_mut().insert(id, Rc::clone(&connection));
        tokio::task::spawn_local(connection.run(source, Rc::clone(self)));
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
                self.drop_idle_connections();
            }
            let Some(log) = self.shell.journal.log() else { continue };
            if log.released() < self.owed.get() {
                self.schedule_flush();
            }
            if self.home != 0 {
                continue;
            }
            let server = &self.shell.engine.server;
            server.metrics.sample(self.clock.now_ms().unsigned_abs());
            if server.active_expire.load(Relaxed) {
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

    /// Sends what has been said, so far as clients take it within a second, with the log committed.
    async fn drain(self: &Rc<EventLoop>) {
        for _ in 0..100 {
            self.flush();
            let nothing_unsent =
                self.connections.borrow().values().all(|connection| connection.has_sent_all());
            if nothing_unsent && self.shell.journal.released() >= self.owed.get() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.connections.borrow_mut().clear();
    }
}
