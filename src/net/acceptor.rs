//! The acceptor: takes connections in and deals them out evenly to the loops.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::event_loop::Shell;
use super::listen::Listener;
use super::mailbox::Message;
use super::socket::{Accepted, Raw};

/// Accepts connections for ever, from all listeners, as local tasks of the current loop.
pub fn accept(shell: &Arc<Shell>, listeners: Vec<Listener>) {
    for listener in listeners {
        let shell = Arc::clone(shell);
        tokio::task::spawn_local(async move {
            if let Err(error) = accept_from(&shell, listener).await {
                tracing::error!(%error, "cannot accept connections");
            }
        });
    }
}

async fn accept_from(shell: &Shell, listener: Listener) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let listener = AsyncFd::with_interest(listener, Interest::READABLE)?;
            loop {
                let accepted = listener.async_io(Interest::READABLE, std::net::TcpListener::accept).await;
                let accepted = accepted.and_then(|(stream, address)| {
                    stream.set_nonblocking(true)?;
                    let local_address = stream.local_addr()?.to_string();
                    Ok(Accepted { raw: Raw::Tcp(stream), address: address.to_string(), local_address })
                });
                deal(shell, accepted).await;
            }
        }
        Listener::Unix(listener, path) => {
            let listener = AsyncFd::with_interest(listener, Interest::READABLE)?;
            let address = format!("{}:0", path.display());
            loop {
                let accepted =
                    listener.async_io(Interest::READABLE, std::os::unix::net::UnixListener::accept).await;
                let accepted = accepted.and_then(|(stream, _)| {
                    stream.set_nonblocking(true)?;
                    let (address, local_address) = (address.clone(), address.clone());
                    Ok(Accepted { raw: Raw::Unix(stream), address, local_address })
                });
                deal(shell, accepted).await;
            }
        }
    }
}

/// Gives a connection to the loop that has the fewest, or turns it away.
async fn deal(shell: &Shell, accepted: io::Result<Accepted>) {
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            // Out of descriptors, most likely: the connection stays in the backlog until one is free.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            return;
        }
    };
    let server = &shell.engine.server;
    server.metrics.connection_received();
    if server.clients.len() >= server.config.settings().maxclients as usize {
        server.metrics.connection_rejected();
        refuse(accepted, b"-ERR max number of clients reached\r\n");
        return;
    }
    let counts = &shell.connections;
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
    };
}
