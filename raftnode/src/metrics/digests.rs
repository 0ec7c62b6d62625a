//! Comparisons of what this node has applied with what others have.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::series::register;

/// Counted by the task that compares.
#[derive(Debug, Clone)]
pub(crate) struct DigestMetrics {
    /// Another node has applied the same.
    pub(crate) same: IntCounter,
    /// It has not.
    pub(crate) different: IntCounter,
    /// It did not answer, or has no entry in common with this node.
    pub(crate) unknown: IntCounter,
}

impl DigestMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Comparisons of what this node and another have applied, by outcome (same, different; unknown: no answer, or no entry in common).";
        let checks = IntCounterVec::new(Opts::new("raft_digest_checks_total", help), &["outcome"])?;
        let checks = register(registry, checks)?;
        let of = |outcome| checks.with_label_values(&[outcome]);
        Ok(Self { same: of("same"), different: of("different"), unknown: of("unknown") })
    }
}
