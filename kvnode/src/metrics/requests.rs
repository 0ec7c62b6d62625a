//! Client requests.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tonic::Code;

use super::registry::register;

/// From a memory hit to twice the default deadline.
pub const REQUEST_BUCKETS_SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// A request of the client API, for labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the call of the same name")]
pub enum Op {
    Put,
    Get,
    Delete,
    Scan,
    Init,
    Status,
    AddLearner,
    ChangeMembership,
    TransferLeader,
    Snapshot,
    Report,
    Health,
    SetAddress,
}

impl Op {
    /// Every operation.
    pub const ALL: [Self; 13] = [
        Self::Put,
        Self::Get,
        Self::Delete,
        Self::Scan,
        Self::Init,
        Self::Status,
        Self::AddLearner,
        Self::ChangeMembership,
        Self::TransferLeader,
        Self::Snapshot,
        Self::Report,
        Self::Health,
        Self::SetAddress,
    ];

    /// The label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::Scan => "scan",
            Self::Init => "init",
            Self::Status => "status",
            Self::AddLearner => "add_learner",
            Self::ChangeMembership => "change_membership",
            Self::TransferLeader => "transfer_leader",
            Self::Snapshot => "snapshot",
            Self::Report => "report",
            Self::Health => "health",
            Self::SetAddress => "set_address",
        }
    }
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client.
    Client,
    /// Another node, on behalf of a client.
    Node,
}

/// Counts and times requests. A request is counted where its client sent it, and nowhere else, so that sums over the
/// nodes are right; what another node sent on is counted apart.
pub struct RequestMetrics {
    total: IntCounterVec,
    seconds: HistogramVec,
    forwarded: IntCounterVec,
}

impl RequestMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let total = Opts::new(
            "kv_requests_total",
            "Requests of clients, by operation and outcome (ok, or the gRPC status; cancelled: given up by the client); counted on the node that the client asked.",
        );
        let seconds = HistogramOpts::new(
            "kv_request_duration_seconds",
            "Time from a client's request to its answer, or until the client gave up, forwarding included; for a scan, to its first response.",
        );
        let seconds = seconds.buckets(REQUEST_BUCKETS_SECONDS.to_vec());
        let forwarded = Opts::new(
            "kv_forwarded_requests_total",
            "Requests that other nodes sent on to this one, by operation; not in kv_requests_total.",
        );
        let metrics = Self {
            total: register(registry, IntCounterVec::new(total, &["op", "outcome"])?)?,
            seconds: register(registry, HistogramVec::new(seconds, &["op"])?)?,
            forwarded: register(registry, IntCounterVec::new(forwarded, &["op"])?)?,
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// A series that is there from the start shows its first increment as one.
    fn begin_at_zero(&self) {
        for op in Op::ALL {
            self.total.with_label_values(&[op.as_str(), outcome(Code::Ok)]);
            self.seconds.with_label_values(&[op.as_str()]);
            self.forwarded.with_label_values(&[op.as_str()]);
        }
    }

    /// One request was answered with `code` after `took`, or given up by its client ([`Code::Cancelled`]).
    pub fn answered(&self, op: Op, origin: Origin, code: Code, took: Duration) {
        if origin == Origin::Node {
            return self.forwarded.with_label_values(&[op.as_str()]).inc();
        }
        self.total.with_label_values(&[op.as_str(), outcome(code)]).inc();
        self.seconds.with_label_values(&[op.as_str()]).observe(took.as_secs_f64());
    }

    /// The distribution of durations of one operation since the start.
    #[must_use]
    pub fn durations(&self, op: Op) -> prometheus::Histogram {
        self.seconds.with_label_values(&[op.as_str()])
    }
}

fn outcome(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        _ => "other",
    }
}
