//! The service `Cluster`: for clients on their port, and on the port for peers for what nodes pass
//! on and ask of each other.

use std::sync::Arc;
use std::time::Duration;

use proto::node::v1 as pb;
use proto::node::v1::cluster_server::{Cluster, ClusterServer};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::call::{Call, DEFAULT_CLUSTER_DEADLINE, DEFAULT_DEADLINE};
use super::server::Api;
use super::status_report::status_report;
use crate::metrics::Op;

pub(crate) struct ClusterService {
    api: Arc<Api>,
    call: fn(&MetadataMap, Duration) -> Call,
}

impl ClusterService {
    pub(super) fn for_clients(api: &Arc<Api>) -> ClusterServer<Self> {
        ClusterServer::new(Self { api: Arc::clone(api), call: Call::of })
    }

    pub(super) fn for_peers(api: &Arc<Api>) -> ClusterServer<Self> {
        ClusterServer::new(Self { api: Arc::clone(api), call: Call::of_node })
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn init(&self, request: Request<pb::InitRequest>) -> Result<Response<pb::InitResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.api.answer(Op::INIT, &call, self.api.init(&call)).await
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_DEADLINE);
        let work = async { Ok(status_report(&self.api.local).await) };
        self.api.answer(Op::STATUS, &call, work).await
    }

    async fn add_learner(
        &self,
        request: Request<pb::AddLearnerRequest>,
    ) -> Result<Response<pb::AddLearnerResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.api.answer(Op::ADD_LEARNER, &call, self.api.add_learner(&call, request.into_inner())).await
    }

    async fn change_membership(
        &self,
        request: Request<pb::ChangeMembershipRequest>,
    ) -> Result<Response<pb::ChangeMembershipResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.api
            .answer(Op::CHANGE_MEMBERSHIP, &call, self.api.change_membership(&call, request.into_inner()))
            .await
    }

    async fn health(
        &self,
        request: Request<pb::HealthRequest>,
    ) -> Result<Response<pb::HealthResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_DEADLINE);
        self.api.answer(Op::HEALTH, &call, async { Ok(self.api.overview.health().await) }).await
    }

    async fn set_address(
        &self,
        request: Request<pb::SetAddressRequest>,
    ) -> Result<Response<pb::SetAddressResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.api.answer(Op::SET_ADDRESS, &call, self.api.set_address(&call, request.into_inner())).await
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_DEADLINE);
        self.api
            .answer(Op::TRANSFER_LEADER, &call, self.api.transfer_leader(&call, request.into_inner()))
            .await
    }

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.api.answer(Op::SNAPSHOT, &call, self.api.snapshot(&call)).await
    }

    async fn report(
        &self,
        request: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportResponse>, Status> {
        let call = (self.call)(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        self.api.answer(Op::REPORT, &call, async { Ok(self.api.reporter.report(&request).await) }).await
    }
}
