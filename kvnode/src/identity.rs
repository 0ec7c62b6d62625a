//! The `IDENTITY` stamp: whose data a directory holds.
//!
//! Written once, when a directory is first used, before anything else is stored in it; compared with what
//! the operator asks for at every start. [`DataDir`](crate::data_dir::DataDir) owns the file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Config, Peers};
use crate::raft::NodeId;

/// The stamp's file name.
pub const IDENTITY_FILE: &str = "IDENTITY";
/// Its name while it is being written; a crash may leave it behind.
pub const IDENTITY_TEMPORARY: &str = "IDENTITY.tmp";
/// The layout of a data directory that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

const PREAMBLE: &str = "# Whose data this directory holds. Written by kvnode; do not edit.\n";
/// A stamp has a few lines; anything bigger is not one.
const MAX_IDENTITY_BYTES: u64 = 64 * 1024;

/// Whose data a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Layout of the directory.
    pub format: u32,
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: NodeId,
    /// The peer list the node was first started with.
    pub peers: String,
}

/// A stamp is unreadable or says something else than the operator.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot {action} {}; check that this user may write there and that the disk is not full", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a stamp.
    #[error(
        "{} is damaged ({reason}), so whose data this is cannot be known; remove this node with `kvcli cluster remove`, and add \
         one with a new id and an empty directory",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Written by a program with another layout.
    #[error(
        "{} has data format {found}, this program reads format {FORMAT_VERSION}; use the kvnode version that wrote it", dir.display()
    )]
    Format {
        /// The data directory.
        dir: PathBuf,
        /// The stamp's format.
        found: u32,
    },
    /// The stamp names another cluster, node or peer list.
    #[error(
        "{} belongs to {what} {found}, but this node was started with {what} {asked}; start it with {option} {found}, or give it a \
         data directory of its own", dir.display()
    )]
    Mismatch {
        /// The data directory.
        dir: PathBuf,
        /// `node`, `cluster` or `peer list`.
        what: &'static str,
        /// What the stamp says.
        found: String,
        /// What the operator asked for.
        asked: String,
        /// The flag that decides it.
        option: &'static str,
    },
}

impl Identity {
    /// What the stamp of a directory first used with `config` says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            format: FORMAT_VERSION,
            cluster_id: config.cluster_id.clone(),
            node_id: config.id,
            peers: config.peers.to_string(),
        }
    }

    /// Reads the stamp in `dir`; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read, or is no stamp.
    pub fn read(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = dir.join(IDENTITY_FILE);
        match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::Io { action: "read", path, source }),
            Ok(metadata) if metadata.len() > MAX_IDENTITY_BYTES => {
                return Err(IdentityError::Damaged { path, reason: format!("{} bytes", metadata.len()) });
            }
            Ok(_) => {}
        }
        let bytes = fs::read(&path).map_err(|source| IdentityError::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        parse(&bytes).map(Some).map_err(|reason| IdentityError::Damaged { path, reason })
    }

    /// Stamps `dir` durably: once this returns, a crash finds the whole stamp.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub fn write(&self, dir: &Path) -> Result<(), IdentityError> {
        let (temporary, path) = (dir.join(IDENTITY_TEMPORARY), dir.join(IDENTITY_FILE));
        self.try_write(dir, &temporary, &path).map_err(|source| IdentityError::Io {
            action: "write",
            path,
            source,
        })
    }

    fn try_write(&self, dir: &Path, temporary: &Path, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let mut file = File::create(temporary)?;
        file.write_all(PREAMBLE.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        File::open(dir)?.sync_all()
    }

    /// Whether this stamp, found in `dir`, is what `asked` says.
    ///
    /// # Errors
    /// [`IdentityError::Format`] or the first [`IdentityError::Mismatch`].
    pub fn check(&self, dir: &Path, asked: &Self) -> Result<(), IdentityError> {
        if self.format != asked.format {
            return Err(IdentityError::Format { dir: dir.to_owned(), found: self.format });
        }
        let node = (self.node_id.to_string(), asked.node_id.to_string());
        same(dir, "cluster", "--cluster-id", &self.cluster_id, &asked.cluster_id)?;
        same(dir, "node", "--id", &node.0, &node.1)?;
        same(dir, "peer list", "--peers", &self.peers, &asked.peers)
    }
}

fn parse(bytes: &[u8]) -> Result<Identity, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    let identity: Identity = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    match identity.peers.parse::<Peers>() {
        Ok(_) => Ok(identity),
        Err(e) => Err(e.to_string()),
    }
}

fn same(
    dir: &Path,
    what: &'static str,
    option: &'static str,
    found: &str,
    asked: &str,
) -> Result<(), IdentityError> {
    if found == asked {
        return Ok(());
    }
    let (found, asked) = (found.to_owned(), asked.to_owned());
    Err(IdentityError::Mismatch { dir: dir.to_owned(), what, found, asked, option })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { format: 1, cluster_id: "kv".into(), node_id: 1, peers: "1=a:1/a:2".into() }
    }

    #[test]
    fn a_stamp_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Identity::read(dir.path()).unwrap().is_none());
        identity().write(dir.path()).unwrap();
        let found = Identity::read(dir.path()).unwrap().unwrap();
        assert_eq!(found, identity());
        found.check(dir.path(), &identity()).unwrap();
    }

    #[test]
    fn every_mismatch_says_what_was_found_what_was_asked_for_and_what_to_do() {
        let dir = Path::new("/data");
        let cases = [
            (Identity { node_id: 2, ..identity() }, ["node 1", "node 2", "--id 1"]),
            (
                Identity { cluster_id: "x".into(), ..identity() },
                ["cluster kv", "cluster x", "--cluster-id kv"],
            ),
            (
                Identity { peers: "1=b:1/b:2".into(), ..identity() },
                ["peer list 1=a:1/a:2", "1=b:1/b:2", "--peers 1=a"],
            ),
        ];
        for (asked, parts) in cases {
            let error = identity().check(dir, &asked).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "no '{part}' in: {error}");
            }
        }
    }

    #[test]
    fn another_format_is_refused() {
        let found = Identity { format: 9, ..identity() };
        let error = found.check(Path::new("/data"), &identity()).unwrap_err().to_string();
        assert!(error.contains("format 9") && error.contains("format 1"), "{error}");
    }

    #[test]
    fn a_damaged_stamp_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [&b"\xff\xfe"[..], b"", b"format = 1", b"format = 'x'", &[b' '; 70_000]] {
            fs::write(dir.path().join(IDENTITY_FILE), bytes).unwrap();
            let error = Identity::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("IDENTITY is damaged"), "{error}");
        }
    }
}
