//! What a node of the benchmarks does by itself.

/// When snapshots are built and votes are saved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// A snapshot is built when this many entries have been applied since the last.
    pub(crate) snapshot_entries: Option<u64>,
    /// Entries that a purge leaves behind a snapshot.
    pub(crate) kept_entries: u64,
    /// A vote is saved now and then.
    pub(crate) votes: bool,
}

impl Policy {
    /// A kvnode's, without elections.
    pub(crate) const NODE: Self = Self { snapshot_entries: Some(50_000), kept_entries: 10_000, votes: false };
    /// Snapshots only on demand.
    pub(crate) const QUIET: Self = Self { snapshot_entries: None, ..Self::NODE };
    pub(crate) const ELECTING: Self = Self { votes: true, ..Self::NODE };
}
