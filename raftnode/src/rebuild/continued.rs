//! The application while its state is made that of a new cluster.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use storage_leveldb::{StorageError, Transaction, View};

use crate::application::{Ask, Batch, Hosted, Outcomes, move_ahead};
use crate::raft::TypeConfig;

/// Applies entries of the old cluster as the application does, and those behind them as steps of
/// moving the state ahead. Clones are the same.
#[derive(Clone)]
pub(super) struct Continued {
    hosted: Hosted,
    /// The first entry that is a step; none of the old cluster comes after it.
    steps_from: Arc<AtomicU64>,
    is_ahead: Arc<AtomicBool>,
}

impl Continued {
    pub(super) fn new(hosted: Hosted) -> Self {
        Self { hosted, steps_from: Arc::new(AtomicU64::new(u64::MAX)), is_ahead: Arc::default() }
    }

    pub(super) fn hosted(&self) -> &Hosted {
        &self.hosted
    }

    pub(super) fn begin_steps(&self, index: u64) {
        self.steps_from.store(index, Ordering::Release);
    }

    /// The last step has been taken.
    pub(super) fn is_ahead(&self) -> bool {
        self.is_ahead.load(Ordering::Acquire)
    }
}

impl storage_leveldb::Application<TypeConfig> for Continued {
    type Query = Ask;
    type Answer = Box<dyn Any + Send>;

    fn apply(&self, txn: &mut Transaction<'_>, index: u64, batch: &Batch) -> Result<Outcomes, StorageError> {
        if index < self.steps_from.load(Ordering::Acquire) {
            return storage_leveldb::Application::apply(&self.hosted, txn, index, batch);
        }
        if !self.is_ahead() {
            self.is_ahead.store(move_ahead(txn, &**self.hosted.host())?, Ordering::Release);
        }
        Ok(Outcomes::default())
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        storage_leveldb::Application::merge(&self.hosted, key, older, operand)
    }

    fn query(&self, view: &mut View<'_>, ask: Ask) -> Result<Box<dyn Any + Send>, StorageError> {
        ask(view)
    }
}
