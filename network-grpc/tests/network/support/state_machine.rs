//! A state machine in memory: all blobs, in order.

use std::io::{self, Cursor};
use std::sync::{Arc, Mutex};

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::{EntryPayload, SnapshotMeta};
use serde::{Deserialize, Serialize};

use super::{Blob, TypeConfig};

type Data = Cursor<Vec<u8>>;

#[derive(Default, Clone, Serialize, Deserialize)]
pub struct State {
    applied: Option<LogIdOf<TypeConfig>>,
    membership: StoredMembershipOf<TypeConfig>,
    pub blobs: Vec<Blob>,
}

#[derive(Default)]
struct Shared {
    state: State,
    snapshot: Option<(SnapshotMetaOf<TypeConfig>, Vec<u8>)>,
    installed: u64,
}

#[derive(Clone, Default)]
pub struct StateMachine(Arc<Mutex<Shared>>);

impl StateMachine {
    pub fn blobs(&self) -> Vec<Blob> {
        self.0.lock().unwrap().state.blobs.clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().state.blobs.len()
    }

    /// Snapshots received and installed.
    pub fn installed(&self) -> u64 {
        self.0.lock().unwrap().installed
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = Data;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, Data>> {
        let mut shared = self.0.lock().unwrap();
        let bytes = codec::encode(&shared.state)?;
        let meta = SnapshotMeta {
            last_log_id: shared.state.applied,
            last_membership: shared.state.membership.clone(),
        };
        shared.snapshot = Some((meta.clone(), bytes.clone()));
        Ok(Snapshot { meta, snapshot: Cursor::new(bytes) })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Data;
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>)> {
        let shared = self.0.lock().unwrap();
        Ok((shared.state.applied, shared.state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut shared = self.0.lock().unwrap();
            let state = &mut shared.state;
            state.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(blob) => state.blobs.push(blob),
                EntryPayload::Membership(m) => {
                    state.membership = StoredMembershipOf::<TypeConfig>::new(state.applied, m);
                }
            }
            if let Some(responder) = responder {
                responder.send(state.blobs.len() as u64);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: Data,
    ) -> io::Result<()> {
        let bytes = snapshot.into_inner();
        let mut shared = self.0.lock().unwrap();
        shared.state = codec::decode(&bytes)?;
        shared.snapshot = Some((meta.clone(), bytes));
        shared.installed += 1;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, Data>>> {
        let shared = self.0.lock().unwrap();
        Ok(shared.snapshot.clone().map(|(meta, bytes)| Snapshot { meta, snapshot: Cursor::new(bytes) }))
    }
}
