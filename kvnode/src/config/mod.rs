//! What the operator asks for: flags, then `KVNODE_*` variables, then a file.
//!
//! Owns reading, merging and checking; ends in a [`Config`] or in every complaint at once, before a
//! socket opens or a file is touched.

mod args;
mod check;
mod file;
mod settings;

pub use args::{CheckArgs, Cli, Command, ReportFormat, ServeArgs};
pub use check::ConfigErrors;

use std::path::PathBuf;

use raftnode::NodeConfig;
use raftnode::trace::OtlpEndpoint;

use raftnode::logging::LogOptions;

/// Everything `kvnode serve` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The node itself.
    pub node: NodeConfig,
    /// What is logged, and how.
    pub log: LogOptions,
    /// Where spans are sent; none: nowhere.
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// Stop when standard input ends: the playground's way to never leave a node behind.
    pub exit_on_stdin_eof: bool,
}

impl Config {
    /// Merges the three sources and checks the result.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn load(args: &ServeArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let settings = settings::Settings::merge(args, env, &mut errors);
        check::config(&settings, errors)
    }
}

/// The data directory alone, from the same three sources.
///
/// # Errors
/// It is not given, or a source cannot be read.
pub fn data_dir(args: &CheckArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigErrors> {
    let mut errors = Vec::new();
    let args =
        ServeArgs { data_dir: args.data_dir.clone(), config: args.config.clone(), ..ServeArgs::default() };
    let settings = settings::Settings::merge(&args, env, &mut errors);
    check::data_dir(&settings, errors)
}
