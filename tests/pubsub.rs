//! Publish/subscribe under load and at its edges, over real connections to several event loops.
#![expect(clippy::disallowed_methods, reason = "a test has threads and a clock")]

mod support;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use support::connection::{Connection, encode};
use support::reply::{Protocol, Reply};
use support::server::{Program, Server};

/// The words of a message, after its kind.
fn words(reply: &Reply) -> Vec<String> {
    let (Reply::Array(elements) | Reply::Push(elements)) = reply else { panic!("not a message: {reply}") };
    let text = |reply: &Reply| String::from_utf8_lossy(reply.text().unwrap_or_default()).into_owned();
    elements.iter().map(text).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nobody_misses_a_message_and_nobody_gets_it_twice() {
    const PUBLISHERS: usize = 4;
    const SUBSCRIBERS: usize = 9;
    const MESSAGES: usize = 3_000;
    let server = Server::start_with(Program::Millstream, &["--threads", "4"]);
    let mut subscribers: Vec<Connection> = (0..SUBSCRIBERS).map(|_| server.connect()).collect();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        match number % 3 {
            0 => subscriber.run("SUBSCRIBE even"),
            1 => subscriber.run("PSUBSCRIBE *"),
            _ => {
                subscriber.hello(Protocol::Resp3);
                subscriber.run("SUBSCRIBE odd even");
                subscriber.reply().expect("the second confirmation")
            }
        };
    }
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut connection = server.connect();
            scope.spawn(move || {
                for batch in 0..MESSAGES / 50 {
                    let numbers = batch * 50..(batch + 1) * 50;
                    let requests: Vec<u8> = numbers
                        .clone()
                        .flat_map(|number| {
                            let channel = if number.is_multiple_of(2) { "even" } else { "odd" };
                            encode(&["PUBLISH", channel, &format!("{publisher} {number}")])
                        })
                        .collect();
                    connection.send_bytes(&requests).expect("the server takes requests");
                    for number in numbers {
                        let heard = if number.is_multiple_of(2) { SUBSCRIBERS } else { SUBSCRIBERS / 3 * 2 };
                        let met = connection.reply().expect("an answer");
                        assert_eq!(met, Reply::Integer(heard as i64));
                    }
                }
            });
        }
        for (kind, mut subscriber) in subscribers.into_iter().enumerate().map(|(at, conn)| (at % 3, conn)) {
            scope.spawn(move || {
                let step = if kind == 0 { 2 } else { 1 };
                let mut next: HashMap<String, usize> = HashMap::new();
                for _ in 0..PUBLISHERS * MESSAGES / step {
                    let message = words(&subscriber.reply().expect("a message"));
                    let (channel, text) = (&message[message.len() - 2], &message[message.len() - 1]);
                    let (publisher, number) = text.split_once(' ').expect("two words");
                    let number: usize = number.parse().expect("a number");
                    assert_eq!(channel, if number.is_multiple_of(2) { "even" } else { "odd" });
                    let expected = next.entry(publisher.to_owned()).or_default();
                    assert_eq!(number, *expected, "in the order in which {publisher} has published");
                    *expected += step;
                }
                let more = subscriber.reply_within(Duration::from_millis(50));
                assert!(more.is_err(), "nothing comes twice: {more:?}");
            });
        }
    });
}

#[test]
fn events_of_a_key_come_in_the_order_in_which_they_happened() {
    const ROUNDS: usize = 2_000;
    let options = ["--threads", "4", "--notify-keyspace-events", "Kl$g", "--appendfsync", "no"];
    let server = Server::start_with(Program::Millstream, &options);
    let mut listener = server.connect();
    listener.run("PSUBSCRIBE __keyspace@0__:q");
    thread::scope(|scope| {
        for _ in 0..3 {
            let mut connection = server.connect();
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    connection.run("RPUSH q a");
                    connection.run("LPOP q");
                }
            });
        }
        scope.spawn(move || {
            let (mut length, mut pops) = (0, 0);
            while pops < 3 * ROUNDS {
                let event = words(&listener.reply().expect("an event")).pop().expect("a message");
                match &*event {
                    "rpush" => length += 1,
                    "lpop" => {
                        length -= 1;
                        pops += 1;
                        assert!(length >= 0, "what is popped was pushed before");
                    }
                    "del" => assert_eq!(length, 0, "the key goes with its last element"),
                    other => panic!("{other}"),
                }
            }
        });
    });
}

#[test]
fn a_client_that_is_gone_leaves_no_subscription() {
    const CHANNELS: usize = 100_000;
    let server = Server::start_with(Program::Millstream, &["--threads", "2"]);
    let mut observer = server.connect();
    let mut many = server.connect();
    for from in (0..CHANNELS).step_by(1000) {
        let names = (from..from + 1000).map(|number| format!("channel {number}"));
        let command: Vec<String> = std::iter::once("SUBSCRIBE".to_owned()).chain(names).collect();
        many.send(&command);
        for number in from..from + 1000 {
            let count = match many.reply().expect("a confirmation") {
                Reply::Array(elements) => elements[2].clone(),
                other => panic!("{other}"),
            };
            assert_eq!(count, Reply::Integer(number as i64 + 1));
        }
    }
    let listening = |observer: &mut Connection| match observer.call(&["PUBSUB", "CHANNELS"]) {
        Reply::Array(names) => names.len(),
        other => panic!("{other}"),
    };
    assert_eq!(listening(&mut observer), CHANNELS);
    assert_eq!(observer.call(&["PUBLISH", "channel 77777", "m"]), Reply::Integer(1));
    assert_eq!(words(&many.reply().expect("a message")), ["message", "channel 77777", "m"]);
    let started = Instant::now();
    drop(many);
    until("the subscriptions go with their client", || listening(&mut observer) == 0);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(observer.call(&["PUBLISH", "channel 77777", "m"]), Reply::Integer(0));
}

#[test]
fn a_killed_subscriber_leaves_no_subscription() {
    let server = Server::start_with(Program::Millstream, &["--threads", "2"]);
    let mut client = server.connect();
    for round in 0..50 {
        let mut subscriber = server.connect();
        let Reply::Integer(id) = subscriber.run("CLIENT ID") else { panic!("an id") };
        subscriber.run("SUBSCRIBE c");
        subscriber.send(&["PSUBSCRIBE", "p*"]);
        subscriber.send(&["SSUBSCRIBE", "s"]);
        if round % 2 == 0 {
            // With messages on their way, too.
            client.send_bytes(&encode(&["PUBLISH", "c", "m"]).repeat(100)).expect("they are read");
            (0..100).for_each(|_| _ = client.reply().expect("an answer"));
        }
        assert_eq!(client.run(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
        until("nobody listens", || {
            client.run("PUBSUB CHANNELS").to_string() == "[]"
                && client.run("PUBSUB SHARDCHANNELS").to_string() == "[]"
                && client.run("PUBSUB NUMPAT") == Reply::Integer(0)
        });
    }
}

#[test]
fn a_publisher_is_not_faster_than_its_messages_are_delivered() {
    // Twenty listeners on one loop, who read all the time, and a publisher that waits for nothing.
    const MESSAGES: usize = 400;
    const SIZE: usize = 100_000;
    let options = ["--threads", "2", "--client-output-buffer-limit", "pubsub 0 0 0"];
    let server = Server::start_with(Program::Millstream, &options);
    let mut listeners: Vec<Connection> = (0..6).map(|_| server.connect()).collect();
    listeners.iter_mut().for_each(|listener| _ = listener.run("SUBSCRIBE c"));
    let mut publisher = server.connect();
    let message = vec![b'm'; SIZE];
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MESSAGES {
                publisher.send_bytes(&encode(&[&b"PUBLISH"[..], b"c", &message])).expect("it is read");
            }
            for _ in 0..MESSAGES {
                assert_eq!(publisher.reply().expect("an answer"), Reply::Integer(6));
            }
        });
        for mut listener in listeners {
            scope.spawn(move || {
                for _ in 0..MESSAGES {
                    let message = listener.reply().expect("a message");
                    assert_eq!(words(&message)[2].len(), SIZE);
                }
            });
        }
    });
}
