//! Asks every member how it is, all at once.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kvcli::wire::{Member, StatusResponse};
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
    /// Takes the membership from the leader if it can be reached, else from the first node that answers,
    /// then asks every member.
    pub(super) async fn conduct(client: &Client) -> Result<Self, ClientError> {
        let first = client.status().await?;
        let first = if first.initialized { first } else { initialized_or(client, first).await };
        if !first.initialized {
            let members = client.endpoints().iter().map(uninitialised_member).collect();
            return Ok(Self { initialized: false, nodes: ask(client, members).await });
        }
        let members = latest_members(client, first).await;
        Ok(Self { initialized: true, nodes: ask(client, members).await })
    }
}

/// A node that waits to be added knows no membership; another endpoint may.
async fn initialized_or(client: &Client, first: StatusResponse) -> StatusResponse {
    let members = client.endpoints().iter().map(uninitialised_member).collect();
    let answers = ask(client, members).await.into_iter().filter_map(|node| node.answer.ok());
    answers.into_iter().find(|answer| answer.initialized).unwrap_or(first)
}

async fn latest_members(client: &Client, known: StatusResponse) -> Vec<Member> {
    let leader = known.header.as_ref().and_then(|header| header.leader_addr.parse().ok());
    let Some(leader) = leader else {
        return known.members;
    };
    match patient(client).status_of(&leader).await {
        Ok(status) if status.initialized => status.members,
        _ => known.members,
    }
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
