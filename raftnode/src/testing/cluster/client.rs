//! What clients ask of a cluster, by way of any node.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use super::Cluster;
use super::history::{FoundAt, Read, WriteEnd};
use super::port::Requests;
use crate::api::DEFAULT_DEADLINE;
use crate::api::status_codes::{self, Failure};
use crate::application::{Application, Command, Outcome, RequestId, View};
use crate::node::Error;
use crate::raft::NodeId;
use crate::testing::subject::encoded;

/// How long a node waits for another that it has passed a request on to.
const HOP_PATIENCE: Duration = Duration::from_millis(500);
/// A request that was not applied is tried again after this long.
const TRY_AGAIN: Duration = Duration::from_millis(20);

impl<A: Application> Cluster<A> {
    /// Has a command applied, asked of `node`, which passes it on to the leader. It has a request
    /// id, and is tried again until it is applied or out of time (5 s).
    ///
    /// # Errors
    /// [`Error::NotApplied`] or [`Error::Unknown`], as of a real node.
    pub async fn write(&self, node: NodeId, command: A::Command) -> Result<A::Response, Error> {
        let bytes = encoded("a command", &command);
        let response = self.write_encoded(node, bytes, DEFAULT_DEADLINE).await?;
        codec::decode(&response).map_err(|e| Error::Unknown(e.to_string()))
    }

    pub(super) async fn write_encoded(
        &self,
        node: NodeId,
        bytes: Bytes,
        time: Duration,
    ) -> Result<Bytes, Error> {
        let id = self.new_name();
        let write = self.history.begin_write(id, node);
        let command = Command { request_id: Some(id), since: A::SCHEMA, bytes };
        let ended = self.on_leader(node, time, true, move |to| to.write(command.clone())).await;
        let (end, answer) = match ended {
            Ok(Outcome::Applied(response)) => (WriteEnd::Acknowledged(response.clone()), Ok(response)),
            Ok(Outcome::SequenceTooLow { .. }) => {
                (WriteEnd::NotApplied, Err(Error::Refused("the sequence is too low".to_owned())))
            }
            Err(status) => match Error::from(status) {
                e @ Error::Unknown(_) => (WriteEnd::Unknown, Err(e)),
                e => (WriteEnd::NotApplied, Err(e)),
            },
        };
        self.history.end_write(write, end);
        answer
    }

    /// Answers a query, asked of `node`, with everything in it that was acknowledged before.
    ///
    /// # Errors
    /// As of a real node.
    pub async fn read(&self, node: NodeId, query: A::Query) -> Result<A::Answer, Error> {
        let answer = self.read_encoded(node, encoded("a query", &query), DEFAULT_DEADLINE).await?;
        codec::decode(&answer).map_err(|e| Error::Refused(e.to_string()))
    }

    pub(super) async fn read_encoded(
        &self,
        node: NodeId,
        query: Bytes,
        time: Duration,
    ) -> Result<Bytes, Error> {
        let begun = self.history.begin();
        let asked = query.clone();
        let found = self.on_leader(node, time, false, move |to| to.read(asked.clone())).await?;
        let FoundAt { position, time, answer } = found;
        // A model says what is right, a failure included.
        let told = answer.clone().unwrap_or_else(|reason| reason.into());
        self.history.end_read(Read { node, query, begun, ended: begun, position, time, answer: told });
        answer.map_err(Error::Refused)
    }

    /// Answers a query from what `node` has applied.
    ///
    /// # Errors
    /// It does not run, or cannot answer.
    pub async fn read_stale(&self, node: NodeId, query: A::Query) -> Result<A::Answer, Error> {
        let query = encoded("a query", &query);
        let member = self.member(node).ok_or_else(|| Error::NotApplied(does_not_run(node)))?;
        let found = member.requests.clone().read_stale(query).await;
        let found = found.map_err(|failure| Error::from(status_of(failure)))?;
        codec::decode(&found.answer.map_err(Error::Refused)?).map_err(|e| Error::Refused(e.to_string()))
    }

    /// What `look` makes of the state of any node that runs; none if none does.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut View<'_, '_>) -> T + Send + 'static,
    ) -> Option<T> {
        let member = self.nodes().into_iter().find_map(|node| self.member(node))?;
        let found = member.reader.query(Box::new(move |view| Ok(Box::new(look(&mut View::new(view))))));
        Some(*found.await.ok()?.downcast().ok()?)
    }

    /// Runs `ask` on the leader, by way of `node`, until it has an outcome.
    async fn on_leader<T, F>(
        &self,
        node: NodeId,
        time: Duration,
        changes: bool,
        ask: impl Fn(Requests) -> F + Clone + Send + 'static,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let give_up = Instant::now() + time;
        let mut lost = None;
        loop {
            let status = match timeout_at(give_up, self.attempt(node, changes, ask.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Failure::Final(status))) if lost.is_none() => return Err(status),
                Ok(Err(Failure::NotApplied(status) | Failure::Final(status))) => status,
                Ok(Err(Failure::Lost(status))) if changes => lost.insert(status).clone(),
                Ok(Err(Failure::Lost(status))) => status_codes::no_leader(status.message()),
                Err(_) if changes => return Err(lost.unwrap_or_else(status_codes::out_of_time_unknown)),
                Err(_) => return Err(status_codes::no_leader("none has answered")),
            };
            if Instant::now() + TRY_AGAIN >= give_up {
                return Err(lost.unwrap_or(status));
            }
            sleep(TRY_AGAIN).await;
        }
    }

    async fn attempt<T, F>(
        &self,
        node: NodeId,
        changes: bool,
        ask: impl Fn(Requests) -> F + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let no_leader = |reason| Failure::NotApplied(status_codes::no_leader(reason));
        let Some(member) = self.member(node) else { return Err(no_leader(does_not_run(node))) };
        let answer = match member.leader() {
            None => return Err(no_leader(format!("node {node} knows of none"))),
            Some(leader) if leader == node || (!changes && member.requests.forwards_no_reads()) => {
                ask(member.requests.clone()).await
            }
            Some(leader) => {
                let hop = self.network().call((node, leader), HOP_PATIENCE, move |port| ask(port.requests));
                hop.await.unwrap_or_else(|silence| {
                    Err(if silence.may_have_arrived {
                        Failure::Lost(Status::unknown(silence.to_string()))
                    } else {
                        no_leader(silence.to_string())
                    })
                })
            }
        };
        // The connection to a node that is dead breaks before the answer comes.
        member.requests.alive()?;
        answer
    }

    /// A name for a new write: each has a client of its own.
    fn new_name(&self) -> RequestId {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client_id = [0; 16];
        let (first, second) = client_id.split_at_mut(8);
        first.copy_from_slice(&random.number().to_be_bytes());
        second.copy_from_slice(&random.number().to_be_bytes());
        RequestId { client_id, sequence: 1 }
    }
}

fn status_of(failure: Failure) -> Status {
    match failure {
        Failure::NotApplied(status) | Failure::Lost(status) | Failure::Final(status) => status,
    }
}

fn does_not_run(node: NodeId) -> String {
    format!("node {node} does not run")
}
