//! The snapshot file of format 1: which counts, and what is in it. Its stream is the one that peers send each other still.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use openraft::RaftTypeConfig;

use super::{ACTIVE, named_by};
use crate::disk::{GuardedDisk, ReadFile, read_exactly};
use crate::error::StorageError;
use crate::health::Fault;
use crate::snapshot::{SnapshotError, SnapshotReader};
use crate::state::{Change, Position, StateRunWriter, key};

/// What ACTIVE says before there is a snapshot.
const NONE: &str = "none";

/// The snapshot that counts, read up to its metadata.
pub(super) struct OldSnapshot<C: RaftTypeConfig> {
    reader: SnapshotReader<C, SnapshotBytes>,
    path: PathBuf,
    disk: GuardedDisk,
}

impl<C: RaftTypeConfig> OldSnapshot<C> {
    /// The one that counts in `dir`, if any does.
    pub(super) fn open(disk: &GuardedDisk, dir: &Path) -> Result<Option<Self>, StorageError> {
        let Some((path, told)) = active(disk, dir)? else { return Ok(None) };
        let file = disk.open(&path)?.ok_or_else(|| disk.damaged(&path, "missing"))?;
        let len = disk.len(&path)?.unwrap_or(0);
        if len != told {
            return Err(disk.damaged(&path, "the file is not as long as its name says").into());
        }
        let bytes = SnapshotBytes { file, len, offset: 0, path: path.clone(), disk: disk.clone() };
        let reader = SnapshotReader::open(bytes).map_err(|e| fault(disk, &path, e))?;
        Ok(Some(Self { reader, path, disk: disk.clone() }))
    }

    pub(super) fn position(&self) -> Position<C> {
        let meta = self.reader.meta();
        Position { applied: meta.last_log_id.clone(), membership: meta.last_membership.clone() }
    }

    /// All pairs, in order, of a snapshot that is whole.
    pub(super) fn copy_to(mut self, run: &mut StateRunWriter) -> Result<(), StorageError> {
        loop {
            let pair = self.reader.next_pair().map_err(|e| fault(&self.disk, &self.path, e))?;
            let Some((application_key, value)) = pair else { return Ok(()) };
            run.push(&key::of_application(&application_key), &Change::Put(value.into()))?;
        }
    }
}

fn fault(disk: &GuardedDisk, path: &Path, e: SnapshotError) -> StorageError {
    match e {
        SnapshotError::Storage(e) => e,
        SnapshotError::Damaged(e) => disk.damaged(path, e).into(),
        SnapshotError::OtherMeta => disk.damaged(path, e).into(),
    }
}

/// Path and length of the snapshot that counts. A file with a snapshot's name is complete and durable: if ACTIVE names none,
/// a crash came between the first snapshot's name and ACTIVE, and the newest counts.
fn active(disk: &GuardedDisk, dir: &Path) -> Result<Option<(PathBuf, u64)>, Fault> {
    let marker = dir.join(ACTIVE);
    let name = named_by(disk, &marker)?;
    if name != NONE {
        let (_, len) = parse_name(&name).ok_or_else(|| disk.damaged(&marker, "does not name a snapshot"))?;
        return Ok(Some((dir.join(name), len)));
    }
    let names = disk.list(dir)?;
    let complete = names.iter().filter_map(|name| Some((parse_name(name.to_str()?)?, name)));
    Ok(complete.max().map(|((_, len), name)| (dir.join(name), len)))
}

/// The number and length in a complete snapshot's name.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (number, len) = name.strip_suffix(".snap")?.split_once('-')?;
    Some((number.parse().ok()?, len.parse().ok()?))
}

/// A file from its start to its end. A read that fails is a fault of the disk, and nothing that is wrong with the snapshot.
struct SnapshotBytes {
    file: Box<dyn ReadFile>,
    len: u64,
    offset: u64,
    path: PathBuf,
    disk: GuardedDisk,
}

impl Read for SnapshotBytes {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let n = left.min(buf.len());
        let read = read_exactly(self.file.as_ref(), self.offset, buf.get_mut(..n).unwrap_or_default());
        read.map_err(|e| StorageError::from(self.disk.damaged(&self.path, format!("cannot read: {e}"))))?;
        self.offset = self.offset.saturating_add(n as u64);
        Ok(n)
    }
}
