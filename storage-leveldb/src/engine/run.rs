//! Sorted runs: pairs that are written once, in key order, and from then on only read, by many threads at a time.
//!
//! The state machine is made of them. Every engine can make and read runs by the means of [`Engine`] alone; an engine that
//! can do it faster says so in [`EngineFactory`](super::EngineFactory).

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::{Batch, Durability, Engine, EngineFactory, KeyRange, ScanLimit};
use crate::error::StorageError;

/// Pairs are handed to an engine in batches of this size.
const BATCH_BYTES: usize = 1024 * 1024;
/// Reads that wait for the thread of a [`ServedRun`]; more wait for room.
const QUEUE_READS: usize = 64;

/// A complete run. Its content never changes.
///
/// # Contract
/// As for the reads of an [`Engine`]: keys in the order of their bytes, and an answer is right or an error.
pub trait Run: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// A fault; never because the key is missing.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there is one.
    ///
    /// # Errors
    /// A fault; never a shorter answer.
    fn scan(&self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError>;
}

/// A run being written. Dropped before it is finished, it leaves files that mean nothing.
pub trait RunWriter {
    /// Adds a pair. Keys come in strictly ascending order.
    ///
    /// # Errors
    /// A fault; the run is then given up.
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError>;

    /// Completes the run. It is durable, its names included, when this returns.
    ///
    /// # Errors
    /// A fault.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// Writes a run into any engine.
pub(super) struct EngineRunWriter {
    engine: Box<dyn Engine>,
    batch: Batch,
}

impl EngineRunWriter {
    pub(super) fn new(engine: Box<dyn Engine>) -> Self {
        Self { engine, batch: Batch::default() }
    }
}

impl RunWriter for EngineRunWriter {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.batch.put(key.to_vec(), Bytes::copy_from_slice(value));
        if self.batch.bytes() < BATCH_BYTES {
            return Ok(());
        }
        self.engine.write(std::mem::take(&mut self.batch), Durability::Ordered)
    }

    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        self.engine.write(std::mem::take(&mut self.batch), Durability::Synced)
    }
}

/// A request, and where its answer goes.
enum Read {
    Get(Bytes, Reply<Option<Bytes>>),
    Scan(KeyRange, ScanLimit, Reply<Vec<(Bytes, Bytes)>>),
}

type Reply<T> = SyncSender<Result<T, StorageError>>;

/// A run in any engine, which a thread of its own reads, one request after the other. Dropping this ends the thread and
/// waits for it, so that the engine is closed when the drop returns.
pub(super) struct ServedRun {
    sender: Option<SyncSender<Read>>,
    thread: Option<JoinHandle<()>>,
}

impl ServedRun {
    pub(super) fn open<F: EngineFactory + ?Sized>(factory: Arc<F>, dir: &Path) -> Result<Self, StorageError> {
        let dir = dir.to_owned();
        let (sender, queue) = sync_channel(QUEUE_READS);
        let (opened, wait) = sync_channel(1);
        // The engine never leaves the thread that opens it.
        let serve = move || match factory.open(&dir) {
            Ok(engine) => {
                if opened.send(Ok(())).is_ok() {
                    serve(engine, &queue);
                }
            }
            // Nobody to tell if the opener is gone.
            Err(e) => drop(opened.send(Err(e))),
        };
        let thread = thread::Builder::new().name("run".to_owned()).spawn(serve).map_err(|e| {
            tracing::error!(error = %e, "cannot start a thread for a run");
            StorageError::Closed
        })?;
        let this = Self { sender: Some(sender), thread: Some(thread) };
        wait.recv().map_err(|_| StorageError::Closed)??;
        Ok(this)
    }

    fn ask<T>(&self, read: impl FnOnce(Reply<T>) -> Read) -> Result<T, StorageError> {
        let (done, answer) = sync_channel(1);
        let sender = self.sender.as_ref().ok_or(StorageError::Closed)?;
        sender.send(read(done)).map_err(|_| StorageError::Closed)?;
        answer.recv().map_err(|_| StorageError::Closed)?
    }
}

fn serve(mut engine: Box<dyn Engine>, queue: &Receiver<Read>) {
    for read in queue {
        // Whoever asked may have gone away.
        match read {
            Read::Get(key, done) => drop(done.send(engine.get(&key))),
            Read::Scan(range, limit, done) => drop(done.send(engine.scan(&range, limit))),
        }
    }
}

impl Drop for ServedRun {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Run for ServedRun {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.ask(|done| Read::Get(Bytes::copy_from_slice(key), done))
    }

    fn scan(&self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.ask(|done| Read::Scan(range.clone(), limit, done))
    }
}
