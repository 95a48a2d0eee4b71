//! A connection's socket, TCP or Unix: one half to read from, one to write to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

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
    Unix(std::os::unix::net::UnixStream),
}

/// The half that is read from; the connection's task owns it.
#[derive(Debug)]
pub(super) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

/// The half that is written to, by whoever flushes.
#[derive(Debug)]
pub(super) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// Registers a socket with the current loop. `keepalive` is the idle time before probes; zero for none.
pub(super) fn register(raw: Raw, keepalive: Duration) -> io::Result<(ReadHalf, WriteHalf)> {
    match raw {
        Raw::Tcp(stream) => {
            stream.set_nodelay(true)?;
            if !keepalive.is_zero() {
                let probes = TcpKeepalive::new()
                    .with_time(keepalive)
                    .with_interval((keepalive / 3).max(Duration::from_secs(1)))
                    .with_retries(3);
                SockRef::from(&stream).set_tcp_keepalive(&probes)?;
            }
            let (read, write) = TcpStream::from_std(stream)?.into_split();
            Ok((ReadHalf::Tcp(read), WriteHalf::Tcp(write)))
        }
        Raw::Unix(stream) => {
            let (read, write) = UnixStream::from_std(stream)?.into_split();
            Ok((ReadHalf::Unix(read), WriteHalf::Unix(write)))
        }
    }
}

impl ReadHalf {
    /// Reads what there is into `buffer` and returns how many bytes; zero at the end. A read that does not fill
    /// the buffer has emptied the socket: tokio notes that, which saves the second call that would find nothing.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            ReadHalf::Tcp(half) => Pin::new(half).poll_read(cx, &mut buffer),
            ReadHalf::Unix(half) => Pin::new(half).poll_read(cx, &mut buffer),
        };
        ready!(read)?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl WriteHalf {
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            WriteHalf::Tcp(half) => half.writable().await,
            WriteHalf::Unix(half) => half.writable().await,
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteHalf::Tcp(half) => half.try_write(bytes),
            WriteHalf::Unix(half) => half.try_write(bytes),
        }
    }

    /// Ends both directions: whoever waits for the socket is woken. One that has ended already may be told so.
    pub(super) fn shut_down(&self) {
        let _ = match self {
            WriteHalf::Tcp(half) => SockRef::from(half.as_ref()).shutdown(std::net::Shutdown::Both),
            WriteHalf::Unix(half) => SockRef::from(half.as_ref()).shutdown(std::net::Shutdown::Both),
        };
    }
}
