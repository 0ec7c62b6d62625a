//! The configuration of openraft that belongs to a durable store.
//!
//! openraft's defaults are made for a store that has everything it answered on its disk, and for
//! disks that take no time. [`durable_config`] has the figures for this store; [`check_config`]
//! tells whether an application's own changes have left them safe.
//!
//! ```
//! # use openraft::{Config, SnapshotPolicy};
//! # use storage_leveldb::config::{check_config, durable_config};
//! let config = Config { snapshot_policy: SnapshotPolicy::LogsSinceLast(10_000), ..durable_config()
//! }; check_config(&config)?; // `config.into()` goes to `openraft::Raft::new`.
//! # Ok::<(), storage_leveldb::config::UnsafeConfig>(())
//! ```
//!
//! The timing follows from the disk: one append with its sync takes well under a millisecond, a
//! stalled one up to 0.15 s, and an election timeout is several times the worst of these.

use std::time::Duration;

use openraft::{Config, ConfigError};

/// How often a leader tells the others that it leads.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(150);
/// A follower whose leader's lease has run out asks for an election after a random time between
/// this ...
pub const ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(600);
/// ... and this.
pub const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(1200);
/// How long a follower holds to a leader it has heard from, and how long a leader may write after a
/// quorum has acknowledged it. openraft derives it from the election timeout; this constant names
/// the same value.
pub const LEADER_LEASE: Duration = ELECTION_TIMEOUT_MAX;
/// A leader without a quorum is silent for this long, then sends heartbeats for this long, and so
/// on: the least that openraft accepts. While it is silent, those it still reaches can join an
/// election.
pub const QUORUM_LOSS_PROBE_INTERVAL: Duration = LEADER_LEASE.saturating_add(ELECTION_TIMEOUT_MAX);

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

/// With a shorter election timeout, a disk that stalls for a moment deposes its leader.
const LEAST_ELECTION_TIMEOUT_MS: u64 = 500;
/// With fewer heartbeats in an election timeout, one that is late deposes its leader.
const LEAST_HEARTBEATS_IN_A_TIMEOUT: u64 = 3;
/// A snapshot is received, checked and synced; one that is given less time is begun for ever.
const LEAST_SNAPSHOT_TIMEOUT_MS: u64 = 10_000;

/// Why a configuration must not be used with a durable store. Each error names the field and its
/// cure.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsafeConfig {
    /// A leader that restarts would lead on without an election. It knows of fewer commits than it
    /// has acknowledged, because neither applying nor the committed id waits for the disk: a
    /// linearizable read would miss acknowledged writes.
    #[error(
        "enable_leader_restore is on, which is openraft's default: a leader that restarts would answer \
         linearizable reads without acknowledged writes; set it to Some(false)"
    )]
    LeaderRestore,
    /// A follower that has lost its log would be filled again as if nothing had happened, and what
    /// only it had acknowledged would be gone.
    #[error(
        "allow_log_reversion is on: a member that lost its disk would go on voting; leave it at None, and \
         replace such a member by one with a new id"
    )]
    LogReversion,
    /// A node that cannot win an election would raise the term whenever it looks for a leader.
    #[error(
        "enable_pre_vote is off: a node that was cut off would depose a sound leader; set it to Some(true)"
    )]
    NoPreVote,
    /// A leader without a quorum would keep those it still reaches from electing another.
    #[error(
        "quorum_loss_probe_interval is None: a leader that only a minority hears would keep a connected \
         majority without one; set it to Some(2 * election_timeout_max)"
    )]
    NoQuorumLossProbe,
    /// The election timeout is shorter than a stall of a disk.
    #[error(
        "election_timeout_min is {0} ms: a disk that stalls would depose its leader; set it to \
         {LEAST_ELECTION_TIMEOUT_MS} ms or more"
    )]
    ElectionTimeout(u64),
    /// One late heartbeat would be an election.
    #[error(
        "heartbeat_interval is {heartbeat_ms} ms with an election_timeout_min of {election_ms} ms: one \
         late heartbeat would depose the leader; set it to {} ms or less",
        election_ms / LEAST_HEARTBEATS_IN_A_TIMEOUT
    )]
    Heartbeat {
        /// `heartbeat_interval`.
        heartbeat_ms: u64,
        /// `election_timeout_min`.
        election_ms: u64,
    },
    /// A snapshot could not be installed in time, and would be sent again for ever.
    #[error(
        "install_snapshot_timeout is {0} ms: a snapshot would be sent again and again; set it to \
         {LEAST_SNAPSHOT_TIMEOUT_MS} ms or more"
    )]
    SnapshotTimeout(u64),
    /// openraft itself refuses it.
    #[error("openraft refuses the configuration: {0}")]
    Refused(#[from] ConfigError),
}

/// An openraft configuration that is safe with this store: elections that a stalled disk does not
/// set off, that a connected majority wins, and after which no read goes back in time.
///
/// An application replaces what is its own (the cluster's name, when to build snapshots), and has
/// the result looked at by [`check_config`].
#[must_use]
pub fn durable_config() -> Config {
    Config {
        heartbeat_interval: millis(HEARTBEAT_INTERVAL),
        election_timeout_min: millis(ELECTION_TIMEOUT_MIN),
        election_timeout_max: millis(ELECTION_TIMEOUT_MAX),
        // Without it, a node that cannot win raises the term whenever it looks for a leader.
        enable_pre_vote: Some(true),
        // A restarted leader is elected again like any other node: what it had applied before may
        // not have reached its disk, and an election is where it learns what is committed.
        enable_leader_restore: Some(false),
        quorum_loss_probe_interval: Some(millis(QUORUM_LOSS_PROBE_INTERVAL)),
        install_snapshot_timeout: millis(INSTALL_SNAPSHOT_TIMEOUT),
        max_payload_entries: MAX_REPLICATED_ENTRIES,
        max_append_entries: Some(MAX_APPENDED_ENTRIES),
        api_channel_size: Some(API_QUEUE_REQUESTS),
        api_batch_capacity: API_BATCH_REQUESTS,
        notification_channel_size: Some(NOTIFICATION_QUEUE_EVENTS),
        state_machine_channel_size: Some(STATE_MACHINE_QUEUE_COMMANDS),
        ..Config::default()
    }
}

/// Whether a node with a durable store may run with this configuration. To be asked before
/// `openraft::Raft::new`, which would take any.
///
/// # Errors
/// The first thing that is unsafe, and what to set instead.
pub fn check_config(config: &Config) -> Result<(), UnsafeConfig> {
    if config.enable_leader_restore != Some(false) {
        return Err(UnsafeConfig::LeaderRestore);
    }
    if config.allow_log_reversion == Some(true) {
        return Err(UnsafeConfig::LogReversion);
    }
    if config.enable_pre_vote != Some(true) {
        return Err(UnsafeConfig::NoPreVote);
    }
    if config.quorum_loss_probe_interval.is_none() {
        return Err(UnsafeConfig::NoQuorumLossProbe);
    }
    let (heartbeat_ms, election_ms) = (config.heartbeat_interval, config.election_timeout_min);
    if election_ms < LEAST_ELECTION_TIMEOUT_MS {
        return Err(UnsafeConfig::ElectionTimeout(election_ms));
    }
    if heartbeat_ms > election_ms / LEAST_HEARTBEATS_IN_A_TIMEOUT {
        return Err(UnsafeConfig::Heartbeat { heartbeat_ms, election_ms });
    }
    if config.install_snapshot_timeout < LEAST_SNAPSHOT_TIMEOUT_MS {
        return Err(UnsafeConfig::SnapshotTimeout(config.install_snapshot_timeout));
    }
    config.clone().validate()?;
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of [`durable_config`] with this change.
    fn changed(change: impl FnOnce(&mut Config)) -> Result<(), UnsafeConfig> {
        let mut config = durable_config();
        change(&mut config);
        check_config(&config)
    }

    #[test]
    fn the_durable_configuration_is_safe_and_openraft_accepts_it() {
        check_config(&durable_config()).unwrap();
        assert_eq!(durable_config().quorum_loss_probe_interval, Some(2400));
    }

    #[test]
    fn openraft_accepts_no_shorter_probe_interval() {
        let config = Config { quorum_loss_probe_interval: Some(2399), ..durable_config() };
        assert!(matches!(check_config(&config), Err(UnsafeConfig::Refused(_))));
    }

    #[test]
    fn the_defaults_of_openraft_are_refused() {
        assert_eq!(check_config(&Config::default()), Err(UnsafeConfig::LeaderRestore));
    }

    #[test]
    fn every_unsafe_field_is_named_with_its_cure() {
        type Change = fn(&mut Config);
        let unsafe_changes: [(&str, Change); 8] = [
            ("enable_leader_restore", |c| c.enable_leader_restore = None),
            ("enable_leader_restore", |c| c.enable_leader_restore = Some(true)),
            ("allow_log_reversion", |c| c.allow_log_reversion = Some(true)),
            ("enable_pre_vote", |c| c.enable_pre_vote = None),
            ("quorum_loss_probe_interval", |c| c.quorum_loss_probe_interval = None),
            ("election_timeout_min", |c| c.election_timeout_min = 150),
            ("heartbeat_interval", |c| c.heartbeat_interval = 400),
            ("install_snapshot_timeout", |c| c.install_snapshot_timeout = 200),
        ];
        for (field, change) in unsafe_changes {
            let error = changed(change).unwrap_err().to_string();
            assert!(error.starts_with(field) && error.contains("; "), "{error}");
        }
        let refused = changed(|c| c.max_payload_entries = 0).unwrap_err();
        assert_eq!(refused, UnsafeConfig::Refused(ConfigError::MaxPayloadIs0));
    }
}
