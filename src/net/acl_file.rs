//! The ACL file and secure randomness: what `ACL` commands need of the system.
#![expect(clippy::disallowed_methods, reason = "the ACL file is the shell's own, it is no part of the log")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::acl::Outside;

/// Does it for a server whose files are relative to a directory.
#[derive(Debug)]
pub struct AclFiles {
    /// The directory.
    pub directory: PathBuf,
}

impl Outside for AclFiles {
    fn random(&self, bytes: &mut [u8]) -> Result<(), String> {
        getrandom::fill(bytes).map_err(|error| error.to_string())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(self.directory.join(path)).map_err(|error| error.to_string())
    }

    fn write(&self, path: &str, text: &[u8]) -> Result<(), String> {
        replace(&self.directory.join(path), text).map_err(|error| error.to_string())
    }
}

/// Replaces a file as a whole, for the owner only: it holds what passwords could be guessed from.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(temporary);
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // It is no use to anybody; if it cannot be removed there is nothing to be done.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(directory)?.sync_all()
}
