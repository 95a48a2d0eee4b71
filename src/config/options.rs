//! The table of options, and the settings they make up.
//!
//! One entry is everything there is to say about an option: its name (an older name after `|`), the field of [`Settings`] that holds
//! it, the field's type, the default as text, what it accepts, and whether it may change while the server runs. Its doc comment
//! is its help. To add an option, add an entry; nothing else lists them.
//!
//! Options of Redis that do nothing here are in the group [`Group::Compatibility`], and their help starts with "No effect": clients,
//! test suites and existing configuration files set them. Whoever gives one an effect moves it to another group; a test insists.

use super::bind::Bind;
use super::events::KeyspaceEvents;
use super::limits::OutputLimits;
use super::users::UserLines;
use super::value::{
    AclPubsubDefault, AppendFsync, DebugCommands, Fixed, Kind, LogFormat, LogLevel, MemoryOrPercent,
    OomScoreAdj, Percentiles, ReplDisklessLoad, SanitizeDumpPayload, Secret, Setting, Supervised,
    TlsAuthClients, TlsAuthClientsUser,
};

/// An entry of the table.
#[derive(Debug)]
pub struct ConfigOption {
    /// Its name, Redis' own where Redis has it: lower case, words joined by `-`.
    pub name: &'static str,
    /// Older names that mean the same.
    pub older_names: &'static [&'static str],
    /// What it is about.
    pub group: Group,
    /// What it accepts.
    pub kind: Kind,
    /// Its value when nobody sets it, as one would write it.
    pub default: &'static str,
    /// When it can be set.
    pub when: When,
    /// What it does, in a sentence or two.
    help: &'static [&'static str],
    read: fn(&Settings) -> String,
    write: fn(&mut Settings, &[&str]) -> Result<(), String>,
}

/// What an option is about; the help is ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where to listen.
    Network,
    /// Who may connect.
    Security,
    /// Encrypted connections.
    Tls,
    /// The log on disk.
    Durability,
    /// What clients may use up.
    Limits,
    /// Keys and values.
    Data,
    /// The process, its messages and its own records.
    Operation,
    /// Accepted because Redis has it; without effect.
    Compatibility,
}

impl Group {
    /// Its title in the help.
    pub fn title(self) -> &'static str {
        match self {
            Group::Network => "Network",
            Group::Security => "Security",
            Group::Tls => "TLS",
            Group::Durability => "Durability",
            Group::Limits => "Limits",
            Group::Data => "Data",
            Group::Operation => "Operation",
            Group::Compatibility => "Accepted as in Redis, without effect",
        }
    }
}

/// When an option can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In the configuration file and on the command line only.
    AtStart,
    /// By `CONFIG SET` as well.
    AnyTime,
}

/// The option of this name, in any case.
pub fn option(name: &str) -> Option<&'static ConfigOption> {
    OPTIONS.iter().find(|option| option.names().any(|known| known.eq_ignore_ascii_case(name)))
}

impl ConfigOption {
    /// What it does.
    pub fn help(&self) -> String {
        self.help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// Its name and its older names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.older_names.iter().copied())
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }

    /// Its value in these settings, as `CONFIG GET` shows it.
    pub fn text(&self, settings: &Settings) -> String {
        (self.read)(settings)
    }

    /// Sets it, or says why not. A list of words may come as one argument or as several.
    pub fn assign(&self, settings: &mut Settings, arguments: &[&str]) -> Result<(), String> {
        if self.kind.takes_many() {
            let words: Vec<&str> =
                arguments.iter().flat_map(|argument| argument.split_whitespace()).collect();
            return (self.write)(settings, &words);
        }
        if arguments.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        (self.write)(settings, arguments)
    }
}

const YES_NO: Kind = Kind::YesNo;
const MEMORY: Kind = Kind::Memory { min: 0 };
const FILE: Kind = Kind::Text { hint: "FILE" };
const INT: Kind = integer(0, i32::MAX as i64);
const LONG: Kind = integer(0, i64::MAX);

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

macro_rules! options {
    ($($group:ident {$(
        $(#[doc = $help:literal])+
        $name:literal $(| $alias:literal)? $field:ident: $type:ty = $default:literal, $kind:expr, $when:ident;
    )*})*) => {
        /// All settings, by type. Plain data: see [`super::Config`] for the shared, changing ones.
        ///
        /// Printing it for debugging shows no secrets.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            /// Users, as `user` lines give them: name and rules.
            pub users: UserLines,
            $($(
            $(#[doc = $help])+
            pub $field: $type,
        )*)*}

        /// The table: every option there is, by purpose.
        pub static OPTIONS: &[ConfigOption] = &[$($(
            ConfigOption {
                name: $name,
                older_names: &[$($alias)?],
                group: Group::$group,
                kind: $kind,
                default: $default,
                when: When::$when,
                help: &[$($help),+],
                read: |settings| settings.$field.text(&$kind),
                write: |settings, words| settings.$field.assign(&$kind, words),
            },
        )*)*];

        impl Default for Settings {
            fn default() -> Self {
                let mut settings = Self { users: UserLines::default(), $($($field: <$type>::default(),)*)*};
                for option in OPTIONS {
                    option.assign(&mut settings, &[option.default]).expect("a test sets every option to its default");
                }
                settings
            }
        }

        #[cfg(test)]
        const FIELDS: &[(&str, &str)] = &[$($(($name, stringify!($field)),)*)*];
    };
}

options! {
    Network {
        /// TCP port to listen on; 0 listens on none.
        "port" port: u16 = "6379", integer(0, 65535), AtStart;
        /// Addresses to listen on; one with a `-` in front may be missing on this machine, `*` and `::*` mean all of them.
        "bind" bind: Bind = "127.0.0.1 -::1", Kind::Addresses, AtStart;
        /// Unix socket to listen on as well; empty for none.
        "unixsocket" unixsocket: String = "", FILE, AtStart;
        /// Permissions of the Unix socket, such as 770; 0 leaves them to the umask.
        "unixsocketperm" unixsocketperm: u32 = "0", Kind::Permissions, AtStart;
        /// Length of the queue of connections that wait to be accepted.
        "tcp-backlog" tcp_backlog: u32 = "511", INT, AtStart;
        /// Seconds of silence after which the peer is probed; 0 never probes.
        "tcp-keepalive" tcp_keepalive: u32 = "300", INT, AnyTime;
        /// Seconds after which an idle client is disconnected; 0 never disconnects. Clients that block or subscribe are not idle.
        "timeout" timeout: u32 = "0", INT, AnyTime;
    }
    Security {
        /// Password of the default user; empty lets everybody in.
        "requirepass" requirepass: Secret = "", Kind::Secret, AnyTime;
        /// Refuse other machines as long as the default user has no password.
        "protected-mode" protected_mode: bool = "yes", YES_NO, AnyTime;
        /// File with the users, relative to `dir`: read at the start and by ACL LOAD, written by ACL SAVE; empty for none. Users can
        /// be given in the configuration instead: `user NAME RULE...`.
        "aclfile" aclfile: String = "", FILE, AtStart;
        /// Greatest number of refusals that ACL LOG remembers.
        "acllog-max-len" acllog_max_len: u64 = "128", LONG, AnyTime;
        /// Whether new users may use all pub/sub channels or none.
        "acl-pubsub-default" acl_pubsub_default: AclPubsubDefault = "resetchannels", AclPubsubDefault::KIND, AnyTime;
    }
    Tls {
        /// TCP port to listen on for TLS connections; 0 listens on none. With `port 0` there are no others.
        "tls-port" tls_port: u16 = "0", integer(0, 65535), AtStart;
        /// File with the server's certificate and those between it and its authority, in PEM form. Files are named relative to `dir`.
        /// CONFIG SET of any option here, even to what it is, reads all files again, for connections made from then on.
        "tls-cert-file" tls_cert_file: String = "", FILE, AnyTime;
        /// File with the server's private key, in PEM form, not encrypted.
        "tls-key-file" tls_key_file: String = "", FILE, AnyTime;
        /// Password of the private key: encrypted keys are refused, so this must be empty.
        "tls-key-file-pass" tls_key_file_pass: Secret = "", Kind::Secret, AnyTime;
        /// File with the certificates of the authorities that clients' certificates must go back to.
        "tls-ca-cert-file" tls_ca_cert_file: String = "", FILE, AnyTime;
        /// Directory with such files.
        "tls-ca-cert-dir" tls_ca_cert_dir: String = "", Kind::Text { hint: "DIRECTORY" }, AnyTime;
        /// Whether TLS clients must show a certificate, may, or are not asked for one.
        "tls-auth-clients" tls_auth_clients: TlsAuthClients = "yes", TlsAuthClients::KIND, AnyTime;
        /// With `CN`, a TLS client begins as the user that its certificate's common name names, if there is such a user and it is on.
        "tls-auth-clients-user" tls_auth_clients_user: TlsAuthClientsUser = "off", TlsAuthClientsUser::KIND, AnyTime;
        /// Versions to offer, out of TLSv1.2 and TLSv1.3; empty for both.
        "tls-protocols" tls_protocols: String = "", Kind::Text { hint: "VERSIONS" }, AnyTime;
        /// Cipher suites to offer with TLSv1.2, by OpenSSL's names, with `:` in between; empty for all there are.
        "tls-ciphers" tls_ciphers: String = "", Kind::Text { hint: "NAMES" }, AnyTime;
        /// Cipher suites to offer with TLSv1.3, in the same form.
        "tls-ciphersuites" tls_ciphersuites: String = "", Kind::Text { hint: "NAMES" }, AnyTime;
        /// Choose the cipher suite by our order and not by the client's.
        "tls-prefer-server-ciphers" tls_prefer_server_ciphers: bool = "no", YES_NO, AnyTime;
        /// Let clients that come back skip a part of the handshake.
        "tls-session-caching" tls_session_caching: bool = "yes", YES_NO, AnyTime;
        /// Number of clients remembered for that; 0 for 1,048,576, which is the most.
        "tls-session-cache-size" tls_session_cache_size: u32 = "20480", INT, AnyTime;
    }
    Durability {
        /// Directory of the data; created when missing.
        "dir" dir: String = "./millstream-data", Kind::Text { hint: "DIRECTORY" }, AtStart;
        /// When the log is synced: before each reply, once a second, or when the system likes. Killing the process loses nothing with any
        /// of them; a power cut loses nothing with `always`.
        "appendfsync" appendfsync: AppendFsync = "always", AppendFsync::KIND, AnyTime;
        /// Keep the log: always `yes`.
        "appendonly" appendonly: Fixed = "yes", Kind::Only {
            words: &["yes", "no"],
            word: "yes",
            why: "Millstream always keeps its log: only 'yes' is accepted, see appendfsync for how often it is synced",
        }, AnyTime;
        /// Directory of the log, inside of `dir`.
        "appenddirname" appenddirname: String = "appendonlydir", Kind::Name { option: "appenddirname", what: "dirname" }, AtStart;
        /// Start of the names of the log's files.
        "appendfilename" appendfilename: String = "appendonly.aof",
            Kind::Name { option: "appendfilename", what: "filename" }, AtStart;
        /// Room on the disk, an eighth of it at most, that is kept for consumers: when the disk is full producers are refused and what consumers
        /// do goes there; 0 keeps none.
        "disk-reserve" disk_reserve: u64 = "16mb", MEMORY, AtStart;
        /// Cut off a last log block that a crash left half-written, and start; with `no`, refuse to start.
        "aof-load-truncated" aof_load_truncated: bool = "yes", YES_NO, AnyTime;
        /// Rewrite the log when it has grown by this many percent since the last time or the start; 0 never does.
        "auto-aof-rewrite-percentage" auto_aof_rewrite_percentage: u32 = "100", INT, AnyTime;
        /// Size below which the log is not rewritten by itself.
        "auto-aof-rewrite-min-size" auto_aof_rewrite_min_size: u64 = "64mb", MEMORY, AnyTime;
    }
    Limits {
        /// Greatest number of clients connected at once; lowered at the start if the system allows too few open files.
        "maxclients" maxclients: u32 = "10000", integer(1, u32::MAX as i64), AnyTime;
        /// Memory beyond which commands that add data are refused; consumers go on, nothing is ever evicted. 0 sets no bound.
        "maxmemory" maxmemory: u64 = "0", MEMORY, AnyTime;
        /// What happens at `maxmemory`: always `noeviction`.
        "maxmemory-policy" maxmemory_policy: Fixed = "noeviction", Kind::Only {
            words: &[
                "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random",
                "noeviction",
            ],
            word: "noeviction",
            why: "Millstream never evicts messages: only 'noeviction' is accepted",
        }, AnyTime;
        /// Bytes of replies a client may leave unread before it is disconnected, by class (normal, replica, pubsub): at once, and for so
        /// many seconds on end; 0 sets no bound. Long before that its requests are not read any more.
        "client-output-buffer-limit" client_output_buffer_limit: OutputLimits =
            "normal 1gb 256mb 60 replica 256mb 64mb 60 pubsub 32mb 8mb 60", Kind::OutputLimits, AnyTime;
        /// Bytes of one request a client may send before it is disconnected.
        "client-query-buffer-limit" client_query_buffer_limit: u64 = "1gb", Kind::Memory { min: 1 << 20 }, AnyTime;
        /// Greatest length of one argument.
        "proto-max-bulk-len" proto_max_bulk_len: u64 = "512mb", Kind::Memory { min: 1 << 20 }, AnyTime;
    }
    Data {
        /// Number of databases.
        "databases" databases: u32 = "16", integer(1, i32::MAX as i64), AtStart;
        /// Bound of one chunk of a list: -1 to -5 for 4 to 64 kB, or a number of elements.
        "list-max-listpack-size" | "list-max-ziplist-size" list_max_listpack_size: i32 =
            "-2", integer(i32::MIN as i64, i32::MAX as i64), AnyTime;
        /// Bytes in one block of a stream, the unit of approximate trimming; 0 sets no bound.
        "stream-node-max-bytes" stream_node_max_bytes: u64 = "4096", MEMORY, AnyTime;
        /// Entries in one block of a stream; 0 sets no bound.
        "stream-node-max-entries" stream_node_max_entries: u64 = "100", LONG, AnyTime;
        /// Seconds for which a stream remembers the idempotent ids of a producer, unless XCFGSET says otherwise.
        "stream-idmp-duration" stream_idmp_duration: u32 = "100", integer(1, 86400), AnyTime;
        /// Number of idempotent ids that a stream remembers for a producer, unless XCFGSET says otherwise.
        "stream-idmp-maxsize" stream_idmp_maxsize: u32 = "100", integer(1, 10000), AnyTime;
        /// Which keyspace events are published, in Redis' letters: K and E say where, A means most of them; empty publishes none.
        "notify-keyspace-events" notify_keyspace_events: KeyspaceEvents = "", Kind::Events, AnyTime;
    }
    Operation {
        /// Number of event loops; 0 starts one for each core.
        "threads" threads: u32 = "0", integer(0, 1024), AtStart;
        /// Run in the background: always `no`.
        "daemonize" daemonize: Fixed = "no", Kind::Only {
            words: &["yes", "no"],
            word: "no",
            why: "Millstream stays in the foreground: only 'no' is accepted, use systemd or another supervisor",
        }, AtStart;
        /// How much is reported.
        "loglevel" loglevel: LogLevel = "notice", LogLevel::KIND, AnyTime;
        /// File for the reports; empty writes them to the standard output.
        "logfile" logfile: String = "", FILE, AtStart;
        /// What a report looks like; `auto` is for people on a terminal and JSON elsewhere.
        "log-format" log_format: LogFormat = "auto", LogFormat::KIND, AtStart;
        /// Microseconds from which on a command is recorded as slow, see SLOWLOG; 0 records all, -1 none.
        "slowlog-log-slower-than" slowlog_log_slower_than: i64 = "10000", integer(-1, i64::MAX), AnyTime;
        /// Number of slow commands that are kept.
        "slowlog-max-len" slowlog_max_len: u64 = "128", LONG, AnyTime;
        /// Milliseconds from which on an event is recorded for LATENCY; 0 records none.
        "latency-monitor-threshold" latency_monitor_threshold: u64 = "0", LONG, AnyTime;
        /// Keep how long each call of a command took, for INFO latencystats and LATENCY HISTOGRAM.
        "latency-tracking" latency_tracking: bool = "yes", YES_NO, AnyTime;
        /// Percentiles that INFO latencystats shows.
        "latency-tracking-info-percentiles" latency_tracking_info_percentiles: Percentiles = "50 99 99.9", Kind::Percentiles, AnyTime;
    }
    Compatibility {
        /// No effect: there are no snapshots, the log is the only file.
        "save" save: Fixed = "", Kind::SavePoints, AnyTime;
        /// No effect: there are no snapshots.
        "dbfilename" dbfilename: String = "dump.rdb", Kind::Name { option: "dbfilename", what: "filename" }, AtStart;
        /// No effect: there are no snapshots.
        "rdbcompression" rdbcompression: bool = "yes", YES_NO, AnyTime;
        /// No effect: there are no snapshots; every block of the log has a checksum.
        "rdbchecksum" rdbchecksum: bool = "yes", YES_NO, AtStart;
        /// No effect: there are no snapshots.
        "rdb-del-sync-files" rdb_del_sync_files: bool = "no", YES_NO, AnyTime;
        /// No effect: there are no snapshots.
        "rdb-save-incremental-fsync" rdb_save_incremental_fsync: bool = "yes", YES_NO, AnyTime;
        /// No effect: there are no snapshots.
        "stop-writes-on-bgsave-error" stop_writes_on_bgsave_error: bool = "yes", YES_NO, AnyTime;
        /// No effect: there is no RESTORE.
        "sanitize-dump-payload" sanitize_dump_payload: SanitizeDumpPayload = "no", SanitizeDumpPayload::KIND, AnyTime;
        /// No effect: the log is synced as appendfsync says, during a rewrite as well.
        "no-appendfsync-on-rewrite" no_appendfsync_on_rewrite: bool = "no", YES_NO, AnyTime;
        /// No effect: the log is written in commands only.
        "aof-use-rdb-preamble" aof_use_rdb_preamble: bool = "yes", YES_NO, AnyTime;
        /// No effect: every block of the log carries its time.
        "aof-timestamp-enabled" aof_timestamp_enabled: bool = "no", YES_NO, AnyTime;
        /// No effect: a rewrite is paced by itself.
        "aof-rewrite-incremental-fsync" aof_rewrite_incremental_fsync: bool = "yes", YES_NO, AnyTime;
        /// No effect: no file with the process id is written.
        "pidfile" pidfile: String = "", FILE, AtStart;
        /// No effect: readiness is reported to whichever supervisor asks for it.
        "supervised" supervised: Supervised = "no", Supervised::KIND, AtStart;
        /// No effect: there is no logo.
        "always-show-logo" always_show_logo: bool = "no", YES_NO, AtStart;
        /// No effect: the process title is left alone.
        "set-proc-title" set_proc_title: bool = "yes", YES_NO, AtStart;
        /// No effect: the process title is left alone.
        "proc-title-template" proc_title_template: String =
            "{title} {listen-addr} {server-mode}", Kind::Text { hint: "TEXT" }, AnyTime;
        /// No effect: see `threads`.
        "io-threads" io_threads: u32 = "1", integer(1, 128), AtStart;
        /// No effect: work that is due is done when it is due.
        "hz" hz: u32 = "10", Kind::Clamped { min: 1, max: 500 }, AnyTime;
        /// No effect: see `hz`.
        "dynamic-hz" dynamic_hz: bool = "yes", YES_NO, AnyTime;
        /// No effect: expired keys are removed as they expire.
        "active-expire-effort" active_expire_effort: u32 = "1", integer(1, 10), AnyTime;
        /// No effect: the hash tables rehash by themselves.
        "activerehashing" activerehashing: bool = "yes", YES_NO, AnyTime;
        /// No effect: nothing is evicted.
        "lazyfree-lazy-eviction" lazyfree_lazy_eviction: bool = "no", YES_NO, AnyTime;
        /// No effect: values are freed at once, in blocks: a million elements within about a millisecond.
        "lazyfree-lazy-expire" lazyfree_lazy_expire: bool = "no", YES_NO, AnyTime;
        /// No effect: values are freed at once, in blocks: a million elements within about a millisecond.
        "lazyfree-lazy-server-del" lazyfree_lazy_server_del: bool = "no", YES_NO, AnyTime;
        /// No effect: values are freed at once, in blocks: a million elements within about a millisecond.
        "lazyfree-lazy-user-del" lazyfree_lazy_user_del: bool = "no", YES_NO, AnyTime;
        /// No effect: keys are freed before the reply.
        "lazyfree-lazy-user-flush" lazyfree_lazy_user_flush: bool = "no", YES_NO, AnyTime;
        /// No effect: nothing is evicted.
        "maxmemory-samples" maxmemory_samples: u32 = "5", integer(1, 64), AnyTime;
        /// No effect: nothing is evicted.
        "maxmemory-eviction-tenacity" maxmemory_eviction_tenacity: u32 = "10", integer(0, 100), AnyTime;
        /// No effect: see `client-output-buffer-limit`.
        "maxmemory-clients" maxmemory_clients: MemoryOrPercent = "0", Kind::MemoryOrPercent, AnyTime;
        /// No effect: nothing is evicted.
        "lfu-log-factor" lfu_log_factor: u32 = "10", INT, AnyTime;
        /// No effect: nothing is evicted.
        "lfu-decay-time" lfu_decay_time: u32 = "1", INT, AnyTime;
        /// No effect: another allocator is used.
        "jemalloc-bg-thread" jemalloc_bg_thread: bool = "yes", YES_NO, AnyTime;
        /// No effect: the score is left to the supervisor.
        "oom-score-adj" oom_score_adj: OomScoreAdj = "no", OomScoreAdj::KIND, AnyTime;
        /// No effect: the score is left to the supervisor.
        "oom-score-adj-values" oom_score_adj_values: Vec<String> = "0 200 800", Kind::Words { hint: "NUMBER..." }, AnyTime;
        /// No effect: nothing is forked, so huge pages do no harm.
        "disable-thp" disable_thp: bool = "yes", YES_NO, AtStart;
        /// No effect: a panic is always reported.
        "crash-log-enabled" crash_log_enabled: bool = "yes", YES_NO, AnyTime;
        /// No effect: inner chunks of a list are not compressed.
        "list-compress-depth" list_compress_depth: u32 = "0", INT, AnyTime;
        /// No effect: hashes have one representation.
        "hash-max-listpack-entries" | "hash-max-ziplist-entries" hash_max_listpack_entries: u64 = "512", Kind::Unsigned, AnyTime;
        /// No effect: hashes have one representation.
        "hash-max-listpack-value" | "hash-max-ziplist-value" hash_max_listpack_value: u64 = "64", MEMORY, AnyTime;
        /// No effect: sets have one representation.
        "set-max-intset-entries" set_max_intset_entries: u64 = "512", Kind::Unsigned, AnyTime;
        /// No effect: sets have one representation.
        "set-max-listpack-entries" set_max_listpack_entries: u64 = "128", Kind::Unsigned, AnyTime;
        /// No effect: sets have one representation.
        "set-max-listpack-value" set_max_listpack_value: u64 = "64", LONG, AnyTime;
        /// No effect: sorted sets have one representation.
        "zset-max-listpack-entries" | "zset-max-ziplist-entries" zset_max_listpack_entries: u64 = "128", Kind::Unsigned, AnyTime;
        /// No effect: sorted sets have one representation.
        "zset-max-listpack-value" | "zset-max-ziplist-value" zset_max_listpack_value: u64 = "64", LONG, AnyTime;
        /// No effect: there are no HyperLogLogs.
        "hll-sparse-max-bytes" hll_sparse_max_bytes: u64 = "3000", MEMORY, AnyTime;
        /// No effect: there are no scripts that could be busy.
        "busy-reply-threshold" | "lua-time-limit" busy_reply_threshold: u64 = "5000", LONG, AnyTime;
        /// No effect: DEBUG offers nothing that is dangerous.
        "enable-debug-command" enable_debug_command: DebugCommands = "no", DebugCommands::KIND, AtStart;
        /// No effect: there is no table of tracked keys.
        "tracking-table-max-keys" tracking_table_max_keys: u64 = "1000000", Kind::Unsigned, AnyTime;
        /// No effect: sessions are forgotten by number, not by age.
        "tls-session-cache-timeout" tls_session_cache_timeout: u32 = "300", INT, AnyTime;
        /// No effect: key exchange is by elliptic curves only.
        "tls-dh-params-file" tls_dh_params_file: String = "", FILE, AnyTime;
        /// No effect: there is no cluster; `yes` is refused.
        "cluster-enabled" cluster_enabled: Fixed = "no", Kind::Only {
            words: &["yes", "no"],
            word: "no",
            why: "Millstream is a single server: only 'no' is accepted",
        }, AtStart;
        /// No effect: there are no replicas.
        "replica-serve-stale-data" | "slave-serve-stale-data" replica_serve_stale_data: bool = "yes", YES_NO, AnyTime;
        /// No effect: there are no replicas.
        "replica-read-only" | "slave-read-only" replica_read_only: bool = "yes", YES_NO, AnyTime;
        /// No effect: there are no replicas.
        "replica-lazy-flush" | "slave-lazy-flush" replica_lazy_flush: bool = "no", YES_NO, AnyTime;
        /// No effect: there are no replicas.
        "replica-priority" | "slave-priority" replica_priority: u32 = "100", INT, AnyTime;
        /// No effect: there are no replicas.
        "repl-diskless-sync" repl_diskless_sync: bool = "yes", YES_NO, AnyTime;
        /// No effect: there are no replicas.
        "repl-diskless-sync-delay" repl_diskless_sync_delay: u32 = "5", INT, AnyTime;
        /// No effect: there are no replicas.
        "repl-diskless-sync-max-replicas" repl_diskless_sync_max_replicas: u32 = "0", INT, AnyTime;
        /// No effect: there are no replicas.
        "repl-diskless-load" repl_diskless_load: ReplDisklessLoad = "disabled", ReplDisklessLoad::KIND, AnyTime;
        /// No effect: there are no replicas.
        "repl-disable-tcp-nodelay" repl_disable_tcp_nodelay: bool = "no", YES_NO, AnyTime;
        /// No effect: there are no replicas.
        "repl-backlog-size" repl_backlog_size: u64 = "1mb", Kind::Memory { min: 1 }, AnyTime;
        /// No effect: there are no replicas.
        "repl-timeout" repl_timeout: u32 = "60", integer(1, i32::MAX as i64), AnyTime;
        /// No effect: there are no replicas.
        "min-replicas-to-write" | "min-slaves-to-write" min_replicas_to_write: u32 = "0", INT, AnyTime;
        /// No effect: there are no replicas.
        "min-replicas-max-lag" | "min-slaves-max-lag" min_replicas_max_lag: u32 = "10", INT, AnyTime;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn names_are_unique_and_shaped_alike() {
        let mut seen = BTreeSet::new();
        for name in OPTIONS.iter().flat_map(ConfigOption::names) {
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert_eq!(
                option(&name.to_uppercase()).unwrap().names().find(|known| *known == name),
                Some(name)
            );
        }
        for (name, field) in FIELDS {
            assert_eq!(name.replace('-', "_"), *field);
        }
    }

    #[test]
    fn help_is_a_sentence_and_honest() {
        for option in OPTIONS {
            let help = option.help();
            assert!(help.ends_with('.') && help.starts_with(char::is_uppercase), "{}: {help}", option.name);
            assert_eq!(
                help.starts_with("No effect: "),
                option.group == Group::Compatibility,
                "{}",
                option.name
            );
        }
    }

    /// What an option shows, it accepts, and shows again.
    #[track_caller]
    fn round_trip(option: &ConfigOption, argument: &str) -> Result<(), String> {
        let mut settings = Settings::default();
        option.assign(&mut settings, &[argument])?;
        let text = option.text(&settings);
        let mut again = Settings::default();
        option.assign(&mut again, &[&text]).unwrap();
        assert_eq!(again, settings, "{} {argument:?}", option.name);
        assert_eq!(option.text(&again), text, "{} {argument:?}", option.name);
        Ok(())
    }

    #[test]
    fn every_option_round_trips() {
        for option in OPTIONS {
            round_trip(option, option.default).unwrap();
            // Bounds must fit the field's type, or they would not be bounds.
            let samples: Vec<String> = match option.kind {
                Kind::Integer { min, max } => vec![min.to_string(), max.to_string()],
                Kind::Clamped { max, .. } => vec!["0".into(), max.to_string()],
                Kind::Unsigned => vec!["0".into(), i64::MAX.to_string()],
                Kind::Memory { min } => vec![min.to_string(), i64::MAX.to_string(), "3gb".into()],
                Kind::MemoryOrPercent => vec!["1kb".into(), "100%".into()],
                Kind::YesNo => vec!["yes".into(), "NO".into()],
                Kind::Choice { words, .. } => words.iter().map(|word| (*word).to_owned()).collect(),
                Kind::Permissions => vec!["777".into(), "0".into()],
                Kind::Text { .. } | Kind::Secret => vec!["a b \"c\"".into(), String::new()],
                Kind::Percentiles => vec!["0 50.5 100".into(), String::new()],
                Kind::Words { .. } => vec!["a b".into(), String::new()],
                Kind::Addresses => vec!["* -::*".into(), String::new()],
                Kind::OutputLimits => vec!["normal 1kb 2mb 3 pubsub 0 0 0".into()],
                Kind::Events => vec!["KEA".into(), "AKnocm".into(), "lst".into()],
                Kind::Name { .. } => vec!["name".into()],
                Kind::SavePoints => vec!["900 1 300 10".into(), String::new()],
                Kind::Only { word, .. } => vec![word.to_uppercase()],
            };
            for sample in samples {
                round_trip(option, &sample)
                    .unwrap_or_else(|reason| panic!("{} {sample:?}: {reason}", option.name));
            }
            // Whatever else is tried either works the same way or is refused.
            for sample in ["", "0", "-1", "1x", "yes", "a b", "é", "\n", "99999999999999999999999"] {
                let _ = round_trip(option, sample);
            }
        }
    }

    #[test]
    fn only_lists_take_several_arguments() {
        let mut settings = Settings::default();
        let two = ["127.0.0.1", "::1 ::2"];
        option("bind").unwrap().assign(&mut settings, &two).unwrap();
        assert_eq!(option("bind").unwrap().text(&settings), "127.0.0.1 ::1 ::2");
        for arguments in [&["1", "2"][..], &[]] {
            let refusal = option("port").unwrap().assign(&mut settings, arguments);
            assert_eq!(refusal.unwrap_err(), "wrong number of arguments");
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let mut settings = Settings::default();
        for option in OPTIONS.iter().filter(|option| option.is_secret()) {
            option.assign(&mut settings, &["hunter2"]).unwrap();
        }
        assert!(!format!("{settings:?} {settings:#?}").contains("hunter2"));
    }

    /// `CONFIG GET *` of a redis-server 8.2.3 without a configuration file.
    const REDIS_DEFAULTS: &str = include_str!("../../tests/data/config-redis-8.2.3.txt");

    #[test]
    fn defaults_are_those_of_redis() {
        let different = BTreeMap::from([
            ("appendfsync", "a reply means that the bytes are on disk"),
            ("appendonly", "the log is always kept"),
            ("bind", "as in the redis.conf that comes with Redis, not as without any"),
            ("client-output-buffer-limit", "a client that does not read must not take all memory"),
            ("dir", "the data have a directory of their own"),
            ("save", "there are no snapshots"),
        ]);
        let settings = Settings::default();
        let redis: BTreeMap<&str, &str> =
            REDIS_DEFAULTS.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
        let mut ours_only = Vec::new();
        for option in OPTIONS {
            for name in option.names() {
                match redis.get(name) {
                    Some(default) => {
                        assert_eq!(
                            option.text(&settings) == *default,
                            !different.contains_key(name),
                            "{name}"
                        );
                    }
                    None => ours_only.push(name),
                }
            }
        }
        // Newer than 8.2.3, except for `threads` and `log-format`, which are our own.
        assert_eq!(
            ours_only,
            [
                "tls-auth-clients-user",
                "disk-reserve",
                "stream-idmp-duration",
                "stream-idmp-maxsize",
                "threads",
                "log-format"
            ]
        );
    }
}
