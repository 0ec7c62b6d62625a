//! Sending a request on to the leader.
//!
//! One connection per leader address is kept; HTTP/2 carries all requests over it at once. What matters
//! most here is to know, when something goes wrong, whether the leader may have seen the request.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::kv::v1::cluster_client::ClusterClient;
use proto::kv::v1::kv_client::KvClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Status};

use super::header::{NODE_FAULT_METADATA, NODE_ID_METADATA};
use super::server::MAX_MESSAGE_BYTES;
use super::status_codes::{self, Failure};

/// Connections kept; leaders are few, so one that is not needed any more is soon pushed out.
const MAX_KEPT_CONNECTIONS: usize = 16;
/// Time to reach the leader.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
/// An idle or silent connection is probed this often ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// ... and given up if the probe is not answered within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a request can have changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing: trying again is safe.
    Read,
    /// It may have been applied if it was sent.
    Write,
}

/// The kept connections.
#[derive(Default)]
pub(crate) struct Forwarder {
    channels: Mutex<HashMap<String, Channel>>,
}

impl Forwarder {
    pub(crate) fn kv(&self, addr: &str) -> Result<KvClient<Channel>, Failure> {
        Ok(KvClient::new(self.channel(addr)?).max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub(crate) fn cluster(&self, addr: &str) -> Result<ClusterClient<Channel>, Failure> {
        Ok(ClusterClient::new(self.channel(addr)?))
    }

    /// A panic elsewhere cannot have left the map half changed.
    fn channels(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self, addr: &str) -> Result<Channel, Failure> {
        let mut channels = self.channels();
        if let Some(channel) = channels.get(addr) {
            return Ok(channel.clone());
        }
        let channel = connect_lazily(addr)?;
        if channels.len() >= MAX_KEPT_CONNECTIONS {
            channels.clear();
        }
        channels.insert(addr.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Makes the outcome of a forwarded request this node's own, and lets go of a broken connection.
    pub(crate) fn judge(&self, addr: &str, effect: Effect, status: Status) -> Failure {
        if is_answer(&status) {
            return match status.code() {
                // Not this node's fault, and soon another one leads.
                _ if status.metadata().contains_key(NODE_FAULT_METADATA) => {
                    Failure::NotApplied(status_codes::no_leader(format_args!(
                        "{addr}, which last led, has failed: {}",
                        status.message()
                    )))
                }
                Code::Unavailable => Failure::NotApplied(status),
                _ => Failure::Final(status),
            };
        }
        self.channels().remove(addr);
        if was_never_sent(&status) || effect == Effect::Read {
            return Failure::NotApplied(status_codes::no_leader(format_args!(
                "cannot reach {addr}, which last led: {}",
                root_cause(&status)
            )));
        }
        Failure::Final(Status::unknown(format!(
            "the connection to the leader {addr} broke ({}); whether the write was applied is unknown",
            root_cause(&status)
        )))
    }
}

fn connect_lazily(addr: &str) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|e| {
        Failure::NotApplied(status_codes::no_leader(format_args!("{addr} cannot be dialled: {e}")))
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy())
}

/// Whether a node answered, as opposed to the transport on either side.
fn is_answer(status: &Status) -> bool {
    status.source().is_none() && status.metadata().contains_key(NODE_ID_METADATA)
}

fn was_never_sent(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<ConnectError>())
}

fn root_cause(status: &Status) -> String {
    causes(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |error: &&(dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataMap;

    fn answered(code: Code) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert(NODE_ID_METADATA, 2.into());
        Status::with_metadata(code, "", metadata)
    }

    #[test]
    fn only_a_nodes_own_word_counts_as_not_applied() {
        let judge = |status| Forwarder::default().judge("a:1", Effect::Write, status);
        assert!(matches!(judge(answered(Code::Unavailable)), Failure::NotApplied(_)));
        assert!(
            matches!(judge(answered(Code::InvalidArgument)), Failure::Final(s) if s.code() == Code::InvalidArgument)
        );
        for code in [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal] {
            let failure = judge(Status::new(code, "from the transport"));
            assert!(matches!(failure, Failure::Final(s) if s.code() == Code::Unknown), "{code}");
        }
    }

    /// Found: a node passed the DATA_LOSS of a damaged leader on as its own, and clients never came back to it.
    #[test]
    fn a_failed_leader_is_not_a_failure_of_the_node_that_forwards() {
        let fault = |reason: &str| storage_leveldb::Fault { path: "f".into(), reason: reason.into() };
        for fault in [fault("damaged"), fault(&std::io::Error::from_raw_os_error(28).to_string())] {
            let mut status = status_codes::fault_status(2, &fault);
            status.metadata_mut().insert(NODE_ID_METADATA, 2.into());
            let failure = Forwarder::default().judge("a:1", Effect::Write, status);
            let Failure::NotApplied(status) = failure else { panic!("{failure:?}") };
            assert_eq!(status.code(), Code::Unavailable);
            assert!(!status.metadata().contains_key(NODE_FAULT_METADATA) && status.message().contains("a:1"));
        }
    }

    #[test]
    fn a_lost_read_may_be_tried_again() {
        let failure = Forwarder::default().judge("a:1", Effect::Read, Status::unknown("gone"));
        assert!(matches!(failure, Failure::NotApplied(s) if s.code() == Code::Unavailable));
    }

    #[tokio::test]
    async fn a_refused_connection_means_not_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        drop(listener);
        let forwarder = Forwarder::default();
        let Ok(mut client) = forwarder.kv(&addr) else { panic!("no client") };
        let status = client.put(proto::kv::v1::PutRequest::default()).await.unwrap_err();
        assert!(matches!(forwarder.judge(&addr, Effect::Write, status), Failure::NotApplied(_)));
    }
}
