//! How much memory the options allow a storage.

use storage_leveldb::Options;
use storage_leveldb::testing::engine::LevelDbOptions;

use crate::node::WINDOW;
use crate::pairs::USER_BYTES;
use crate::table::{Table, mib};

/// Each limit that bounds memory, and how much it allows.
fn limits(options: &Options) -> Vec<(&'static str, u64)> {
    let Options { tail_bytes, memtable_bytes, log_segment_bytes, table_cache_bytes, .. } = options;
    let leveldb = LevelDbOptions::default();
    let limits = [
        ("tail_bytes", *tail_bytes),
        // One being filled, two on their way to the disk.
        ("memtable_bytes, 3 x", 3 * memtable_bytes),
        // One being written, one before it, one that is being stored.
        ("log_segment_bytes, 3 x", 3 * usize::try_from(*log_segment_bytes).unwrap_or(usize::MAX)),
        ("block_cache_bytes of a segment, 3 x", 3 * leveldb.block_cache_bytes),
        // A flush and three compactions, one within the other, each with a table being filled; two
        // tables being written.
        ("table_file_bytes, 6 x", 6 * leveldb.table_file_bytes),
        ("table_cache_bytes", *table_cache_bytes),
        // They come on top of the tail; twice because the benchmark holds them as well.
        ("puts under way in this benchmark, 2 x", 2 * (WINDOW as usize) * (USER_BYTES as usize)),
    ];
    limits.map(|(name, bytes)| (name, bytes as u64)).to_vec()
}

/// Answers the sum.
pub(crate) fn print(options: &Options) -> u64 {
    let limits = limits(options);
    let sum = limits.iter().map(|(_, bytes)| bytes).sum();
    let mut table = Table::new(["limit", "allows"]);
    limits.iter().for_each(|(name, bytes)| table.row([(*name).to_owned(), mib(*bytes)]));
    table.row(["sum".to_owned(), mib(sum)]);
    table.print();
    sum
}
