//! How much memory the storage may take for what it need not have there: `--log-tail-mib`,
//! `--memtable-mib` and `--table-cache-mib`. Checked by [`check`](super::check), used where the
//! storage is opened.

use storage_leveldb::Options;

const MIB: usize = 1 << 20;
/// Tables kept open for each MiB of their indexes and filters: with fewer, the limit of files would
/// be met first.
const OPEN_TABLES_PER_MIB: usize = 16;

/// Limits in MiB, each from 1 up to [`MAX_MIB`](Self::MAX_MIB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Recent log entries, for replication and apply.
    pub log_tail_mib: usize,
    /// What was applied and is not on disk as a table yet; three times as much at most.
    pub memtable_mib: usize,
    /// Indexes and filters of the state's open tables.
    pub table_cache_mib: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { log_tail_mib: 32, memtable_mib: 32, table_cache_mib: 128 }
    }
}

impl MemoryLimits {
    /// 1 TiB: what is more is a mistake.
    pub const MAX_MIB: usize = 1 << 20;

    /// The storage's options with these limits.
    #[must_use]
    pub fn options(self) -> Options {
        let mut options = Options::default();
        options.tail_bytes = self.log_tail_mib.saturating_mul(MIB);
        options.memtable_bytes = self.memtable_mib.saturating_mul(MIB);
        options.table_cache_bytes = self.table_cache_mib.saturating_mul(MIB);
        options.open_tables = self.table_cache_mib.saturating_mul(OPEN_TABLES_PER_MIB);
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What help, runbook and storage call the default is one and the same.
    #[test]
    fn the_defaults_are_those_of_the_storage() {
        let (ours, storage) = (MemoryLimits::default().options(), Options::default());
        assert_eq!((ours.tail_bytes, ours.memtable_bytes), (storage.tail_bytes, storage.memtable_bytes));
        assert_eq!(ours.table_cache_bytes, storage.table_cache_bytes);
        assert_eq!(ours.open_tables, storage.open_tables);
    }
}
