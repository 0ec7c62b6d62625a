//! What an engine should hold: a map.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::engine::{Batch, Engine, Op};
use crate::scan::{KeyRange, ScanLimit};

/// No limit.
pub(super) const EVERYTHING: ScanLimit = ScanLimit { pairs: usize::MAX, bytes: usize::MAX };

/// Pairs in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model(BTreeMap<Vec<u8>, Bytes>);

impl Model {
    pub(super) fn apply(&mut self, batch: &Batch) {
        for op in batch.ops() {
            match op {
                Op::Put(key, value) => self.0.insert(key.clone(), value.clone()),
                Op::Delete(key) => self.0.remove(key),
            };
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.0.get(key)
    }

    pub(super) fn scan(&self, range: &KeyRange, limit: ScanLimit) -> Vec<(Bytes, Bytes)> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for (key, value) in self.0.iter().filter(|(key, _)| range.contains(key)) {
            bytes += key.len() + value.len();
            found.push((Bytes::copy_from_slice(key), value.clone()));
            if limit.is_reached(found.len(), bytes) {
                break;
            }
        }
        found
    }

    pub(super) fn pairs(&self) -> Vec<(Bytes, Bytes)> {
        self.scan(&KeyRange::all(), EVERYTHING)
    }
}

/// Everything in an engine.
#[allow(clippy::expect_used, reason = "a check fails by panicking")]
pub(super) fn everything(engine: &mut dyn Engine) -> Vec<(Bytes, Bytes)> {
    engine.scan(&KeyRange::all(), EVERYTHING).expect("a scan")
}

/// A batch that puts these pairs.
pub(super) fn puts<K: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (K, V)>) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in pairs {
        batch.put(key.as_ref().to_vec(), Bytes::copy_from_slice(value.as_ref()));
    }
    batch
}
