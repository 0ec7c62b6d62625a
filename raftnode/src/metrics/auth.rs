//! Requests that are refused for what their principal is or may do.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::series::register;

/// Counted by the guards of the ports.
#[derive(Debug, Clone)]
pub(crate) struct AuthMetrics {
    /// It was of no principal.
    pub(crate) unauthenticated: IntCounter,
    /// The principal lacks a right, or it was outside of its scope.
    pub(crate) permission_denied: IntCounter,
    usable: IntGauge,
}

impl AuthMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Requests refused because they are of no principal (unauthenticated), or of one that may not (permission_denied).";
        let refused = IntCounterVec::new(Opts::new("auth_refusals_total", help), &["reason"])?;
        let refused = register(registry, refused)?;
        let help = "1: --auth-file is in force as it is, or is not given; 0: it cannot be used, and an older state of it is in force.";
        let usable = register(registry, IntGauge::new("auth_file_usable", help)?)?;
        usable.set(1);
        Ok(Self {
            unauthenticated: refused.with_label_values(&["unauthenticated"]),
            permission_denied: refused.with_label_values(&["permission_denied"]),
            usable,
        })
    }

    /// Whether the file can be used as it is.
    pub(crate) fn set_usable(&self, is_usable: bool) {
        self.usable.set(i64::from(is_usable));
    }
}
