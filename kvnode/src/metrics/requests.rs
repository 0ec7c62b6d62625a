//! Client requests.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tonic::Code;

use super::registry::register;

/// From a memory hit to the longest usual deadline.
const DURATION_BUCKETS_SECONDS: [f64; 15] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

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
}

impl Op {
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
        }
    }
}

/// Counts and times requests.
pub struct RequestMetrics {
    total: IntCounterVec,
    seconds: HistogramVec,
}

impl RequestMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let total = Opts::new(
            "kv_requests_total",
            "Requests answered, by operation and outcome (ok, or the gRPC status). A forwarded request counts on both nodes.",
        );
        let seconds = HistogramOpts::new(
            "kv_request_duration_seconds",
            "Time from a request's arrival to its answer; for a scan, to its first response.",
        );
        let seconds = seconds.buckets(DURATION_BUCKETS_SECONDS.to_vec());
        Ok(Self {
            total: register(registry, IntCounterVec::new(total, &["op", "outcome"])?)?,
            seconds: register(registry, HistogramVec::new(seconds, &["op"])?)?,
        })
    }

    /// One request was answered with `code` after `took`.
    pub fn answered(&self, op: Op, code: Code, took: Duration) {
        self.total.with_label_values(&[op.as_str(), outcome(code)]).inc();
        self.seconds.with_label_values(&[op.as_str()]).observe(took.as_secs_f64());
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
