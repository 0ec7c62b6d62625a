//! What the tests share. From below: `wait` knows nothing; `program` runs one to its end, `child`
//! beside the test; `built` finds what cargo has built; `http` asks; `prometheus` asks a
//! Prometheus, `selectors` reads what it is asked; `document` reads the runbook, `yaml` YAML.

mod built;
mod child;
pub mod document;
mod http;
mod program;
mod prometheus;
mod selectors;
mod wait;
pub mod yaml;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use built::{built, programs};
pub use child::Child;
pub use http::get;
pub use program::{Ended, output, run};
pub use prometheus::Prometheus;
pub use selectors::selectors;
pub use wait::{is, until};

/// The right to run a cluster: two on two cores would disturb each other's timing.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or directory of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}
