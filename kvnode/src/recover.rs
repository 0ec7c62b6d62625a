//! `kvnode recover`: a new cluster of one node, of what survived the loss of a majority.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use raftnode::rebuild::{AHEAD, LogPoint, Rebuilt, Remains, Survivor, resume};

use crate::app::KvApplication;

const AFTER_HELP: &str = "\
Only if no majority of the old members can ever be started again. First it says what this node has,
and so what may be lost. Given the entry that it names, it makes a new cluster of it: with an id of
its own, and this node alone. Every entry in the log is kept. The old storage stays in the directory,
as storage.of-OLD_CLUSTER; remove it when all is well. It needs room for the state once more. A
recovery that was interrupted is begun anew, or finished, by the same command; until then no node
starts on the directory (docs/operations/recovery.md).

Exit codes: 0 done; 3 bad arguments, nothing to recover, or the loss was not accepted; 1 anything
else.";

/// `kvnode recover`.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct RecoverArgs {
    /// The data directory of the node that survived; the node is stopped
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Accept that whatever the old cluster has acknowledged behind this entry is lost; without it
    /// the command says which it is, and changes nothing
    #[arg(long, value_name = "TERM.LEADER.INDEX")]
    pub accept_loss_after: Option<LogPoint>,
    /// The directory was moved or copied here
    #[arg(long)]
    pub accept_moved_data: bool,
}

/// The loss was not accepted.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing was changed; if no majority of the old members can be started any more, run this again with --accept-loss-after {0}"
)]
pub(crate) struct NotAccepted(LogPoint);

/// Says what may be lost, and recovers if that was accepted.
///
/// # Errors
/// Why there is no new cluster.
pub(crate) fn run(args: &RecoverArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(recover(args))
}

async fn recover(args: &RecoverArgs) -> anyhow::Result<()> {
    if let Some(rebuilt) = resume(&args.data_dir).await? {
        say(&rebuilt);
        return Ok(());
    }
    let survivor = Survivor::open(KvApplication, &args.data_dir, args.accept_moved_data).await?;
    let last = survivor.remains().last;
    println!("{}", report(survivor.remains()));
    let accepted = args.accept_loss_after.ok_or(NotAccepted(last))?;
    say(&survivor.recover(accepted).await?);
    Ok(())
}

fn report(remains: &Remains) -> String {
    let Remains { node_id, cluster_id, last, committed, applied, vote, members, outdated } = remains;
    let point = |point: &Option<LogPoint>| point.map_or("none".to_owned(), |point| point.to_string());
    let vote = vote.map_or("none".to_owned(), |(term, leader)| format!("term {term}, for node {leader}"));
    let others: Vec<_> = members.iter().filter(|id| *id != node_id).map(u64::to_string).collect();
    let committed_index = committed.map_or(0, |committed| committed.index);
    let mut text = format!(
        "node {node_id} of cluster {cluster_id} has (term.leader.index)\n\
         \x20 last log entry   {last}\n\
         \x20 known committed  {}\n\
         \x20 applied on disk  {}\n\
         \x20 vote             {vote}\n\
         \x20 other members    {}\n\
         All entries up to {last} are kept and applied, the {} that are not known to be committed too: a majority may\n\
         have acknowledged them.\n\
         What may be lost: every write that the other members have acknowledged after entry {last}, without this node.",
        point(committed),
        point(applied),
        others.join(", "),
        last.index.saturating_sub(committed_index),
    );
    if *outdated {
        text.push_str(
            "\nThe storage of this node was found to lack entries that it had acknowledged: prefer any other node's.",
        );
    }
    text
}

fn say(rebuilt: &Rebuilt) {
    println!(
        "recovered as cluster {}, whose only member is node {}; revisions go on {AHEAD} behind the last\n\
         start it as before; add nodes with new ids and empty directories; never start another node of the old cluster \
         before its directory is wiped",
        rebuilt.cluster_id, rebuilt.node_id
    );
}
