//! The application: pairs of 16-byte keys and 256-byte values, as a key-value node writes and reads
//! them.

use std::fmt;

use bytes::Bytes;
use clap::ValueEnum;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderId;
use openraft::{BasicNode, LogId, RaftTypeConfig};
use serde::{Deserialize, Serialize};
use storage_leveldb::{Application, SnapshotFile, Storage, StorageError, Transaction, View};

use crate::random::{Random, scatter};

pub(crate) const KEY_BYTES: usize = 16;
pub(crate) const VALUE_BYTES: usize = 256;
/// What a user counts of one put.
pub(crate) const USER_BYTES: u64 = (KEY_BYTES + VALUE_BYTES) as u64;
/// Values are pieces of this many random bytes, which do not compress.
const POOL_BYTES: usize = 1 << 20;
/// Before the value of a versioned put.
const NUMBERS_BYTES: usize = 24;
/// Clients whose last write a versioned put remembers.
const CLIENTS: u64 = 256;
/// Log entries in one generation of sessions, as in kvnode.
const GENERATION_ENTRIES: u64 = 262_144;

openraft::declare_raft_types!(
    pub(crate) Types:
        D = Put,
        R = u64,
        NodeId = u64,
        Node = BasicNode,
);

pub(crate) type Entry = <Types as RaftTypeConfig>::Entry;
pub(crate) type LogIdOf = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Store = Storage<Types, Pairs>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotFile>;

/// What applying a put does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Writes the pair, reads nothing
    Blind,
    /// Reads the session, merges the pair into what it replaces, as kvnode does
    Versioned,
    /// The same, but reads the pair that it replaces, as kvnode does if the client wants to have it
    Returning,
}

/// One write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Put {
    key: Bytes,
    value: Bytes,
    /// For a versioned put: whose it is.
    client: Option<[u8; 16]>,
    /// Reads what it replaces.
    returning: bool,
}

impl fmt::Display for Put {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "put(value: {} bytes)", self.value.len())
    }
}

/// The key of pair `number`; keys of neighbours are far apart.
pub(crate) fn key(number: u64) -> Bytes {
    [scatter(number).to_be_bytes(), number.to_be_bytes()].concat().into()
}

/// Makes puts.
#[derive(Debug, Clone)]
pub(crate) struct Puts {
    kind: Kind,
    pool: Bytes,
    pub(crate) random: Random,
}

impl Puts {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let pool = random.bytes(POOL_BYTES + VALUE_BYTES).into();
        Self { kind, pool, random }
    }

    /// A put of pair `number`.
    pub(crate) fn of(&mut self, number: u64) -> Put {
        let at = self.random.below(POOL_BYTES as u64) as usize;
        let client = (self.kind != Kind::Blind).then(|| {
            let mut id = [7; 16];
            id[..8].copy_from_slice(&self.random.below(CLIENTS).to_be_bytes());
            id
        });
        Put {
            key: key(number),
            value: self.pool.slice(at..at + VALUE_BYTES),
            client,
            returning: self.kind == Kind::Returning,
        }
    }

    /// Another sequence of puts with the same values.
    pub(crate) fn for_appender(&self, appender: u64) -> Self {
        let random = Random::new(self.random.clone().number().wrapping_add(appender));
        Self { random, ..self.clone() }
    }

    /// A put of any of `pairs` pairs.
    pub(crate) fn any(&mut self, pairs: u64) -> Put {
        let number = self.random.below(pairs);
        self.of(number)
    }
}

pub(crate) fn log_id(index: u64) -> LogIdOf {
    LogId::new(<Types as RaftTypeConfig>::LeaderId::new(1, 1).to_committed(), index)
}

pub(crate) fn entry(index: u64, put: Put) -> Entry {
    RaftEntry::new_normal(log_id(index), put)
}

/// The replicated application.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs;

impl Application<Types> for Pairs {
    type Query = Bytes;
    type Answer = Option<Bytes>;

    fn apply(&self, txn: &mut Transaction<'_>, index: u64, put: &Put) -> Result<u64, StorageError> {
        match &put.client {
            None => txn.put(&put.key, &put.value),
            Some(client) => versioned(txn, index, put, client)?,
        }
        Ok(index)
    }

    /// What a blind put wrote has no numbers, and counts as one write at 0.
    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        let (created, writes) = match older.len() {
            VALUE_BYTES => (0, 1),
            _ => (number_at(older, 0), number_at(older, 16)),
        };
        let numbers = [created, number_at(operand, 8), writes + number_at(operand, 16)];
        Ok(record(numbers, &operand[NUMBERS_BYTES..]))
    }

    fn query(&self, view: &mut View<'_>, key: Bytes) -> Result<Option<Bytes>, StorageError> {
        view.get(&key)
    }
}

/// Three integers before the value, and one session per client and generation: the reads and writes
/// of kvnode's put.
fn versioned(
    txn: &mut Transaction<'_>,
    index: u64,
    put: &Put,
    client: &[u8; 16],
) -> Result<(), StorageError> {
    let generation = index / GENERATION_ENTRIES;
    if txn.get(&session_key(generation, client))?.is_none()
        && let Some(before) = generation.checked_sub(1)
    {
        txn.get(&session_key(before, client))?;
    }
    if put.returning {
        txn.get(&put.key)?;
    }
    txn.merge(&put.key, &record([index, index, 1], &put.value))?;
    txn.put(&session_key(generation, client), &index.to_be_bytes());
    Ok(())
}

/// First and last index and number of writes, and the value.
fn record(numbers: [u64; 3], value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(NUMBERS_BYTES + value.len());
    numbers.iter().for_each(|number| record.extend(number.to_be_bytes()));
    record.extend_from_slice(value);
    record
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_be_bytes)
}

/// Longer than any pair's key, so that the two never meet.
fn session_key(generation: u64, client: &[u8; 16]) -> Vec<u8> {
    [b"s".as_slice(), &generation.to_be_bytes(), client].concat()
}
