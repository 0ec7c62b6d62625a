//! Puts the engine in `engine.rs` through the checks that every engine must pass:
//! `cargo run --release -p storage-leveldb --example third_engine`.
//!
//! `tests/storage/conformance.rs` puts the same engine through openraft's own suite, below a whole
//! storage.

mod engine;

use std::sync::Arc;

use engine::OneFileFactory;
use storage_leveldb::testing::engine::EngineFactory;
use storage_leveldb::testing::{SimDisk, engine_conformance};

fn on(disk: &SimDisk) -> Arc<dyn EngineFactory> {
    Arc::new(OneFileFactory(Arc::new(disk.clone())))
}

fn main() {
    engine_conformance::check(&|| on(&SimDisk::default()));
    for seed in 0..10 {
        engine_conformance::check_random(on(&SimDisk::default()).as_ref(), seed);
        let failures = engine_conformance::check_power_loss(&on, seed);
        println!("seed {seed}: the power failed {failures} times");
    }
}
