//! The acceptor: takes connections in and deals them out evenly to the loops.

use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use super::event_loop::EventLoop;
use super::listen::Listener;
use super::mailbox::Message;
use super::socket::{Accepted, Raw};
use crate::metrics::Counter;

/// Accepts connections for ever, from all listeners, as local tasks of the current loop.
pub fn accept(event_loop: &Rc<EventLoop>, listeners: Vec<Listener>) {
    for listener in listeners {
        let event_loop = Rc::clone(event_loop);
        tokio::task::spawn_local(async move {
            if let Err(error) = accept_from(&event_loop, listener).await {
                tracing::error!(%error, "cannot accept connections");
            }
        });
    }
}

async fn accept_from(event_loop: &EventLoop, listener: Listener) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => accept_tcp(event_loop, listener, Raw::Tcp).await,
        Listener::Tls(listener) => accept_tcp(event_loop, listener, Raw::Tls).await,
        Listener::Unix(listener, path) => {
            let listener = UnixListener::from_std(listener)?;
            let address = format!("{}:0", path.display());
            loop {
                let accepted = listener.accept().await.and_then(|(stream, _)| {
                    let raw = Raw::Unix(stream.into_std()?);
                    Ok((Accepted { raw, address: address.clone(), local_address: address.clone() }, false))
                });
                deal(event_loop, accepted).await;
            }
        }
    }
}

async fn accept_tcp(
    event_loop: &EventLoop,
    listener: std::net::TcpListener,
    raw: fn(std::net::TcpStream) -> Raw,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let accepted = listener.accept().await.and_then(|(stream, address)| {
            let stranger = !address.ip().to_canonical().is_loopback();
            let local_address = stream.local_addr()?.to_string();
            let raw = raw(stream.into_std()?);
            Ok((Accepted { raw, address: address.to_string(), local_address }, stranger))
        });
        deal(event_loop, accepted).await;
    }
}

/// Gives a connection to the loop that has the fewest, or turns it away. With it comes whether it is a
/// stranger's: from another machine.
async fn deal(event_loop: &EventLoop, accepted: io::Result<(Accepted, bool)>) {
    let (accepted, stranger) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            // Out of descriptors, most likely: the connection stays in the backlog until one is free.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            return;
        }
    };
    let shell = &event_loop.shell;
    event_loop.metrics.count(Counter::ConnectionsReceived);
    let settings = event_loop.settings();
    if stranger && settings.protected_mode && shell.engine.server.users.default_user().no_password {
        event_loop.metrics.count(Counter::ConnectionsRejected);
        refuse(
            accepted,
            b"-DENIED Millstream is running in protected mode because protected mode is enabled and no password is \
              set for the default user. In this mode connections are only accepted from the loopback interface. To \
              let other computers connect, set a password for the default user (requirepass), or if the network is \
              safe, turn it off: CONFIG SET protected-mode no from this machine, or start with --protected-mode no.\r\n",
        );
        return;
    }
    // Those that a loop has yet to greet are counted: each has a descriptor.
    let counts = &shell.connections;
    if counts.iter().map(|count| count.load(Relaxed)).sum::<usize>() >= settings.maxclients as usize {
        event_loop.metrics.count(Counter::ConnectionsRejected);
        refuse(accepted, b"-ERR max number of clients reached\r\n");
        return;
    }
    let home = (0..counts.len()).min_by_key(|home| counts[*home].load(Relaxed)).unwrap_or(0);
    counts[home].fetch_add(1, Relaxed);
    shell.mailboxes[home].send(Message::Connection(accepted));
}

fn refuse(accepted: Accepted, why: &[u8]) {
    use std::io::Write;
    // A socket that takes not even this gets nothing: it is closed in any case.
    let _ = match accepted.raw {
        Raw::Tcp(mut stream) => stream.write(why),
        Raw::Unix(mut stream) => stream.write(why),
        // There is nothing to say before a handshake, and no time for one.
        Raw::Tls(_) => Ok(0),
    };
}
