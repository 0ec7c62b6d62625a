//! Attacks the export of traces: do spans arrive as OTLP says (read with the official types), do
//! they form one tree, and what does a collector that is away, or takes and never answers, cost the
//! node?

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Cluster, ClusterOptions, Kvcli, Series, alone, beside_others, wait};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use proto::kv::v1::PutRequest;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

const SPAN_TIMEOUT: Duration = Duration::from_secs(15);

/// Remembers what arrives, each span with the node that sent it.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<(String, Span)>>>,
    /// Takes requests and answers none.
    hangs: bool,
    /// Answers each only after this.
    thinks: Duration,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.thinks).await;
        for resource_spans in request.into_inner().resource_spans {
            let resource = text_attributes(&resource_spans.resource.unwrap().attributes);
            assert_eq!(
                (resource["service.name"].as_str(), resource["kvnode.cluster_name"].as_str()),
                ("kvnode", "kv")
            );
            let node = resource["service.instance.id"].clone();
            let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans.map(|span| (node.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens; answers the flags that name it.
    fn start(&self) -> Vec<String> {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = incoming.local_addr().unwrap();
        let server = Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        vec!["--otlp-endpoint".to_owned(), format!("http://{addr}")]
    }

    fn of_trace(&self, trace: &str) -> Vec<(String, Span)> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|(_, span)| hex(&span.trace_id) == trace).cloned().collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text_attributes(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn exporting(flags: Vec<String>) -> ClusterOptions {
    ClusterOptions { flags, ..ClusterOptions::default() }
}

async fn spans_total(cluster: &Cluster, node: u64, outcome: &str) -> Result<f64, String> {
    let (_, text) = cluster.node(node).http("/metrics").await?;
    Ok(Series::parse(&text).sum("kvnode_trace_spans_total", &[&format!("outcome=\"{outcome}\"")]))
}

/// A put against a follower is three spans under the id that kvcli prints: the follower's request,
/// the leader's within it, and replication within that, with its place in the log. What waits when
/// a node is stopped is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_put_is_one_tree_of_spans() {
    let _place = beside_others();
    let collector = Collector::default();
    let mut cluster = Cluster::start(exporting(collector.start())).await;
    let (leader, follower) = (cluster.leader().await, cluster.followers().await[0]);
    let kvcli = Kvcli::new(&[cluster.node(follower).client_addr()]);
    let ended = kvcli.run("--verbose put key value").await;
    let trace =
        ended.stderr.trim().strip_prefix("trace id ").unwrap_or_else(|| panic!("{ended:#?}")).to_owned();
    let spans = wait::until("three spans", SPAN_TIMEOUT, async || {
        let spans = collector.of_trace(&trace);
        wait::is(spans.len() == 3, || format!("{spans:#?}")).map(|()| spans)
    })
    .await;
    let one = |node: u64, name: &str| {
        let found = spans.iter().find(|(n, span)| *n == node.to_string() && span.name == name);
        &found.unwrap_or_else(|| panic!("no {name} of node {node}: {spans:#?}")).1
    };
    let (entry, led, written) =
        (one(follower, "put"), one(leader, "write"), one(leader, "replicate and apply"));
    assert_eq!((&led.parent_span_id, &written.parent_span_id), (&entry.span_id, &led.span_id));
    assert_eq!(
        (entry.kind(), led.kind(), written.kind()),
        (SpanKind::Server, SpanKind::Server, SpanKind::Internal)
    );
    assert!(entry.parent_span_id.len() == 8 && entry.trace_id.len() == 16, "{entry:?}");
    for span in [entry, led, written] {
        assert!(span.start_time_unix_nano < span.end_time_unix_nano && span.status.is_none(), "{span:?}");
    }
    assert_eq!(text_attributes(&led.attributes)["kvnode.forwarded"], "true");
    assert!(text_attributes(&written.attributes)["kvnode.log_index"].parse::<u64>().unwrap() > 0);
    // Counted when the collector's answer is back, which is later than it has the spans.
    wait::until("the leader counts them", SPAN_TIMEOUT, async || {
        let sent = spans_total(&cluster, leader, "sent").await?;
        wait::is(sent >= 2.0, || format!("{sent} sent"))
    })
    .await;
    assert_eq!(spans_total(&cluster, leader, "dropped").await.unwrap(), 0.0);

    let mut request = Request::new(PutRequest { key: "".into(), ..PutRequest::default() });
    let last = "4bf92f3577b34da6a3ce929d0e0e4736";
    request.metadata_mut().insert("traceparent", format!("00-{last}-00f067aa0ba902b7-01").parse().unwrap());
    cluster.node(leader).kv().put(request).await.unwrap_err();
    assert!(cluster.node_mut(leader).stop().await.success());
    let failed = collector.of_trace(last);
    assert_eq!(failed.len(), 1, "the span of the last request was not sent before the process ended");
    assert_eq!(failed[0].1.status.as_ref().unwrap().code, 2, "{failed:?}");
}

/// Two spans for each of 5,000 puts, as fast as 32 clients send them: a collector that takes what
/// comes gets them all. Alone on the machine: the collector is this process, and must come to take
/// them.
///
/// Found: the exporter sent one batch of 512, then waited 500 ms whatever was queued, so that from
/// about 1,000 spans a second on most were dropped, and the log said nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_collector_gets_every_span_of_a_busy_node() {
    const CLIENTS: usize = 32;
    const PUTS: usize = 5000;
    let _alone = alone();
    let collector = Collector::default();
    let cluster = Cluster::start(ClusterOptions { nodes: 1, ..exporting(collector.start()) }).await;
    let kv = cluster.nodes[0].kv();
    let started = Instant::now();
    let put = |client: usize| {
        let mut kv = kv.clone();
        async move {
            for n in (client..PUTS).step_by(CLIENTS) {
                let request = PutRequest { key: format!("key {n}").into(), ..PutRequest::default() };
                kv.put(request).await.unwrap();
            }
        }
    };
    futures_util::future::join_all((0..CLIENTS).map(put)).await;
    println!("{PUTS} puts in {:?}", started.elapsed());
    wait::until("all spans are sent", SPAN_TIMEOUT, async || {
        let sent = spans_total(&cluster, 1, "sent").await?;
        let dropped = spans_total(&cluster, 1, "dropped").await?;
        // No condition to wait for: what is dropped never comes.
        assert_eq!(dropped, 0.0, "after {sent} were sent: {}", cluster.nodes[0].log_tail());
        wait::is(sent >= 2.0 * PUTS as f64, || format!("{sent} sent"))
    })
    .await;
    assert!(!cluster.nodes[0].log().contains("trace collector"), "{}", cluster.nodes[0].log());
}

/// A collector that takes a batch and thinks about it while requests come: what the queue has no
/// room for is dropped, and the log says so, once, and when it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_come_too_fast_are_dropped_and_the_log_says_so() {
    let _place = beside_others();
    let collector = Collector { thinks: Duration::from_secs(1), ..Collector::default() };
    let cluster = Cluster::start(ClusterOptions { nodes: 1, ..exporting(collector.start()) }).await;
    let mut kv = cluster.nodes[0].kv();
    let line = "spans come faster than the trace collector takes them";
    wait::until("the log says so", Duration::from_secs(60), async || {
        for _ in 0..1000 {
            kv.put(PutRequest::default()).await.unwrap_err();
        }
        wait::is(cluster.nodes[0].log().contains(line), || "no line".to_owned())
    })
    .await;
    assert!(spans_total(&cluster, 1, "dropped").await.unwrap() > 0.0);
    wait::until("the log says that it is over", Duration::from_secs(30), async || {
        // It notes what it sends.
        kv.put(PutRequest::default()).await.unwrap_err();
        let over = cluster.nodes[0].log().contains("the trace collector takes spans again");
        wait::is(over, || cluster.nodes[0].log_tail())
    })
    .await;
    assert_eq!(cluster.nodes[0].log().matches(line).count(), 1);
}

/// A collector that refuses connections, and one that accepts spans and never answers: requests go
/// on, spans are dropped and counted, the log says it once, and the process ends in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_or_hangs_costs_spans_only() {
    let _place = beside_others();
    let away = vec!["--otlp-endpoint".to_owned(), "http://127.0.0.1:9".to_owned()];
    let hanging = Collector { hangs: true, ..Collector::default() };
    // Half as many again as the queue and a batch hold.
    const REQUESTS: usize = 7000;
    for (what, flags) in [("away", away), ("hangs", hanging.start())] {
        let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..exporting(flags) }).await;
        let mut kv = cluster.nodes[0].kv();
        let started = Instant::now();
        // As fast as they come; these never reach the log, so they are quick.
        for _ in 0..REQUESTS {
            kv.put(PutRequest::default()).await.unwrap_err();
        }
        cluster.client().put("key", "value").await.unwrap();
        println!("{what}: {REQUESTS} requests in {:?}", started.elapsed());
        let dropped = wait::until("spans are counted as dropped", SPAN_TIMEOUT, async || {
            let dropped = spans_total(&cluster, 1, "dropped").await?;
            wait::is(dropped > 1000.0, || format!("{dropped} dropped")).map(|()| dropped)
        })
        .await;
        assert_eq!(spans_total(&cluster, 1, "sent").await.unwrap(), 0.0);
        println!("{what}: {dropped} spans dropped so far");
        wait::until("the log says so", SPAN_TIMEOUT, async || {
            let lines = cluster.nodes[0].log().matches("the trace collector takes no spans").count();
            wait::is(lines == 1, || format!("{lines} lines"))
        })
        .await;
        let stopping = Instant::now();
        assert!(cluster.node_mut(1).stop().await.success());
        assert!(
            stopping.elapsed() < Duration::from_secs(20),
            "{what}: stopping took {:?}",
            stopping.elapsed()
        );
    }
}
