//! What a cluster must not do.

use std::fmt;

use bytes::Bytes;
use storage_leveldb::StorageError;

use crate::application::RequestId;
use crate::raft::NodeId;

/// A promise that a cluster has broken, or a node that does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A node does not start.
    #[error("node {node} does not start: {source}")]
    Start {
        /// Which node.
        node: NodeId,
        /// Why not.
        source: StorageError,
    },
    /// A node has stopped by itself.
    #[error("node {node} has stopped, as a node does whose `apply` fails or panics: {reason}")]
    Stopped {
        /// Which node.
        node: NodeId,
        /// What stopped it.
        reason: String,
    },
    /// The test itself cannot run.
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
    /// A client of the test panicked.
    #[error("a client of the test: {0}")]
    Client(String),
    /// With every link healed and every node running no node leads, or one does not catch up.
    #[error("the cluster does not recover within {seconds} s: {reason}")]
    NotRecovered {
        /// How long it was given.
        seconds: u64,
        /// What is missing.
        reason: String,
    },
    /// A command was applied in two ways: the application is not deterministic, or nodes have
    /// applied different commands.
    #[error("the command at position {position} was applied in two ways:\n{one}\n{other}")]
    Diverged {
        /// Of the command.
        position: u64,
        /// What was applied first, when, and what it was answered.
        one: String,
        /// The same of another node, or of the same one after a crash.
        other: String,
    },
    /// Nodes say that they have applied different things.
    #[error("the digests of what was applied differ:\n{0}")]
    Digests(String),
    /// Nodes that have applied the same commands have different pairs.
    #[error("on node {node} the value of {key:?} is {found:?}, not {expected:?}")]
    State {
        /// Which node.
        node: NodeId,
        /// The node's own key, in its encoding.
        key: Bytes,
        /// What a model has that has applied the same commands.
        expected: Option<Bytes>,
        /// What the node has.
        found: Option<Bytes>,
    },
    /// A write was acknowledged and is not there.
    #[error("the write {write} was acknowledged and is lost")]
    Lost {
        /// Which write.
        write: WriteName,
    },
    /// A write was applied twice.
    #[error("the write {write} was applied twice, at positions {first} and {second}")]
    AppliedTwice {
        /// Which write.
        write: WriteName,
        /// Where first.
        first: u64,
        /// Where again.
        second: u64,
    },
    /// A write was applied of which its client was told that it never would be.
    #[error("the write {write} was reported as not applied, and was applied at position {position}")]
    AppliedAllTheSame {
        /// Which write.
        write: WriteName,
        /// Where.
        position: u64,
    },
    /// A write was answered with another response than it was applied with.
    #[error("the write {write} was answered {told:02x?}, and applying it answered {applied:02x?} (encoded)")]
    Response {
        /// Which write.
        write: WriteName,
        /// What its client was told.
        told: Bytes,
        /// What is right.
        applied: Bytes,
    },
    /// What began after something else had ended came before it: time went back for a client.
    #[error("{later} began after {earlier} had ended, and comes before it")]
    OutOfOrder {
        /// A write that was acknowledged, or a read that was answered.
        earlier: String,
        /// A write or a read that began after that.
        later: String,
    },
    /// A linearizable read missed an acknowledged write.
    #[error(
        "a stale read: node {node} answered from the state at position {position}, although the write at \
         position {acknowledged} had been acknowledged before"
    )]
    StaleRead {
        /// Which node was asked.
        node: NodeId,
        /// What it answered from.
        position: u64,
        /// What it missed.
        acknowledged: u64,
    },
    /// A read was answered otherwise than its state says.
    #[error(
        "node {node} answered a query at position {position} with {told:02x?}; from the same state a \
         model answers {expected:02x?} (encoded)"
    )]
    Answer {
        /// Which node was asked.
        node: NodeId,
        /// What it answered from.
        position: u64,
        /// What it answered.
        told: Bytes,
        /// What is right.
        expected: Bytes,
    },
}

/// A write, as a failure names it: its request id, and the node that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteName {
    /// Its name.
    pub id: RequestId,
    /// The node that was asked.
    pub node: NodeId,
}

impl fmt::Display for WriteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by way of node {}", self.id.client_hex(), self.node)
    }
}
