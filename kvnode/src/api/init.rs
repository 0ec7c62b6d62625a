//! Cluster.Init: the peers this node was started with become a cluster.
//!
//! Every node of a new cluster has the same peer list, so initialising several at once writes the same
//! first entry everywhere and harms nobody. What must not happen is that a node which was wiped, or is
//! yet to join, founds a second cluster under the same name: so the peers are asked first whether there is
//! one already.

use std::time::Duration;

use futures_util::future::join_all;
use openraft::errors::{InitializeError, RaftError};
use proto::kv::v1 as kv;
use tonic::{Request, Status};

use super::call::Call;
use super::header::header;
use super::server::Api;
use super::status_report::members;
use crate::raft::{Member, NodeId};

/// How long a peer may take to say whether it belongs to a cluster.
const PEER_STATUS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the answer waits for the new cluster's first leader, and at most half of the request's time.
const FIRST_LEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the peers said about themselves.
#[derive(Default)]
struct PeerSurvey {
    existing: Option<kv::StatusResponse>,
    unreachable: Vec<NodeId>,
}

impl Api {
    pub(super) async fn init(&self, call: &Call) -> Result<kv::InitResponse, Status> {
        if self.local.is_initialized() {
            return self.initialized(call, true, &[]).await;
        }
        let survey = self.survey().await?;
        if let Some(existing) = survey.existing {
            return Ok(kv::InitResponse {
                header: header(&self.local, 0),
                already_initialized: true,
                members: existing.members,
            });
        }
        let already = match self.local.raft.initialize(self.local.peers.to_map()).await {
            Ok(()) => false,
            // Somebody else's request was quicker.
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => true,
            Err(e) => return Err(Status::internal(format!("cannot initialise: {e}"))),
        };
        if !already {
            tracing::info!(cluster = self.local.cluster_id, peers = %self.local.peers, "initialised the cluster");
        }
        self.initialized(call, already, &survey.unreachable).await
    }

    /// Waits a while for the leader that makes the cluster usable. Without one the cluster exists all the
    /// same: the answer then names no leader.
    async fn initialized(
        &self,
        call: &Call,
        already_initialized: bool,
        unreachable: &[NodeId],
    ) -> Result<kv::InitResponse, Status> {
        let within = FIRST_LEADER_TIMEOUT.min(call.remaining() / 2);
        if !self.local.wait_for_leader(within).await {
            tracing::warn!(
                ?unreachable,
                "initialised, but there is no leader yet: start a majority of the nodes"
            );
        }
        let members = members(&self.local.metrics());
        Ok(kv::InitResponse { header: header(&self.local, 0), already_initialized, members })
    }

    /// Asks all peers at once whether they belong to a cluster.
    async fn survey(&self) -> Result<PeerSurvey, Status> {
        let others = self.local.peers.iter().filter(|(id, _)| *id != self.local.id);
        let asked = others.map(|(id, member)| async move { (id, self.peer_status(member).await) });
        let mut survey = PeerSurvey::default();
        for (id, status) in join_all(asked).await {
            match &status {
                Some(status) => self.check_cluster(id, status)?,
                None => survey.unreachable.push(id),
            }
            if let Some(status) = status.filter(|status| status.initialized) {
                survey.existing = Some(status);
            }
        }
        Ok(survey)
    }

    async fn peer_status(&self, peer: &Member) -> Option<kv::StatusResponse> {
        let mut client = self.forwarder.cluster(&peer.client_addr).ok()?;
        let mut request = Request::new(kv::StatusRequest {});
        request.set_timeout(PEER_STATUS_TIMEOUT);
        let answer = tokio::time::timeout(PEER_STATUS_TIMEOUT, client.status(request)).await;
        Some(answer.ok()?.ok()?.into_inner())
    }

    fn check_cluster(&self, id: NodeId, status: &kv::StatusResponse) -> Result<(), Status> {
        let theirs = status.header.as_ref().map_or("", |header| header.cluster_id.as_str());
        let ours = &self.local.cluster_id;
        if theirs != ours {
            return Err(Status::failed_precondition(format!(
                "the peer list names node {id}, which belongs to cluster '{theirs}' and not to '{ours}'; start all nodes with the \
                 same --cluster-id"
            )));
        }
        if status.node_id != id {
            return Err(Status::failed_precondition(format!(
                "at the address that the peer list gives for node {id} there is node {}; correct --peers",
                status.node_id
            )));
        }
        // It may belong to a cluster and not be able to tell.
        if !status.initialized && !status.fault.is_empty() {
            return Err(Status::failed_precondition(format!(
                "node {id} cannot say whether there is a cluster already ({}); repair it, or start it on an empty directory \
                 if this cluster is new",
                status.fault
            )));
        }
        Ok(())
    }
}
