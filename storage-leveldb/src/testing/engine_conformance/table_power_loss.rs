//! Power that fails while tables are written.

#![allow(clippy::expect_used, reason = "a check fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::tables::{everything, open};
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::testing::random::Random;
use crate::testing::{Failure, SimDisk, Survival};

/// Tables in one history.
const RUNS: u64 = 3;

type Pairs = Vec<(Bytes, Bytes)>;

fn table_dir(number: u64) -> PathBuf {
    PathBuf::from(format!("tables/{number}"))
}

fn random_pairs(seed: u64, number: u64) -> Pairs {
    let mut random = Random::of(&[seed, number]);
    let count = if number == 1 { 0 } else { random.position(60) };
    (0..count)
        .map(|n| (format!("{n:04}").into(), vec![random.position(256) as u8; random.position(200)].into()))
        .collect()
}

fn write(factory: &dyn EngineFactory, dir: &Path, pairs: &Pairs) -> Result<(), StorageError> {
    let mut writer = factory.write_table(dir)?;
    for (key, value) in pairs {
        writer.push(key, value)?;
    }
    writer.finish()
}

/// Cuts the power at every operation while some tables are written, several times with other
/// survivors. A table that was finished must be there, whole; the one that was not must not open,
/// unless it is whole. Answers how often the power failed.
///
/// An engine that opens an unfinished table all the same passes with `opens_unfinished`; then such
/// a table must at least have nothing but what was pushed.
///
/// # Panics
/// With the seed, if the tables do not pass.
pub fn check_table_power_loss(
    make: &dyn Fn(&SimDisk) -> Arc<dyn EngineFactory>,
    seed: u64,
    opens_unfinished: bool,
) -> u64 {
    let mut failures = 0;
    for at in 1.. {
        let disk = SimDisk::default();
        disk.fail_at(at, Failure::PowerLoss);
        let factory = make(&disk);
        let finished = (0..RUNS)
            .take_while(|n| write(factory.as_ref(), &table_dir(*n), &random_pairs(seed, *n)).is_ok())
            .count() as u64;
        if !disk.power_is_off() {
            break;
        }
        let certain = [Survival::Nothing, Survival::Everything].into_iter();
        for survival in certain.chain((0..4).map(|n| Survival::Random(seed ^ (at << 8) ^ n))) {
            let context = format!("seed {seed}, power fails at operation {at}, {survival:?} survives");
            check_what_is_left(make, &disk.reboot(survival), seed, finished, opens_unfinished, &context);
            failures += 1;
        }
    }
    failures
}

fn check_what_is_left(
    make: &dyn Fn(&SimDisk) -> Arc<dyn EngineFactory>,
    disk: &SimDisk,
    seed: u64,
    finished: u64,
    opens_unfinished: bool,
    context: &str,
) {
    let factory = make(disk);
    for number in 0..finished {
        let found = everything(open(&factory, &table_dir(number)).as_ref());
        assert!(found == random_pairs(seed, number), "{context}: table {number} is not as it was finished");
    }
    let Ok(table) = make(disk).open_table(&table_dir(finished)) else { return };
    let (found, all) = (everything(table.as_ref()), random_pairs(seed, finished));
    let is_right = if opens_unfinished { all.starts_with(&found) } else { found == all };
    assert!(is_right, "{context}: table {finished} was not finished, and has {} pairs", found.len());
}
