//! `kvcli completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  source <(kvcli completions bash)
  kvcli completions fish > ~/.config/fish/completions/kvcli.fish";

/// Write a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Not straight to stdout: the generator panics when that is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kvcli", &mut script);
        output::write(&script)?;
        Ok(())
    }
}
