//! The operations on the cluster itself.

use std::time::Duration;

use tonic::Status;
use tonic::transport::Channel;

use super::attempt::{Answer, Header};
use super::call::{Effect, Target};
use super::connections::Link;
use super::kv::MAX_MESSAGE_BYTES;
use super::survey::Patience;
use super::terms::{Terms, timed};
use super::wire::cluster_client::ClusterClient;
use super::wire::{
    AddLearnerRequest, AddLearnerResponse, ChangeMembershipRequest, ChangeMembershipResponse, Health,
    HealthRequest, HealthResponse, InitRequest, InitResponse, Role, SetAddressRequest, SetAddressResponse,
    SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse, TransferLeaderRequest,
    TransferLeaderResponse,
};
use super::{Client, ClientError, Endpoint, Failure};

/// How long other nodes may take once one has answered that there is a leader.
const LEADER_GRACE: Duration = Duration::from_millis(250);
/// How long they may take once one has answered that there is none: a node that is cut off answers
/// so too.
const LEADERLESS_GRACE: Duration = Duration::from_secs(1);
/// All answers about the health of the cluster; a node asks every member before it answers.
const HEALTH_ROUND: Duration = Duration::from_secs(4);
/// All answers about the status of nodes.
const STATUS_ROUND: Duration = Duration::from_secs(1);

impl Client {
    /// Makes the peers that the asked node was started with a cluster. Harmless when repeated.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] ask again.
    pub async fn init(&self) -> Result<InitResponse, ClientError> {
        let mut plan = self.plan("cluster init", Effect::Once, Target::AnyNode);
        // It makes the cluster.
        plan.sending.names_cluster = false;
        self.call(plan, |link, terms| async move {
            Ok(service(link.channel).init(timed(InitRequest {}, terms)).await?.into_inner())
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
        self.call(plan, status).await
    }

    /// How the cluster is, as the node that knows most about it says: every endpoint is asked.
    ///
    /// # Errors
    /// [`ClientError::SeveralClusters`] if the endpoints belong to more than one, and others;
    /// never [`ClientError::OutcomeUnknown`].
    pub async fn health(&self) -> Result<HealthResponse, ClientError> {
        let plan = self.plan("cluster health", Effect::None, Target::AnyNode);
        let patience = Patience { round: HEALTH_ROUND, grace: health_grace };
        let survey = self.survey(&plan, patience, health).await?;
        self.shared.identity.learn(survey.cluster()?);
        survey.best(&plan, |answer| {
            let initialized = answer.health() != Health::NotInitialized;
            let leads = answer.header().is_some_and(|header| header.node_id == answer.leader_id);
            (answer.leader_id != 0, initialized, answer.term, answer.membership_index, leads)
        })
    }

    /// The status of the leader if it can be reached, else of the node that knows the newest
    /// membership. A follower learns of a change of the membership a moment later, and a node that
    /// was removed never.
    ///
    /// # Errors
    /// [`ClientError::SeveralClusters`] if the endpoints belong to more than one, and others;
    /// never [`ClientError::OutcomeUnknown`].
    pub async fn latest_status(&self) -> Result<StatusResponse, ClientError> {
        let plan = self.plan("cluster status", Effect::None, Target::AnyNode);
        let patience = Patience { round: STATUS_ROUND, grace: status_grace };
        let survey = self.survey(&plan, patience, status).await?;
        self.shared.identity.learn(survey.cluster()?);
        let best = survey.best(&plan, rank)?;
        let leader = best.header().map(|header| header.leader_addr.parse::<Endpoint>());
        let Some(Ok(leader)) = leader.filter(|_| best.role() != Role::Leader) else { return Ok(best) };
        let patient = self.with_timeout(self.timeout().min(STATUS_ROUND));
        match patient.status_of(&leader).await {
            Ok(answer) if rank(&answer) > rank(&best) => Ok(answer),
            _ => Ok(best),
        }
    }

    /// Adds a node that receives the log but does not vote, and waits until it has caught up.
    /// Addresses are `host:port`.
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
        self.call(plan, |link, terms| {
            let request = timed(request.clone(), terms);
            async move { Ok(service(link.channel).add_learner(request).await?.into_inner()) }
        })
        .await
    }

    /// Promotes learners to voters and removes members, in one change. `force`: also if the
    /// cluster may stop taking writes, for ever if the members that do not answer never come back.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] look at the membership.
    pub async fn change_membership(
        &self,
        promote: &[u64],
        remove: &[u64],
        force: bool,
    ) -> Result<ChangeMembershipResponse, ClientError> {
        let request = ChangeMembershipRequest { promote: promote.to_vec(), remove: remove.to_vec(), force };
        let operation = if remove.is_empty() { "cluster promote" } else { "cluster remove" };
        let plan = self.plan(operation, Effect::EachTime, Target::Leader);
        self.call(plan, |link, terms| {
            let request = timed(request.clone(), terms);
            async move { Ok(service(link.channel).change_membership(request).await?.into_inner()) }
        })
        .await
    }

    /// Tells the cluster that member `id` is reached under other addresses, `host:port`; none: it
    /// stays as it is. `force`: also if the member does not answer there.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] look at the membership.
    pub async fn set_address(
        &self,
        id: u64,
        raft_addr: Option<&str>,
        client_addr: Option<&str>,
        force: bool,
    ) -> Result<SetAddressResponse, ClientError> {
        let text = |address: Option<&str>| address.unwrap_or_default().to_owned();
        let request =
            SetAddressRequest { id, raft_addr: text(raft_addr), client_addr: text(client_addr), force };
        let plan = self.plan("cluster set-address", Effect::EachTime, Target::Leader);
        self.call(plan, |link, terms| {
            let request = timed(request.clone(), terms);
            async move { Ok(service(link.channel).set_address(request).await?.into_inner()) }
        })
        .await
    }

    /// Hands leadership to the voter `to` and waits until it leads.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] look at the status.
    pub async fn transfer_leader(&self, to: u64) -> Result<TransferLeaderResponse, ClientError> {
        let plan = self.plan("cluster transfer-leader", Effect::EachTime, Target::Leader);
        self.call(plan, |link, terms| async move {
            let request = timed(TransferLeaderRequest { to }, terms);
            Ok(service(link.channel).transfer_leader(request).await?.into_inner())
        })
        .await
    }

    /// Makes the first node that answers build a snapshot now.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] ask again.
    pub async fn snapshot(&self) -> Result<SnapshotResponse, ClientError> {
        let plan = self.plan("cluster snapshot", Effect::Once, Target::AnyNode);
        self.call(plan, |link, terms| async move {
            Ok(service(link.channel).snapshot(timed(SnapshotRequest {}, terms)).await?.into_inner())
        })
        .await
    }
}

fn service(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

pub(super) async fn status(link: Link, terms: Terms) -> Result<StatusResponse, Status> {
    Ok(service(link.channel).status(timed(StatusRequest {}, terms)).await?.into_inner())
}

async fn health(link: Link, terms: Terms) -> Result<HealthResponse, Status> {
    Ok(service(link.channel).health(timed(HealthRequest {}, terms)).await?.into_inner())
}

fn health_grace(answer: &Result<HealthResponse, Failure>) -> Option<Duration> {
    match answer.as_ref().ok()?.leader_id {
        0 => Some(LEADERLESS_GRACE),
        _ => Some(LEADER_GRACE),
    }
}

fn status_grace(answer: &Result<StatusResponse, Failure>) -> Option<Duration> {
    (answer.as_ref().ok()?.role() == Role::Leader).then_some(LEADER_GRACE)
}

/// How much a node knows about the membership.
fn rank(status: &StatusResponse) -> (bool, bool, u64, u64) {
    (status.role() == Role::Leader, status.initialized, status.membership_index, status.term)
}

impl Answer for HealthResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answer for SetAddressResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answer for InitResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answer for StatusResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answer for AddLearnerResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answer for ChangeMembershipResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answer for TransferLeaderResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answer for SnapshotResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}
