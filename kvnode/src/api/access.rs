//! What the caller of a request may touch: the one place that turns requests into commands and
//! queries.
//!
//! Services hold a [`Store`] and no node, and a store takes nothing but [`Permitted`] commands and
//! queries, which [`Access`] makes of a request after it has looked whether their keys are the
//! caller's. So a service that is added later cannot forget to look.
//!
//! An entry of a principal's `scope` is a prefix of the keys that it may touch; `""` stands for
//! every key, and no scope for no key.

use std::collections::VecDeque;
use std::ops::Deref;

use bytes::Bytes;
use proto::kv::v1 as kv;
use raftnode::{Answered, Call, Caller, Node, RequestId, Right};
use tonic::{Request, Status};

use super::shapes::{Delete, Put};
use super::validate::{self, MAX_KEY_BYTES};
use crate::app::{Answer, Command, KvApplication, Query, Response, ScanQuery};

/// What of a key is repeated in a refusal.
const MAX_SHOWN_BYTES: usize = 64;

/// What is wrong with an entry of a scope, if there is anything.
pub(crate) fn check_scope(prefix: &str) -> Result<(), String> {
    match prefix.len() {
        0..=MAX_KEY_BYTES => Ok(()),
        len => Err(format!("a prefix of {len} bytes; a key has at most {MAX_KEY_BYTES}")),
    }
}

/// A command or query whose keys its caller may touch.
pub(super) struct Permitted<T>(T);

impl<T> Permitted<T> {
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Permitted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A write that its caller may make, with what its answer needs.
pub(super) struct Write {
    pub(super) key: Bytes,
    pub(super) id: Option<RequestId>,
    pub(super) command: Permitted<Command>,
}

/// What the caller of a call, or of a stream, may touch now. Cheap to clone.
#[derive(Clone)]
pub(super) struct Access(Caller);

impl Access {
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        Caller::of(request.extensions()).map(Self)
    }

    pub(super) fn put(&self, request: kv::PutRequest) -> Result<Write, Status> {
        let return_previous = request.return_previous;
        let Put { key, id, command } = Put::try_from(request)?;
        self.check_write(&key, return_previous)?;
        Ok(Write { key, id, command: Permitted(command) })
    }

    pub(super) fn delete(&self, request: kv::DeleteRequest) -> Result<Write, Status> {
        let return_previous = request.return_previous;
        let Delete { key, id, command } = Delete::try_from(request)?;
        self.check_write(&key, return_previous)?;
        Ok(Write { key, id, command: Permitted(command) })
    }

    pub(super) fn get(&self, key: Bytes) -> Result<Permitted<Query>, Status> {
        validate::key(&key)?;
        self.check(Right::Read, &key)?;
        Ok(Permitted(Query::Get { key }))
    }

    /// The prefixes of all keys with this prefix that the caller may read, in order; none of them
    /// is a prefix of another.
    pub(super) fn ranges(&self, prefix: &Bytes) -> Result<VecDeque<Bytes>, Status> {
        validate::prefix(prefix)?;
        let scope = self.0.may(Right::Read)?;
        let Some(entries) = scope.entries() else { return Ok([prefix.clone()].into()) };
        if covers(entries, prefix) {
            return Ok([prefix.clone()].into());
        }
        let mut within: Vec<&[u8]> = entries.iter().map(String::as_bytes).collect();
        within.retain(|entry| entry.starts_with(prefix));
        within.sort_unstable();
        let mut ranges = VecDeque::<Bytes>::new();
        for entry in within {
            if ranges.back().is_none_or(|before| !entry.starts_with(before)) {
                ranges.push_back(Bytes::copy_from_slice(entry));
            }
        }
        match ranges.is_empty() {
            true => Err(self.0.outside(&format_args!("every key with the prefix {}", shown(prefix)))),
            false => Ok(ranges),
        }
    }

    /// A page of one of these ranges. It is looked at again: a scan may take long.
    pub(super) fn page(&self, query: ScanQuery) -> Result<Permitted<Query>, Status> {
        self.check(Right::Read, &query.prefix)?;
        Ok(Permitted(Query::Scan(query)))
    }

    /// Who is told the pair that was there before reads it.
    fn check_write(&self, key: &[u8], return_previous: bool) -> Result<(), Status> {
        self.check(Right::Write, key)?;
        if return_previous {
            self.check(Right::Read, key)?;
        }
        Ok(())
    }

    /// Whether the right holds for this key, and for every key that begins with it.
    fn check(&self, right: Right, key: &[u8]) -> Result<(), Status> {
        let scope = self.0.may(right)?;
        match scope.entries().is_none_or(|entries| covers(entries, key)) {
            true => Ok(()),
            false => Err(self.0.outside(&format_args!("the key {}", shown(key)))),
        }
    }
}

fn covers(entries: &[String], key: &[u8]) -> bool {
    entries.iter().any(|entry| key.starts_with(entry.as_bytes()))
}

fn shown(key: &[u8]) -> String {
    let cut = key.get(..MAX_SHOWN_BYTES).unwrap_or(key);
    let more = if cut.len() < key.len() { "…" } else { "" };
    format!("'{}{more}'", cut.escape_ascii())
}

/// The node, for commands and queries that are permitted.
#[derive(Clone)]
pub(super) struct Store(Node<KvApplication>);

impl Store {
    pub(super) fn new(node: Node<KvApplication>) -> Self {
        Self(node)
    }

    /// For everything that concerns no key.
    pub(super) fn node(&self) -> &Node<KvApplication> {
        &self.0
    }

    pub(super) async fn write(
        &self,
        call: &Call,
        id: Option<RequestId>,
        command: Permitted<Command>,
    ) -> Result<Answered<Response>, Status> {
        self.0.write_for(call, id, command.into_inner()).await
    }

    /// Linearizable, unless it may be stale.
    pub(super) async fn read(
        &self,
        call: &Call,
        query: Permitted<Query>,
        stale: bool,
    ) -> Result<Answered<Answer>, Status> {
        let query = query.into_inner();
        if stale { self.0.read_stale_for(query).await } else { self.0.read_for(call, query).await }
    }
}

#[cfg(test)]
mod tests {
    /// What a service of the API needs to reach the application is here alone: a file that is added
    /// has to go through it as well.
    #[test]
    fn no_other_file_makes_commands_and_queries() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api");
        let mut seen = 0;
        for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            if ["access.rs", "shapes.rs"].contains(&name) {
                continue;
            }
            let source = std::fs::read_to_string(&file).unwrap();
            for way in ["Command::", "Query::", "Permitted(", "write_for(", "read_for(", "read_stale_for("] {
                assert!(!source.contains(way), "{name} has {way}: what it touches is the caller's to touch?");
            }
            seen += 1;
        }
        assert!(seen >= 5);
    }
}
