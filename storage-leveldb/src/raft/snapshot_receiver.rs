//! Making a run of a snapshot's stream.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;
use tokio::sync::mpsc;

use crate::lsm::change::Change;
use crate::lsm::key;
use super::position::Position;
use crate::lsm::table::FinishedRun;
use crate::lsm::tree::Store;
use crate::observer::Db;
use super::snapshot::{SnapshotError, SnapshotReader};

/// A snapshot that has been received to its end and verified: a run that is durable and does not count yet.
pub(crate) struct Received {
    run: FinishedRun,
    /// Codec bytes of its metadata.
    meta: Vec<u8>,
}

/// What makes a run of a stream, of whatever type its metadata are.
pub(crate) type Receive = Arc<dyn Fn(&mut dyn Read) -> Result<Received, SnapshotError> + Send + Sync>;

pub(crate) fn receive_into<C: RaftTypeConfig>(store: &Arc<Store<C>>) -> Receive {
    let store = store.clone();
    Arc::new(move |stream| receive(&store, stream))
}

/// Reads all of a stream; nothing is left behind of one that is not a snapshot.
fn receive<C: RaftTypeConfig>(store: &Store<C>, stream: &mut dyn Read) -> Result<Received, SnapshotError> {
    let mut reader = SnapshotReader::<C, _>::open(stream)?;
    let mut run = store.new_run(&store.disk.for_db(Db::Snapshot))?;
    while let Some((key, value)) = reader.next_pair()? {
        run.push(&key::of_application(&key), &Change::Put(value.into()))?;
    }
    let meta = codec::encode(reader.meta()).map_err(|_| SnapshotError::OtherMeta)?;
    Ok(Received { run: run.finish()?, meta })
}

impl Received {
    /// The run, and the position that it is at, if it is the snapshot that was announced.
    pub(crate) fn into_run<C: RaftTypeConfig>(
        self,
        announced: &SnapshotMetaOf<C>,
    ) -> Result<(FinishedRun, Position<C>), SnapshotError> {
        let meta = codec::encode(announced).map_err(|_| SnapshotError::OtherMeta)?;
        if meta != self.meta {
            return Err(SnapshotError::OtherMeta);
        }
        let (applied, membership) = (announced.last_log_id.clone(), announced.last_membership.clone());
        Ok((self.run, Position { applied, membership }))
    }
}

/// The stream that comes in pieces from elsewhere; it ends when nobody sends any more.
pub(crate) struct IncomingPieces {
    pub(crate) pieces: mpsc::Receiver<Bytes>,
    pub(crate) unread: Bytes,
}

impl Read for IncomingPieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.unread = piece,
                None => return Ok(0),
            }
        }
        let n = (&*self.unread).read(buf)?;
        drop(self.unread.split_to(n));
        Ok(n)
    }
}
