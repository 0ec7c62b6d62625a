//! A long random history, next to a map.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a check fails by panicking")]

use super::model::{Model, everything};
use super::open;
use crate::engine::{Batch, Durability, Engine, EngineFactory};
use crate::scan::{KeyRange, ScanLimit};
use crate::testing::random::Random;

const ROUNDS: usize = 300;
const GETS_PER_ROUND: usize = 40;
/// Neighbours in each, and the clusters far from each other, so that what an engine writes at once
/// covers narrow and wide ranges.
const CLUSTERS: [&str; 3] = ["a", "m", "z"];

fn key(random: &mut Random, cluster: Option<&str>, keys: usize) -> Vec<u8> {
    let key = random.position(keys);
    format!("{}{key:04}", cluster.unwrap_or(CLUSTERS[key % CLUSTERS.len()])).into_bytes()
}

fn batch(random: &mut Random, keys: usize) -> Batch {
    let cluster = [None, Some(CLUSTERS[0]), Some(CLUSTERS[1]), Some(CLUSTERS[2])][random.position(4)];
    let mut batch = Batch::default();
    for _ in 0..random.position(19) + 1 {
        let key = key(random, cluster, keys);
        if random.position(10) < 4 {
            batch.delete(key);
        } else {
            batch.put(key, vec![random.position(256) as u8; random.position(60)].into());
        }
    }
    batch
}

/// Writes, closes and opens an engine 300 rounds long, and compares all that it answers with a map.
///
/// # Panics
/// With the seed, at the first difference.
pub fn check_random(factory: &dyn EngineFactory, seed: u64) {
    let mut random = Random::new(seed);
    let keys = [20, 200, 2000][random.position(3)];
    let mut model = Model::default();
    let mut engine = open(factory);
    for round in 0..ROUNDS {
        let context = format!("seed {seed}, round {round}, {keys} keys");
        let batch = batch(&mut random, keys);
        model.apply(&batch);
        let durability = if random.one_in(5) { Durability::Synced } else { Durability::Ordered };
        engine.write(batch, durability).expect("a write");
        if random.one_in(50) {
            drop(engine);
            engine = open(factory);
        }
        compare(engine.as_mut(), &model, &mut random, keys, &context);
    }
}

/// All pairs, some keys one by one, and a part of them.
fn compare(engine: &mut dyn Engine, model: &Model, random: &mut Random, keys: usize, context: &str) {
    assert_eq!(everything(engine), model.pairs(), "{context}");
    for _ in 0..GETS_PER_ROUND {
        let key = key(random, None, keys);
        assert_eq!(engine.get(&key).expect("a get").as_ref(), model.get(&key), "{context}: {key:?}");
    }
    let start = key(random, None, keys).into();
    let end = (random.position(10) < 7).then(|| key(random, None, keys).into());
    let range = KeyRange { start, end };
    let limit = ScanLimit { pairs: random.position(29) + 1, bytes: random.position(1999) + 1 };
    let found = engine.scan(&range, limit).expect("a scan");
    assert_eq!(found, model.scan(&range, limit), "{context}: {range:?}, {limit:?}");
}
