//! A connection's socket, TCP or Unix.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

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

/// A connection's socket, registered with the loop it was made on.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Registers the socket with the current loop. `keepalive` is the idle time before probes; zero for none.
    pub(super) fn register(raw: Raw, keepalive: Duration) -> io::Result<Socket> {
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
                Ok(Socket::Tcp(TcpStream::from_std(stream)?))
            }
            Raw::Unix(stream) => Ok(Socket::Unix(UnixStream::from_std(stream)?)),
        }
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.readable().await,
            Socket::Unix(stream) => stream.readable().await,
        }
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.writable().await,
            Socket::Unix(stream) => stream.writable().await,
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_read(buffer),
            Socket::Unix(stream) => stream.try_read(buffer),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_write(bytes),
            Socket::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Ends both directions: whoever waits for the socket is woken. One that has ended already may be told so.
    pub(super) fn shut_down(&self) {
        let _ = match self {
            Socket::Tcp(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Both),
            Socket::Unix(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Both),
        };
    }
}
