//! Attacks the making of a new cluster: what is lost of a state or a log, what is counted twice,
//! and every place where it can be interrupted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use openraft::entry::RaftEntry as _;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::type_config::alias::{EntryOf, LeaderIdOf, VoteOf};
use openraft::vote::{RaftLeaderId as _, RaftVote as _};
use openraft::{LogId, Membership};
use proto::backup::BackupWriter;
use proto::node::v1::BackupHeader;
use storage_leveldb::scan::KeyRange;
use storage_leveldb::{Options, Storage, StorageError};
use tokio::io::AsyncReadExt as _;

use super::fresh::close;
use super::marker::{Marker, Work};
use super::site::Site;
use super::*;
use crate::application::{
    Application, Ask, At, Batch, ClusterTime, Command, GENERATION_COMMANDS, Hosted, RequestId, Session,
    Stamp, Transaction, Typed, View, facts, facts_found,
};
use crate::data_dir::{Claim, DataDir, DataDirError, REBUILDING, STORAGE};
use crate::identity::{IDENTITY_FILE, Identity};
use crate::raft::{Member, TypeConfig};

const OLD: ClusterId = ClusterId::from_bits(7);
/// So many commands are in the state; as many entries and one more are behind it.
const COMMANDS: u64 = 20;

/// Adds up numbers, and counts how often.
struct Sums;

impl Application for Sums {
    const SCHEMA: u32 = 3;
    type Command = (String, u64);
    type Response = u64;
    type Query = String;
    type Answer = u64;

    fn apply(
        &self,
        txn: &mut Transaction<'_, '_>,
        _: At,
        (name, add): (String, u64),
    ) -> Result<u64, StorageError> {
        let count = txn.load::<u64>(b"\0count")?.unwrap_or(0) + 1;
        txn.store(b"\0count", &count)?;
        let sum = txn.load(name.as_bytes())?.unwrap_or(0_u64) + add;
        txn.store(name.as_bytes(), &sum)?;
        Ok(sum)
    }

    fn query(&self, view: &mut View<'_, '_>, name: String) -> Result<u64, StorageError> {
        Ok(view.load(name.as_bytes())?.unwrap_or(0))
    }

    fn revision(&self, view: &mut View<'_, '_>) -> Result<Option<u64>, StorageError> {
        view.load(b"\0count")
    }

    fn restored(&self, txn: &mut Transaction<'_, '_>, ahead: u64) -> Result<(), StorageError> {
        let count = txn.load::<u64>(b"\0count")?.unwrap_or(0) + ahead;
        txn.store(b"\0count", &count)
    }
}

fn hosted() -> Hosted {
    Hosted::new(Arc::new(Typed(Arc::new(Sums))))
}

fn log_id(index: u64) -> openraft::type_config::alias::LogIdOf<TypeConfig> {
    LogId::new(LeaderIdOf::<TypeConfig>::new(2, 1).to_committed(), index)
}

/// The entry at `index` adds it to the sum, for a client of its own.
fn entry(index: u64) -> EntryOf<TypeConfig> {
    if index == 0 {
        let members = [1, 2, 3]
            .map(|id| (id, Member::at(format!("r{id}:1"), format!("c{id}:1")).in_cluster(OLD, None)));
        let membership =
            Membership::new(vec![[1, 2, 3].into()], std::collections::BTreeMap::from(members)).unwrap();
        return EntryOf::<TypeConfig>::new_membership(log_id(0), membership);
    }
    let request_id = Some(RequestId { client_id: [u8::try_from(index).unwrap(); 16], sequence: 1 });
    let bytes = Bytes::from(codec::encode(&("sum".to_owned(), index)).unwrap());
    let stamp = Stamp { schema: 3, time: ClusterTime::from_millis(index) };
    EntryOf::<TypeConfig>::new_normal(
        log_id(index),
        Batch::new(stamp, &[Command { request_id, since: 3, bytes }]),
    )
}

/// A node's directory whose state has `applied` entries, and whose log as many more.
async fn survivor(dir: &Path) {
    let data_dir = DataDir::open(dir, &Claim { node_id: 1, peers: None, accept_moved: false }).unwrap();
    data_dir.join(MemberIdentity { cluster_id: OLD, incarnation: Some(Incarnation::random(0)) }).unwrap();
    let mut storage = Storage::open(&data_dir.storage(), hosted(), Options::default()).await.unwrap();
    data_dir.mark_stored().unwrap();
    let leader = LeaderIdOf::<TypeConfig>::new(2, 1);
    storage.log.save_vote(&VoteOf::<TypeConfig>::from_leader_id(leader, true)).await.unwrap();
    storage.log.blocking_append((0..=2 * COMMANDS).map(entry)).await.unwrap();
    storage.log.save_committed(Some(log_id(COMMANDS + 5))).await.unwrap();
    let applied = (0..=COMMANDS).map(|index| Ok((entry(index), None)));
    storage.state.apply(stream::iter(applied)).await.unwrap();
    close(storage).await.unwrap();
}

/// A backup of the state of such a directory.
async fn backup_of(dir: &Path) -> Vec<u8> {
    let storage = Storage::open(&dir.join(STORAGE), hosted(), Options::default()).await.unwrap();
    let mut snapshot = storage.reader.snapshot(facts(hosted().host())).await.unwrap();
    let facts = facts_found(&*snapshot.answer);
    assert_eq!((facts.meta.position, facts.revision), (COMMANDS, Some(COMMANDS)));
    let header = BackupHeader {
        application: "sums".to_owned(),
        schema: 3,
        log_index: COMMANDS,
        log_term: 2,
        ..BackupHeader::default()
    };
    let mut stream = Vec::new();
    snapshot.stream.read_to_end(&mut stream).await.unwrap();
    let (mut writer, first) = BackupWriter::begin(&header).unwrap();
    let block = writer.block(&stream).unwrap();
    close(storage).await.unwrap();
    [&*first, &block, &writer.end()].concat()
}

fn options(dir: &Path) -> RestoreOptions {
    RestoreOptions {
        application: "sums".to_owned(),
        data_dir: dir.to_owned(),
        node_id: 9,
        member: Member::at("r9:1", "c9:1"),
    }
}

async fn restore_to(dir: &Path, backup: &[u8]) -> Result<Rebuilt, RebuildError> {
    restore(Sums, std::io::Cursor::new(backup.to_vec()), options(dir)).await
}

async fn recover(dir: &Path) -> Result<Rebuilt, RebuildError> {
    if let Some(rebuilt) = resume(dir).await? {
        return Ok(rebuilt);
    }
    let survivor = Survivor::open(Sums, dir, false).await?;
    let last = survivor.remains().last;
    survivor.recover(last).await
}

fn starts(dir: &Path, node_id: u64) -> Result<DataDir, DataDirError> {
    DataDir::open(dir, &Claim { node_id, peers: None, accept_moved: false })
}

/// The directory is that of the one member of a new cluster, and has what the first `commands`
/// commands have made.
async fn assert_is_new_cluster(dir: &Path, rebuilt: &Rebuilt, commands: u64) {
    assert_ne!(rebuilt.cluster_id, OLD);
    let data_dir = starts(dir, rebuilt.node_id).unwrap();
    let identity = data_dir.identity();
    assert!(identity.stored && identity.member.unwrap().cluster_id == rebuilt.cluster_id);
    let mut storage = Storage::open(&data_dir.storage(), hosted(), Options::default()).await.unwrap();
    let (applied, membership) = storage.state.applied_state().await.unwrap();
    let (applied, at) = (applied.unwrap(), membership.log_id().unwrap());
    assert!(applied == at && applied.index > commands && applied.leader_id.term == 3, "{applied} {at}");
    let members: Vec<_> = membership.membership().nodes().map(|(id, member)| (*id, member.clone())).collect();
    let [(id, member)] = &*members else { panic!("{members:?}") };
    let is_same = member.cluster_id() == rebuilt.cluster_id
        && member.incarnation() == identity.member.unwrap().incarnation;
    assert!(*id == rebuilt.node_id && is_same && member.raft_addr == format!("r{id}:1"), "{members:?}");
    let log = storage.log.get_log_state().await.unwrap();
    assert_eq!((log.last_log_id, log.last_purged_log_id), (Some(applied), Some(applied)));

    let found = storage.reader.query(facts(hosted().host())).await.unwrap();
    let found = facts_found(&*found);
    assert_eq!(found.meta.position, commands + AHEAD);
    assert_eq!(found.revision, Some(commands + AHEAD));
    assert_eq!(found.meta.time, ClusterTime::from_millis(commands));
    let sum: Ask =
        Box::new(|view| Ok(Box::new(hosted().host().query(view, &codec::encode(&"sum").unwrap())?)));
    let sum = storage.reader.query(sum).await.unwrap().downcast::<Bytes>().unwrap();
    assert_eq!(codec::decode::<u64>(&sum).unwrap(), (1..=commands).sum::<u64>());
    let sessions: Ask = Box::new(|view| {
        let range = KeyRange::prefix(b"s");
        Ok(Box::new(view.scan(range).collect::<Result<Vec<_>, _>>()?))
    });
    let sessions = storage.reader.query(sessions).await.unwrap();
    let sessions = sessions.downcast::<Vec<(Bytes, Bytes)>>().unwrap();
    let clients: Vec<u64> = sessions.iter().map(|(key, _)| u64::from(*key.last().unwrap())).collect();
    assert_eq!(clients, (1..=commands).collect::<Vec<_>>(), "each client has its session");
    for (key, value) in &*sessions {
        let generation = u64::from_be_bytes(key[1..9].try_into().unwrap());
        assert_eq!(generation, (commands + AHEAD) / GENERATION_COMMANDS);
        assert_eq!(codec::decode::<Session>(value).unwrap().sequence, 1);
    }
    close(storage).await.unwrap();
    assert!(!dir.join(REBUILDING).exists() && !dir.join("storage.rebuilt").exists());
}

#[tokio::test]
async fn a_backup_becomes_a_cluster_of_one() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    survivor(old.path()).await;
    let backup = backup_of(old.path()).await;
    let dir = new.path().join("data");
    let rebuilt = restore_to(&dir, &backup).await.unwrap();
    assert_is_new_cluster(&dir, &rebuilt, COMMANDS).await;
    let error = restore_to(&dir, &backup).await.unwrap_err();
    assert!(matches!(error, RebuildError::NotEmpty { .. }) && error.is_misfit(), "{error}");
}

/// Whatever is wrong with it: no directory that a node starts on comes of it, and a good backup can
/// be restored there afterwards.
#[tokio::test]
async fn a_backup_that_does_not_fit_or_is_damaged_is_refused() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    survivor(old.path()).await;
    let good = backup_of(old.path()).await;
    let dir = new.path().join("data");
    let other = RestoreOptions { application: "kv".to_owned(), ..options(&dir) };
    let error = restore(Sums, std::io::Cursor::new(good.clone()), other).await.unwrap_err();
    assert!(matches!(error, RebuildError::OtherApplication { .. }), "{error}");
    let header = BackupHeader { application: "sums".to_owned(), ..BackupHeader::default() };
    let (_, first) = BackupWriter::begin(&BackupHeader { schema: 4, ..header.clone() }).unwrap();
    let error = restore_to(&dir, &first).await.unwrap_err();
    assert!(matches!(error, RebuildError::Schema { found: 4, own: 3 }), "{error}");
    // Right checksums around what is no snapshot.
    let (mut writer, first) = BackupWriter::begin(&header).unwrap();
    let nonsense = [&*first, &writer.block(b"nonsense").unwrap(), &writer.end()].concat();
    let error = restore_to(&dir, &nonsense).await.unwrap_err();
    assert!(matches!(error, RebuildError::Snapshot(_)), "{error}");
    assert!(matches!(starts(&dir, 9).unwrap_err(), DataDirError::Rebuilding(_)));
    for at in (0..good.len()).step_by(97) {
        let mut damaged = good.clone();
        damaged[at] ^= 4;
        let error = restore_to(&dir, &damaged).await.unwrap_err();
        assert!(matches!(error, RebuildError::Backup(_)) && error.is_misfit(), "{at}: {error}");
        assert!(starts(&dir, 9).is_err(), "{at}");
        let error = restore_to(&dir, &good[..at]).await.unwrap_err();
        assert!(matches!(error, RebuildError::Backup(_)), "{at}: {error}");
    }
    let rebuilt = restore_to(&dir, &good).await.unwrap();
    assert_is_new_cluster(&dir, &rebuilt, COMMANDS).await;
}

#[tokio::test]
async fn a_survivor_becomes_a_cluster_of_one_with_all_of_its_log() {
    let dir = tempfile::tempdir().unwrap();
    survivor(dir.path()).await;
    let found = Survivor::open(Sums, dir.path(), false).await.unwrap();
    let point = |index| LogPoint { term: 2, leader: 1, index };
    let remains = Remains {
        node_id: 1,
        cluster_id: OLD,
        last: point(2 * COMMANDS),
        committed: Some(point(COMMANDS + 5)),
        applied: Some(point(COMMANDS)),
        vote: Some((2, 1)),
        members: vec![1, 2, 3],
        outdated: false,
    };
    assert_eq!(*found.remains(), remains);
    let error = found.recover(point(COMMANDS)).await.unwrap_err();
    assert!(matches!(error, RebuildError::OtherLoss { .. }), "{error}");
    // Nothing was begun: it is still the old node's.
    assert_eq!(starts(dir.path(), 1).unwrap().identity().member.unwrap().cluster_id, OLD);
    let rebuilt = recover(dir.path()).await.unwrap();
    assert_is_new_cluster(dir.path(), &rebuilt, 2 * COMMANDS).await;
    assert!(dir.path().join(format!("storage.of-{OLD}")).exists());
    // Once more, of the recovered node: another cluster again.
    let again = recover(dir.path()).await.unwrap();
    assert_ne!(again.cluster_id, rebuilt.cluster_id);
    assert!(dir.path().join(format!("storage.of-{}", rebuilt.cluster_id)).exists());
}

/// What a power failure leaves behind each step. Wherever it was, no node starts before the command
/// was given again, and then the cluster is there, whole.
#[tokio::test]
async fn an_interrupted_call_is_finished_by_the_next() {
    let old = tempfile::tempdir().unwrap();
    survivor(old.path()).await;
    let backup = backup_of(old.path()).await;
    for steps in 1..=5 {
        let dir = tempfile::tempdir().unwrap();
        let member = interrupted(dir.path(), Work::Restore, &backup, steps).await;
        assert!(matches!(starts(dir.path(), 9).unwrap_err(), DataDirError::Rebuilding(_)), "{steps}");
        let error = recover(dir.path()).await.unwrap_err();
        let is_other = matches!(error, RebuildError::OtherWork { .. } | RebuildError::Nothing { .. });
        assert!(is_other, "{steps}: {error}");
        let rebuilt = restore_to(dir.path(), &backup).await.unwrap();
        assert_eq!(steps >= 3, rebuilt.cluster_id == member.cluster_id, "{steps}: begun anew, or finished");
        assert_is_new_cluster(dir.path(), &rebuilt, COMMANDS).await;

        let dir = tempfile::tempdir().unwrap();
        survivor(dir.path()).await;
        let member = interrupted(dir.path(), Work::Recovery, &backup, steps).await;
        assert!(matches!(starts(dir.path(), 1).unwrap_err(), DataDirError::Rebuilding(_)), "{steps}");
        let error = restore_to(dir.path(), &backup).await.unwrap_err();
        assert!(matches!(error, RebuildError::OtherWork { .. }), "{steps}: {error}");
        let rebuilt = recover(dir.path()).await.unwrap();
        assert_eq!(steps >= 3, rebuilt.cluster_id == member.cluster_id, "{steps}: begun anew, or finished");
        // What was made of the backup, in place of the survivor's, shows that it was not made anew.
        let commands = if steps >= 3 { COMMANDS } else { 2 * COMMANDS };
        assert_is_new_cluster(dir.path(), &rebuilt, commands).await;
        assert!(dir.path().join(format!("storage.of-{OLD}")).exists(), "{steps}");
    }
}

/// The first `steps` steps of the module's list, the second with half of a storage if it is the
/// last.
async fn interrupted(dir: &Path, work: Work, backup: &[u8], steps: usize) -> MemberIdentity {
    let node_id = if work == Work::Restore { 9 } else { 1 };
    let other = tempfile::tempdir().unwrap();
    let made = other.path().join("data");
    let made_options =
        RestoreOptions { node_id, member: Member::at(format!("r{node_id}:1"), "c:1"), ..options(&made) };
    restore(Sums, std::io::Cursor::new(backup.to_vec()), made_options).await.unwrap();
    let identity = Identity::read(&made).unwrap().unwrap().identity;
    let member = identity.member.unwrap();
    let before = (work == Work::Recovery).then_some(OLD);
    let marker = Marker { work, member, before };
    let rebuilt = {
        let site = if work == Work::Restore { Site::make(dir) } else { Site::find(dir) };
        site.unwrap().begin(&marker).unwrap()
    };
    let storage: PathBuf = dir.join(STORAGE);
    for step in 2..=steps {
        match step {
            2 if steps == 2 => {
                fs::create_dir(&rebuilt).unwrap();
                fs::write(rebuilt.join("LOCK"), "").unwrap();
            }
            2 => fs::rename(made.join(STORAGE), &rebuilt).unwrap(),
            3 => identity.write(dir).unwrap(),
            4 if work == Work::Recovery => {
                fs::rename(&storage, dir.join(format!("storage.of-{OLD}"))).unwrap()
            }
            5 => fs::rename(&rebuilt, &storage).unwrap(),
            _ => {}
        }
    }
    member
}

#[tokio::test]
async fn there_must_be_something_to_recover() {
    let dir = tempfile::tempdir().unwrap();
    let error = recover(dir.path()).await.unwrap_err();
    assert!(matches!(error, RebuildError::Nothing { .. }) && error.is_misfit(), "{error}");
    assert!(!dir.path().join(IDENTITY_FILE).exists());
    drop(starts(dir.path(), 1).unwrap());
    let error = recover(dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("belongs to no cluster"), "{error}");
}

#[test]
fn a_log_point_is_read_as_it_is_shown() {
    let point = LogPoint { term: 3, leader: 1, index: 55 };
    assert_eq!(point.to_string().parse(), Ok(point));
    for text in ["", "3.1", "3.1.55.7", "3-1-55", "a.b.c", "3.1.-5", "3.1.99999999999999999999"] {
        assert_eq!(text.parse::<LogPoint>(), Err(NotALogPoint), "{text}");
    }
}
