//! What makes the commands of a test, and what is told of each.

use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftTypeConfig;

use super::random::Random;
use crate::lsm::View;

type Blind<C> = dyn Fn(&mut Random) -> <C as RaftTypeConfig>::D + Send + Sync;
type Seeing<C> = dyn Fn(&mut Random, &mut View<'_>) -> <C as RaftTypeConfig>::D + Send + Sync;

/// Makes random commands.
pub(crate) enum Author<C: RaftTypeConfig> {
    /// Knows nothing of the state.
    Blind(Arc<Blind<C>>),
    /// Sees the state that the command will meet.
    Seeing(Arc<Seeing<C>>),
}

impl<C: RaftTypeConfig> Clone for Author<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Blind(command) => Self::Blind(Arc::clone(command)),
            Self::Seeing(command) => Self::Seeing(Arc::clone(command)),
        }
    }
}

/// What one entry did where nothing fails.
#[derive(Debug)]
#[non_exhaustive]
pub struct Effect<'a, C: RaftTypeConfig> {
    /// What was applied.
    pub command: &'a C::D,
    /// What it was answered, as the codec encodes a `C::R`.
    pub answer: &'a [u8],
    /// All pairs before it, in key order.
    pub before: &'a [(Bytes, Bytes)],
    /// All pairs after it, in key order.
    pub after: &'a [(Bytes, Bytes)],
}

/// Is told of the effect of each entry that a test applies, once for each run of a workload.
pub(crate) type Watcher<C> = dyn Fn(&Effect<'_, C>) + Send + Sync;
