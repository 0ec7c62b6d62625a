//! Every figure that decides how this node's consensus behaves, in one place.
//!
//! The timing follows from the disk: one append with its sync takes well under a millisecond, a
//! stalled one up to 0.15 s, and an election timeout should be several times the worst of these.

use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy};

/// How often a leader tells the others that it leads.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(150);
/// A follower that heard from no leader for a random time between this ...
const ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(600);
/// ... and this asks for an election.
pub const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(1200);
/// A leader not acknowledged by a quorum for this long accepts no write. openraft derives it from
/// the election timeout; this constant names the same value.
pub const LEADER_LEASE: Duration = ELECTION_TIMEOUT_MAX;

/// Default of `--snapshot-entries`: a snapshot is built once the log has grown by this many.
pub const SNAPSHOT_ENTRIES: u64 = 50_000;
/// Entries kept behind a snapshot, so that a follower that was briefly away catches up from the log.
const KEPT_BEHIND_SNAPSHOT_ENTRIES: u64 = 10_000;
/// Purging deletes at least this many entries at a time.
const PURGE_BATCH_ENTRIES: u64 = 256;

/// Most entries in one replication request; network-grpc cuts batches by bytes as well.
const MAX_REPLICATED_ENTRIES: u64 = 4096;
/// Most entries in one append to the log.
const MAX_APPENDED_ENTRIES: u64 = 4096;
/// Most client writes the core takes from its queue at once.
const API_BATCH_REQUESTS: u64 = 4096;
/// Requests waiting for the core; more wait in their callers.
const API_QUEUE_REQUESTS: u64 = 8192;
/// Internal events waiting for the core.
const NOTIFICATION_QUEUE_EVENTS: u64 = 65_536;
/// Commands waiting for the state machine.
const STATE_MACHINE_QUEUE_COMMANDS: u64 = 1024;

/// Time to send and install one snapshot. network-grpc bounds the silence within it.
const INSTALL_SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);
/// A learner this close to the end of the log counts as caught up, for openraft's own wait; this
/// crate waits for the learner to hold the entry that added it instead.
const CAUGHT_UP_LAG_ENTRIES: u64 = 1000;
/// A leader that was removed from the membership steps down this long after that is committed.
const REMOVED_LEADER_STEP_DOWN: Duration = Duration::from_millis(150);

/// The openraft configuration of a node of `cluster_id` that builds a snapshot every
/// `snapshot_entries` log entries.
///
/// # Errors
/// If openraft finds the figures inconsistent; with the constants above it does not.
pub fn raft_config(cluster_id: &str, snapshot_entries: u64) -> Result<Config, ConfigError> {
    Config {
        cluster_name: cluster_id.to_owned(),
        heartbeat_interval: millis(HEARTBEAT_INTERVAL),
        election_timeout_min: millis(ELECTION_TIMEOUT_MIN),
        election_timeout_max: millis(ELECTION_TIMEOUT_MAX),
        // Without it, a node that cannot win raises the term whenever it looks for a leader.
        enable_pre_vote: Some(true),
        // A restarted leader is elected again like anybody else: what it had applied before may
        // not have reached its disk, and an election is where it learns what is committed.
        enable_leader_restore: Some(false),
        removed_leader_step_down: openraft::StepDownPolicy::After(millis(REMOVED_LEADER_STEP_DOWN)),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_entries),
        max_in_snapshot_log_to_keep: KEPT_BEHIND_SNAPSHOT_ENTRIES.min(snapshot_entries),
        purge_batch_size: PURGE_BATCH_ENTRIES,
        install_snapshot_timeout: millis(INSTALL_SNAPSHOT_TIMEOUT),
        replication_lag_threshold: CAUGHT_UP_LAG_ENTRIES,
        max_payload_entries: MAX_REPLICATED_ENTRIES,
        max_append_entries: Some(MAX_APPENDED_ENTRIES),
        api_channel_size: Some(API_QUEUE_REQUESTS),
        api_batch_capacity: API_BATCH_REQUESTS,
        notification_channel_size: Some(NOTIFICATION_QUEUE_EVENTS),
        state_machine_channel_size: Some(STATE_MACHINE_QUEUE_COMMANDS),
        ..Config::default()
    }
    .validate()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openraft_accepts_the_figures() {
        let config = raft_config("kv", SNAPSHOT_ENTRIES).unwrap();
        assert_eq!(config.election_timeout_max, 1200);
        assert_eq!(config.max_in_snapshot_log_to_keep, 10_000);
    }

    #[test]
    fn a_small_snapshot_interval_keeps_no_more_than_itself() {
        assert_eq!(raft_config("kv", 100).unwrap().max_in_snapshot_log_to_keep, 100);
    }
}
