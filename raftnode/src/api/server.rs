//! What the services for clients share, and what every request to one of them passes through.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Response, Status};

use super::admission::Admission;
use super::call::Call;
use super::forward::Forwarder;
use super::proposals::Proposals;
use super::read_index::ReadIndex;
use super::report::Reporter;
use super::request_log::RequestLog;
use super::status_codes;
use crate::application::{Host, Hosted};
use crate::cluster::Overview;
use crate::metrics::{Metrics, Op, OpKind};
use crate::standing::{Affiliation, Local};

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
    /// What the application calls itself.
    pub(super) application_name: &'static str,
    log: RequestLog,
}

impl Api {
    /// Must be called in the runtime that serves: it starts the task that confirms reads.
    #[must_use]
    pub(crate) fn new(
        local: Arc<Local>,
        metrics: Arc<Metrics>,
        reporter: Reporter,
        overview: Arc<Overview>,
        (application_name, hosted): (&'static str, &Hosted),
    ) -> Arc<Self> {
        let read_index = ReadIndex::start(local.raft.clone());
        let proposals = Proposals::start(local.raft.clone(), hosted.clone());
        let (forwarder, admission) = (Forwarder::new(local.dialler.clone()), Admission::new());
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
            application_name,
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
