//! One round of questions for all pages that are open.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::document::ClusterDocument;
use super::peers::PeerReports;
use super::series::ClusterSeries;
use crate::api::Reporter;

/// Answers younger than this are given again.
const MAX_AGE: Duration = Duration::from_millis(900);

/// What all pages share.
pub(in crate::http) struct Overview {
    reporter: Reporter,
    // Whoever holds it asks; the others wait for the same answers.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    peers: PeerReports,
    asked: Option<Instant>,
    document: Arc<ClusterDocument>,
    series: Arc<ClusterSeries>,
}

impl Overview {
    pub(in crate::http) fn new(reporter: Reporter) -> Arc<Self> {
        Arc::new(Self { reporter, known: Mutex::default() })
    }

    /// How the cluster is.
    pub(in crate::http) async fn document(&self) -> Arc<ClusterDocument> {
        self.read(|known| Arc::clone(&known.document)).await
    }

    /// How the last 15 minutes were.
    pub(in crate::http) async fn series(&self) -> Arc<ClusterSeries> {
        self.read(|known| Arc::clone(&known.series)).await
    }

    async fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        let mut known = self.known.lock().await;
        if known.asked.is_none_or(|asked| asked.elapsed() >= MAX_AGE) {
            known.peers.ask(&self.reporter).await;
            known.document = Arc::new(ClusterDocument::of(&self.reporter, &known.peers));
            known.series = Arc::new(ClusterSeries::of(&known.peers));
            known.asked = Some(Instant::now());
        }
        read(&known)
    }
}
