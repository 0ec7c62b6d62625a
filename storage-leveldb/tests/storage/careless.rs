//! What an application does wrong is refused to the one who asked.

use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::{BasicNode, RaftTypeConfig};
use serde::{Deserialize, Serialize};
use storage_leveldb::command::CommandError;
use storage_leveldb::{Application, Options, Storage, StorageError, Transaction, View, check_command};

use crate::support::{Set, Types, log_id};

/// Remembers the last value, and answers the letter of it that is asked for.
struct Letters;

impl Application<Types> for Letters {
    type Query = usize;
    type Answer = u8;

    fn apply(&self, txn: &mut Transaction<'_>, _: u64, set: &Set) -> Result<Option<String>, StorageError> {
        txn.put(b"letters", set.value.as_bytes());
        Ok(None)
    }

    fn query(&self, view: &mut View<'_>, at: usize) -> Result<u8, StorageError> {
        let letters = view.get(b"letters")?.unwrap_or_default();
        assert!(at < letters.len(), "there is no letter {at}");
        Ok(letters[at])
    }
}

async fn write(store: &mut Storage<Types, Letters>, index: u64, value: &str) {
    let set = Set { key: String::new(), value: value.to_owned() };
    let entry = <Types as RaftTypeConfig>::Entry::new_normal(log_id(1, index), set);
    store.state.apply(futures_util::stream::iter([Ok((entry, None))])).await.unwrap();
}

fn is_its_own(error: &StorageError) -> bool {
    matches!(error, StorageError::QueryPanicked(text) if text == "there is no letter 7")
}

/// Found by an author's trial: one query with an index out of range, and the node answered nothing
/// any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_panics_concerns_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Storage::open(dir.path(), Letters, Options::default()).await.unwrap();
    write(&mut store, 1, "abc").await;

    let error = store.reader.query(7).await.unwrap_err();
    assert!(is_its_own(&error), "{error}");
    let reader = store.reader.clone();
    let error = tokio::task::spawn_blocking(move || reader.query_blocking(7)).await.unwrap().unwrap_err();
    assert!(is_its_own(&error), "{error}");
    assert_eq!(error.to_string(), "the application panicked while answering a query: there is no letter 7");

    assert_eq!(store.reader.query(1).await.unwrap(), b'b');
    assert_eq!(store.health.fault(), None);
    write(&mut store, 2, "xyz").await;
    assert_eq!(store.reader.query_blocking(1).unwrap(), b'y');
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_go_on_while_others_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Storage::open(dir.path(), Letters, Options::default()).await.unwrap();
    write(&mut store, 1, "abc").await;
    let reader = Arc::new(store.reader.clone());
    let ask = |at: usize| {
        let reader = reader.clone();
        tokio::task::spawn_blocking(move || (0..200).map(|_| reader.query_blocking(at)).collect::<Vec<_>>())
    };
    let (bad, good) = (ask(7), ask(2));
    assert!(bad.await.unwrap().iter().all(|answer| answer.as_ref().is_err_and(is_its_own)));
    assert!(good.await.unwrap().iter().all(|answer| matches!(answer, Ok(b'c'))));
}

/// serde needs names to tell these apart, and the encoding has none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Tagged {
    Push { item: String },
}

impl std::fmt::Display for Tagged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

openraft::declare_raft_types!(pub TaggedTypes: D = Tagged, R = (), NodeId = u64, Node = BasicNode);

struct Nothing;

impl Application<TaggedTypes> for Nothing {
    type Query = ();
    type Answer = ();

    fn apply(&self, _: &mut Transaction<'_>, _: u64, _: &Tagged) -> Result<(), StorageError> {
        Ok(())
    }

    fn query(&self, _: &mut View<'_>, (): ()) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Found by an author's trial: commands of such a type were stored and acknowledged, and then every
/// node called its log damaged at the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_cannot_be_read_back_never_gets_into_a_log() {
    let command = Tagged::Push { item: "bread".to_owned() };
    assert!(matches!(check_command(&command), Err(CommandError::Unreadable(_))));

    let dir = tempfile::tempdir().unwrap();
    let mut store = Storage::open(dir.path(), Nothing, Options::default()).await.unwrap();
    let entry = <TaggedTypes as RaftTypeConfig>::Entry::new_normal(log_id(1, 1), command);
    let error = store.log.blocking_append([entry]).await.unwrap_err();
    assert!(error.to_string().contains("check_command"), "{error}");
    drop(store);
    let mut store: Storage<TaggedTypes, Nothing> =
        Storage::open(dir.path(), Nothing, Options::default()).await.unwrap();
    assert_eq!(store.log.get_log_state().await.unwrap().last_log_id, None);
}
