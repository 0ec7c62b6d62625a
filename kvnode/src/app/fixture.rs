//! A frozen data directory of each format version: its stamp, its pairs and its sessions are still read.
//!
//! Written by `cargo test --release -p kvnode --lib -- --ignored --exact app::fixture::write_format_1`. Once a
//! version has been released its fixture is never written again.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::stream;
use openraft::entry::RaftEntry as _;
use openraft::storage::RaftStateMachine as _;
use openraft::{EntryPayload, LogId};
use storage_leveldb::{Options, Storage};
use tempfile::TempDir;

use super::{Answer, Command, Found, KvApplication, PairRecord, Query, RequestId, ScanQuery};
use crate::data_dir::DataDir;
use crate::identity::Identity;
use crate::raft::TypeConfig;

type Store = Storage<TypeConfig, KvApplication>;

const NAMED: RequestId = RequestId { client_id: *b"a client's id...", sequence: 300 };
const LAST: u64 = 6;

fn format_1() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/format-1")
}

fn identity() -> Identity {
    Identity {
        format: 1,
        cluster_id: "kv".into(),
        node_id: 1,
        peers: "1=127.0.0.1:7101/127.0.0.1:7001".into(),
    }
}

fn put(key: &'static [u8], value: &'static [u8], request_id: Option<RequestId>) -> Command {
    let (key, value) = (Bytes::from_static(key), Bytes::from_static(value));
    Command::Put { key, value, request_id, return_previous: true }
}

/// What entries 1 to [`LAST`] ask for.
fn commands() -> Vec<Command> {
    let delete = Command::Delete { key: "gone".into(), request_id: None, return_previous: false };
    vec![
        put(b"greeting", b"hello", None),
        put(b"gone", b"x", None),
        put(b"greeting", b"hello again", None),
        put(b"\x00\xff", b"", None),
        delete,
        put(b"named", b"once", Some(NAMED)),
    ]
}

fn found(key: &'static [u8], revisions: (u64, u64, u64), value: &'static [u8]) -> Found {
    let (create_revision, mod_revision, version) = revisions;
    let record = PairRecord { create_revision, mod_revision, version, value: Bytes::from_static(value) };
    Found { key: Bytes::from_static(key), record }
}

async fn apply(storage: &mut Store, index: u64, command: Command) {
    let leader = openraft::impls::leader_id_adv::LeaderId { term: 1, node_id: 1 };
    let entry = openraft::Entry::new(LogId::new(leader, index), EntryPayload::Normal(command));
    storage.state.apply(stream::iter([Ok((entry, None))])).await.unwrap();
}

async fn everything(storage: &Store) -> Answer {
    let all = ScanQuery {
        start: Bytes::new(),
        prefix: Bytes::new(),
        max_pairs: usize::MAX,
        max_bytes: usize::MAX,
        keys_only: false,
    };
    storage.reader.query(Query::Scan(all)).await.unwrap()
}

async fn open(data_dir: &DataDir) -> Store {
    Storage::open(&data_dir.storage(), KvApplication, Options::default()).await.unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        let (from, to) = (found.path(), to.join(found.file_name()));
        if found.file_type().unwrap().is_dir() {
            copy(&from, &to);
        } else if found.file_name() != "LOCK" {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "writes the fixture"]
async fn write_format_1() {
    let dir = TempDir::new().unwrap();
    let data_dir = DataDir::open(dir.path(), &identity()).unwrap();
    let mut storage = open(&data_dir).await;
    for (index, command) in (1..).zip(commands()) {
        apply(&mut storage, index, command).await;
    }
    drop(storage);
    let _ = fs::remove_dir_all(format_1());
    copy(dir.path(), &format_1());
}

#[tokio::test]
async fn format_1_is_read() {
    let dir = TempDir::new().unwrap();
    copy(&format_1(), dir.path());
    let data_dir = DataDir::open(dir.path(), &identity()).unwrap();
    let mut storage = open(&data_dir).await;
    let expected = vec![
        found(b"\x00\xff", (4, 4, 1), b""),
        found(b"greeting", (1, 3, 2), b"hello again"),
        found(b"named", (6, 6, 1), b"once"),
    ];
    assert_eq!(everything(&storage).await, Answer { found: expected.clone(), applied_index: LAST });
    // The session is there: the same name again is the same write.
    apply(&mut storage, LAST + 1, put(b"named", b"twice", Some(NAMED))).await;
    assert_eq!(everything(&storage).await, Answer { found: expected, applied_index: LAST + 1 });
    let next = RequestId { sequence: NAMED.sequence + 1, ..NAMED };
    apply(&mut storage, LAST + 2, put(b"named", b"twice", Some(next))).await;
    let named = storage.reader.query(Query::Get { key: "named".into() }).await.unwrap();
    assert_eq!(named.found, [found(b"named", (6, LAST + 2, 2), b"twice")]);
}
