//! Administering a cluster as JSON over HTTP: what `node.v1.Cluster` does, with the same refusals.
//!
//! Questions are GET: `/admin/status`, `/admin/members`. Changes are POST. A member is `{"id": 4,
//! "voter": true, "raft_addr": "HOST:PORT", "client_addr": "HOST:PORT"}`.

use axum::Router;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::{get, post};
use proto::node::v1 as pb;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{answered, failed};
use crate::application::Application;
use crate::node::{Error, Node};

/// A request's body, or why it is none.
type Body<T> = Result<Json<T>, JsonRejection>;

/// The paths below `/admin`.
pub(super) fn router<A: Application>() -> Router<Node<A>> {
    Router::new()
        .route("/admin/status", get(status::<A>))
        .route("/admin/members", get(members_known::<A>))
        .route("/admin/init", post(init::<A>))
        .route("/admin/add-learner", post(add_learner::<A>))
        .route("/admin/promote", post(promote::<A>))
        .route("/admin/remove", post(remove::<A>))
        .route("/admin/change-membership", post(change_membership::<A>))
        .route("/admin/set-address", post(set_address::<A>))
        .route("/admin/transfer-leader", post(transfer_leader::<A>))
        .route("/admin/snapshot", post(snapshot::<A>))
}

/// `{"id": 4, "raft_addr": "HOST:PORT", "client_addr": "HOST:PORT"}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddLearner {
    id: u64,
    raft_addr: String,
    client_addr: String,
}

/// `{"id": 4}`, or `{"id": 4, "force": true}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    id: u64,
    #[serde(default)]
    force: bool,
}

/// `{"promote": [4], "remove": [1], "force": true}`, each of which may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ChangeMembership {
    promote: Vec<u64>,
    remove: Vec<u64>,
    force: bool,
}

/// `{"id": 4, "raft_addr": "HOST:PORT"}`, with `client_addr` and `force`, too: what is left out
/// stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetAddress {
    id: u64,
    #[serde(default)]
    raft_addr: String,
    #[serde(default)]
    client_addr: String,
    #[serde(default)]
    force: bool,
}

/// `{"to": 2}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferLeader {
    to: u64,
}

/// A member as it is shown.
#[derive(Serialize)]
struct MemberDocument {
    id: u64,
    voter: bool,
    raft_addr: String,
    client_addr: String,
}

impl From<pb::Member> for MemberDocument {
    fn from(member: pb::Member) -> Self {
        let pb::Member { id, voter, raft_addr, client_addr, .. } = member;
        Self { id, voter, raft_addr, client_addr }
    }
}

fn shown(members: Vec<pb::Member>) -> Vec<MemberDocument> {
    members.into_iter().map(MemberDocument::from).collect()
}

/// Answered by a node that serves nothing else, too.
async fn status<A: Application>(State(node): State<Node<A>>) -> Response {
    Json(node.status_document().await).into_response()
}

async fn members_known<A: Application>(State(node): State<Node<A>>) -> Response {
    answered(node.known_members().await.map(shown))
}

async fn init<A: Application>(State(node): State<Node<A>>) -> Response {
    answered(node.init().await.map(shown))
}

async fn add_learner<A: Application>(State(node): State<Node<A>>, body: Body<AddLearner>) -> Response {
    run(body, async |AddLearner { id, raft_addr, client_addr }| {
        let added = node.add_learner(pb::AddLearnerRequest { id, raft_addr, client_addr }).await?;
        Ok(json!({ "members": shown(added.members), "catching_up": added.catching_up }))
    })
    .await
}

async fn promote<A: Application>(State(node): State<Node<A>>, body: Body<Named>) -> Response {
    run(body, async |Named { id, force }| {
        let request = pb::ChangeMembershipRequest { promote: vec![id], remove: Vec::new(), force };
        node.change_membership(request).await.map(shown)
    })
    .await
}

async fn remove<A: Application>(State(node): State<Node<A>>, body: Body<Named>) -> Response {
    run(body, async |Named { id, force }| {
        let request = pb::ChangeMembershipRequest { promote: Vec::new(), remove: vec![id], force };
        node.change_membership(request).await.map(shown)
    })
    .await
}

async fn change_membership<A: Application>(
    State(node): State<Node<A>>,
    body: Body<ChangeMembership>,
) -> Response {
    run(body, async |ChangeMembership { promote, remove, force }| {
        node.change_membership(pb::ChangeMembershipRequest { promote, remove, force }).await.map(shown)
    })
    .await
}

async fn set_address<A: Application>(State(node): State<Node<A>>, body: Body<SetAddress>) -> Response {
    run(body, async |SetAddress { id, raft_addr, client_addr, force }| {
        node.set_address(pb::SetAddressRequest { id, raft_addr, client_addr, force }).await.map(shown)
    })
    .await
}

async fn transfer_leader<A: Application>(
    State(node): State<Node<A>>,
    body: Body<TransferLeader>,
) -> Response {
    run(body, async |TransferLeader { to }| {
        let leader_id = node.transfer_leader(pb::TransferLeaderRequest { to }).await?;
        Ok(json!({ "leader_id": leader_id }))
    })
    .await
}

async fn snapshot<A: Application>(State(node): State<Node<A>>) -> Response {
    answered(node.snapshot().await.map(|index| json!({ "snapshot_index": index })))
}

async fn run<T, R: Serialize>(body: Body<T>, work: impl AsyncFnOnce(T) -> Result<R, Error>) -> Response {
    match body {
        Ok(Json(request)) => answered(work(request).await),
        Err(rejection) => failed(&Error::Refused(rejection.body_text())),
    }
}
