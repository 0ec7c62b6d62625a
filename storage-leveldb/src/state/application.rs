//! What an application implements, and the type configurations it may use.

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{DefaultEntryOf, EntryPayloadOf};

use super::transaction::Transaction;
use super::view::View;
use crate::error::StorageError;

/// A replicated application: how it changes its pairs, and how it reads them.
///
/// Everything else comes with [`StateMachine`](super::StateMachine): durability, snapshots, restart. Keys are
/// the application's own; it shares the database with nobody it could collide with.
pub trait Application<C: RaftTypeConfig>: Send + Sync + 'static {
    /// What can be asked.
    type Query: Send + 'static;
    /// What is answered.
    type Answer: Send + 'static;

    /// Applies one committed command.
    ///
    /// Called in log order, on every member, and again after a crash for entries whose effects were lost
    /// with it: so it depends on nothing but the transaction, `index` and the command. `index` is the
    /// entry's log index; it grows, but not always by one.
    ///
    /// # Errors
    /// What the transaction answered, or a [`Fault`](crate::Fault) that says what it read and cannot understand. The command
    /// is committed and cannot be refused, so an error is latched as a fault of the storage and stops the node; a
    /// command that makes no sense is answered with a response that says so.
    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        index: u64,
        command: &C::D,
    ) -> Result<C::R, StorageError>;

    /// Answers a query from the state as it is.
    ///
    /// # Errors
    /// What the view answered, or a [`Fault`](crate::Fault) that says what it read and cannot understand; it is latched.
    fn query(&self, view: &mut View<'_>, query: Self::Query) -> Result<Self::Answer, StorageError>;
}

/// Type configurations whose entries carry openraft's own payload: what `declare_raft_types!` gives.
///
/// Responses need a default: it answers the entries that carry no command.
pub trait StandardTypes:
    RaftTypeConfig<Payload = EntryPayloadOf<Self>, Entry = DefaultEntryOf<Self>, R: Default, D: Clone>
{
}

impl<C> StandardTypes for C where
    C: RaftTypeConfig<Payload = EntryPayloadOf<C>, Entry = DefaultEntryOf<C>, R: Default, D: Clone>
{
}
