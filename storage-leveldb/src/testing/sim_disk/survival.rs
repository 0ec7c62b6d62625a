//! How much survives a power failure.

use crate::testing::random::Random;

/// What survives of the changes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// None of them: the power failed, and the disk had written nothing that it did not have to.
    Nothing,
    /// All of them: the process was killed, and the system went on.
    Everything,
    /// Each of them or not, whole or in part, as this seed has it.
    Random(u64),
}

/// Decides, change by change.
pub(super) enum Chance {
    Never,
    Always,
    Random(Random),
}

impl Chance {
    pub(super) fn of(survival: Survival) -> Self {
        match survival {
            Survival::Nothing => Self::Never,
            Survival::Everything => Self::Always,
            Survival::Random(seed) => Self::Random(Random::new(seed)),
        }
    }

    /// Whether the next change survives whole.
    pub(super) fn survives(&mut self) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Random(random) => random.one_in(2),
        }
    }

    /// For what survives in part; `None`: nothing does.
    pub(super) fn random(&mut self) -> Option<&mut Random> {
        match self {
            Self::Random(random) => Some(random),
            Self::Never | Self::Always => None,
        }
    }
}
