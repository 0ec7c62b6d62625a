//! kvnode's application over records that are not its own: pairs of any bytes.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kvnode::{Command, KvApplication, PairRecord, Response};
use raftnode::testing::Machine;
use raftnode::{Application, At, KeyRange, MergeOperator, ScanLimit, StorageError, Transaction, View};
use tokio::runtime::Runtime;

use crate::input::Input;
use crate::raft_values;

/// What is in the state, and the command that meets it.
#[derive(Debug, Clone)]
struct Scene {
    /// Of the last write before.
    revision: u64,
    command: Command,
    pair: Option<Vec<u8>>,
}

/// What must come of it; `Err`: the state is damaged and says so.
type Outcome = Result<Response, ()>;

fn place_of_pair(key: &[u8]) -> Vec<u8> {
    [b"p", key].concat()
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
}

impl Application for Stage {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Response;
    type Query = Bytes;
    type Answer = Option<Bytes>;

    fn apply(
        &self,
        txn: &mut Transaction<'_, '_>,
        at: At,
        command: Command,
    ) -> Result<Response, StorageError> {
        let scene = self.next.lock().unwrap().take().unwrap();
        let everything = ScanLimit { pairs: usize::MAX, bytes: usize::MAX };
        for (key, _) in txn.scan(&KeyRange::all(), everything)? {
            txn.delete(&key);
        }
        if let Some(pair) = &scene.pair {
            txn.put(&place_of_pair(key_of(&command)), pair);
        }
        txn.put(b"r", &scene.revision.to_le_bytes());
        KvApplication.apply(txn, at, command)
    }

    fn query(&self, view: &mut View<'_, '_>, key: Bytes) -> Result<Option<Bytes>, StorageError> {
        view.get(&key)
    }

    fn merge_operator(&self) -> Option<&dyn MergeOperator> {
        Some(self)
    }
}

impl MergeOperator for Stage {
    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, String> {
        KvApplication.merge(key, older, operand)
    }
}

struct Node {
    runtime: Runtime,
    stage: Stage,
    machine: Machine<Stage>,
}

impl Node {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stage = Stage::default();
        let machine = runtime.block_on(Machine::new(stage.clone()));
        Self { runtime, stage, machine }
    }

    fn play(&mut self, scene: &Scene) -> Outcome {
        *self.stage.next.lock().unwrap() = Some(scene.clone());
        self.runtime.block_on(self.machine.try_apply(scene.command.clone())).map_err(|error| {
            assert!(!error.contains("panicked"), "{error}");
        })
    }

    fn stored(&self, key: Vec<u8>) -> Option<Bytes> {
        self.runtime.block_on(self.machine.query(key.into())).unwrap()
    }
}

thread_local! {
    static NODE: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// A command meets a pair of any bytes: the model's answer, or an error; never a panic.
pub fn kv_apply(data: &[u8]) {
    let scene = scene(&mut Input::new(data));
    NODE.with_borrow_mut(|node| {
        let playing = node.get_or_insert_with(Node::new);
        let found = playing.play(&scene);
        assert_eq!(found, expected(&scene), "{scene:?}");
        match &found {
            Ok(_) => check_pair(playing, &scene),
            // A node does not go on after an error.
            Err(()) => *node = None,
        }
    });
}

fn scene(input: &mut Input<'_>) -> Scene {
    let revision = u64::from(input.u16());
    let command = raft_values::command(input);
    let pair = match input.u8() % 4 {
        0 => None,
        1 => Some(input.sized().to_vec()),
        _ => {
            let (create, between) = (u64::from(input.u8()) + 1, u64::from(input.u8()));
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
    Scene { revision, command, pair }
}

fn expected(scene: &Scene) -> Outcome {
    let previous = scene.pair.clone().map(|bytes| PairRecord::decode(bytes.into()).map_err(|_| ()));
    let previous = previous.transpose()?;
    let next = scene.revision + 1;
    let is_newer = |pair: &PairRecord| pair.mod_revision >= next;
    if matches!(scene.command, Command::Put { .. }) && previous.as_ref().is_some_and(is_newer) {
        // A put is merged into what was written before it.
        return Err(());
    }
    Ok(match &scene.command {
        Command::Put { return_previous, .. } => {
            Response::Put { revision: next, previous: previous.filter(|_| *return_previous) }
        }
        Command::Delete { return_previous, .. } => Response::Delete {
            revision: if previous.is_some() { next } else { scene.revision },
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
            assert_eq!(stored[8..16], (scene.revision + 1).to_be_bytes());
            assert_eq!(stored[24..], value[..]);
        }
    }
}
