//! An application whose answers are written down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::RaftTypeConfig;

use crate::error::StorageError;
use crate::lsm::{Transaction, View};
use crate::raft::Application;

/// Encoded answers by log index. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Answers {
    pub(crate) fn take(&self) -> BTreeMap<u64, Vec<u8>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self, index: u64, answer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(index, answer);
    }
}

/// Does what `A` does.
pub(crate) struct Recorded<A> {
    pub(crate) inner: A,
    pub(crate) answers: Answers,
    pub(crate) merges_at_once: bool,
}

impl<C: RaftTypeConfig, A: Application<C>> Application<C> for Recorded<A> {
    type Query = A::Query;
    type Answer = A::Answer;

    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        index: u64,
        command: &C::D,
    ) -> Result<C::R, StorageError> {
        if self.merges_at_once {
            transaction.merge_at_once();
        }
        let answer = self.inner.apply(transaction, index, command)?;
        // What cannot be encoded has no bytes to differ in.
        self.answers.record(index, codec::encode(&answer).unwrap_or_default());
        Ok(answer)
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.inner.merge(key, older, operand)
    }

    fn query(&self, view: &mut View<'_>, query: A::Query) -> Result<A::Answer, StorageError> {
        self.inner.query(view, query)
    }
}
