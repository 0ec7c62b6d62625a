//! The service `Cluster`.

use std::sync::Arc;

use proto::node::v1 as pb;
use proto::node::v1::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use super::call::{Call, DEFAULT_CLUSTER_DEADLINE, DEFAULT_DEADLINE};
use super::server::Api;
use super::status_report::status_report;
use crate::metrics::Op;

pub(crate) struct ClusterService(pub(crate) Arc<Api>);

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn init(&self, request: Request<pb::InitRequest>) -> Result<Response<pb::InitResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::INIT, &call, self.0.init(&call)).await
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let work = async { Ok(status_report(&self.0.local).await) };
        self.0.answer(Op::STATUS, &call, work).await
    }

    async fn add_learner(
        &self,
        request: Request<pb::AddLearnerRequest>,
    ) -> Result<Response<pb::AddLearnerResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::ADD_LEARNER, &call, self.0.add_learner(&call, request.into_inner())).await
    }

    async fn change_membership(
        &self,
        request: Request<pb::ChangeMembershipRequest>,
    ) -> Result<Response<pb::ChangeMembershipResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0
            .answer(Op::CHANGE_MEMBERSHIP, &call, self.0.change_membership(&call, request.into_inner()))
            .await
    }

    async fn health(
        &self,
        request: Request<pb::HealthRequest>,
    ) -> Result<Response<pb::HealthResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        self.0.answer(Op::HEALTH, &call, async { Ok(self.0.overview.health().await) }).await
    }

    async fn set_address(
        &self,
        request: Request<pb::SetAddressRequest>,
    ) -> Result<Response<pb::SetAddressResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::SET_ADDRESS, &call, self.0.set_address(&call, request.into_inner())).await
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        self.0.answer(Op::TRANSFER_LEADER, &call, self.0.transfer_leader(&call, request.into_inner())).await
    }

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::SNAPSHOT, &call, self.0.snapshot(&call)).await
    }

    async fn report(
        &self,
        request: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        self.0.answer(Op::REPORT, &call, async { Ok(self.0.reporter.report(&request).await) }).await
    }
}
