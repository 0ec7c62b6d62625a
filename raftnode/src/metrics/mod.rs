//! What this node counts, as Prometheus series. Names are an interface: docs/OPERATIONS.md has the table, and a test
//! compares it with a running node.

mod network;
mod peers;
mod raft;
mod registry;
mod requests;
mod storage;

pub use network::NetworkMetrics;
pub use peers::MemberGauges;
pub use raft::{LeaderLife, RaftMetrics};
pub use registry::{Collectors, Metrics};
pub use requests::{Op, OpKind, Origin, REQUEST_BUCKETS_SECONDS, RequestMetrics};
pub use storage::{DISK_BUCKETS_SECONDS, StorageMetrics};
