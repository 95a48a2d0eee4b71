//! A connection's socket, TCP, TCP with TLS, or Unix: one half to read from, one to write to.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use super::tls::{Tls, TlsReader, TlsSession};

/// A connection as it was accepted, before it belongs to a loop.
#[derive(Debug)]
pub struct Accepted {
    pub(super) raw: Raw,
    pub(super) address: String,
    pub(super) local_address: String,
}

#[derive(Debug)]
pub(super) enum Raw {
    Tcp(std::net::TcpStream),
    Tls(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// The half that is read from; the connection's task owns it.
#[derive(Debug)]
pub(super) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Tls(TlsReader),
    Unix(unix::OwnedReadHalf),
}

/// The half that is written to, by whoever flushes.
#[derive(Debug)]
pub(super) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Tls(Rc<TlsSession>),
    Unix(unix::OwnedWriteHalf),
}

/// Registers a socket with the current loop. `keepalive` is the idle time before probes; zero for none.
pub(super) fn register(raw: Raw, keepalive: Duration, tls: &Tls) -> io::Result<(ReadHalf, WriteHalf)> {
    match raw {
        Raw::Tcp(stream) => {
            let (read, write) = register_tcp(stream, keepalive)?;
            Ok((ReadHalf::Tcp(read), WriteHalf::Tcp(write)))
        }
        Raw::Tls(stream) => {
            let (socket, write) = register_tcp(stream, keepalive)?;
            let session = TlsSession::new(write, tls.accept()?);
            let reader = TlsReader { socket, session: Rc::clone(&session), ended: false, asked: false };
            Ok((ReadHalf::Tls(reader), WriteHalf::Tls(session)))
        }
        Raw::Unix(stream) => {
            let (read, write) = UnixStream::from_std(stream)?.into_split();
            Ok((ReadHalf::Unix(read), WriteHalf::Unix(write)))
        }
    }
}

/// The silence after which the peer of a waiting client is probed, and between the probes.
const PROBE: Duration = Duration::from_secs(20);
/// How long the peer of a client that has waited may leave probes unanswered, or take nothing of a reply.
const UNANSWERED: Duration = Duration::from_secs(45);

fn register_tcp(
    stream: std::net::TcpStream,
    keepalive: Duration,
) -> io::Result<(tcp::OwnedReadHalf, tcp::OwnedWriteHalf)> {
    stream.set_nodelay(true)?;
    if !keepalive.is_zero() {
        let probes = TcpKeepalive::new()
            .with_time(keepalive)
            .with_interval((keepalive / 3).max(Duration::from_secs(1)))
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    }
    Ok(TcpStream::from_std(stream)?.into_split())
}

impl ReadHalf {
    /// Waits until the peer has ended the connection, though nothing is read: what it sent before may still be
    /// there.
    pub(super) async fn ended(&self) -> io::Result<()> {
        // Readable is what there is to read, or the end; priority is the end alone, as nobody sends urgent data.
        let ended = match self {
            ReadHalf::Tcp(half) => half.ready(Interest::PRIORITY).await,
            ReadHalf::Unix(half) => half.ready(Interest::PRIORITY).await,
            ReadHalf::Tls(reader) => reader.socket.ready(Interest::PRIORITY).await,
        };
        ended.map(drop)
    }

    /// Whom the peer's certificate names; asked for once, when something has been read.
    pub(super) fn take_peer_name(&mut self) -> Option<String> {
        match self {
            ReadHalf::Tls(reader) => reader.take_peer_name(),
            ReadHalf::Tcp(_) | ReadHalf::Unix(_) => None,
        }
    }

    /// Reads what there is into `buffer` and returns how many bytes; zero at the end. A read that does not fill
    /// the buffer has emptied the socket: tokio notes that, which saves the second call that would find nothing.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            ReadHalf::Tcp(half) => Pin::new(half).poll_read(cx, &mut buffer),
            ReadHalf::Unix(half) => Pin::new(half).poll_read(cx, &mut buffer),
            ReadHalf::Tls(reader) => return reader.poll_read(cx, buffer.initialize_unfilled()),
        };
        ready!(read)?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl WriteHalf {
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            WriteHalf::Tcp(half) => half.writable().await,
            WriteHalf::Tls(session) => session.socket().writable().await,
            WriteHalf::Unix(half) => half.writable().await,
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteHalf::Tcp(half) => half.try_write(bytes),
            WriteHalf::Unix(half) => half.try_write(bytes),
            WriteHalf::Tls(session) => session.try_write(bytes),
        }
    }

    /// Notices a peer whose machine is gone within about a minute: whoever waits may be handed a message. Not if
    /// probes are switched off (`tcp-keepalive 0`), and not less often than they say.
    pub(super) fn probe_often(&self, tcp_keepalive_s: u32) {
        let half = match self {
            WriteHalf::Tcp(half) => half,
            WriteHalf::Tls(session) => session.socket(),
            WriteHalf::Unix(_) => return,
        };
        if tcp_keepalive_s == 0 {
            return;
        }
        let every = PROBE.min(Duration::from_secs(tcp_keepalive_s.into()));
        let socket = SockRef::from(half.as_ref());
        let probes = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(2);
        // A socket that is gone already is noticed by whoever reads it.
        let _ =
            socket.set_tcp_keepalive(&probes).and_then(|()| socket.set_tcp_user_timeout(Some(UNANSWERED)));
    }

    /// Whether bytes that were taken have not left yet; writing nothing sees to them.
    pub(super) fn holds_back(&self) -> bool {
        matches!(self, WriteHalf::Tls(session) if session.holds_back())
    }

    /// Whether the two sides have not agreed on keys yet.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, WriteHalf::Tls(session) if session.is_handshaking())
    }

    /// Ends both directions: whoever waits for the socket is woken. One that has ended already may be told so.
    pub(super) fn shut_down(&self) {
        let _ = match self {
            WriteHalf::Tcp(half) => SockRef::from(half.as_ref()).shutdown(std::net::Shutdown::Both),
            WriteHalf::Tls(session) => {
                session.say_goodbye();
                SockRef::from(session.socket().as_ref()).shutdown(std::net::Shutdown::Both)
            }
            WriteHalf::Unix(half) => SockRef::from(half.as_ref()).shutdown(std::net::Shutdown::Both),
        };
    }
}
