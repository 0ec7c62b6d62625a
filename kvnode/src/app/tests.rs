//! The semantics, on a real state machine over a temporary directory.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use openraft::entry::RaftEntry as _;
use openraft::storage::RaftStateMachine as _;
use openraft::{EntryPayload, LogId, RaftSnapshotBuilder as _};
use storage_leveldb::{Application, KeyRange, Options, ScanLimit, Storage, StorageError, Transaction, View};
use tempfile::TempDir;

use super::session::{GENERATION_ENTRIES, MAX_REMEMBERED_VALUE_BYTES};
use super::{Command, KvApplication, PairRecord, RequestId, Response, keys};
use crate::raft::TypeConfig;

type RawPairs = Vec<(Bytes, Bytes)>;

/// The application, with its answers recorded and all of its state open to look at.
#[derive(Default, Clone)]
struct Recorded(Arc<Mutex<Vec<Response>>>);

impl Application<TypeConfig> for Recorded {
    type Query = KeyRange;
    type Answer = RawPairs;

    fn apply(
        &self,
        txn: &mut Transaction<'_>,
        index: u64,
        command: &Command,
    ) -> Result<Response, StorageError> {
        let response = KvApplication.apply(txn, index, command)?;
        self.0.lock().unwrap().push(response.clone());
        Ok(response)
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        KvApplication.merge(key, older, operand)
    }

    fn query(&self, view: &mut View<'_>, range: KeyRange) -> Result<RawPairs, StorageError> {
        view.scan(range, ScanLimit { pairs: usize::MAX, bytes: usize::MAX })
    }
}

struct Machine {
    recorded: Recorded,
    storage: Storage<TypeConfig, Recorded>,
    _dir: TempDir,
}

impl Machine {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let recorded = Recorded::default();
        let storage = Storage::open(dir.path(), recorded.clone(), Options::default()).await.unwrap();
        Self { recorded, storage, _dir: dir }
    }

    /// Applies commands at these log indexes, in one batch; answers the responses.
    async fn apply_all(&mut self, commands: Vec<(u64, Command)>) -> Vec<Response> {
        let entry = |(index, command)| {
            let leader = openraft::impls::leader_id_adv::LeaderId { term: 1, node_id: 1 };
            let entry = openraft::Entry::new(LogId::new(leader, index), EntryPayload::Normal(command));
            Ok((entry, None))
        };
        self.storage.state.apply(stream::iter(commands.into_iter().map(entry))).await.unwrap();
        std::mem::take(&mut *self.recorded.0.lock().unwrap())
    }

    async fn apply(&mut self, index: u64, command: Command) -> Response {
        self.apply_all(vec![(index, command)]).await.pop().unwrap()
    }

    async fn pair(&self, key: &str) -> Option<PairRecord> {
        let pairs = self.storage.reader.query(keys::pairs(key.as_bytes(), key.as_bytes())).await.unwrap();
        pairs.into_iter().next().map(|(_, bytes)| PairRecord::decode(bytes).unwrap())
    }

    async fn sessions(&self) -> usize {
        self.storage.reader.query(KeyRange::prefix(b"s")).await.unwrap().len()
    }
}

fn put(value: &str, id: Option<(u8, u64)>) -> Command {
    Command::Put {
        key: Bytes::from_static(b"k"),
        value: Bytes::copy_from_slice(value.as_bytes()),
        request_id: id.map(|(client, sequence)| RequestId { client_id: [client; 16], sequence }),
        return_previous: true,
    }
}

fn delete(id: Option<(u8, u64)>) -> Command {
    let request_id = id.map(|(client, sequence)| RequestId { client_id: [client; 16], sequence });
    Command::Delete { key: Bytes::from_static(b"k"), request_id, return_previous: true }
}

fn record(create_revision: u64, mod_revision: u64, version: u64, value: &str) -> PairRecord {
    PairRecord { create_revision, mod_revision, version, value: Bytes::copy_from_slice(value.as_bytes()) }
}

#[tokio::test]
async fn revisions_are_log_indexes_and_versions_count_writes() {
    let mut machine = Machine::new().await;
    assert_eq!(machine.apply(5, put("a", None)).await, Response::Put { revision: 5, previous: None });
    let replaced = Response::Put { revision: 9, previous: Some(record(5, 5, 1, "a")) };
    assert_eq!(machine.apply(9, put("b", None)).await, replaced);
    assert_eq!(machine.pair("k").await, Some(record(5, 9, 2, "b")));

    let deleted = Response::Delete { revision: 10, deleted: true, previous: Some(record(5, 9, 2, "b")) };
    assert_eq!(machine.apply(10, delete(None)).await, deleted);
    assert_eq!(machine.pair("k").await, None);
    let nothing = Response::Delete { revision: 11, deleted: false, previous: None };
    assert_eq!(machine.apply(11, delete(None)).await, nothing);

    machine.apply(12, put("c", None)).await;
    assert_eq!(machine.pair("k").await, Some(record(12, 12, 1, "c")), "a new key starts afresh");
}

/// A put that does not ask for what it replaces does not read it, and is counted all the same.
#[tokio::test]
async fn versions_count_writes_that_read_nothing() {
    let mut machine = Machine::new().await;
    let unseen = |value: &str| match put(value, None) {
        Command::Put { key, value, request_id, .. } => {
            Command::Put { key, value, request_id, return_previous: false }
        }
        other => other,
    };
    for index in 1..=9 {
        assert_eq!(
            machine.apply(index, unseen("x")).await,
            Response::Put { revision: index, previous: None }
        );
        if index % 2 == 0 {
            // Those before it are in a run.
            machine.storage.state.get_snapshot_builder().await.build_snapshot().await.unwrap();
        }
    }
    assert_eq!(machine.pair("k").await, Some(record(1, 9, 9, "x")));
    let replaced = Response::Put { revision: 10, previous: Some(record(1, 9, 9, "x")) };
    assert_eq!(machine.apply(10, put("y", None)).await, replaced);
    machine.apply_all(vec![(11, delete(None)), (12, unseen("a")), (13, unseen("b"))]).await;
    assert_eq!(machine.pair("k").await, Some(record(12, 13, 2, "b")), "a new key starts afresh");
}

#[tokio::test]
async fn commands_in_one_batch_see_each_other() {
    let mut machine = Machine::new().await;
    let batch = vec![(1, put("a", None)), (2, put("b", None)), (3, delete(None)), (4, put("c", None))];
    machine.apply_all(batch).await;
    assert_eq!(machine.pair("k").await, Some(record(4, 4, 1, "c")));
}

#[tokio::test]
async fn a_repeated_write_is_applied_once_and_answered_as_before() {
    let mut machine = Machine::new().await;
    let first = machine.apply(1, put("a", Some((1, 1)))).await;
    machine.apply(2, put("b", Some((2, 1)))).await;
    assert_eq!(machine.apply(3, put("a", Some((1, 1)))).await, first);
    assert_eq!(machine.pair("k").await, Some(record(1, 2, 2, "b")));
}

#[tokio::test]
async fn a_lower_sequence_is_refused() {
    let mut machine = Machine::new().await;
    machine.apply(1, put("a", Some((1, 7)))).await;
    assert_eq!(machine.apply(2, put("b", Some((1, 6)))).await, Response::SequenceTooLow { last: 7 });
    assert_eq!(machine.pair("k").await, Some(record(1, 1, 1, "a")));
}

#[tokio::test]
async fn an_answer_keeps_a_small_previous_value_and_not_a_big_one() {
    let mut machine = Machine::new().await;
    for (index, length, kept) in
        [(1, MAX_REMEMBERED_VALUE_BYTES, true), (11, MAX_REMEMBERED_VALUE_BYTES + 1, false)]
    {
        machine.apply(index, put(&"x".repeat(length), None)).await;
        let first = machine.apply(index + 1, put("new", Some((1, index)))).await;
        let again = machine.apply(index + 2, put("new", Some((1, index)))).await;
        assert_eq!(first == again, kept, "{length} bytes");
        let Response::Put { revision, .. } = again else { panic!("{again:?}") };
        assert_eq!(revision, index + 1);
    }
}

#[tokio::test]
async fn a_client_is_remembered_for_a_generation_and_forgotten_after_two() {
    let mut machine = Machine::new().await;
    let first = machine.apply(1, put("a", Some((1, 1)))).await;
    let next_generation = 2 * GENERATION_ENTRIES - 1;
    assert_eq!(machine.apply(next_generation, put("a", Some((1, 1)))).await, first);
    let later = machine.apply(next_generation + 2, put("a", Some((1, 1)))).await;
    assert_ne!(later, first, "two generations on it counts as a new write");
}

#[tokio::test]
async fn dead_sessions_are_swept_a_bounded_step_at_a_time() {
    let mut machine = Machine::new().await;
    let write = |n: u64| {
        let mut client_id = [0; 16];
        client_id[..8].copy_from_slice(&n.to_be_bytes());
        let request_id = Some(RequestId { client_id, sequence: 1 });
        (
            n,
            Command::Put {
                key: Bytes::from_static(b"k"),
                value: Bytes::new(),
                request_id,
                return_previous: false,
            },
        )
    };
    machine.apply_all((1..=1500).map(write).collect()).await;
    assert_eq!(machine.sessions().await, 1500);
    machine.apply(GENERATION_ENTRIES, put("", None)).await;
    assert_eq!(machine.sessions().await, 1500, "the generation before the current one is alive");
    machine.apply(2 * GENERATION_ENTRIES, put("", None)).await;
    assert_eq!(machine.sessions().await, 1500 - 1024);
    machine.apply(2 * GENERATION_ENTRIES + 1, put("", None)).await;
    assert_eq!(machine.sessions().await, 1500 - 1024, "a step only every 256 entries");
    machine.apply(2 * GENERATION_ENTRIES + 256, put("", None)).await;
    assert_eq!(machine.sessions().await, 0);
}
