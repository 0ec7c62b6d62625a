//! What an application implements, and the type configurations it may use.

use std::sync::Arc;

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{DefaultEntryOf, EntryPayloadOf};

use crate::error::StorageError;
use crate::health::Fault;
use crate::lsm::merge_operator::MergeFunction;
use crate::lsm::transaction::Transaction;
use crate::lsm::view::View;

/// A replicated application: how it changes its pairs, and how it reads them.
///
/// Everything else comes with [`StateMachine`](super::StateMachine): durability, snapshots,
/// restart. All keys are the application's own: nothing else is stored under any of them.
///
/// A command has at most [`MAX_COMMAND_BYTES`](crate::command::MAX_COMMAND_BYTES) encoded and can be read
/// back from its encoding: [`check_command`](crate::check_command) says so before it is proposed.
pub trait Application<C: RaftTypeConfig>: Send + Sync + 'static {
    /// What can be asked.
    type Query: Send + 'static;
    /// What is answered.
    type Answer: Send + 'static;

    /// Applies one committed command.
    ///
    /// Called in log order, on every member, and again after a crash for entries whose effects were
    /// lost with it: so it depends on nothing but the transaction, `index` and the command. `index`
    /// is the entry's log index; it grows, but not always by one.
    ///
    /// # Errors
    /// What the transaction answered, or a [`Fault`](crate::Fault) that says what it read and
    /// cannot understand. The command is committed and cannot be refused, so an error is latched as
    /// a fault of the storage and stops the node; a command that makes no sense is answered with a
    /// response that says so. A panic stops the node in the same way, and would again at every
    /// start: entries are not skipped.
    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        index: u64,
        command: &C::D,
    ) -> Result<C::R, StorageError>;

    /// What a value becomes when `operand` is merged into it: for applications that call
    /// [`Transaction::merge`], which is how to change a value without waiting for it to be read.
    ///
    /// A counter adds its operands up, a set unites them, a log appends them; `kvnode` keeps the
    /// last value and adds up how often it was written.
    ///
    /// `older` is a value, or what was merged into the value before, as both come to the same: an
    /// operand that is merged into nothing *is* the value. Must be associative: `merge(merge(a, b),
    /// c)` is `merge(a, merge(b, c))`, as it is up to the storage, and differs from member to
    /// member, what is merged first. Called at any time, on any thread, maybe more than once: the
    /// result depends on nothing but the arguments. `testing::DeterminismTest` tests that.
    ///
    /// # Errors
    /// A [`Fault`](crate::Fault) that says what cannot be understood; it is latched.
    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        let (_, _) = (older, operand);
        let reason = format!(
            "something is merged into key {}, and the application does not say how",
            key.escape_ascii()
        );
        Err(Fault::application("state", reason).into())
    }

    /// Answers a query from the state as it is.
    ///
    /// # Errors
    /// What the view answered, or a [`Fault`](crate::Fault) that says what it read and cannot
    /// understand: that becomes [`StorageError::QueryFailed`]. A panic becomes
    /// [`StorageError::QueryPanicked`]. Neither is latched, or concerns another query.
    fn query(&self, view: &mut View<'_>, query: Self::Query) -> Result<Self::Answer, StorageError>;
}

/// Type configurations whose entries carry openraft's own payload: what `declare_raft_types!`
/// gives.
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

/// [`Application::merge`] of an application, for the tree.
pub(crate) fn merge_function<C: RaftTypeConfig, A: Application<C>>(application: &Arc<A>) -> MergeFunction {
    let application = application.clone();
    Arc::new(move |key, older, operand| application.merge(key, older, operand))
}
