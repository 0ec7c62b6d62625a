//! Writers and readers that run while a test does its worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kvcli::{Client, ClientError, ReadMode};
use tokio::task::JoinSet;

use super::ledger::says_not_applied;
use super::{Dice, Ledger, wait};

/// How long a writer may take to end once asked: longer than its operation's own timeout.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// A reader that was answered at once rests, so that reads do not crowd out writes.
const READ_PAUSE: Duration = Duration::from_millis(2);

/// Who runs, on how many keys.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    pub writers: usize,
    pub readers: usize,
    /// Of each writer, written by no other writer.
    pub own_keys: usize,
    /// Written by every writer.
    pub shared_keys: usize,
    pub value_bytes: usize,
    /// One write in this many is a delete; 0: none.
    pub deletes_every: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { writers: 16, readers: 4, own_keys: 8, shared_keys: 8, value_bytes: 64, deletes_every: 16 }
    }
}

/// A running load. Each writer has a session of its own.
pub struct Load {
    pub ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    pub fn start(client: &Client, options: LoadOptions, dice: &mut Dice) -> Self {
        let own = |w: usize| (0..options.own_keys).map(move |k| format!("writer-{w:03}/key-{k:03}"));
        let shared = (0..options.shared_keys).map(|k| format!("shared/key-{k:03}"));
        let keys = (0..options.writers).flat_map(own).chain(shared).map(Bytes::from);
        let ledger = Arc::new(Ledger::new(keys));
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for id in 0..options.writers {
            let writer =
                Writer { id, client: client.clone(), ledger: ledger.clone(), options, dice: dice.fork() };
            tasks.spawn(writer.run(stop.clone()));
        }
        for _ in 0..options.readers {
            tasks.spawn(read(client.clone(), ledger.clone(), dice.fork(), stop.clone()));
        }
        Self { ledger, stop, tasks }
    }

    /// Waits until this many more writes have been acknowledged.
    pub async fn progress(&mut self, writes: u64, within: Duration) {
        let wanted = self.ledger.acked() + writes;
        wait::until("writes go on", within, async || {
            self.check();
            let acked = self.ledger.acked();
            wait::is(acked >= wanted, || format!("{acked} writes acknowledged, {wanted} wanted"))
        })
        .await;
    }

    /// Fails the test if a writer or reader has failed.
    pub fn check(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            ended.expect("a writer or reader found something wrong");
        }
    }

    /// Lets the operations under way end; fails the test if any writer or reader found something
    /// wrong.
    pub async fn stop(mut self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("a writer or reader found something wrong");
            }
        };
        tokio::time::timeout(STOP_TIMEOUT, all_ended).await.expect("every operation ends by its deadline");
        self.ledger.clone()
    }
}

struct Writer {
    id: usize,
    client: Client,
    ledger: Arc<Ledger>,
    options: LoadOptions,
    dice: Dice,
}

impl Writer {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        let mut sequence = 0;
        while !stop.load(Ordering::Relaxed) {
            sequence += 1;
            let key = self.key();
            let write = self.write(sequence);
            self.ledger.started(key, &write);
            let outcome = self.send(key, &write).await;
            self.ledger.ended(key, write, outcome.as_ref().copied());
        }
    }

    /// One write in four goes to a shared key.
    fn key(&mut self) -> usize {
        let LoadOptions { writers, own_keys, shared_keys, .. } = self.options;
        if shared_keys > 0 && (own_keys == 0 || self.dice.below(4) == 0) {
            return writers * own_keys + self.dice.below(shared_keys);
        }
        self.id * own_keys + self.dice.below(own_keys)
    }

    fn write(&mut self, sequence: u64) -> Option<Bytes> {
        let LoadOptions { deletes_every, value_bytes, .. } = self.options;
        if deletes_every > 0 && self.dice.next().is_multiple_of(deletes_every) {
            return None;
        }
        let mut value = format!("writer {} write {sequence} ", self.id).into_bytes();
        value.resize(value.len().max(value_bytes), b'.');
        Some(value.into())
    }

    async fn send(&self, key: usize, write: &Option<Bytes>) -> Result<u64, ClientError> {
        let key = self.ledger.key(key);
        let header = match write {
            Some(value) => self.client.put(key, value.clone()).await?.header,
            None => self.client.delete(key).await?.header,
        };
        Ok(header.map_or(0, |header| header.revision))
    }
}

async fn read(client: Client, ledger: Arc<Ledger>, mut dice: Dice, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let key = dice.below(ledger.key_count());
        let floor = ledger.floor(key);
        match client.get(ledger.key(key), ReadMode::Linearizable).await {
            Ok(answer) => ledger.check_read(key, floor, answer.pair.as_ref()).unwrap(),
            Err(error) if says_not_applied(&error) => {}
            Err(other) => panic!("a good read was refused: {other}"),
        }
        tokio::time::sleep(READ_PAUSE).await;
    }
}
