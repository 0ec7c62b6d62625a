//! The seed corpus, made from real values. `examples/seeds.rs` writes it, `tests/replay.rs` reads
//! it.

use bytes::Bytes;
use kvnode::{PairRecord, Response};
use openraft::raft::{TransferLeaderRequest, VoteRequest, VoteResponse};
use prost::Message as _;
use proto::kv::v1 as kv;
use proto::node::v1 as node;
use proto::raft::v1 as pb;
use serde::Serialize;
use storage_leveldb::testing::formats::{ManifestOf, manifest_again, write_paged};

use crate::TypeConfig;
use crate::input::Input;
use crate::raft_values::{self, RaftVote};
use crate::{records, reference};

/// Shapes of the composed values below: any bytes do, these reach every kind of payload.
const SHAPES: [&[u8]; 6] = [
    &[],
    &[1, 2, 1, 0, 1, 2, 3, 1, 1, 1, 2, 0, 0, 3, 1, 2, 3],
    &[2, 1, 1, 1, 2, 2, 5, 1, 2, 1, 3, 2, 1, 1, 2, 3, 1, 1, 5, b'v', b'a', b'l', b'u', b'e'],
    &[3, 3, 1, 1, 3, 3, 255, 1, 0, 0, 0, 0, 0, 0, 0, 1, 3, 2, 3, 4, 5, 2, 1, 2, 3],
    &[3; 64],
    &[255; 48],
];

type Seed = (String, Vec<u8>);

/// Every target's seeds: target, then name and content.
#[must_use]
pub fn all() -> Vec<(&'static str, Vec<Seed>)> {
    vec![
        ("framed_file", framed_file()),
        ("framed_damage", scripts()),
        ("paged_table", paged_table()),
        ("records", records_seeds()),
        ("batch_apply", batch_apply()),
        ("kv_apply", scripts()),
        ("snapshot_install", snapshot_install()),
        ("raft_wire", raft_wire()),
        ("kv_request", kv_request()),
        ("leveldb_open", leveldb_open()),
    ]
}

fn named(name: impl Into<String>, parts: &[&[u8]]) -> Seed {
    (name.into(), parts.concat())
}

/// For the targets that read their input as a script.
fn scripts() -> Vec<Seed> {
    let counting: Vec<u8> = (0..96).collect();
    let mut seeds: Vec<Seed> =
        SHAPES.iter().enumerate().skip(1).map(|(n, shape)| named(format!("shape-{n}"), &[shape])).collect();
    seeds.push(named("counting", &[&counting]));
    seeds.push(named(
        "syncs",
        &[&[8, 150, 3, b'a', b'b', b'c', 0, 150, 2, b'd', b'e', 0, 150, 1, b'f', 0, 0x80, 2, 0, 1]],
    ));
    seeds
}

fn framed_file() -> Vec<Seed> {
    // The writer's salt is random; a seed must be the same every time.
    let mut log = reference::header(7);
    let first = log.len() as u64;
    reference::push_frame(&mut log, 7, 20, b"first record");
    let second = log.len() as u64;
    reference::push_frame(&mut log, 7, first, b"second record");
    reference::push_frame(&mut log, 7, second, b"third record");
    let mut torn = log.clone();
    torn.truncate(log.len() - 5);
    let mut holed = log.clone();
    holed[second as usize + 21] ^= 1;
    let current = reference::framed(9, b"MANIFEST-000004\n");
    let mut seeds: Vec<Seed> = [("log", &log), ("torn", &torn), ("damaged", &holed), ("current", &current)]
        .map(|(name, file)| named(name, &[&[0], file]))
        .into();
    seeds.push(named(
        "composed",
        &[&[1, 3, 3, 20, 0, 3, b'a', b'b', b'c', 4, 30, 0, 1, b'd', 1, 2, 9, 9, 0, 2, 1, 1]],
    ));
    seeds
}

fn paged_table() -> Vec<Seed> {
    let raw = |payload: &[u8]| {
        let file = write_paged("000007.ldb", payload).unwrap();
        [&[1, file.len() as u8][..], &file, &[2, 0, 0, 0, 100, 0, 0, 3, 0, 9, 0]].concat()
    };
    let written = |len: u16| {
        let mut seed = vec![0];
        seed.extend(len.to_le_bytes());
        // Three reads, over page borders, and then one changed byte.
        seed.extend([3, 0, 0xf0, 0x0f, 200, 0, 0, 0, 0, 0xff, 0x1f, 0, 1, 0, 1, 0, 0, 5, 0, 1]);
        seed
    };
    vec![
        ("raw-empty".to_owned(), raw(b"")),
        ("raw-small".to_owned(), raw(b"a table's payload")),
        ("one-page".to_owned(), written(4092)),
        ("two-pages".to_owned(), written(4093)),
        ("four-pages".to_owned(), written(16000)),
    ]
}

fn record<T: Serialize>(kind: u8, name: &str, value: &T) -> Seed {
    assert!(kind < records::KINDS);
    named(name, &[&[kind], &codec::encode(value).unwrap()])
}

fn records_seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (n, shape) in SHAPES.iter().enumerate() {
        let mut input = Input::new(shape);
        let log_id = raft_values::log_id(&mut input);
        let vote = raft_values::vote(&mut Input::new(shape));
        seeds.push(record(0, &format!("entry-{n}"), &raft_values::entry(&mut input, log_id)));
        seeds.push(record(1, &format!("vote-{n}"), &vote));
        seeds.push(record(2, &format!("log-id-{n}"), &log_id));
        seeds.push(record(
            3,
            &format!("membership-{n}"),
            &raft_values::stored_membership(&mut Input::new(shape)),
        ));
        seeds.push(record(
            4,
            &format!("snapshot-meta-{n}"),
            &raft_values::snapshot_meta(&mut Input::new(shape)),
        ));
        seeds.push(record(5, &format!("command-{n}"), &raft_values::command(&mut Input::new(shape))));
        let request = VoteRequest::<TypeConfig>::new(vote, Some(log_id));
        seeds.push(record(8, &format!("vote-request-{n}"), &request));
        seeds.push(record(
            9,
            &format!("vote-response-{n}"),
            &VoteResponse::<TypeConfig>::new(vote, None, true),
        ));
        let transfer = TransferLeaderRequest::<TypeConfig>::new(vote, 2, Some(log_id));
        seeds.push(record(10, &format!("transfer-{n}"), &transfer));
        seeds.extend(manifests(n, shape));
    }
    let pair =
        PairRecord { create_revision: 3, mod_revision: 9, version: 4, value: Bytes::from_static(b"value") };
    seeds.push(named("pair", &[&[13], &pair.encode()]));
    let responses = [
        Response::Put { revision: 300, previous: Some(pair.clone()) },
        Response::Delete { revision: 70_000, deleted: true, previous: None },
    ];
    for (n, response) in responses.into_iter().enumerate() {
        seeds.push(record(6, &format!("response-{n}"), &response));
        let response = Bytes::from(codec::encode(&response).unwrap());
        seeds.push(record(7, &format!("session-{n}"), &(5_u64, response)));
    }
    seeds.extend(entry_blocks());
    seeds
}

/// As `docs/FORMAT.md` has them: the format, what was purged or the frontier, and the segments or
/// tables.
fn manifests(n: usize, shape: &[u8]) -> [Seed; 2] {
    let purged = raft_values::optional_log_id(&mut Input::new(shape));
    let (table, database) = (1_u32, 0_u32);
    let segments = [(3_u64, table), (4, database), (300, database)];
    let membership = raft_values::stored_membership(&mut Input::new(shape));
    let tables = [(70_000_u64, 5_u64, 1_u64 << 33), (2, 1, 9)];
    // The index behind the last purged entry, and its log id.
    let purge_point = purged.map(|id| (id.index.saturating_add(1), codec::encode(&id).unwrap()));
    let seeds = [
        record(14, &format!("log-manifest-{n}"), &(1_u8, purge_point, &segments[..n % 4])),
        record(
            15,
            &format!("state-manifest-{n}"),
            &(1_u8, 70_000_u64, codec::encode(&(purged, membership)).unwrap(), &tables[..n % 3]),
        ),
    ];
    for ((_, content), of) in seeds.iter().zip([ManifestOf::Log, ManifestOf::State]) {
        assert_eq!(manifest_again(of, &content[1..]).unwrap(), content[1..], "{of:?} of FORMAT.md");
    }
    seeds
}

/// Entry blocks as FORMAT.md has them: of no entry, of some, of as many as there may be, and of one
/// more.
fn entry_blocks() -> Vec<Seed> {
    let block = |count: usize, name: &str| {
        let stored = (0..count).flat_map(|n| {
            let record = vec![7; n % 3];
            [&(record.len() as u32).to_le_bytes()[..], &record].concat()
        });
        named(name, &[&[16], &stored.collect::<Vec<u8>>()])
    };
    vec![
        block(0, "entry-block-empty"),
        block(5, "entry-block-of-5"),
        block(256, "entry-block-of-256"),
        block(257, "entry-block-of-257"),
        named("entry-block-torn", &[&[16, 9, 0, 0, 0, 1]]),
    ]
}

fn snapshot_install() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (n, shape) in SHAPES.iter().enumerate() {
        for kind in [2, 3] {
            seeds.push(named(format!("composed-{n}-{kind}"), &[shape, &[0; 8], &[kind, 3], shape]));
        }
    }
    let meta = codec::encode(&raft_values::snapshot_meta(&mut Input::new(&[]))).unwrap();
    let stream_of = |keys: &[u8]| {
        let mut stream = [&b"SNAP\x01"[..], &(meta.len() as u32).to_le_bytes(), &meta].concat();
        keys.iter().for_each(|key| stream.extend([1, 1, 0, 0, 0, 1, 0, 0, 0, *key, b'v']));
        stream.push(2);
        stream.extend((keys.len() as u64).to_le_bytes());
        stream
    };
    let stream = stream_of(&[]);
    for (name, kind, bytes) in [
        ("file", 0_u8, reference::framed(7, &stream)),
        ("stream", 1, stream.clone()),
        ("cut", 1, stream[..20].to_vec()),
        ("pairs", 1, stream_of(b"abc")),
        ("repeated", 1, stream_of(b"aab")),
        ("unordered", 1, stream_of(b"acb")),
    ] {
        for skip in 3..8 {
            seeds.push(named(format!("{name}-{skip}"), &[&vec![0; skip], &[kind], &bytes]));
        }
    }
    seeds
}

fn raft_wire() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let committed: RaftVote = openraft::Vote::new_committed(3, 2);
    let candidate: RaftVote = openraft::Vote::new(3, 2);
    let encode = |value: &RaftVote| Bytes::from(codec::encode(value).unwrap());
    for (n, shape) in SHAPES.iter().enumerate() {
        for (kind, name) in [(1_u8, "append"), (5, "snapshot"), (6, "answer")] {
            // A leader of term 3, node 2, with everything after it out of the shape.
            seeds.push(named(format!("{name}-{n}"), &[&[kind, 3, 2, 1], shape]));
            seeds.push(named(format!("{name}-entries-{n}"), &[&[kind, 3, 2, 1, 0, 0, 3], shape]));
        }
        let mut input = Input::new(shape);
        let log_id = raft_values::log_id(&mut input);
        let entry = codec::encode(&raft_values::entry(&mut input, log_id)).unwrap();
        let message = pb::AppendRequest {
            header: Some(pb::Header {
                cluster_id: vec![7; 16].into(),
                target: vec![1].into(),
                sender: vec![2].into(),
                ..pb::Header::default()
            }),
            vote: encode(&committed),
            prev_log_id: codec::encode(&log_id).unwrap().into(),
            leader_commit: Bytes::new(),
            entries: vec![entry.into()],
        };
        seeds.push(named(format!("append-message-{n}"), &[&[0], &message.encode_to_vec()]));
        let meta = codec::encode(&raft_values::snapshot_meta(&mut Input::new(shape))).unwrap();
        let header = pb::SnapshotHeader { header: None, vote: encode(&committed), meta: meta.into() };
        seeds.push(named(format!("snapshot-message-{n}"), &[&[4], &header.encode_to_vec()]));
    }
    let request = codec::encode(&VoteRequest::<TypeConfig>::new(candidate, None)).unwrap();
    seeds.push(named("vote", &[&[2], &request]));
    let request = codec::encode(&TransferLeaderRequest::<TypeConfig>::new(committed, 1, None)).unwrap();
    seeds.push(named("transfer", &[&[3], &request]));
    let end = pb::SnapshotEnd { total_bytes: 1000, crc32c: 7 };
    let chunk = pb::SnapshotChunk { part: Some(pb::snapshot_chunk::Part::End(end)) };
    seeds.push(named("chunk", &[&[7], &chunk.encode_to_vec()]));
    seeds
}

fn kv_request() -> Vec<Seed> {
    let id = |len: usize, sequence| Some(kv::RequestId { client_id: vec![7; len].into(), sequence });
    let put = |key: &[u8], request_id| kv::PutRequest {
        key: Bytes::copy_from_slice(key),
        value: Bytes::from_static(b"value"),
        request_id,
        return_previous: true,
    };
    let delete =
        kv::DeleteRequest { key: Bytes::from_static(b"k"), request_id: id(16, 9), return_previous: true };
    let scan = kv::ScanRequest { prefix: Bytes::from_static(b"p"), limit: 10, keys_only: true, stale: true };
    let get = kv::GetRequest { key: Bytes::from_static(b"k"), stale: true };
    let operation = kv::Operation { id: 3, ..Default::default() };
    let session = kv::SessionRequest { operations: vec![operation; 2] };
    let forward =
        node::ForwardRequest { requests: vec![node::ForwardedRequest { id: 3, ..Default::default() }; 2] };
    vec![
        named("put", &[&[0], &put(b"key", None).encode_to_vec()]),
        named("put-named", &[&[0], &put(b"key", id(16, 1)).encode_to_vec()]),
        named("put-badly-named", &[&[0], &put(b"", id(15, 0)).encode_to_vec()]),
        named("put-long-key", &[&[0], &put(&[b'k'; 4097], None).encode_to_vec()]),
        named("delete", &[&[1], &delete.encode_to_vec()]),
        named("get", &[&[2], &get.encode_to_vec()]),
        named("scan", &[&[3], &scan.encode_to_vec()]),
        named("session", &[&[4], &session.encode_to_vec()]),
        named("session-of-empty-operations", &[&[4], &[0x0a, 0].repeat(2000)]),
        named("forward", &[&[5], &forward.encode_to_vec()]),
        named("forward-of-empty-requests", &[&[5], &[0x0a, 0].repeat(2000)]),
    ]
}

/// Batches behind their lengths: anonymous commands, repeated and old ones, and malformed ones.
fn batch_apply() -> Vec<Seed> {
    let command = |sequence: Option<u64>, content: &'static [u8]| {
        let content = codec::encode(&Bytes::from_static(content)).unwrap();
        let length = (content.len() as u32).to_le_bytes();
        match sequence {
            None => [&[0][..], &length, &content].concat(),
            Some(sequence) => [&[1][..], &[7; 16], &sequence.to_le_bytes(), &length, &content].concat(),
        }
    };
    let batch = |schema: u32, time: u64, commands: &[Vec<u8>]| {
        let batch = [&schema.to_le_bytes()[..], &time.to_le_bytes(), &commands.concat()].concat();
        [&(batch.len() as u16).to_le_bytes()[..], &batch].concat()
    };
    let anonymous = batch(1, 9, &[command(None, b"one"), command(None, b"")]);
    let repeated = batch(2, 5, &[command(Some(2), b"two"), command(Some(2), b"x"), command(Some(1), b"y")]);
    let newer_schema = batch(3, 10, &[command(None, b"three")]);
    let not_a_command = batch(1, 10, &[[&[0][..], &1_u32.to_le_bytes(), &[0xff]].concat()]);
    let long = batch(1, 10, &[[&[0][..], &u32::MAX.to_le_bytes(), &[1]].concat()]);
    let unknown_flag = batch(1, 10, &[vec![2]]);
    let torn = &repeated[..repeated.len() - 3];
    vec![
        named("anonymous", &[&anonymous]),
        named("repeated", &[&anonymous, &repeated, &repeated]),
        named("empty", &[&batch(1, 0, &[]), &anonymous]),
        named("newer-schema", &[&anonymous, &newer_schema]),
        named("not-a-command", &[&not_a_command]),
        named("a-length-too-long", &[&anonymous, &long]),
        named("unknown-flag", &[&unknown_flag]),
        named("torn", &[&anonymous, torn]),
    ]
}

/// One change of each kind to each file.
fn leveldb_open() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for file in 0..12_u8 {
        for kind in 0..3_u8 {
            seeds.push(named(format!("file-{file}-{kind}"), &[&[kind, file, 0, file, 0]]));
        }
        for (name, change) in [
            ("flip", &[0_u8, 40, 0, 1][..]),
            ("flip-end", &[0x80, 9, 0, 1]),
            ("cut", &[0x81, 30, 0]),
            ("grow", &[0x82, 0, 0, 3, 1, 2, 3]),
            ("zero", &[0x84, 60, 0, 20]),
        ] {
            seeds.push(named(format!("file-{file}-{name}"), &[&[3, file, 0], change]));
        }
    }
    seeds
}
