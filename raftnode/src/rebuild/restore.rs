//! A new cluster of a backup.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use proto::backup::BackupReader;
use proto::node::v1::BackupHeader;
use tokio::task::spawn_blocking;

use super::Rebuilt;
use super::error::RebuildError;
use super::fresh::Fresh;
use super::marker::{Marker, Work};
use super::site::Site;
use crate::application::{Application, Hosted, Typed};
use crate::identity::Identity;
use crate::raft::{Member, NodeId};

/// What the one member of the new cluster is.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// What the application calls itself: [`Builder::name`](crate::Builder::name).
    pub application: String,
    /// Where the node will store; empty or not there.
    pub data_dir: PathBuf,
    /// The node.
    pub node_id: NodeId,
    /// How others will reach it: the addresses that it will advertise.
    pub member: Member,
}

/// Makes a new cluster of one member of a backup. The cluster has an id of its own; the members of
/// the old one are not part of it. Other nodes are added as usual.
///
/// All counters are ahead by [`AHEAD`](super::AHEAD). The sessions of clients are kept: a write that
/// the backup has is not applied again when its client repeats it, and one that it lacks is.
///
/// # Errors
/// [`RebuildError`]. A call that was interrupted or has failed leaves a directory on which no node
/// starts, and is finished by the next one.
pub async fn restore<A: Application, R: Read + Send + 'static>(
    application: A,
    backup: R,
    options: RestoreOptions,
) -> Result<Rebuilt, RebuildError> {
    let hosted = Hosted::new(Arc::new(Typed(Arc::new(application))));
    restore_hosted(hosted, Box::new(backup), options).await
}

/// Boxed, so that it is compiled once.
fn restore_hosted(
    hosted: Hosted,
    backup: Box<dyn Read + Send>,
    options: RestoreOptions,
) -> BoxFuture<'static, Result<Rebuilt, RebuildError>> {
    Box::pin(async move {
        let path = options.data_dir.clone();
        let site = blocking(move || Site::make(&path)).await?;
        let begun = site.begun(Work::Restore)?;
        if let Some(rebuilt) = begun.map(|marker| site.finish_begun(&marker)).transpose()?.flatten() {
            let (found, asked) = (rebuilt.node_id, options.node_id);
            let other = RebuildError::OtherNode { path: site.path.clone(), found, asked };
            return if found == asked { Ok(rebuilt) } else { Err(other) };
        }
        let backup = blocking(move || Ok(BackupReader::open(backup)?)).await?;
        let header = backup.header().clone();
        check(&header, &options.application, hosted.in_force().own())?;
        let member = MemberIdentity {
            cluster_id: ClusterId::random(),
            incarnation: Some(Incarnation::random(header.log_index.max(1))),
        };
        let marker = Marker { work: Work::Restore, member, before: None };
        let mut fresh = Fresh::create(site.begin(&marker)?, hosted).await?;
        fresh.receive(backup).await?;
        fresh.begin_anew(options.node_id, options.member, member, header.log_term).await?;
        let identity =
            Identity { member: Some(member), stored: true, ..Identity::new(options.node_id, None) };
        blocking(move || site.commit(&marker, &identity)).await
    })
}

fn check(header: &BackupHeader, application: &str, own: u32) -> Result<(), RebuildError> {
    if header.application != application {
        let (found, own) = (header.application.clone(), application.to_owned());
        return Err(RebuildError::OtherApplication { found, own });
    }
    if header.schema > own {
        return Err(RebuildError::Schema { found: header.schema, own });
    }
    Ok(())
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RebuildError> + Send + 'static,
) -> Result<T, RebuildError> {
    spawn_blocking(work).await.map_err(|e| RebuildError::Stopped(e.to_string()))?
}
