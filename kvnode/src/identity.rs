//! The `IDENTITY` stamp: whose data a directory holds.
//!
//! Written when a directory is first used, before anything else is stored in it, and once more when its storage
//! has been created; compared with what the operator asks for at every start.
//! [`DataDir`](crate::data_dir::DataDir) owns the file.

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
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The stamp: an identity, and whether the storage of that name has been created. From then on an empty directory
/// means that it is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Whose data this is.
    pub identity: Identity,
    /// The storage has been opened once.
    pub stored: bool,
}

/// The file, as TOML.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    format: u32,
    cluster_id: String,
    node_id: NodeId,
    peers: String,
    stored: bool,
    /// CRC-32C of the other values, in hexadecimal.
    checksum: String,
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

impl Stamp {
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
        let text = toml::to_string(&self.lines()).map_err(io::Error::other)?;
        let mut file = File::create(temporary)?;
        file.write_all(PREAMBLE.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        File::open(dir)?.sync_all()
    }

    fn lines(&self) -> Lines {
        let Identity { format, cluster_id, node_id, peers } = self.identity.clone();
        let stored = self.stored;
        let text = format!("{format}\n{cluster_id}\n{node_id}\n{peers}\n{stored}\n");
        let checksum = format!("{:08x}", crc32c::crc32c(text.as_bytes()));
        Lines { format, cluster_id, node_id, peers, stored, checksum }
    }
}

fn parse(bytes: &[u8]) -> Result<Stamp, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    let lines: Lines = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    let Lines { format, cluster_id, node_id, peers, stored, checksum } = lines;
    let stamp = Stamp { identity: Identity { format, cluster_id, node_id, peers }, stored };
    if stamp.lines().checksum != checksum {
        return Err("its checksum is not that of its content".to_owned());
    }
    match stamp.identity.peers.parse::<Peers>() {
        Ok(_) => Ok(stamp),
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
        assert!(Stamp::read(dir.path()).unwrap().is_none());
        for stored in [false, true] {
            let stamp = Stamp { identity: identity(), stored };
            stamp.write(dir.path()).unwrap();
            assert_eq!(Stamp::read(dir.path()).unwrap(), Some(stamp));
        }
        identity().check(dir.path(), &identity()).unwrap();
    }

    /// A flipped bit in the id must not make this another node's data.
    #[test]
    fn a_flipped_bit_is_damage_or_in_a_comment() {
        let dir = tempfile::tempdir().unwrap();
        let stamp = Stamp { identity: identity(), stored: true };
        stamp.write(dir.path()).unwrap();
        let good = fs::read(dir.path().join(IDENTITY_FILE)).unwrap();
        let mut damaged = 0;
        for at in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            fs::write(dir.path().join(IDENTITY_FILE), bytes).unwrap();
            match Stamp::read(dir.path()) {
                Ok(found) => assert_eq!(found.as_ref(), Some(&stamp), "bit {at}"),
                Err(_) => damaged += 1,
            }
        }
        assert!(damaged > 500, "{damaged} detected");
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
            let error = Stamp::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("IDENTITY is damaged"), "{error}");
        }
    }
}
