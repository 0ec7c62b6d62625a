//! A log-structured merge tree: pairs by key, of which the newest are in memory and the others in
//! tables.
//!
//! ```text
//! changes ─▶ memtable ─(full, or a checkpoint is wanted)─▶ sealed memtables ─▶ flush thread ─▶ tables ◀▶ compaction thread
//! reads ──────────┴─────────────────────────┴─────────────────────────────────────────────────┘ (any thread)
//! ```
//!
//! Applying does not touch the disk: the owner of the tree keeps the changes elsewhere (Raft's log)
//! until they are durable here.
//!
//! Tables are immutable. Which of them make up the state, and at what position, is in one small
//! file, the [`manifest`], which is replaced as a whole: after a flush, after a compaction, and
//! when all pairs are replaced.

pub(crate) mod bloom;
pub(crate) mod change;
pub(crate) mod compaction;
pub(crate) mod flush;
pub(crate) mod key;
pub(crate) mod manifest;
pub(crate) mod memory_check;
pub(crate) mod memtable;
pub(crate) mod merge_operator;
pub(crate) mod merging_iterator;
pub(crate) mod table;
pub(crate) mod transaction;
pub(crate) mod tree;
pub(crate) mod user_code;
pub(crate) mod version;
pub(crate) mod view;
pub(crate) mod work;

pub use transaction::Transaction;
pub use view::View;
