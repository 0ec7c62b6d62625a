//! A node that was told to join a cluster asks its members to take it in, catches up, and is
//! promoted if it was told to vote.
//!
//! What is left to do follows from what the node is, each time anew: so a restart goes on where the
//! last process was, and a node that is a member as it was told asks nothing. **Only a node that
//! has nothing of a cluster's log asks to be added.** So a member that was removed stays out, as
//! long as its directory is not emptied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::LogIdOptionExt as _;
use proto::node::v1 as pb;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use super::{Affiliation, Local};
use crate::config::JoinOptions;
use crate::peer::Entrance;
use crate::tls::Dialler;

/// Between two attempts at first ...
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// ... and at most: it doubles with each. A node asks for as long as it runs.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the cluster may take to add this node. It asks both of its addresses, and waits until
/// it answers.
const ADD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the cluster may take to make it a voter.
const PROMOTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a node looks how far it is ...
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// ... and how often it says so.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// What keeps a node waiting is logged when it changes, and this often.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be added.
    Outside,
    /// It has joined, and its log does not say as what yet.
    Uncertain,
    /// To catch up, and to be promoted if it is to vote.
    Learner,
    /// Nothing: it votes.
    Voter,
    /// Nothing: the cluster does not have it, or not with this directory.
    Excluded,
}

/// Asks until this node is what it was told to be. Ends at once if it was told nothing.
pub(crate) async fn join(local: Arc<Local>) {
    if !local.join.is_asked() {
        return;
    }
    let mut waiting = Waiting::default();
    loop {
        let done = match stage(&local) {
            // What it is instead is said by whatever watches the affiliation.
            Stage::Voter | Stage::Excluded => return,
            Stage::Uncertain => {
                sleep(LOOK_AGAIN).await;
                continue;
            }
            Stage::Outside => be_added(&local).await,
            Stage::Learner => match become_useful(&local).await {
                Ok(()) => return,
                failed => failed,
            },
        };
        match done {
            Ok(()) => waiting = Waiting::default(),
            Err(reason) => waiting.wait(&local, &reason).await,
        }
    }
}

fn stage(local: &Local) -> Stage {
    match local.affiliation() {
        Affiliation::Founder | Affiliation::Waiting(_) | Affiliation::Joining(_) => Stage::Outside,
        Affiliation::Replaced(_) | Affiliation::Removed(_) | Affiliation::Stranded { .. } => Stage::Excluded,
        Affiliation::Member(_) => local.with_metrics(|metrics| {
            let membership = &metrics.membership_config;
            if membership.voter_ids().any(|id| id == local.id) {
                Stage::Voter
            } else if membership.get_node(&local.id).is_some() {
                Stage::Learner
            } else {
                Stage::Uncertain
            }
        }),
    }
}

/// Asks one after the other, until one has this node added.
async fn be_added(local: &Local) -> Result<(), String> {
    let mut reasons = Vec::new();
    for address in local.join.others(&local.own) {
        match be_added_by(local, &address).await {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(format!("{address}: {reason}")),
        }
    }
    Err(reasons.join("; "))
}

async fn be_added_by(local: &Local, address: &str) -> Result<(), String> {
    let mut entrance = Entrance::open(&local.dialler, address).await?;
    let status = entrance.status().await.map_err(|status| in_words(&status))?;
    check_member(local, address, &status)?;
    let cluster = status.header.unwrap_or_default().cluster_id;
    tracing::info!("asks node {} at {address} to be added to cluster {cluster}", status.node_id);
    let adding = entrance.add_learner(local.id, &local.own, ADD_TIMEOUT);
    let taken_in = async {
        while stage(local) == Stage::Outside {
            sleep(LOOK_AGAIN).await;
        }
    };
    tokio::select! {
        added = adding => added.map(drop).map_err(|status| in_words(&status)),
        // The answer would come when it has caught up.
        () = taken_in => Ok(()),
    }
}

/// Whether what answers is a member that could let this node in.
fn check_member(local: &Local, address: &str, status: &pb::StatusResponse) -> Result<(), String> {
    let (id, found) = (local.id, status.node_id);
    let cluster = status.header.as_ref().map_or("", |header| &header.cluster_id);
    let own = local.cluster_id();
    if let Some(member) = status.members.iter().find(|member| member.raft_addr == address) {
        return Err(format!(
            "this is the port of node {} for peers; give --join its port for clients, {}",
            member.id, member.client_addr
        ));
    }
    if !cluster.is_empty() && !own.is_empty() && cluster != own {
        return Err(format!(
            "node {found} there belongs to cluster {cluster}, and this node to cluster {own}, which it never changes; \
             start a new node with an empty data directory"
        ));
    }
    if found == id && cluster == own {
        return Err(
            "this node itself answers there; give --join another node, a member of the cluster".to_owned()
        );
    }
    if found == id {
        return Err(format!(
            "node {id} of cluster {cluster} is there already; give this node an id of its own"
        ));
    }
    if !status.initialized {
        return Err(format!(
            "node {found} there belongs to no cluster yet; run `kvcli cluster init` if it is to found one"
        ));
    }
    Ok(())
}

/// Catches up, and then votes if it was told to.
async fn become_useful(local: &Local) -> Result<(), String> {
    catch_up(local).await?;
    if !local.join.voter {
        tracing::info!("has joined: node {} is a learner, and has caught up", local.id);
        return Ok(());
    }
    let mut reasons = Vec::new();
    for address in members_to_ask(local) {
        let promoted = async {
            let mut entrance = Entrance::open(&local.dialler, &address).await?;
            let answer = entrance.promote(local.id, PROMOTE_TIMEOUT).await;
            answer.map(drop).map_err(|status| in_words(&status))
        };
        match promoted.await {
            Ok(()) => {
                tracing::info!("has joined: node {} votes", local.id);
                return Ok(());
            }
            Err(reason) => reasons.push(format!("{address}: {reason}")),
        }
    }
    Err(reasons.join("; "))
}

/// Until it has applied what was committed when it began.
async fn catch_up(local: &Local) -> Result<(), String> {
    let goal = committed(local).await?;
    let mut said = Instant::now();
    loop {
        let applied = local.with_metrics(|metrics| metrics.last_applied.index()).unwrap_or_default();
        if applied >= goal {
            return Ok(());
        }
        // It may be removed meanwhile.
        if stage(local) != Stage::Learner {
            return Err("it is no learner any more".to_owned());
        }
        if said.elapsed() > PROGRESS_INTERVAL {
            tracing::info!("catches up: has applied {applied} of {goal} entries of the log");
            said = Instant::now();
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The greatest index that a member knows to be committed.
async fn committed(local: &Local) -> Result<u64, String> {
    let mut reasons = Vec::new();
    for address in members_to_ask(local) {
        let asked = async {
            let mut entrance = Entrance::open(&local.dialler, &address).await?;
            entrance.status().await.map_err(|status| in_words(&status))
        };
        match asked.await {
            Ok(status) if status.initialized => return Ok(status.committed_index),
            Ok(_) => reasons.push(format!("{address}: belongs to no cluster")),
            Err(reason) => reasons.push(format!("{address}: {reason}")),
        }
    }
    Err(reasons.join("; "))
}

/// Those that are members now, the leader first: what the options name may be gone.
fn members_to_ask(local: &Local) -> Vec<String> {
    local.with_metrics(|metrics| {
        let members = metrics.membership_config.nodes().filter(|(id, _)| **id != local.id);
        let mut members: Vec<_> = members.collect();
        members.sort_by_key(|(id, _)| Some(**id) != metrics.current_leader);
        members.into_iter().map(|(_, member)| member.client_addr.clone()).collect()
    })
}

/// A member that starts with `--join` all the same: of which other cluster are the nodes that it
/// names? None: at least one is of its own, or none says.
pub(crate) async fn joins_another(
    dialler: &Dialler,
    join: &JoinOptions,
    own: (&str, &crate::raft::Member),
) -> Option<(String, String)> {
    let (own_cluster, own) = own;
    let asked = join.others(own).into_iter().map(|address| async move {
        let mut entrance = Entrance::open(dialler, &address).await.ok()?;
        let cluster = entrance.status().await.ok()?.header?.cluster_id;
        (!cluster.is_empty()).then_some((address, cluster))
    });
    let found: BTreeSet<_> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
    match found.iter().any(|(_, cluster)| cluster == own_cluster) {
        true => None,
        false => found.into_iter().next(),
    }
}

/// What an answer means to a node that wants to join.
fn in_words(status: &Status) -> String {
    let text = status.message();
    match status.code() {
        Code::Unimplemented => "this is no port for clients of a member".to_owned(),
        Code::Unknown | Code::Internal if text.contains("grpc-status") || text.contains("h2") => {
            format!("this is no port for clients of a member: {text}")
        }
        Code::Unauthenticated | Code::PermissionDenied => format!(
            "{text}; add the certificate of this node (--peer-cert) to --auth-file with the right 'admin', or have an \
             administrator add it"
        ),
        _ => text.to_owned(),
    }
}

/// The pauses between attempts, and what is said of them.
#[derive(Debug, Default)]
struct Waiting {
    pause: Option<Duration>,
    said: Option<(String, Instant)>,
}

impl Waiting {
    async fn wait(&mut self, local: &Local, reason: &str) {
        let is_news =
            self.said.as_ref().is_none_or(|(said, at)| said != reason || at.elapsed() > REMINDER_INTERVAL);
        if is_news {
            tracing::warn!("has not joined yet, and goes on asking: {reason}");
            self.said = Some((reason.to_owned(), Instant::now()));
        }
        local.hearsay.turned_away(reason);
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| (2 * pause).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        let before = stage(local);
        // An administrator may add it meanwhile.
        let changed = async {
            while stage(local) == before {
                sleep(LOOK_AGAIN).await;
            }
        };
        let _ = timeout(pause, changed).await;
    }
}
