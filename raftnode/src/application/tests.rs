//! Positions, time, and writes that arrive more than once, on a real state machine over a temporary
//! directory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use storage_leveldb::StorageError;
use storage_leveldb::scan::KeyRange;

use super::session::GENERATION_COMMANDS;
use super::*;
use crate::testing::Machine;

/// A register: a command sets it, and is answered with where and when it was applied.
#[derive(Default, Clone)]
struct Register(Arc<Mutex<Vec<At>>>);

impl Application for Register {
    const SCHEMA: u32 = 1;
    type Command = String;
    type Response = (u64, String);
    type Query = ();
    type Answer = Option<Bytes>;

    fn apply(
        &self,
        txn: &mut Transaction<'_, '_>,
        at: At,
        command: String,
    ) -> Result<(u64, String), StorageError> {
        self.0.lock().unwrap().push(at);
        txn.put(b"register", command.as_bytes());
        Ok((at.position, command))
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<Option<Bytes>, StorageError> {
        view.get(b"register")
    }

    fn remembered((position, text): (u64, String)) -> (u64, String) {
        (position, if text.len() > 4 { String::new() } else { text })
    }
}

type Outcome = Result<(u64, String), u64>;

fn write(text: &str, id: Option<(u8, u64)>) -> (Option<RequestId>, String) {
    let id = id.map(|(client, sequence)| RequestId { client_id: [client; 16], sequence });
    (id, text.to_owned())
}

async fn apply(machine: &mut Machine<Register>, text: &str, id: Option<(u8, u64)>) -> Outcome {
    machine.apply_entry(ClusterTime::default(), vec![write(text, id)]).await.pop().unwrap()
}

/// Applies commands until the last has this position.
async fn skip_to(machine: &mut Machine<Register>, position: u64) {
    const ENTRY_COMMANDS: u64 = 50_000;
    let mut at = machine.apply("x".to_owned()).await.0;
    while at < position {
        let count = (position - at).min(ENTRY_COMMANDS);
        let commands = (0..count).map(|_| write("x", None)).collect();
        machine.apply_entry(ClusterTime::default(), commands).await;
        at += count;
    }
}

async fn sessions(machine: &Machine<Register>) -> usize {
    machine.stored(KeyRange::prefix(b"s")).await.len()
}

fn ok(position: u64, text: &str) -> Result<(u64, String), u64> {
    Ok((position, text.to_owned()))
}

#[tokio::test]
async fn positions_count_commands_whatever_entry_they_are_in() {
    let mut machine = Machine::new(Register::default()).await;
    let zero = ClusterTime::default();
    let two = vec![write("a", None), write("b", None)];
    assert_eq!(machine.apply_entry(zero, two).await, [ok(1, "a"), ok(2, "b")]);
    assert_eq!(machine.apply_entry(zero, Vec::new()).await, []);
    assert_eq!(apply(&mut machine, "c", None).await, ok(3, "c"));
    assert_eq!(machine.query(()).await.unwrap().unwrap(), "c");
}

#[tokio::test]
async fn time_never_goes_back() {
    let register = Register::default();
    let mut machine = Machine::new(register.clone()).await;
    for (stamped, seen) in [(5, 5), (3, 5), (9, 9)] {
        machine.apply_entry(ClusterTime::from_millis(stamped), vec![write("a", None)]).await;
        let at = register.0.lock().unwrap().pop().unwrap();
        assert_eq!(at.time, ClusterTime::from_millis(seen));
        assert_eq!(at.time + Duration::from_millis(2), ClusterTime::from_millis(seen + 2));
    }
}

#[tokio::test]
async fn a_repeated_write_is_applied_once_and_answered_as_before() {
    let register = Register::default();
    let mut machine = Machine::new(register.clone()).await;
    assert_eq!(apply(&mut machine, "a", Some((1, 1))).await, ok(1, "a"));
    assert_eq!(apply(&mut machine, "b", Some((2, 1))).await, ok(2, "b"));
    assert_eq!(apply(&mut machine, "a", Some((1, 1))).await, ok(1, "a"));
    // In one entry, too.
    let writes = vec![write("c", Some((1, 2))), write("c", Some((1, 2))), write("d", Some((1, 1)))];
    let outcomes = machine.apply_entry(ClusterTime::default(), writes).await;
    assert_eq!(outcomes, [ok(4, "c"), ok(4, "c"), Err(2)]);
    assert_eq!(register.0.lock().unwrap().len(), 3, "applied once each");
}

#[tokio::test]
async fn only_what_the_application_wants_is_remembered_of_a_response() {
    let mut machine = Machine::new(Register::default()).await;
    assert_eq!(apply(&mut machine, "long text", Some((1, 1))).await, ok(1, "long text"));
    assert_eq!(apply(&mut machine, "long text", Some((1, 1))).await, ok(1, ""));
}

#[tokio::test]
async fn a_client_is_remembered_for_a_generation_and_forgotten_after_two() {
    let mut machine = Machine::new(Register::default()).await;
    let first = apply(&mut machine, "a", Some((1, 1))).await;
    skip_to(&mut machine, 2 * GENERATION_COMMANDS - 2).await;
    assert_eq!(apply(&mut machine, "a", Some((1, 1))).await, first);
    assert_eq!(sessions(&machine).await, 1, "the generation before the current one is alive");
    skip_to(&mut machine, 2 * GENERATION_COMMANDS).await;
    assert_eq!(sessions(&machine).await, 0, "and is swept when it is not");
    assert_ne!(apply(&mut machine, "a", Some((1, 1))).await, first, "it counts as a new write");
}

/// A step every 256 commands, of 1024 sessions.
#[tokio::test]
async fn dead_sessions_are_swept_a_bounded_step_at_a_time() {
    let mut machine = Machine::new(Register::default()).await;
    let write = |n: u16| {
        let mut client_id = [0; 16];
        client_id[..2].copy_from_slice(&n.to_be_bytes());
        (Some(RequestId { client_id, sequence: 1 }), "a".to_owned())
    };
    machine.apply_entry(ClusterTime::default(), (0..1500).map(write).collect()).await;
    skip_to(&mut machine, 2 * GENERATION_COMMANDS).await;
    assert_eq!(sessions(&machine).await, 1500 - 1024);
    skip_to(&mut machine, 2 * GENERATION_COMMANDS + 255).await;
    assert_eq!(sessions(&machine).await, 1500 - 1024, "a step only every 256 commands");
    skip_to(&mut machine, 2 * GENERATION_COMMANDS + 256).await;
    assert_eq!(sessions(&machine).await, 0);
}
