//! What a supervisor such as systemd is told: that the server is ready, still loading, or about to end.
//!
//! The protocol is that of `sd_notify(3)`: a datagram to the socket that the environment names. Where it names none
//! nobody is told, and that nobody listens is no reason to fail.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The environment variable that names the socket: a path, or behind an `@` an abstract name.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whom to tell.
#[derive(Debug, Default)]
pub struct Supervisor(Option<(UnixDatagram, SocketAddr)>);

impl Supervisor {
    /// The one that the environment names, if it does.
    #[must_use]
    pub fn from_environment() -> Supervisor {
        Supervisor(std::env::var_os(VARIABLE).and_then(|name| Supervisor::at(name.as_bytes())))
    }

    fn at(name: &[u8]) -> Option<(UnixDatagram, SocketAddr)> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
        };
        Some((UnixDatagram::unbound().ok()?, address.ok()?))
    }

    /// Whether there is somebody to tell.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The data is loaded; clients are served.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving\n");
    }

    /// The data is being loaded, and the server has not hung if it is not ready for so long.
    pub fn loading(&self, percent: u64, patience: Duration) {
        self.tell(&format!(
            "EXTEND_TIMEOUT_USEC={}\nSTATUS=loading the log, {percent}%\n",
            patience.as_micros()
        ));
    }

    /// The server is about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping\n");
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.0 {
            // It may have gone away.
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test cleans up behind itself")]
mod tests {
    use super::*;

    #[test]
    fn states_arrive_under_either_kind_of_name() {
        let name = format!("millstream-supervisor-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let listeners = [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str().as_bytes().to_vec()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into_bytes()),
        ];
        for (listener, name) in listeners {
            let supervisor = Supervisor(Supervisor::at(&name));
            assert!(supervisor.is_there());
            supervisor.loading(7, Duration::from_secs(30));
            supervisor.ready();
            supervisor.stopping();
            for expected in [
                "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=loading the log, 7%\n",
                "READY=1\nSTATUS=serving\n",
                "STOPPING=1\nSTATUS=stopping\n",
            ] {
                let mut state = [0; 200];
                let len = listener.recv(&mut state).unwrap();
                assert_eq!(std::str::from_utf8(&state[..len]), Ok(expected));
            }
            drop(listener);
            supervisor.ready();
        }
        std::fs::remove_file(path).unwrap();
        Supervisor::default().ready();
    }
}
