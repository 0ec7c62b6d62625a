//! Another node's port for clients, as nodes use it: to see who serves there, and to be taken into
//! its cluster. What asks proves itself by its own certificate, if it has one, and has the rights
//! of that.

use std::time::Duration;

use proto::node::v1 as pb;
use proto::node::v1::cluster_client::ClusterClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use super::ASK_TIMEOUT;
use super::question::innermost;
use crate::raft::{Member, NodeId};
use crate::tls::Dialler;

/// A connection with it.
pub(crate) struct Entrance {
    cluster: ClusterClient<Channel>,
}

impl Entrance {
    /// Connects.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) async fn open(dialler: &Dialler, address: &str) -> Result<Self, String> {
        let connecting = async {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| e.to_string())?;
            let endpoint = endpoint.connect_timeout(ASK_TIMEOUT).tcp_nodelay(true);
            dialler.connect(&endpoint, None, address).await.map_err(|e| innermost(&e))
        };
        let channel = tokio::time::timeout(ASK_TIMEOUT, connecting).await;
        let channel = channel.map_err(|_| format!("nothing within {ASK_TIMEOUT:?}"))??;
        Ok(Self { cluster: ClusterClient::new(channel) })
    }

    /// What the node says about itself.
    ///
    /// # Errors
    /// As it, or what is there in its place, says.
    pub(crate) async fn status(&mut self) -> Result<pb::StatusResponse, Status> {
        within(ASK_TIMEOUT, pb::StatusRequest {}, async |request| self.cluster.status(request).await).await
    }

    /// Asks the cluster to take in this node, as a learner.
    ///
    /// # Errors
    /// As the cluster says.
    pub(crate) async fn add_learner(
        &mut self,
        id: NodeId,
        at: &Member,
        time: Duration,
    ) -> Result<pb::AddLearnerResponse, Status> {
        let (raft_addr, client_addr) = (at.raft_addr.clone(), at.client_addr.clone());
        let request = pb::AddLearnerRequest { id, raft_addr, client_addr };
        within(time, request, async |request| self.cluster.add_learner(request).await).await
    }

    /// Asks the cluster to let this learner vote.
    ///
    /// # Errors
    /// As the cluster says.
    pub(crate) async fn promote(
        &mut self,
        id: NodeId,
        time: Duration,
    ) -> Result<pb::ChangeMembershipResponse, Status> {
        let request = pb::ChangeMembershipRequest { promote: vec![id], remove: Vec::new(), force: false };
        within(time, request, async |request| self.cluster.change_membership(request).await).await
    }
}

async fn within<Q, A>(
    time: Duration,
    question: Q,
    ask: impl AsyncFnOnce(Request<Q>) -> Result<Response<A>, Status>,
) -> Result<A, Status> {
    let mut request = Request::new(question);
    request.set_timeout(time);
    match tokio::time::timeout(time, ask(request)).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("nothing within {time:?}"))),
    }
}
