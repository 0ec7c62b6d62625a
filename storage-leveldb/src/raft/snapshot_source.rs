//! The part of the state that outlives a crash: it is the snapshot.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};

use crate::lsm::key;
use crate::lsm::version::changes_in;
use crate::lsm::merge_operator::MergeOperator;
use crate::lsm::merging_iterator::Merged;
use super::position::Position;
use crate::lsm::table::StateRun;
use super::snapshot_file::SnapshotFile;
use crate::disk::GuardedDisk;
use crate::error::StorageError;
use super::snapshot::SnapshotEncoder;

/// A snapshot is sent in pieces of about this size.
const PIECE_BYTES: usize = 256 * 1024;

/// The runs that held all of the state at one position. They stay on disk as long as this lives.
pub(crate) struct Durable<C: RaftTypeConfig> {
    pub(crate) position: Position<C>,
    pub(crate) runs: Vec<Arc<StateRun>>,
    pub(crate) operator: Arc<MergeOperator>,
}

impl<C: RaftTypeConfig> Clone for Durable<C> {
    fn clone(&self) -> Self {
        let (position, runs, operator) = (self.position.clone(), self.runs.clone(), self.operator.clone());
        Self { position, runs, operator }
    }
}

impl<C: RaftTypeConfig> Durable<C> {
    fn meta(&self) -> SnapshotMetaOf<C> {
        SnapshotMetaOf::<C> {
            last_log_id: self.position.applied.clone(),
            last_membership: self.position.membership.clone(),
        }
    }

    pub(crate) fn into_snapshot(
        self,
        disk: &GuardedDisk,
    ) -> Result<SnapshotOf<C, SnapshotFile>, StorageError> {
        let meta = self.meta();
        let encoder = SnapshotEncoder::new::<C>(&meta).map_err(|e| StorageError::at("state".as_ref(), e))?;
        let pairs = changes_in(&self.runs, &self.operator);
        let pieces = Pieces { pairs, encoder, disk: disk.clone(), ended: false };
        Ok(SnapshotOf::<C, SnapshotFile> { meta, snapshot: SnapshotFile::sending(pieces) })
    }
}

/// The stream of a snapshot, made from the runs as it is asked for.
pub(crate) struct Pieces {
    pairs: Merged,
    encoder: SnapshotEncoder,
    disk: GuardedDisk,
    ended: bool,
}

impl Pieces {
    /// The next piece; empty at the end. Blocks on the disk.
    pub(crate) fn next(&mut self) -> io::Result<Bytes> {
        self.disk.health.check().map_err(StorageError::from)?;
        while !self.ended && self.encoder.len() < PIECE_BYTES {
            match self.pairs.next_pair()? {
                Some((stored_key, value)) => {
                    let key = stored_key.strip_prefix(&[key::APPLICATION]).unwrap_or(&stored_key);
                    self.encoder.pair(key, &value).map_err(io::Error::other)?;
                }
                None => {
                    self.encoder.end();
                    self.ended = true;
                }
            }
        }
        Ok(self.encoder.take().into())
    }
}

/// The rest of the stream, for whoever reads it in place.
pub(crate) struct PiecesReader {
    pub(crate) pieces: Pieces,
    pub(crate) unread: Bytes,
}

impl io::Read for PiecesReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.unread = self.pieces.next()?;
        }
        let n = (&*self.unread).read(buf)?;
        drop(self.unread.split_to(n));
        Ok(n)
    }
}
