//! What one step of a request says about itself.

use std::time::{Duration, SystemTime};

use super::TraceContext;

/// Longest text about a failure.
const MAX_ERROR_BYTES: usize = 1024;

/// One step, ended.
#[derive(Debug)]
pub(crate) struct Span {
    pub(super) context: TraceContext,
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    pub(super) end: SystemTime,
    pub(super) took: Duration,
    /// By names of this program's own, without the service before them.
    pub(super) attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed, if it did.
    pub(super) error: Option<String>,
}

/// Who started the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// The step before, in this process.
    Internal,
    /// A request from another process.
    Server,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Attribute {
    Number(u64),
    Flag(bool),
}

impl Span {
    /// A step that ends now.
    pub(crate) fn ended(context: TraceContext, name: &'static str, kind: SpanKind, took: Duration) -> Self {
        Self { context, name, kind, end: SystemTime::now(), took, attributes: Vec::new(), error: None }
    }

    pub(crate) fn number(mut self, name: &'static str, value: u64) -> Self {
        self.attributes.push((name, Attribute::Number(value)));
        self
    }

    pub(crate) fn flag(mut self, name: &'static str, value: bool) -> Self {
        self.attributes.push((name, Attribute::Flag(value)));
        self
    }

    pub(crate) fn failed(mut self, error: Option<&str>) -> Self {
        self.error = error.map(|text| {
            let end = text.floor_char_boundary(MAX_ERROR_BYTES.min(text.len()));
            text.get(..end).unwrap_or_default().to_owned()
        });
        self
    }
}
