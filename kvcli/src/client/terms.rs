//! What a request tells the node besides what it asks for: how long, under which trace, for which
//! cluster, and whose it is.

use std::time::Duration;

use tonic::Request;
use tonic::metadata::MetadataMap;

use super::{ClientToken, ClusterId, TraceId, metadata as names};

/// What an attempt tells the node besides the request.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) time_left: Duration,
    pub(super) trace: TraceId,
    pub(super) cluster: Option<ClusterId>,
    pub(super) token: Option<ClientToken>,
}

/// A request that tells the node how long the answer is of use.
pub(super) fn timed<T>(message: T, terms: Terms) -> Request<T> {
    let time_left = terms.time_left;
    let mut request = untimed(message, terms);
    request.set_timeout(time_left);
    request
}

/// A request whose answer is of use for as long as it takes.
pub(super) fn untimed<T>(message: T, terms: Terms) -> Request<T> {
    let mut request = Request::new(message);
    terms.trace.send(request.metadata_mut());
    introduce(request.metadata_mut(), &terms);
    request
}

/// Says which cluster is meant, and who asks.
pub(super) fn introduce(metadata: &mut MetadataMap, terms: &Terms) {
    if let Some(token) = &terms.token {
        token.send(metadata);
    }
    // Digits are always a valid value.
    if let Some(cluster) = terms.cluster.and_then(|cluster| cluster.to_string().parse().ok()) {
        metadata.insert(names::CLUSTER_ID, cluster);
    }
}
