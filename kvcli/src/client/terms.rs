//! What a request tells the node besides what it asks for: how long, under which trace, for which
//! cluster.

use std::time::Duration;

use tonic::Request;
use tonic::metadata::MetadataMap;

use super::{ClusterId, TraceId, metadata as names};

/// What an attempt tells the node besides the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) time_left: Duration,
    pub(super) trace: TraceId,
    pub(super) cluster: Option<ClusterId>,
}

/// A request that tells the node how long the answer is of use.
pub(super) fn timed<T>(message: T, terms: Terms) -> Request<T> {
    let mut request = untimed(message, terms);
    request.set_timeout(terms.time_left);
    request
}

/// A request whose answer is of use for as long as it takes.
pub(super) fn untimed<T>(message: T, terms: Terms) -> Request<T> {
    let mut request = Request::new(message);
    terms.trace.send(request.metadata_mut());
    name_cluster(request.metadata_mut(), terms.cluster);
    request
}

/// Says which cluster is meant.
pub(super) fn name_cluster(metadata: &mut MetadataMap, cluster: Option<ClusterId>) {
    // Digits are always a valid value.
    if let Some(cluster) = cluster.and_then(|cluster| cluster.to_string().parse().ok()) {
        metadata.insert(names::CLUSTER_ID, cluster);
    }
}
