//! kvnode's application over records that are not its own: pairs and sessions of any bytes.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kvnode::{Command, KvApplication, PairRecord, Response, TypeConfig};
use openraft::entry::RaftEntry as _;
use openraft::storage::RaftStateMachine as _;
use openraft::{EntryPayload, LogId};
use storage_leveldb::testing::SimDisk;
use storage_leveldb::{
    Application, KeyRange, MemoryEngine, Options, ScanLimit, Storage, StorageError, Transaction, View,
};
use tokio::runtime::Runtime;

use crate::input::Input;
use crate::raft_values;

/// Log entries in one generation of sessions: `docs/FORMAT.md`.
const GENERATION_ENTRIES: u64 = 262_144;
/// A larger previous value is not remembered: `kvnode/src/app/session.rs`.
const MAX_REMEMBERED_VALUE_BYTES: usize = 4096;

/// What is in the state, and the command that meets it.
#[derive(Debug, Clone)]
struct Scene {
    index: u64,
    command: Command,
    pair: Option<Vec<u8>>,
    /// In this generation, counted back from the current one.
    session: Option<(u64, Vec<u8>)>,
}

/// What must come of it; `Err`: the state is damaged and says so.
type Outcome = Result<Response, ()>;

fn place_of_pair(key: &[u8]) -> Vec<u8> {
    [b"p", key].concat()
}

fn place_of_session(generation: u64, client_id: &[u8; 16]) -> Vec<u8> {
    [&b"s"[..], &generation.to_be_bytes(), client_id].concat()
}

fn key_of(command: &Command) -> &Bytes {
    match command {
        Command::Put { key, .. } | Command::Delete { key, .. } => key,
    }
}

/// Plays the scene that `next` holds, on an empty state.
#[derive(Clone, Default)]
struct Stage {
    next: Arc<Mutex<Option<Scene>>>,
    response: Arc<Mutex<Option<Response>>>,
}

impl Application<TypeConfig> for Stage {
    type Query = Bytes;
    type Answer = Option<Bytes>;

    fn apply(&self, txn: &mut Transaction<'_>, _: u64, _: &Command) -> Result<Response, StorageError> {
        let scene = self.next.lock().unwrap().take().unwrap();
        let everything = ScanLimit { pairs: usize::MAX, bytes: usize::MAX };
        for (key, _) in txn.scan(KeyRange::all(), everything)? {
            txn.delete(&key);
        }
        if let Some(pair) = &scene.pair {
            txn.put(&place_of_pair(key_of(&scene.command)), pair);
        }
        if let (Some((back, session)), Some(id)) = (&scene.session, scene.command.request_id()) {
            let generation = (scene.index / GENERATION_ENTRIES).saturating_sub(*back);
            txn.put(&place_of_session(generation, &id.client_id), session);
        }
        let response = KvApplication.apply(txn, scene.index, &scene.command)?;
        *self.response.lock().unwrap() = Some(response.clone());
        Ok(response)
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        KvApplication.merge(key, older, operand)
    }

    fn query(&self, view: &mut View<'_>, key: Bytes) -> Result<Self::Answer, StorageError> {
        view.get(&key)
    }
}

struct Node {
    runtime: Runtime,
    stage: Stage,
    storage: Storage<TypeConfig, Stage>,
    entries: u64,
}

impl Node {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stage = Stage::default();
        let engine = Arc::new(MemoryEngine::default());
        let options =
            Options { disk: Arc::new(SimDisk::default()), engine: Some(engine), ..Options::default() };
        let storage = runtime.block_on(Storage::open("node".as_ref(), stage.clone(), options)).unwrap();
        Self { runtime, stage, storage, entries: 0 }
    }

    fn play(&mut self, scene: &Scene) -> Outcome {
        *self.stage.next.lock().unwrap() = Some(scene.clone());
        self.entries += 1;
        let leader = openraft::impls::leader_id_adv::LeaderId { term: 1, node_id: 1 };
        let payload = EntryPayload::Normal(scene.command.clone());
        let entry = openraft::Entry::new(LogId::new(leader, self.entries), payload);
        let entries = futures_util::stream::iter([Ok((entry, None))]);
        match self.runtime.block_on(self.storage.state.apply(entries)) {
            Ok(()) => Ok(self.stage.response.lock().unwrap().take().unwrap()),
            Err(error) => {
                assert!(!error.to_string().contains("panicked"), "{error}");
                Err(())
            }
        }
    }

    fn stored(&self, key: Vec<u8>) -> Option<Bytes> {
        self.runtime.block_on(self.storage.reader.query(key.into())).unwrap()
    }
}

thread_local! {
    static NODE: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// A command meets a pair and a session of any bytes: the model's answer, or an error; never a panic.
pub fn kv_apply(data: &[u8]) {
    let scene = scene(&mut Input::new(data));
    NODE.with_borrow_mut(|node| {
        let playing = node.get_or_insert_with(Node::new);
        let found = playing.play(&scene);
        assert_eq!(found, expected(&scene), "{scene:?}");
        match &found {
            Ok(_) if !is_settled(&scene) => check_pair(playing, &scene),
            Ok(_) => {}
            // A node does not go on after an error.
            Err(()) => *node = None,
        }
    });
}

fn scene(input: &mut Input<'_>) -> Scene {
    let generation = u64::from(input.u8() % 4);
    let index = generation * GENERATION_ENTRIES + u64::from(input.u16()) + 1;
    let command = raft_values::command(input);
    let pair = match input.u8() % 4 {
        0 => None,
        1 => Some(input.sized().to_vec()),
        _ => {
            let (create, between) = (u64::from(input.u8()) + 1, u64::from(input.u8()));
            // Now and then a value too large to be remembered.
            let len = usize::from(input.u8()) * 20;
            Some(
                PairRecord {
                    create_revision: create,
                    mod_revision: create + between,
                    version: u64::from(input.u8()),
                    value: vec![7; len].into(),
                }
                .encode(),
            )
        }
    };
    let back = u64::from(input.u8() % 3);
    let session = match input.u8() % 4 {
        0 => None,
        1 => Some(input.sized().to_vec()),
        _ => {
            let revision = u64::from(input.u16());
            let response = match input.u8() % 4 {
                0 => Response::Nothing,
                1 => Response::Put { revision, previous: None },
                2 => Response::Delete { revision, deleted: input.flag(), previous: None },
                _ => Response::SequenceTooLow { last: revision },
            };
            Some(codec::encode(&(u64::from(input.u8() % 6), response)).unwrap())
        }
    };
    Scene { index, command, pair, session: session.map(|session| (back, session)) }
}

/// The session that the command meets, as far as it is one.
fn session(scene: &Scene) -> Option<Result<(u64, Response), ()>> {
    let (back, bytes) = scene.session.as_ref()?;
    scene.command.request_id()?;
    let current = scene.index / GENERATION_ENTRIES;
    // Two generations back it is out of sight; at the start there is none to go back to.
    let in_sight = current.saturating_sub(*back) + 1 >= current;
    in_sight.then(|| codec::decode(bytes).map_err(|_| ()))
}

fn is_settled(scene: &Scene) -> bool {
    let sequence = scene.command.request_id().map(|id| id.sequence);
    session(scene).is_some_and(|session| session.is_ok_and(|(last, _)| Some(last) >= sequence))
}

fn expected(scene: &Scene) -> Outcome {
    if let (Some(id), Some(session)) = (scene.command.request_id(), session(scene)) {
        let (last, response) = session?;
        if id.sequence < last {
            return Ok(Response::SequenceTooLow { last });
        }
        if id.sequence == last {
            return Ok(response);
        }
    }
    let previous = scene.pair.clone().map(|bytes| PairRecord::decode(bytes.into()).map_err(|_| ()));
    let previous = previous.transpose()?;
    let revision = scene.index;
    let is_newer = |pair: &PairRecord| pair.mod_revision >= revision;
    if matches!(scene.command, Command::Put { .. }) && previous.as_ref().is_some_and(is_newer) {
        // A put is merged into what was written before it.
        return Err(());
    }
    Ok(match &scene.command {
        Command::Put { return_previous, .. } => {
            Response::Put { revision, previous: previous.filter(|_| *return_previous) }
        }
        Command::Delete { return_previous, .. } => Response::Delete {
            revision,
            deleted: previous.is_some(),
            previous: previous.filter(|_| *return_previous),
        },
    })
}

/// What is stored after a command that took effect.
fn check_pair(node: &Node, scene: &Scene) {
    let stored = node.stored(place_of_pair(key_of(&scene.command)));
    match &scene.command {
        Command::Delete { .. } => assert_eq!(stored, None),
        Command::Put { value, .. } => {
            let stored = stored.expect("the pair that was put");
            assert_eq!(stored[8..16], scene.index.to_be_bytes());
            assert_eq!(stored[24..], value[..]);
        }
    }
    if let Some(id) = scene.command.request_id() {
        let place = place_of_session(scene.index / GENERATION_ENTRIES, &id.client_id);
        let (sequence, response): (u64, Response) = codec::decode(&node.stored(place).unwrap()).unwrap();
        assert_eq!(sequence, id.sequence);
        let mut told = expected(scene).unwrap();
        if let Response::Put { previous, .. } | Response::Delete { previous, .. } = &mut told {
            previous.take_if(|pair| pair.value.len() > MAX_REMEMBERED_VALUE_BYTES);
        }
        assert_eq!(response, told);
    }
}
