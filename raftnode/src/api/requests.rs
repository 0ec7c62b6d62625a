//! Commands and queries of the application: on the leader through the log or after a confirmation,
//! elsewhere passed on to it. The bytes of a command are made where it came in, and stay as they
//! are.

use std::any::Any;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use proto::node::v1 as pb;
use proto::node::v1::forwarded_request::Request as Task;
use storage_leveldb::StorageError;
use tonic::Status;

use super::call::Call;
use super::forward::{Effect, Hop};
use super::limits::MAX_ANSWER_BYTES;
use super::proposal::Applied;
use super::route::{self, LEADER_WAIT};
use super::server::Api;
use super::status_codes::{self, Failure};
use crate::application::{Ask, Command, Outcome, RequestId};
use crate::raft::NodeId;
use crate::trace::{self, Span, SpanKind};

/// A response or an answer, and which node it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<T> {
    /// What was answered.
    pub value: T,
    /// The node that applied the command or ran the query.
    pub node: NodeId,
}

/// What a query found: as it is, or as the leader has sent it.
pub(crate) enum Found {
    Here(Box<dyn Any + Send>),
    There(Bytes),
}

/// A query that can be asked here, or sent to another node.
pub(crate) trait Question: Send + Sync {
    /// Asked once, when it is certain that it is asked here.
    fn ask(&self) -> Option<Ask>;
    /// To be sent.
    fn encoded(&self) -> Result<Bytes, Status>;
    /// Whether it may have to wait for the disk.
    fn is_long(&self) -> bool;
}

impl Api {
    /// Applies a command; answers the encoded response.
    pub(crate) async fn write(&self, call: &Call, command: Command) -> Result<Answered<Bytes>, Status> {
        let _bytes = self.admission.write(command.bytes.len())?;
        self.write_admitted(call, command).await
    }

    /// The same for a command whose bytes have their place.
    pub(super) fn write_admitted<'a>(
        &'a self,
        call: &'a Call,
        command: Command,
    ) -> BoxFuture<'a, Result<Answered<Bytes>, Status>> {
        Box::pin(async move {
            let effect = Effect::of_write(command.request_id.is_some());
            let here = async || {
                let outcome = self.propose(call, command.clone()).await?.outcome;
                Ok(Answered { value: response_of(outcome)?, node: self.local.id })
            };
            let there = async |hop: Hop| {
                let value = hop.pass_on(Task::Write(write_request(&command))).await?;
                Ok(Answered { value, node: hop.to() })
            };
            self.on_leader(call, LEADER_WAIT, effect, here, there).await
        })
    }

    /// Puts a command into the log and waits until it is applied.
    pub(super) async fn propose(&self, call: &Call, command: Command) -> Result<Applied, Failure> {
        if self.local.has_lost_quorum() {
            return Err(status_codes::no_quorum().into());
        }
        if self.local.disk_hangs() {
            return Err(status_codes::disk_hangs().into());
        }
        let (request_id, started) = (command.request_id, Instant::now());
        let write = self.proposals.propose(command);
        let applied = self.local.unless_disk_hangs(route::within(call, Effect::Write, write)).await;
        let applied = applied.unwrap_or_else(|| Err(status_codes::disk_hangs_unknown().into()))?;
        note_applied(call, request_id, started, &applied);
        Ok(applied)
    }

    /// Answers a query with everything in it that was acknowledged before.
    pub(crate) fn read<'a>(
        &'a self,
        call: &'a Call,
        question: &'a dyn Question,
    ) -> BoxFuture<'a, Result<Answered<Found>, Status>> {
        Box::pin(async move {
            let here = async || {
                let read = async {
                    self.confirm_read().await?;
                    Ok(self.read_stale(question).await?)
                };
                route::within(call, Effect::Read, read).await
            };
            let there = async |hop: Hop| {
                let query = question.encoded()?;
                let answer = hop.pass_on(Task::Read(pb::ReadRequest { query })).await?;
                Ok(Answered { node: hop.to(), value: Found::There(answer) })
            };
            self.on_leader(call, LEADER_WAIT, Effect::Read, here, there).await
        })
    }

    /// Answers from the state applied here, however old it is.
    pub(crate) fn read_stale<'a>(
        &'a self,
        question: &'a dyn Question,
    ) -> BoxFuture<'a, Result<Answered<Found>, Status>> {
        Box::pin(async move {
            let ask = question.ask().ok_or_else(|| Status::internal("a query was asked twice"))?;
            let found = if question.is_long() { self.long_query(ask).await } else { self.query(ask).await };
            found.map(|found| Answered { value: Found::Here(found), node: self.local.id })
        })
    }

    /// Returns once a query here sees every write acknowledged before the call.
    pub(super) async fn confirm_read(&self) -> Result<(), Failure> {
        if self.local.has_lost_quorum() {
            return Err(status_codes::no_quorum().into());
        }
        let confirmed = self.local.unless_disk_hangs(self.read_index.confirm()).await;
        confirmed.unwrap_or_else(|| Err(status_codes::disk_hangs().into()))
    }

    async fn query(&self, ask: Ask) -> Result<Box<dyn Any + Send>, Status> {
        self.local.reader.query(ask).await.map_err(|e| self.unanswered(&e))
    }

    /// The same for a query that reads many pairs: on a thread that may wait for the disk, because
    /// nothing else that this thread serves should wait with it.
    async fn long_query(&self, ask: Ask) -> Result<Box<dyn Any + Send>, Status> {
        let reader = self.local.reader.clone();
        let answer = tokio::task::spawn_blocking(move || reader.query_blocking(ask)).await;
        answer.unwrap_or(Err(StorageError::Closed)).map_err(|e| self.unanswered(&e))
    }

    pub(super) fn unanswered(&self, e: &StorageError) -> Status {
        match status_codes::check_standing(&self.local) {
            Err(standing) => standing,
            // Another node would say the same.
            Ok(())
                if matches!(
                    e,
                    StorageError::QueryPanicked(_)
                        | StorageError::QueryFailed(_)
                        | StorageError::UnsendableAnswer(_)
                ) =>
            {
                Status::failed_precondition(e.to_string())
            }
            Ok(()) => Status::unavailable(format!("{e}; ask another node")),
        }
    }

    /// A stale answer of a node that never was part of a cluster would be no answer at all.
    pub(crate) fn refuse_outsiders(&self) -> Result<(), Status> {
        status_codes::check_affiliation(&self.local)
    }
}

/// The response, here as on the way to another node.
pub(super) fn response_of(outcome: Outcome) -> Result<Bytes, Status> {
    match outcome {
        Outcome::Applied(bytes) if bytes.len() > MAX_ANSWER_BYTES => Err(Status::unknown(format!(
            "the write was applied, its response has {} bytes encoded; at most {MAX_ANSWER_BYTES}",
            bytes.len()
        ))),
        Outcome::Applied(bytes) => Ok(bytes),
        Outcome::SequenceTooLow { last } => Err(Status::failed_precondition(format!(
            "the sequence is too low: {last} has already been applied for this client_id; not applied"
        ))),
    }
}

fn write_request(command: &Command) -> pb::WriteRequest {
    let id = |id: RequestId| pb::RequestId {
        client_id: Bytes::copy_from_slice(&id.client_id),
        sequence: id.sequence,
    };
    pb::WriteRequest {
        since: command.since,
        command: command.bytes.clone(),
        request_id: command.request_id.map(id),
    }
}

/// The line that ties a request to its place in the log, and so to the line of every node that
/// applies it: these know the index and the write's name, and not the trace, which is not in the
/// log.
pub(super) fn note_applied(call: &Call, request_id: Option<RequestId>, started: Instant, applied: &Applied) {
    let (index, term) = (applied.log_index, applied.term);
    trace::record(&call.trace, || {
        let span =
            Span::ended(call.trace.child(), "replicate and apply", SpanKind::Internal, started.elapsed());
        span.number("log_index", index).number("term", term)
    });
    tracing::debug!(
        event.action = "applied",
        trace.id = %call.trace.trace,
        span.id = %call.trace.span,
        log_index = index,
        term,
        client_id = request_id.map(|id| id.client_hex()),
        sequence = request_id.map(|id| id.sequence),
        "the write is applied"
    );
}
