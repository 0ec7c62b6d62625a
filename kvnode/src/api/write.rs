//! Put and delete: on the leader through the log, elsewhere forwarded.

use std::time::Instant;

use bytes::Bytes;
use openraft::type_config::alias::LogIdOf;
use proto::kv::v1 as kv;
use tonic::Status;

use super::call::Call;
use super::forward::{Effect, Hop};
use super::header::header;
use super::route::{self, LEADER_WAIT};
use super::server::Api;
use super::status_codes::{self, Failure};
use super::validate;
use crate::app::{Command, PairRecord, RequestId, Response};
use crate::raft::TypeConfig;
use crate::trace::{self, Span, SpanKind};

impl Api {
    pub(super) async fn put(&self, call: &Call, request: kv::PutRequest) -> Result<kv::PutResponse, Status> {
        let request_id = validate::request_id(request.request_id.clone())?;
        let _bytes = self.admission.write(request.key.len() + request.value.len())?;
        let effect = Effect::of_write(request_id.is_some());
        let here = || self.put_here(call, &request, request_id);
        let there = async |hop: Hop| Ok(hop.kv().put(hop.request(request.clone())).await?.into_inner());
        self.on_leader(call, LEADER_WAIT, effect, here, there).await
    }

    async fn put_here(
        &self,
        call: &Call,
        request: &kv::PutRequest,
        request_id: Option<RequestId>,
    ) -> Result<kv::PutResponse, Failure> {
        let command = Command::Put {
            key: request.key.clone(),
            value: request.value.clone(),
            request_id,
            return_previous: request.return_previous,
        };
        match self.propose(call, command).await? {
            Response::Put { revision, previous } => Ok(kv::PutResponse {
                header: header(&self.local, revision),
                previous: previous.map(|record| pair(request.key.clone(), record)),
            }),
            other => Err(not_the_answer(&other).into()),
        }
    }

    pub(super) async fn delete(
        &self,
        call: &Call,
        request: kv::DeleteRequest,
    ) -> Result<kv::DeleteResponse, Status> {
        let request_id = validate::request_id(request.request_id.clone())?;
        let _bytes = self.admission.write(request.key.len())?;
        let effect = Effect::of_write(request_id.is_some());
        let here = || self.delete_here(call, &request, request_id);
        let there = async |hop: Hop| Ok(hop.kv().delete(hop.request(request.clone())).await?.into_inner());
        self.on_leader(call, LEADER_WAIT, effect, here, there).await
    }

    async fn delete_here(
        &self,
        call: &Call,
        request: &kv::DeleteRequest,
        request_id: Option<RequestId>,
    ) -> Result<kv::DeleteResponse, Failure> {
        let key = request.key.clone();
        let command = Command::Delete { key, request_id, return_previous: request.return_previous };
        match self.propose(call, command).await? {
            Response::Delete { revision, deleted, previous } => Ok(kv::DeleteResponse {
                header: header(&self.local, revision),
                deleted: u64::from(deleted),
                previous: previous.map(|record| pair(request.key.clone(), record)),
            }),
            other => Err(not_the_answer(&other).into()),
        }
    }

    /// Puts a command into the log and waits until it is applied. openraft itself refuses it, not
    /// appended, if this node does not lead or its lease has run out.
    async fn propose(&self, call: &Call, command: Command) -> Result<Response, Failure> {
        if self.local.has_lost_quorum() {
            return Err(status_codes::no_quorum().into());
        }
        if self.local.disk_hangs() {
            return Err(status_codes::disk_hangs().into());
        }
        let (request_id, started) = (command.request_id(), Instant::now());
        let write = self.local.raft.client_write(command);
        let write = async { write.await.map_err(status_codes::write_failure) };
        let applied = self.local.unless_disk_hangs(route::within(call, Effect::Write, write)).await;
        let applied = applied.unwrap_or_else(|| Err(status_codes::disk_hangs_unknown().into()))?;
        note_applied(call, request_id, started, &applied.log_id);
        Ok(applied.data)
    }
}

/// The line that ties a request to its place in the log, and so to the line of every node that applies it: these know
/// the index and the write's name, and not the trace, which is not in the log.
fn note_applied(call: &Call, request_id: Option<RequestId>, started: Instant, log_id: &LogIdOf<TypeConfig>) {
    let (index, term) = (log_id.index(), log_id.committed_leader_id().term);
    trace::record(&call.trace, || {
        let span =
            Span::ended(call.trace.child(), "replicate and apply", SpanKind::Internal, started.elapsed());
        span.number("kvnode.log_index", index).number("kvnode.term", term)
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

/// A pair in the protocol's shape.
pub(super) fn pair(key: Bytes, record: PairRecord) -> kv::Pair {
    kv::Pair {
        key,
        value: record.value,
        create_revision: record.create_revision,
        mod_revision: record.mod_revision,
        version: record.version,
    }
}

/// The write was not applied: it is too old, or its name was used for something else before.
fn not_the_answer(response: &Response) -> Status {
    match response {
        Response::SequenceTooLow { last } => Status::failed_precondition(format!(
            "the sequence is too low: {last} has already been applied for this client_id; not applied"
        )),
        _ => Status::failed_precondition(
            "this client_id and sequence were used for another operation before; not applied",
        ),
    }
}
