//! What a storage holds, read through everything that openraft can ask.

use openraft::RaftLogReader;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};

use super::broken::{Broken, promise};
use super::inspected::Pairs;
use super::subject::{Store, TestTypes};
use crate::raft::snapshot::{SnapshotError, SnapshotReader};
use crate::raft::{Application, SnapshotFile};

/// Everything, in a form that can be compared.
pub(crate) struct Found<C: openraft::RaftTypeConfig> {
    pub(crate) vote: Option<VoteOf<C>>,
    pub(crate) committed: Option<LogIdOf<C>>,
    pub(crate) purged: Option<LogIdOf<C>>,
    pub(crate) last: Option<LogIdOf<C>>,
    /// Index and record.
    pub(crate) entries: Vec<(u64, Vec<u8>)>,
    pub(crate) applied: Option<LogIdOf<C>>,
    pub(crate) membership: StoredMembershipOf<C>,
    pub(crate) pairs: Pairs,
    pub(crate) snapshot: Option<(SnapshotMetaOf<C>, Pairs)>,
}

/// The index behind a log id's.
pub(crate) fn end_of<C: TestTypes>(log_id: Option<&LogIdOf<C>>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index.saturating_add(1))
}

/// The metadata and every pair. Blocks on the disk.
fn read_snapshot<C: TestTypes>(snapshot: SnapshotFile) -> Result<(SnapshotMetaOf<C>, Pairs), SnapshotError> {
    let mut reader = SnapshotReader::<C, _>::open(snapshot.into_stream()?)?;
    let mut pairs = Vec::new();
    while let Some((key, value)) = reader.next_pair()? {
        pairs.push((key.into(), value.into()));
    }
    Ok((reader.meta().clone(), pairs))
}

impl<C: TestTypes> Found<C> {
    pub(crate) async fn in_store<A: Application<C>>(store: &mut Store<C, A>) -> Result<Self, Broken> {
        let log = store.log.get_log_state().await?;
        let committed = store.log.read_committed().await?;
        let mut reader = store.log.get_log_reader().await;
        let vote = reader.read_vote().await?;
        let mut entries = Vec::new();
        for entry in reader.try_get_log_entries(..).await? {
            entries.push((entry.index(), codec::encode(&entry).map_err(std::io::Error::from)?));
        }
        let (applied, membership) = store.state.applied_state().await?;
        let pairs = store.reader.query(()).await?;
        let snapshot = match store.state.get_current_snapshot().await? {
            Some(current) => {
                let (meta, pairs) = read_snapshot::<C>(current.snapshot).map_err(std::io::Error::from)?;
                promise!(meta == current.meta, "the snapshot is {meta}, but is called {}", current.meta);
                Some((meta, pairs))
            }
            None => None,
        };
        let (purged, last) = (log.last_purged_log_id, log.last_log_id);
        Ok(Self { vote, committed, purged, last, entries, applied, membership, pairs, snapshot })
    }

    pub(crate) fn purged_end(&self) -> u64 {
        end_of::<C>(self.purged.as_ref())
    }

    pub(crate) fn log_end(&self) -> u64 {
        end_of::<C>(self.last.as_ref())
    }

    pub(crate) fn committed_end(&self) -> u64 {
        end_of::<C>(self.committed.as_ref())
    }

    pub(crate) fn applied_end(&self) -> u64 {
        end_of::<C>(self.applied.as_ref())
    }

    pub(crate) fn snapshot_end(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |(meta, _)| end_of::<C>(meta.last_log_id.as_ref()))
    }

    /// How far the state gets without the log.
    pub(crate) fn restorable_end(&self) -> u64 {
        self.applied_end().max(self.snapshot_end())
    }
}
