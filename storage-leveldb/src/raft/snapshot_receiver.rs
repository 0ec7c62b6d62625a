//! Making a table of a snapshot's stream.

use std::io::{self, Read};

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;
use tokio::sync::mpsc;

use super::position::Position;
use super::snapshot::{SnapshotError, SnapshotReader};
use super::snapshot_source::PieceReader;
use crate::lsm::change::Change;
use crate::lsm::key;
use crate::lsm::table::FinishedTable;
use crate::lsm::tree::LsmTree;
use crate::observer::Db;

/// A snapshot that has been received to its end and verified: a table that is durable and does not
/// count yet.
pub(crate) struct Received {
    table: FinishedTable,
    /// Codec bytes of its metadata.
    meta: Vec<u8>,
}

/// What makes a table of a stream, of whatever type its metadata are.
pub(crate) type Receive = fn(&LsmTree, &mut dyn Read) -> Result<Received, SnapshotError>;

/// Reads all of a stream; nothing is left behind of one that is not a snapshot.
pub(crate) fn receive<C: RaftTypeConfig>(
    tree: &LsmTree,
    stream: &mut dyn Read,
) -> Result<Received, SnapshotError> {
    let mut reader = SnapshotReader::<C, _>::open(stream)?;
    let mut table = tree.new_table(&tree.disk.for_db(Db::Snapshot))?;
    while let Some((key, value)) = reader.next_pair()? {
        table.push(&key::of_application(&key), &Change::Put(value.into()))?;
    }
    let meta = codec::encode(reader.meta()).map_err(|_| SnapshotError::OtherMeta)?;
    Ok(Received { table: table.finish()?, meta })
}

impl Received {
    /// Whether its metadata have these codec bytes.
    pub(crate) fn is_of(&self, meta: &[u8]) -> bool {
        self.meta == meta
    }

    /// Codec bytes of its metadata.
    pub(crate) fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// The table, and the position that it is at, if it is the snapshot that was announced.
    pub(crate) fn into_table<C: RaftTypeConfig>(
        self,
        announced: SnapshotMetaOf<C>,
    ) -> Result<(FinishedTable, Position<C>), SnapshotError> {
        let meta = codec::encode(&announced).map_err(|_| SnapshotError::OtherMeta)?;
        if !self.is_of(&meta) {
            return Err(SnapshotError::OtherMeta);
        }
        Ok((self.table, Position { applied: announced.last_log_id, membership: announced.last_membership }))
    }
}

/// The stream that comes in pieces through a queue; it ends when the queue is closed.
pub(crate) fn stream_of(mut pieces: mpsc::Receiver<Bytes>) -> impl Read {
    let next = move || -> io::Result<Bytes> {
        loop {
            match pieces.blocking_recv() {
                Some(piece) if piece.is_empty() => {}
                piece => return Ok(piece.unwrap_or_default()),
            }
        }
    };
    PieceReader { next, unread: Bytes::new() }
}
