//! TLS: who is let in and who is not, certificates that change, peers that are slow, silent, rude or gone.
#![expect(clippy::disallowed_methods, reason = "a test writes files, waits and looks at the time")]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::directory::Directory;
use support::reply::Reply;
use support::server::{Program, Server, free_port};

/// An authority and the certificates it has issued, as files.
struct Authority {
    directory: Directory,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let directory = Directory::new();
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(directory.path().join("ca.crt"), certificate.pem()).expect("a file");
        Authority { directory, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("paths of tests are text").to_owned()
    }

    /// Issues `name.crt` and `name.key`, valid from one year to another.
    fn issue(&self, name: &str, years: (i32, i32)) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(years.0, 1, 1), rcgen::date_time_ymd(years.1, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(self.path(&format!("{name}.crt")), certificate.pem()).expect("a file");
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("a file");
    }

    /// A client that trusts the authority and shows this certificate of another, or none.
    fn client(&self, certificate: Option<(&Authority, &str)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.crt")).expect("our own")).expect("our own");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("defaults")
            .with_root_certificates(roots);
        Arc::new(match certificate {
            None => builder.with_no_client_auth(),
            Some((authority, name)) => {
                let chain = vec![
                    CertificateDer::from_pem_file(authority.path(&format!("{name}.crt")))
                        .expect("issued before"),
                ];
                let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{name}.key")))
                    .expect("issued before");
                builder.with_client_auth_cert(chain, key).expect("they belong together")
            }
        })
    }
}

const VALID: (i32, i32) = (2020, 2400);

/// A server with a TLS port, and the authority that vouches for it.
struct Stage {
    authority: Authority,
    server: Server,
    port: u16,
}

impl Stage {
    fn new(options: &[&str]) -> Stage {
        let authority = Authority::new();
        authority.issue("server", VALID);
        let port = free_port();
        let (crt, key, ca) =
            (authority.text("server.crt"), authority.text("server.key"), authority.text("ca.crt"));
        let port_text = port.to_string();
        let mut all = vec!["--tls-port", &port_text, "--tls-cert-file", &crt, "--tls-key-file", &key];
        all.extend(["--tls-ca-cert-file", &ca]);
        all.extend(options);
        let server = Server::start_with(Program::Millstream, &all);
        Stage { authority, server, port }
    }

    /// A client without a certificate.
    fn anonymous(&self) -> Arc<ClientConfig> {
        self.authority.client(None)
    }

    fn connect(&self, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let name = ServerName::try_from("localhost").expect("a name");
        StreamOwned::new(ClientConnection::new(Arc::clone(config), name).expect("a client"), socket)
    }

    /// What `PING` over a new connection comes to.
    fn ping(&self, config: &Arc<ClientConfig>) -> Result<String, String> {
        let mut stream = self.connect(config);
        stream.write_all(b"PING\r\n").map_err(|error| error.to_string())?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

const PONG: &str = "+PONG\r\n";

#[test]
fn a_client_is_served() {
    let stage = Stage::new(&["--tls-auth-clients", "no"]);
    assert_eq!(stage.ping(&stage.anonymous()).as_deref(), Ok(PONG));
    // One that does not know the authority does not trust the server.
    let stranger = Authority::new();
    assert!(stage.ping(&stranger.client(None)).is_err_and(|why| why.contains("invalid peer certificate")));
    // Nothing is wrong with the plain port.
    assert_eq!(stage.server.connect().call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn clients_must_show_a_certificate_of_ours_that_is_valid() {
    let stage = Stage::new(&[]);
    stage.authority.issue("good", VALID);
    stage.authority.issue("old", (2020, 2021));
    stage.authority.issue("early", (2390, 2400));
    let stranger = Authority::new();
    stranger.issue("foreign", VALID);
    let client = |authority: &Authority, name: &str| stage.authority.client(Some((authority, name)));
    assert_eq!(stage.ping(&client(&stage.authority, "good")).as_deref(), Ok(PONG));
    for (authority, name) in [(&stage.authority, "old"), (&stage.authority, "early"), (&stranger, "foreign")]
    {
        assert!(stage.ping(&client(authority, name)).is_err(), "{name}");
    }
    assert!(stage.ping(&stage.anonymous()).is_err_and(|why| why.contains("CertificateRequired")));

    let mut admin = stage.server.connect();
    assert_eq!(admin.call(&["CONFIG", "SET", "tls-auth-clients", "optional"]), Reply::Simple(b"OK".to_vec()));
    assert_eq!(stage.ping(&stage.anonymous()).as_deref(), Ok(PONG));
    assert_eq!(stage.ping(&client(&stage.authority, "good")).as_deref(), Ok(PONG));
    assert!(stage.ping(&client(&stranger, "foreign")).is_err(), "a wrong one is worse than none");
}

#[test]
fn a_certificate_can_say_who_its_client_is() {
    let stage = Stage::new(&["--tls-auth-clients-user", "CN"]);
    for name in ["worker", "retired", "nobody"] {
        stage.authority.issue(name, VALID);
    }
    let mut admin = stage.server.connect();
    admin.run("ACL SETUSER worker on ~jobs* +@list +acl|whoami");
    admin.run("ACL SETUSER retired off allkeys +@all");
    let whoami = |name: &str| {
        let mut stream = stage.connect(&stage.authority.client(Some((&stage.authority, name))));
        stream.write_all(b"ACL WHOAMI\r\nGET s\r\nQUIT\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert!(whoami("worker").starts_with("$6\r\nworker\r\n-NOPERM User worker has no permissions to run"));
    assert!(whoami("nobody").starts_with("$7\r\ndefault\r\n$-1\r\n"));
    admin.run("ACL SETUSER default resetpass >x");
    for name in ["retired", "nobody"] {
        assert!(whoami(name).starts_with("-NOAUTH Authentication required.\r\n"), "{name}");
    }
    assert!(whoami("worker").starts_with("$6\r\nworker\r\n"));
}

#[test]
fn certificates_change_while_connections_stay() {
    let stage = Stage::new(&["--tls-auth-clients", "no"]);
    let before = stage.anonymous();
    let mut kept = stage.connect(&before);
    kept.write_all(b"PING\r\n").expect("a request");

    // Another authority has issued another certificate, in the same files.
    let other = Authority::new();
    other.issue("server", VALID);
    for name in ["server.crt", "server.key"] {
        fs::copy(other.path(name), stage.authority.path(name)).expect("a copy");
    }
    let key = stage.authority.text("server.key");
    let mut admin = stage.server.connect();
    assert_eq!(admin.call(&["CONFIG", "SET", "tls-key-file", &key]), Reply::Simple(b"OK".to_vec()));
    assert_eq!(stage.ping(&other.client(None)).as_deref(), Ok(PONG));
    assert!(stage.ping(&before).is_err(), "the old certificate is gone");

    let mut answer = [0; 7];
    kept.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, PONG.as_bytes());

    // Files that will not do change nothing.
    fs::write(stage.authority.path("server.crt"), "nonsense").expect("a file");
    let Reply::Error(why) = admin.call(&["CONFIG", "SET", "tls-key-file", &key]) else {
        panic!("nonsense is taken")
    };
    let why = String::from_utf8_lossy(&why).into_owned();
    assert!(
        why.starts_with("ERR CONFIG SET failed (possibly related to argument 'tls-key-file') - "),
        "{why}"
    );
    assert!(why.contains("server.crt: there is no certificate in PEM form"), "{why}");
    assert_eq!(stage.ping(&other.client(None)).as_deref(), Ok(PONG));
}

#[test]
fn large_replies_arrive_whole_and_wait_for_a_slow_reader() {
    let stage = Stage::new(&["--tls-auth-clients", "no"]);
    let mut stream = stage.connect(&stage.anonymous());
    let value = vec![b'x'; 8 << 20];
    stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8388608\r\n").expect("a request");
    stream.write_all(&value).expect("a request");
    stream.write_all(b"\r\nGET k\r\nGET k\r\nGET k\r\nPING\r\n").expect("a request");
    let mut admin = stage.server.connect();
    // Meanwhile nobody else waits for it.
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    admin.call(&["PING"]);
    assert!(asked.elapsed() < Duration::from_secs(1));
    let mut expected = b"+OK\r\n".to_vec();
    for _ in 0..3 {
        expected.extend_from_slice(b"$8388608\r\n");
        expected.extend_from_slice(&value);
        expected.extend_from_slice(b"\r\n");
    }
    expected.extend_from_slice(b"+PONG\r\n");
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).expect("all of it");
    assert!(answer == expected);
}

#[test]
fn a_blocked_client_is_served_and_quit_says_goodbye() {
    let stage = Stage::new(&["--tls-auth-clients", "no"]);
    let mut stream = stage.connect(&stage.anonymous());
    stream.write_all(b"BLPOP q 0\r\n").expect("a request");
    stream.flush().expect("a request");
    let mut admin = stage.server.connect();
    while !admin.run("CLIENT LIST").to_string().contains("cmd=blpop") {
        std::thread::sleep(Duration::from_millis(5));
    }
    admin.call(&["RPUSH", "q", "a"]);
    stream.write_all(b"QUIT\r\n").expect("a request");
    let mut answer = Vec::new();
    // An end without a goodbye would be an error here.
    stream.read_to_end(&mut answer).expect("an end in order");
    assert_eq!(String::from_utf8_lossy(&answer), "*2\r\n$1\r\nq\r\n$1\r\na\r\n+OK\r\n");
}

#[test]
fn plain_text_and_noise_on_the_tls_port_are_turned_away() {
    let mut stage = Stage::new(&["--tls-auth-clients", "no"]);
    let noise: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let hello = [&[0x16, 3, 1, 0x3f, 0xff][..], &noise].concat();
    for bytes in [&b"PING\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &noise, &hello, &[0x16, 3, 1, 0xff, 0xff]] {
        let mut socket = TcpStream::connect(("127.0.0.1", stage.port)).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let _ = socket.write_all(bytes);
        let mut answer = Vec::new();
        match socket.read_to_end(&mut answer) {
            // An alert at most, and never an answer.
            Ok(_) => assert!(answer.len() < 16, "{answer:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    assert!(stage.server.is_running());
    assert_eq!(stage.ping(&stage.anonymous()).as_deref(), Ok(PONG));
}

#[test]
fn slow_handshakes_are_counted_killed_and_ended() {
    let many = if support::long_form() { 1000 } else { 300 };
    let stage = Stage::new(&["--tls-auth-clients", "no"]);
    let started = Instant::now();
    let slow: Vec<TcpStream> = (0..many)
        .map(|_| {
            let mut socket = TcpStream::connect(("127.0.0.1", stage.port)).expect("the server listens");
            socket.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1]).expect("the start of a greeting");
            socket
        })
        .collect();
    let mut admin = stage.server.connect();
    let connected = |admin: &mut support::connection::Connection| {
        admin.run("CLIENT LIST").to_string().matches("laddr=").count()
    };
    while connected(&mut admin) <= many {
        assert!(started.elapsed() < Duration::from_secs(9), "not all were let in");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Others are served meanwhile.
    let asked = Instant::now();
    assert_eq!(stage.ping(&stage.anonymous()).as_deref(), Ok(PONG));
    assert!(asked.elapsed() < Duration::from_secs(2));
    // They can be killed in the middle of it.
    let address = slow[0].local_addr().expect("an address").to_string();
    assert_eq!(admin.call(&["CLIENT", "KILL", "ADDR", &address]), Reply::Integer(1));
    let mut first = &slow[0];
    first.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let mut rest = Vec::new();
    let _ = first.read_to_end(&mut rest);
    // And after a while they are all gone by themselves.
    while connected(&mut admin) > 1 {
        assert!(started.elapsed() < Duration::from_secs(20), "a handshake takes ten seconds at most");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(started.elapsed() > Duration::from_secs(9));
}

#[test]
fn a_server_that_cannot_speak_tls_does_not_start() {
    let authority = Authority::new();
    authority.issue("a", VALID);
    authority.issue("b", VALID);
    let [a, b_key, ca] = ["a.crt", "b.key", "ca.crt"].map(|name| authority.text(name));
    let a_key = authority.text("a.key");
    let data = authority.text("data");
    let first_version =
        ["crt", "key"].map(|ending| format!("{}/tests/data/version-1.{ending}", env!("CARGO_MANIFEST_DIR")));
    for (options, why) in [
        (
            vec![
                "--tls-cert-file",
                &first_version[0],
                "--tls-key-file",
                &first_version[1],
                "--tls-auth-clients",
                "no",
            ],
            "only version 3 is accepted",
        ),
        (vec![], "tls-cert-file must be set"),
        (vec!["--tls-cert-file", &a], "tls-key-file must be set"),
        (vec!["--tls-cert-file", &a, "--tls-key-file", "/nonexistent"], "cannot read /nonexistent"),
        (vec!["--tls-cert-file", &a, "--tls-key-file", &a], "there is no private key in PEM form"),
        (
            vec!["--tls-cert-file", &a, "--tls-key-file", &a_key],
            "tls-ca-cert-file or tls-ca-cert-dir must name",
        ),
        (vec!["--tls-cert-file", &a, "--tls-key-file", &b_key, "--tls-auth-clients", "no"], "b.key"),
        (
            vec![
                "--tls-cert-file",
                &a,
                "--tls-key-file",
                &a_key,
                "--tls-ca-cert-file",
                &ca,
                "--tls-key-file-pass",
                "hush",
            ],
            "encrypted keys are not supported",
        ),
        (
            vec![
                "--tls-cert-file",
                &a,
                "--tls-key-file",
                &a_key,
                "--tls-ca-cert-file",
                &ca,
                "--tls-protocols",
                "TLSv1.1",
            ],
            "not offered",
        ),
    ] {
        let output = Command::new(Program::Millstream.path().expect("our own program"))
            .args(["--port", "0", "--tls-port", &free_port().to_string(), "--dir", &data])
            .args(&options)
            .output()
            .expect("it runs");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{options:?}: {said}");
        assert!(said.contains(why), "{options:?}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn old_and_new_versions_are_spoken_by_openssl_and_redis_cli() {
    let stage = Stage::new(&["--tls-ca-cert-dir", "", "--tls-auth-clients", "yes"]);
    stage.authority.issue("client", VALID);
    let [ca, crt, key] = ["ca.crt", "client.crt", "client.key"].map(|name| stage.authority.text(name));
    let port = stage.port.to_string();
    let cli = |with: &[&str]| {
        let output = Command::new("redis-cli")
            .args(["-p", &port, "--tls", "--sni", "localhost", "--cacert", &ca])
            .args(with)
            .arg("PING")
            .output()
            .expect("redis-cli is there");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(cli(&["--cert", &crt, "--key", &key]), "PONG");
    assert_ne!(cli(&[]), "PONG");
    for (version, wanted) in [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1", false)] {
        let script = format!(
            "printf 'PING\\r\\nQUIT\\r\\n' | openssl s_client -connect 127.0.0.1:{port} -CAfile {ca} -cert {crt} -key {key} \
             -ign_eof -quiet {version} 2>/dev/null"
        );
        let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
        assert_eq!(output.stdout.starts_with(b"+PONG\r\n+OK\r\n"), wanted, "{version}: {output:?}");
    }
}

#[test]
fn redis_py_works_over_tls() {
    let Some(python) = std::env::var_os("MILLSTREAM_PYTHON") else {
        support::skipped("redis_py_works_over_tls", "MILLSTREAM_PYTHON names no program");
        return;
    };
    let stage = Stage::new(&["--tls-auth-clients", "yes"]);
    stage.authority.issue("client", VALID);
    let [ca, crt, key] = ["ca.crt", "client.crt", "client.key"].map(|name| stage.authority.text(name));
    let script = format!(
        "import redis\n\
         r = redis.Redis(host='localhost', port={}, ssl=True, ssl_ca_certs={ca:?}, ssl_certfile={crt:?}, ssl_keyfile={key:?}, \
         protocol=3)\n\
         assert r.ping()\n\
         r.rpush('jobs', *[b'x' * 1000] * 2000)\n\
         assert len(r.lrange('jobs', 0, -1)) == 2000\n\
         p = r.pipeline(transaction=True)\n\
         for i in range(500): p.lpop('jobs')\n\
         assert p.execute() == [b'x' * 1000] * 500\n\
         assert r.blpop('jobs', 1)[1] == b'x' * 1000\n\
         print('fine')\n",
        stage.port
    );
    let output = Command::new(python).args(["-c", &script]).output().expect("python runs");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "fine",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
