//! Where clients can connect: addresses and ports, and a Unix socket.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Bind, BindAddress};

/// A bound socket that clients can connect to.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// TCP, for TLS.
    Tls(std::net::TcpListener),
    /// A Unix socket, removed when the server ends.
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(error) => error.fmt(f),
            },
            Listener::Tls(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address} (TLS)"),
                Err(error) => error.fmt(f),
            },
            Listener::Unix(_, path) => path.display().fmt(f),
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    what: String,
    cause: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.what, self.cause)
    }
}

impl std::error::Error for ListenError {}

/// Binds every address in `bind` to `port` and to `tls_port` (0: none) and, if given, the Unix socket.
///
/// An address may be a name; an optional one may be missing on this machine.
///
/// # Errors
/// If an address cannot be bound, or nothing is left to listen on.
pub fn listen(
    bind: &Bind,
    port: u16,
    tls_port: u16,
    backlog: u32,
    unix_socket: Option<(&Path, Option<u32>)>,
) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let ports = [(port, Listener::Tcp as fn(_) -> _), (tls_port, Listener::Tls)].into_iter();
    let wanted =
        ports.filter(|(port, _)| *port != 0).flat_map(|port| bind.0.iter().map(move |at| (port, at)));
    for ((port, listener), address) in wanted {
        let bound = resolve(address, port).and_then(|addresses| {
            addresses.into_iter().map(|address| tcp(address, backlog)).collect::<io::Result<Vec<_>>>()
        });
        match bound {
            Ok(bound) => listeners.extend(bound.into_iter().map(listener)),
            Err(cause) if address.optional && is_missing(&cause) => {}
            Err(cause) => return Err(ListenError { what: format!("{}:{port}", address.host), cause }),
        }
    }
    if let Some((path, mode)) = unix_socket {
        let listener =
            unix(path, mode).map_err(|cause| ListenError { what: path.display().to_string(), cause })?;
        listeners.push(Listener::Unix(listener, path.to_owned()));
    }
    if listeners.is_empty() {
        let cause = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address is left");
        return Err(ListenError { what: "any address".to_owned(), cause });
    }
    Ok(listeners)
}

fn resolve(address: &BindAddress, port: u16) -> io::Result<Vec<SocketAddr>> {
    match address.ip() {
        Some(ip) => Ok(vec![SocketAddr::from((ip, port))]),
        None => Ok((address.host.as_str(), port).to_socket_addrs()?.collect()),
    }
}

fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    // A machine without IPv6 says "address family not supported" (97 on Linux), which has no kind of its own.
    matches!(error.kind(), AddrNotAvailable | Unsupported) || error.raw_os_error() == Some(97)
}

fn tcp(address: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Each family is bound for itself, so that both can be given.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[expect(clippy::disallowed_methods, reason = "a stale socket is no data: it is replaced")]
fn unix(path: &Path, mode: Option<u32>) -> io::Result<std::os::unix::net::UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
        }
        std::fs::remove_file(path)?;
    }
    // Bound before it listens, so that nobody gets in before the mode is set.
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(511)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
