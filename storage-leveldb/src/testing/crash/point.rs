//! One crash point, and how to find it again.

use std::fmt;
use std::str::FromStr;

use crate::testing::model::Model;
use crate::testing::random::Random;
use crate::testing::sim_disk::{OperationKind, SimDisk, Survival};
use crate::testing::subject::TestTypes;

/// A crash in the middle of one operation: what the disk held, and what had been promised.
pub(super) struct Point<C: openraft::RaftTypeConfig> {
    pub(super) number: u64,
    pub(super) kind: OperationKind,
    pub(super) path: String,
    pub(super) disk: SimDisk,
    pub(super) model: Model<C>,
}

impl<C: TestTypes> Point<C> {
    /// LevelDB deletes single tables only when a compaction has replaced them.
    pub(super) fn deletes_a_table(&self) -> bool {
        self.kind == OperationKind::Delete && self.path.ends_with(".ldb")
    }
}

/// One crash: in which operation, and which of the ways in which the disk may survive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crash {
    pub(super) operation: u64,
    pub(super) survival: u64,
}

/// The crashes since the empty disk, in order, as in `231.2/45.0`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    pub(super) crashes: Vec<Crash>,
}

impl Trail {
    pub(super) fn then(&self, operation: u64, survival: u64) -> Self {
        let mut crashes = self.crashes.clone();
        crashes.push(Crash { operation, survival });
        Self { crashes }
    }

    /// A number that depends on the seed and every crash so far.
    pub(super) fn random(&self, seed: u64, purpose: u64) -> Random {
        let mut parts = vec![seed, purpose];
        parts.extend(self.crashes.iter().flat_map(|crash| [crash.operation, crash.survival]));
        Random::of(&parts)
    }

    /// What survives the last crash.
    pub(super) fn survival(&self, seed: u64) -> Survival {
        match self.crashes.last().map(|crash| crash.survival) {
            None | Some(0) => Survival::Nothing,
            Some(1) => Survival::Everything,
            Some(_) => Survival::Random(self.random(seed, 1).number()),
        }
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, crash) in self.crashes.iter().enumerate() {
            let slash = if n == 0 { "" } else { "/" };
            write!(f, "{slash}{}.{}", crash.operation, crash.survival)?;
        }
        Ok(())
    }
}

/// A text is not a trail.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a trail of crashes such as 231.2/45.0")]
pub struct ParseTrailError(String);

impl FromStr for Trail {
    type Err = ParseTrailError;

    fn from_str(text: &str) -> Result<Self, ParseTrailError> {
        let crash = |part: &str| {
            let (operation, survival) = part.split_once('.')?;
            Some(Crash { operation: operation.parse().ok()?, survival: survival.parse().ok()? })
        };
        let crashes = text.split('/').map(crash).collect::<Option<Vec<_>>>();
        crashes.map(|crashes| Self { crashes }).ok_or_else(|| ParseTrailError(text.to_owned()))
    }
}
