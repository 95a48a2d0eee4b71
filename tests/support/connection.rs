//! A connection in bytes: what is sent is exactly what the test says, what comes back is read strictly.

use super::reply::{self, Protocol, Reply};
use super::words;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a reply may take before the test is called failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a reply that is called long.
const MUCH: usize = 1024 * 1024;

/// A client connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Bytes received and not yet read as replies start at `start`.
    received: Vec<u8>,
    start: usize,
    protocol: Protocol,
    /// The protocol that the next successful reply switches to: `HELLO` or `RESET` was sent.
    asked_for: Option<Protocol>,
}

/// Why there was no reply.
#[derive(Debug)]
pub(crate) enum NoReply {
    /// Nothing, or part of a reply, came in time.
    TimedOut,
    /// The server closed or reset the connection.
    Closed,
    /// What came is not a reply.
    Malformed(String),
}

impl Connection {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new(), start: 0, protocol: Protocol::Resp2, asked_for: None })
    }

    /// The client's side of the connection, as `CLIENT LIST` shows it in `addr=`.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Switches to a protocol version with `HELLO`.
    pub(crate) fn hello(&mut self, protocol: Protocol) {
        let version = if protocol == Protocol::Resp3 { "3" } else { "2" };
        let reply = self.call(&["HELLO", version]);
        assert!(!matches!(reply, Reply::Error(_)), "HELLO {version}: {reply}");
    }

    /// Sends a command, waits for its reply.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Reply {
        self.send(command);
        match self.reply() {
            Ok(reply) => reply,
            Err(why) => panic!("no reply to {}: {why:?}", words::join(command)),
        }
    }

    /// Sends a command written as one line, waits for its reply.
    pub(crate) fn run(&mut self, line: &str) -> Reply {
        self.call(&words::split(line).expect("a well-quoted command"))
    }

    /// Sends a command.
    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, command: &[A]) {
        self.note_switch(command);
        let _ = self.send_bytes(&encode(command));
    }

    /// Sends these bytes. A connection that the server has closed shows when reading.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply.
    pub(crate) fn reply(&mut self) -> Result<Reply, NoReply> {
        self.reply_within(PATIENCE)
    }

    /// The next reply, if it is complete within this time.
    pub(crate) fn reply_within(&mut self, patience: Duration) -> Result<Reply, NoReply> {
        self.reply_and_bytes_within(patience).map(|(reply, _)| reply)
    }

    /// The next reply with the bytes that made it.
    pub(crate) fn reply_and_bytes_within(&mut self, patience: Duration) -> Result<(Reply, Vec<u8>), NoReply> {
        let deadline = Instant::now() + patience;
        loop {
            if self.start < self.received.len() {
                let unread = &self.received[self.start..];
                if let Some(asked_for) = self.asked_for.filter(|_| unread[0] != b'-') {
                    self.protocol = asked_for;
                }
                match reply::read(unread, self.protocol) {
                    Ok(Some((reply, length))) => {
                        let bytes = unread[..length].to_vec();
                        self.start += length;
                        self.asked_for = None;
                        return Ok((reply, bytes));
                    }
                    Ok(None) => {}
                    Err(why) => return Err(NoReply::Malformed(why)),
                }
            }
            self.receive(deadline)?;
            // The beginning of a long reply is not read anew for each piece of it.
            let unread = self.received.len() - self.start;
            while unread > MUCH && self.received.len() - self.start < unread + unread / 2 {
                // If nothing more comes, at the moment or at all, what is there may be the whole of it.
                if self.receive(deadline.min(Instant::now() + Duration::from_millis(20))).is_err() {
                    break;
                }
            }
        }
    }

    /// Waits until the server has closed the connection; returns what it said before.
    pub(crate) fn rest_until_closed(&mut self) -> Result<Vec<u8>, NoReply> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.receive(deadline) {
                Ok(()) => {}
                Err(NoReply::Closed) => return Ok(self.received[self.start..].to_vec()),
                Err(other) => return Err(other),
            }
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The socket, for what only a socket can do.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn note_switch<A: AsRef<[u8]>>(&mut self, command: &[A]) {
        let word = |index: usize| command.get(index).map(AsRef::as_ref).unwrap_or_default();
        if word(0).eq_ignore_ascii_case(b"RESET") {
            self.asked_for = Some(Protocol::Resp2);
        } else if word(0).eq_ignore_ascii_case(b"HELLO") {
            self.asked_for = match word(1) {
                b"2" => Some(Protocol::Resp2),
                b"3" => Some(Protocol::Resp3),
                _ => self.asked_for,
            };
        }
    }

    /// Takes in what has come; waits until something does.
    fn receive(&mut self, deadline: Instant) -> Result<(), NoReply> {
        if self.start == self.received.len() {
            self.received.clear();
            self.start = 0;
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).expect("a timeout above zero");
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(NoReply::Closed),
            Ok(length) => {
                self.received.extend_from_slice(&bytes[..length]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(NoReply::TimedOut),
                ErrorKind::Interrupted => Ok(()),
                _ => Err(NoReply::Closed),
            },
        }
    }
}

/// A command as the array of bulk strings that clients send.
pub(crate) fn encode<A: AsRef<[u8]>>(command: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
