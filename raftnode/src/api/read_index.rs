//! Linearizable reads by ReadIndex, many reads to one confirmation.
//!
//! A leader may answer a read from its own state once two things are certain: that it was still the
//! leader at some moment after the read arrived, and that its state contains everything that was
//! committed by then. openraft gives both for one round of heartbeats: it notes the commit index,
//! asks a quorum whether they still follow, and the caller waits until that index is applied.
//!
//! One round serves every read that arrived BEFORE the round started. This is safe because the
//! noted commit index covers all writes acknowledged before the round started, hence all
//! acknowledged before any of these reads arrived. A read that arrives while a round is under way
//! must not share it: a write may have been acknowledged (by this leader, or by a newer one)
//! between the start of the round and the read's arrival, and the noted index need not cover it. It
//! waits for the next round. So at most one round is under way, and under load each round carries
//! all reads that came in during the one before.

use std::time::Duration;

use openraft::raft::linearizable_read::Linearizer;
use openraft::{LinearizerOption, ReadPolicy};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tonic::Status;

use super::admission::MAX_REQUESTS_IN_FLIGHT;
use super::status_codes::{self, Failure};
use crate::raft::{Raft, TypeConfig};

/// How long a round waits for a quorum.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(1000);
/// How long a round waits for its index to be applied.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Reads waiting for the next round: as many as can be in flight.
const WAITING_READS: usize = MAX_REQUESTS_IN_FLIGHT;

type Outcome = Result<(), Failure>;
type Waiting = oneshot::Sender<Outcome>;

/// Where reads wait to be confirmed. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReadIndex {
    waiting: mpsc::Sender<Waiting>,
}

impl ReadIndex {
    /// Starts the task that runs the rounds; it ends when the last clone is dropped.
    pub(crate) fn start(raft: Raft) -> Self {
        let (waiting, arrivals) = mpsc::channel(WAITING_READS);
        tokio::spawn(run_rounds(raft, arrivals));
        Self { waiting }
    }

    /// Returns once a query on this node's state sees every write acknowledged before this call.
    pub(crate) async fn confirm(&self) -> Outcome {
        let (done, outcome) = oneshot::channel();
        let gone = || Failure::Final(Status::unavailable("this node is stopping; ask another node"));
        self.waiting.send(done).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

async fn run_rounds(raft: Raft, mut arrivals: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    while arrivals.recv_many(&mut waiting, WAITING_READS).await > 0 {
        // Reads that came in with the first are in tasks that are still to run.
        yield_now().await;
        while let Ok(read) = arrivals.try_recv() {
            waiting.push(read);
        }
        let round = std::mem::take(&mut waiting);
        match confirm_leadership(&raft).await {
            // The next round need not wait until this one's index is applied.
            Ok(linearizer) => drop(tokio::spawn(finish(raft.clone(), linearizer, round))),
            Err(failure) => answer(round, &Err(failure)),
        }
    }
}

async fn confirm_leadership(raft: &Raft) -> Result<Linearizer<TypeConfig>, Failure> {
    let how = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(CONFIRM_TIMEOUT);
    raft.get_read_linearizer(how).await.map_err(|e| status_codes::read_failure(&e))
}

async fn finish(raft: Raft, linearizer: Linearizer<TypeConfig>, round: Vec<Waiting>) {
    let outcome = match linearizer.try_await_ready(&raft, Some(APPLY_TIMEOUT)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => {
            Err(Status::unavailable("this node is slow to apply what is committed; try again").into())
        }
        Err(fatal) => Err(status_codes::stopped(&fatal).into()),
    };
    answer(round, &outcome);
}

fn answer(round: Vec<Waiting>, outcome: &Outcome) {
    for done in round {
        // A reader that has gone away wants no answer.
        drop(done.send(outcome.clone()));
    }
}
