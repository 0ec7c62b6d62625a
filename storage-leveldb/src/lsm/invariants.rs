//! What must hold of the state.

use openraft::RaftTypeConfig;

use super::tree::Store;
use crate::invariants::all_hold;

impl<C: RaftTypeConfig> Store<C> {
    /// What must hold between two applies; the flush and the merge thread may work.
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        let root = self.lock_root();
        let work = self.work();
        let layers = self.layers();
        let memtables = || std::iter::once(&layers.active).chain(&layers.sealed);
        memtables().try_for_each(|memtable| memtable.check_invariants())?;
        let named = root.runs.iter().copied();
        let waiting = work.sealed.iter().rev().map(|(memtable, _)| memtable.number);
        let sealed = layers.sealed.iter().map(|memtable| memtable.number);
        let positions = [&root.position].into_iter().chain(work.sealed.iter().map(|(_, at)| at));
        all_hold(&[
            ("the runs are those of ROOT", layers.runs.iter().map(|run| run.record).eq(named)),
            ("what is sealed waits to be written", sealed.eq(waiting)),
            (
                "newer memtables have greater numbers",
                memtables().map(|memtable| memtable.number).is_sorted_by(|a, b| a > b),
            ),
            (
                "newer memtables are at later positions than ROOT",
                positions.map(|position| &position.applied).is_sorted(),
            ),
        ])
    }
}
