//! Asks every member how it is, all at once.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kvcli::wire::{Member, Role, StatusResponse};
use kvcli::{Client, ClientError, Endpoint};

/// One member's answer; a dead member must not hold up the table.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(2);
/// Members asked at the same time.
const MAX_CONCURRENT_QUESTIONS: usize = 32;

/// Every node asked, with its answer.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) initialized: bool,
    pub(super) nodes: Vec<Node>,
}

/// One node: as the membership knows it, and what it said itself.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) member: Member,
    /// Why there is no answer, in words.
    pub(super) answer: Result<StatusResponse, String>,
}

impl Survey {
    /// Takes the membership from [`latest`], then asks every member.
    pub(super) async fn conduct(client: &Client) -> Result<Self, ClientError> {
        let latest = latest(client).await?;
        if !latest.initialized {
            let members = client.endpoints().iter().map(uninitialised_member).collect();
            return Ok(Self { initialized: false, nodes: ask(client, members).await });
        }
        Ok(Self { initialized: true, nodes: ask(client, latest.members).await })
    }
}

/// The leader's status if it can be reached, else that of the first node that answers. A follower learns of a
/// change of the membership a moment later, and a node that was removed never.
pub(super) async fn latest(client: &Client) -> Result<StatusResponse, ClientError> {
    let first = client.status().await?;
    match named_leader(client, &first).await {
        Some(leader) => Ok(leader),
        None => Ok(leader_among_endpoints(client, first).await),
    }
}

/// The status of the leader that `known` names, if it still leads.
async fn named_leader(client: &Client, known: &StatusResponse) -> Option<StatusResponse> {
    if known.role() == Role::Leader {
        return Some(known.clone());
    }
    let leader = known.header.as_ref()?.leader_addr.parse().ok()?;
    let status = patient(client).status_of(&leader).await.ok()?;
    (status.role() == Role::Leader).then_some(status)
}

/// A node that waits to be added, or was removed, names no leader; another endpoint may be it.
async fn leader_among_endpoints(client: &Client, first: StatusResponse) -> StatusResponse {
    let endpoints = client.endpoints().iter().map(uninitialised_member).collect();
    let answers = ask(client, endpoints).await.into_iter().filter_map(|node| node.answer.ok());
    let rank = |status: &StatusResponse| (status.role() == Role::Leader, status.initialized, status.term);
    std::iter::once(first).chain(answers).max_by_key(rank).unwrap_or_default()
}

fn uninitialised_member(endpoint: &Endpoint) -> Member {
    Member { client_addr: endpoint.to_string(), ..Member::default() }
}

async fn ask(client: &Client, members: Vec<Member>) -> Vec<Node> {
    let client = &patient(client);
    stream::iter(members)
        .map(|member| async move {
            let answer = match member.client_addr.parse() {
                Ok(endpoint) => client.status_of(&endpoint).await,
                Err(error) => Err(error),
            };
            Node { member, answer: answer.map_err(reason) }
        })
        .buffered(MAX_CONCURRENT_QUESTIONS)
        .collect()
        .await
}

fn patient(client: &Client) -> Client {
    client.with_timeout(client.timeout().min(MEMBER_TIMEOUT))
}

/// The cause alone: the table names the node already.
fn reason(error: ClientError) -> String {
    match error {
        ClientError::Unreachable { last: Some(failure), .. } | ClientError::Refused { failure, .. } => {
            failure.cause.to_string()
        }
        other => other.to_string(),
    }
}
