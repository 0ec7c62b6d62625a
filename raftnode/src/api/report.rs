//! What a node tells about itself for the status page: `Cluster.Report`, and the same without the
//! network for its own page. A node whose storage cannot be opened reports too.

use std::sync::Arc;

use proto::node::v1 as pb;

use super::header::{header, header_of_faulty};
use super::status_report::{members, status_report, status_report_of_faulty};
use crate::config::Peers;
use crate::history::{DISK_BOUNDS_SECONDS, History, REQUEST_BOUNDS_SECONDS};
use crate::raft::NodeId;
use crate::standing::{DiskBytes, DiskSpace, Faulty, Local, explain};

/// Speaks for this node, whatever state it is in.
#[derive(Clone)]
pub(crate) struct Reporter {
    subject: Subject,
    history: Arc<History>,
}

#[derive(Clone)]
enum Subject {
    Node(Arc<Local>),
    Faulty(Arc<Faulty>),
}

impl Reporter {
    /// For a node that runs.
    #[must_use]
    pub(crate) fn new(local: Arc<Local>, history: Arc<History>) -> Self {
        Self { subject: Subject::Node(local), history }
    }

    /// For a node without storage.
    pub(crate) fn of_faulty(faulty: Arc<Faulty>, history: Arc<History>) -> Self {
        Self { subject: Subject::Faulty(faulty), history }
    }

    /// This node's id.
    #[must_use]
    pub(crate) fn id(&self) -> NodeId {
        match &self.subject {
            Subject::Node(local) => local.id,
            Subject::Faulty(faulty) => faulty.id,
        }
    }

    /// The id of its cluster in 32 hexadecimal digits; empty if it belongs to none.
    #[must_use]
    pub(crate) fn cluster_id(&self) -> String {
        match &self.subject {
            Subject::Node(local) => local.cluster_id(),
            Subject::Faulty(faulty) => faulty.cluster_id.clone(),
        }
    }

    /// The label of its cluster.
    #[must_use]
    pub(crate) fn cluster_name(&self) -> &str {
        match &self.subject {
            Subject::Node(local) => &local.cluster_name,
            Subject::Faulty(faulty) => &faulty.cluster_name,
        }
    }

    /// What every answer says about this node and the leader.
    pub(crate) fn header(&self) -> pb::ResponseHeader {
        match &self.subject {
            Subject::Node(local) => header(local).unwrap_or_default(),
            Subject::Faulty(faulty) => header_of_faulty(faulty),
        }
    }

    /// The members as far as this node knows them: without a membership, those it was started with.
    #[must_use]
    pub(crate) fn members(&self) -> Vec<pb::Member> {
        let (known, peers) = match &self.subject {
            Subject::Node(local) => (local.with_metrics(members), &local.peers),
            Subject::Faulty(faulty) => (Vec::new(), &faulty.peers),
        };
        if !known.is_empty() {
            return known;
        }
        let member = |(id, member): (NodeId, &crate::raft::Member)| pb::Member {
            id,
            raft_addr: member.raft_addr.clone(),
            client_addr: member.client_addr.clone(),
            voter: true,
            ..pb::Member::default()
        };
        peers.iter().flat_map(Peers::iter).map(member).collect()
    }

    /// Everything that `request` does not have yet.
    pub(crate) async fn report(&self, request: &pb::ReportRequest) -> pb::ReportResponse {
        let (samples, events) = self.history.since(request);
        let report = match &self.subject {
            Subject::Node(local) => of_node(local).await,
            Subject::Faulty(faulty) => of_faulty(faulty).await,
        };
        pb::ReportResponse {
            run: self.history.run,
            leader_since_unix_ms: self.history.leader_since_unix_ms(),
            request_bounds_seconds: REQUEST_BOUNDS_SECONDS.to_vec(),
            disk_bounds_seconds: DISK_BOUNDS_SECONDS.to_vec(),
            samples,
            events,
            ..report
        }
    }
}

async fn of_node(local: &Local) -> pb::ReportResponse {
    let DiskBytes { snapshot, .. } = local.disk_bytes().await;
    let space = local.disk_space().await.unwrap_or_default();
    pb::ReportResponse {
        status: Some(status_report(local).await),
        not_ready_because: local.ready().err().map(|reason| reason.to_string()).unwrap_or_default(),
        http_addr: local.http_addr.clone(),
        snapshot_size_bytes: snapshot,
        disk_free_bytes: space.free,
        disk_size_bytes: space.size,
        ..pb::ReportResponse::default()
    }
}

async fn of_faulty(faulty: &Faulty) -> pb::ReportResponse {
    let space = DiskSpace::of(&faulty.data_dir).await.unwrap_or_default();
    pb::ReportResponse {
        status: Some(status_report_of_faulty(faulty)),
        not_ready_because: explain(&faulty.fault),
        http_addr: faulty.http_addr.clone(),
        disk_free_bytes: space.free,
        disk_size_bytes: space.size,
        ..pb::ReportResponse::default()
    }
}
