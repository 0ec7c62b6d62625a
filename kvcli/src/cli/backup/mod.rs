//! `kvcli backup`: one file per noun.

mod file;
mod list;
mod partial;
mod progress;
mod save;
mod shown;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Context;

const EXAMPLES: &str = "\
A backup has everything that was acknowledged before it was begun, whichever node it is saved from.
`kvnode restore` makes a new cluster of it.

Examples:
  kvcli backup save monday.backup
  kvcli backup verify monday.backup
  kvcli backup list monday.backup --output json";

/// Save the whole state to a file, and look at such files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, disable_help_subcommand = true)]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Save a backup from the first node that answers, while the cluster serves
    #[command(after_help = save::EXPLANATION)]
    Save(FileArgs),
    /// Read a backup to its end, and say whether every byte is right; asks no node
    Verify(FileArgs),
    /// Show of what a backup is, and as of when; asks no node, and verifies its header only
    List(FileArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The file
    file: PathBuf,
}

impl BackupArgs {
    /// Whether it asks a node.
    pub(super) fn is_online(&self) -> bool {
        matches!(self.command, BackupCommand::Save(_))
    }

    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.command {
            BackupCommand::Save(args) => save::run(&args.file, context).await,
            BackupCommand::Verify(args) => verify::run(&args.file, context.format),
            BackupCommand::List(args) => list::run(&args.file, context.format),
        }
    }
}
