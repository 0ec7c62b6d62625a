//! Everything that `codec` decodes from a disk or a peer, kvnode's records, and the storage's
//! manifests and entry blocks.

use std::fmt::Debug;

use bytes::Bytes;
use kvnode::{Command, PairRecord, Response};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage_leveldb::testing::formats::{ManifestOf, manifest_again, records_of_block};

use crate::TypeConfig;
use crate::raft_values::{Entry, EntryLogId, RaftVote, SnapshotMeta, StoredMembership};

/// How many kinds of record [`records`] knows; the first byte chooses one.
pub(crate) const KINDS: u8 = 17;

/// Any bytes as any record: an error, or a value that survives being written again.
pub fn records(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % KINDS {
        0 => survives::<Entry>(bytes),
        1 => survives::<RaftVote>(bytes),
        2 => survives::<EntryLogId>(bytes),
        3 => survives::<StoredMembership>(bytes),
        4 => survives::<SnapshotMeta>(bytes),
        5 => survives::<Command>(bytes),
        6 => survives::<Response>(bytes),
        // A session: raftnode's own type is these two fields.
        7 => survives::<(u64, Bytes)>(bytes),
        8 => survives::<VoteRequest<TypeConfig>>(bytes),
        9 => survives::<VoteResponse<TypeConfig>>(bytes),
        10 => survives::<TransferLeaderRequest<TypeConfig>>(bytes),
        11 => survives::<TransferLeaderResponse<TypeConfig>>(bytes),
        12 => survives::<u64>(bytes),
        13 => pair(bytes),
        14 => manifest(ManifestOf::Log, bytes),
        15 => manifest(ManifestOf::State, bytes),
        _ => entry_block(bytes),
    }
}

fn survives<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(bytes) else { return };
    let again = codec::encode(&value).expect("what was decoded can be encoded");
    // Integers have one shortest form; a set or map may name an element twice.
    assert!(again.len() <= bytes.len(), "{} bytes became {}", bytes.len(), again.len());
    let value_again: T = codec::decode(&again).expect("what was encoded can be decoded");
    assert_eq!(format!("{value:?}"), format!("{value_again:?}"));
    assert_eq!(codec::encode(&value_again).unwrap(), again, "the encoding is not stable");
    let longer = [&again[..], &[0]].concat();
    assert!(codec::decode::<T>(&longer).is_err(), "a byte too many is accepted");
    let shorter = &again[..again.len().saturating_sub(1)];
    assert!(again.is_empty() || codec::decode::<T>(shorter).is_err(), "a byte too few is accepted");
}

fn pair(bytes: &[u8]) {
    let Ok(record) = PairRecord::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(record.encode(), bytes, "a pair's form is the only one");
    assert!(1 <= record.create_revision && record.create_revision <= record.mod_revision);
    assert!(1 <= record.version && record.version - 1 <= record.mod_revision - record.create_revision);
    assert!(PairRecord::merge(bytes, bytes).is_err(), "a write comes before itself");
    let Some(revision) = record.mod_revision.checked_add(1) else { return };
    let next = PairRecord::created(revision, record.value.clone()).encode();
    let merged = PairRecord::decode(PairRecord::merge(bytes, &next).unwrap().into()).unwrap();
    let expected = PairRecord { mod_revision: revision, version: record.version + 1, ..record };
    assert_eq!(merged, expected);
}

/// What names the segments of the log, or the tables of the state.
fn manifest(of: ManifestOf, bytes: &[u8]) {
    let again = |bytes: &[u8]| manifest_again(of, bytes);
    let Ok(written) = again(bytes) else { return };
    assert!(written.len() <= bytes.len(), "{} bytes became {}", bytes.len(), written.len());
    assert_eq!(again(&written).unwrap(), written, "the encoding is not stable");
    assert!(again(&[&written[..], &[0]].concat()).is_err(), "a byte too many is accepted");
    assert!(again(&written[..written.len() - 1]).is_err(), "a byte too few is accepted");
}

/// The entries that the log stores under one key.
fn entry_block(bytes: &[u8]) {
    const MAX_ENTRIES: usize = 256;
    let Ok(records) = records_of_block(bytes) else { return };
    assert!(records.len() <= MAX_ENTRIES);
    let stored = |record: &Bytes| [&(record.len() as u32).to_le_bytes()[..], record].concat();
    assert_eq!(
        records.iter().map(stored).collect::<Vec<_>>().concat(),
        bytes,
        "an entry block's form is the only one"
    );
}
