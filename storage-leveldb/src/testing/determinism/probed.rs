//! An application of which all pairs can be seen, and what it answers of them.

use std::sync::Arc;

use openraft::RaftTypeConfig;

use crate::error::StorageError;
use crate::lsm::{Transaction, View};
use crate::raft::Application;
use crate::scan::KeyRange;
use crate::testing::inspected::Pairs;
use crate::testing::recorded::Recorded;
use crate::testing::subject::Probe;

/// What there is behind an entry.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) pairs: Pairs,
    /// What the probe made of it.
    pub(super) probed: Vec<u8>,
}

/// Does what `A` does; its only query looks at everything.
pub(super) struct Probed<A> {
    pub(super) recorded: Recorded<A>,
    pub(super) probe: Option<Arc<Probe<A>>>,
}

impl<C: RaftTypeConfig, A: Application<C>> Application<C> for Probed<A> {
    /// Behind which entry.
    type Query = u64;
    type Answer = Seen;

    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        index: u64,
        command: &C::D,
    ) -> Result<C::R, StorageError> {
        self.recorded.apply(transaction, index, command)
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.recorded.merge(key, older, operand)
    }

    fn query(&self, view: &mut View<'_>, index: u64) -> Result<Seen, StorageError> {
        let pairs = view.scan(KeyRange::all()).collect::<Result<_, _>>()?;
        let probed = self.probe.as_ref().map(|probe| probe(&self.recorded.inner, view, index));
        Ok(Seen { pairs, probed: probed.unwrap_or_default() })
    }
}
