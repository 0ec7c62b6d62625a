//! What an application is to its node: how a command changes its state, and how a query reads it.
//!
//! `Application` is what an author writes. `Hosted` makes of it what the storage calls, the same
//! type for every application: so consensus, storage and network are compiled once, here. A `Batch`
//! is what a Raft entry carries; `Session`s make each of its commands happen once. `Effects` count
//! all that is written in a `Digest`, and a `Trail` remembers it, so that nodes can compare what
//! they have applied.

mod ahead;
mod batch;
mod digest;
mod effects;
mod facts;
mod hosted;
mod in_force;
mod merge;
mod outcome;
mod place;
mod request_id;
mod session;
#[cfg(test)]
mod tests;
mod time;
mod trail;
mod transaction;
mod view;

pub use self::merge::MergeOperator;
pub use self::request_id::RequestId;
pub use self::time::ClusterTime;
pub use self::transaction::Transaction;
pub use self::view::View;
pub(crate) use ahead::{AHEAD, move_ahead};
pub(crate) use batch::{Batch, Command, Stamp};
pub(crate) use digest::Digest;
pub(crate) use effects::Effects;
pub(crate) use facts::{Facts, facts, facts_found};
pub(crate) use hosted::{
    Ask, Host, Hosted, Typed, as_sent, meta_found, stored_checkpoint, stored_meta, unless_it_panics,
};
pub(crate) use in_force::InForce;
pub(crate) use outcome::{Outcome, Outcomes};
pub(crate) use place::{Meta, Place};
#[cfg(test)]
pub(crate) use session::GENERATION_COMMANDS;
pub(crate) use session::{Session, generation};
pub(crate) use trail::{Checkpoint, MAX_CHECKPOINTS, Trail};
pub(crate) use view::{decoded, encoded};

use serde::Serialize;
use serde::de::DeserializeOwned;
use storage_leveldb::StorageError;

/// A replicated application: how a command changes its state, and how a query reads it.
///
/// The state is pairs of bytes, and only those: an application keeps nothing else that changes, in
/// memory or anywhere. What a [`Transaction`] writes is durable, in snapshots, and the same on
/// every member.
///
/// Commands and the rest are encoded without the names of their fields (`bincode`). Types must not
/// use serde's `tag`, `untagged`, `flatten` or `skip_serializing_if`: such a command is refused
/// before it is proposed.
pub trait Application: Send + Sync + 'static {
    /// To be raised by one when one of the four types, or what `apply` does, changes in a way that
    /// older programs do not understand. A program understands its own schema and all before it.
    /// Stamped into every entry; see [`At::schema`] and [`since`](Self::since).
    const SCHEMA: u32;

    /// What a client asks to be done.
    type Command: Serialize + DeserializeOwned + Send + 'static;
    /// What it is answered once that is done.
    type Response: Serialize + DeserializeOwned + Send + 'static;
    /// What can be asked.
    type Query: Serialize + DeserializeOwned + Send + 'static;
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Applies one committed command.
    ///
    /// Called in log order, on every member, and again after a crash for commands whose effects
    /// were lost with it: so it depends on nothing but its arguments. No clock but `at`, no random
    /// numbers, no order of a `HashMap`, no counters outside the transaction.
    ///
    /// # Errors
    /// What the transaction answered, or a fault that says what it read and cannot understand. The
    /// command is committed and cannot be refused, so an error stops the node; a command that makes
    /// no sense is answered with a response that says so. A panic stops the node in the same way,
    /// and would again at every start.
    fn apply(
        &self,
        txn: &mut Transaction<'_, '_>,
        at: At,
        command: Self::Command,
    ) -> Result<Self::Response, StorageError>;

    /// Answers a query from the state as it is. An error or a panic is answered to the caller,
    /// and concerns no other query.
    ///
    /// # Errors
    /// What the view answered, or what it read and cannot understand.
    fn query(&self, view: &mut View<'_, '_>, query: Self::Query) -> Result<Self::Answer, StorageError>;

    /// How values are merged, for an application that calls [`Transaction::merge`].
    fn merge_operator(&self) -> Option<&dyn MergeOperator> {
        None
    }

    /// Whether a query may read more than a few pairs: it is then run where it holds nothing else
    /// up while it waits for the disk.
    fn is_long(query: &Self::Query) -> bool {
        let _ = query;
        true
    }

    /// The first [`SCHEMA`](Self::SCHEMA) whose programs understand this command. It is refused, not
    /// applied, as long as a member runs an older program; so a cluster is upgraded node by node
    /// while it runs.
    fn since(command: &Self::Command) -> u32 {
        let _ = command;
        0
    }

    /// What is remembered of a response, to be answered again when the client repeats the write. An
    /// application whose responses can be large leaves out here what a client can do without.
    fn remembered(response: Self::Response) -> Self::Response {
        response
    }

    /// A number that clients know the state by, besides [`At::position`]: shown in the header of a
    /// backup. None unless the application keeps one.
    ///
    /// # Errors
    /// What the view answered, or what it read and cannot understand.
    fn revision(&self, view: &mut View<'_, '_>) -> Result<Option<u64>, StorageError> {
        let _ = view;
        Ok(None)
    }

    /// The state goes on as a new cluster, after a restore or a recovery
    /// ([`rebuild`](crate::rebuild)): clients may have seen more of its history than it has. Called
    /// once, before anything else is applied. An application that counts something which clients
    /// remember raises it by `ahead` here, so that no number is seen again with other content;
    /// [`At::position`] has been raised as much.
    ///
    /// # Errors
    /// What the transaction answered, or what it read and cannot understand: there is no new
    /// cluster then.
    fn restored(&self, txn: &mut Transaction<'_, '_>, ahead: u64) -> Result<(), StorageError> {
        let (_, _) = (txn, ahead);
        Ok(())
    }
}

/// Where in the history of its cluster a command is applied. The same on every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Which command it is, of all that ever came: it rises, and not always by one, as a command
    /// that comes again under its request id has a position and is not applied.
    pub position: u64,
    /// When it was proposed.
    pub time: ClusterTime,
    /// The schema that was in force: every member's program has this
    /// [`SCHEMA`](Application::SCHEMA) or a later one. It never goes back. What `apply` does
    /// differently from some schema on, it does where this is that schema or a later one.
    pub schema: u32,
    /// The name that its client gave it, if it did.
    pub request_id: Option<RequestId>,
}

/// Where tests elsewhere find what is stored.
#[cfg(test)]
pub(crate) fn meta_key() -> Vec<u8> {
    Meta::KEY.to_vec()
}

/// Where tests elsewhere find what is stored.
#[cfg(test)]
pub(crate) fn session_key(generation: u64) -> Vec<u8> {
    place::session(generation, &[1; 16])
}
