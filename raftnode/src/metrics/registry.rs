//! All series of one node, and their text form.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};

use super::series::{count, register};
use super::tls::TlsMetrics;
use super::{
    AuthMetrics, DigestMetrics, LeaderLife, MemberGauges, NetworkMetrics, Op, RaftMetrics, RequestMetrics,
    StorageMetrics,
};
use crate::config::Program;
use crate::raft::NodeId;
use crate::standing::{Local, Standing, is_joint};

/// Series that others count.
pub(crate) type Collectors = Vec<Box<dyn Collector>>;

/// Every series of this node. Cheap to share; counting never blocks.
pub(crate) struct Metrics {
    registry: Registry,
    info: NodeInfo,
    /// Client requests.
    pub requests: RequestMetrics,
    /// Consensus.
    pub raft: RaftMetrics,
    /// All members, on the leader.
    pub members: MemberGauges,
    /// Disk.
    pub storage: Arc<StorageMetrics>,
    /// Certificates.
    tls: TlsMetrics,
    /// Comparisons with other nodes.
    pub digests: DigestMetrics,
    /// Requests refused for want of rights.
    pub auth: AuthMetrics,
    /// Calls to peers.
    pub network: Arc<NetworkMetrics>,
}

impl Metrics {
    /// Registers every series of node `id`, whose application has these operations.
    ///
    /// # Errors
    /// If two series have one name, which is a mistake in this program, or the application's name
    /// is none for a series.
    pub(crate) fn new(
        program: Program,
        id: NodeId,
        cluster_name: &str,
        ops: &[Op],
    ) -> prometheus::Result<Self> {
        let (registry, application) = (Registry::new(), program.name);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        crate::trace::register(&registry)?;
        let info = NodeInfo::new(&registry, program, id, cluster_name)?;
        Ok(Self {
            info,
            requests: RequestMetrics::new(&registry, application, ops)?,
            raft: RaftMetrics::new(&registry, application)?,
            members: MemberGauges::new(&registry, application)?,
            storage: Arc::new(StorageMetrics::new(&registry)?),
            tls: TlsMetrics::new(&registry)?,
            digests: DigestMetrics::new(&registry)?,
            auth: AuthMetrics::new(&registry)?,
            network: Arc::new(NetworkMetrics::new(&registry)?),
            registry,
        })
    }

    /// Shows these, too.
    ///
    /// # Errors
    /// If two series have one name.
    pub(crate) fn add(&self, collectors: Collectors) -> prometheus::Result<()> {
        collectors.into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    /// Takes over what is measured only when it is asked for.
    pub(crate) async fn refresh(&self, local: &Local) {
        self.info.set(&local.cluster_id());
        self.tls.refresh(local.dialler.tls());
        let watch = &local.leader_watch;
        let leader = LeaderLife { alive: watch.is_alive(), silence: watch.silence() };
        local.with_metrics(|now| {
            self.raft.refresh(now, leader);
            self.raft.joint.set(i64::from(is_joint(now)));
            self.network.refresh(now.membership_config.nodes().map(|(id, _)| *id), local.id);
        });
        self.storage.refresh_faulted(matches!(local.standing(), Standing::Faulty(_)));
        let space = local.disk_space().await;
        self.raft.problems.set(count(local.problems(space).iter()));
        self.storage.refresh_sizes(local.disk_bytes().await);
        if let Some(space) = space {
            self.storage.refresh_space(space);
        }
    }

    /// All series in the Prometheus text format.
    ///
    /// # Errors
    /// If a series cannot be written, which is a mistake in this program.
    pub(crate) fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Joins a node id, as it appears in `peer` labels, to a scraped instance.
struct NodeInfo {
    gauge: IntGaugeVec,
    version: &'static str,
    id: NodeId,
    cluster_name: String,
}

impl NodeInfo {
    fn new(
        registry: &Registry,
        program: Program,
        id: NodeId,
        cluster_name: &str,
    ) -> prometheus::Result<Self> {
        let help = "Always 1; the labels say which node of which cluster runs what.";
        let labels = ["node_id", "cluster_id", "cluster_name", "version"];
        let opts = Opts::new(format!("{}_node_info", program.name), help);
        let gauge = register(registry, IntGaugeVec::new(opts, &labels)?)?;
        let info = Self { gauge, version: program.version, id, cluster_name: cluster_name.to_owned() };
        info.set("");
        Ok(info)
    }

    /// A node gets its cluster's id while it runs, once.
    fn set(&self, cluster_id: &str) {
        let id = self.id.to_string();
        let labels = |cluster_id| [&*id, cluster_id, &*self.cluster_name, self.version];
        if !cluster_id.is_empty() {
            // It is missing if it was replaced before.
            let _ = self.gauge.remove_label_values(&labels(""));
        }
        self.gauge.with_label_values(&labels(cluster_id)).set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_an_application_begin_with_its_name() {
        let of = |name| Metrics::new(Program { name, version: "1.2.3" }, 1, "test", &[Op::WRITE]);
        let metrics = of("locks").unwrap();
        let text = metrics.encode().unwrap();
        for name in ["locks_requests_total{", "locks_node_info{", "locks_node_problems ", "raft_term "] {
            assert!(text.contains(&format!("\n{name}")), "{name}: {text}");
        }
        assert!(!text.contains("kv_"), "{text}");
        assert!(text.contains(r#"version="1.2.3""#), "{text}");
        for none in ["my-app", "2nd"] {
            assert!(of(none).is_err(), "'{none}'");
        }
    }
}
