//! The `IDENTITY` file: whose data a directory holds.
//!
//! Written when a directory is first used, before anything else is stored in it; again when its
//! storage has been created, when the node joins a cluster, and when its peer list changes.
//! Compared with what the operator asks for at every start. [`DataDir`](crate::data_dir::DataDir)
//! owns it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use serde::{Deserialize, Serialize};

use crate::config::Peers;
use crate::raft::NodeId;

/// The file's name.
pub const IDENTITY_FILE: &str = "IDENTITY";
/// Its name while it is being written; a crash may leave it behind.
pub const IDENTITY_TEMPORARY: &str = "IDENTITY.tmp";
/// The layout of a data directory that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

const PREAMBLE: &str = "# Whose data this directory holds. Written by the node that uses it; do not edit.\n";
/// The file has a few lines; anything bigger is not one.
const MAX_IDENTITY_BYTES: u64 = 64 * 1024;

/// Whose data a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Layout of the directory.
    pub format: u32,
    /// The node.
    pub node_id: NodeId,
    /// The nodes that may found a cluster with this one; none if the node waits to be added to one.
    pub peers: Option<Peers>,
    /// The cluster it belongs to, and which of all directories this is; none until it joins.
    pub member: Option<MemberIdentity>,
    /// The storage has been opened once. From then on an empty directory means that it is lost.
    pub stored: bool,
    /// The storage lacks what the node has acknowledged: it was replaced by an older copy.
    pub outdated: bool,
}

/// The file, as TOML.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    format: u32,
    node_id: NodeId,
    /// Empty: none.
    peers: String,
    /// Both empty until the node joins.
    cluster_id: String,
    incarnation: String,
    stored: bool,
    outdated: bool,
    /// When the file was made, in nanoseconds since 1970, as the file system has it: a copy was
    /// made later. Empty: the file system does not say.
    born: String,
    /// CRC-32C of the other values, in hexadecimal.
    checksum: String,
}

/// An identity file is unreadable or says something else than the operator.
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
    /// The file is no identity.
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
        "{} has data format {found}, this program reads format {FORMAT_VERSION}; use the version that wrote it", dir.display()
    )]
    Format {
        /// The data directory.
        dir: PathBuf,
        /// The file's format.
        found: u32,
    },
    /// The file names another node.
    #[error(
        "{} belongs to node {found}, but this node was started with node {asked}; start it with --id {found}, or give it a data \
         directory of its own", dir.display()
    )]
    Mismatch {
        /// The data directory.
        dir: PathBuf,
        /// What the file says.
        found: NodeId,
        /// What the operator asked for.
        asked: NodeId,
    },
    /// The storage lacks what the member has acknowledged.
    #[error(
        "{}: node {node} has acknowledged log entries that its storage lacks, as the leader has found: the files were replaced by \
         an older copy. It must not vote; remove it with `kvcli cluster remove {node}`, and add a new node with a new id and an \
         empty directory",
        dir.display()
    )]
    Outdated {
        /// The data directory.
        dir: PathBuf,
        /// Whose it is.
        node: NodeId,
    },
    /// The directory is a copy of a member's.
    #[error(
        "{} is a copy of the data directory of node {node} of cluster {cluster}: the file system says that its {IDENTITY_FILE} was \
         made later than the file itself says. A copy may lack what the member has acknowledged, and must not vote; remove node \
         {node} with `kvcli cluster remove {node}` and add a new node with a new id and an empty directory. Only if this is the whole and \
         newest state of a node that was stopped before it was copied, and the original will never run again, start it once with \
         --accept-moved-data",
        dir.display()
    )]
    Copied {
        /// The data directory.
        dir: PathBuf,
        /// Whose it was.
        node: NodeId,
        /// The cluster.
        cluster: ClusterId,
    },
}

/// An identity as it was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What the file says.
    pub identity: Identity,
    /// It was made later than it says: with its directory it was copied from somewhere.
    pub copied: bool,
}

impl Identity {
    /// A node that has stored nothing and belongs to no cluster.
    #[must_use]
    pub fn new(node_id: NodeId, peers: Option<Peers>) -> Self {
        Self { format: FORMAT_VERSION, node_id, peers, member: None, stored: false, outdated: false }
    }

    /// Reads the file in `dir`; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read, or is no identity.
    pub fn read(dir: &Path) -> Result<Option<Found>, IdentityError> {
        let path = dir.join(IDENTITY_FILE);
        let failed = |source| IdentityError::Io { action: "read", path: path.clone(), source };
        let damaged = |reason| IdentityError::Damaged { path: path.clone(), reason };
        let metadata = match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(failed)?,
        };
        if metadata.len() > MAX_IDENTITY_BYTES {
            return Err(damaged(format!("{} bytes", metadata.len())));
        }
        let lines = parse(&fs::read(&path).map_err(failed)?).map_err(damaged)?;
        let now = born(&metadata);
        if !lines.born.is_empty() && now.is_empty() {
            tracing::warn!(
                path = %path.display(),
                "the file system does not tell any more when a file was made: a copy of this directory would not be known as one"
            );
        }
        let copied = !lines.born.is_empty() && !now.is_empty() && lines.born != now;
        let identity = Self::try_from(lines).map_err(damaged)?;
        Ok(Some(Found { identity, copied }))
    }

    /// Writes the file durably: once this returns, a crash finds the whole of it.
    ///
    /// # Errors
    /// The file cannot be written or synced.
    pub fn write(&self, dir: &Path) -> Result<(), IdentityError> {
        let path = dir.join(IDENTITY_FILE);
        self.try_write(dir, &path).map_err(|source| IdentityError::Io { action: "write", path, source })
    }

    fn try_write(&self, dir: &Path, path: &Path) -> io::Result<()> {
        let temporary = dir.join(IDENTITY_TEMPORARY);
        // A file that was there before was made before.
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = File::create_new(&temporary)?;
        let text = toml::to_string(&self.lines(born(&file.metadata()?))).map_err(io::Error::other)?;
        file.write_all(PREAMBLE.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    }

    fn lines(&self, born: String) -> Lines {
        let text = |id: Option<String>| id.unwrap_or_default();
        let lines = Lines {
            format: self.format,
            node_id: self.node_id,
            peers: text(self.peers.as_ref().map(ToString::to_string)),
            cluster_id: text(self.member.map(|member| member.cluster_id.to_string())),
            incarnation: text(self.member.and_then(|member| Some(member.incarnation?.to_string()))),
            stored: self.stored,
            outdated: self.outdated,
            born,
            checksum: String::new(),
        };
        Lines { checksum: lines.checksum(), ..lines }
    }
}

/// When the file system made a file.
fn born(metadata: &fs::Metadata) -> String {
    let since = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map(|since| since.as_nanos().to_string()).unwrap_or_default()
}

impl Lines {
    fn checksum(&self) -> String {
        let Self { format, node_id, peers, cluster_id, incarnation, stored, outdated, born, .. } = self;
        let ids = format!("{format}\n{node_id}\n{peers}\n{cluster_id}\n{incarnation}\n");
        let text = format!("{ids}{stored}\n{outdated}\n{born}\n");
        format!("{:08x}", crc32c::crc32c(text.as_bytes()))
    }
}

/// The one line that every version has.
#[derive(Deserialize)]
struct OnlyFormat {
    format: u32,
}

fn parse(bytes: &[u8]) -> Result<Lines, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    // What another version has written may have other lines.
    let OnlyFormat { format } = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    if format != FORMAT_VERSION {
        return Ok(Lines { format, ..Lines::default() });
    }
    let lines: Lines = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    if lines.checksum() != lines.checksum {
        return Err("its checksum is not that of its content".to_owned());
    }
    Ok(lines)
}

impl TryFrom<Lines> for Identity {
    type Error = String;

    fn try_from(lines: Lines) -> Result<Self, String> {
        let peers = match &*lines.peers {
            "" => None,
            text => Some(text.parse::<Peers>().map_err(|e| e.to_string())?),
        };
        let member = match (&*lines.cluster_id, &*lines.incarnation) {
            ("", "") => None,
            (cluster_id, incarnation) => Some(MemberIdentity {
                cluster_id: cluster_id.parse().map_err(|e| format!("cluster_id: {e}"))?,
                incarnation: Some(
                    incarnation.parse::<Incarnation>().map_err(|e| format!("incarnation: {e}"))?,
                ),
            }),
        };
        let Lines { format, node_id, stored, outdated, .. } = lines;
        Ok(Self { format, node_id, peers, member, stored, outdated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::new(1, Some("1=a:1/a:2".parse().unwrap()))
    }

    fn member() -> Option<MemberIdentity> {
        Some(MemberIdentity { cluster_id: ClusterId::random(), incarnation: Some(Incarnation::random(7)) })
    }

    #[test]
    fn an_identity_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Identity::read(dir.path()).unwrap().is_none());
        for identity in [
            identity(),
            Identity { stored: true, ..identity() },
            Identity { outdated: true, ..identity() },
            Identity { member: member(), ..identity() },
            Identity { peers: None, ..identity() },
        ] {
            identity.write(dir.path()).unwrap();
            assert_eq!(Identity::read(dir.path()).unwrap(), Some(Found { identity, copied: false }));
        }
    }

    /// A flipped bit in the id must not make this another node's data.
    #[test]
    fn a_flipped_bit_is_damage_or_in_a_comment() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { stored: true, member: member(), ..identity() };
        identity.write(dir.path()).unwrap();
        let good = fs::read(dir.path().join(IDENTITY_FILE)).unwrap();
        let mut damaged = 0;
        for at in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            fs::write(dir.path().join(IDENTITY_FILE), bytes).unwrap();
            match Identity::read(dir.path()) {
                // Refused for its number.
                Ok(Some(found)) if found.identity.format != FORMAT_VERSION => damaged += 1,
                Ok(found) => assert_eq!(found.map(|f| f.identity).as_ref(), Some(&identity), "bit {at}"),
                Err(_) => damaged += 1,
            }
        }
        assert!(damaged > 500, "{damaged} detected");
    }

    /// A directory that is restored from a copy has voted and acknowledged more than it knows.
    #[test]
    fn a_copy_is_told_from_the_original() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        identity().write(dir.path()).unwrap();
        let [from, to] = [dir.path(), other.path()].map(|dir| dir.join(IDENTITY_FILE));
        if fs::metadata(&from).unwrap().created().is_err() {
            println!("SKIPPED: this file system does not say when a file was made");
            return;
        }
        fs::copy(&from, &to).unwrap();
        assert!(Identity::read(other.path()).unwrap().unwrap().copied);
        // Renaming keeps a file what it is.
        fs::rename(&from, &to).unwrap();
        assert!(!Identity::read(other.path()).unwrap().unwrap().copied);
    }

    #[test]
    fn a_damaged_identity_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [&b"\xff\xfe"[..], b"", b"format = 1", b"format = 'x'", &[b' '; 70_000]] {
            fs::write(dir.path().join(IDENTITY_FILE), bytes).unwrap();
            let error = Identity::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("IDENTITY is damaged"), "{error}");
        }
    }
}
