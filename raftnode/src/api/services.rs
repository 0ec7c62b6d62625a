//! The services for clients put together, and the gRPC server that they run in; and those that a
//! node has for its peers beside Raft's.

use std::sync::Arc;
use std::time::Duration;

use proto::node::v1 as pb;
use proto::node::v1::backups_server::BackupsServer;
use proto::node::v1::requests_server::RequestsServer;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic_health::server::HealthReporter;

use super::backups_service::BackupsService;
use super::cluster::ClusterService;
use super::limits::MAX_MESSAGE_BYTES;
use super::requests_service::RequestsService;
use super::server::Api;
use crate::auth::Needs;

/// Requests one connection may have open.
const MAX_STREAMS_PER_CONNECTION: u32 = 1024;
/// A silent connection is probed this often ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// ... and closed if the probe is not answered within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The services of every node whose health is reported; the empty name stands for the whole server.
pub(crate) const HEALTH_SERVICES: [&str; 2] = ["", "node.v1.Cluster"];

/// What an application serves on the port for clients, besides what every node does.
#[derive(Default)]
pub struct ClientServices {
    /// Its services.
    pub routes: RoutesBuilder,
    /// Encoded `FileDescriptorSet`s, for reflection.
    pub descriptors: Vec<&'static [u8]>,
    /// What its methods need where there is an `--auth-file`, by path, as in
    /// `/locks.v1.Locks/Take`. A method that is not named here needs the right to administer.
    pub needs: Vec<(&'static str, Needs)>,
}

impl Api {
    /// The application's services, those of every node, health and reflection; and the switch for
    /// gRPC health.
    ///
    /// # Errors
    /// If the descriptors compiled into this program are malformed.
    pub(crate) fn services(
        self: &Arc<Self>,
        application: &ClientServices,
    ) -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let descriptors = [pb::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
        let reflection = || {
            let all = descriptors.iter().chain(&application.descriptors);
            all.fold(tonic_reflection::server::Builder::configure(), |builder, descriptors| {
                builder.register_encoded_file_descriptor_set(descriptors)
            })
        };
        let mut routes = application.routes.clone();
        routes
            .add_service(ClusterService::for_clients(self))
            .add_service(BackupsServer::new(BackupsService(Arc::clone(self))))
            .add_service(health_server)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        Ok((routes.routes(), health))
    }

    /// What peers pass on to this node and ask of it, added to what it serves on their port.
    pub(crate) fn peer_services(self: &Arc<Self>, peers: Routes) -> Routes {
        let requests = RequestsServer::new(RequestsService(Arc::clone(self)))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        peers.add_service(requests).add_service(ClusterService::for_peers(self))
    }

    /// The server the services run in.
    #[must_use]
    pub(crate) fn server_builder() -> Server {
        Server::builder()
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
    }
}
