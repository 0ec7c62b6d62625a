//! Client requests.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tonic::Code;

use super::series::register;

/// From a memory hit to twice the default deadline.
pub(crate) const REQUEST_BUCKETS_SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// A kind of request, for labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// The label value.
    pub name: &'static str,
    /// What it does.
    pub kind: OpKind,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// Changes the application's state.
    Write,
    /// Reads it.
    Read,
    /// Asks how the node or the cluster is; answered by a node that serves nothing else, too.
    Question,
    /// Changes the cluster.
    Change,
}

impl Op {
    /// A write of an application that has only one kind of them.
    pub const WRITE: Self = Self::new("write", OpKind::Write);
    /// A read of such an application.
    pub const READ: Self = Self::new("read", OpKind::Read);
    pub(crate) const INIT: Self = Self::new("init", OpKind::Change);
    pub(crate) const STATUS: Self = Self::new("status", OpKind::Question);
    pub(crate) const ADD_LEARNER: Self = Self::new("add_learner", OpKind::Change);
    pub(crate) const CHANGE_MEMBERSHIP: Self = Self::new("change_membership", OpKind::Change);
    pub(crate) const TRANSFER_LEADER: Self = Self::new("transfer_leader", OpKind::Change);
    pub(crate) const SNAPSHOT: Self = Self::new("snapshot", OpKind::Change);
    pub(crate) const REPORT: Self = Self::new("report", OpKind::Question);
    pub(crate) const HEALTH: Self = Self::new("health", OpKind::Question);
    pub(crate) const SET_ADDRESS: Self = Self::new("set_address", OpKind::Change);
    pub(crate) const SAVE_BACKUP: Self = Self::new("save_backup", OpKind::Change);
    pub(crate) const READ_INDEX: Self = Self::new("read_index", OpKind::Change);

    /// Those that every node has.
    const OF_EVERY_NODE: [Self; 11] = [
        Self::INIT,
        Self::STATUS,
        Self::ADD_LEARNER,
        Self::CHANGE_MEMBERSHIP,
        Self::TRANSFER_LEADER,
        Self::SNAPSHOT,
        Self::REPORT,
        Self::HEALTH,
        Self::SET_ADDRESS,
        Self::SAVE_BACKUP,
        Self::READ_INDEX,
    ];

    /// A request of this name.
    #[must_use]
    pub const fn new(name: &'static str, kind: OpKind) -> Self {
        Self { name, kind }
    }
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client.
    Client,
    /// Another node, on behalf of a client.
    Node,
}

/// Counts and times requests. A request is counted where its client sent it, and nowhere else, so
/// that sums over the nodes are right; what another node sent on is counted apart.
pub(crate) struct RequestMetrics {
    total: IntCounterVec,
    seconds: HistogramVec,
    forwarded: IntCounterVec,
    ops: Vec<Op>,
}

impl RequestMetrics {
    /// With series for the application's `ops`, and for those that every node has.
    pub(super) fn new(registry: &Registry, application: &str, ops: &[Op]) -> prometheus::Result<Self> {
        let total = Opts::new(
            format!("{application}_requests_total"),
            "Requests of clients, by operation and outcome (ok, or the gRPC status; cancelled: given up by the client); counted on the node that the client asked.",
        );
        let seconds = HistogramOpts::new(
            format!("{application}_request_duration_seconds"),
            "Time from a client's request to its answer, or until the client gave up, forwarding included; for a scan, to its first response.",
        );
        let seconds = seconds.buckets(REQUEST_BUCKETS_SECONDS.to_vec());
        let forwarded = Opts::new(
            format!("{application}_forwarded_requests_total"),
            format!(
                "Requests that other nodes sent on to this one, by operation; not in {application}_requests_total."
            ),
        );
        let metrics = Self {
            total: register(registry, IntCounterVec::new(total, &["op", "outcome"])?)?,
            seconds: register(registry, HistogramVec::new(seconds, &["op"])?)?,
            forwarded: register(registry, IntCounterVec::new(forwarded, &["op"])?)?,
            ops: ops.iter().chain(&Op::OF_EVERY_NODE).copied().collect(),
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// A series that is there from the start shows its first increment as one.
    fn begin_at_zero(&self) {
        for op in &self.ops {
            self.total.with_label_values(&[op.name, outcome(Code::Ok)]);
            self.seconds.with_label_values(&[op.name]);
        }
        // Whatever the application calls its own, these are passed on.
        for op in [Op::WRITE, Op::READ].iter().chain(&Op::OF_EVERY_NODE) {
            self.forwarded.with_label_values(&[op.name]);
        }
    }

    /// One request was answered with `code` after `took`, or given up by its client
    /// ([`Code::Cancelled`]).
    pub(crate) fn answered(&self, op: Op, origin: Origin, code: Code, took: Duration) {
        if origin == Origin::Node {
            return self.forwarded.with_label_values(&[op.name]).inc();
        }
        self.total.with_label_values(&[op.name, outcome(code)]).inc();
        self.seconds.with_label_values(&[op.name]).observe(took.as_secs_f64());
    }

    /// The distributions of durations since the start, of each operation of a kind.
    pub(crate) fn durations(&self, kind: OpKind) -> impl Iterator<Item = prometheus::Histogram> {
        let ops = self.ops.iter().filter(move |op| op.kind == kind);
        ops.map(|op| self.seconds.with_label_values(&[op.name]))
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
        Code::PermissionDenied => "permission_denied",
        Code::Unauthenticated => "unauthenticated",
        _ => "other",
    }
}
