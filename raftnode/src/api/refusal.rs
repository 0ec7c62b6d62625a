//! The gRPC answers of a node whose storage cannot be opened: what is wrong, to every request.

use std::sync::Arc;

use axum::Router;
use proto::node::v1 as pb;
use proto::node::v1::cluster_server::{Cluster, ClusterServer};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;

use super::header::{NODE_ID_METADATA, NOT_APPLIED_METADATA};
use super::report::Reporter;
use super::status_codes;
use super::status_report::status_report_of_faulty;
use crate::cluster::Overview;
use crate::standing::{Faulty, explain};

/// The one service that does more than refuse: it says how this node is.
struct FaultyCluster {
    faulty: Arc<Faulty>,
    reporter: Reporter,
    overview: Arc<Overview>,
}

/// Everything on the client port: `Cluster.Status`, `Cluster.Report` and health answer, all else is
/// refused.
pub(crate) async fn client_routes(
    faulty: &Arc<Faulty>,
    reporter: Reporter,
    overview: Arc<Overview>,
    service_names: &[&'static str],
) -> Routes {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    for service in service_names {
        health_reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
    let refusal = client_refusal(faulty);
    let cluster = FaultyCluster { faulty: Arc::clone(faulty), reporter, overview };
    refuse_all(refusal).add_service(ClusterServer::new(cluster)).add_service(health)
}

/// On the port for peers `Cluster` answers as on that for clients. All else is refused with a
/// status that peers take for "unreachable, back off".
pub(crate) fn peer_routes(faulty: &Arc<Faulty>, reporter: Reporter, overview: Arc<Overview>) -> Routes {
    let refusal = Status::unavailable(format!("node {}: {}", faulty.id, explain(&faulty.fault)));
    let cluster = FaultyCluster { faulty: Arc::clone(faulty), reporter, overview };
    refuse_all(refusal).add_service(ClusterServer::new(cluster))
}

fn client_refusal(faulty: &Faulty) -> Status {
    let mut status = status_codes::fault_status(faulty.id, &faulty.fault);
    status.metadata_mut().insert(NODE_ID_METADATA, faulty.id.into());
    status.metadata_mut().insert(NOT_APPLIED_METADATA, MetadataValue::from_static("1"));
    status
}

fn refuse_all(refusal: Status) -> Routes {
    let refuse = async move || {
        let (parts, ()) = refusal.clone().into_http::<()>().into_parts();
        http::Response::from_parts(parts, Body::empty())
    };
    Routes::from(Router::new().fallback(refuse))
}

impl FaultyCluster {
    fn refuse<T>(&self) -> Result<Response<T>, Status> {
        Err(client_refusal(&self.faulty))
    }
}

#[tonic::async_trait]
impl Cluster for FaultyCluster {
    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        Ok(Response::new(status_report_of_faulty(&self.faulty)))
    }

    async fn report(
        &self,
        request: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportResponse>, Status> {
        Ok(Response::new(self.reporter.report(&request.into_inner()).await))
    }

    async fn init(&self, _: Request<pb::InitRequest>) -> Result<Response<pb::InitResponse>, Status> {
        self.refuse()
    }

    async fn add_learner(
        &self,
        _: Request<pb::AddLearnerRequest>,
    ) -> Result<Response<pb::AddLearnerResponse>, Status> {
        self.refuse()
    }

    async fn change_membership(
        &self,
        _: Request<pb::ChangeMembershipRequest>,
    ) -> Result<Response<pb::ChangeMembershipResponse>, Status> {
        self.refuse()
    }

    async fn health(&self, _: Request<pb::HealthRequest>) -> Result<Response<pb::HealthResponse>, Status> {
        Ok(Response::new(self.overview.health().await))
    }

    async fn set_address(
        &self,
        _: Request<pb::SetAddressRequest>,
    ) -> Result<Response<pb::SetAddressResponse>, Status> {
        self.refuse()
    }

    async fn transfer_leader(
        &self,
        _: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        self.refuse()
    }

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        self.refuse()
    }
}
