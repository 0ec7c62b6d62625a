//! Calling the application, which may fail or panic.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::disk::GuardedDisk;
use crate::engine::panic_text;
use crate::error::StorageError;
use crate::health::Fault;

/// Has the application apply or merge. It cannot refuse: where it fails, by an error or a panic,
/// what is stored in `dir` is not what it can go on with. So that is a fault, and nothing is
/// answered from the tree any more.
pub(crate) fn of_application<T>(
    disk: &GuardedDisk,
    dir: &Path,
    doing: fmt::Arguments<'_>,
    call: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => judged(disk, dir, doing, result),
        Err(panic) => {
            let why = panic_text(&*panic);
            let reason = format!(
                "the application panicked while {doing}: {why}; it would again at the next start, so mend \
                 the application first"
            );
            Err(disk.latch(Fault::application(dir, reason)).into())
        }
    }
}

/// Has the application answer a query. Neither an error nor a panic of its own is a fault: a query
/// changes nothing, and other queries go on.
pub(crate) fn for_an_answer<T>(
    disk: &GuardedDisk,
    call: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => {
            // An application may take an error for an empty answer.
            disk.health.check()?;
            result.map_err(|e| match e {
                StorageError::Fault(fault) => StorageError::QueryFailed(fault.reason),
                e => e,
            })
        }
        Err(panic) => {
            // An application may panic because of a fault.
            disk.health.check()?;
            Err(StorageError::QueryPanicked(panic_text(&*panic).to_owned()))
        }
    }
}

fn judged<T>(
    disk: &GuardedDisk,
    dir: &Path,
    doing: fmt::Arguments<'_>,
    result: Result<T, StorageError>,
) -> Result<T, StorageError> {
    if let Err(StorageError::Fault(fault)) = &result {
        let reason = format!("the application failed while {doing}: {}", fault.reason);
        return Err(disk.latch(Fault::application(dir, reason)).into());
    }
    // An application may take an error for an empty answer.
    disk.health.check()?;
    result
}
