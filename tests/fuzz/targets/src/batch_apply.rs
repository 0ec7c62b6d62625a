//! Entries of any bytes, as the log or a peer may have them, met by a node's state machine: its
//! batches of commands, request ids, schema and time.

use std::collections::HashMap;

use bytes::Bytes;
use raftnode::testing::{Applied, Machine};
use raftnode::{Application, At, ClusterTime, StorageError, Transaction, View};

use crate::input::Input;

/// Says what it was asked to apply, and when.
struct Witness;

/// A command's position, the time in milliseconds, and the command.
type Told = (u64, u64, Bytes);

const SCHEMA: u32 = 2;

impl Application for Witness {
    const SCHEMA: u32 = SCHEMA;
    type Command = Bytes;
    type Response = Told;
    type Query = ();
    type Answer = (u64, u64);

    fn apply(&self, _: &mut Transaction<'_, '_>, at: At, command: Bytes) -> Result<Told, StorageError> {
        Ok((at.position, at.time.as_millis(), command))
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<(u64, u64), StorageError> {
        Ok((view.position()?, view.time()?.as_millis()))
    }
}

/// The same in plain sight: what has been applied, and each client's last write.
#[derive(Default)]
struct Model {
    position: u64,
    time: u64,
    sessions: HashMap<Vec<u8>, (u64, Told)>,
}

/// Any bytes as entries, one after another: what the model says, or a fault; never a panic.
pub fn batch_apply(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut machine, mut model) = (Machine::new(Witness).await, Model::default());
        let mut input = Input::new(data);
        while !input.is_empty() {
            let len = usize::from(input.u16());
            let batch = input.take(len);
            let before = (model.position, model.time);
            let found = machine.try_apply_bytes(Bytes::copy_from_slice(batch)).await;
            let expected = model.apply(batch);
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{batch:02x?}");
            let Err(fault) = found else { continue };
            assert!(!fault.contains("panicked"), "{fault}");
            // A batch is applied as a whole or not at all.
            (model.position, model.time) = before;
            break;
        }
        let found = machine.query(()).await;
        if let Ok(found) = found {
            assert_eq!(found, (model.position, model.time));
        }
    });
}

impl Model {
    /// `None`: the batch is a fault.
    fn apply(&mut self, batch: &[u8]) -> Option<Vec<Applied<Witness>>> {
        let (schema, rest) = batch.split_first_chunk()?;
        let (time, mut rest) = rest.split_first_chunk()?;
        if u32::from_le_bytes(*schema) > SCHEMA {
            return None;
        }
        self.time = self.time.max(ClusterTime::from_millis(u64::from_le_bytes(*time)).as_millis());
        let mut outcomes = Vec::new();
        while let Some((flag, after)) = rest.split_first() {
            rest = after;
            let mut name = None;
            if *flag > 1 {
                return None;
            }
            if *flag == 1 {
                let (client_id, after) = rest.split_at_checked(16)?;
                let (sequence, after) = after.split_first_chunk()?;
                (name, rest) = (Some((client_id.to_vec(), u64::from_le_bytes(*sequence))), after);
            }
            let (length, after) = rest.split_first_chunk()?;
            let (command, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = after;
            outcomes.push(self.apply_one(name, command)?);
        }
        Some(outcomes)
    }

    fn apply_one(&mut self, name: Option<(Vec<u8>, u64)>, command: &[u8]) -> Option<Applied<Witness>> {
        self.position += 1;
        if let Some((client_id, sequence)) = &name
            && let Some((last, told)) = self.sessions.get(client_id)
        {
            if sequence < last {
                return Some(Err(*last));
            }
            if sequence == last {
                return Some(Ok(told.clone()));
            }
        }
        let told: Told = (self.position, self.time, codec::decode(command).ok()?);
        if let Some((client_id, sequence)) = name {
            self.sessions.insert(client_id, (sequence, told.clone()));
        }
        Some(Ok(told))
    }
}
