//! What this node counts, as Prometheus series. Names are an interface: docs/operations/metrics.md
//! has the list, and a test compares it with a running node.

mod auth;
mod digests;
mod network;
mod peers;
mod raft;
mod registry;
mod requests;
mod series;
mod storage;
mod tls;

pub(crate) use auth::AuthMetrics;
pub(crate) use digests::DigestMetrics;
pub(crate) use network::NetworkMetrics;
pub(crate) use peers::MemberGauges;
pub(crate) use raft::{LeaderLife, RaftMetrics};
pub(crate) use registry::{Collectors, Metrics};
pub use requests::{Op, OpKind};
pub(crate) use requests::{Origin, REQUEST_BUCKETS_SECONDS, RequestMetrics};
pub(crate) use storage::{DISK_BUCKETS_SECONDS, StorageMetrics};
