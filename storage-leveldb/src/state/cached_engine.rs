//! An engine with a read cache in front, for the state machine's thread.

use std::path::Path;

use bytes::Bytes;

use super::cache::ReadCache;
use crate::engine::{Batch, Durability, Engine, KeyRange, ScanLimit};
use crate::error::StorageError;

/// Invariant: every write goes through this, so the cache knows of it.
pub(super) struct CachedEngine {
    engine: Box<dyn Engine>,
    cache: ReadCache,
}

impl CachedEngine {
    pub(super) fn new(engine: Box<dyn Engine>, cache_bytes: usize) -> Self {
        Self { engine, cache: ReadCache::new(cache_bytes) }
    }

    /// Goes on with another engine, of which nothing is known yet.
    pub(super) fn replace(&mut self, engine: Box<dyn Engine>) {
        self.engine = engine;
        self.cache.clear();
    }
}

impl Engine for CachedEngine {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        if let Some(known) = self.cache.get(key) {
            return Ok(known);
        }
        let value = self.engine.get(key)?;
        self.cache.insert(key.to_vec(), value.clone());
        Ok(value)
    }

    fn write(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        self.cache.write(&batch);
        self.engine.write(batch, durability).inspect_err(|_| self.cache.clear())
    }

    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.engine.scan(range, limit)
    }

    fn checkpoint(&mut self, to: &Path) -> Result<(), StorageError> {
        self.engine.checkpoint(to)
    }
}
