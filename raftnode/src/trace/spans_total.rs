//! How many spans were sent, and how many were not.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// There from when the metrics are registered, which is before the first request.
static COUNTERS: OnceLock<Counters> = OnceLock::new();

struct Counters {
    sent: IntCounter,
    dropped: IntCounter,
}

/// Adds the series of this service.
pub(super) fn register(registry: &Registry, service: &str) -> prometheus::Result<()> {
    let about = "Spans sent to the collector, and spans given up because it was away, slow or refused them.";
    let opts = Opts::new(format!("{service}_trace_spans_total"), about);
    let total = IntCounterVec::new(opts, &["outcome"])?;
    let [sent, dropped] = ["sent", "dropped"].map(|outcome| total.with_label_values(&[outcome]));
    registry.register(Box::new(total))?;
    // A second registry in one process is a test's.
    drop(COUNTERS.set(Counters { sent, dropped }));
    Ok(())
}

pub(super) fn add_sent(spans: usize) {
    if let Some(counters) = COUNTERS.get() {
        counters.sent.inc_by(spans as u64);
    }
}

pub(super) fn add_dropped(spans: usize) {
    if let Some(counters) = COUNTERS.get() {
        counters.dropped.inc_by(spans as u64);
    }
}
