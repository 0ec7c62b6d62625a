//! Everything that was applied, once more, in a model; and what clients have asked, asked of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::check::Pairs;
use super::error::ClusterError;
use super::history::{Applied, Events, Read};
use crate::application::{Application, At, ClusterTime};
use crate::raft::NodeId;
use crate::testing::exercised::Exercised;
use crate::testing::machine::Machine;

/// Invariant: `machine` is at `position`, and `last` was applied last.
struct Model<'e, A: Application> {
    machine: Machine<A>,
    position: u64,
    last: Option<&'e Applied>,
}

impl<'e, A: Application> Model<'e, A> {
    /// Goes on to `position`. What is not in the history was a write that came again, which is
    /// answered and not applied, but moves the state's time: to `time` at most.
    async fn go_to(&mut self, position: u64, time: ClusterTime) -> Result<(), String> {
        while self.position < position
            && let Some(last) = self.last
        {
            let again = At { time: time.max(last.at.time), ..last.at };
            self.machine.apply_encoded(&again, last.command.clone()).await?;
            self.position += 1;
        }
        Ok(())
    }

    async fn apply(&mut self, applied: &'e Applied) -> Result<Bytes, String> {
        self.go_to(applied.at.position - 1, ClusterTime::default()).await?;
        (self.position, self.last) = (applied.at.position, Some(applied));
        self.machine.apply_encoded(&applied.at, applied.command.clone()).await
    }

    async fn check(&mut self, read: &Read, exercised: &mut Exercised) -> Result<(), ClusterError> {
        let expected = match self.go_to(read.position, read.time).await {
            Ok(()) => self.machine.query_encoded(&read.query).await,
            Err(reason) => Err(reason),
        };
        if let Ok(answer) = &expected {
            exercised.add_answer::<A>(answer);
        }
        let expected = expected.unwrap_or_else(|reason| reason.into());
        if read.answer == expected {
            return Ok(());
        }
        let Read { node, position, .. } = *read;
        Err(ClusterError::Answer { node, position, told: read.answer.clone(), expected })
    }
}

impl Events {
    /// Applies everything to a model; compares its responses, its answers, and in the end its pairs
    /// with those of `nodes`.
    pub(super) async fn replay<A: Application>(
        &self,
        application: A,
        nodes: &BTreeMap<NodeId, Pairs>,
    ) -> Result<Exercised, ClusterError> {
        let mut reads: Vec<&Read> = self.reads.iter().collect();
        reads.sort_by_key(|read| read.position);
        let mut reads = reads.into_iter().peekable();
        let mut model = Model { machine: Machine::new(application).await, position: 0, last: None };
        let mut exercised = Exercised::default();
        let mut before = model.machine.pairs().await;
        for applied in self.applied.values() {
            while let Some(read) = reads.next_if(|read| read.position < applied.at.position) {
                model.check(read, &mut exercised).await?;
            }
            let response = model.apply(applied).await;
            if response.as_ref() != Ok(&applied.response) {
                let (one, other) = (format!("{applied:?}"), format!("a model answers {response:?}"));
                return Err(ClusterError::Diverged { position: applied.at.position, one, other });
            }
            let after = model.machine.pairs().await;
            exercised.add_one::<A>(&applied.command, &applied.response, before != after);
            before = after;
        }
        for read in reads {
            model.check(read, &mut exercised).await?;
        }
        nodes.iter().try_for_each(|(node, pairs)| check_state(*node, &before, pairs))?;
        Ok(exercised)
    }
}

fn check_state(node: NodeId, expected: &Pairs, found: &Pairs) -> Result<(), ClusterError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (expected.iter().cloned().collect(), found.iter().cloned().collect());
    let keys = expected.keys().chain(found.keys());
    let differs = |key: &&Bytes| expected.get(*key) != found.get(*key);
    let key = keys.filter(differs).min().cloned().unwrap_or_default();
    let (expected, found) = (expected.get(&key).cloned(), found.get(&key).cloned());
    Err(ClusterError::State { node, key, expected, found })
}
