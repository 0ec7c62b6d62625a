//! Responses and answers that are too long, or do not survive encoding and decoding: the node that
//! leads says so to its own caller as to another node, and nothing stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test code")]

mod ports;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use raftnode::{Application, At, Error, MAX_ANSWER_BYTES, Node, NodeConfig, StorageError, Transaction, View};
use serde::{Deserialize, Serialize};

const DEADLINE: Duration = Duration::from_secs(30);

/// What is to be answered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Wanted {
    Bytes(usize),
    Tagged,
    Flat,
    /// How many commands were applied.
    Position,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Given {
    Bytes(Vec<u8>),
    Tagged(Tagged),
    Flat(Flat),
    Position(u64),
}

/// Can be encoded, and not read back.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Only { number: u64 },
}

/// Cannot be encoded: the length of the map is not known before its end.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    all: BTreeMap<String, u64>,
}

struct Careless;

impl Careless {
    fn given(wanted: Wanted, position: u64) -> Given {
        match wanted {
            Wanted::Bytes(count) => Given::Bytes(vec![7; count]),
            Wanted::Tagged => Given::Tagged(Tagged::Only { number: 7 }),
            Wanted::Flat => Given::Flat(Flat { all: BTreeMap::from([("seven".to_owned(), 7)]) }),
            Wanted::Position => Given::Position(position),
        }
    }
}

impl Application for Careless {
    const SCHEMA: u32 = 1;
    type Command = Wanted;
    type Response = Given;
    type Query = Wanted;
    type Answer = Given;

    fn apply(&self, _: &mut Transaction<'_, '_>, at: At, wanted: Wanted) -> Result<Given, StorageError> {
        Ok(Self::given(wanted, at.position))
    }

    fn query(&self, view: &mut View<'_, '_>, wanted: Wanted) -> Result<Given, StorageError> {
        Ok(Self::given(wanted, view.position()?))
    }
}

/// Two nodes of one cluster in this process.
async fn cluster(home: &Path) -> [Node<Careless>; 2] {
    let addresses = [(); 2].map(|()| {
        let listeners = [(); 3].map(|()| ports::hold());
        listeners.map(|listener| listener.local_addr().unwrap().to_string())
    });
    let [[client_1, raft_1, _], [client_2, raft_2, _]] = &addresses;
    let peers = format!("1={raft_1}/{client_1},2={raft_2}/{client_2}");
    let start = async |id: u64, [client, raft, http]: &[String; 3]| {
        let listen = |address: &String| address.parse().unwrap();
        let dir = home.join(id.to_string());
        let mut config = NodeConfig::new(id, dir, listen(client), listen(raft), listen(http));
        config.peers = Some(peers.parse().unwrap());
        Node::builder(Careless).start(config).await.unwrap()
    };
    let [first, second] = &addresses;
    let nodes = [start(1, first).await, start(2, second).await];
    let started = Instant::now();
    while let Err(error) = nodes[0].init().await {
        assert!(started.elapsed() < DEADLINE, "{error}");
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_answered_is_said_by_the_leader_and_by_the_others_and_stops_nothing() {
    let home = tempfile::tempdir().unwrap();
    let nodes = cluster(home.path()).await;
    let longest = MAX_ANSWER_BYTES - 16;
    let bad = [
        (Wanted::Bytes(MAX_ANSWER_BYTES), "bytes encoded; at most"),
        (Wanted::Tagged, "mend its type"),
        (Wanted::Flat, "mend its type"),
    ];
    let mut applied = 0;
    for node in &nodes {
        assert_eq!(node.write(Wanted::Bytes(longest)).await.unwrap(), Given::Bytes(vec![7; longest]));
        assert_eq!(node.read(Wanted::Bytes(longest)).await.unwrap(), Given::Bytes(vec![7; longest]));
        applied += 1;
        for (wanted, said) in bad {
            match node.write(wanted).await {
                Err(Error::Unknown(text)) if text.contains("was applied") && text.contains(said) => {}
                other => panic!("write {wanted:?} at node {}: {other:?}", node.id()),
            }
            applied += 1;
            for answer in [node.read(wanted).await, node.read_stale(wanted).await] {
                match answer {
                    Err(Error::Refused(text)) if text.contains(said) => {}
                    other => panic!("read {wanted:?} at node {}: {other:?}", node.id()),
                }
            }
        }
        assert_eq!(node.read(Wanted::Position).await.unwrap(), Given::Position(applied));
    }
    for node in &nodes {
        node.stop().await;
    }
}
