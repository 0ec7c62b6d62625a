//! The key-value semantics.

use std::fmt;

use bytes::Bytes;
use storage_leveldb::{Application, Fault, StorageError, Transaction, View};

use super::{Answer, Command, PairRecord, Query, RequestId, Response, keys, query, session, sweep};
use crate::raft::TypeConfig;

/// The replicated key-value application. It has no state of its own: all of it is in the
/// transaction.
#[derive(Debug, Clone, Copy, Default)]
pub struct KvApplication;

impl Application<TypeConfig> for KvApplication {
    type Query = Query;
    type Answer = Answer;

    fn apply(
        &self,
        txn: &mut Transaction<'_>,
        index: u64,
        command: &Command,
    ) -> Result<Response, StorageError> {
        sweep::step(txn, index)?;
        let request_id = command.request_id();
        note(index, command, request_id);
        let Some(id) = request_id else { return write(txn, index, command) };
        if let Some(response) = session::settled(txn, index, &id)? {
            return Ok(response);
        }
        let response = write(txn, index, command)?;
        session::remember(txn, index, &id, &response)?;
        Ok(response)
    }

    /// Only pairs are merged, each write with those before it.
    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        PairRecord::merge(older, operand).map_err(|e| corrupt("merging a pair", &e))
    }

    fn query(&self, view: &mut View<'_>, query: Query) -> Result<Answer, StorageError> {
        query::run(view, query)
    }
}

/// Every node writes this line. The entry does not carry its trace: the index, and the write's name, lead to the line of
/// the leader that has it.
fn note(index: u64, command: &Command, request_id: Option<RequestId>) {
    tracing::debug!(
        event.action = "apply",
        log_index = index,
        client_id = request_id.map(|id| id.client_hex()),
        sequence = request_id.map(|id| id.sequence),
        "applying {command}"
    );
}

fn write(txn: &mut Transaction<'_>, revision: u64, command: &Command) -> Result<Response, StorageError> {
    match command {
        Command::Put { key, value, return_previous, .. } => {
            let place = keys::pair(key);
            // Nothing else has to wait for what was there: see `PairRecord::merge`.
            let previous = match return_previous {
                true => txn.get(&place)?.map(decode_pair).transpose()?,
                false => None,
            };
            txn.merge(&place, &PairRecord::created(revision, value.clone()).encode())?;
            Ok(Response::Put { revision, previous })
        }
        Command::Delete { key, return_previous, .. } => {
            let previous = delete(txn, key)?;
            let deleted = previous.is_some();
            Ok(Response::Delete { revision, deleted, previous: previous.filter(|_| *return_previous) })
        }
    }
}

fn delete(txn: &mut Transaction<'_>, key: &[u8]) -> Result<Option<PairRecord>, StorageError> {
    let place = keys::pair(key);
    let previous = txn.get(&place)?.map(decode_pair).transpose()?;
    if previous.is_some() {
        txn.delete(&place);
    }
    Ok(previous)
}

pub(crate) fn decode_pair(bytes: Bytes) -> Result<PairRecord, StorageError> {
    PairRecord::decode(bytes).map_err(|e| corrupt("reading a pair", &e))
}

/// Bytes in the state database are not what this application wrote.
pub(crate) fn corrupt(doing: &str, reason: &dyn fmt::Display) -> StorageError {
    StorageError::Fault(Fault { path: "state".into(), reason: format!("{doing}: {reason}") })
}
