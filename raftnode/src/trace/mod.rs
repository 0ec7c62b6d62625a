//! Following one request through the nodes: its place in a trace, and spans for a collector if one
//! is named.
//!
//! `context` is the id that goes from client to node to node. `span` is what one step says;
//! `tracer` takes it without ever waiting; `exporter` sends what was taken, as `otlp` messages,
//! from a thread of its own.

mod context;
mod endpoint;
mod exporter;
mod otlp;
mod span;
mod spans_total;
mod tracer;

pub(crate) use context::TraceContext;
pub use context::{SpanId, TraceId};
pub use endpoint::OtlpEndpoint;
pub use exporter::Exporter;
pub(crate) use span::{Span, SpanKind};
pub(crate) use tracer::{record, register};
