//! An application as the storage sees it: one type, whatever it is.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage_leveldb::{StateReader, StorageError};

use super::batch::{Batch, Command};
use super::digest::Digest;
use super::effects::Effects;
use super::in_force::InForce;
use super::outcome::{Outcome, Outcomes};
use super::place::{Meta, Place};
use super::time::Clock;
use super::trail::{Checkpoint, Trail};
use super::{Application, At, Transaction, View, session};
use crate::raft::TypeConfig;

/// A query on its way to the state: what it finds comes back as it is, to the caller, which knows
/// its type.
pub(crate) type Ask =
    Box<dyn FnOnce(&mut storage_leveldb::View<'_>) -> Result<Box<dyn Any + Send>, StorageError> + Send>;

/// An application without its types.
pub(crate) trait Host: Send + Sync {
    /// Applies an encoded command; answers the encoded response, and what of it is to be
    /// remembered.
    fn apply(&self, txn: Effects<'_, '_>, at: At, command: &[u8]) -> Result<Bytes, StorageError>;

    /// What is to be remembered of an encoded response.
    fn remembered(&self, response: &Bytes) -> Result<Bytes, StorageError>;

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError>;

    /// Answers an encoded query.
    fn query(&self, view: &mut storage_leveldb::View<'_>, query: &[u8]) -> Result<Bytes, StorageError>;

    /// Whether every node can apply an encoded command that comes from elsewhere; answers the
    /// first schema that it needs. To be asked before it is proposed: an entry that cannot be
    /// applied stops every node, at every start.
    ///
    /// # Errors
    /// Why not.
    fn check_command(&self, command: &[u8]) -> Result<u32, String>;

    /// Whether an encoded query may have to wait for the disk.
    fn is_long(&self, query: &[u8]) -> bool;

    /// Of this program.
    fn schema(&self) -> u32;

    /// The application's own revision.
    fn revision(&self, view: &mut storage_leveldb::View<'_>) -> Result<Option<u64>, StorageError>;

    /// The state goes on as a new cluster.
    fn restored(&self, txn: &mut storage_leveldb::Transaction<'_>, ahead: u64) -> Result<(), StorageError>;
}

/// The host of an application of these types.
pub(crate) struct Typed<A>(pub(crate) Arc<A>);

impl<A: Application> Host for Typed<A> {
    fn apply(&self, txn: Effects<'_, '_>, at: At, command: &[u8]) -> Result<Bytes, StorageError> {
        let command = codec::decode(command).map_err(|e| {
            StorageError::corrupt(format!(
                "a command cannot be read: {e}; was its type changed in another way than the guide's page on that permits? SCHEMA is {}",
                A::SCHEMA
            ))
        })?;
        let response = self.0.apply(&mut Transaction::new(txn), at, command)?;
        Ok(encoded_response(&response))
    }

    fn remembered(&self, response: &Bytes) -> Result<Bytes, StorageError> {
        // One that cannot be read back is remembered whole: its client is told, and nothing else is
        // stopped.
        let Ok(decoded) = codec::decode(response) else { return Ok(response.clone()) };
        Ok(encoded_response(&A::remembered(decoded)))
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        let merged = match (self.0.merge_operator(), Place::of(key)) {
            (Some(operator), Some(Place::Application(key))) => operator.merge(key, older, operand),
            _ => Err("the application does not say how: see `Application::merge_operator`".to_owned()),
        };
        merged.map_err(|e| StorageError::corrupt(format!("merging into {}: {e}", key.escape_ascii())))
    }

    fn query(&self, view: &mut storage_leveldb::View<'_>, query: &[u8]) -> Result<Bytes, StorageError> {
        let query = codec::decode(query)
            .map_err(|e| StorageError::corrupt(format!("a query cannot be read: {e}")))?;
        Ok(as_sent(&self.0.query(&mut View::new(view), query)?)?.0)
    }

    fn check_command(&self, command: &[u8]) -> Result<u32, String> {
        unless_it_panics(|| codec::decode(command).map(|command| A::since(&command)))?
            .map_err(|e| e.to_string())
    }

    fn is_long(&self, query: &[u8]) -> bool {
        // What cannot be read is refused where it is answered.
        let read = || codec::decode(query).map_or(true, |query| A::is_long(&query));
        unless_it_panics(read).unwrap_or(true)
    }

    fn schema(&self) -> u32 {
        A::SCHEMA
    }

    fn revision(&self, view: &mut storage_leveldb::View<'_>) -> Result<Option<u64>, StorageError> {
        self.0.revision(&mut View::new(view))
    }

    fn restored(&self, txn: &mut storage_leveldb::Transaction<'_>, ahead: u64) -> Result<(), StorageError> {
        // Other members of the new cluster get the state with the digest that it has then.
        let mut uncounted = Digest::default();
        self.0.restored(&mut Transaction::new(Effects::new(txn, &mut uncounted)), ahead)
    }
}

/// Calls what an author wrote, on a task that others depend on.
///
/// # Errors
/// It panicked.
pub(crate) fn unless_it_panics<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let said = panic.downcast_ref::<&str>().copied();
        let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        format!("the application panicked: {}", said.unwrap_or("it did not say why"))
    })
}

/// The command is applied, and the node need not stop because its response cannot be encoded: it is
/// nothing then, which cannot be read back either, and so its client is told.
fn encoded_response(response: &impl Serialize) -> Bytes {
    codec::encode(response).map(Bytes::from).unwrap_or_else(|e| {
        tracing::debug!("a command was applied, and its response cannot be encoded: {e}");
        Bytes::new()
    })
}

/// An answer encoded, and as it is read back from that: the same for the node that ran the query as
/// for one that asked it. Whatever fails of this concerns the one query.
pub(crate) fn as_sent<T: Serialize + DeserializeOwned>(answer: &T) -> Result<(Bytes, T), StorageError> {
    let failed =
        |what: &str, e: &dyn std::fmt::Display| StorageError::UnsendableAnswer(format!("{what}: {e}"));
    let bytes = codec::encode(answer).map_err(|e| failed("encoded", &e))?;
    let read = codec::decode(&bytes).map_err(|e| failed("read back from its encoding", &e))?;
    Ok((bytes.into(), read))
}

/// How far the application is, from what is stored about it.
pub(super) fn meta_of(stored: Option<&[u8]>) -> Result<Meta, StorageError> {
    match stored {
        None => Ok(Meta::default()),
        Some(bytes) => Meta::decode(bytes)
            .ok_or_else(|| StorageError::corrupt("how far it is cannot be read".to_owned())),
    }
}

/// The digest of the state that there is now.
pub(crate) async fn stored_checkpoint(
    reader: &StateReader<TypeConfig, Hosted>,
) -> Result<Checkpoint, StorageError> {
    let found = reader.query(Box::new(|view| {
        let digest = meta_of(view.get(&Meta::KEY)?.as_deref())?.digest;
        Ok(Box::new(Checkpoint { index: view.applied_index(), digest }))
    }));
    let found = found.await?.downcast();
    found
        .map(|checkpoint| *checkpoint)
        .map_err(|_| StorageError::corrupt("an answer of another type".to_owned()))
}

/// Asks how far the application is.
pub(crate) fn stored_meta() -> Ask {
    Box::new(|view| Ok(Box::new(meta_of(view.get(&Meta::KEY)?.as_deref())?)))
}

/// What came back.
pub(crate) fn meta_found(found: Box<dyn Any + Send>) -> Meta {
    debug_assert!(found.is::<Meta>(), "the answer to `stored_meta`");
    found.downcast().map_or_else(|_| Meta::default(), |meta| *meta)
}

/// What the storage calls.
#[derive(Clone)]
pub(crate) struct Hosted {
    host: Arc<dyn Host>,
    clock: Arc<Clock>,
    in_force: Arc<InForce>,
    applied_bytes: Arc<AtomicU64>,
    trail: Arc<Trail>,
}

impl Hosted {
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        let in_force = Arc::new(InForce::new(host.schema()));
        Self {
            host,
            clock: Arc::new(Clock::new()),
            in_force,
            applied_bytes: Arc::default(),
            trail: Arc::default(),
        }
    }

    pub(crate) fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// The time for the next entry, if this node leads.
    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Which schema is in force.
    pub(crate) fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    /// This is how far the state is that was found at the start.
    ///
    /// # Errors
    /// Its latest schema, if this program is too old for it.
    pub(crate) fn found(&self, meta: Meta) -> Result<(), u32> {
        self.clock.applied(meta.time);
        self.in_force.applied(meta.schema, meta.position);
        if meta.schema > self.in_force.own() { Err(meta.schema) } else { Ok(()) }
    }

    /// Bytes of all batches applied since the start.
    pub(crate) fn applied_bytes(&self) -> &Arc<AtomicU64> {
        &self.applied_bytes
    }

    /// The digests at the last entries.
    pub(crate) fn trail(&self) -> &Arc<Trail> {
        &self.trail
    }

    fn apply_one(
        &self,
        txn: &mut Effects<'_, '_>,
        at: At,
        command: &Command,
    ) -> Result<Outcome, StorageError> {
        session::sweep(txn, at.position)?;
        let Some(id) = at.request_id else {
            let response = self.host.apply(txn.reborrow(), at, &command.bytes)?;
            txn.answered(&response);
            return Ok(Outcome::Applied(response));
        };
        if let Some(outcome) = session::settled(txn, at.position, &id)? {
            return Ok(outcome);
        }
        let response = self.host.apply(txn.reborrow(), at, &command.bytes)?;
        txn.answered(&response);
        session::remember(txn, at.position, &id, self.host.remembered(&response)?)?;
        Ok(Outcome::Applied(response))
    }
}

impl storage_leveldb::Application<TypeConfig> for Hosted {
    type Query = Ask;
    type Answer = Box<dyn Any + Send>;

    fn apply(
        &self,
        txn: &mut storage_leveldb::Transaction<'_>,
        index: u64,
        batch: &Batch,
    ) -> Result<Outcomes, StorageError> {
        let (stamp, commands) = batch.open().map_err(|e| StorageError::corrupt(e.to_string()))?;
        let own = self.in_force.own();
        if stamp.schema > own {
            return Err(StorageError::corrupt(format!(
                "log entry {index} has schema {}, and this program understands schemas up to {own}: start this node with the \
                 newer program; nothing is lost",
                stamp.schema
            )));
        }
        let mut meta = meta_of(txn.get(&Meta::KEY)?.as_deref())?;
        // Of a leader that was elected while its clock, or what it knew, was behind.
        meta.time = meta.time.max(stamp.time);
        meta.schema = meta.schema.max(stamp.schema);
        let before = (meta.digest, meta.position);
        meta.digest.entry(index, meta.position, meta.time, meta.schema);
        let mut effects = Effects::new(txn, &mut meta.digest);
        let mut outcomes = Vec::new();
        for command in commands {
            let command = command.map_err(|e| StorageError::corrupt(e.to_string()))?;
            meta.position += 1;
            let (position, time, schema) = (meta.position, meta.time, meta.schema);
            let at = At { position, time, schema, request_id: command.request_id };
            note(index, &at, &command);
            outcomes.push(self.apply_one(&mut effects, at, &command)?);
        }
        txn.put(&Meta::KEY, &meta.encode());
        self.trail.note(before, Checkpoint { index, digest: meta.digest }, meta.position);
        self.clock.applied(meta.time);
        self.in_force.applied(meta.schema, meta.position);
        self.applied_bytes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(Outcomes(outcomes))
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.host.merge(key, older, operand)
    }

    fn query(
        &self,
        view: &mut storage_leveldb::View<'_>,
        ask: Ask,
    ) -> Result<Box<dyn Any + Send>, StorageError> {
        ask(view)
    }
}

/// Every node writes this line. The entry does not carry its trace: the index, and the write's
/// name, lead to the line of the leader that has it.
fn note(index: u64, at: &At, command: &Command) {
    tracing::debug!(
        event.action = "apply",
        log_index = index,
        client_id = at.request_id.map(|id| id.client_hex()),
        sequence = at.request_id.map(|id| id.sequence),
        "applying a command of {} bytes",
        command.bytes.len()
    );
}
