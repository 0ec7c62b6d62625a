//! One call after the other: get, write, close and open.

#![allow(clippy::expect_used, reason = "a check fails by panicking")]

use std::path::Path;

use bytes::Bytes;

use super::model::{everything, puts};
use super::{DIR, open, open_at};
use crate::engine::{Batch, Durability, Engine, EngineFactory};

fn write(engine: &mut dyn Engine, batch: Batch) {
    engine.write(batch, Durability::Ordered).expect("a write");
}

fn get(engine: &mut dyn Engine, key: &[u8]) -> Option<Bytes> {
    engine.get(key).expect("a get")
}

pub(super) fn a_new_engine_is_empty_and_then_exists(factory: &dyn EngineFactory) {
    let dir = Path::new(DIR);
    assert!(!factory.exists(dir).expect("exists"), "nothing was made yet");
    let mut engine = open(factory);
    assert_eq!(everything(engine.as_mut()), []);
    assert_eq!(get(engine.as_mut(), b"k"), None);
    drop(engine);
    assert!(factory.exists(dir).expect("exists"), "it was made and closed");
    assert!(!factory.exists(Path::new("elsewhere")).expect("exists"));
    assert_eq!(everything(open(factory).as_mut()), []);
}

pub(super) fn what_was_put_is_found_until_it_is_deleted(factory: &dyn EngineFactory) {
    let mut engine = open(factory);
    write(engine.as_mut(), puts([("a", "1"), ("b", "2"), ("c", "3")]));
    assert_eq!(get(engine.as_mut(), b"b").as_deref(), Some(&b"2"[..]));
    write(engine.as_mut(), puts([("b", "two")]));
    assert_eq!(get(engine.as_mut(), b"b").as_deref(), Some(&b"two"[..]));
    let mut batch = Batch::default();
    batch.delete(b"b".to_vec());
    batch.delete(b"never there".to_vec());
    write(engine.as_mut(), batch);
    assert_eq!(get(engine.as_mut(), b"b"), None);
    assert_eq!(get(engine.as_mut(), b""), None, "a prefix of a key is another key");
    assert_eq!(get(engine.as_mut(), b"aa"), None, "a longer key is another key");
    assert_eq!(everything(engine.as_mut()), [("a".into(), "1".into()), ("c".into(), "3".into())]);
    write(engine.as_mut(), puts([("b", "again")]));
    assert_eq!(get(engine.as_mut(), b"b").as_deref(), Some(&b"again"[..]));
}

pub(super) fn the_last_change_of_a_key_in_a_batch_counts(factory: &dyn EngineFactory) {
    let mut engine = open(factory);
    write(engine.as_mut(), puts([("deleted and put", "old"), ("put and deleted", "old")]));
    let mut batch = puts([("put twice", "first"), ("put twice", "second"), ("put and deleted", "new")]);
    batch.delete(b"put and deleted".to_vec());
    batch.delete(b"deleted and put".to_vec());
    batch.put(b"deleted and put".to_vec(), "new".into());
    write(engine.as_mut(), batch);
    let expected = [("deleted and put".into(), "new".into()), ("put twice".into(), "second".into())];
    assert_eq!(everything(engine.as_mut()), expected);
    assert_eq!(get(engine.as_mut(), b"put and deleted"), None);
}

pub(super) fn an_empty_value_is_not_a_missing_one(factory: &dyn EngineFactory) {
    let mut engine = open(factory);
    write(engine.as_mut(), puts([("k", "")]));
    assert_eq!(get(engine.as_mut(), b"k"), Some(Bytes::new()));
    assert_eq!(everything(engine.as_mut()), [("k".into(), Bytes::new())]);
    drop(engine);
    assert_eq!(get(open(factory).as_mut(), b"k"), Some(Bytes::new()));
}

pub(super) fn an_empty_batch_changes_nothing(factory: &dyn EngineFactory) {
    let mut engine = open(factory);
    write(engine.as_mut(), puts([("k", "v")]));
    engine.write(Batch::default(), Durability::Ordered).expect("a write");
    engine.write(Batch::default(), Durability::Synced).expect("a write that only syncs");
    assert_eq!(everything(engine.as_mut()), [("k".into(), "v".into())]);
}

/// The longest keys are those of kvnode (4096 bytes and a few of prefix), the largest values those
/// of the log.
pub(super) fn keys_and_values_of_every_size_are_kept(factory: &dyn EngineFactory) {
    let mut engine = open(factory);
    let keys: [Vec<u8>; 9] = [
        vec![],
        vec![0],
        vec![0, 0],
        vec![0xff],
        vec![0xff; 23],
        vec![b'k'; 127],
        vec![b'k'; 128],
        vec![b'k'; 4200],
        (0..=255).collect(),
    ];
    let value_lens = [0, 1, 127, 128, 65_535, 65_536, 1 << 20, (4 << 20) + 1];
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| (key.clone(), vec![n as u8; value_lens.get(n).copied().unwrap_or(9)]))
        .collect();
    for pair in &pairs {
        write(engine.as_mut(), puts([pair.clone()]));
    }
    let mut expected: Vec<(Bytes, Bytes)> =
        pairs.iter().map(|(key, value)| (key.clone().into(), value.clone().into())).collect();
    expected.sort();
    for _ in 0..2 {
        for (key, value) in &pairs {
            let found = get(engine.as_mut(), key);
            assert!(
                found.as_deref() == Some(value),
                "a key of {}, a value of {} bytes",
                key.len(),
                value.len()
            );
        }
        assert!(everything(engine.as_mut()) == expected, "scan");
        drop(engine);
        engine = open(factory);
    }
}

pub(super) fn everything_is_there_after_it_was_closed(factory: &dyn EngineFactory) {
    let mut expected = Vec::new();
    for n in 0..5_u8 {
        let mut engine = open(factory);
        assert_eq!(everything(engine.as_mut()), expected, "opened {n} times before");
        let durability = if n % 2 == 0 { Durability::Ordered } else { Durability::Synced };
        engine.write(puts([(vec![n], vec![n])]), durability).expect("a write");
        expected.push((vec![n].into(), vec![n].into()));
    }
    assert_eq!(everything(open(factory).as_mut()), expected);
}

pub(super) fn two_directories_are_two_engines(factory: &dyn EngineFactory) {
    let (one, two) = (Path::new("one"), Path::new("two"));
    let (mut first, mut second) = (open_at(factory, one), open_at(factory, two));
    write(first.as_mut(), puts([("k", "first")]));
    write(second.as_mut(), puts([("k", "second")]));
    assert_eq!(get(first.as_mut(), b"k").as_deref(), Some(&b"first"[..]));
    drop(first);
    assert_eq!(get(second.as_mut(), b"k").as_deref(), Some(&b"second"[..]));
    assert_eq!(get(open_at(factory, one).as_mut(), b"k").as_deref(), Some(&b"first"[..]));
}
