//! Power that fails at every operation on the disk.

#![allow(clippy::expect_used, reason = "a check fails by panicking")]

use std::sync::Arc;

use super::model::{Model, everything, puts};
use super::{DIR, open};
use crate::engine::{Batch, Durability, EngineFactory};
use crate::testing::random::Random;
use crate::testing::{Failure, SimDisk, Survival};

/// Batches in one history.
const BATCHES: usize = 40;
const KEYS: usize = 30;

/// What a history had come to when the power failed.
struct Written {
    /// The content after every batch that was begun; the first is empty.
    contents: Vec<Model>,
    /// The first of them that may be there after the crash.
    durable: usize,
}

/// Cuts the power at every operation of a random history, several times with other survivors, and
/// checks what is there afterwards: a prefix of the batches, with every batch up to the last synced
/// one, and an engine that keeps what is written from now on. Answers how often the power failed.
///
/// # Panics
/// With the seed, if the engine does not pass.
pub fn check_power_loss(make: &dyn Fn(&SimDisk) -> Arc<dyn EngineFactory>, seed: u64) -> u64 {
    let mut failures = 0;
    for at in 1.. {
        let disk = SimDisk::default();
        disk.fail_at(at, Failure::PowerLoss);
        let written = write_until_the_power_fails(make(&disk).as_ref(), seed);
        if !disk.power_is_off() {
            break;
        }
        for survivors in 0..3 {
            let context = format!("seed {seed}, power fails at operation {at}, survivors {survivors}");
            let after = disk.reboot(Survival::Random(seed ^ (at << 8) ^ survivors));
            let found = check_what_is_left(make(&after).as_ref(), &written, &context);
            check_that_it_goes_on(make, &after, &found, &context);
            failures += 1;
        }
    }
    failures
}

fn random_batch(random: &mut Random) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..random.position(5) + 1 {
        let key = format!("{:03}", random.position(KEYS)).into_bytes();
        if random.one_in(4) {
            batch.delete(key);
        } else {
            batch.put(key, vec![random.position(256) as u8; random.position(120)].into());
        }
    }
    batch
}

fn write_until_the_power_fails(factory: &dyn EngineFactory, seed: u64) -> Written {
    let mut random = Random::new(seed);
    let mut written = Written { contents: vec![Model::default()], durable: 0 };
    let Ok(mut engine) = factory.open(DIR.as_ref()) else { return written };
    for _ in 0..BATCHES {
        let batch = random_batch(&mut random);
        let mut content = written.contents.last().cloned().unwrap_or_default();
        content.apply(&batch);
        written.contents.push(content);
        let newest = written.contents.len() - 1;
        let durability = if random.one_in(3) { Durability::Synced } else { Durability::Ordered };
        if engine.write(batch, durability).is_err() {
            return written;
        }
        if durability == Durability::Synced {
            written.durable = newest;
        }
        if random.one_in(10) {
            drop(engine);
            let Ok(again) = factory.open(DIR.as_ref()) else { return written };
            engine = again;
        }
    }
    written
}

fn check_what_is_left(factory: &dyn EngineFactory, written: &Written, context: &str) -> Model {
    let found = everything(open(factory).as_mut());
    let allowed = written.contents.get(written.durable..).unwrap_or_default();
    let Some(content) = allowed.iter().rev().find(|content| content.pairs() == found) else {
        let durable = written.contents.get(written.durable).map(Model::pairs);
        panic!("{context}: no prefix of what was written: {found:?}; durable was {durable:?}");
    };
    content.clone()
}

/// A synced write after the crash survives another one, in which nothing else does.
fn check_that_it_goes_on(
    make: &dyn Fn(&SimDisk) -> Arc<dyn EngineFactory>,
    disk: &SimDisk,
    found: &Model,
    context: &str,
) {
    let batch = puts([("after the crash", "v")]);
    let mut expected = found.clone();
    expected.apply(&batch);
    let mut engine = open(make(disk).as_ref());
    engine.write(batch, Durability::Synced).expect("a write");
    let after = disk.reboot(Survival::Nothing);
    // Only now: closing may make more durable.
    drop(engine);
    let found = everything(open(make(&after).as_ref()).as_mut());
    assert_eq!(found, expected.pairs(), "{context}: after a second crash");
}
