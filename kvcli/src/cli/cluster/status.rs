//! `kvcli cluster status`: the health of the cluster as a table, or as JSON.

use std::fmt::Write as _;

use kvcli::wire::{HealthResponse, Member, MemberHealth, Role, StatusResponse};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::health::Verdict;
use crate::exit::Code;
use crate::json::change;
use crate::output::{self, Format};
use crate::table::{Align, Table};
use crate::units;

pub(super) async fn run(context: &Context) -> anyhow::Result<Code> {
    let answer = context.health().await?;
    match context.format {
        Format::Text => output::line(&text(&answer))?,
        Format::Json => output::json(&as_json(&answer))?,
    }
    Ok(Verdict::new(&answer).code())
}

fn text(answer: &HealthResponse) -> String {
    let verdict = Verdict::new(answer);
    let mut text = format!("leader  {}\nhealth  {verdict}\ncluster {}", leader(answer), cluster(answer));
    // Writing to a String cannot fail.
    if !answer.members.is_empty() {
        let _ = write!(text, "\n\n{}", table(answer));
    }
    for member in &answer.members {
        for problem in &member.problems {
            let _ = write!(text, "\n! {}: {}", name(member), output::escaped(problem.as_bytes()));
        }
    }
    for problem in &answer.problems {
        let _ = write!(text, "\n! cluster: {}", output::escaped(problem.as_bytes()));
    }
    text
}

/// A node without a cluster has an id of its own, and an address that is all that others know of
/// it.
fn name(health: &MemberHealth) -> String {
    match id(health) {
        Some(id) => format!("node {id}"),
        None => text_or_dash(&member(health).client_addr),
    }
}

fn leader(answer: &HealthResponse) -> String {
    match leading(answer) {
        Some(leader) => {
            let address = text_or_dash(&leader.client_addr);
            format!("node {} at {address}, term {}", leader.id, answer.term)
        }
        None if answer.leader_id != 0 => format!("node {}, term {}", answer.leader_id, answer.term),
        None => "none".to_owned(),
    }
}

fn leading(answer: &HealthResponse) -> Option<&Member> {
    let members = answer.members.iter().filter_map(|health| health.member.as_ref());
    members.filter(|_| answer.leader_id != 0).find(|member| member.id == answer.leader_id)
}

/// The id, and the label that the nodes were started with.
fn cluster(answer: &HealthResponse) -> String {
    match (cluster_id(answer), cluster_name(answer)) {
        (None, _) => "none".to_owned(),
        (Some(id), None) => output::escaped(id.as_bytes()),
        (Some(id), Some(name)) => {
            format!("{} ({})", output::escaped(id.as_bytes()), output::escaped(name.as_bytes()))
        }
    }
}

fn cluster_id(answer: &HealthResponse) -> Option<&str> {
    let id = &answer.header.as_ref()?.cluster_id;
    (!id.is_empty()).then_some(id)
}

/// The leader's label, or that of the first member that has one.
fn cluster_name(answer: &HealthResponse) -> Option<&str> {
    let labels = || {
        let labelled = answer.members.iter().filter_map(|m| Some((m, m.status.as_ref()?)));
        labelled.filter(|(_, status)| !status.cluster_name.is_empty())
    };
    let leaders = labels().find(|(health, _)| member(health).id == answer.leader_id);
    leaders.or_else(|| labels().next()).map(|(_, status)| status.cluster_name.as_str())
}

fn is_joint(answer: &HealthResponse) -> bool {
    answer.members.iter().any(|m| change(member(m)).is_some())
        || answer.members.iter().any(|m| m.status.as_ref().is_some_and(|status| status.joint))
}

fn table(answer: &HealthResponse) -> Table {
    let mut table = Table::new([
        ("ID", Align::Right),
        ("ROLE", Align::Left),
        ("TERM", Align::Right),
        ("LAST", Align::Right),
        ("COMMITTED", Align::Right),
        ("APPLIED", Align::Right),
        ("LAG", Align::Right),
        ("DB SIZE", Align::Right),
        ("CLIENT ADDRESS", Align::Left),
        ("RAFT ADDRESS", Align::Left),
    ]);
    for member in &answer.members {
        table.row(cells(member));
    }
    table
}

fn cells(health: &MemberHealth) -> [String; 10] {
    let status = health.status.as_ref();
    let unknown = || "?".to_owned();
    [
        or_dash(id(health)),
        status.map_or("unreachable", role).to_owned(),
        or_dash(status.map(|s| s.term)),
        or_dash(status.map(|s| s.last_log_index)),
        or_dash(status.map(|s| s.committed_index)),
        or_dash(status.map(|s| s.applied_index)),
        health.lag_entries.map_or_else(unknown, |lag| lag.to_string()),
        or_dash(status.map(|s| units::bytes(s.log_size_bytes.saturating_add(s.state_size_bytes)))),
        text_or_dash(&member(health).client_addr),
        text_or_dash(&member(health).raft_addr),
    ]
}

/// The id in the membership; before there is one, the id that the node gives itself.
fn id(health: &MemberHealth) -> Option<u64> {
    let own = || health.status.as_ref().map(|status| status.node_id);
    Some(member(health).id).filter(|id| *id != 0).or_else(own)
}

fn member(health: &MemberHealth) -> &Member {
    static NONE: Member = Member {
        id: 0,
        raft_addr: String::new(),
        client_addr: String::new(),
        voter: false,
        incarnation: String::new(),
        change: 0,
    };
    health.member.as_ref().unwrap_or(&NONE)
}

fn role(status: &StatusResponse) -> &'static str {
    match status.role() {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        Role::Unspecified => "-",
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn text_or_dash(address: &str) -> String {
    if address.is_empty() { "-".to_owned() } else { output::escaped(address.as_bytes()) }
}

fn as_json(answer: &HealthResponse) -> Value {
    let verdict = Verdict::new(answer);
    let leader = (answer.leader_id != 0).then(|| {
        let client_addr = leading(answer).map(|leader| &leader.client_addr);
        json!({ "id": answer.leader_id, "client_addr": client_addr, "term": answer.term })
    });
    json!({
        "health": verdict.name(),
        "initialized": verdict.is_initialized(),
        "leader": leader,
        "cluster_id": cluster_id(answer),
        "cluster_name": cluster_name(answer),
        "joint": is_joint(answer),
        "membership_index": answer.membership_index,
        "problems": answer.problems,
        "nodes": answer.members.iter().map(node_json).collect::<Vec<_>>(),
    })
}

fn node_json(health: &MemberHealth) -> Value {
    let (member, status) = (member(health), health.status.as_ref());
    json!({
        "id": id(health),
        "voter": member.voter,
        "change": change(member),
        "reachable": status.is_some(),
        "role": status.map(role),
        "problems": health.problems,
        "version": status.map(|s| &s.version),
        "term": status.map(|s| s.term),
        "last_log_index": status.map(|s| s.last_log_index),
        "committed_index": status.map(|s| s.committed_index),
        "applied_index": status.map(|s| s.applied_index),
        "snapshot_index": status.map(|s| s.snapshot_index),
        "purged_index": status.map(|s| s.purged_index),
        "lag_entries": health.lag_entries,
        "log_size_bytes": status.map(|s| s.log_size_bytes),
        "state_size_bytes": status.map(|s| s.state_size_bytes),
        "client_addr": member.client_addr,
        "raft_addr": member.raft_addr,
    })
}
