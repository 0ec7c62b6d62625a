//! The playground's life: start, initialise, watch, take down.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::future::{join_all, select_all};
use proto::node::v1 as pb;
use proto::node::v1::cluster_client::ClusterClient;
use raftnode::shutdown::StopRequests;
use tokio::time::Instant;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use super::child::Child;
use super::print;
use super::settings::{Ports, Settings};
use super::tls;

/// How long the cluster may take until every node knows its leader.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a node is asked whether it is there yet.
const ASK_INTERVAL: Duration = Duration::from_millis(50);
/// Time for one question.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A running playground.
struct Playground {
    dir: PathBuf,
    settings: Settings,
    children: Vec<Child>,
}

/// Where the playground lives: kept, or removed when this is dropped.
enum Home {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// `kvnode playground`.
#[derive(Debug, Clone, Args)]
pub struct PlaygroundArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub nodes: u8,
    /// Keep everything here, and find it again at the next start; a temporary directory otherwise
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Encrypt everything, with certificates that are made in its directory
    #[arg(long)]
    pub tls: bool,
}

pub(super) async fn run(args: &PlaygroundArgs) -> anyhow::Result<()> {
    let mut requests = StopRequests::listen(false).context("cannot listen for signals")?;
    let home = home(args)?;
    let mut playground = Playground::start(home.path(), args)?;
    let outcome = tokio::select! {
        outcome = playground.use_until_over(&home) => outcome,
        _ = requests.next() => Ok(()),
    };
    print::stopping(playground.children.len());
    tokio::select! {
        () = playground.stop() => {}
        // The children die with their standard input.
        _ = requests.next() => bail!("stopped at once, as asked twice"),
    }
    print::stopped(matches!(home, Home::Kept(_)).then(|| home.path()));
    outcome
}

fn home(args: &PlaygroundArgs) -> anyhow::Result<Home> {
    let Some(dir) = &args.dir else {
        let dir = tempfile::Builder::new().prefix("kvnode-playground-").tempdir();
        return Ok(Home::Temporary(dir.context("cannot create a temporary directory")?));
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    refuse_foreign(dir)?;
    Ok(Home::Kept(dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))?))
}

/// A directory with files in it must be a playground's.
fn refuse_foreign(dir: &Path) -> anyhow::Result<()> {
    let mut entries = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    match std::fs::metadata(dir.join("playground.toml")) {
        Err(e) if e.kind() == ErrorKind::NotFound && entries.next().is_some() => {
            bail!("{} is not empty and holds no playground; choose another --dir", dir.display())
        }
        _ => Ok(()),
    }
}

impl Playground {
    fn start(dir: &Path, args: &PlaygroundArgs) -> anyhow::Result<Self> {
        let nodes = args.nodes;
        let settings = Settings::load_or_create(dir, nodes, args.tls)?;
        if settings.tls {
            tls::make(dir, settings.nodes.len())?;
        }
        print::starting(nodes, dir);
        let start = |(id, ports): (usize, &Ports)| Child::start(dir, &settings, id, *ports);
        let children = (1..).zip(&settings.nodes).map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { dir: dir.to_owned(), settings, children })
    }

    /// Brings the cluster up, shows it, and reports what happens to it; returns when no node is
    /// left.
    async fn use_until_over(&mut self, home: &Home) -> anyhow::Result<()> {
        let started = Instant::now();
        let clients = self.clients()?;
        let came_up = async {
            let init = init(clients.first().context("no nodes")?.clone()).await?;
            anyhow::Ok((init, agreement(&clients).await?))
        };
        let (init, statuses) = tokio::select! {
            up = tokio::time::timeout(START_TIMEOUT, came_up) => up.with_context(|| self.not_up())??,
            (id, ended) = first_end(&mut self.children) => bail!("node {id} stopped: {ended}\n{}", self.tail(id)),
        };
        let kept = matches!(home, Home::Kept(_));
        print::up(
            &self.dir,
            kept,
            &self.settings,
            &self.children,
            &statuses,
            init.already_initialized,
            started.elapsed(),
        );
        self.watch().await
    }

    async fn watch(&mut self) -> anyhow::Result<()> {
        while !self.children.is_empty() {
            let (id, ended) = first_end(&mut self.children).await;
            self.children.retain(|child| child.id != id);
            print::node_ended(id, &ended, self.children.len());
        }
        bail!("no node is left")
    }

    fn clients(&self) -> anyhow::Result<Vec<ClusterClient<Channel>>> {
        let tls = self.settings.tls.then(|| tls::client(&self.dir)).transpose()?;
        let client = |ports: &Ports| {
            let scheme = if tls.is_some() { "https" } else { "http" };
            let endpoint = Endpoint::from_shared(format!("{scheme}://127.0.0.1:{}", ports.client))?;
            let endpoint = match &tls {
                None => endpoint,
                Some(tls) => endpoint.tls_config(tls.clone())?,
            };
            Ok(ClusterClient::new(endpoint.connect_lazy()))
        };
        self.settings.nodes.iter().map(client).collect()
    }

    fn not_up(&self) -> String {
        format!("the cluster has no leader after {START_TIMEOUT:?}\n{}", self.tail(1))
    }

    /// The end of a node's log, for an error message.
    fn tail(&self, id: usize) -> String {
        let Some(child) = self.children.iter().find(|child| child.id == id) else { return String::new() };
        let log = std::fs::read_to_string(&child.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last: Vec<_> =
            lines.iter().skip(lines.len().saturating_sub(5)).map(|line| format!("    {line}")).collect();
        last.join("\n")
    }

    async fn stop(&mut self) {
        join_all(std::mem::take(&mut self.children).into_iter().map(Child::stop)).await;
    }
}

/// Waits for the first child that ends.
async fn first_end(children: &mut [Child]) -> (usize, String) {
    let ends = children.iter_mut().map(|child| {
        Box::pin(async move {
            let ended = child.ended().await;
            (child.id, ended.map_or_else(|e| e.to_string(), |status| status.to_string()))
        })
    });
    select_all(ends).await.0
}

/// Initialises as soon as the node answers.
async fn init(mut client: ClusterClient<Channel>) -> anyhow::Result<pb::InitResponse> {
    loop {
        let mut request = Request::new(pb::InitRequest {});
        request.set_timeout(ASK_TIMEOUT);
        match client.init(request).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if status.code() == tonic::Code::Unavailable => {
                tokio::time::sleep(ASK_INTERVAL).await
            }
            Err(status) => bail!("cannot initialise the cluster: {}", status.message()),
        }
    }
}

/// Asks until every node names the same leader, and that node leads.
async fn agreement(clients: &[ClusterClient<Channel>]) -> anyhow::Result<Vec<pb::StatusResponse>> {
    loop {
        let statuses: Vec<_> =
            join_all(clients.iter().cloned().map(status)).await.into_iter().flatten().collect();
        if let Some(failed) = statuses.iter().find(|status| !status.fault.is_empty()) {
            bail!("node {} cannot serve: {}", failed.node_id, failed.fault);
        }
        let leading =
            statuses.iter().find(|status| status.role() == pb::Role::Leader).map(|status| status.node_id);
        let named = |status: &pb::StatusResponse| status.header.as_ref().map(|header| header.leader_id);
        if statuses.len() == clients.len()
            && leading.is_some()
            && statuses.iter().all(|s| named(s) == leading)
        {
            return Ok(statuses);
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

async fn status(mut client: ClusterClient<Channel>) -> Option<pb::StatusResponse> {
    let mut request = Request::new(pb::StatusRequest {});
    request.set_timeout(ASK_TIMEOUT);
    Some(client.status(request).await.ok()?.into_inner())
}
