//! What every [`Engine`] must do, as checks that any engine can be put through.
//!
//! [`check`] asks for everything but durability; [`check_random`] compares an engine with a map
//! over a long random history; [`check_power_loss`] cuts the power at every operation on the disk.
//! [`check_tables`], [`check_random_table`] and [`check_table_power_loss`] do the same for the
//! tables that its factory writes. All of them panic with what was wrong. `LevelDb`, `MemoryEngine`
//! and `examples/third_engine` pass them in `tests/storage/engine.rs`, which is also the pattern
//! for another engine.

mod calls;
mod model;
mod power_loss;
mod random;
mod scans;
mod table_power_loss;
mod tables;

use std::path::Path;
use std::sync::Arc;

use crate::engine::{Engine, EngineFactory};

pub use power_loss::check_power_loss;
pub use random::check_random;
pub use table_power_loss::check_table_power_loss;
pub use tables::{check_random_table, check_tables};

/// One check, on a factory of its own.
type Check = fn(&dyn EngineFactory);

/// Every check of [`check`], by name.
const CHECKS: [(&str, Check); 13] = [
    ("a new engine is empty and then exists", calls::a_new_engine_is_empty_and_then_exists),
    ("what was put is found until it is deleted", calls::what_was_put_is_found_until_it_is_deleted),
    ("the last change of a key in a batch counts", calls::the_last_change_of_a_key_in_a_batch_counts),
    ("an empty value is not a missing one", calls::an_empty_value_is_not_a_missing_one),
    ("an empty batch changes nothing", calls::an_empty_batch_changes_nothing),
    ("keys and values of every size are kept", calls::keys_and_values_of_every_size_are_kept),
    ("everything is there after it was closed", calls::everything_is_there_after_it_was_closed),
    ("two directories are two engines", calls::two_directories_are_two_engines),
    ("keys are in the order of their bytes", scans::keys_are_in_the_order_of_their_bytes),
    ("a range has its start and not its end", scans::a_range_has_its_start_and_not_its_end),
    ("a scan stops at the pair that reaches a limit", scans::a_scan_stops_at_the_pair_that_reaches_a_limit),
    ("a scan sees what was just written", scans::a_scan_sees_what_was_just_written),
    ("pages add up to the whole", scans::pages_add_up_to_the_whole),
];

/// Where the checks keep the engine.
const DIR: &str = "engine";

/// Puts an engine through all that its contract says about one process that nothing happens to.
/// `make` answers a factory over an empty place, each time it is called.
///
/// # Panics
/// With the name of the check, if the engine does not pass.
pub fn check(make: &dyn Fn() -> Arc<dyn EngineFactory>) {
    for (name, check) in CHECKS {
        println!("{name}");
        check(make().as_ref());
    }
}

fn open(factory: &dyn EngineFactory) -> Box<dyn Engine> {
    open_at(factory, Path::new(DIR))
}

#[allow(clippy::expect_used, reason = "a check fails by panicking")]
fn open_at(factory: &dyn EngineFactory, dir: &Path) -> Box<dyn Engine> {
    factory.open(dir).expect("the engine opens")
}
