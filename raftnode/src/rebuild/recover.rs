//! A new cluster of what a node has that survived the loss of a majority.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use openraft::storage::{RaftLogStorage as _, RaftStateMachine as _};
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::vote::RaftLeaderId as _;
use openraft::{EntryPayload, LogIdOptionExt as _, RaftLogReader as _};
use storage_leveldb::{Options, Storage, StorageError};

use super::Rebuilt;
use super::error::RebuildError;
use super::fresh::{Fresh, close, open};
use super::log_point::LogPoint;
use super::marker::{Marker, Work};
use super::restore::blocking;
use super::site::{Site, check_copy};
use crate::application::{Application, Hosted, Typed, stored_meta};
use crate::data_dir::STORAGE;
use crate::identity::Identity;
use crate::raft::{NodeId, TypeConfig};

/// What a node has, and so what may be lost: whatever the old cluster has acknowledged behind
/// `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// The node.
    pub node_id: NodeId,
    /// The cluster that is lost.
    pub cluster_id: ClusterId,
    /// The last entry of its log. All up to it is kept.
    pub last: LogPoint,
    /// The last entry that it knows to be committed. One behind it may have been acknowledged as
    /// well; none before it can be lost.
    pub committed: Option<LogPoint>,
    /// The last entry whose effects are in its state on disk.
    pub applied: Option<LogPoint>,
    /// The term of its vote, and for whom it is.
    pub vote: Option<(u64, NodeId)>,
    /// The members of the cluster, as far as it knows.
    pub members: Vec<NodeId>,
    /// Its storage is known to lack entries that it has acknowledged.
    pub outdated: bool,
}

/// A node's directory, opened and not changed but as every start does.
pub struct Survivor {
    site: Site,
    identity: Identity,
    member: MemberIdentity,
    hosted: Hosted,
    storage: Storage<TypeConfig, Hosted>,
    remains: Remains,
}

/// Finishes a recovery that was interrupted after it had been accepted and made; `None`: there is
/// none. What was interrupted before is begun anew by [`Survivor::open`].
///
/// # Errors
/// [`RebuildError`].
pub async fn resume(data_dir: &Path) -> Result<Option<Rebuilt>, RebuildError> {
    let path = data_dir.to_owned();
    blocking(move || {
        let site = Site::find(&path)?;
        let begun = site.begun(Work::Recovery)?;
        Ok(begun.map(|marker| site.finish_begun(&marker)).transpose()?.flatten())
    })
    .await
}

impl Survivor {
    /// Opens the directory of a node that is stopped, and looks at what it has.
    /// `accept_moved_data`: the directory is a copy, and the operator vouches for it.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub async fn open<A: Application>(
        application: A,
        data_dir: &Path,
        accept_moved_data: bool,
    ) -> Result<Self, RebuildError> {
        let hosted = Hosted::new(Arc::new(Typed(Arc::new(application))));
        Self::open_hosted(hosted, data_dir.to_owned(), accept_moved_data).await
    }

    fn open_hosted(
        hosted: Hosted,
        path: PathBuf,
        accept_copy: bool,
    ) -> BoxFuture<'static, Result<Self, RebuildError>> {
        Box::pin(async move {
            let (site, identity) = blocking(move || {
                let site = Site::find(&path)?;
                site.begun(Work::Recovery)?;
                let identity = check_copy(&site.path, accept_copy)?;
                Ok((site, identity))
            })
            .await?;
            let nothing = |reason: &str| RebuildError::Nothing {
                path: site.path.clone(),
                reason: format!("node {} {reason}", identity.node_id),
            };
            let member = identity.member.ok_or_else(|| nothing("belongs to no cluster"))?;
            let mut options = Options::default();
            options.must_exist = identity.stored;
            options.accept_copy = accept_copy;
            let mut storage = open(&site.path.join(STORAGE), hosted.clone(), options).await?;
            let remains =
                look(&identity, member.cluster_id, &mut storage).await.map_err(|e| failed(&site, e))?;
            let remains = remains.ok_or_else(|| nothing("has no entry"))?;
            Ok(Self { site, identity, member, hosted, storage, remains })
        })
    }

    /// What it has.
    #[must_use]
    pub fn remains(&self) -> &Remains {
        &self.remains
    }

    /// Makes a new cluster of one member of it. All entries of the log are kept and applied, those
    /// too that the node does not know to be committed: a majority may have had them and
    /// acknowledged them, which cannot be told from here; and one that was not acknowledged may be
    /// applied, as its client was never told otherwise. `accepted`: the entry behind which
    /// everything may be lost, [`Remains::last`].
    ///
    /// All counters are ahead by [`AHEAD`](super::AHEAD), and sessions are kept, as for
    /// [`restore`](super::restore). The old storage stays beside the new one, as
    /// `storage.of-OLD_CLUSTER`.
    ///
    /// # Errors
    /// [`RebuildError`]. A call that was interrupted or has failed leaves a directory on which no
    /// node starts, and is finished by [`resume`] or begun anew by [`Survivor::open`].
    pub async fn recover(self, accepted: LogPoint) -> Result<Rebuilt, RebuildError> {
        if accepted != self.remains.last {
            return Err(RebuildError::OtherLoss { last: self.remains.last, accepted });
        }
        self.rebuild().await
    }

    fn rebuild(self) -> BoxFuture<'static, Result<Rebuilt, RebuildError>> {
        Box::pin(async move {
            let Self { site, identity, member: old, hosted, mut storage, remains } = self;
            let member = MemberIdentity {
                cluster_id: ClusterId::random(),
                incarnation: Some(Incarnation::random(remains.last.index.max(1))),
            };
            let marker = Marker { work: Work::Recovery, member, before: Some(old.cluster_id) };
            let mut fresh = Fresh::create(site.begin(&marker)?, hosted).await?;
            let snapshot = storage.reader.snapshot(stored_meta()).await;
            let snapshot = snapshot.map_err(|e| failed(&site, e.into()))?;
            let mut next = 0;
            if let Some(applied) = snapshot.meta.last_log_id {
                fresh.install(snapshot.meta, snapshot.stream).await?;
                next = applied.index + 1;
            }
            let mut log = storage.log.get_log_reader().await;
            let mut entries = Box::pin(log.entries_stream(next..).await);
            while let Some(entry) = entries.try_next().await.map_err(|e| failed(&site, e))? {
                fresh.apply(entry).await?;
            }
            drop(entries);
            drop(log);
            close(storage).await?;
            let members = fresh.membership().await?;
            let own = members.get_node(&identity.node_id).cloned();
            let own = own.ok_or_else(|| RebuildError::Nothing {
                path: site.path.clone(),
                reason: format!("node {} was removed from its cluster", identity.node_id),
            })?;
            let term = remains.vote.map_or(0, |(term, _)| term);
            fresh.begin_anew(identity.node_id, own, member, term).await?;
            let identity =
                Identity { member: Some(member), stored: true, ..Identity::new(identity.node_id, None) };
            blocking(move || site.commit(&marker, &identity)).await
        })
    }
}

/// `None`: it has nothing.
async fn look(
    identity: &Identity,
    cluster_id: ClusterId,
    storage: &mut Storage<TypeConfig, Hosted>,
) -> Result<Option<Remains>, std::io::Error> {
    let log = storage.log.get_log_state().await?;
    let committed = storage.log.read_committed().await?;
    let (applied, membership) = storage.state.applied_state().await?;
    let mut reader = storage.log.get_log_reader().await;
    let vote: Option<VoteOf<TypeConfig>> = reader.read_vote().await?;
    let mut members: Vec<_> = membership.membership().nodes().map(|(id, _)| *id).collect();
    let mut entries = Box::pin(reader.entries_stream(applied.next_index()..).await);
    while let Some(entry) = entries.try_next().await? {
        if let EntryPayload::Membership(membership) = &entry.payload {
            members = membership.nodes().map(|(id, _)| *id).collect();
        }
    }
    // A state may be ahead of its own log.
    let last = log.last_log_id.max(applied);
    let point = |log_id: Option<LogIdOf<TypeConfig>>| log_id.as_ref().map(LogPoint::of);
    Ok(point(last).map(|last| Remains {
        node_id: identity.node_id,
        cluster_id,
        last,
        // What is applied was committed.
        committed: point(committed.max(applied)),
        applied: point(applied),
        vote: vote.map(|vote| (vote.leader_id().term(), *vote.leader_id().node_id())),
        members,
        outdated: identity.outdated,
    }))
}

fn failed(site: &Site, e: std::io::Error) -> RebuildError {
    let path = site.path.join(STORAGE);
    match e.downcast::<StorageError>() {
        Ok(source) => RebuildError::Storage { path, source },
        Err(source) => RebuildError::Io { action: "read", path, source },
    }
}
