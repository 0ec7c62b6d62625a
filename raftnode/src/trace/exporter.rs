//! Sends spans to the collector, from a thread of its own: a collector that is away or slow costs
//! spans and nothing else. A batch that fails is dropped and counted, not tried again. So are spans
//! that come faster than the collector takes them (`tracer`). The log says when either begins and
//! ends.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use std::io;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};

use super::otlp::{self, Resource};
use super::{OtlpEndpoint, Span, spans_total, tracer};

/// Most spans in one message.
const MAX_BATCH_SPANS: usize = 512;
/// How long spans wait for company, unless there is a full batch of them.
const BATCH_INTERVAL: Duration = Duration::from_millis(500);
/// How often the thread looks whether there is: the queue takes 4096 spans in this time, 160,000 a
/// second. To wake for every span would cost more than the span.
const FULL_BATCH_LOOK: Duration = Duration::from_millis(25);
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
    service: &'static str,
    resource: Resource,
    endpoint: OtlpEndpoint,
    loss: Loss,
}

/// Which spans are being dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    None,
    /// Those for which the queue had no room.
    Excess,
    All,
}

impl Exporter {
    /// From now on spans of node `node` in `cluster` go to `endpoint`, as those of the program
    /// `service` of `version`: with its name its own attributes begin, as in `service.log_index`,
    /// and the series that counts spans, `service_trace_spans_total`. To be called before the node
    /// starts; there is one in a process.
    ///
    /// # Errors
    /// If no thread can be had, or there is an exporter already.
    pub fn start(
        endpoint: &OtlpEndpoint,
        (service, version): (&'static str, &'static str),
        node: u64,
        cluster: &str,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime?;
        let spans = tracer::open(service).ok_or_else(|| io::Error::other("spans are exported already"))?;
        let resource = otlp::resource(service, version, &node.to_string(), cluster);
        let endpoint = endpoint.clone();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let run = move || {
            runtime.block_on(async {
                let connecting = Endpoint::from(endpoint.uri()).connect_timeout(EXPORT_TIMEOUT);
                let channel = connecting.connect_lazy();
                let sending = Sending { channel, service, resource, endpoint, loss: Loss::None };
                sending.run(spans, stopped).await;
            });
            drop(end);
        };
        thread::Builder::new().name("otlp".to_owned()).spawn(run)?;
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
                _ = spans.recv_many(&mut batch, MAX_BATCH_SPANS) => gather(&spans, batch.len(), &mut stopped).await,
            };
            while batch.len() < MAX_BATCH_SPANS
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            self.send(batch, spans.len()).await;
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
            self.send(batch, spans.len()).await;
        }
    }

    /// `waiting`: how many spans are behind this batch.
    async fn send(&mut self, batch: Vec<Span>, waiting: usize) {
        let count = batch.len();
        if count == 0 {
            return;
        }
        let sent = otlp::export(self.channel.clone(), self.service, self.resource.clone(), batch);
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
        let overflowed = tracer::take_overflowed() > 0;
        // Once there is a backlog it stays a matter of luck whether the next span finds room.
        let excess = overflowed || self.loss == Loss::Excess && waiting >= MAX_BATCH_SPANS;
        self.note(outcome, if excess { Loss::Excess } else { Loss::None });
    }

    /// Says what has changed, not every batch.
    fn note(&mut self, outcome: Result<(), String>, otherwise: Loss) {
        let loss = if outcome.is_err() { Loss::All } else { otherwise };
        if loss == self.loss {
            return;
        }
        let endpoint = &self.endpoint;
        match (loss, outcome) {
            (Loss::All, outcome) => {
                let error = outcome.err().unwrap_or_default();
                tracing::warn!(%endpoint, error, "the trace collector takes no spans: dropping them until it does");
            }
            (Loss::Excess, _) => {
                tracing::warn!(%endpoint, "spans come faster than the trace collector takes them: dropping some until it keeps up");
            }
            (Loss::None, _) => tracing::info!(%endpoint, "the trace collector takes spans again"),
        }
        self.loss = loss;
    }
}

/// Waits until a batch of which there are `collected` spans can be filled, or has waited long
/// enough; answers whether to stop.
async fn gather(spans: &Receiver<Span>, collected: usize, stopped: &mut oneshot::Receiver<()>) -> bool {
    let started = Instant::now();
    while collected + spans.len() < MAX_BATCH_SPANS && started.elapsed() < BATCH_INTERVAL {
        if tokio::time::timeout(FULL_BATCH_LOOK, &mut *stopped).await.is_ok() {
            return true;
        }
    }
    false
}
