//! The service `Cluster`.

use std::sync::Arc;

use proto::kv::v1 as kv;
use proto::kv::v1::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use super::call::{Call, DEFAULT_CLUSTER_DEADLINE, DEFAULT_DEADLINE};
use super::server::Api;
use super::status_report::status_report;
use crate::metrics::Op;

pub(crate) struct ClusterService(pub(crate) Arc<Api>);

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn init(&self, request: Request<kv::InitRequest>) -> Result<Response<kv::InitResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::Init, &call, self.0.init(&call)).await
    }

    async fn status(
        &self,
        request: Request<kv::StatusRequest>,
    ) -> Result<Response<kv::StatusResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let work = async { Ok(status_report(&self.0.local).await) };
        self.0.answer(Op::Status, &call, work).await
    }

    async fn add_learner(
        &self,
        request: Request<kv::AddLearnerRequest>,
    ) -> Result<Response<kv::AddLearnerResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::AddLearner, &call, self.0.add_learner(&call, request.into_inner())).await
    }

    async fn change_membership(
        &self,
        request: Request<kv::ChangeMembershipRequest>,
    ) -> Result<Response<kv::ChangeMembershipResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0
            .answer(Op::ChangeMembership, &call, self.0.change_membership(&call, request.into_inner()))
            .await
    }

    async fn health(
        &self,
        request: Request<kv::HealthRequest>,
    ) -> Result<Response<kv::HealthResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        self.0.answer(Op::Health, &call, async { Ok(self.0.overview.health().await) }).await
    }

    async fn set_address(
        &self,
        request: Request<kv::SetAddressRequest>,
    ) -> Result<Response<kv::SetAddressResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::SetAddress, &call, self.0.set_address(&call, request.into_inner())).await
    }

    async fn transfer_leader(
        &self,
        request: Request<kv::TransferLeaderRequest>,
    ) -> Result<Response<kv::TransferLeaderResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        self.0.answer(Op::TransferLeader, &call, self.0.transfer_leader(&call, request.into_inner())).await
    }

    async fn snapshot(
        &self,
        request: Request<kv::SnapshotRequest>,
    ) -> Result<Response<kv::SnapshotResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_CLUSTER_DEADLINE);
        self.0.answer(Op::Snapshot, &call, self.0.snapshot(&call)).await
    }

    async fn report(
        &self,
        request: Request<kv::ReportRequest>,
    ) -> Result<Response<kv::ReportResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        self.0.answer(Op::Report, &call, async { Ok(self.0.reporter.report(&request).await) }).await
    }
}
