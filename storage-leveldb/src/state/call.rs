//! Calling the application.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::disk::GuardedDisk;
use crate::error::StorageError;

/// Calls the application. It cannot refuse: where it fails, by an error or a panic, what is stored in `dir` is not what it
/// can go on with, so that is a fault of this database, and nothing is answered from it any more.
pub(super) fn of_application<T>(
    disk: &GuardedDisk,
    dir: &Path,
    doing: fmt::Arguments<'_>,
    call: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let failed = |how: &str, why: &str| {
        let reason = format!("the application {how} while {doing}: {why}");
        disk.damaged(dir, reason).into()
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Err(StorageError::Fault(fault))) => Err(failed("failed", &fault.reason)),
        Ok(result) => {
            // An application may take an error for an empty answer.
            disk.health.check()?;
            result
        }
        Err(panic) => Err(failed("panicked", crate::engine::panic_text(&*panic))),
    }
}
