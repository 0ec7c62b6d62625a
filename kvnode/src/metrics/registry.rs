//! All series of one node, and their text form.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

use super::{LeaderLife, NetworkMetrics, RaftMetrics, RequestMetrics, StorageMetrics};
use crate::node::{Local, Standing};
use crate::raft::NodeId;

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
    /// Registers every series of node `id`.
    ///
    /// # Errors
    /// If two series have one name, which is a mistake in this program.
    pub fn new(id: NodeId, cluster_id: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        crate::logging::register(&registry)?;
        crate::trace::register(&registry)?;
        register_node_info(&registry, id, cluster_id)?;
        Ok(Self {
            requests: RequestMetrics::new(&registry)?,
            raft: RaftMetrics::new(&registry)?,
            storage: Arc::new(StorageMetrics::new(&registry)?),
            network: Arc::new(NetworkMetrics::new(&registry)?),
            registry,
        })
    }

    /// Takes over what is measured only when somebody looks.
    pub async fn refresh(&self, local: &Local) {
        let watch = &local.leader_watch;
        let leader = LeaderLife { alive: watch.is_alive(), silence: watch.silence() };
        local.with_metrics(|now| {
            self.raft.refresh(now, leader);
            self.network.refresh(now.membership_config.nodes().map(|(id, _)| *id), local.id);
        });
        self.storage.refresh_faulted(matches!(local.standing(), Standing::Faulty(_)));
        self.storage.refresh_sizes(local.disk_bytes().await);
        if let Some(space) = local.disk_space().await {
            self.storage.refresh_space(space);
        }
    }

    /// All series in the Prometheus text format.
    ///
    /// # Errors
    /// If a series cannot be written, which is a mistake in this program.
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Joins a node id, as it appears in `peer` labels, to a scraped instance.
fn register_node_info(registry: &Registry, id: NodeId, cluster_id: &str) -> prometheus::Result<()> {
    let opts = Opts::new("kv_node_info", "Always 1; the labels say which node of which cluster runs what.");
    let info = IntGaugeVec::new(opts, &["node_id", "cluster_id", "version"])?;
    let info = register(registry, info)?;
    info.with_label_values(&[&*id.to_string(), cluster_id, env!("CARGO_PKG_VERSION")]).set(1);
    Ok(())
}

/// Adds a collector to the registry and hands it back.
pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
