//! A storage that is made of a state and of entries, and becomes that of a new cluster.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use futures_util::stream;
use network_grpc::MemberIdentity;
use openraft::RaftSnapshotBuilder as _;
use openraft::entry::RaftEntry as _;
use openraft::storage::{RaftLogStorage as _, RaftStateMachine as _};
use openraft::type_config::alias::{EntryOf, LeaderIdOf, LogIdOf, SnapshotMetaOf, VoteOf};
use openraft::vote::{RaftLeaderId as _, RaftVote as _};
use openraft::{LogId, Membership};
use proto::backup::BackupReader;
use storage_leveldb::{Options, SnapshotFile, Storage, StorageError};
use tokio::io::AsyncWriteExt as _;
use tokio::task::spawn_blocking;

use super::continued::Continued;
use super::error::RebuildError;
use crate::application::{Batch, Hosted, meta_found, stored_meta};
use crate::raft::{Member, NodeId, TypeConfig};

/// Blocks until the storage's threads have ended.
pub(super) async fn close<A: storage_leveldb::Application<TypeConfig>>(
    storage: Storage<TypeConfig, A>,
) -> Result<(), RebuildError> {
    spawn_blocking(move || drop(storage)).await.map_err(|e| RebuildError::Stopped(e.to_string()))
}

/// Opens a storage, whatever it is of.
pub(super) async fn open<A: storage_leveldb::Application<TypeConfig>>(
    path: &Path,
    application: A,
    options: Options,
) -> Result<Storage<TypeConfig, A>, RebuildError> {
    let opened = Storage::open(path, application, options).await;
    opened.map_err(|source| RebuildError::Storage { path: path.to_owned(), source })
}

/// Nothing of it counts before it is closed and renamed.
pub(super) struct Fresh {
    path: PathBuf,
    storage: Storage<TypeConfig, Continued>,
    application: Continued,
    last: Option<LogIdOf<TypeConfig>>,
}

impl Fresh {
    /// In a directory that is not there yet.
    pub(super) async fn create(path: PathBuf, hosted: Hosted) -> Result<Self, RebuildError> {
        let application = Continued::new(hosted);
        let storage = open(&path, application.clone(), Options::default()).await?;
        Ok(Self { path, storage, application, last: None })
    }

    /// Takes the state of a backup, verifying all of it before any of it counts.
    pub(super) async fn receive<R: Read + Send + 'static>(
        &mut self,
        mut backup: BackupReader<R>,
    ) -> Result<(), RebuildError> {
        let mut snapshot = self.storage.inbox.create().await.map_err(|e| self.failed(e))?;
        loop {
            let read = move || {
                let block = backup.next_block();
                (backup, block)
            };
            let read = spawn_blocking(read).await.map_err(|e| RebuildError::Stopped(e.to_string()))?;
            let (rest, block) = read;
            backup = rest;
            let Some(block) = block? else { break };
            snapshot.write_all(&block).await.map_err(|e| self.failed(e))?;
        }
        snapshot.shutdown().await.map_err(|e| self.failed(e))?;
        let meta = snapshot.received_meta::<TypeConfig>();
        let meta = meta.ok_or_else(|| RebuildError::Snapshot("its metadata".to_owned()))?;
        self.install(meta, snapshot).await
    }

    /// Takes a state; also one that another storage is sending.
    pub(super) async fn install(
        &mut self,
        meta: SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotFile,
    ) -> Result<(), RebuildError> {
        self.storage.state.install_snapshot(&meta, snapshot).await.map_err(|e| self.failed(e))?;
        self.last = meta.last_log_id;
        self.check_schema().await
    }

    /// Applies the next entry.
    pub(super) async fn apply(&mut self, entry: EntryOf<TypeConfig>) -> Result<(), RebuildError> {
        let log_id = entry.log_id();
        let expected = self.last.as_ref().map_or(Some(0), |last| last.index.checked_add(1));
        if Some(log_id.index) != expected {
            return Err(RebuildError::Snapshot(format!("entry {log_id} does not follow what is there")));
        }
        let applied = self.storage.state.apply(stream::iter([Ok((entry, None))])).await;
        applied.map_err(|e| self.failed(e))?;
        self.last = Some(log_id);
        Ok(())
    }

    async fn check_schema(&self) -> Result<(), RebuildError> {
        let hosted = self.application.hosted();
        let found = self.storage.reader.query(stored_meta()).await.map_err(|e| self.failed(e.into()))?;
        let own = hosted.in_force().own();
        hosted.found(meta_found(found)).map_err(|found| RebuildError::Schema { found, own })
    }

    /// The members of the old cluster.
    pub(super) async fn membership(&mut self) -> Result<Membership<NodeId, Member>, RebuildError> {
        let (_, membership) = self.storage.state.applied_state().await.map_err(|e| self.failed(e))?;
        Ok(membership.membership().clone())
    }

    /// Moves all counters ahead, and makes `member` the only one; all is durable when it returns.
    /// `term`: the greatest that the old cluster is known to have had.
    pub(super) async fn begin_anew(
        mut self,
        node_id: NodeId,
        member: Member,
        identity: MemberIdentity,
        term: u64,
    ) -> Result<(), RebuildError> {
        let last = self.last.as_ref();
        let term = last.map_or(term, |last| last.leader_id.term.max(term));
        let end = || RebuildError::Snapshot("its term or index is the last that can be".to_owned());
        let term = term.checked_add(1).ok_or_else(end)?;
        let mut index = last.map_or(Some(0), |last| last.index.checked_add(1)).ok_or_else(end)?;
        self.application.begin_steps(index);
        let leader = LeaderIdOf::<TypeConfig>::new(term, node_id);
        let log_id = |index| LogId::new(leader.to_committed(), index);
        while !self.application.is_ahead() {
            self.apply(EntryOf::<TypeConfig>::new_normal(log_id(index), Batch::default())).await?;
            index = index.checked_add(1).ok_or_else(end)?;
        }
        let member = member.in_cluster(identity.cluster_id, identity.incarnation);
        let members = BTreeMap::from([(node_id, member)]);
        let membership = Membership::new(vec![[node_id].into()], members);
        let membership = membership.map_err(|e| RebuildError::Stopped(e.to_string()))?;
        self.apply(EntryOf::<TypeConfig>::new_membership(log_id(index), membership)).await?;
        // What is applied becomes durable.
        let mut builder = self.storage.state.get_snapshot_builder().await;
        drop(builder.build_snapshot().await.map_err(|e| self.failed(e))?);
        drop(builder);
        // No entry is newer than the vote; and the log goes on behind the state, which is durable.
        let vote = VoteOf::<TypeConfig>::from_leader_id(leader, false);
        self.storage.log.save_vote(&vote).await.map_err(|e| self.failed(e))?;
        self.storage.log.purge(log_id(index)).await.map_err(|e| self.failed(e))?;
        close(self.storage).await
    }

    fn failed(&self, e: std::io::Error) -> RebuildError {
        let path = self.path.clone();
        match e.downcast::<StorageError>() {
            Ok(source) => RebuildError::Storage { path, source },
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => RebuildError::Snapshot(reason(&e)),
            Err(source) => RebuildError::Io { action: "write", path, source },
        }
    }
}

/// With its cause, which says what is wrong.
fn reason(e: &std::io::Error) -> String {
    let cause = e.get_ref().and_then(std::error::Error::source);
    cause.map_or_else(|| e.to_string(), |cause| format!("{e}: {cause}"))
}
