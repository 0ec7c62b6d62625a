//! The subscriber's layer: events in, whole lines out.

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::record::Record;
use super::{LogFormat, json, text};
use crate::NodeId;

/// Whose lines these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub(super) service: &'static str,
    pub(super) version: &'static str,
    pub(super) node: String,
    pub(super) cluster: String,
}

impl Source {
    /// Node `id` of `cluster`, run by the program `service` of this version.
    #[must_use]
    pub fn new(service: &'static str, version: &'static str, id: NodeId, cluster: &str) -> Self {
        Self { service, version, node: id.to_string(), cluster: cluster.to_owned() }
    }

    /// A name below the service's.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.service)
    }
}

/// Hands each event as one line to `write`.
pub(super) struct Lines<W> {
    pub(super) format: LogFormat,
    pub(super) source: Source,
    pub(super) colour: bool,
    pub(super) write: W,
}

impl<S: Subscriber, W: Fn(Vec<u8>) + 'static> Layer<S> for Lines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let record = Record::of(event, self.source.service);
        let line = match self.format {
            LogFormat::Text => text::line(&record, self.colour),
            LogFormat::Json => json::line(&self.source, &record),
        };
        (self.write)(line);
    }
}
