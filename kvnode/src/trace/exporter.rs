//! Sends spans to the collector, from a thread of its own: a collector that is away or slow costs spans and
//! nothing else. A batch that fails is dropped and counted, not tried again; the log says when this begins and ends.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};

use super::otlp::{self, Resource};
use super::{OtlpEndpoint, Span, spans_total, tracer};

/// Most spans in one message.
const MAX_BATCH_SPANS: usize = 512;
/// How long spans wait for company.
const BATCH_INTERVAL: Duration = Duration::from_millis(500);
/// How long one message may take, connecting included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The thread that sends. Dropping it sends what is left, for a while.
#[derive(Debug)]
pub struct Exporter {
    stop: Option<oneshot::Sender<()>>,
    ended: mpsc::Receiver<()>,
}

/// Where spans go, and whether they arrive.
struct Sending {
    channel: Channel,
    resource: Resource,
    endpoint: OtlpEndpoint,
    failing: bool,
}

impl Exporter {
    /// From now on spans of node `node` in `cluster` go to `endpoint`.
    ///
    /// # Errors
    /// If no thread can be had, or there is an exporter already.
    pub fn start(endpoint: &OtlpEndpoint, node: u64, cluster: &str) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start the runtime of the span exporter")?;
        let spans = tracer::open().context("spans are exported already")?;
        let (endpoint, resource) = (endpoint.clone(), otlp::resource(&node.to_string(), cluster));
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let run = move || {
            runtime.block_on(async {
                let connecting = Endpoint::from(endpoint.uri()).connect_timeout(EXPORT_TIMEOUT);
                let sending =
                    Sending { channel: connecting.connect_lazy(), resource, endpoint, failing: false };
                sending.run(spans, stopped).await;
            });
            drop(end);
        };
        thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(run)
            .context("cannot start the span exporter")?;
        Ok(Self { stop: Some(stop), ended })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Its end disconnects the channel; a collector that hangs does not keep the process.
        let _ = self.ended.recv_timeout(FLUSH_TIMEOUT);
    }
}

impl Sending {
    async fn run(mut self, mut spans: Receiver<Span>, mut stopped: oneshot::Receiver<()>) {
        loop {
            let mut batch = Vec::new();
            let stopping = tokio::select! {
                _ = &mut stopped => true,
                _ = spans.recv_many(&mut batch, MAX_BATCH_SPANS) => {
                    tokio::time::timeout(BATCH_INTERVAL, &mut stopped).await.is_ok()
                }
            };
            while batch.len() < MAX_BATCH_SPANS
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            self.send(batch).await;
            if stopping {
                return self.send_rest(&mut spans).await;
            }
        }
    }

    async fn send_rest(&mut self, spans: &mut Receiver<Span>) {
        spans.close();
        loop {
            let mut batch = Vec::new();
            if spans.recv_many(&mut batch, MAX_BATCH_SPANS).await == 0 {
                return;
            }
            self.send(batch).await;
        }
    }

    async fn send(&mut self, batch: Vec<Span>) {
        let count = batch.len();
        if count == 0 {
            return;
        }
        let sent = otlp::export(self.channel.clone(), self.resource.clone(), batch);
        let outcome = match tokio::time::timeout(EXPORT_TIMEOUT, sent).await {
            Ok(Ok(refused)) => {
                let refused = refused.min(count);
                spans_total::add_sent(count - refused);
                spans_total::add_dropped(refused);
                Ok(())
            }
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err(format!("no answer within {EXPORT_TIMEOUT:?}")),
        };
        if outcome.is_err() {
            spans_total::add_dropped(count);
        }
        self.note(outcome);
    }

    /// Says what has changed, not every batch.
    fn note(&mut self, outcome: Result<(), String>) {
        let endpoint = &self.endpoint;
        match outcome {
            Ok(()) if self.failing => tracing::info!(%endpoint, "the trace collector takes spans again"),
            Err(error) if !self.failing => {
                tracing::warn!(%endpoint, error, "the trace collector takes no spans: dropping them until it does");
                self.failing = true;
                return;
            }
            Err(_) => return,
            Ok(()) => {}
        }
        self.failing = false;
    }
}
