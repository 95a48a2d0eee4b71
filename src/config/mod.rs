//! stub
use std::sync::Arc;
#[allow(missing_docs)]
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub requirepass: String,
    pub tcp_keepalive: u32,
    pub client_query_buffer_limit: u64,
    pub proto_max_bulk_len: u64,
    pub maxclients: u32,
}
#[allow(missing_docs)]
#[derive(Debug, Clone)]
pub struct Config(pub Arc<Settings>);
#[allow(missing_docs)]
impl Config {
    pub fn new(settings: Settings) -> Config {
        Config(Arc::new(settings))
    }
    pub fn settings(&self) -> Arc<Settings> {
        self.0.clone()
    }
    pub fn generation(&self) -> u64 {
        0
    }
}
