//! The semantics, on a real state machine over a temporary directory.

use bytes::Bytes;
use raftnode::testing::{Applied, Machine};
use raftnode::{ClusterTime, RequestId};

use super::application::MAX_REMEMBERED_VALUE_BYTES;
use super::{Command, KvApplication, PairRecord, Query, Response};

async fn machine() -> Machine<KvApplication> {
    Machine::new(KvApplication).await
}

async fn pair(machine: &Machine<KvApplication>, key: &'static str) -> Option<PairRecord> {
    let query = Query::Get { key: Bytes::from_static(key.as_bytes()) };
    machine.query(query).await.unwrap().found.pop().map(|found| found.record)
}

fn put(value: &str) -> Command {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Command::Put { key: Bytes::from_static(b"k"), value, return_previous: true }
}

fn unseen(value: &str) -> Command {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Command::Put { key: Bytes::from_static(b"k"), value, return_previous: false }
}

fn delete() -> Command {
    Command::Delete { key: Bytes::from_static(b"k"), return_previous: true }
}

async fn apply_all(machine: &mut Machine<KvApplication>, commands: Vec<Command>) {
    let commands = commands.into_iter().map(|command| (None, command)).collect();
    machine.apply_entry(ClusterTime::default(), commands).await;
}

fn record(create_revision: u64, mod_revision: u64, version: u64, value: &str) -> PairRecord {
    PairRecord { create_revision, mod_revision, version, value: Bytes::copy_from_slice(value.as_bytes()) }
}

#[tokio::test]
async fn revisions_count_changes_and_versions_count_writes() {
    let mut machine = machine().await;
    assert_eq!(machine.apply(put("a")).await, Response::Put { revision: 1, previous: None });
    let replaced = Response::Put { revision: 2, previous: Some(record(1, 1, 1, "a")) };
    assert_eq!(machine.apply(put("b")).await, replaced);
    assert_eq!(pair(&machine, "k").await, Some(record(1, 2, 2, "b")));

    let deleted = Response::Delete { revision: 3, deleted: true, previous: Some(record(1, 2, 2, "b")) };
    assert_eq!(machine.apply(delete()).await, deleted);
    assert_eq!(pair(&machine, "k").await, None);
    let nothing = Response::Delete { revision: 3, deleted: false, previous: None };
    assert_eq!(machine.apply(delete()).await, nothing, "what changes nothing is no revision");
    let query = Query::Get { key: Bytes::from_static(b"k") };
    assert_eq!(machine.query(query).await.unwrap().revision, 3);

    machine.apply(put("c")).await;
    assert_eq!(pair(&machine, "k").await, Some(record(4, 4, 1, "c")), "a new key starts afresh");
}

/// A put that does not ask for what it replaces does not read it, and is counted all the same.
#[tokio::test]
async fn versions_count_writes_that_read_nothing() {
    let mut machine = machine().await;
    for revision in 1..=9 {
        assert_eq!(machine.apply(unseen("x")).await, Response::Put { revision, previous: None });
        if revision % 2 == 0 {
            // Those before it are in a table.
            machine.snapshot().await;
        }
    }
    assert_eq!(pair(&machine, "k").await, Some(record(1, 9, 9, "x")));
    let replaced = Response::Put { revision: 10, previous: Some(record(1, 9, 9, "x")) };
    assert_eq!(machine.apply(put("y")).await, replaced);
    apply_all(&mut machine, vec![delete(), unseen("a"), unseen("b")]).await;
    assert_eq!(pair(&machine, "k").await, Some(record(12, 13, 2, "b")), "a new key starts afresh");
}

#[tokio::test]
async fn commands_in_one_entry_see_each_other() {
    let mut machine = machine().await;
    apply_all(&mut machine, vec![put("a"), put("b"), delete(), put("c")]).await;
    assert_eq!(pair(&machine, "k").await, Some(record(4, 4, 1, "c")));
}

#[tokio::test]
async fn a_remembered_answer_keeps_a_small_previous_value_and_not_a_big_one() {
    let mut machine = machine().await;
    for (sequence, length, kept) in
        [(1, MAX_REMEMBERED_VALUE_BYTES, true), (2, MAX_REMEMBERED_VALUE_BYTES + 1, false)]
    {
        machine.apply(put(&"x".repeat(length))).await;
        let once = async |machine: &mut Machine<KvApplication>| -> Applied<KvApplication> {
            let write = (Some(RequestId { client_id: [1; 16], sequence }), put("new"));
            machine.apply_entry(ClusterTime::default(), vec![write]).await.pop().unwrap()
        };
        let (first, again) = (once(&mut machine).await, once(&mut machine).await);
        assert_eq!(first == again, kept, "{length} bytes");
        let Ok(Response::Put { revision, .. }) = again else { panic!("{again:?}") };
        assert_eq!(revision, 2 * sequence);
    }
}
