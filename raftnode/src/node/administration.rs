//! A node, as the program around it administers its cluster: what `node.v1.Cluster` does for
//! clients on the network.

use proto::node::v1 as pb;

use super::error::Error;
use super::handle::Node;
use super::part::Part;
use crate::api::{Call, DEFAULT_CLUSTER_DEADLINE, status_codes, status_report, status_report_of_faulty};
use crate::application::Application;
use crate::http::StatusDocument;
use crate::metrics::Op;
use crate::standing::Leader;

impl<A: Application> Node<A> {
    /// Makes the nodes of the peer list a cluster, if they are none yet; answers its members.
    /// Harmless when repeated, or when asked of several nodes at once.
    ///
    /// # Errors
    /// No majority of them can be reached, or one of them belongs to a cluster.
    pub async fn init(&self) -> Result<Vec<pb::Member>, Error> {
        let call = Call::within(DEFAULT_CLUSTER_DEADLINE);
        let work = async { self.api()?.init(&call).await };
        Ok(self.answer(Op::INIT, &call, work).await?.into_inner().members)
    }

    /// Adds a node that receives the log and does not vote, and waits until it has caught up. It
    /// has to run, without a peer list.
    ///
    /// # Errors
    /// It does not answer under these addresses, is another node than is said, or belongs to
    /// another cluster.
    pub async fn add_learner(&self, request: pb::AddLearnerRequest) -> Result<pb::AddLearnerResponse, Error> {
        let call = Call::within(DEFAULT_CLUSTER_DEADLINE);
        let work = async { self.api()?.add_learner(&call, request).await };
        Ok(self.answer(Op::ADD_LEARNER, &call, work).await?.into_inner())
    }

    /// Promotes learners to voters and removes members, in one change; answers the members behind
    /// it.
    ///
    /// # Errors
    /// The cluster could be left without a quorum, and `force` is not set; one of the nodes is no
    /// member, or has not caught up.
    pub async fn change_membership(
        &self,
        request: pb::ChangeMembershipRequest,
    ) -> Result<Vec<pb::Member>, Error> {
        let call = Call::within(DEFAULT_CLUSTER_DEADLINE);
        let work = async { self.api()?.change_membership(&call, request).await };
        Ok(self.answer(Op::CHANGE_MEMBERSHIP, &call, work).await?.into_inner().members)
    }

    /// Tells the cluster that a member is reached under other addresses; answers the members.
    ///
    /// # Errors
    /// It does not answer there, and `force` is not set, or it is no member.
    pub async fn set_address(&self, request: pb::SetAddressRequest) -> Result<Vec<pb::Member>, Error> {
        let call = Call::within(DEFAULT_CLUSTER_DEADLINE);
        let work = async { self.api()?.set_address(&call, request).await };
        Ok(self.answer(Op::SET_ADDRESS, &call, work).await?.into_inner().members)
    }

    /// Hands leadership to another voter and waits until it leads; answers who leads then.
    ///
    /// # Errors
    /// It is no voter, does not answer, or lags behind.
    pub async fn transfer_leader(&self, request: pb::TransferLeaderRequest) -> Result<u64, Error> {
        let call = Call::within(DEFAULT_CLUSTER_DEADLINE);
        let work = async { self.api()?.transfer_leader(&call, request).await };
        Ok(self.answer(Op::TRANSFER_LEADER, &call, work).await?.into_inner().leader_id)
    }

    /// Makes this node build a snapshot now; answers the last log index in it.
    ///
    /// # Errors
    /// It cannot be built.
    pub async fn snapshot(&self) -> Result<u64, Error> {
        let call = Call::within(DEFAULT_CLUSTER_DEADLINE);
        let work = async { self.api()?.snapshot(&call).await };
        Ok(self.answer(Op::SNAPSHOT, &call, work).await?.into_inner().snapshot_index)
    }

    /// Whether this node leads, as far as it knows: for work that one member shall do, such as a
    /// sweeper. Another may lead already, so that work must be harmless if two do it.
    #[must_use]
    pub fn leads(&self) -> bool {
        match self.part() {
            Part::Serving(api) => api.local().leader() == Leader::Here,
            Part::Faulty(_) => false,
        }
    }

    /// What the node knows about itself and the membership.
    pub async fn status(&self) -> pb::StatusResponse {
        match self.part() {
            Part::Serving(api) => status_report(api.local()).await,
            Part::Faulty(faulty) => status_report_of_faulty(faulty),
        }
    }

    /// The members of the cluster, as far as this node knows them; none on a node that could not
    /// open its storage.
    pub async fn members(&self) -> Vec<pb::Member> {
        self.status().await.members
    }

    /// The same, or what is wrong with a node that has failed, whether it knows members or not.
    pub(crate) async fn known_members(&self) -> Result<Vec<pb::Member>, Error> {
        status_codes::check_standing(self.api()?.local())?;
        Ok(self.members().await)
    }

    pub(crate) async fn status_document(&self) -> StatusDocument {
        match self.part() {
            Part::Serving(api) => StatusDocument::of(api.local()).await,
            Part::Faulty(faulty) => StatusDocument::of_faulty(faulty),
        }
    }
}
