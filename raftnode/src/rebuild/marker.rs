//! The file `REBUILDING`: what is being done in a data directory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use serde::{Deserialize, Serialize};

use super::error::RebuildError;
use crate::data_dir::REBUILDING;

const TEMPORARY: &str = "REBUILDING.tmp";
const PREAMBLE: &str =
    "# A restore or a recovery was begun here and has not ended: run it again. Do not edit.\n";
/// The file has a few lines; anything bigger is not one.
const MAX_MARKER_BYTES: u64 = 64 * 1024;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Work {
    Restore,
    Recovery,
}

impl Work {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Recovery => "recovery",
        }
    }
}

/// What is being done, and what the directory will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) work: Work,
    /// Of the cluster that is made.
    pub(super) member: MemberIdentity,
    /// The cluster whose data are in `storage`, if there are any.
    pub(super) before: Option<ClusterId>,
}

/// The file, as TOML.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    work: Work,
    cluster_id: String,
    incarnation: String,
    /// Empty: none.
    before: String,
    /// CRC-32C of the other values, in hexadecimal.
    checksum: String,
}

impl Marker {
    /// `None`: nothing is being done.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, RebuildError> {
        let path = dir.join(REBUILDING);
        let failed = |source| RebuildError::Io { action: "read", path: path.clone(), source };
        let length = match fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(failed)?.len(),
        };
        let damaged = |reason| RebuildError::Marker { path: path.clone(), reason };
        if length > MAX_MARKER_BYTES {
            return Err(damaged(format!("{length} bytes")));
        }
        let bytes = fs::read(&path).map_err(failed)?;
        parse(&bytes).map(Some).map_err(damaged)
    }

    /// Durable when it returns: a crash finds the whole of it, or what was there before.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let text = toml::to_string(&self.lines()).map_err(io::Error::other)?;
        let temporary = dir.join(TEMPORARY);
        let mut file = File::create(&temporary)?;
        file.write_all(PREAMBLE.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(REBUILDING))?;
        File::open(dir)?.sync_all()
    }

    fn lines(&self) -> Lines {
        let lines = Lines {
            work: self.work,
            cluster_id: self.member.cluster_id.to_string(),
            incarnation: self.member.incarnation.map(|it| it.to_string()).unwrap_or_default(),
            before: self.before.map(|it| it.to_string()).unwrap_or_default(),
            checksum: String::new(),
        };
        Lines { checksum: lines.checksum(), ..lines }
    }
}

impl Lines {
    fn checksum(&self) -> String {
        let Self { work, cluster_id, incarnation, before, .. } = self;
        let text = format!("{}\n{cluster_id}\n{incarnation}\n{before}\n", work.name());
        format!("{:08x}", crc32c::crc32c(text.as_bytes()))
    }
}

fn parse(bytes: &[u8]) -> Result<Marker, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    let lines: Lines = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    if lines.checksum() != lines.checksum {
        return Err("its checksum is not that of its content".to_owned());
    }
    let cluster = |text: &str| text.parse::<ClusterId>().map_err(|e| e.to_string());
    let incarnation = lines.incarnation.parse::<Incarnation>().map_err(|e| e.to_string())?;
    let member = MemberIdentity { cluster_id: cluster(&lines.cluster_id)?, incarnation: Some(incarnation) };
    let before = match &*lines.before {
        "" => None,
        text => Some(cluster(text)?),
    };
    Ok(Marker { work: lines.work, member, before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_a_flipped_bit_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(dir.path()).unwrap(), None);
        let member =
            MemberIdentity { cluster_id: ClusterId::random(), incarnation: Some(Incarnation::random(7)) };
        let restore = Marker { work: Work::Restore, member, before: None };
        let recovery = Marker { work: Work::Recovery, member, before: Some(ClusterId::random()) };
        for marker in [restore, recovery] {
            marker.write(dir.path()).unwrap();
            assert_eq!(Marker::read(dir.path()).unwrap(), Some(marker));
        }
        let path = dir.path().join(REBUILDING);
        let good = fs::read(&path).unwrap();
        let mut damaged = 0;
        for at in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            fs::write(&path, bytes).unwrap();
            match Marker::read(dir.path()) {
                // In the comment.
                Ok(found) => assert_eq!(found, Some(recovery), "bit {at}"),
                Err(_) => damaged += 1,
            }
        }
        assert!(damaged > 500, "{damaged} detected");
    }
}
