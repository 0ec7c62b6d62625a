//! Copies of a moment.

#![allow(clippy::expect_used, reason = "a check fails by panicking")]

use std::path::Path;

use super::model::{everything, puts};
use super::{open, open_at};
use crate::engine::{Durability, Engine, EngineFactory};

/// Below a directory that is not there yet.
const TO: &str = "checkpoints/1";

fn filled(factory: &dyn EngineFactory, generation: u8) -> Box<dyn Engine> {
    let mut engine = open(factory);
    fill(engine.as_mut(), generation);
    engine
}

/// Overwrites 500 keys, enough for a small engine to rearrange its files.
fn fill(engine: &mut dyn Engine, generation: u8) {
    for n in 0..20_u32 {
        let pairs = (0..25).map(|i| (format!("{:04}", n * 25 + i), vec![generation; 60]));
        engine.write(puts(pairs), Durability::Ordered).expect("a write");
    }
}

pub(super) fn a_checkpoint_is_a_copy_of_the_moment(factory: &dyn EngineFactory) {
    let mut engine = filled(factory, 1);
    let moment = everything(engine.as_mut());
    engine.checkpoint(Path::new(TO)).expect("a checkpoint");
    assert!(factory.exists(Path::new(TO)).expect("exists"));
    fill(engine.as_mut(), 2);
    fill(engine.as_mut(), 3);
    let mut copy = open_at(factory, Path::new(TO));
    assert!(everything(copy.as_mut()) == moment, "the original went on, and the copy with it");
    assert!(everything(engine.as_mut()) != moment, "the original did not go on");
    assert_eq!(copy.get(b"0007").expect("a get").as_deref(), Some(&[1; 60][..]));
}

pub(super) fn a_checkpoint_lives_on_its_own(factory: &dyn EngineFactory) {
    let mut engine = filled(factory, 1);
    let moment = everything(engine.as_mut());
    engine.checkpoint(Path::new(TO)).expect("a checkpoint");
    let mut copy = open_at(factory, Path::new(TO));
    fill(copy.as_mut(), 9);
    assert!(everything(engine.as_mut()) == moment, "the copy was changed, and the original with it");
    drop(engine);
    drop(copy);
    assert!(everything(open(factory).as_mut()) == moment);
    let copy = everything(open_at(factory, Path::new(TO)).as_mut());
    assert!(copy.len() == 500 && copy.iter().all(|(_, value)| **value == [9; 60]), "the copy, opened again");
}

pub(super) fn an_empty_engine_has_an_empty_checkpoint(factory: &dyn EngineFactory) {
    let mut engine = open(factory);
    engine.checkpoint(Path::new(TO)).expect("a checkpoint");
    fill(engine.as_mut(), 1);
    assert_eq!(everything(open_at(factory, Path::new(TO)).as_mut()), []);
}
