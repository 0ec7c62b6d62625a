//! The gRPC server for clients: what the services share, and the services put together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::node::v1 as pb;
use proto::node::v1::cluster_server::ClusterServer;
use proto::node::v1::requests_server::RequestsServer;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic::{Response, Status};
use tonic_health::server::HealthReporter;

use super::admission::Admission;
use super::call::Call;
use super::cluster::ClusterService;
use super::forward::Forwarder;
use super::proposals::Proposals;
use super::read_index::ReadIndex;
use super::report::Reporter;
use super::request_log::RequestLog;
use super::requests_service::RequestsService;
use super::status_codes;
use crate::application::{Host, Hosted};
use crate::cluster::Overview;
use crate::metrics::{Metrics, Op, OpKind};
use crate::node::{Affiliation, Local};

/// Largest message accepted or sent: enough that a value over the limit is refused by name rather
/// than by breaking the call.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Requests one connection may have open.
const MAX_STREAMS_PER_CONNECTION: u32 = 1024;
/// A silent connection is probed this often ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// ... and closed if the probe is not answered within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The services of every node whose health is reported; the empty name stands for the whole server.
pub(crate) const HEALTH_SERVICES: [&str; 2] = ["", "node.v1.Cluster"];

/// What the client services share.
pub(crate) struct Api {
    pub(super) local: Arc<Local>,
    pub(super) forwarder: Forwarder,
    pub(super) read_index: ReadIndex,
    pub(crate) admission: Admission,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reporter: Reporter,
    pub(super) overview: Arc<Overview>,
    pub(super) proposals: Proposals,
    host: Arc<dyn Host>,
    log: RequestLog,
}

/// What an application serves on the port for clients, besides what every node does.
#[derive(Default)]
pub struct ClientServices {
    /// Its services.
    pub routes: RoutesBuilder,
    /// Encoded `FileDescriptorSet`s, for reflection.
    pub descriptors: Vec<&'static [u8]>,
}

impl Api {
    /// Must be called in the runtime that serves: it starts the task that confirms reads.
    #[must_use]
    pub(crate) fn new(
        local: Arc<Local>,
        metrics: Arc<Metrics>,
        reporter: Reporter,
        overview: Arc<Overview>,
        hosted: &Hosted,
    ) -> Arc<Self> {
        let read_index = ReadIndex::start(local.raft.clone());
        let proposals = Proposals::start(local.raft.clone(), hosted.clone());
        let (forwarder, admission) = (Forwarder::default(), Admission::new());
        let (host, log) = (Arc::clone(hosted.host()), RequestLog::default());
        Arc::new(Self {
            local,
            forwarder,
            read_index,
            admission,
            metrics,
            reporter,
            overview,
            proposals,
            host,
            log,
        })
    }

    /// This node.
    pub(crate) fn local(&self) -> &Arc<Local> {
        &self.local
    }

    /// The application.
    pub(super) fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// The application's services, those of every node, health and reflection; and the switch for
    /// gRPC health.
    ///
    /// # Errors
    /// If the descriptors compiled into this program are malformed.
    pub(crate) fn services(
        self: &Arc<Self>,
        application: ClientServices,
    ) -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
        let (health, health_server) = tonic_health::server::health_reporter();
        let descriptors = [pb::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
        let reflection = || {
            let all = descriptors.iter().chain(&application.descriptors);
            all.fold(tonic_reflection::server::Builder::configure(), |builder, descriptors| {
                builder.register_encoded_file_descriptor_set(descriptors)
            })
        };
        let requests = RequestsServer::new(RequestsService(Arc::clone(self)))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let mut routes = application.routes.clone();
        routes
            .add_service(ClusterServer::new(ClusterService(Arc::clone(self))))
            .add_service(requests)
            .add_service(health_server)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        Ok((routes.routes(), health))
    }

    /// The server the services run in.
    #[must_use]
    pub(crate) fn server_builder() -> Server {
        Server::builder()
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
    }

    /// Runs one request: refuses it if this node serves nothing or is full, counts, times and logs
    /// it, and completes its failure with who answered and who leads.
    pub(crate) async fn answer<T>(
        &self,
        op: Op,
        call: &Call,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let underway = self.log.begin(&self.metrics.requests, op, call, Instant::now());
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
        self.check_addressee(op, call)?;
        // A broken node still says how it is.
        if op.kind != OpKind::Question {
            self.check_serving()?;
        }
        let _place = self.admission.request()?;
        work.await
    }

    /// Whether a stream of requests is for this node. Each of them is checked apart.
    ///
    /// # Errors
    /// None of its requests was begun.
    pub(crate) fn check_stream(&self, call: &Call) -> Result<(), Status> {
        self.check_addressee(Op::WRITE, call).map_err(|status| status_codes::with_hints(&self.local, status))
    }

    fn check_addressee(&self, op: Op, call: &Call) -> Result<(), Status> {
        status_codes::check_addressee(&self.local, call.addressee)?;
        if call.forwarded && op != Op::INIT && call.addressee.cluster.is_none() {
            return Err(Status::invalid_argument("a forwarded request says for which cluster it is"));
        }
        Ok(())
    }

    /// Whether this node answers reads and writes.
    pub(super) fn check_serving(&self) -> Result<(), Status> {
        status_codes::check_standing(&self.local)?;
        self.refuse_the_replaced()
    }

    /// Counts, times and logs a request of a stream, and completes its failure.
    pub(super) fn ended<T>(
        &self,
        op: Op,
        call: &Call,
        started: Instant,
        outcome: Result<T, Status>,
    ) -> Result<T, Status> {
        let underway = self.log.begin(&self.metrics.requests, op, call, started);
        underway.answered(outcome.as_ref().err());
        outcome.map_err(|status| status_codes::with_hints(&self.local, status))
    }

    /// Counts a request of a stream that its client gave up.
    pub(super) fn given_up(&self, op: Op, call: &Call, started: Instant) {
        drop(self.log.begin(&self.metrics.requests, op, call, started));
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
