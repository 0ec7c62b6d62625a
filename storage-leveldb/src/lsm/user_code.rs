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
    // An application may take an error for an empty answer.
    disk.health.check()?;
    let reason = match &result {
        // Nothing is stored any more, and nothing has failed.
        Ok(_) | Err(StorageError::Closed) => return result,
        Err(StorageError::Fault(fault)) => fault.reason.clone(),
        Err(e) => e.to_string(),
    };
    let reason = format!("the application failed while {doing}: {reason}");
    Err(disk.latch(Fault::application(dir, reason)).into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observer::Silent;
    use crate::testing::SimDisk;

    /// Found by reading: only an error that was a fault already stopped the storage. With any other
    /// a compaction ended in silence, and part of a batch was stored as if it had been applied.
    #[test]
    fn whatever_error_an_application_applies_with_is_a_fault() {
        for error in [
            StorageError::corrupt("no such shelf"),
            StorageError::QueryFailed("no such shelf".to_owned()),
            StorageError::UnsendableAnswer("no such shelf".to_owned()),
        ] {
            let disk = GuardedDisk::new(Arc::new(SimDisk::default()), Arc::new(Silent), Arc::new(()));
            let call = || Err::<(), _>(error);
            let failed = of_application(&disk, Path::new("state"), format_args!("applying"), call);
            assert!(matches!(failed, Err(StorageError::Fault(_))), "{failed:?}");
            let latched = disk.health.check().unwrap_err();
            assert!(latched.reason.contains("no such shelf"), "{latched}");
        }
    }
}
