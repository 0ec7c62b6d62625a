//! Entries on their way: proposed, and not applied yet.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use openraft::errors::RaftError;
use openraft::impls::ProgressResponder;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::proposal::{Proposal, answer, answer_failure};
use super::returning::Returning;
use super::status_codes::{self, Failure};
use crate::application::{Batch, Hosted, Stamp};
use crate::raft::{Raft, TypeConfig};

/// Entries that are proposed and not applied yet.
pub(super) const MAX_BATCHES_IN_FLIGHT: usize = 2;

/// What proposes entries, and knows how many are on their way.
pub(super) struct InFlight {
    raft: Raft,
    hosted: Hosted,
    places: Arc<Semaphore>,
    pub(super) returning: Returning,
}

impl InFlight {
    pub(super) fn new(raft: Raft, hosted: Hosted) -> Self {
        let places = Arc::new(Semaphore::new(MAX_BATCHES_IN_FLIGHT));
        Self { raft, hosted, places, returning: Returning::default() }
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// A place for a command that comes alone: nothing is on its way, and no others are expected.
    pub(super) fn place_for_one(&self) -> Option<OwnedSemaphorePermit> {
        let is_idle = self.places.available_permits() == MAX_BATCHES_IN_FLIGHT;
        // In this order: whether it comes alone is noted.
        let place = Arc::clone(&self.places).try_acquire_owned().ok().filter(|_| is_idle)?;
        self.returning.comes_alone().then_some(place)
    }

    /// What the next entry is stamped with.
    pub(super) fn stamp(&self) -> Stamp {
        let schema = self.hosted.in_force().next();
        Stamp { schema, time: self.hosted.clock().now() }
    }

    /// Hands them to consensus, in this order, as one entry.
    pub(super) async fn propose(
        &self,
        stamp: Stamp,
        proposals: Vec<Proposal>,
        place: OwnedSemaphorePermit,
    ) -> Answering {
        let batch = Batch::new(stamp, proposals.iter().map(|proposal| &proposal.command));
        let (responder, outcome) = ProgressResponder::<TypeConfig, _>::complete_only();
        if let Err(fatal) = self.raft.client_write_ff(batch, Some(responder)).await {
            answer_failure(proposals, &status_codes::write_failure(RaftError::Fatal(fatal)));
            return Answering(None);
        }
        let returning = self.returning.clone();
        let answering = async move {
            let outcome = outcome.await;
            returning.answered(proposals.len());
            drop(place);
            match outcome {
                Ok(Ok(written)) => {
                    let log_id = written.log_id;
                    answer(proposals, written.data.0, log_id.index, log_id.committed_leader_id().term);
                }
                Ok(Err(error)) => {
                    answer_failure(proposals, &status_codes::write_failure(RaftError::APIError(error)));
                }
                // Consensus has stopped, and does not say whether the entry was appended.
                Err(_) => answer_failure(proposals, &Failure::Final(status_codes::stopped_unknown())),
            }
        };
        Answering(Some(answering.boxed()))
    }
}

/// Completes when the commands of an entry have been told their outcomes. Dropped before that, it
/// goes on in a task of its own: the entry is still on its way, and keeps its place.
pub(super) struct Answering(Option<BoxFuture<'static, ()>>);

impl Future for Answering {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(answering) = &mut self.0 {
            ready!(answering.poll_unpin(context));
        }
        self.0 = None;
        Poll::Ready(())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        // Without a runtime this node has stopped.
        if let (Some(answering), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(answering);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    /// A client that gives its write up does not make room for another entry.
    #[tokio::test]
    async fn an_entry_whose_caller_has_gone_keeps_its_place_until_it_is_applied() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().unwrap();
        let (apply, applied) = oneshot::channel::<()>();
        let mut answering = Answering(Some(
            async move {
                applied.await.unwrap();
                drop(place);
            }
            .boxed(),
        ));
        assert!((&mut answering).now_or_never().is_none());
        drop(answering);
        tokio::task::yield_now().await;
        assert_eq!(places.available_permits(), 0);
        apply.send(()).unwrap();
        drop(places.acquire().await.unwrap());
    }
}
