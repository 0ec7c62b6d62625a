//! All series of one node, and their text form.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{Registry, TextEncoder};

use super::{NetworkMetrics, RaftMetrics, RequestMetrics, StorageMetrics};

/// Every series of this node. Cheap to share; counting never blocks.
pub struct Metrics {
    registry: Registry,
    /// Client requests.
    pub requests: RequestMetrics,
    /// Consensus.
    pub raft: RaftMetrics,
    /// Disk.
    pub storage: Arc<StorageMetrics>,
    /// Calls to peers.
    pub network: Arc<NetworkMetrics>,
}

impl Metrics {
    /// Registers every series.
    ///
    /// # Errors
    /// If two series have one name, which is a mistake in this program.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            requests: RequestMetrics::new(&registry)?,
            raft: RaftMetrics::new(&registry)?,
            storage: Arc::new(StorageMetrics::new(&registry)?),
            network: Arc::new(NetworkMetrics::new(&registry)?),
            registry,
        })
    }

    /// All series in the Prometheus text format.
    ///
    /// # Errors
    /// If a series cannot be written, which is a mistake in this program.
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Adds a collector to the registry and hands it back.
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
