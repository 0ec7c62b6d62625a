//! What writers were promised about each key, and whether a read keeps the promise.
//!
//! Every pair carries the log index of its write (`mod_revision`), and every acknowledgement names
//! the same index. So the order of all writes is known, and checking a read needs no search over
//! histories.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use kvcli::ClientError;
use proto::kv::v1::Pair;

use super::{Pause, State};

/// One write: a value, or a delete.
pub type Write = Option<Bytes>;

/// What is known about one key. Invariant: no value is written twice.
#[derive(Debug, Default)]
struct KeyHistory {
    /// The acknowledged write with the greatest revision.
    acked: Option<(u64, Write)>,
    /// The greatest `mod_revision` any read has shown.
    seen: u64,
    /// May have been applied, or may be applied yet.
    unknown: Vec<Write>,
    /// The client was told that these were not applied.
    refused: HashSet<Write>,
    /// Deletes begun, whatever became of them.
    deletes: u64,
}

/// The promises about a set of keys. Shared by writers and readers.
#[derive(Debug)]
pub struct Ledger {
    keys: Vec<(Bytes, Mutex<KeyHistory>)>,
    acked: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    reads: AtomicU64,
    pub pause: Pause,
}

impl Ledger {
    pub fn new(keys: impl IntoIterator<Item = Bytes>) -> Self {
        let keys = keys.into_iter().map(|key| (key, Mutex::default())).collect();
        let count = || AtomicU64::new(0);
        Self { keys, acked: count(), unknown: count(), refused: count(), reads: count(), pause: Pause::new() }
    }

    pub fn key(&self, index: usize) -> Bytes {
        self.keys[index].0.clone()
    }

    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.iter().map(|(key, _)| key)
    }

    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Writes whose outcome is not known.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Writes that failed and were not applied.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// A writer is about to write.
    pub fn started(&self, key: usize, write: &Write) {
        let mut history = self.keys[key].1.lock().unwrap();
        history.deletes += u64::from(write.is_none());
    }

    /// How it ended: the revision, or an error.
    pub fn ended(&self, key: usize, write: Write, outcome: Result<u64, &ClientError>) {
        let (name, history) = &self.keys[key];
        let mut history = history.lock().unwrap();
        match outcome {
            Ok(revision) => {
                // A delete that finds nothing, before anything was written, changes nothing.
                assert!(revision > 0 || write.is_none(), "an acknowledgement without a revision");
                if history.acked.as_ref().is_none_or(|(newest, _)| *newest < revision) {
                    history.acked = Some((revision, write));
                }
                self.acked.fetch_add(1, Ordering::Relaxed);
                self.pause.success();
            }
            Err(ClientError::OutcomeUnknown { .. }) => {
                history.unknown.push(write);
                self.unknown.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if says_not_applied(error) => {
                // One delete is like another: only values can be told apart.
                history.refused.extend(write.is_some().then_some(write));
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(other) => panic!("a good write to {name:?} was refused: {other}"),
        }
    }

    /// The oldest revision a read that starts now may show.
    pub fn floor(&self, key: usize) -> u64 {
        let history = self.keys[key].1.lock().unwrap();
        history.acked.as_ref().map_or(0, |(revision, _)| *revision).max(history.seen)
    }

    /// Judges a linearizable read that began when the floor was `floor`.
    pub fn check_read(&self, key: usize, floor: u64, pair: Option<&Pair>) -> Result<(), String> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let (name, history) = &self.keys[key];
        let mut history = history.lock().unwrap();
        let Some(pair) = pair else {
            let explained = floor == 0 || history.deletes > 0;
            return if explained { Ok(()) } else { Err(format!("{name:?} is gone, and nobody deleted it")) };
        };
        if pair.mod_revision < floor {
            return Err(format!("{name:?} went back from revision {floor} to {}", pair.mod_revision));
        }
        history.seen = history.seen.max(pair.mod_revision);
        history.check_value(pair).map_err(|e| format!("{name:?}: {e}"))
    }

    /// Whether `state`, in which nothing moves any more, is what was promised; else what is not.
    pub fn check_final(&self, state: &State) -> Result<(), String> {
        for (name, history) in &self.keys {
            let history = history.lock().unwrap();
            let kept = history.check_final(state.get(name));
            kept.map_err(|broken| {
                format!("a promise about {name:?} was broken: {broken}; history: {history:?}")
            })?;
        }
        Ok(())
    }

    /// Fails the test unless every promise was kept.
    pub fn assert_kept(&self, state: &State) {
        self.check_final(state).unwrap_or_else(|broken| panic!("{broken}"));
        println!(
            "{} keys: {} writes acknowledged, {} of unknown outcome, {} not applied, {} reads checked",
            self.keys.len(),
            self.acked(),
            self.unknown(),
            self.refused(),
            self.reads()
        );
    }
}

/// Whether a good request could not be served for want of a leader, or because every node has a
/// full disk.
pub fn says_not_applied(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused { failure, .. } => failure.to_string().contains("disk full on node"),
        _ => false,
    }
}

impl KeyHistory {
    fn check_value(&self, pair: &Pair) -> Result<(), String> {
        let value = Some(pair.value.clone());
        if self.refused.contains(&value) {
            return Err(format!(
                "revision {} shows a write that was said not to be applied",
                pair.mod_revision
            ));
        }
        match &self.acked {
            Some((revision, acked)) if *revision == pair.mod_revision && *acked != value => {
                Err(format!("revision {revision} was acknowledged with another value"))
            }
            _ => Ok(()),
        }
    }

    fn check_final(&self, pair: Option<&Pair>) -> Result<(), String> {
        let value = pair.map(|pair| pair.value.clone());
        let maybe = self.unknown.contains(&value);
        let (revision, acked) = match &self.acked {
            Some((revision, acked)) => (*revision, acked.clone()),
            None => (0, None),
        };
        let Some(pair) = pair else {
            return if acked.is_none() || maybe {
                Ok(())
            } else {
                Err(format!("revision {revision} is lost"))
            };
        };
        match pair.mod_revision.cmp(&revision) {
            std::cmp::Ordering::Less => {
                Err(format!("revision {revision} is lost, {} is there", pair.mod_revision))
            }
            std::cmp::Ordering::Greater if !maybe => {
                Err(format!("revision {} was written by nobody", pair.mod_revision))
            }
            _ if pair.mod_revision < self.seen => Err(format!("revision {} was read and is lost", self.seen)),
            _ => self.check_value(pair),
        }
    }
}
