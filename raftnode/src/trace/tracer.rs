//! Where requests leave their spans: a bounded queue that no request waits for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::Registry;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{Span, TraceContext, spans_total};

/// Spans that wait for the collector: at most 6 MiB, with the longest errors.
const MAX_QUEUED_SPANS: usize = 4096;

/// Set once, before the first request, if a collector is named. Like the log, it belongs to the
/// process.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Where spans wait.
struct Queue {
    sender: Sender<Span>,
    /// Whose spans they are.
    service: &'static str,
}

/// Spans that found the queue full since the exporter asked last.
static OVERFLOWED: AtomicU64 = AtomicU64::new(0);

/// Spans are taken from now on; hands out where they arrive. None: they are already.
pub(super) fn open(service: &'static str) -> Option<Receiver<Span>> {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_SPANS);
    QUEUE.set(Queue { sender, service }).ok().map(|()| receiver)
}

/// Adds the series that counts spans, if they are exported at all.
pub(crate) fn register(registry: &Registry) -> prometheus::Result<()> {
    QUEUE.get().map_or(Ok(()), |queue| spans_total::register(registry, queue.service))
}

/// Takes the span of a step, if spans are exported and this trace is recorded. A full queue drops
/// it, counted; the exporter says so in the log.
pub(crate) fn record(context: &TraceContext, span: impl FnOnce() -> Span) {
    let Some(queue) = QUEUE.get().filter(|_| context.sampled) else { return };
    if queue.sender.try_send(span()).is_err() {
        spans_total::add_dropped(1);
        OVERFLOWED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many spans found the queue full since this was asked last.
pub(super) fn take_overflowed() -> u64 {
    OVERFLOWED.swap(0, Ordering::Relaxed)
}
