//! One round of questions for all that want to know.

use std::sync::Arc;
use std::time::Duration;

use proto::node::v1 as pb;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::document::ClusterDocument;
use super::judgement::judge;
use super::peers::PeerReports;
use super::series::ClusterSeries;
use crate::api::Reporter;
use crate::tls::Dialler;

/// Answers younger than this are given again.
const MAX_AGE: Duration = Duration::from_millis(900);

/// What all pages and questions share.
pub(crate) struct Overview {
    reporter: Reporter,
    dialler: Dialler,
    // The request that holds it asks; others wait for the same answers.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    peers: PeerReports,
    asked: Option<Instant>,
    health: pb::HealthResponse,
    document: Arc<ClusterDocument>,
    series: Arc<ClusterSeries>,
}

impl Overview {
    pub(crate) fn new(reporter: Reporter, dialler: Dialler) -> Arc<Self> {
        Arc::new(Self { reporter, dialler, known: Mutex::default() })
    }

    /// Whether the cluster is well now: from a round of questions that began after this one was
    /// put.
    pub(crate) async fn health(&self) -> pb::HealthResponse {
        let put = Instant::now();
        self.read_since(put, |known| known.health.clone()).await
    }

    /// Whether it was a moment ago.
    pub(crate) async fn recent_health(&self) -> pb::HealthResponse {
        self.read(|known| known.health.clone()).await
    }

    /// How the cluster is, for the page.
    pub(crate) async fn document(&self) -> Arc<ClusterDocument> {
        self.read(|known| Arc::clone(&known.document)).await
    }

    /// How the last 15 minutes were.
    pub(crate) async fn series(&self) -> Arc<ClusterSeries> {
        self.read(|known| Arc::clone(&known.series)).await
    }

    async fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        let now = Instant::now();
        self.read_since(now.checked_sub(MAX_AGE).unwrap_or(now), read).await
    }

    /// Reads answers to a round that began at `since` or later. Those that wait for a round under
    /// way share the next.
    async fn read_since<T>(&self, since: Instant, read: impl FnOnce(&Known) -> T) -> T {
        let mut known = self.known.lock().await;
        if known.asked.is_none_or(|asked| asked < since) {
            let began = Instant::now();
            known.peers.ask(&self.reporter, &self.dialler).await;
            known.health = judge(self.reporter.header(), &known.peers);
            known.document = Arc::new(ClusterDocument::of(&self.reporter, &known.peers, &known.health));
            known.series = Arc::new(ClusterSeries::of(&known.peers));
            known.asked = Some(began);
        }
        read(&known)
    }
}
