//! `kvcli cluster`: one file per noun; `change` holds the commands that alter the membership.

mod change;
mod members;
mod replace;
mod status;

use clap::{Args, Subcommand};

use super::Context;
use super::health::EXIT_CODES;
use crate::exit::Code;

/// Set up, watch and change the cluster
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, disable_help_subcommand = true)]
pub(super) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

const EXAMPLES: &str = "\
Examples:
  kvcli cluster init                                   once, against any node
  kvcli cluster status
  kvcli cluster add-learner 4 host4:7101 host4:7001    the new node is running
  kvcli cluster promote 4
  kvcli cluster transfer-leader 2
  kvcli cluster remove 1
  kvcli cluster replace 3 5 host5:7101 host5:7001      node 5 takes the place of node 3
  kvcli cluster set-address 3 --raft host5:7101 --client host5:7001";

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Make the peers that the nodes were started with a cluster; harmless when repeated
    Init,
    /// Show whether the cluster is well, and every member: role, log, lag, size and addresses
    #[command(after_help = EXIT_CODES)]
    Status,
    /// List the members
    Members,
    /// Add a node that receives the log but does not vote, and wait until it has caught up
    AddLearner(change::AddLearnerArgs),
    /// Make learners voters
    Promote(change::ChangeArgs),
    /// Take members out, in one change
    Remove(change::ChangeArgs),
    /// Let a new node take the place of a voter, in one safe step: it catches up first; may be run
    /// again if it was interrupted
    Replace(replace::ReplaceArgs),
    /// Tell the cluster that a member is reached under other addresses
    SetAddress(change::SetAddressArgs),
    /// Hand leadership to another voter and wait until it leads
    TransferLeader(change::IdArgs),
    /// Make the first node that answers build a snapshot now
    Snapshot,
}

impl ClusterArgs {
    /// Whether the command may take as long as a node needs to catch up.
    pub(super) fn is_change(&self) -> bool {
        !matches!(self.command, ClusterCommand::Init | ClusterCommand::Status | ClusterCommand::Members)
    }

    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Code> {
        match self.command {
            ClusterCommand::Init => change::init(context).await?,
            ClusterCommand::Status => return status::run(context).await,
            ClusterCommand::Members => members::run(context).await?,
            ClusterCommand::AddLearner(args) => args.run(context).await?,
            ClusterCommand::Promote(args) => args.promote(context).await?,
            ClusterCommand::Remove(args) => args.remove(context).await?,
            ClusterCommand::Replace(args) => args.run(context).await?,
            ClusterCommand::SetAddress(args) => args.run(context).await?,
            ClusterCommand::TransferLeader(args) => args.transfer(context).await?,
            ClusterCommand::Snapshot => change::snapshot(context).await?,
        }
        Ok(Code::DONE)
    }
}
