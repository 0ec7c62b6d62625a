//! The subscriber's layer: events in, whole lines out.

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::record::{Record, Source};
use super::{LogFormat, json, text};

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
