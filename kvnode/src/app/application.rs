//! The key-value semantics.

use std::fmt;

use bytes::Bytes;
use raftnode::{Application, At, MergeOperator, ScanLimit, StorageError, Transaction, View};

use super::{Answer, Command, Found, PairRecord, Query, Response, ScanQuery, keys};

/// A previous value is part of a remembered answer up to this size. When a client repeats a write
/// that returned a bigger one, the repeated answer has every field of the first but not the
/// previous pair: remembering it would let each client pin 1 MiB of state.
pub(crate) const MAX_REMEMBERED_VALUE_BYTES: usize = 4096;

/// The replicated key-value application. It has no state of its own: all of it is in the
/// transaction.
#[derive(Debug, Clone, Copy, Default)]
pub struct KvApplication;

impl Application for KvApplication {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Response;
    type Query = Query;
    type Answer = Answer;

    fn apply(
        &self,
        txn: &mut Transaction<'_, '_>,
        _: At,
        command: Command,
    ) -> Result<Response, StorageError> {
        match command {
            Command::Put { key, value, return_previous } => put(txn, &key, value, return_previous),
            Command::Delete { key, return_previous } => delete(txn, &key, return_previous),
        }
    }

    fn query(&self, view: &mut View<'_, '_>, query: Query) -> Result<Answer, StorageError> {
        answer(view, query)
    }

    fn merge_operator(&self) -> Option<&dyn MergeOperator> {
        Some(self)
    }

    /// A pair is read at once; a scan may read a megabyte from the disk.
    fn is_long(query: &Query) -> bool {
        matches!(query, Query::Scan(_))
    }

    fn revision(&self, view: &mut View<'_, '_>) -> Result<Option<u64>, StorageError> {
        decode_revision(view.get(&keys::REVISION)?.as_deref()).map(Some)
    }

    fn restored(&self, txn: &mut Transaction<'_, '_>, ahead: u64) -> Result<(), StorageError> {
        let revision = decode_revision(txn.get(&keys::REVISION)?.as_deref())?;
        let later = revision.checked_add(ahead);
        let later = later.ok_or_else(|| corrupt("moving ahead", &"the revision is the last that can be"))?;
        txn.put(&keys::REVISION, &later.to_le_bytes());
        Ok(())
    }

    fn remembered(mut response: Response) -> Response {
        response.previous_mut().take_if(|pair| pair.value.len() > MAX_REMEMBERED_VALUE_BYTES);
        response
    }
}

/// Only pairs are merged, each write with those before it.
impl MergeOperator for KvApplication {
    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, String> {
        PairRecord::merge(older, operand).map_err(|e| e.to_string())
    }
}

fn put(
    txn: &mut Transaction<'_, '_>,
    key: &[u8],
    value: Bytes,
    return_previous: bool,
) -> Result<Response, StorageError> {
    let place = keys::pair(key);
    // Nothing else has to wait for what was there: see `PairRecord::merge`.
    let previous = match return_previous {
        true => txn.get(&place)?.map(decode_pair).transpose()?,
        false => None,
    };
    let revision = next_revision(txn)?;
    txn.merge(&place, &PairRecord::created(revision, value).encode())?;
    Ok(Response::Put { revision, previous })
}

/// Where there is nothing to delete nothing is changed, and the revision stays as it is.
fn delete(
    txn: &mut Transaction<'_, '_>,
    key: &[u8],
    return_previous: bool,
) -> Result<Response, StorageError> {
    let place = keys::pair(key);
    let Some(previous) = txn.get(&place)?.map(decode_pair).transpose()? else {
        let revision = decode_revision(txn.get(&keys::REVISION)?.as_deref())?;
        return Ok(Response::Delete { revision, deleted: false, previous: None });
    };
    txn.delete(&place);
    let (revision, previous) = (next_revision(txn)?, Some(previous).filter(|_| return_previous));
    Ok(Response::Delete { revision, deleted: true, previous })
}

fn next_revision(txn: &mut Transaction<'_, '_>) -> Result<u64, StorageError> {
    let revision = decode_revision(txn.get(&keys::REVISION)?.as_deref())? + 1;
    txn.put(&keys::REVISION, &revision.to_le_bytes());
    Ok(revision)
}

/// What a query sees, and at which revision.
fn answer(view: &mut View<'_, '_>, query: Query) -> Result<Answer, StorageError> {
    let found = match query {
        Query::Get { key } => get(view, key)?.into_iter().collect(),
        Query::Scan(query) => scan(view, &query)?,
    };
    Ok(Answer { found, revision: decode_revision(view.get(&keys::REVISION)?.as_deref())? })
}

fn get(view: &mut View<'_, '_>, key: Bytes) -> Result<Option<Found>, StorageError> {
    let Some(bytes) = view.get(&keys::pair(&key))? else { return Ok(None) };
    Ok(Some(Found { record: decode_pair(bytes)?, key }))
}

fn scan(view: &mut View<'_, '_>, query: &ScanQuery) -> Result<Vec<Found>, StorageError> {
    let limit = ScanLimit { pairs: query.max_pairs, bytes: query.max_bytes };
    let pairs = view.scan(&keys::pairs(&query.start, &query.prefix), limit)?;
    pairs.into_iter().map(|(key, value)| found(&key, value, query.keys_only)).collect()
}

fn found(key: &Bytes, value: Bytes, keys_only: bool) -> Result<Found, StorageError> {
    let Some(key) = keys::user_key(key) else {
        return Err(corrupt("scanning pairs", &"a key outside the pairs' range"));
    };
    let mut record = decode_pair(value)?;
    if keys_only {
        record.value = Bytes::new();
    }
    Ok(Found { key, record })
}

/// How many writes have changed something, from what is stored about it.
pub(super) fn decode_revision(stored: Option<&[u8]>) -> Result<u64, StorageError> {
    let Some(bytes) = stored else { return Ok(0) };
    let bytes = bytes.try_into().map_err(|_| corrupt("reading the revision", &"it has not 8 bytes"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn decode_pair(bytes: Bytes) -> Result<PairRecord, StorageError> {
    PairRecord::decode(bytes).map_err(|e| corrupt("reading a pair", &e))
}

/// Bytes in the state are not what this application wrote.
fn corrupt(doing: &str, reason: &dyn fmt::Display) -> StorageError {
    StorageError::corrupt(format!("{doing}: {reason}"))
}
