//! Calling rusty-leveldb, which fails, panics, and swallows errors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::disk::GuardedDisk;
use crate::health::Fault;

/// Makes an engine call; an error, a panic or a latched fault is a fault.
pub(super) fn guard<T>(
    disk: &GuardedDisk,
    dir: &Path,
    call: impl FnOnce() -> rusty_leveldb::Result<T>,
) -> Result<T, Fault> {
    disk.health.check()?;
    let result = catch_unwind(AssertUnwindSafe(call));
    disk.health.check()?;
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(status)) => Err(disk.damaged(dir, format!("LevelDB: {status}"))),
        Err(panic) => Err(disk.damaged(dir, format!("LevelDB panicked: {}", panic_text(&*panic)))),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The greatest key of every write buffer and so of every table of level 0. Users' keys must be
/// less.
pub(super) const SENTINEL: [u8; 24] = [u8::MAX; 24];
/// Behind every key, the sentinel included.
pub(super) const BEHIND_EVERY_KEY: [u8; 32] = [u8::MAX; 32];
