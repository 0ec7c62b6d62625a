//! An application whose answers are written down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;
use crate::state::{Application, StandardTypes, Transaction, View};
use crate::testing::inspected::Pairs;

/// Encoded answers by log index. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Answers {
    pub(super) fn take(&self) -> BTreeMap<u64, Vec<u8>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self, index: u64, answer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(index, answer);
    }
}

/// Applies what `A` applies; its only query answers all pairs.
pub(super) struct Recorded<A> {
    pub(super) inner: A,
    pub(super) answers: Answers,
}

impl<C: StandardTypes, A: Application<C>> Application<C> for Recorded<A> {
    type Query = ();
    type Answer = Pairs;

    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        index: u64,
        command: &C::D,
    ) -> Result<C::R, StorageError> {
        let answer = self.inner.apply(transaction, index, command)?;
        // What cannot be encoded has no bytes to differ in.
        self.answers.record(index, codec::encode(&answer).unwrap_or_default());
        Ok(answer)
    }

    fn query(&self, view: &mut View<'_>, (): ()) -> Result<Pairs, StorageError> {
        view.scan(KeyRange::all(), ScanLimit { pairs: usize::MAX, bytes: usize::MAX })
    }
}
