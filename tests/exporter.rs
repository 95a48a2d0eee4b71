//! Debian's `prometheus-redis-exporter` scrapes the server without an error. `tools/test` fetches it; without it the test
//! says SKIPPED.
#![expect(clippy::disallowed_methods, reason = "a test drives a real program")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::server::{Program, Server, free_port};

/// Ends with the test.
struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_exporter_finds_what_it_looks_for() {
    let Some(exporter) = std::env::var_os("MILLSTREAM_EXPORTER") else {
        support::skipped("the_exporter_finds_what_it_looks_for", "MILLSTREAM_EXPORTER names no program");
        return;
    };
    let server = Server::start(Program::Millstream);
    let mut client = server.connect();
    for command in [
        "SET text hello",
        "GET text",
        "GET none",
        "RPUSH queue a b c",
        "XADD stream * f v",
        "XGROUP CREATE stream workers 0",
        "XREADGROUP GROUP workers one STREAMS stream >",
        "CONFIG SET slowlog-log-slower-than 0",
        "PING",
    ] {
        client.run(command);
    }
    let port = free_port();
    let exporter = Command::new(exporter)
        .args(["-redis.addr", &format!("redis://127.0.0.1:{}", server.port())])
        .args(["-web.listen-address", &format!("127.0.0.1:{port}")])
        .args(["-check-keys", "db0=queue,db0=text", "-check-streams", "db0=stream", "-count-keys", "db0=*"])
        .args(["-include-system-metrics", "-export-client-list", "-include-config-metrics"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the exporter runs");
    let _exporter = Exporter(exporter);
    let metrics = scrape(port);
    for line in [
        "redis_up 1",
        "redis_exporter_last_scrape_error{err=\"\"} 0",
        "redis_blocked_clients 0",
        // A read of a string, and one for a group, which looks at the stream twice, as in Redis.
        "redis_keyspace_hits_total 3",
        "redis_keyspace_misses_total 1",
        "redis_db_keys{db=\"db0\"} 3",
        "redis_key_size{db=\"db0\",key=\"queue\"} 3",
        "redis_stream_length{db=\"db0\",stream=\"stream\"} 1",
        "redis_stream_group_consumers{db=\"db0\",group=\"workers\",stream=\"stream\"} 1",
        "redis_stream_group_messages_pending{db=\"db0\",group=\"workers\",stream=\"stream\"} 1",
        "redis_config_maxclients 10000",
        "redis_aof_enabled 1",
        "redis_rdb_last_bgsave_status 1",
        "redis_commands_total{cmd=\"get\"} 2",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line} is missing in:\n{metrics}");
    }
    for name in [
        "redis_commands_duration_seconds_total{cmd=\"get\"} ",
        "redis_slowlog_length ",
        "redis_slowlog_last_id ",
        "redis_memory_used_bytes ",
        "redis_memory_used_dataset_bytes ",
        "redis_mem_fragmentation_ratio ",
        "redis_uptime_in_seconds ",
        "redis_instance_info{",
    ] {
        assert!(metrics.lines().any(|known| known.starts_with(name)), "{name} is missing in:\n{metrics}");
    }
}

/// What the exporter says, once it listens.
fn scrape(port: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request is sent");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("an answer comes");
            return text;
        }
        assert!(Instant::now() < deadline, "the exporter does not listen");
        thread::sleep(Duration::from_millis(20));
    }
}
