//! What surrounds a request: how long it may take, for whom it is, whether another node sent it
//! here, and its trace.

use std::time::Duration;

use network_grpc::ClusterId;
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::raft::NodeId;
use crate::trace::TraceContext;

/// How long a request may take if its client does not say.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
/// The same for a change of the cluster, which may have to wait for a node to catch up.
pub(crate) const DEFAULT_CLUSTER_DEADLINE: Duration = Duration::from_secs(60);
/// No request may take longer than this, whatever its client says.
const MAX_DEADLINE: Duration = Duration::from_secs(3600);
/// Answered this much before the deadline, at most a tenth of it: a client that hears "outcome
/// unknown" from us learns more than from its own timer.
const ANSWER_MARGIN: Duration = Duration::from_millis(20);

const TIMEOUT_METADATA: &str = "grpc-timeout";
/// Set on a forwarded request, on the port for peers: a node that does not lead must not forward it
/// again.
pub(crate) const FORWARDED_METADATA: &str = "node-forwarded";
/// Which cluster is meant, in 32 hexadecimal digits.
pub(crate) const CLUSTER_ID_METADATA: &str = "node-cluster-id";
/// Which node is meant.
pub(crate) const TARGET_NODE_METADATA: &str = "node-target";

/// The circumstances of one request.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Answer by then.
    pub deadline: Instant,
    /// Sent by another node, which expects this one to lead.
    pub(crate) forwarded: bool,
    /// For whom it is.
    pub(crate) addressee: Addressee,
    /// Under which id it is found in the logs of all nodes.
    pub(crate) trace: TraceContext,
}

/// For whom a request is. What is not said is not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Addressee {
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) node: Option<NodeId>,
    /// Something was said that is neither.
    pub(crate) garbled: bool,
    /// It says that a node has forwarded it, and came to the port for clients.
    pub(crate) misplaced: bool,
}

impl Addressee {
    fn of(metadata: &MetadataMap) -> Self {
        let said = |name| metadata.get(name).map(|value| value.to_str().unwrap_or_default());
        let cluster = said(CLUSTER_ID_METADATA).map(|text| text.parse().ok());
        let node = said(TARGET_NODE_METADATA).map(|text| text.parse().ok());
        let garbled = cluster == Some(None) || node == Some(None);
        Self { cluster: cluster.flatten(), node: node.flatten(), garbled, misplaced: false }
    }
}

impl Call {
    /// Reads the circumstances of a client's request from its metadata.
    #[must_use]
    pub fn of(metadata: &MetadataMap, default: Duration) -> Self {
        let mut call = Self::of_node(metadata, default);
        call.addressee.misplaced = std::mem::take(&mut call.forwarded);
        call
    }

    /// The same of a request that came to the port for peers, where the sender is a node.
    #[must_use]
    pub(crate) fn of_node(metadata: &MetadataMap, default: Duration) -> Self {
        let given = metadata.get(TIMEOUT_METADATA).and_then(|text| parse_timeout(text.to_str().ok()?));
        let time = match given {
            Some(given) => less_margin(given),
            None => default,
        };
        Self {
            deadline: Instant::now() + time,
            forwarded: metadata.contains_key(FORWARDED_METADATA),
            addressee: Addressee::of(metadata),
            trace: TraceContext::of(metadata),
        }
    }

    /// Of a request among others of a stream. `timeout_ms`: 0 means the default; `trace`: 24 bytes,
    /// or none.
    #[must_use]
    pub fn of_request(timeout_ms: u32, trace: &[u8]) -> Self {
        let time = match timeout_ms {
            0 => DEFAULT_DEADLINE,
            given => less_margin(Duration::from_millis(given.into())),
        };
        let trace = TraceContext::of_bytes(trace);
        let deadline = Instant::now() + time;
        Self { deadline, forwarded: false, addressee: Addressee::default(), trace }
    }

    /// One that begins here, without a client on a network.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self {
            deadline: Instant::now() + time,
            forwarded: false,
            addressee: Addressee::default(),
            trace: TraceContext::of(&MetadataMap::new()),
        }
    }

    /// The time left.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The same for a request of a stream: at least 1.
    #[allow(clippy::expect_used, reason = "every deadline is cut to an hour")]
    pub(crate) fn remaining_ms(&self) -> u32 {
        u32::try_from(self.remaining().as_millis()).expect("no deadline is later than an hour").max(1)
    }
}

fn less_margin(given: Duration) -> Duration {
    let given = given.min(MAX_DEADLINE);
    given - ANSWER_MARGIN.min(given / 10)
}

/// Says that a request was passed on by a node, and for whom it is.
pub(super) fn forwarded_to(metadata: &mut MetadataMap, cluster: Option<ClusterId>, node: NodeId) {
    metadata.insert(FORWARDED_METADATA, MetadataValue::from_static("1"));
    address(metadata, cluster, node);
}

/// Says for whom a request between nodes is, or from whom an answer.
pub(crate) fn address(metadata: &mut MetadataMap, cluster: Option<ClusterId>, node: NodeId) {
    metadata.insert(TARGET_NODE_METADATA, node.into());
    if let Some(Ok(cluster)) = cluster.map(|cluster| cluster.to_string().parse()) {
        metadata.insert(CLUSTER_ID_METADATA, cluster);
    }
}

/// At most eight digits and a unit, as the gRPC protocol has it.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "5", "5x", "-5S", "999999999S", "5é", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_neither_a_cluster_nor_a_node_is_noticed() {
        let call = |cluster: &str, node: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(CLUSTER_ID_METADATA, cluster.parse().unwrap());
            metadata.insert(TARGET_NODE_METADATA, node.parse().unwrap());
            Call::of(&metadata, DEFAULT_DEADLINE).addressee
        };
        let id = ClusterId::random();
        let good = Addressee { cluster: Some(id), node: Some(3), ..Addressee::default() };
        assert_eq!(call(&id.to_string(), "3"), good);
        assert!(call("no id", "3").garbled && call(&id.to_string(), "-1").garbled);
        assert_eq!(Call::of(&MetadataMap::new(), DEFAULT_DEADLINE).addressee, Addressee::default());
    }

    #[test]
    fn only_the_port_for_peers_takes_a_request_as_forwarded() {
        let mut metadata = MetadataMap::new();
        forwarded_to(&mut metadata, Some(ClusterId::random()), 3);
        let of_node = Call::of_node(&metadata, DEFAULT_DEADLINE);
        assert!(of_node.forwarded && !of_node.addressee.misplaced);
        let of_client = Call::of(&metadata, DEFAULT_DEADLINE);
        assert!(!of_client.forwarded && of_client.addressee.misplaced);
    }

    #[test]
    fn an_endless_deadline_is_cut() {
        let mut metadata = MetadataMap::new();
        metadata.insert(TIMEOUT_METADATA, MetadataValue::from_static("99999999H"));
        assert!(Call::of(&metadata, DEFAULT_DEADLINE).remaining() <= MAX_DEADLINE);
    }
}
