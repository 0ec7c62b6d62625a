//! The stream of a snapshot, made from a checkpoint as it is asked for.

use std::io;

use bytes::{Buf, Bytes};
use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;

use super::position::Position;
use super::snapshot::SnapshotEncoder;
use crate::error::StorageError;
use crate::health::Health;
use crate::lsm::key;
use crate::lsm::tree::LsmTree;
use crate::lsm::version::Checkpoint;

/// A snapshot is sent in pieces of about this size.
const PIECE_BYTES: usize = 256 * 1024;

type Pairs = Box<dyn Iterator<Item = Result<(Bytes, Bytes), StorageError>> + Send + Sync>;

/// The pieces of the stream, one after the other. Keeps the tables of the checkpoint on disk.
pub(crate) struct SnapshotSource {
    pairs: Pairs,
    encoder: SnapshotEncoder,
    health: Health,
    ended: bool,
}

impl SnapshotSource {
    /// The snapshot that a checkpoint of the state is, and its metadata.
    pub(crate) fn new<C: RaftTypeConfig>(
        tree: &LsmTree,
        checkpoint: &Checkpoint,
    ) -> Result<(SnapshotMetaOf<C>, Self), StorageError> {
        let meta = Position::<C>::of_frontier(tree, &checkpoint.frontier)?.snapshot_meta();
        let encoder = SnapshotEncoder::new::<C>(&meta).map_err(|e| tree.disk.damaged(tree.dir(), e))?;
        let pairs = Box::new(checkpoint.pairs());
        Ok((meta, Self { pairs, encoder, health: tree.disk.health.clone(), ended: false }))
    }

    /// The next piece; empty at the end. Blocks on the disk.
    pub(crate) fn next(&mut self) -> io::Result<Bytes> {
        self.health.check().map_err(StorageError::from)?;
        while !self.ended && self.encoder.len() < PIECE_BYTES {
            match self.pairs.next().transpose()? {
                Some((stored_key, value)) => {
                    let key = stored_key.strip_prefix(&[key::APPLICATION]).unwrap_or(&stored_key);
                    self.encoder.pair(key, &value)?;
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

/// The pieces of a stream as a reader that blocks. `next` answers an empty piece at the end.
pub(crate) struct PieceReader<F> {
    pub(crate) next: F,
    pub(crate) unread: Bytes,
}

impl<F: FnMut() -> io::Result<Bytes>> io::Read for PieceReader<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.unread = (self.next)()?;
        }
        let n = (&*self.unread).read(buf)?;
        self.unread.advance(n);
        Ok(n)
    }
}
