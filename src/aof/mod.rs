//! stub
use std::sync::Arc;
/// x
#[derive(Debug)]
pub struct Log;
/// x
#[derive(Debug)]
pub struct LogFailed;
/// x
#[derive(Debug)]
pub struct Commit;
impl Commit {
    /// x
    pub fn led(&self) -> bool {
        true
    }
}
#[allow(missing_docs)]
impl Log {
    pub fn released(&self) -> u64 {
        1
    }
    pub fn commit(&self, _: u64) -> Result<Commit, LogFailed> {
        Ok(Commit)
    }
    pub fn cover(&self, _: u64) -> Result<(), LogFailed> {
        Ok(())
    }
}
