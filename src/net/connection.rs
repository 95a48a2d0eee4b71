//! One connection: requests in, replies out, and waiting in between.
//!
//! Its memory is bounded: it reads no further request while more than [`OUTPUT_HIGH`] bytes of replies have not
//! been taken by the client, or while it waits and [`INPUT_WAITING`] bytes have come in the meantime. One
//! request is bounded by the protocol's limits, one reply by the data it shows; a client that owes more than
//! `client-output-buffer-limit` allows all the same is cut off. A stranger, who could authenticate and has not,
//! gets a fraction of that: [`STRANGER_READ`], [`STRANGER_INPUT`], [`STRANGER_OUTPUT`].

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use super::event_loop::EventLoop;
use super::nudge::Nudge;
use super::socket::{ReadHalf, WriteHalf};
use crate::command::Action;
use crate::engine::{Ending, Executed, Lsn, Waiter, Wake};
use crate::error::Error;
use crate::metrics::{Counter, Gauge};
use crate::pubsub::Parcel;
use crate::resp::{Limits, Reply, RequestParser};
use crate::session::{Replies, Session};

/// Requests run in one turn before others get theirs.
const BATCH: usize = 128;
/// Bytes of unsent replies beyond which no further request is run, unless the loop's limits ask for less.
pub(super) const OUTPUT_HIGH: usize = 64 * 1024;
/// What is read at once from a client that has not authenticated.
const STRANGER_READ: usize = 8 * 1024;
/// Bytes of one request that it may send: a password of the greatest length fits twice.
const STRANGER_INPUT: usize = 40 * 1024;
/// Bytes of unsent replies beyond which no further request of it is run.
const STRANGER_OUTPUT: usize = 8 * 1024;
/// Bytes taken in from a client that waits: enough for what is pipelined behind the wait.
const INPUT_WAITING: usize = 1024 * 1024;
/// How often a publisher looks whether its messages are being delivered.
const DELIVERY: Duration = Duration::from_millis(1);
/// Bytes sent in one tick before others get their turn, more or less.
const SEND_MAX: usize = 512 * 1024;
/// Buffer memory kept from request to request.
const KEEP: usize = 16 * 1024;

/// A connection of this loop.
#[derive(Debug)]
pub(super) struct Connection {
    socket: WriteHalf,
    state: RefCell<State>,
    /// Wakes the connection's task when something happened to it that no socket tells.
    nudge: Nudge,
    killed: Cell<bool>,
    /// Whether the loop will tell it when the log is not behind any more.
    held_back: Cell<bool>,
}

#[derive(Debug)]
struct State {
    session: Session,
    parser: RequestParser,
    /// Bytes that have come and belong to no finished request.
    input: BytesMut,
    /// Replies not yet sent.
    replies: Reply,
    /// Up to where replies depend on which log position: their ends, counted from the connection's first byte.
    gates: VecDeque<(u64, Lsn)>,
    /// Bytes sent since the connection's first.
    sent: u64,
    /// Whether the loop or a writer task will send what there is.
    sending: bool,
    /// What it waits for.
    waiter: Option<Arc<Waiter>>,
    /// When to look after the waiter, and whether that ends its wait.
    retry_at: Option<Instant>,
    timeout_at: Option<Instant>,
    /// Since when more replies are unsent than the soft limit allows.
    over_soft_since: Option<Instant>,
    /// Whether the peer is probed as that of a waiting client is.
    probed: bool,
    /// No further request is run; the connection ends when its replies are sent.
    closing: bool,
}

/// Why running requests came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// There is no whole request.
    NeedsInput,
    /// Others should get their turn.
    Yields,
    /// A loop it has published to must deliver messages first.
    Floods,
    /// The client must take replies first.
    NeedsOutput,
    /// A request waits.
    Waits,
    /// The disk must take what is to be logged first.
    NeedsLog,
    /// `CLIENT PAUSE` holds the next request back until then, milliseconds since the Unix epoch.
    Paused(i64),
    /// The connection is to end.
    Closes,
}

impl Connection {
    pub(super) fn new(socket: WriteHalf, session: Session) -> Connection {
        Connection {
            socket,
            state: RefCell::new(State {
                session,
                parser: RequestParser::default(),
                input: BytesMut::new(),
                replies: Reply::default(),
                gates: VecDeque::new(),
                sent: 0,
                sending: false,
                waiter: None,
                retry_at: None,
                timeout_at: None,
                over_soft_since: None,
                probed: false,
                closing: false,
            }),
            nudge: Nudge::default(),
            killed: Cell::new(false),
            held_back: Cell::new(false),
        }
    }

    /// The connection's task, from its first byte to its last.
    pub(super) async fn run(self: Rc<Self>, mut source: ReadHalf, event_loop: Rc<EventLoop>) {
        if let Err(error) = self.serve(&mut source, &event_loop).await {
            tracing::debug!(%error, client = self.state.borrow().session.client.id, "connection lost");
        }
        let (waiter, client, watch) = {
            let mut state = self.state.borrow_mut();
            state.closing = true;
            state.set_over_soft(None, &event_loop);
            let session = &mut state.session;
            let (client, watch) = (Arc::clone(&session.client), session.watch.take());
            (state.waiter.take(), client, watch)
        };
        if let Some(waiter) = waiter {
            event_loop.turn(|turn| turn.end_wait(&waiter, Ending::Gone));
        }
        if let Some(watch) = watch {
            event_loop.shell.engine.unwatch(&watch);
        }
        self.stop_listening(&event_loop);
        self.socket.shut_down();
        event_loop.forget(&client);
    }

    async fn serve(self: &Rc<Self>, source: &mut ReadHalf, event_loop: &Rc<EventLoop>) -> io::Result<()> {
        let mut pause = Pause::NeedsInput;
        loop {
            if self.killed.get() {
                return Ok(());
            }
            pause = match pause {
                Pause::NeedsInput => match poll_fn(|cx| self.poll_input(cx, source, event_loop)).await? {
                    Input::Ran(pause) => pause,
                    // What it has asked before it ended is still answered.
                    Input::End => self.close(),
                },
                Pause::Yields => {
                    tokio::task::yield_now().await;
                    self.run_buffered(event_loop)
                }
                Pause::Floods => {
                    while event_loop.shell.engine.server.pubsub.outboxes.is_full() && !self.killed.get() {
                        tokio::time::sleep(DELIVERY).await;
                    }
                    Pause::Yields
                }
                Pause::NeedsOutput => {
                    self.nudge.taken().await;
                    let state = self.state.borrow();
                    match state.replies.len() > state.output_high(event_loop) {
                        true => Pause::NeedsOutput,
                        false => Pause::Yields,
                    }
                }
                Pause::Waits => match self.wait(source, event_loop).await? {
                    Waited::Ended => self.run_buffered(event_loop),
                    Waited::Gone => return Ok(()),
                },
                Pause::NeedsLog => {
                    // Others that were let go with it may have put the log behind again.
                    while event_loop.is_log_behind() && !self.killed.get() {
                        if !self.held_back.replace(true) {
                            event_loop.hold_back(Rc::clone(self));
                        }
                        self.nudge.taken().await;
                    }
                    self.run_buffered(event_loop)
                }
                Pause::Paused(until_ms) => match self.wait_for_unpause(until_ms, source, event_loop).await? {
                    Waited::Ended => self.run_buffered(event_loop),
                    Waited::Gone => return Ok(()),
                },
                Pause::Closes => {
                    while !self.has_sent_all() && !self.killed.get() {
                        self.nudge.taken().await;
                    }
                    return Ok(());
                }
            };
        }
    }

    /// Reads what there is and runs it, or is nudged.
    fn poll_input(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        source: &mut ReadHalf,
        event_loop: &Rc<EventLoop>,
    ) -> Poll<io::Result<Input>> {
        let mut scratch = event_loop.scratch.borrow_mut();
        // What is encrypted comes in whole records, however little of it is wanted.
        let in_full = self.state.borrow().session.authenticated || matches!(source, ReadHalf::Tls(_));
        let room = if in_full { scratch.len() } else { STRANGER_READ };
        let Poll::Ready(read) = source.poll_read(cx, &mut scratch[..room]) else {
            return self.nudge.poll_taken(cx).map(|()| Ok(Input::Ran(Pause::NeedsInput)));
        };
        let read = read?;
        if read == 0 {
            return Poll::Ready(Ok(Input::End));
        }
        let bytes = &scratch[..read];
        event_loop.deliver();
        let mut state = self.state.borrow_mut();
        if let Some(name) = source.take_peer_name() {
            event_loop.log_in_by_certificate(&mut state.session, &name);
        }
        count(&state.session.client.bytes_in, read);
        event_loop.metrics.add(Counter::NetInputBytes, read as u64);
        event_loop.metrics.count(Counter::ReadsProcessed);
        event_loop.took_in(read);
        if state.input.is_empty() {
            return Poll::Ready(Ok(Input::Ran(self.run_requests(event_loop, state, Some(bytes)))));
        }
        if state.has_too_much_input(read, event_loop) {
            return Poll::Ready(Ok(Input::End));
        }
        let wanted = state.parser.wanted(state.input.len()).max(read);
        state.input.reserve(wanted);
        state.input.extend_from_slice(bytes);
        drop((state, scratch));
        Poll::Ready(Ok(Input::Ran(self.run_buffered(event_loop))))
    }

    /// Runs the requests that have come in already.
    fn run_buffered(self: &Rc<Self>, event_loop: &Rc<EventLoop>) -> Pause {
        let state = self.state.borrow_mut();
        if state.input.is_empty() && !state.closing {
            return Pause::NeedsInput;
        }
        self.run_requests(event_loop, state, None)
    }

    /// Runs requests out of `fresh` bytes, what is left of which is kept, or else out of the kept ones.
    fn run_requests(
        self: &Rc<Self>,
        event_loop: &Rc<EventLoop>,
        mut borrowed: RefMut<'_, State>,
        fresh: Option<&[u8]>,
    ) -> Pause {
        let stopping = &event_loop.shell.stopping;
        let state = &mut *borrowed;
        if state.closing || self.killed.get() {
            return Pause::Closes;
        }
        if event_loop.is_log_behind() && state.adds_to_the_log() {
            state.input.extend_from_slice(fresh.unwrap_or_default());
            return Pause::NeedsLog;
        }
        let bulk_max = event_loop.setting(|settings| settings.proto_max_bulk_len);
        let output_high = state.output_high(event_loop);
        let State { session, parser, input, replies, .. } = state;
        let before = replies.len();
        let buffer = fresh.unwrap_or(input);
        let ((pause, waiter, ran, now_ms), lsn, actions) = event_loop.turn(|turn| {
            let mut waiter = None;
            let mut ran = 0;
            let pause = loop {
                if stopping.load(Relaxed) || session.client.killed.load(Relaxed) {
                    break Pause::Closes;
                }
                let limits = Limits { bulk_max, authenticated: session.authenticated };
                let args = match parser.next(buffer, limits) {
                    Ok(Some(args)) => args,
                    Ok(None) => break Pause::NeedsInput,
                    Err(error) => {
                        replies.error(&Error::with(error.text()));
                        break Pause::Closes;
                    }
                };
                ran += 1;
                match turn.execute(session, args, replies) {
                    Executed::Replied => {}
                    Executed::Blocked(parked) => {
                        waiter = Some(parked);
                        break Pause::Waits;
                    }
                    Executed::Paused(until_ms) => {
                        parser.step_back();
                        ran -= 1;
                        break Pause::Paused(until_ms);
                    }
                }
                if turn.has_actions() {
                    break Pause::Yields;
                }
                if replies.len() > output_high {
                    break Pause::NeedsOutput;
                }
                if ran >= BATCH {
                    break Pause::Yields;
                }
            };
            (pause, waiter, ran, turn.now_ms())
        });
        let floods = event_loop.floods.get();
        let consumed = parser.consumed();
        match fresh {
            Some(fresh) => input.extend_from_slice(&fresh[consumed..]),
            None => input.advance(consumed),
        }
        if input.is_empty() && input.capacity() > KEEP {
            *input = BytesMut::new();
        }
        let client = &session.client;
        client.active_ms.store(now_ms, Relaxed);
        client.input_bytes.store(input.len() as u64, Relaxed);
        count(&client.commands, ran);
        if let Some(waiter) = &waiter {
            state.timeout_at = waiter.timeout_ms.map(|ms| event_loop.clock.after_ms(ms));
            state.retry_at = waiter.retry_at_ms.map(|at| event_loop.clock.at_ms(at));
            if !std::mem::replace(&mut state.probed, true) {
                self.socket.probe_often(event_loop.settings().tcp_keepalive);
            }
        }
        state.waiter = waiter;
        if state.replies.len() > before {
            state.gate(lsn);
            self.announce(event_loop, state);
        }
        state.closing |= pause == Pause::Closes || actions.contains(&Action::Close);
        // What `MULTI` has queued is input that has not been run.
        state.closing |= state.session.transaction.is_some() && state.has_too_much_input(0, event_loop);
        let closing = state.closing;
        drop(borrowed);
        for action in &actions {
            event_loop.act(action);
        }
        match pause {
            _ if closing => Pause::Closes,
            Pause::NeedsInput | Pause::Yields | Pause::NeedsOutput if floods => Pause::Floods,
            pause => pause,
        }
    }

    /// Waits until the request under way is answered, the client is gone, or the wait is over.
    async fn wait(self: &Rc<Self>, source: &mut ReadHalf, event_loop: &Rc<EventLoop>) -> io::Result<Waited> {
        loop {
            let (due, may_read) = {
                let state = self.state.borrow();
                if self.killed.get() {
                    return Ok(Waited::Gone);
                }
                if state.waiter.is_none() {
                    return Ok(Waited::Ended);
                }
                let due = [state.timeout_at, state.retry_at].into_iter().flatten().min();
                (due, state.input.len() < INPUT_WAITING)
            };
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let source = &mut *source;
            let there = async {
                match may_read {
                    true => poll_fn(|cx| self.poll_ahead(cx, source, event_loop)).await,
                    false => source.ended().await.map(|()| false),
                }
            };
            tokio::select! {
                there = there => {
                    if !there? {
                        return Ok(Waited::Gone);
                    }
                }
                () = self.nudge.taken() => {}
                () = timer => self.look_after_waiter(event_loop),
            }
        }
    }

    /// Waits until the next request may run, or is to be tried. Nothing is read meanwhile.
    async fn wait_for_unpause(
        &self,
        until_ms: i64,
        source: &ReadHalf,
        event_loop: &EventLoop,
    ) -> io::Result<Waited> {
        let client = Arc::clone(&self.state.borrow().session.client);
        client.blocked.store(true, Relaxed);
        event_loop.metrics.raise(Gauge::BlockedClients);
        let waited = tokio::select! {
            () = tokio::time::sleep_until(event_loop.clock.at_ms(until_ms).into()) => Ok(Waited::Ended),
            () = self.nudge.taken() => Ok(Waited::Ended),
            ended = source.ended() => ended.map(|()| Waited::Gone),
        };
        event_loop.metrics.lower(Gauge::BlockedClients);
        client.blocked.store(false, Relaxed);
        waited
    }

    /// Lets a request be tried that was held back.
    pub(super) fn look_again(&self) {
        self.nudge.give();
    }

    /// The same, when the log is not behind any more.
    pub(super) fn let_go(&self) {
        self.held_back.set(false);
        self.nudge.give();
    }

    /// Takes in what a waiting client sends, to be run later. Returns whether it is still there. Once it does not wait
    /// any more what it sends is left to be read as usual.
    fn poll_ahead(
        &self,
        cx: &mut Context<'_>,
        source: &mut ReadHalf,
        event_loop: &EventLoop,
    ) -> Poll<io::Result<bool>> {
        if self.state.borrow().waiter.is_none() {
            return Poll::Ready(Ok(true));
        }
        let mut scratch = event_loop.scratch.borrow_mut();
        let read = ready!(source.poll_read(cx, &mut scratch))?;
        self.state.borrow_mut().input.extend_from_slice(&scratch[..read]);
        Poll::Ready(Ok(read > 0))
    }

    /// The waiter's time has come: it gives up, or looks whether something has become old enough for it.
    fn look_after_waiter(self: &Rc<Self>, event_loop: &Rc<EventLoop>) {
        let now = event_loop.clock.instant();
        let (waiter, timed_out) = {
            let mut state = self.state.borrow_mut();
            let Some(waiter) = state.waiter.clone() else { return };
            let timed_out = state.timeout_at.take_if(|at| *at <= now).is_some();
            let retry = state.retry_at.take_if(|at| *at <= now).is_some();
            if !timed_out && !retry {
                return;
            }
            (waiter, timed_out)
        };
        if !timed_out {
            let pause = &event_loop.shell.engine.server.pause;
            if let Some(until_ms) = pause.holds_until(true, event_loop.clock.now_ms()) {
                self.state.borrow_mut().retry_at = Some(event_loop.clock.at_ms(until_ms));
                return;
            }
            event_loop.turn(|turn| turn.retry(&waiter));
            return;
        }
        // If it has been served in the meantime there is no reply here: that one is on its way.
        if let (Some(reply), lsn, _) = event_loop.turn(|turn| turn.end_wait(&waiter, Ending::Timeout)) {
            self.wake(event_loop, Wake::Reply(reply), lsn);
        }
    }

    /// Runs no further request.
    fn close(&self) -> Pause {
        self.state.borrow_mut().closing = true;
        Pause::Closes
    }

    /// Takes what a waiting client is told.
    pub(super) fn wake(self: &Rc<Self>, event_loop: &Rc<EventLoop>, wake: Wake, lsn: Lsn) {
        let mut borrowed = self.state.borrow_mut();
        let state = &mut *borrowed;
        match wake {
            Wake::Reply(reply) => {
                debug_assert!(state.waiter.is_some(), "only who waits is answered from outside");
                (state.waiter, state.timeout_at, state.retry_at) = (None, None, None);
                // Whoever has waited was not silent: `timeout` begins now.
                state.session.client.active_ms.store(event_loop.clock.now_ms(), Relaxed);
                if state.session.takes_reply() {
                    state.replies.raw(&reply);
                    state.gate(lsn);
                    self.announce(event_loop, state);
                }
            }
            Wake::Retry(at_ms) => state.retry_at = Some(event_loop.clock.at_ms(at_ms)),
        }
        // Who is answered and has sent nothing more has nothing to do until more comes.
        let idles = state.waiter.is_none() && state.input.is_empty() && !state.closing;
        drop(borrowed);
        if !idles {
            self.nudge.give();
        }
    }

    /// Takes a published message, unless the client has stopped listening since.
    pub(super) fn deliver(self: &Rc<Self>, event_loop: &Rc<EventLoop>, parcel: &Parcel, lsn: Lsn) {
        let mut state = self.state.borrow_mut();
        // Who was killed while this was under way may have been because it must not hear it.
        let hears = !state.closing && !state.session.client.killed.load(Relaxed);
        if hears && state.session.subscriptions.contains(parcel.scope, &parcel.name) {
            state.replies.pushed(&parcel.message);
            state.gate(lsn);
            self.announce(event_loop, &mut state);
        }
    }

    fn stop_listening(&self, event_loop: &EventLoop) {
        let session = &mut self.state.borrow_mut().session;
        let listener = session.listener();
        event_loop.shell.engine.server.pubsub.registry.leave(&mut session.subscriptions, listener);
    }

    /// Adds requests that others sent to what this one, which monitors, is sent.
    pub(super) fn show(self: &Rc<Self>, event_loop: &Rc<EventLoop>, requests: &[u8]) {
        let mut borrowed = self.state.borrow_mut();
        let state = &mut *borrowed;
        if !state.closing {
            state.replies.raw(requests);
            state.gate(0);
            self.announce(event_loop, state);
        }
    }

    /// Whether nothing has come since then (milliseconds since the Unix epoch) and nothing is waited for or listened
    /// to.
    pub(super) fn is_idle_since(&self, then_ms: i64) -> bool {
        let state = self.state.borrow();
        state.waiter.is_none()
            && state.session.subscriptions.is_empty()
            && state.session.client.active_ms.load(Relaxed) < then_ms
    }

    /// Whether it is a TLS connection from before then (milliseconds since the Unix epoch) that has no keys yet.
    pub(super) fn is_handshaking_since(&self, then_ms: i64) -> bool {
        self.socket.is_handshaking() && self.state.borrow().session.client.created_ms < then_ms
    }

    /// Whether all its replies have left.
    pub(super) fn has_sent_all(&self) -> bool {
        self.state.borrow().replies.is_empty() && !self.socket.holds_back()
    }

    /// Bytes of replies that have not left; one for what TLS holds back.
    pub(super) fn unsent(&self) -> usize {
        self.state.borrow().replies.len() + usize::from(self.socket.holds_back())
    }

    /// Ends the connection at once.
    pub(super) fn kill(&self) {
        self.killed.set(true);
        self.socket.shut_down();
        self.nudge.give();
    }

    /// Sends the replies that depend on nothing beyond `released`. Returns whether the loop is rid of it: all
    /// is sent, or the rest is waited for elsewhere.
    pub(super) fn send(self: &Rc<Self>, event_loop: &Rc<EventLoop>, released: Lsn) -> bool {
        let mut borrowed = self.state.borrow_mut();
        let state = &mut *borrowed;
        let free = state.open_gates(released);
        // Who waits for the client to take replies looks again after every piece.
        let is_waited_for = state.replies.len() > state.output_high(event_loop);
        let mut written = 0;
        while written < free.min(SEND_MAX) || (written == free && self.socket.holds_back()) {
            match self.socket.try_write(&state.replies.as_bytes()[written..free]) {
                Ok(0) => break,
                Ok(sent) => written += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.sent_bytes(written);
                    if state.over_soft_since.is_some() {
                        self.check_owed(event_loop, state);
                    }
                    drop(borrowed);
                    if is_waited_for {
                        self.nudge.give();
                    }
                    let (connection, event_loop) = (Rc::clone(self), Rc::clone(event_loop));
                    tokio::task::spawn_local(async move {
                        // A connection that ends shuts its socket down, which makes it writable too.
                        if connection.socket.writable().await.is_err() {
                            connection.kill();
                        }
                        event_loop.has_replies(connection);
                    });
                    return true;
                }
                Err(_) => {
                    // Whatever happened, nobody reads this any more; the reading side sees it too.
                    state.sending = false;
                    drop(borrowed);
                    self.kill();
                    return true;
                }
            }
        }
        event_loop.metrics.add(Counter::NetOutputBytes, written as u64);
        event_loop.metrics.count(Counter::WritesProcessed);
        state.sent_bytes(written);
        if state.over_soft_since.is_some() {
            self.check_owed(event_loop, state);
        }
        if written < free {
            // The rest is for the next tick: others have theirs first.
            event_loop.schedule_flush();
        }
        let done = state.replies.is_empty();
        state.sending = !done;
        let wake = state.closing || is_waited_for;
        drop(borrowed);
        if wake {
            self.nudge.give();
        }
        done
    }

    /// Sees to it that the loop sends what there is.
    fn announce(self: &Rc<Self>, event_loop: &Rc<EventLoop>, state: &mut State) {
        state.session.client.output_bytes.store(state.replies.len() as u64, Relaxed);
        if state.replies.len() > event_loop.output_high.get() {
            self.check_owed(event_loop, state);
        }
        if !std::mem::replace(&mut state.sending, true) {
            event_loop.has_replies(Rc::clone(self));
        }
    }

    /// Cuts the client off if it has left too many replies unread for too long.
    pub(super) fn check_soft_limit(&self, event_loop: &EventLoop) {
        let mut state = self.state.borrow_mut();
        if state.over_soft_since.is_some() {
            self.check_owed(event_loop, &mut state);
        }
    }

    /// Holds the unsent replies, those that wait for the disk included, against `client-output-buffer-limit`.
    fn check_owed(&self, event_loop: &EventLoop, state: &mut State) {
        let limits = event_loop.settings().client_output_buffer_limit;
        let limit = if state.session.client.subscribes() { limits.pubsub } else { limits.normal };
        let (owed, now) = (state.replies.len() as u64, event_loop.clock.instant());
        let reaches = |bytes: u64| bytes > 0 && owed >= bytes;
        let since = reaches(limit.soft_bytes).then(|| state.over_soft_since.unwrap_or(now));
        state.set_over_soft(since, event_loop);
        let is_overdue = since.is_some_and(|since| (now - since).as_secs() > limit.soft_seconds);
        if !self.killed.get() && (reaches(limit.hard_bytes) || is_overdue) {
            let client = &state.session.client;
            tracing::warn!(
                client = client.id,
                address = client.address,
                bytes = owed,
                "client closed: it has left more replies unread than client-output-buffer-limit allows"
            );
            event_loop.metrics.count(Counter::OutputBufferDisconnections);
            // A waiter that is about to go is served no more.
            client.killed.store(true, Relaxed);
            state.forget_replies();
            self.kill();
        }
    }
}

impl State {
    /// Whether the client sends on though replies of it wait for the log, or it wants none: on a slow disk it must
    /// wait, or memory would fill up with what it sends.
    fn adds_to_the_log(&self) -> bool {
        !self.replies.is_empty() || self.session.replies != Replies::On
    }

    /// Bytes of unsent replies beyond which no further request is run.
    fn output_high(&self, event_loop: &EventLoop) -> usize {
        match self.session.authenticated {
            true => event_loop.output_high.get(),
            false => event_loop.output_high.get().min(STRANGER_OUTPUT),
        }
    }

    /// Whether requests not yet run, those `MULTI` has queued included, would take more than
    /// `client-query-buffer-limit` allows with `more` bytes. If so, says it and counts it.
    fn has_too_much_input(&self, more: usize, event_loop: &EventLoop) -> bool {
        let queued = self.session.transaction.as_ref().map_or(0, |transaction| transaction.bytes);
        let bytes = (self.input.len() + queued + more) as u64;
        let limit = match self.session.authenticated {
            true => event_loop.settings().client_query_buffer_limit,
            false => STRANGER_INPUT as u64,
        };
        if bytes <= limit {
            return false;
        }
        let client = &self.session.client;
        tracing::warn!(
            client = client.id,
            address = client.address,
            bytes,
            "client closed: it has sent more than client-query-buffer-limit allows"
        );
        event_loop.metrics.count(Counter::QueryBufferDisconnections);
        true
    }

    fn set_over_soft(&mut self, since: Option<Instant>, event_loop: &EventLoop) {
        let count = event_loop.over_soft.get();
        match (self.over_soft_since.is_some(), since.is_some()) {
            (false, true) => event_loop.over_soft.set(count + 1),
            (true, false) => event_loop.over_soft.set(count - 1),
            _ => {}
        }
        self.over_soft_since = since;
    }

    /// Drops everything that has not been sent, and its memory.
    fn forget_replies(&mut self) {
        self.replies = Reply::new(self.session.protocol);
        self.gates.clear();
        self.session.client.output_bytes.store(0, Relaxed);
    }

    /// Lets the replies so far leave only when the log position is safe.
    fn gate(&mut self, lsn: Lsn) {
        let end = self.sent + self.replies.len() as u64;
        self.session.lsn = self.session.lsn.max(lsn);
        match self.gates.back_mut() {
            // Later replies wait for earlier ones in any case.
            Some(last) if last.1 >= lsn => last.0 = end,
            _ => self.gates.push_back((end, lsn)),
        }
    }

    /// Bytes at the front of the replies that depend on nothing beyond `released`.
    fn open_gates(&mut self, released: Lsn) -> usize {
        let mut end = self.sent;
        for gate in &self.gates {
            if gate.1 > released {
                break;
            }
            end = gate.0;
        }
        (end - self.sent) as usize
    }

    fn sent_bytes(&mut self, written: usize) {
        self.replies.discard_front(written);
        self.replies.shrink(KEEP.max(self.replies.len()));
        self.sent += written as u64;
        while self.gates.front().is_some_and(|gate| gate.0 <= self.sent) {
            self.gates.pop_front();
        }
        let client = &self.session.client;
        client.output_bytes.store(self.replies.len() as u64, Relaxed);
        count(&client.bytes_out, written);
    }
}

/// What waiting for input came to.
enum Input {
    Ran(Pause),
    End,
}

/// How a wait ended.
enum Waited {
    Ended,
    Gone,
}

/// Adds to a counter that only the connection's loop writes: no locked instruction.
fn count(counter: &AtomicU64, by: usize) {
    counter.store(counter.load(Relaxed) + by as u64, Relaxed);
}
