//! What an operation can fail with.

use std::path::PathBuf;
use std::time::Duration;

use super::{Cause, ClusterId, Endpoint, Failure, MAX_ENDPOINTS, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// Why an operation did not succeed. Each variant says whether a write may have been applied.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a `host:port`. Nothing was sent.
    #[error("bad endpoint {text:?}: {reason}; expected host:port")]
    BadEndpoint {
        /// What was given, shortened.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not the id of a cluster. Nothing was sent.
    #[error("bad cluster id {text:?}; expected 32 hexadecimal digits, as `kvcli cluster status` shows them")]
    BadClusterId {
        /// What was given, shortened.
        text: String,
    },
    /// An empty endpoint list. Nothing was sent.
    #[error("no endpoint given; name at least one node as host:port")]
    NoEndpoint,
    /// More than [`MAX_ENDPOINTS`] endpoints. Nothing was sent.
    #[error("too many endpoints; at most {MAX_ENDPOINTS} are accepted")]
    TooManyEndpoints,
    /// A certificate, key or CA cannot be used. Nothing was sent.
    #[error("{}: {problem}", path.display())]
    BadTlsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Not a token, which has 1 to 512 printable characters and no spaces. Nothing was sent.
    #[error("this is no token; give one as `kvnode token` makes it")]
    BadToken,
    /// A token that others could read. Nothing was sent.
    #[error(
        "a token over connections without TLS can be read on the way; encrypt them (kvcli --cacert), or say that it may be \
         (kvcli --token-over-plaintext)"
    )]
    TokenOverPlaintext,
    /// An empty key, or one of more than [`MAX_KEY_BYTES`]. Nothing was sent.
    #[error("the key has {bytes} bytes; a key has 1 to {MAX_KEY_BYTES}")]
    KeyLength {
        /// Length of the key.
        bytes: usize,
    },
    /// A prefix of more than [`MAX_KEY_BYTES`]. Nothing was sent.
    #[error("the prefix has {bytes} bytes; a key has at most {MAX_KEY_BYTES}")]
    PrefixLength {
        /// Length of the prefix.
        bytes: usize,
    },
    /// A scan of no pairs: leave the limit out for all of them. Nothing was sent.
    #[error("the scan limit is 0; give 1 or more, or none for every pair")]
    ScanLimit,
    /// A value of more than [`MAX_VALUE_BYTES`]. Nothing was sent.
    #[error("the value has {}{bytes} bytes; a value has at most {MAX_VALUE_BYTES}", if *.at_least { "at least " } else { "" })]
    ValueLength {
        /// Length of the value, as far as it was read.
        bytes: usize,
        /// Reading stopped at `bytes`; the value is longer.
        at_least: bool,
    },
    /// No node could serve the request before the timeout. Nothing was applied.
    #[error("{operation}: cluster unreachable or without a leader, gave up after {}; {}", seconds(.waited), describe(.last.as_ref()))]
    Unreachable {
        /// The operation, as in `put`.
        operation: &'static str,
        /// Time spent.
        waited: Duration,
        /// How the last attempt failed; absent if there was none.
        #[source]
        last: Option<Failure>,
    },
    /// The endpoints belong to more than one cluster. Nothing was sent but the question.
    #[error("the endpoints belong to different clusters: {}; name the nodes of one cluster only, or choose it by its id (`kvcli --cluster ID`)", list(.clusters))]
    SeveralClusters {
        /// Every cluster found, with its endpoints.
        clusters: Vec<(ClusterId, Vec<Endpoint>)>,
    },
    /// Nodes of another cluster serve at addresses of this one, and no node of this one serves.
    /// Nothing was applied.
    #[error("{operation}: no node of cluster {expected} could serve; {}{}", strangers(.found), others(.last.as_ref()))]
    ForeignNodes {
        /// The operation, as in `put`.
        operation: &'static str,
        /// The cluster of this client.
        expected: ClusterId,
        /// Where other clusters answered.
        found: Vec<(Endpoint, ClusterId)>,
        /// How the last attempt elsewhere failed; absent if there was none.
        #[source]
        last: Option<Failure>,
    },
    /// A node of another cluster answered a request that it should have refused. A write may have
    /// been applied, there or in the cluster that was meant.
    #[error("{operation}: the node at {endpoint} answered for cluster {found}, and this client talks to cluster {expected}; {}", meaning(*.wrote))]
    ForeignAnswer {
        /// The operation, as in `put`.
        operation: &'static str,
        /// Which node.
        endpoint: Endpoint,
        /// The cluster of this client.
        expected: ClusterId,
        /// The cluster of the node.
        found: ClusterId,
        /// The request was a write.
        wrote: bool,
    },
    /// A node answered that it will not do this. Nothing was applied.
    #[error("{operation}: refused by {failure}")]
    Refused {
        /// The operation, as in `put`.
        operation: &'static str,
        /// The node's answer.
        #[source]
        failure: Failure,
    },
    /// A write reached a node, or may have, and no answer says whether it was applied.
    #[error("{operation}: outcome unknown, it may or may not have been applied; gave up after {}; last: {failure}", seconds(.waited))]
    OutcomeUnknown {
        /// The operation, as in `put`.
        operation: &'static str,
        /// Time spent.
        waited: Duration,
        /// How the last attempt failed.
        #[source]
        failure: Failure,
    },
    /// A scan broke off; the pairs handed out before are valid, later ones are missing.
    #[error("scan: broke off after {pairs} pairs, the rest is missing: {cause}")]
    ScanInterrupted {
        /// Pairs handed out before.
        pairs: u64,
        /// What happened.
        #[source]
        cause: Cause,
    },
    /// A backup broke off; what came is no backup.
    #[error("backup save: broke off after {bytes} bytes, nothing was saved: {cause}")]
    BackupInterrupted {
        /// Bytes that came before.
        bytes: u64,
        /// What happened.
        #[source]
        cause: Cause,
    },
}

fn seconds(waited: &Duration) -> String {
    format!("{:.1}s", waited.as_secs_f64())
}

fn describe(last: Option<&Failure>) -> String {
    match last {
        Some(failure) => format!("last: {failure}"),
        None => "an earlier request of this client is still in flight".to_owned(),
    }
}

fn list(clusters: &[(ClusterId, Vec<Endpoint>)]) -> String {
    let one = |(cluster, endpoints): &(ClusterId, Vec<Endpoint>)| {
        let endpoints: Vec<_> = endpoints.iter().map(Endpoint::as_str).collect();
        format!("{} to {cluster}", endpoints.join(", "))
    };
    clusters.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn strangers(found: &[(Endpoint, ClusterId)]) -> String {
    let one =
        |(endpoint, cluster): &(Endpoint, ClusterId)| format!("{endpoint} belongs to cluster {cluster}");
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn others(last: Option<&Failure>) -> String {
    last.map(|failure| format!("; last: {failure}")).unwrap_or_default()
}

fn meaning(wrote: bool) -> &'static str {
    match wrote {
        true => {
            "the write may have been applied there; a correct node refuses what is meant for another \
             cluster, so see what serves at that address"
        }
        false => "the answer was dropped; see which node serves at that address",
    }
}
