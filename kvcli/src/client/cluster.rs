//! The operations on the cluster itself.

use tonic::transport::Channel;

use super::call::{Answer, Effect, Target, timed};
use super::kv::MAX_MESSAGE_BYTES;
use super::wire::cluster_client::ClusterClient;
use super::wire::{
    AddLearnerRequest, AddLearnerResponse, ChangeMembershipRequest, ChangeMembershipResponse, InitRequest,
    InitResponse, ResponseHeader, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
    TransferLeaderRequest, TransferLeaderResponse,
};
use super::{Client, ClientError, Endpoint};

impl Client {
    /// Makes the peers that the asked node was started with a cluster. Harmless when repeated.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] ask again.
    pub async fn init(&self) -> Result<InitResponse, ClientError> {
        let plan = self.plan("cluster init", Effect::Once, Target::AnyNode);
        self.call(plan, |channel, terms| async move {
            Ok(service(channel).init(timed(InitRequest {}, terms)).await?.into_inner())
        })
        .await
    }

    /// What the first node that answers knows about itself and the membership.
    ///
    /// # Errors
    /// [`ClientError`], never [`ClientError::OutcomeUnknown`].
    pub async fn status(&self) -> Result<StatusResponse, ClientError> {
        self.status_from(Target::AnyNode).await
    }

    /// What the node at `endpoint` knows about itself and the membership.
    ///
    /// # Errors
    /// [`ClientError`], never [`ClientError::OutcomeUnknown`].
    pub async fn status_of(&self, endpoint: &Endpoint) -> Result<StatusResponse, ClientError> {
        self.status_from(Target::Node(endpoint.clone())).await
    }

    async fn status_from(&self, target: Target) -> Result<StatusResponse, ClientError> {
        let plan = self.plan("cluster status", Effect::None, target);
        self.call(plan, |channel, terms| async move {
            Ok(service(channel).status(timed(StatusRequest {}, terms)).await?.into_inner())
        })
        .await
    }

    /// Adds a node that receives the log but does not vote, and waits until it has caught up. Addresses
    /// are `host:port`.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] look at the membership.
    pub async fn add_learner(
        &self,
        id: u64,
        raft_addr: &str,
        client_addr: &str,
    ) -> Result<AddLearnerResponse, ClientError> {
        let request =
            AddLearnerRequest { id, raft_addr: raft_addr.to_owned(), client_addr: client_addr.to_owned() };
        let plan = self.plan("cluster add-learner", Effect::EachTime, Target::Leader);
        self.call(plan, |channel, terms| {
            let request = timed(request.clone(), terms);
            async move { Ok(service(channel).add_learner(request).await?.into_inner()) }
        })
        .await
    }

    /// Promotes learners to voters and removes members, in one change.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] look at the membership.
    pub async fn change_membership(
        &self,
        promote: &[u64],
        remove: &[u64],
    ) -> Result<ChangeMembershipResponse, ClientError> {
        let request =
            ChangeMembershipRequest { promote: promote.to_vec(), remove: remove.to_vec(), force: false };
        let operation = if remove.is_empty() { "cluster promote" } else { "cluster remove" };
        let plan = self.plan(operation, Effect::EachTime, Target::Leader);
        self.call(plan, |channel, terms| {
            let request = timed(request.clone(), terms);
            async move { Ok(service(channel).change_membership(request).await?.into_inner()) }
        })
        .await
    }

    /// Hands leadership to the voter `to` and waits until it leads.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] look at the status.
    pub async fn transfer_leader(&self, to: u64) -> Result<TransferLeaderResponse, ClientError> {
        let plan = self.plan("cluster transfer-leader", Effect::EachTime, Target::Leader);
        self.call(plan, |channel, terms| async move {
            let request = timed(TransferLeaderRequest { to }, terms);
            Ok(service(channel).transfer_leader(request).await?.into_inner())
        })
        .await
    }

    /// Makes the first node that answers build a snapshot now.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] ask again.
    pub async fn snapshot(&self) -> Result<SnapshotResponse, ClientError> {
        let plan = self.plan("cluster snapshot", Effect::Once, Target::AnyNode);
        self.call(plan, |channel, terms| async move {
            Ok(service(channel).snapshot(timed(SnapshotRequest {}, terms)).await?.into_inner())
        })
        .await
    }
}

fn service(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

impl Answer for InitResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header.as_ref()
    }
}

impl Answer for StatusResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header.as_ref()
    }
}

impl Answer for AddLearnerResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header.as_ref()
    }
}

impl Answer for ChangeMembershipResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header.as_ref()
    }
}

impl Answer for TransferLeaderResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header.as_ref()
    }
}

impl Answer for SnapshotResponse {
    fn header(&self) -> Option<&ResponseHeader> {
        self.header.as_ref()
    }
}
