//! The gRPC server for clients: what the services share, and the services put together.

use std::sync::Arc;
use std::time::Duration;

use proto::kv::v1::cluster_server::ClusterServer;
use proto::kv::v1::kv_server::KvServer;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic::{Response, Status};
use tonic_health::server::HealthReporter;

use super::admission::Admission;
use super::call::Call;
use super::cluster::ClusterService;
use super::forward::Forwarder;
use super::kv::KvService;
use super::read_index::ReadIndex;
use super::report::Reporter;
use super::request_log::RequestLog;
use super::status_codes;
use crate::cluster::Overview;
use crate::metrics::{Metrics, Op};
use crate::node::{Affiliation, Local};

/// Largest message accepted or sent: enough that a value over the limit is refused by name rather than by
/// breaking the call.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Requests one connection may have open.
const MAX_STREAMS_PER_CONNECTION: u32 = 1024;
/// A silent connection is probed this often ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// ... and closed if the probe is not answered within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The services whose health is reported; the empty name stands for the whole server.
pub const HEALTH_SERVICES: [&str; 3] = ["", "kv.v1.Kv", "kv.v1.Cluster"];

/// What the client services share.
pub struct Api {
    pub(super) local: Arc<Local>,
    pub(super) forwarder: Forwarder,
    pub(super) read_index: ReadIndex,
    pub(super) admission: Admission,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reporter: Reporter,
    pub(super) overview: Arc<Overview>,
    log: RequestLog,
}

/// Everything served on the client port, and the switch for gRPC health.
pub struct ClientServices {
    /// The services.
    pub routes: Routes,
    /// Says whether `kv.v1.Kv` serves.
    pub health: HealthReporter,
}

impl Api {
    /// Must be called in the runtime that serves: it starts the task that confirms reads.
    #[must_use]
    pub fn new(
        local: Arc<Local>,
        metrics: Arc<Metrics>,
        reporter: Reporter,
        overview: Arc<Overview>,
    ) -> Arc<Self> {
        let read_index = ReadIndex::start(local.raft.clone());
        let (forwarder, admission) = (Forwarder::default(), Admission::new());
        let log = RequestLog::default();
        Arc::new(Self { local, forwarder, read_index, admission, metrics, reporter, overview, log })
    }

    /// The services, health and reflection.
    ///
    /// # Errors
    /// If the descriptors compiled into this program are malformed.
    pub fn services(self: &Arc<Self>) -> Result<ClientServices, tonic_reflection::server::Error> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::kv::v1::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let kv = KvServer::new(KvService(Arc::clone(self)))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let cluster = ClusterServer::new(ClusterService(Arc::clone(self)));
        let mut routes = RoutesBuilder::default();
        routes
            .add_service(kv)
            .add_service(cluster)
            .add_service(health_server)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        Ok(ClientServices { routes: routes.routes(), health })
    }

    /// The server the services run in.
    #[must_use]
    pub fn server_builder() -> Server {
        Server::builder()
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
    }

    /// Runs one request: refuses it if this node serves nothing or is full, counts, times and logs it, and
    /// completes its failure with who answered and who leads.
    pub(super) async fn answer<T>(
        &self,
        op: Op,
        call: &Call,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let underway = self.log.begin(&self.metrics.requests, op, call);
        let outcome = self.admitted(op, call, work).await;
        underway.answered(outcome.as_ref().err());
        outcome.map(Response::new).map_err(|status| status_codes::with_hints(&self.local, status))
    }

    async fn admitted<T>(
        &self,
        op: Op,
        call: &Call,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        status_codes::check_addressee(&self.local, call.addressee)?;
        if call.forwarded && op != Op::Init && call.addressee.cluster.is_none() {
            return Err(Status::invalid_argument("a forwarded request says for which cluster it is"));
        }
        // A broken node still says how it is.
        if !matches!(op, Op::Status | Op::Report | Op::Health) {
            status_codes::check_standing(&self.local)?;
            self.refuse_the_replaced()?;
        }
        let _place = self.admission.request()?;
        work.await
    }

    /// A node that was removed, or that is not what its cluster knows, passes nothing on either.
    fn refuse_the_replaced(&self) -> Result<(), Status> {
        match self.local.affiliation() {
            Affiliation::Removed(_) | Affiliation::Replaced(_) => {
                status_codes::check_affiliation(&self.local)
            }
            _ => Ok(()),
        }
    }
}
