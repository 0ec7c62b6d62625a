//! What this node counts, as Prometheus series. Names are an interface: see DESIGN.md, section 5.

mod network;
mod raft;
mod registry;
mod requests;
mod storage;

pub use network::NetworkMetrics;
pub use raft::RaftMetrics;
pub use registry::Metrics;
pub use requests::{Op, RequestMetrics};
pub use storage::StorageMetrics;
