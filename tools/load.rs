//! A load generator for queues that knows no server: producers and consumers end to end, over plain sockets.
//!
//! ```text
//! load --port 6379 list  --messages 100000 --producers 10 --consumers 10 --depth 1
//! load --port 6379 group --messages 100000 --producers 10 --consumers 10 --depth 16
//! load --port 6379 fan-out --messages 100000 --producers 10 --groups 8
//! load --port 6379 idle-list|idle-group --messages 2000 --consumers 1000
//! ```
//!
//! Closed loop: a producer sends its next requests when the last ones are answered; a consumer asks again when it
//! has handled what it got. `--pid` names the server's process: then its CPU time (user and system) per message is
//! printed too. One line comes out: messages, seconds, messages a second, server microseconds a message.
#![allow(clippy::disallowed_methods, reason = "a load generator has sockets and clocks")]

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use redis_protocol::bytes::BytesMut;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::{BytesFrame, Resp2Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

/// What to do.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// list, group, fan-out, idle-list or idle-group.
    work: String,
    /// The server's port on this machine.
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// The server's process, to tell its CPU time.
    #[arg(long)]
    pid: Option<u32>,
    /// How many messages to send.
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Connections that send.
    #[arg(long, default_value_t = 10)]
    producers: u64,
    /// Connections that receive.
    #[arg(long, default_value_t = 10)]
    consumers: u64,
    /// Requests that a producer has under way at once, and messages that a consumer asks for at once.
    #[arg(long, default_value_t = 1)]
    depth: u64,
    /// Groups that each get every message (fan-out).
    #[arg(long, default_value_t = 8)]
    groups: u64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 100)]
    size: usize,
}

/// Counts what has been received; the run ends when it is all.
#[derive(Debug)]
struct Goal {
    missing: Cell<u64>,
    reached: Notify,
}

impl Goal {
    fn received(&self, messages: u64) {
        let missing = self.missing.get().saturating_sub(messages);
        self.missing.set(missing);
        if missing == 0 {
            self.reached.notify_one();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(options))
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let mut admin = Client::connect(options.port).await?;
    admin.call(&[b"DEL", b"load"]).await?;
    let idle = options.work.starts_with("idle");
    let is_list = options.work.ends_with("list");
    let groups = if options.work == "fan-out" { options.groups } else { 1 };
    if !is_list {
        for group in 0..groups {
            let group = format!("group-{group}");
            admin.call(&[b"XGROUP", b"CREATE", b"load", group.as_bytes(), b"$", b"MKSTREAM"]).await?;
        }
    }
    let goal = Rc::new(Goal { missing: Cell::new(options.messages * groups), reached: Notify::new() });
    let consumers = if options.work == "fan-out" { options.groups } else { options.consumers };
    for number in 0..consumers {
        let client = Client::connect(options.port).await?;
        let (goal, options) = (Rc::clone(&goal), options.clone());
        let group = format!("group-{}", number % groups);
        spawn_local(async move {
            let consumed = if is_list {
                consume_list(client, &goal).await
            } else {
                consume_group(client, &goal, &options, &group, &format!("consumer-{number}")).await
            };
            if let Err(error) = consumed {
                eprintln!("a consumer has ended: {error}");
            }
        });
    }
    // Everybody is to be waiting before the first message comes.
    tokio::time::sleep(Duration::from_millis(if idle { 1000 } else { 200 })).await;
    let cpu_before = cpu_us(options.pid)?;
    let started = Instant::now();
    let producers = if idle { 1 } else { options.producers };
    for number in 0..producers {
        let client = Client::connect(options.port).await?;
        let share = options.messages / producers + u64::from(number < options.messages % producers);
        let options = options.clone();
        spawn_local(async move {
            if let Err(error) = produce(client, share, is_list, &options).await {
                eprintln!("a producer has ended: {error}");
            }
        });
    }
    goal.reached.notified().await;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = (cpu_us(options.pid)? - cpu_before) / options.messages as f64;
    println!("{} {seconds:.3} {:.0} {cpu:.3}", options.messages, options.messages as f64 / seconds);
    Ok(())
}

async fn produce(
    mut client: Client,
    share: u64,
    is_list: bool,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let payload = vec![b'x'; options.size];
    let depth = if options.work.starts_with("idle") { 1 } else { options.depth };
    let mut left = share;
    while left > 0 {
        let now = left.min(depth);
        for _ in 0..now {
            match is_list {
                true => client.request(&[b"RPUSH", b"load", &payload]),
                false => client.request(&[b"XADD", b"load", b"*", b"f", &payload]),
            }
        }
        client.send().await?;
        for _ in 0..now {
            client.reply().await?;
        }
        left -= now;
    }
    Ok(())
}

async fn consume_list(mut client: Client, goal: &Goal) -> Result<(), Box<dyn Error>> {
    loop {
        client.call(&[b"BLPOP", b"load", b"0"]).await?;
        goal.received(1);
    }
}

async fn consume_group(
    mut client: Client,
    goal: &Goal,
    options: &Options,
    group: &str,
    consumer: &str,
) -> Result<(), Box<dyn Error>> {
    // A reader of everything takes what there is; a worker takes as much as it handles at once.
    let count = if options.work == "fan-out" { 100 } else { options.depth };
    let count = count.to_string();
    let read: &[&[u8]] = &[
        b"XREADGROUP",
        b"GROUP",
        group.as_bytes(),
        consumer.as_bytes(),
        b"COUNT",
        count.as_bytes(),
        b"BLOCK",
        b"0",
        b"STREAMS",
        b"load",
        b">",
    ];
    loop {
        let reply = client.call(read).await?;
        let ids = entry_ids(&reply).ok_or("not a reply of XREADGROUP")?;
        let mut ack: Vec<&[u8]> = vec![b"XACK", b"load", group.as_bytes()];
        ack.extend(ids.iter().copied());
        client.call(&ack).await?;
        goal.received(ids.len() as u64);
    }
}

/// The ids in `[[key, [[id, fields], …]]]`.
fn entry_ids(reply: &BytesFrame) -> Option<Vec<&[u8]>> {
    let entries = array(array(array(reply)?.first()?)?.get(1)?)?;
    entries.iter().map(|entry| array(entry)?.first()?.as_bytes()).collect()
}

fn array(frame: &BytesFrame) -> Option<&[BytesFrame]> {
    match frame {
        BytesFrame::Array(elements) => Some(elements),
        _ => None,
    }
}

/// A connection.
struct Client {
    stream: TcpStream,
    requests: Vec<u8>,
    replies: BytesMut,
}

impl Client {
    async fn connect(port: u16) -> Result<Client, Box<dyn Error>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, requests: Vec::new(), replies: BytesMut::new() })
    }

    fn request(&mut self, args: &[&[u8]]) {
        self.requests.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in args {
            self.requests.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            self.requests.extend_from_slice(arg);
            self.requests.extend_from_slice(b"\r\n");
        }
    }

    async fn send(&mut self) -> Result<(), Box<dyn Error>> {
        self.stream.write_all(&self.requests).await?;
        self.requests.clear();
        Ok(())
    }

    async fn reply(&mut self) -> Result<BytesFrame, Box<dyn Error>> {
        loop {
            if let Some((frame, _, _)) = decode_bytes_mut(&mut self.replies)? {
                if let BytesFrame::Error(error) = &frame {
                    return Err(error.to_string().into());
                }
                return Ok(frame);
            }
            if self.stream.read_buf(&mut self.replies).await? == 0 {
                return Err("the server has closed the connection".into());
            }
        }
    }

    async fn call(&mut self, args: &[&[u8]]) -> Result<BytesFrame, Box<dyn Error>> {
        self.request(args);
        self.send().await?;
        self.reply().await
    }
}

/// CPU time of all threads of a process, in microseconds; zero without one.
fn cpu_us(pid: Option<u32>) -> Result<f64, Box<dyn Error>> {
    let Some(pid) = pid else { return Ok(0.0) };
    let mut total_ns = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // Nanoseconds on a core come first.
        let stat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        total_ns += stat.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(total_ns as f64 / 1e3)
}
