//! One connection as the core sees it: who it is, what it has selected, what it has queued.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

use parking_lot::{Mutex, RwLock};

use crate::acl::Identity;
use crate::pubsub::{Listener, Scope, Subscriptions};
use crate::resp::{OwnedArgs, Protocol};

/// The state of a connection that commands read and change. Owned by the connection's loop.
#[derive(Debug)]
pub struct Session {
    /// The connection's public face, shared with `CLIENT LIST` and its like.
    pub client: Arc<Client>,
    /// The selected database.
    pub db: u8,
    /// The version of the replies.
    pub protocol: Protocol,
    /// Whether the connection may do more than authenticate.
    pub authenticated: bool,
    /// As whom it does what it does.
    pub identity: Identity,
    /// Which replies `CLIENT REPLY` lets through.
    pub replies: Replies,
    /// The transaction under way, between `MULTI` and `EXEC`.
    pub transaction: Option<Transaction>,
    /// Set by the engine when a key this connection watches has changed.
    pub watch: Option<Arc<Watch>>,
    /// What it listens to.
    pub subscriptions: Subscriptions,
    /// The log position that what it has been told so far depends on, and with it whatever it publishes.
    pub lsn: u64,
}

/// What `CLIENT REPLY` has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// Every request is answered.
    #[default]
    On,
    /// No request is.
    Off,
    /// The request after this one is not.
    SkipNext,
    /// This request is not.
    Skip,
}

/// Requests queued by `MULTI`.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The requests, in order.
    pub queue: Vec<OwnedArgs>,
    /// Bytes of their arguments.
    pub bytes: usize,
    /// A request could not be queued, so `EXEC` must refuse.
    pub broken: bool,
}

/// The keys a connection watches, and whether one of them has changed.
#[derive(Debug, Default)]
pub struct Watch {
    /// Set under the lock of the changed key's shard.
    pub changed: AtomicBool,
    /// Database and name of each key. Changed by the watching connection only.
    pub keys: Mutex<Vec<(u8, Box<[u8]>)>>,
}

impl Session {
    /// A fresh connection's state.
    #[must_use]
    pub fn new(client: Arc<Client>, authenticated: bool) -> Session {
        Session::of(client, authenticated, Identity::default())
    }

    /// The same for somebody who is known.
    #[must_use]
    pub fn of(client: Arc<Client>, authenticated: bool, identity: Identity) -> Session {
        Session {
            client,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated,
            identity,
            replies: Replies::On,
            transaction: None,
            watch: None,
            subscriptions: Subscriptions::default(),
            lsn: 0,
        }
    }

    /// Whether it may do little besides listening: RESP2 has no way to tell a message from a reply.
    #[must_use]
    pub fn only_listens(&self) -> bool {
        self.protocol == Protocol::Resp2 && !self.subscriptions.is_empty()
    }

    /// Itself as a listener.
    #[must_use]
    pub fn listener(&self) -> Listener {
        Listener { client: self.client.id, home: self.client.home }
    }

    /// Brings its public face up to date with its subscriptions.
    pub fn show_subscriptions(&self) {
        for scope in Scope::ALL {
            let count = u32::try_from(self.subscriptions.count(scope)).unwrap_or(u32::MAX);
            self.client.subscriptions[scope as usize].store(count, Relaxed);
        }
    }

    /// Whether a reply that comes after waiting may be sent; uses up a `CLIENT REPLY SKIP`.
    pub fn takes_reply(&mut self) -> bool {
        match self.replies {
            Replies::On | Replies::SkipNext => true,
            Replies::Off => false,
            Replies::Skip => {
                self.replies = Replies::On;
                false
            }
        }
    }

    /// Selects a database, for this session and in its public face.
    pub fn select(&mut self, db: u8) {
        self.db = db;
        self.client.db.store(db, Relaxed);
    }

    /// Changes the protocol version, for this session and in its public face.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.resp3.store(protocol == Protocol::Resp3, Relaxed);
    }
}

/// What others may see of a connection. Its loop writes, anyone reads; every field stands for itself, so
/// relaxed atomics are enough.
#[derive(Debug)]
pub struct Client {
    /// Unique since the server started; never reused.
    pub id: u64,
    /// The index of the event loop that owns the connection.
    pub home: u16,
    /// The peer's address as `ip:port`, or the socket's path.
    pub address: String,
    /// Our end of the connection, in the same form.
    pub local_address: String,
    /// When it connected: milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When its last request ran: milliseconds since the Unix epoch.
    pub active_ms: AtomicI64,
    /// The number of its last command in the table.
    pub last_command: AtomicU16,
    /// The selected database.
    pub db: AtomicU8,
    /// Whether it speaks RESP3.
    pub resp3: AtomicBool,
    /// Whether it waits in a blocking command.
    pub blocked: AtomicBool,
    /// Whether it is to be disconnected: from then on nothing it asked for is run, though it may still stand in queues.
    pub killed: AtomicBool,
    /// How many requests `MULTI` has queued, or -1 outside a transaction.
    pub queued: AtomicI64,
    /// How many keys it watches.
    pub watching: AtomicU16,
    /// How many channels, patterns and shard channels it listens to: by [`Scope`].
    pub subscriptions: [AtomicU32; 3],
    /// Whether it sees every request (`MONITOR`).
    pub monitors: AtomicBool,
    /// Bytes of requests it has been shown that its loop has not taken in yet.
    pub shown_bytes: AtomicU64,
    /// Whether `CLIENT NO-EVICT` is on.
    pub no_evict: AtomicBool,
    /// Whether `CLIENT NO-TOUCH` is on.
    pub no_touch: AtomicBool,
    /// Bytes of requests not yet run.
    pub input_bytes: AtomicU64,
    /// Bytes of replies not yet sent.
    pub output_bytes: AtomicU64,
    /// Requests run.
    pub commands: AtomicU64,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    /// Bytes sent.
    pub bytes_out: AtomicU64,
    /// What the client has told about itself.
    pub names: Mutex<Names>,
}

/// What a client tells about itself.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `CLIENT SETNAME`; empty for none.
    pub name: String,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library: String,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: String,
    /// The user it authenticated as.
    pub user: String,
}

impl Client {
    /// A client that has just connected.
    #[must_use]
    pub fn new(id: u64, home: u16, address: String, local_address: String, now_ms: i64) -> Client {
        Client {
            id,
            home,
            address,
            local_address,
            created_ms: now_ms,
            active_ms: AtomicI64::new(now_ms),
            last_command: AtomicU16::new(u16::MAX),
            db: AtomicU8::new(0),
            resp3: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            queued: AtomicI64::new(-1),
            watching: AtomicU16::new(0),
            subscriptions: Default::default(),
            monitors: AtomicBool::new(false),
            shown_bytes: AtomicU64::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            input_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            names: Mutex::new(Names { user: "default".to_owned(), ..Names::default() }),
        }
    }

    /// Whether it listens to anything.
    #[must_use]
    pub fn subscribes(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Relaxed) > 0)
    }
}

/// The connections that see every request. Looked at with each request, changed by `MONITOR` only.
#[derive(Debug, Default)]
pub struct Monitors {
    count: AtomicUsize,
    all: Mutex<Vec<Arc<Client>>>,
}

impl Monitors {
    /// Whether there is any: one load.
    #[must_use]
    pub fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Enters a connection, once.
    pub fn add(&self, client: &Arc<Client>) {
        let mut all = self.all.lock();
        if !client.monitors.swap(true, Relaxed) {
            all.push(Arc::clone(client));
            self.count.store(all.len(), Relaxed);
        }
    }

    /// Strikes a connection, if it is there.
    pub fn remove(&self, client: &Client) {
        let mut all = self.all.lock();
        if client.monitors.swap(false, Relaxed) {
            all.retain(|known| known.id != client.id);
            self.count.store(all.len(), Relaxed);
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.all.lock().clone()
    }
}

/// All connections, for `CLIENT LIST` and its like. Taken for writing when one comes or goes.
#[derive(Debug, Default)]
pub struct Clients {
    last_id: AtomicU64,
    by_id: RwLock<std::collections::BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    /// An id nobody has had.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Relaxed) + 1
    }

    /// Enters a connection.
    pub fn insert(&self, client: Arc<Client>) {
        self.by_id.write().insert(client.id, client);
    }

    /// Strikes a connection.
    pub fn remove(&self, id: u64) {
        self.by_id.write().remove(&id);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection of that id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.read().get(&id).cloned()
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.read().values().cloned().collect()
    }
}
