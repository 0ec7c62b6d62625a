//! How this node's consensus behaves: the configuration that is safe with a durable store, and when
//! to build snapshots.

use openraft::{Config, SnapshotPolicy};
pub(crate) use storage_leveldb::config::{ELECTION_TIMEOUT_MAX, HEARTBEAT_INTERVAL, LEADER_LEASE};
use storage_leveldb::config::{UnsafeConfig, check_config};
use storage_leveldb::durable_config;

/// Default of `--snapshot-entries`: a snapshot is built once the log has grown by this many.
pub const SNAPSHOT_ENTRIES: u64 = 50_000;
/// Entries kept behind a snapshot, so that a follower that was briefly away catches up from the
/// log.
const KEPT_BEHIND_SNAPSHOT_ENTRIES: u64 = 10_000;
/// Purging deletes at least this many entries at a time.
const PURGE_BATCH_ENTRIES: u64 = 256;
/// A learner this close to the end of the log counts as caught up, for openraft's own wait; this
/// crate waits for the learner to hold the entry that added it instead.
const CAUGHT_UP_LAG_ENTRIES: u64 = 1000;

/// The openraft configuration of a node of `cluster_id` that builds a snapshot every
/// `snapshot_entries` log entries.
///
/// # Errors
/// If the figures are unsafe; with the constants above they are not.
pub(crate) fn raft_config(cluster_id: &str, snapshot_entries: u64) -> Result<Config, UnsafeConfig> {
    let config = Config {
        cluster_name: cluster_id.to_owned(),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_entries),
        max_in_snapshot_log_to_keep: KEPT_BEHIND_SNAPSHOT_ENTRIES.min(snapshot_entries),
        purge_batch_size: PURGE_BATCH_ENTRIES,
        replication_lag_threshold: CAUGHT_UP_LAG_ENTRIES,
        ..durable_config()
    };
    check_config(&config)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_safe() {
        let config = raft_config("test", SNAPSHOT_ENTRIES).unwrap();
        assert_eq!(config.max_in_snapshot_log_to_keep, 10_000);
    }

    #[test]
    fn a_small_snapshot_interval_keeps_no_more_than_itself() {
        assert_eq!(raft_config("test", 100).unwrap().max_in_snapshot_log_to_keep, 100);
    }
}
