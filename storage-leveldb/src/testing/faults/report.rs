//! What a fault test did, and how it failed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::testing::broken::Broken;

/// How faults of one kind ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// The storage named a file and stopped.
    pub detected: u64,
    /// Nothing was answered that the model does not say.
    pub harmless: u64,
}

/// Every fault that was tried, by kind. None changed an answer.
#[derive(Debug, Clone, Default)]
pub struct FaultReport {
    /// Ends by kind of fault.
    pub by_kind: BTreeMap<String, Ends>,
    /// Wall-clock time.
    pub took: Duration,
}

impl FaultReport {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> Ends {
        let sum = |ends: Ends, more: &Ends| Ends {
            detected: ends.detected + more.detected,
            harmless: ends.harmless + more.harmless,
        };
        self.by_kind.values().fold(Ends::default(), sum)
    }

    /// Adds what another test has tried.
    pub fn merge(&mut self, other: &Self) {
        for (kind, ends) in &other.by_kind {
            let sum = self.by_kind.entry(kind.clone()).or_default();
            sum.detected += ends.detected;
            sum.harmless += ends.harmless;
        }
        self.took += other.took;
    }

    pub(super) fn add(&mut self, kind: String, is_detected: bool) {
        let ends = self.by_kind.entry(kind).or_default();
        let count = if is_detected { &mut ends.detected } else { &mut ends.harmless };
        *count += 1;
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, ends) in &self.by_kind {
            writeln!(f, "{:6} detected {:6} harmless  {kind}", ends.detected, ends.harmless)?;
        }
        let Ends { detected, harmless } = self.total();
        write!(f, "{detected:6} detected {harmless:6} harmless  in {:.1} s", self.took.as_secs_f64())
    }
}

/// A fault that was not noticed changed an answer, or one that was noticed did harm.
#[derive(Debug, thiserror::Error)]
#[error("{fault}, seed {seed}: {reason}")]
#[non_exhaustive]
pub struct FaultFailure {
    /// The workload's seed.
    pub seed: u64,
    /// The fault.
    pub fault: String,
    /// What was wrong.
    #[source]
    pub reason: Broken,
}

/// Why a fault test failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultTestError {
    /// A fault did harm.
    #[error(transparent)]
    Failure(#[from] Box<FaultFailure>),
    /// The workload fails without any fault.
    #[error("without a fault: {0}")]
    Workload(#[from] Broken),
    /// The test could not run.
    #[error("cannot start: {0}")]
    Runtime(#[from] io::Error),
}
