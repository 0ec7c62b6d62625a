//! The command line: `args` describes it, one file per command carries it out.

mod args;
mod backup;
mod bench;
mod cluster;
mod completions;
mod delete;
mod get;
mod health;
mod put;
mod scan;

use kvcli::wire::HealthResponse;
use kvcli::{Client, ClientError, ClientOptions, TraceId};

pub(crate) use args::Cli;
use args::Command;

use crate::exit::{Code, Problem};
use crate::output::{self, Format};

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// Dials nothing before the first request.
    pub(crate) client: Client,
    /// How to write the answer.
    pub(crate) format: Format,
}

impl Context {
    /// How the cluster is. Endpoints of several clusters are a verdict too: not well.
    async fn health(&self) -> anyhow::Result<HealthResponse> {
        match self.client.health().await {
            Err(error @ ClientError::SeveralClusters { .. }) => Err(Problem::SeveralClusters(error).into()),
            answer => Ok(answer?),
        }
    }
}

impl Cli {
    /// The id of everything that this command asks; none for a benchmark, whose operations have one
    /// each.
    pub(crate) fn trace(&self) -> Option<TraceId> {
        let one = match &self.command {
            Command::Bench(_) | Command::Completions(_) => false,
            Command::Backup(args) => args.is_online(),
            _ => true,
        };
        one.then(TraceId::random)
    }

    /// Runs the command to its end.
    pub(crate) fn run(self, trace: Option<TraceId>) -> anyhow::Result<Code> {
        if let Command::Completions(args) = self.command {
            return args.run().map(|()| Code::DONE);
        }
        let options = ClientOptions {
            cluster_id: self.global.cluster_id,
            timeout: self.global.timeout.unwrap_or(self.command.default_timeout()),
            tls: self.global.tls()?,
            token: self.global.token()?,
            ..ClientOptions::default()
        };
        let mut client = Client::connect(&self.global.endpoints, options)?;
        if let Some(trace) = trace {
            client = client.with_trace(trace);
            if self.global.verbose {
                output::note(&format!("trace id {trace}"));
            }
        }
        let context = Context { client, format: self.global.output };
        runtime(&self.command)?.block_on(self.command.run(&context))
    }
}

/// The command itself runs on the main thread and may block on its output, which a pager stops for
/// as long as it likes; connections live on workers, so that they stay alive meanwhile.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if !matches!(command, Command::Bench(_)) {
        builder.worker_threads(1);
    }
    builder.enable_all().build()
}

impl Command {
    async fn run(self, context: &Context) -> anyhow::Result<Code> {
        match self {
            Self::Put(args) => args.run(context).await?,
            Self::Get(args) => args.run(context).await?,
            Self::Delete(args) => args.run(context).await?,
            Self::Scan(args) => args.run(context).await?,
            Self::Cluster(args) => return args.run(context).await,
            Self::Health(args) => return args.run(context).await,
            Self::Backup(args) => args.run(context).await?,
            Self::Bench(args) => args.run(context).await?,
            Self::Completions(args) => args.run()?,
        }
        Ok(Code::DONE)
    }
}
