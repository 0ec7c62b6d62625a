//! What a fake says of its cluster.

use kvcli::wire::cluster_server::Cluster;
use kvcli::wire::{
    AddLearnerRequest, AddLearnerResponse, ChangeMembershipRequest, ChangeMembershipResponse, HealthRequest,
    HealthResponse, InitRequest, InitResponse, ReportRequest, ReportResponse, SetAddressRequest,
    SetAddressResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
    TransferLeaderRequest, TransferLeaderResponse, node,
};
use tonic::{Request, Response, Status};

use super::{Changed, Fake, named_cluster};

impl Fake {
    fn node_header(&self) -> Option<node::ResponseHeader> {
        let (leader_addr, cluster_id) = self.with(|state| (state.leader.clone(), state.cluster.clone()));
        Some(node::ResponseHeader { cluster_id, node_id: 1, leader_id: 1, leader_addr, term: 3 })
    }
}

#[tonic::async_trait]
impl Cluster for Fake {
    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        self.receive("init", &request, None, |_| {}).await?;
        let members = self.with(|state| state.status.members.clone());
        let header = self.node_header();
        Ok(Response::new(InitResponse { header, already_initialized: false, members }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.with(|state| state.asked += 1);
        self.admit(&named_cluster(&request)).await?;
        let header = self.node_header();
        let status = self.with(|state| state.status.clone());
        Ok(Response::new(StatusResponse { header, ..status }))
    }

    async fn add_learner(
        &self,
        request: Request<AddLearnerRequest>,
    ) -> Result<Response<AddLearnerResponse>, Status> {
        self.receive("add_learner", &request, None, |_| {}).await?;
        let members = self.with(|state| state.status.members.clone());
        Ok(Response::new(AddLearnerResponse { header: self.node_header(), members, catching_up: false }))
    }

    async fn change_membership(
        &self,
        request: Request<ChangeMembershipRequest>,
    ) -> Result<Response<ChangeMembershipResponse>, Status> {
        self.receive("change_membership", &request, None, |_| {}).await?;
        self.with(|state| state.last_request = Some(Changed::Membership(request.into_inner())));
        let members = self.with(|state| state.status.members.clone());
        Ok(Response::new(ChangeMembershipResponse { header: self.node_header(), members }))
    }

    async fn health(&self, request: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        self.admit(&named_cluster(&request)).await?;
        let health = self.with(|state| state.health.clone());
        let health = health.ok_or_else(|| Status::unimplemented(""))?;
        Ok(Response::new(HealthResponse { header: self.node_header(), ..health }))
    }

    async fn set_address(
        &self,
        request: Request<SetAddressRequest>,
    ) -> Result<Response<SetAddressResponse>, Status> {
        self.receive("set_address", &request, None, |_| {}).await?;
        self.with(|state| state.last_request = Some(Changed::Address(request.into_inner())));
        let members = self.with(|state| state.status.members.clone());
        Ok(Response::new(SetAddressResponse { header: self.node_header(), members }))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        self.receive("transfer_leader", &request, None, |_| {}).await?;
        let leader_id = request.into_inner().to;
        Ok(Response::new(TransferLeaderResponse { header: self.node_header(), leader_id }))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<SnapshotResponse>, Status> {
        self.receive("snapshot", &request, None, |_| {}).await?;
        Ok(Response::new(SnapshotResponse { header: self.node_header(), snapshot_index: 42 }))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::unimplemented("kvcli never asks for a report"))
    }
}
