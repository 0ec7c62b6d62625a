//! An application whose pairs can all be seen.

use bytes::Bytes;
use openraft::RaftTypeConfig;

use crate::error::StorageError;
use crate::lsm::{Transaction, View};
use crate::raft::Application;
use crate::scan::KeyRange;

/// An application's keys and values, in key order.
pub(crate) type Pairs = Vec<(Bytes, Bytes)>;

/// Applies what `A` applies; its only query answers all pairs.
pub(crate) struct Inspected<A>(pub(crate) A);

impl<C: RaftTypeConfig, A: Application<C>> Application<C> for Inspected<A> {
    type Query = ();
    type Answer = Pairs;

    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        index: u64,
        command: &C::D,
    ) -> Result<C::R, StorageError> {
        self.0.apply(transaction, index, command)
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.0.merge(key, older, operand)
    }

    fn query(&self, view: &mut View<'_>, (): ()) -> Result<Pairs, StorageError> {
        view.scan(KeyRange::all()).collect()
    }
}
