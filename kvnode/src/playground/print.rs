//! What the playground tells the person who started it. Standard output: it is the product.

use std::io::{Write as _, stdout};
use std::path::Path;
use std::time::Duration;

use proto::node::v1 as pb;

use super::child::Child;
use super::settings::Settings;
use super::tls;

/// A line. The reader may have gone away, as in `| head`: the cluster stays up.
macro_rules! say {
    ($($text:tt)*) => { drop(writeln!(stdout(), $($text)*)) };
}

pub(super) fn starting(nodes: u8, dir: &Path) {
    let noun = if nodes == 1 { "node" } else { "nodes" };
    say!("Starting {nodes} {noun} in {} …", dir.display());
}

/// The whole picture, once there is a leader.
pub(super) fn up(
    dir: &Path,
    kept: bool,
    settings: &Settings,
    children: &[Child],
    statuses: &[pb::StatusResponse],
    found_again: bool,
    took: Duration,
) {
    let again = if found_again { " again, with the data it had" } else { "" };
    say!("The cluster is up{again} ({:.1} s).\n", took.as_secs_f64());
    say!("  node  role      clients            status page              pid");
    for (child, status) in children.iter().zip(statuses) {
        say!("{}", row(child, settings, status));
    }
    say!("\nTry it, in another terminal:\n");
    for command in commands(dir, settings) {
        say!("  {command}");
    }
    say!("\nSee what it survives:\n");
    say!("{}", survival(children, statuses));
    say!(
        "\nData and logs: {}/node-*{}",
        dir.display(),
        if kept { "" } else { " (removed at the end; keep them with --dir DIR)" }
    );
    say!("Ctrl-C stops the cluster.");
}

fn row(child: &Child, settings: &Settings, status: &pb::StatusResponse) -> String {
    let clients = format!("127.0.0.1:{}", child.ports.client);
    let scheme = if settings.tls { "https" } else { "http" };
    let page = format!("{scheme}://127.0.0.1:{}/", child.ports.http);
    let pid = child.pid().map(|pid| pid.to_string()).unwrap_or_default();
    format!("  {:<4}  {:<8}  {clients:<17}  {page:<23}  {pid}", child.id, role(status))
}

fn role(status: &pb::StatusResponse) -> &'static str {
    if status.role() == pb::Role::Leader { "leader" } else { "follower" }
}

/// Commands to paste; the endpoints are exported once, so that each stays short.
fn commands(dir: &Path, settings: &Settings) -> Vec<String> {
    let endpoints: Vec<_> =
        settings.nodes.iter().map(|ports| format!("127.0.0.1:{}", ports.client)).collect();
    let kvcli = "cargo run --release --bin kvcli --";
    let mut commands = vec![format!("export KVCLI_ENDPOINTS={}", endpoints.join(","))];
    if settings.tls {
        commands.extend(tls::exports(dir));
    }
    for command in ["put greeting hello", "get greeting", "scan --prefix greet", "cluster status"] {
        commands.push(format!("{kvcli} {command}"));
    }
    commands
}

fn survival(children: &[Child], statuses: &[pb::StatusResponse]) -> String {
    let leader = children.iter().zip(statuses).find(|(_, status)| role(status) == "leader");
    match leader.and_then(|(child, _)| child.pid()) {
        Some(pid) if children.len() > 2 => {
            format!(
                "  kill -9 {pid}        # the leader; the others elect a new one, nothing acknowledged is lost"
            )
        }
        _ => "  stop it and start it again in the same --dir: nothing acknowledged is lost".to_owned(),
    }
}

pub(super) fn node_ended(id: usize, ended: &str, left: usize) {
    say!(
        "\nNode {id} has stopped ({ended}); {left} left. It comes back when the playground is started again."
    );
}

pub(super) fn stopping(nodes: usize) {
    if nodes > 0 {
        say!("\nStopping …");
    }
}

pub(super) fn stopped(kept: Option<&Path>) {
    match kept {
        Some(dir) => say!(
            "Stopped. Start it again with: cargo run --release --bin kvnode -- playground --dir {}",
            dir.display()
        ),
        None => say!("Stopped."),
    }
}
