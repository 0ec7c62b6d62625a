//! The messages of OTLP that we send (opentelemetry.proto.collector.trace.v1), and the call that
//! sends them.
//!
//! Field numbers are those of opentelemetry-proto 1.x; a test's collector reads them with the
//! official types.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::span::{Attribute, Span, SpanKind};

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const KIND_INTERNAL: i32 = 1;
const KIND_SERVER: i32 = 2;
const STATUS_ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// Spans that the collector refused, in an answer that is otherwise a success.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// Who sends: the same in every message.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<OtlpSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct OtlpSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<SpanStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanStatus {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "AnyKind", tags = "1, 2, 3")]
    value: Option<AnyKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AnyKind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// This node, under the names of OpenTelemetry's resource conventions.
pub(super) fn resource(service: &str, version: &str, node: &str, cluster: &str) -> Resource {
    let cluster_name = own(service, "cluster_name");
    let pairs = [
        ("service.name", service),
        ("service.version", version),
        ("service.instance.id", node),
        (&cluster_name, cluster),
    ];
    let attribute = |(key, value): (&str, &str)| key_value(key, AnyKind::Text(value.to_owned()));
    Resource { attributes: pairs.map(attribute).into() }
}

/// The name of an attribute that no convention has.
fn own(service: &str, name: &str) -> String {
    format!("{service}.{name}")
}

/// Sends one batch; answers how many of it the collector refused.
pub(super) async fn export(
    channel: Channel,
    service: &str,
    resource: Resource,
    batch: Vec<Span>,
) -> Result<usize, Status> {
    // Says which library made a span.
    let scope = Scope { name: "raftnode".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let spans = batch.into_iter().map(|span| OtlpSpan::new(service, span)).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    let request =
        ExportRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans }] };
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| Status::new(Code::Unavailable, root(&e)))?;
    let codec = tonic_prost::ProstCodec::<ExportRequest, ExportResponse>::default();
    let path = PathAndQuery::from_static(EXPORT_PATH);
    let answer = client.unary(Request::new(request), path, codec).await?;
    let refused = answer.into_inner().partial_success.map_or(0, |partial| partial.rejected_spans);
    Ok(usize::try_from(refused).unwrap_or(0))
}

/// The innermost error: the outer ones only say "transport error".
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}

impl OtlpSpan {
    fn new(service: &str, span: Span) -> Self {
        let end = nanos(span.end);
        let took = u64::try_from(span.took.as_nanos()).unwrap_or(u64::MAX);
        Self {
            trace_id: span.context.trace.bytes().to_vec(),
            span_id: span.context.span.bytes().to_vec(),
            parent_span_id: span.context.parent.map_or_else(Vec::new, |parent| parent.bytes().to_vec()),
            name: span.name.to_owned(),
            kind: match span.kind {
                SpanKind::Internal => KIND_INTERNAL,
                SpanKind::Server => KIND_SERVER,
            },
            start_time_unix_nano: end.saturating_sub(took),
            end_time_unix_nano: end,
            attributes: span
                .attributes
                .into_iter()
                .map(|(name, value)| key_value(&own(service, name), value.into()))
                .collect(),
            status: span.error.map(|message| SpanStatus { message, code: STATUS_ERROR }),
        }
    }
}

impl From<Attribute> for AnyKind {
    fn from(attribute: Attribute) -> Self {
        match attribute {
            Attribute::Number(number) => Self::Number(i64::try_from(number).unwrap_or(i64::MAX)),
            Attribute::Flag(flag) => Self::Flag(flag),
        }
    }
}

fn key_value(key: &str, value: AnyKind) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
