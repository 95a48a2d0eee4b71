//! One connection: requests in, replies out, and waiting in between.
//!
//! Its memory is bounded: it reads no further request while more than [`OUTPUT_HIGH`] bytes of replies have not
//! been taken by the client, while the log is far behind and replies wait for it, or while it waits and
//! [`INPUT_WAITING`] bytes have come in the meantime. One request is bounded by the protocol's limits, one reply by
//! the data it shows.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, BytesMut};

use super::event_loop::EventLoop;
use super::nudge::Nudge;
use super::socket::{ReadHalf, WriteHalf};
use crate::command::Action;
use crate::engine::{Ending, Executed, Lsn, Waiter, Wake};
use crate::error::Error;
use crate::metrics::Counter;
use crate::resp::{Limits, Reply, RequestParser};
use crate::session::{Replies, Session};

/// Requests run in one turn before others get theirs.
const BATCH: usize = 128;
/// Bytes of unsent replies beyond which no further request is run.
const OUTPUT_HIGH: usize = 256 * 1024;
/// Bytes taken in from a client that waits: enough for what is pipelined behind the wait.
const INPUT_WAITING: usize = 1024 * 1024;
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
    /// The client must take replies first.
    NeedsOutput,
    /// A request waits.
    Waits,
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
                closing: false,
            }),
            nudge: Nudge::default(),
            killed: Cell::new(false),
        }
    }

    /// Has it look again whether it may go on.
    pub(super) fn go_on(&self) {
        self.nudge.give();
    }

    /// Whether the log is far behind and this client adds to it without looking: it has replies that wait for the log,
    /// or takes none. Who asks one thing at a time is served.
    fn must_wait_for_log(&self, event_loop: &EventLoop) -> bool {
        event_loop.is_log_behind() && {
            let state = self.state.borrow();
            !state.replies.is_empty() || state.session.replies != Replies::On
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
                Pause::NeedsInput | Pause::Yields if self.must_wait_for_log(event_loop) => {
                    self.nudge.taken().await;
                    pause
                }
                Pause::NeedsInput => match poll_fn(|cx| self.poll_input(cx, source, event_loop)).await? {
                    Input::Ran(pause) => pause,
                    // What it has asked before it ended is still answered.
                    Input::End => self.close(),
                },
                Pause::Yields => {
                    tokio::task::yield_now().await;
                    self.run_buffered(event_loop)
                }
                Pause::NeedsOutput => {
                    self.nudge.taken().await;
                    match self.state.borrow().replies.len() > OUTPUT_HIGH {
                        true => Pause::NeedsOutput,
                        false => Pause::Yields,
                    }
                }
                Pause::Waits => match self.wait(source, event_loop).await? {
                    Waited::Ended => self.run_buffered(event_loop),
                    Waited::Gone => return Ok(()),
                },
                Pause::Closes => {
                    while !self.state.borrow().replies.is_empty() && !self.killed.get() {
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
        let Poll::Ready(read) = source.poll_read(cx, &mut scratch) else {
            return self.nudge.poll_taken(cx).map(|()| Ok(Input::Ran(Pause::NeedsInput)));
        };
        let read = read?;
        if read == 0 {
            return Poll::Ready(Ok(Input::End));
        }
        let bytes = &scratch[..read];
        let mut state = self.state.borrow_mut();
        count(&state.session.client.bytes_in, read);
        event_loop.metrics.add(Counter::NetInputBytes, read as u64);
        event_loop.metrics.count(Counter::ReadsProcessed);
        if state.input.is_empty() {
            return Poll::Ready(Ok(Input::Ran(self.run_requests(event_loop, state, Some(bytes)))));
        }
        if (state.input.len() + read) as u64 > event_loop.settings().client_query_buffer_limit {
            event_loop.metrics.count(Counter::QueryBufferDisconnections);
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
        if state.closing {
            return Pause::Closes;
        }
        let bulk_max = event_loop.settings().proto_max_bulk_len;
        let State { session, parser, input, replies, .. } = state;
        let before = replies.len();
        let buffer = fresh.unwrap_or(input);
        let ((pause, waiter, ran, now_ms), lsn, actions) = event_loop.turn(|turn| {
            let mut waiter = None;
            let mut ran = 0;
            let pause = loop {
                if stopping.load(Relaxed) {
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
                if let Executed::Blocked(parked) = turn.execute(session, args, replies) {
                    waiter = Some(parked);
                    break Pause::Waits;
                }
                if turn.has_actions() {
                    break Pause::Yields;
                }
                if replies.len() > OUTPUT_HIGH {
                    break Pause::NeedsOutput;
                }
                if ran >= BATCH {
                    break Pause::Yields;
                }
            };
            (pause, waiter, ran, turn.now_ms())
        });
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
        }
        state.waiter = waiter;
        if state.replies.len() > before {
            state.gate(lsn);
            self.announce(event_loop, state);
        }
        state.closing |= pause == Pause::Closes || actions.contains(&Action::Close);
        let closing = state.closing;
        drop(borrowed);
        for action in &actions {
            event_loop.act(action);
        }
        if closing { Pause::Closes } else { pause }
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
            tokio::select! {
                there = poll_fn(|cx| self.poll_ahead(cx, source, event_loop)), if may_read => {
                    if !there? {
                        return Ok(Waited::Gone);
                    }
                }
                () = self.nudge.taken() => {}
                () = timer => self.look_after_waiter(event_loop),
            }
        }
    }

    /// Takes in what a waiting client sends, to be run later. Returns whether it is still there.
    fn poll_ahead(
        &self,
        cx: &mut Context<'_>,
        source: &mut ReadHalf,
        event_loop: &EventLoop,
    ) -> Poll<io::Result<bool>> {
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
                if state.session.takes_reply() {
                    state.replies.raw(&reply);
                    state.gate(lsn);
                    self.announce(event_loop, state);
                }
            }
            Wake::Retry(at_ms) => state.retry_at = Some(event_loop.clock.at_ms(at_ms)),
        }
        drop(borrowed);
        self.nudge.give();
    }

    /// Whether nothing has come since then (milliseconds since the Unix epoch) and nothing is waited for.
    pub(super) fn is_idle_since(&self, then_ms: i64) -> bool {
        let state = self.state.borrow();
        state.waiter.is_none() && state.session.client.active_ms.load(Relaxed) < then_ms
    }

    /// Whether all its replies have left.
    pub(super) fn has_sent_all(&self) -> bool {
        self.state.borrow().replies.is_empty()
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
        let is_waited_for = state.replies.len() > OUTPUT_HIGH;
        let mut written = 0;
        while written < free {
            match self.socket.try_write(&state.replies.as_bytes()[written..free]) {
                Ok(0) => break,
                Ok(sent) => written += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.sent_bytes(written);
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
        let done = state.replies.is_empty();
        state.sending = !done;
        let wake = state.closing || is_waited_for || event_loop.is_log_behind();
        drop(borrowed);
        if wake {
            self.nudge.give();
        }
        done
    }

    /// Sees to it that the loop sends what there is.
    fn announce(self: &Rc<Self>, event_loop: &Rc<EventLoop>, state: &mut State) {
        state.session.client.output_bytes.store(state.replies.len() as u64, Relaxed);
        if !std::mem::replace(&mut state.sending, true) {
            event_loop.has_replies(Rc::clone(self));
        }
    }
}

impl State {
    /// Lets the replies so far leave only when the log position is safe.
    fn gate(&mut self, lsn: Lsn) {
        let end = self.sent + self.replies.len() as u64;
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

fn count(counter: &std::sync::atomic::AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Relaxed);
}
