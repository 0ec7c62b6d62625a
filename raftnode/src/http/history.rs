//! The document behind `/api/history`: what this node counted and saw in the last 15 minutes.

use proto::node::v1 as pb;
use serde::Serialize;

use crate::api::Reporter;
use crate::cluster::event_kind;
use crate::history::SAMPLE_INTERVAL;

/// Times are milliseconds since 1970. Counts are by duration, one for each bound and one above all;
/// an empty list is all zeros.
#[derive(Debug, Serialize)]
pub(super) struct HistoryDocument {
    node_id: u64,
    started_unix_ms: u64,
    interval_ms: u128,
    request_bounds_seconds: Vec<f64>,
    disk_bounds_seconds: Vec<f64>,
    samples: Vec<SampleDocument>,
    events: Vec<EventDocument>,
}

#[derive(Debug, Serialize)]
struct SampleDocument {
    at_unix_ms: u64,
    span_ms: u32,
    write: Vec<u32>,
    read: Vec<u32>,
    sync: Vec<u32>,
    apply: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct EventDocument {
    at_unix_ms: u64,
    kind: &'static str,
    text: String,
}

impl HistoryDocument {
    pub(super) async fn of(reporter: &Reporter) -> Self {
        let report = reporter.report(&pb::ReportRequest::default()).await;
        Self {
            node_id: reporter.id(),
            started_unix_ms: report.run,
            interval_ms: SAMPLE_INTERVAL.as_millis(),
            request_bounds_seconds: report.request_bounds_seconds,
            disk_bounds_seconds: report.disk_bounds_seconds,
            samples: report.samples.into_iter().map(SampleDocument::from).collect(),
            events: report.events.into_iter().map(EventDocument::from).collect(),
        }
    }
}

impl From<pb::Sample> for SampleDocument {
    fn from(sample: pb::Sample) -> Self {
        let pb::Sample { number: _, at_unix_ms, span_ms, write, read, sync, apply } = sample;
        Self { at_unix_ms, span_ms, write, read, sync, apply }
    }
}

impl From<pb::Event> for EventDocument {
    fn from(event: pb::Event) -> Self {
        Self { at_unix_ms: event.at_unix_ms, kind: event_kind(event.kind()), text: event.text }
    }
}
