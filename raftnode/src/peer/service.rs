//! `node.v1.Peer`: the answers to other nodes' questions.

use std::sync::Arc;

use bytes::Bytes;
use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use openraft::LogIdOptionExt as _;
use proto::node::v1 as pb;
use proto::node::v1::peer_server::{Peer, PeerServer};
use tonic::{Request, Response, Status};

use super::{Description, EnrollmentError};
use crate::application::Checkpoint;
use crate::raft::{Member, NodeId};
use crate::standing::Local;

/// Answers for this node.
pub(crate) struct PeerService {
    local: Arc<Local>,
}

impl PeerService {
    /// The tonic service, to be served beside Raft's.
    #[must_use]
    pub(crate) fn server(local: Arc<Local>) -> PeerServer<Self> {
        PeerServer::new(Self { local })
    }

    fn check_target(&self, target: NodeId) -> Result<(), Status> {
        let own = self.local.id;
        if target == own {
            return Ok(());
        }
        Err(Status::failed_precondition(format!("this is node {own}; the request is for node {target}")))
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn describe(
        &self,
        request: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        Ok(Response::new(description(&self.local, request.into_inner().asker)))
    }

    async fn reserve(
        &self,
        request: Request<pb::ReserveRequest>,
    ) -> Result<Response<pb::ReserveResponse>, Status> {
        let request = request.into_inner();
        self.check_target(request.target)?;
        self.local.enrollment.reserve(cluster_id(&request.cluster_id)?).map_err(|e| refused(&e))?;
        Ok(Response::new(pb::ReserveResponse {}))
    }

    async fn adopt(&self, request: Request<pb::AdoptRequest>) -> Result<Response<pb::AdoptResponse>, Status> {
        let request = request.into_inner();
        self.check_target(request.target)?;
        let incarnation = Incarnation::from_bytes(&request.incarnation)
            .ok_or_else(|| Status::invalid_argument("the incarnation has not 16 bytes"))?;
        let cluster_id = cluster_id(&request.cluster_id)?;
        let member = MemberIdentity { cluster_id, incarnation: Some(incarnation) };
        let enrollment = Arc::clone(&self.local.enrollment);
        let adopted = tokio::task::spawn_blocking(move || enrollment.adopt(member)).await;
        let adopted = adopted.map_err(|e| Status::internal(format!("cannot join: {e}")))?;
        adopted.map_err(|e| refused(&e))?;
        Ok(Response::new(pb::AdoptResponse {}))
    }

    async fn digests(
        &self,
        request: Request<pb::DigestsRequest>,
    ) -> Result<Response<pb::DigestsResponse>, Status> {
        let request = request.into_inner();
        self.check_target(request.target)?;
        let asked = cluster_id(&request.cluster_id)?;
        let member = self.local.identity().member().filter(|member| member.cluster_id == asked);
        let member = member.ok_or_else(|| {
            Status::failed_precondition(format!("node {} is not a member of cluster {asked}", self.local.id))
        })?;
        let found = self.local.checkpoints().await.map_err(|e| Status::unavailable(e.to_string()))?;
        let checkpoint = |it: Checkpoint| pb::Checkpoint { index: it.index, digest: it.digest.to_bits() };
        Ok(Response::new(pb::DigestsResponse {
            incarnation: member.incarnation.map_or_else(Bytes::new, Incarnation::to_bytes),
            checkpoints: found.into_iter().map(checkpoint).collect(),
        }))
    }
}

fn refused(error: &EnrollmentError) -> Status {
    match error {
        EnrollmentError::Member { .. } | EnrollmentError::Promised { .. } => {
            Status::failed_precondition(error.to_string())
        }
        EnrollmentError::Disk(_) => Status::unavailable(error.to_string()),
    }
}

fn cluster_id(bytes: &[u8]) -> Result<ClusterId, Status> {
    ClusterId::from_bytes(bytes).ok_or_else(|| Status::invalid_argument("the cluster id has not 16 bytes"))
}

/// What this node says about itself, to itself.
pub(crate) fn own_description(local: &Local) -> Result<Description, String> {
    Description::try_from(description(local, local.id))
}

fn description(local: &Local, asker: NodeId) -> pb::DescribeResponse {
    let member = local.identity().member();
    let bytes = |incarnation: Option<Incarnation>| incarnation.map_or_else(Bytes::new, Incarnation::to_bytes);
    let (knows, membership_index) = local.with_metrics(|metrics| {
        let membership = &metrics.membership_config;
        (membership.get_node(&asker).map(Member::incarnation), membership.log_id().index())
    });
    pb::DescribeResponse {
        node_id: local.id,
        cluster_id: member.map_or_else(Bytes::new, |member| member.cluster_id.to_bytes()),
        incarnation: bytes(member.and_then(|member| member.incarnation)),
        cluster_name: local.cluster_name.clone(),
        initialized: local.is_initialized(),
        raft_addr: local.own.raft_addr.clone(),
        client_addr: local.own.client_addr.clone(),
        knows_asker: knows.is_some(),
        asker_incarnation: bytes(knows.flatten()),
        membership_index: membership_index.unwrap_or_default(),
        schema: local.in_force.own(),
        application: local.program.name.to_owned(),
    }
}
