//! A snapshot from a peer: any bytes, and streams with right checksums that say anything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::RaftStateMachine as _;
use storage_leveldb::scan::KeyRange;
use storage_leveldb::testing::SimDisk;
use storage_leveldb::testing::disk::Disk as _;
use storage_leveldb::testing::engine::LevelDbOptions;
use storage_leveldb::{Application, Options, Storage, StorageError, Transaction, View};
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Runtime;

use crate::damage::damage;
use crate::input::Input;
use crate::raft_values::{self, SnapshotMeta};
use crate::reference;
use crate::{Payload, TypeConfig};

/// The simulated disk keeps every file it ever had, so the node moves to a new one now and then.
const INSTALLS_PER_DISK: u32 = 200;
const MAX_PAIRS: usize = 12;
/// The longest part of a snapshot: `codec::MAX_DECODED_BYTES`.
const MAX_PART_BYTES: usize = 16 * 1024 * 1024;
const DIR: &str = "node";

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Answers everything; nothing is ever applied.
struct Raw;

impl Application<TypeConfig> for Raw {
    type Query = ();
    type Answer = Vec<(Bytes, Bytes)>;

    fn apply(&self, _: &mut Transaction<'_>, _: u64, _: &Payload) -> Result<(), StorageError> {
        Ok(())
    }

    fn query(&self, view: &mut View<'_>, (): ()) -> Result<Self::Answer, StorageError> {
        view.scan(KeyRange::all()).collect()
    }
}

struct Receiver {
    runtime: Runtime,
    disk: SimDisk,
    storage: Storage<TypeConfig, Raw>,
    installs: u32,
}

fn options(disk: &SimDisk) -> Options {
    let small = LevelDbOptions { write_buffer_bytes: 64 << 10, ..LevelDbOptions::default() };
    Options::default().with_disk(Arc::new(disk.clone())).with_log_leveldb(small)
}

impl Receiver {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let disk = SimDisk::default();
        let storage = runtime.block_on(Storage::open(Path::new(DIR), Raw, options(&disk))).unwrap();
        Self { runtime, disk, storage, installs: 0 }
    }

    fn receive(&mut self, bytes: &[u8], meta: &SnapshotMeta) -> std::io::Result<()> {
        self.installs += 1;
        self.runtime.block_on(async {
            let mut incoming = self.storage.inbox.create().await.expect("a file for it");
            // What it is not is found while it comes.
            incoming.write_all(bytes).await.inspect_err(refuses)?;
            incoming.shutdown().await.inspect_err(refuses)?;
            self.storage.state.install_snapshot(meta, incoming).await
        })
    }

    fn pairs(&self) -> Pairs {
        let pairs = self.runtime.block_on(self.storage.reader.query(())).expect("a healthy node");
        pairs.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    fn check_state(&mut self, meta: &SnapshotMeta, pairs: &Pairs) {
        assert_eq!(self.storage.health.fault(), None, "a peer's snapshot is no fault of this disk");
        assert_eq!(&self.pairs(), pairs);
        let (applied, membership) = self.runtime.block_on(self.storage.state.applied_state()).unwrap();
        assert_eq!((applied, &membership), (meta.last_log_id, &meta.last_membership));
    }

    /// Of a state that nothing was ever installed into.
    fn check_nothing_left(&self) {
        // Beside it the log prepares its next segment, which is no trace of a snapshot.
        let state = self.disk.list(&Path::new(DIR).join("state")).unwrap();
        assert_eq!(state, [Path::new("MANIFEST")]);
    }

    /// What was installed is there after a restart.
    fn check_restart(self, meta: &SnapshotMeta, pairs: &Pairs) {
        let Self { runtime, disk, storage, .. } = self;
        drop(storage);
        let storage = runtime.block_on(Storage::open(Path::new(DIR), Raw, options(&disk))).unwrap();
        let mut again = Self { runtime, disk, storage, installs: 0 };
        again.check_state(meta, pairs);
        let kept = again.runtime.block_on(again.storage.state.get_current_snapshot()).unwrap();
        // A state that nothing was applied to is not worth sending.
        let expected = meta.last_log_id.is_some().then_some(meta);
        assert_eq!(kept.as_ref().map(|kept| &kept.meta), expected);
    }
}

/// A peer's bytes are at fault, whatever they are.
fn refuses(e: &std::io::Error) {
    assert_eq!(e.kind(), std::io::ErrorKind::InvalidData, "{e}");
}

thread_local! {
    static RECEIVER: RefCell<Option<Receiver>> = const { RefCell::new(None) };
}

/// A snapshot of any bytes is installed exactly, if it is one, or refused without a trace.
pub fn snapshot_install(data: &[u8]) {
    let mut input = Input::new(data);
    let announced = raft_values::snapshot_meta(&mut input);
    let bytes = match input.u8() % 4 {
        0 => input.rest().to_vec(),
        1 => reference::framed(7, input.rest()),
        kind => {
            let told = if kind == 2 { announced.clone() } else { raft_values::snapshot_meta(&mut input) };
            let mut stream = composed(&told, &mut input);
            if input.flag() {
                damage(&mut stream, &mut input);
            }
            let mut file = reference::framed(7, &stream);
            damage(&mut file, &mut input);
            file
        }
    };
    let expected = reference::stream(&bytes, false).and_then(|stream| parse(&stream));
    let expected = expected.filter(|(meta, _)| *meta == announced).map(|(_, pairs)| pairs);

    let mut receiver = RECEIVER.take().filter(|receiver| receiver.installs < INSTALLS_PER_DISK);
    let mut receiver = receiver.take().unwrap_or_else(Receiver::new);
    let result = receiver.receive(&bytes, &announced);
    assert_eq!(result.is_ok(), expected.is_some(), "{result:?}");
    match expected {
        Some(pairs) => {
            receiver.check_state(&announced, &pairs);
            receiver.check_restart(&announced, &pairs);
        }
        None => {
            receiver.check_state(&SnapshotMeta::default(), &Pairs::new());
            receiver.check_nothing_left();
            RECEIVER.set(Some(receiver));
        }
    }
}

fn composed(meta: &SnapshotMeta, input: &mut Input<'_>) -> Vec<u8> {
    let meta = codec::encode(meta).unwrap();
    let mut stream = b"SNAP\x01".to_vec();
    stream.extend((meta.len() as u32).to_le_bytes());
    stream.extend(meta);
    let count = usize::from(input.u8()) % MAX_PAIRS;
    for n in 0..count {
        // Keys ascend unless the input wants otherwise.
        let key = [&[n as u8][..], input.sized()].concat();
        let value = match input.u8() {
            255 => vec![9; usize::from(input.u16()) * 4],
            _ => input.sized().to_vec(),
        };
        stream.push(1);
        stream.extend((key.len() as u32).to_le_bytes());
        stream.extend((value.len() as u32).to_le_bytes());
        stream.extend(key);
        stream.extend(value);
    }
    stream.push(2);
    stream.extend((count as u64).to_le_bytes());
    stream
}

/// The stream of a snapshot, as `docs/FORMAT.md` has it; `None`: it is none.
fn parse(stream: &[u8]) -> Option<(SnapshotMeta, Pairs)> {
    let mut rest = stream.strip_prefix(b"SNAP\x01")?;
    let mut take = |len: usize| -> Option<Vec<u8>> {
        let (taken, left) = rest.split_at_checked(len)?;
        rest = left;
        Some(taken.to_vec())
    };
    let number = |bytes: Vec<u8>| bytes.iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let len = |bytes: Vec<u8>| usize::try_from(number(bytes)).ok().filter(|len| *len <= MAX_PART_BYTES);
    let meta_len = len(take(4)?)?;
    let meta = codec::decode(&take(meta_len)?).ok()?;
    let mut pairs = Pairs::new();
    let mut count = 0;
    loop {
        match take(1)?[..] {
            [1] => {
                let (key_len, value_len) = (len(take(4)?)?, len(take(4)?)?);
                let (key, value) = (take(key_len)?, take(value_len)?);
                if pairs.last_key_value().is_some_and(|(last, _)| *last >= key) {
                    return None;
                }
                pairs.insert(key, value);
                count += 1;
            }
            [2] => {
                let told = number(take(8)?);
                return (told == count && rest.is_empty()).then_some((meta, pairs));
            }
            _ => return None,
        }
    }
}
