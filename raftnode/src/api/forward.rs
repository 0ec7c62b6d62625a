//! Sending a request on to the leader, to its port for peers.
//!
//! One connection per leader address is kept, and over it one stream for commands and queries
//! (`forward_stream`); changes of the cluster are calls of their own. What matters most here is to
//! know, when something goes wrong, whether the leader may have seen the request.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use network_grpc::ClusterId;
use proto::node::v1::cluster_client::ClusterClient;
use proto::node::v1::forwarded_request::Request as Task;
use proto::node::v1::requests_client::RequestsClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Request, Status};

use super::call::{CLUSTER_ID_METADATA, Call, forwarded_to};
use super::forward_stream::{ForwardStream, NotSent};
use super::header::{NODE_FAULT_METADATA, NODE_ID_METADATA, is_answer};
use super::limits::MAX_MESSAGE_BYTES;
use super::status_codes::{self, Failure};
use crate::raft::NodeId;
use crate::tls::Dialler;

/// Connections kept; leaders are few, so one that is not needed any more is soon pushed out.
const MAX_KEPT_CONNECTIONS: usize = 16;
/// Time to reach the leader.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
/// An idle or silent connection is probed this often ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// ... and given up if the probe is not answered within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the leader may send on one stream before this node has read it: more than any message.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The same for the whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Whether a request can have changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing: trying again is safe.
    Read,
    /// It has a request id: trying again is safe, it is applied once.
    Once,
    /// It may have been applied if it was sent.
    Write,
}

impl Effect {
    /// Of a write that does or does not carry a request id.
    pub(crate) fn of_write(has_id: bool) -> Self {
        if has_id { Self::Once } else { Self::Write }
    }

    /// Whether it may be sent again although it may have arrived.
    pub(crate) fn may_repeat(self) -> bool {
        self != Self::Write
    }
}

/// A dial that all who want the connection wait for together.
type Dialled = Shared<BoxFuture<'static, Result<Channel, String>>>;

/// The kept connections.
///
/// Invariant: a dial that has failed is not kept once a request has heard of it.
pub(crate) struct Forwarder {
    dialler: Dialler,
    /// By node and address.
    channels: Mutex<HashMap<(NodeId, String), Dialled>>,
    /// To the node that commands and queries were sent to last.
    stream: Arc<Mutex<Option<OpenStream>>>,
}

/// A stream is of use for one node of one cluster, over one connection.
struct OpenStream {
    to: NodeId,
    cluster: Option<ClusterId>,
    addr: String,
    stream: ForwardStream,
}

/// A connection to the node that leads, and what a request over it says.
#[derive(Clone)]
pub(crate) struct Hop {
    channel: Channel,
    addr: String,
    call: Call,
    to: NodeId,
    cluster: Option<ClusterId>,
    stream: Arc<Mutex<Option<OpenStream>>>,
}

impl Hop {
    /// The message as a request with the same deadline and trace, marked as forwarded, for that
    /// node of this cluster.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.call.remaining());
        let metadata = request.metadata_mut();
        forwarded_to(metadata, self.cluster, self.to);
        self.call.trace.send(metadata);
        request
    }

    /// Passes a command or a query on, and answers the response or answer, encoded.
    pub(crate) async fn pass_on(&self, task: Task) -> Result<Bytes, Status> {
        loop {
            if let Some(answer) = self.stream().send(&self.call, task.clone()).await {
                return answer;
            }
        }
    }

    /// The stream that is open to the node, or else another one.
    fn stream(&self) -> ForwardStream {
        let mut open = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |open: &&OpenStream| {
            open.to == self.to
                && open.cluster == self.cluster
                && open.addr == self.addr
                && !open.stream.is_closed()
        };
        if let Some(open) = open.as_ref().filter(fits) {
            return open.stream.clone();
        }
        let (to, cluster, addr) = (self.to, self.cluster, self.addr.clone());
        let requests = RequestsClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let stream = ForwardStream::open(requests, self.cluster, self.to);
        *open = Some(OpenStream { to, cluster, addr, stream: stream.clone() });
        stream
    }

    /// The node that is meant.
    pub(crate) fn to(&self) -> NodeId {
        self.to
    }

    pub(crate) fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub(crate) fn requests(&self) -> RequestsClient<Channel> {
        RequestsClient::new(self.channel.clone())
    }
}

impl Forwarder {
    pub(crate) fn new(dialler: Dialler) -> Self {
        Self { dialler, channels: Mutex::default(), stream: Arc::default() }
    }

    /// A connection to node `to` at `addr`, for requests to `cluster`. Nothing is sent yet: giving
    /// this up leaves no trace.
    pub(crate) async fn hop(
        &self,
        call: &Call,
        cluster: Option<ClusterId>,
        to: NodeId,
        addr: &str,
    ) -> Result<Hop, Failure> {
        let dialled = self.dialled(to, addr);
        let ended = dialled.clone().await;
        match ended {
            Ok(channel) => {
                let (addr, stream) = (addr.to_owned(), Arc::clone(&self.stream));
                Ok(Hop { channel, addr, call: *call, to, cluster, stream })
            }
            Err(reason) => {
                let mut channels = self.channels();
                let key = (to, addr.to_owned());
                if channels.get(&key).is_some_and(|kept| kept.ptr_eq(&dialled)) {
                    channels.remove(&key);
                }
                Err(Failure::NotApplied(status_codes::no_leader(format_args!(
                    "cannot reach {addr}, which last led: {reason}"
                ))))
            }
        }
    }

    /// A panic elsewhere cannot have left the map half changed.
    fn channels(&self) -> MutexGuard<'_, HashMap<(NodeId, String), Dialled>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dialled(&self, to: NodeId, addr: &str) -> Dialled {
        let (mut channels, key) = (self.channels(), (to, addr.to_owned()));
        if let Some(dialled) = channels.get(&key) {
            return dialled.clone();
        }
        // A task of its own, so that the dial goes on whichever request gives up.
        let dialling = tokio::spawn(dial(self.dialler.clone(), to, addr.to_owned()));
        let ended = async move { dialling.await.unwrap_or_else(|e| Err(e.to_string())) };
        let dialled = ended.boxed().shared();
        if channels.len() >= MAX_KEPT_CONNECTIONS {
            channels.clear();
        }
        channels.insert(key, dialled.clone());
        dialled
    }

    /// Makes the outcome of a forwarded request this node's own, and lets go of a broken
    /// connection.
    pub(crate) fn judge(
        &self,
        addr: &str,
        (to, cluster): (NodeId, Option<ClusterId>),
        effect: Effect,
        status: Status,
    ) -> Failure {
        if is_answer(&status) {
            return match status.code() {
                // Not this node's fault, and soon another one leads.
                _ if status.metadata().contains_key(NODE_FAULT_METADATA) => {
                    Failure::NotApplied(status_codes::no_leader(format_args!(
                        "{addr}, which last led, has failed: {}",
                        status.message()
                    )))
                }
                _ if is_of_a_stranger(&status, to, cluster) => Failure::NotApplied(status_codes::no_leader(
                    format_args!("at {addr}, where the leader should be: {}", status.message()),
                )),
                Code::Unavailable => Failure::NotApplied(status),
                _ => Failure::Final(status),
            };
        }
        self.channels().remove(&(to, addr.to_owned()));
        if was_never_sent(&status) || effect == Effect::Read {
            return Failure::NotApplied(status_codes::no_leader(format_args!(
                "cannot reach {addr}, which last led: {}",
                root_cause(&status)
            )));
        }
        let unknown = Status::unknown(format!(
            "the connection to the leader {addr} broke ({}); whether the write was applied is unknown",
            root_cause(&status)
        ));
        if effect.may_repeat() { Failure::Lost(unknown) } else { Failure::Final(unknown) }
    }
}

async fn dial(dialler: Dialler, to: NodeId, addr: String) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|e| e.to_string())?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    match tokio::time::timeout(CONNECT_TIMEOUT, dialler.connect(&endpoint, Some(to), &addr)).await {
        Ok(connected) => connected.map_err(|e| innermost(&e)),
        Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
    }
}

/// Another member has the address now, a node of another cluster, or one that was wiped. A request
/// that was for no cluster, as `init` is, may be answered by a node of any.
fn is_of_a_stranger(status: &Status, to: NodeId, cluster: Option<ClusterId>) -> bool {
    let told = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
    let node = told(NODE_ID_METADATA).and_then(|id| id.parse().ok());
    let theirs = told(CLUSTER_ID_METADATA).and_then(|id| id.parse().ok());
    let is_member = node == Some(to) && (cluster.is_none() || theirs == cluster);
    status.code() == Code::FailedPrecondition && !is_member
}

fn was_never_sent(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<ConnectError>() || cause.is::<NotSent>())
}

fn root_cause(status: &Status) -> String {
    causes(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |error: &&(dyn Error + 'static)| (*error).source())
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use storage_leveldb::Fault;

    use super::*;
    use crate::tls::Tls;
    use tonic::metadata::MetadataMap;

    const CLUSTER: Option<ClusterId> = Some(ClusterId::from_bits(1));

    fn forwarder() -> Forwarder {
        Forwarder::new(Dialler::new(Tls::off()))
    }

    fn answered_in(cluster: u128, code: Code) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert(NODE_ID_METADATA, 2.into());
        let cluster = ClusterId::from_bits(cluster).to_string();
        metadata.insert(CLUSTER_ID_METADATA, cluster.parse().unwrap());
        Status::with_metadata(code, "", metadata)
    }

    fn answered(code: Code) -> Status {
        answered_in(1, code)
    }

    #[test]
    fn a_refusal_by_another_node_is_not_the_clients_to_hear() {
        let judge = |to, status| forwarder().judge("a:1", (to, CLUSTER), Effect::Write, status);
        let ours = judge(2, answered(Code::FailedPrecondition));
        assert!(matches!(ours, Failure::Final(s) if s.code() == Code::FailedPrecondition));
        for (to, cluster) in [(2, 2), (3, 1)] {
            let theirs = judge(to, answered_in(cluster, Code::FailedPrecondition));
            assert!(matches!(theirs, Failure::NotApplied(s) if s.code() == Code::Unavailable));
        }
    }

    #[test]
    fn only_a_nodes_own_word_counts_as_not_applied() {
        let judge = |status| forwarder().judge("a:1", (2, CLUSTER), Effect::Write, status);
        assert!(matches!(judge(answered(Code::Unavailable)), Failure::NotApplied(_)));
        assert!(
            matches!(judge(answered(Code::InvalidArgument)), Failure::Final(s) if s.code() == Code::InvalidArgument)
        );
        for code in [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal] {
            let failure = judge(Status::new(code, "from the transport"));
            assert!(matches!(failure, Failure::Final(s) if s.code() == Code::Unknown), "{code}");
        }
    }

    /// Found: a node passed the DATA_LOSS of a damaged leader on as its own, and clients never came
    /// back to it.
    #[test]
    fn a_failed_leader_is_not_a_failure_of_the_node_that_forwards() {
        let full = Fault::io("write", "f", std::io::Error::from_raw_os_error(28));
        for fault in [Fault::corrupt("f", "damaged"), full] {
            let mut status = status_codes::fault_status(2, &fault);
            status.metadata_mut().insert(NODE_ID_METADATA, 2.into());
            let failure = forwarder().judge("a:1", (2, CLUSTER), Effect::Write, status);
            let Failure::NotApplied(status) = failure else { panic!("{failure:?}") };
            assert_eq!(status.code(), Code::Unavailable);
            assert!(!status.metadata().contains_key(NODE_FAULT_METADATA) && status.message().contains("a:1"));
        }
    }

    /// Found by a reviewer: a write with a request id whose answer was lost with the leader counted
    /// as not applied, and if no node led after that its client was given the proof.
    #[test]
    fn a_lost_write_with_a_name_may_be_sent_again_and_may_have_been_applied() {
        let failure = forwarder().judge("a:1", (2, CLUSTER), Effect::Once, Status::unknown("gone"));
        assert!(matches!(failure, Failure::Lost(s) if s.code() == Code::Unknown));
    }

    #[test]
    fn a_lost_read_may_be_tried_again() {
        let failure = forwarder().judge("a:1", (2, CLUSTER), Effect::Read, Status::unknown("gone"));
        assert!(matches!(failure, Failure::NotApplied(s) if s.code() == Code::Unavailable));
    }

    #[tokio::test]
    async fn a_refused_connection_means_not_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        drop(listener);
        let (forwarder, call) = (forwarder(), Call::of(&MetadataMap::new(), Duration::from_secs(5)));
        for _ in 0..2 {
            let hop = forwarder.hop(&call, CLUSTER, 2, &addr).await;
            assert!(matches!(hop, Err(Failure::NotApplied(s)) if s.message().contains(&addr)));
            assert!(forwarder.channels().is_empty());
        }
    }

    #[tokio::test]
    async fn a_forwarded_request_says_for_whom_it_is_and_keeps_what_is_left_of_its_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let call = Call::of(&MetadataMap::new(), Duration::from_secs(5));
        let forwarder = forwarder();
        let Ok(hop) = forwarder.hop(&call, CLUSTER, 2, &addr).await else { panic!("no connection") };
        let forwarded = Call::of_node(hop.request(()).metadata(), Duration::from_secs(60));
        assert!(!call.forwarded && forwarded.forwarded && forwarded.deadline <= call.deadline);
        assert_eq!((forwarded.addressee.cluster, forwarded.addressee.node), (CLUSTER, Some(2)));
        assert_eq!(
            (forwarded.trace.trace, forwarded.trace.parent),
            (call.trace.trace, Some(call.trace.span))
        );
    }
}
