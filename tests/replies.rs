//! No reply is forgotten: each leaves as soon as the log allows it and the client takes it.
//!
//! Loops write the log for each other. A loop that holds a reply back sleeps until it is told; with a single
//! connection on it nothing else wakes it, so a word that is lost shows as a reply that never comes.
#![expect(clippy::disallowed_methods, reason = "a test has threads and clocks")]

mod support;

use std::thread;
use std::time::{Duration, Instant};
use support::connection::encode;
use support::server::{Program, Server};

#[test]
fn no_reply_is_forgotten_while_loops_write_for_each_other() {
    for policy in ["always", "no"] {
        let server = Server::start_with(Program::Millstream, &["--threads", "3", "--appendfsync", policy]);
        let until = Instant::now() + Duration::from_millis(1500);
        thread::scope(|scope| {
            // One connection a loop. They rest, so that a loop is often the only one at work, or just comes in between.
            for client in 0..3_u64 {
                let mut connection = server.connect();
                scope.spawn(move || {
                    let mut done = 0;
                    while Instant::now() < until {
                        connection.send(&["INCR", "counter"]);
                        let reply = connection.reply_within(Duration::from_secs(2));
                        assert!(reply.is_ok(), "{policy}: client {client} waits for reply {done}: {reply:?}");
                        done += 1;
                        if done % (7 + client) == 0 {
                            thread::sleep(Duration::from_micros(100 * (done % 17)));
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn what_is_asked_behind_a_large_reply_is_answered() {
    let server = Server::start(Program::Millstream);
    // How much a socket takes at once is not ours to say: one of these sizes leaves just a little for later.
    for kibibytes in (300..6000).step_by(100) {
        let mut client = server.connect();
        client.call(&[&b"SET"[..], b"k", &vec![b'v'; kibibytes * 1024]]);
        let both = [encode(&["GET", "k"]), encode(&["PING"])].concat();
        client.send_bytes(&both).expect("the server takes it");
        thread::sleep(Duration::from_millis(10));
        let value = client.reply().expect("the large reply");
        assert_eq!(value.text().map(<[u8]>::len), Some(kibibytes * 1024));
        let behind = client.reply_within(Duration::from_secs(2));
        assert!(behind.is_ok(), "no answer behind a reply of {kibibytes} KiB: {behind:?}");
    }
}
