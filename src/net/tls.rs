//! TLS: what makes it up, and one connection's share of it.
//!
//! rustls knows the protocol and touches no socket; the bytes go through the same non-blocking reads and writes as
//! those of any other connection. A handshake is a part of reading, so it costs a loop what it computes and nothing
//! while the peer is slow. What a connection holds back is bounded: rustls buffers at most 64 KiB in each direction.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp;

use super::certificate::common_name;
use crate::config::{Settings, TlsAuthClients};

/// How new TLS connections are made. Taken for reading when one is accepted, for writing when certificates change.
#[derive(Debug, Default)]
pub struct Tls(RwLock<Option<Arc<ServerConfig>>>);

impl Tls {
    /// Makes new connections as these settings say, from the files they name as those are now. Connections that
    /// there are stay as they are.
    ///
    /// # Errors
    /// What is wrong with the settings or the files; then everything stays as it was.
    pub fn renew(&self, settings: &Settings) -> Result<(), String> {
        let config = if settings.tls_port == 0 { None } else { Some(Arc::new(server_config(settings)?)) };
        *self.0.write() = config;
        Ok(())
    }

    /// The server's side of a new connection.
    pub(super) fn accept(&self) -> io::Result<ServerConnection> {
        let config = self.0.read().clone().ok_or(ErrorKind::Unsupported)?;
        ServerConnection::new(config).map_err(io::Error::other)
    }
}

/// A connection's TLS state and the socket that it writes to; shared by both halves of the connection.
pub(super) struct TlsSession {
    socket: tcp::OwnedWriteHalf,
    protocol: RefCell<ServerConnection>,
}

impl TlsSession {
    pub(super) fn new(socket: tcp::OwnedWriteHalf, protocol: ServerConnection) -> Rc<TlsSession> {
        Rc::new(TlsSession { socket, protocol: RefCell::new(protocol) })
    }

    pub(super) fn socket(&self) -> &tcp::OwnedWriteHalf {
        &self.socket
    }

    /// Whether the two sides have not agreed on keys yet.
    pub(super) fn is_handshaking(&self) -> bool {
        self.protocol.borrow().is_handshaking()
    }

    /// Whom the peer's certificate names, if it has shown one.
    fn peer_name(&self) -> Option<String> {
        let protocol = self.protocol.borrow();
        let certificate = protocol.peer_certificates()?.first()?;
        common_name(certificate).map(str::to_owned)
    }

    /// Whether bytes that were taken have not been handed to the socket.
    pub(super) fn holds_back(&self) -> bool {
        self.protocol.borrow().wants_write()
    }

    /// Takes some of the bytes if the socket takes those that were taken before. With no bytes given, sees to the
    /// latter only.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut protocol = self.protocol.borrow_mut();
        if !self.flush(&mut protocol)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = protocol.writer().write(bytes)?;
        self.flush(&mut protocol)?;
        Ok(taken)
    }

    /// Says that nothing more will come, if the socket takes that.
    pub(super) fn say_goodbye(&self) {
        let mut protocol = self.protocol.borrow_mut();
        protocol.send_close_notify();
        // A peer that is gone needs no goodbye.
        let _ = self.flush(&mut protocol);
    }

    /// Hands the socket what it takes. Returns whether that was everything.
    fn flush(&self, protocol: &mut ServerConnection) -> io::Result<bool> {
        while protocol.wants_write() {
            match protocol.write_tls(&mut Socket(&self.socket)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes in bytes from the socket and returns how many plain ones they made, in `plain`, which has room for
    /// what was read and one record. `Ok(None)` when the peer has said that nothing more will come.
    fn take_in(&self, mut sealed: &[u8], plain: &mut [u8]) -> io::Result<Option<usize>> {
        let mut protocol = self.protocol.borrow_mut();
        let mut filled = 0;
        let mut ended = false;
        while !sealed.is_empty() && !ended {
            protocol.read_tls(&mut sealed)?;
            if let Err(error) = protocol.process_new_packets() {
                // The peer is told why, as far as it listens.
                let _ = self.flush(&mut protocol);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            loop {
                match protocol.reader().read(&mut plain[filled..]) {
                    Ok(0) => {
                        ended = true;
                        break;
                    }
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        self.flush(&mut protocol)?;
        Ok(if ended && filled == 0 { None } else { Some(filled) })
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The half of a TLS connection that is read from.
#[derive(Debug)]
pub(super) struct TlsReader {
    pub(super) socket: tcp::OwnedReadHalf,
    pub(super) session: Rc<TlsSession>,
    /// The peer has said that nothing more will come.
    pub(super) ended: bool,
    /// Whether it has been asked whom the peer's certificate names.
    pub(super) asked: bool,
}

impl TlsReader {
    /// Whom the peer's certificate names; asked for once, when something has been read.
    pub(super) fn take_peer_name(&mut self) -> Option<String> {
        if std::mem::replace(&mut self.asked, true) { None } else { self.session.peer_name() }
    }

    /// As [`ReadHalf::poll_read`](super::socket::ReadHalf::poll_read). `plain` must have room for [`SEALED`] bytes
    /// and a record besides.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Poll<io::Result<usize>> {
        debug_assert!(plain.len() >= 2 * SEALED);
        let mut sealed = [0; SEALED];
        while !self.ended {
            let mut buffer = ReadBuf::new(&mut sealed);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            match self.session.take_in(buffer.filled(), plain)? {
                Some(0) => {}
                Some(read) => return Poll::Ready(Ok(read)),
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok(0))
    }
}

/// Bytes taken from a socket at once: a record of the largest size.
const SEALED: usize = 16 * 1024 + 256;

/// A socket for rustls to write to.
struct Socket<'a>(&'a tcp::OwnedWriteHalf);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn server_config(settings: &Settings) -> Result<ServerConfig, String> {
    if settings.tls_key_file_pass.is_set() {
        return Err(
            "tls-key-file-pass: encrypted keys are not supported, decrypt the key with `openssl pkey`".into(),
        );
    }
    let directory = Path::new(&settings.dir);
    let file = |option: &str, name: &str| match name {
        "" => Err(format!("{option} must be set when tls-port is")),
        name => Ok(locate(directory, name)),
    };
    let certificate_file = file("tls-cert-file", &settings.tls_cert_file)?;
    let key_file = file("tls-key-file", &settings.tls_key_file)?;
    let certificates = certificates(&certificate_file)?;
    let key =
        PrivateKeyDer::from_pem_file(&key_file).map_err(|error| about(&key_file, "private key", &error))?;

    let provider = Arc::new(provider(settings)?);
    let versions = versions(&settings.tls_protocols)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| format!("tls-protocols and tls-ciphers do not go together: {error}"))?;
    let builder = if settings.tls_auth_clients == TlsAuthClients::No {
        builder.with_no_client_auth()
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(settings)?), provider);
        let verifier = match settings.tls_auth_clients {
            TlsAuthClients::Optional => verifier.allow_unauthenticated(),
            _ => verifier,
        };
        builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| {
        format!("{} and {}: {}", certificate_file.display(), key_file.display(), in_words(&error))
    })?;
    config.ignore_client_order = settings.tls_prefer_server_ciphers;
    if settings.tls_session_caching {
        let size = usize::try_from(settings.tls_session_cache_size).unwrap_or(usize::MAX);
        config.session_storage =
            ServerSessionMemoryCache::new(if size == 0 { SESSIONS_MAX } else { size.min(SESSIONS_MAX) });
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// What is wrong with a certificate and its key. That one is of version 1 is what `openssl x509 -req` without extensions
/// brings about, so it is said in words that help.
fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) if format!("{why:?}").contains("UnsupportedCertVersion") => {
            "the certificate is of X.509 version 1, and only version 3 is accepted: issue it with extensions, such as \
             subjectAltName (openssl x509 -req -extfile FILE)"
                .to_owned()
        }
        error => error.to_string(),
    }
}

/// Sessions remembered at most, whatever is asked for: strangers make them.
const SESSIONS_MAX: usize = 1 << 20;

/// The certificates that clients' own must go back to.
fn roots(settings: &Settings) -> Result<RootCertStore, String> {
    let directory = Path::new(&settings.dir);
    let mut roots = RootCertStore::empty();
    let mut add = |path: &Path, certificate| {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))
    };
    if !settings.tls_ca_cert_file.is_empty() {
        let path = locate(directory, &settings.tls_ca_cert_file);
        for certificate in certificates(&path)? {
            add(&path, certificate)?;
        }
    }
    if !settings.tls_ca_cert_dir.is_empty() {
        let folder = locate(directory, &settings.tls_ca_cert_dir);
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
            if path.is_file() {
                // There may be other things beside the certificates.
                for certificate in certificates(&path).unwrap_or_default() {
                    add(&path, certificate)?;
                }
            }
        }
    }
    if roots.is_empty() {
        return Err(
            "tls-ca-cert-file or tls-ca-cert-dir must name a certificate unless tls-auth-clients is no"
                .into(),
        );
    }
    Ok(roots)
}

/// Files are named as seen from the data directory, as in Redis.
fn locate(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(about(path, "certificate", &pem::Error::NoItemsFound))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(about(path, "certificate", &error)),
    }
}

/// What is wrong with a file. Never shows what is in it.
fn about(path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::Io(error) => format!("cannot read {path}: {error}"),
        pem::Error::NoItemsFound => format!("{path}: there is no {what} in PEM form, or it is encrypted"),
        _ => format!("{path}: the {what} is malformed"),
    }
}

/// The cryptography, with those cipher suites only that the settings name, if they name any.
fn provider(settings: &Settings) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    let (old, new) = (&settings.tls_ciphers, &settings.tls_ciphersuites);
    let mut wanted = Vec::new();
    for (option, names) in [("tls-ciphers", old), ("tls-ciphersuites", new)] {
        for name in names.split(':').filter(|name| !name.is_empty()) {
            let found = provider.cipher_suites.iter().find(|suite| openssl_name(suite.suite()) == name);
            let found = found.ok_or_else(|| {
                let known = provider.cipher_suites.iter().map(|suite| openssl_name(suite.suite()));
                format!("{option}: '{name}' is not one of {}", known.collect::<Vec<_>>().join(", "))
            })?;
            wanted.push(*found);
        }
    }
    let is_new = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
    provider.cipher_suites.retain(|suite| match is_new(suite) {
        true => new.is_empty() || wanted.contains(suite),
        false => old.is_empty() || wanted.contains(suite),
    });
    // In the order in which they were named.
    provider.cipher_suites.sort_by_key(|suite| wanted.iter().position(|named| named == suite));
    Ok(provider)
}

/// What OpenSSL, and so Redis' configuration, calls a cipher suite.
fn openssl_name(suite: rustls::CipherSuite) -> String {
    let name = suite.as_str().unwrap_or_default();
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name
            .trim_start_matches("TLS_")
            .replace("_WITH_", "-")
            .replace("AES_128", "AES128")
            .replace("AES_256", "AES256")
            .replace("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305")
            .replace('_', "-"),
    }
}

fn versions(names: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let mut versions = Vec::new();
    for name in names.split_whitespace() {
        match name.to_ascii_lowercase().as_str() {
            "tlsv1.2" => versions.push(&version::TLS12),
            "tlsv1.3" => versions.push(&version::TLS13),
            "tlsv1" | "tlsv1.1" => {
                return Err(format!(
                    "tls-protocols: {name} is broken and not offered; there are TLSv1.2 and TLSv1.3"
                ));
            }
            _ => return Err(format!("tls-protocols: '{name}' is neither TLSv1.2 nor TLSv1.3")),
        }
    }
    if versions.is_empty() { Ok(rustls::DEFAULT_VERSIONS.to_vec()) } else { Ok(versions) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_have_the_names_that_openssl_gives_them() {
        let names: Vec<String> =
            ring::default_provider().cipher_suites.iter().map(|suite| openssl_name(suite.suite())).collect();
        assert_eq!(
            names,
            [
                "TLS_AES_256_GCM_SHA384",
                "TLS_AES_128_GCM_SHA256",
                "TLS_CHACHA20_POLY1305_SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-RSA-CHACHA20-POLY1305",
            ]
        );
    }

    #[test]
    fn versions_and_suites_are_chosen_or_refused() {
        let count = |ciphers: &str, suites: &str| {
            let settings = Settings {
                tls_ciphers: ciphers.to_owned(),
                tls_ciphersuites: suites.to_owned(),
                ..Settings::default()
            };
            provider(&settings).map(|provider| provider.cipher_suites.len())
        };
        assert_eq!(count("", ""), Ok(9));
        assert_eq!(count("ECDHE-RSA-AES128-GCM-SHA256", ""), Ok(4));
        assert_eq!(count("ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"), Ok(2));
        assert!(count("DEFAULT:!MEDIUM", "").is_err_and(|why| why.contains("'DEFAULT' is not one of")));
        assert_eq!(versions("TLSv1.3").map(|versions| versions.len()), Ok(1));
        assert_eq!(versions("").map(|versions| versions.len()), Ok(2));
        assert!(versions("TLSv1.1 TLSv1.2").is_err());
        assert!(versions("SSLv3").is_err());
    }
}
