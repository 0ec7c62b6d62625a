//! One line per request: at debug always, at info or warn if it was refused, failed or took long.
//! And one count, whether it was answered or given up.
//!
//! What clients cause is bounded ([`Throttle`]); what is left out is said in the next line.

use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::call::Call;
use crate::metrics::{Op, OpKind, Origin, RequestMetrics};
use crate::throttle::Throttle;
use crate::trace::{self, Span, SpanKind};

/// A read or write that takes this long is worth a line. Changes of the cluster may take long.
pub(crate) const SLOW_REQUEST: Duration = Duration::from_secs(1);

/// Bounds on the lines of each kind.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    failed: Throttle,
    refused: Throttle,
    slow: Throttle,
}

/// A request under way. One that is dropped unanswered was given up by its caller.
pub(crate) struct Underway<'a> {
    log: &'a RequestLog,
    metrics: &'a RequestMetrics,
    op: Op,
    call: &'a Call,
    started: Instant,
    answered: bool,
}

impl RequestLog {
    pub(crate) fn begin<'a>(
        &'a self,
        metrics: &'a RequestMetrics,
        op: Op,
        call: &'a Call,
        started: Instant,
    ) -> Underway<'a> {
        Underway { log: self, metrics, op, call, started, answered: false }
    }
}

/// One request line at a level; a macro because a level is part of what is known when compiling.
macro_rules! request_line {
    ($level:ident, $this:expr, $took:expr, $($more:tt)*) => {
        tracing::$level!(
            event.kind = "event",
            event.action = $this.op.name,
            event.duration = nanos($took),
            trace.id = %$this.call.trace.trace,
            span.id = %$this.call.trace.span,
            forwarded = $this.call.forwarded,
            $($more)*
        )
    };
}

impl Underway<'_> {
    /// It was answered.
    pub(crate) fn answered(mut self, failure: Option<&Status>) {
        self.answered = true;
        let took = self.started.elapsed();
        self.count(failure.map_or(Code::Ok, Status::code), took);
        self.record(took, failure.map(Status::message));
        match failure {
            Some(status) => self.failed(took, status),
            None if took >= SLOW_REQUEST && self.op.kind != OpKind::Change => self.slow(took),
            None => request_line!(debug, self, took, event.outcome = "success", "request answered"),
        }
    }

    fn count(&self, code: Code, took: Duration) {
        let origin = if self.call.forwarded { Origin::Node } else { Origin::Client };
        self.metrics.answered(self.op, origin, code, took);
    }

    /// For the trace collector, if there is one.
    fn record(&self, took: Duration, error: Option<&str>) {
        let Call { trace, forwarded, .. } = self.call;
        trace::record(trace, || {
            let span = Span::ended(*trace, self.op.name, SpanKind::Server, took);
            span.flag("forwarded", *forwarded).failed(error)
        });
    }

    fn slow(&self, took: Duration) {
        let Some(suppressed) = self.log.slow.allow() else { return };
        request_line!(warn, self, took, event.outcome = "success", suppressed, "slow request");
    }

    fn failed(&self, took: Duration, status: &Status) {
        let (code, error) = (code_name(status.code()), status.message());
        if is_refusal(status.code()) {
            let Some(suppressed) = self.log.refused.allow() else { return };
            request_line!(info, self, took, event.outcome = "failure", error.type = code, error, suppressed, "request refused");
        } else {
            let Some(suppressed) = self.log.failed.allow() else { return };
            request_line!(warn, self, took, event.outcome = "failure", error.type = code, error, suppressed, "request failed");
        }
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let took = self.started.elapsed();
            self.count(Code::Cancelled, took);
            self.record(took, Some("given up by its caller"));
            request_line!(debug, self, took, event.outcome = "unknown", "request given up by its caller");
        }
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether the request was wrong, not the cluster.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
    )
}

/// The code's name, without its usual explanation.
fn code_name(code: Code) -> String {
    format!("{code:?}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::metadata::MetadataMap;

    use super::*;
    use crate::config::Program;
    use crate::metrics::Metrics;

    const PUT: Op = Op::new("put", OpKind::Write);
    const GET: Op = Op::new("get", OpKind::Read);

    /// Found: requests that their clients gave up were in no series, so that a cluster that answers
    /// no request in time looked idle.
    #[test]
    fn a_request_that_is_given_up_is_counted_and_timed() {
        let (metrics, log) = (
            Metrics::new(Program { name: "app", version: "1" }, 1, "test", &[PUT, GET]).unwrap(),
            RequestLog::default(),
        );
        let call = Call::of(&MetadataMap::new(), Duration::from_secs(5));
        drop(log.begin(&metrics.requests, PUT, &call, Instant::now()));
        log.begin(&metrics.requests, GET, &call, Instant::now()).answered(None);
        let text = metrics.encode().unwrap();
        for line in [
            "app_requests_total{op=\"put\",outcome=\"cancelled\"} 1",
            "app_requests_total{op=\"put\",outcome=\"ok\"} 0",
            "app_request_duration_seconds_count{op=\"put\"} 1",
            "app_requests_total{op=\"get\",outcome=\"ok\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("app_requests_total{op=\"get\",outcome=\"cancelled\"}"), "{text}");
    }
}
