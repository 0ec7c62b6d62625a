//! Short links, replicated inside a web server that this program has anyway: its own routes on its
//! own port call the node, and the node's three ports serve the cluster. Start it as often as there
//! are nodes, and make them a cluster:
//!
//! ```text
//! web --listen n1:8080 --id 1 --data-dir d1 --client-addr n1:6000 --raft-addr n1:7000 \
//!     --http-addr n1:8000 --peers 1=n1:7000/n1:6000,2=n2:7000/n2:6000,3=n3:7000/n3:6000
//! kvcli --endpoints n1:6000 cluster init
//! curl -X PUT n2:8080/docs --data https://docs.rs
//! curl n3:8080/docs --location
//! ```

use axum::extract::{Path, State};
use axum::{Router, http::StatusCode, response::Redirect, routing::get};
use clap::Parser;
use raftnode::{Application, At, Error, Node, StorageError, Transaction, View};
use raftnode::{args::NodeArgs, shutdown::StopRequests};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    Link { name: String, target: String },
}

#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    /// Also if it did before: the same request may be sent again.
    Leads,
    Taken,
}

#[derive(Debug, Serialize, Deserialize)]
enum Query {
    Target { name: String },
}

struct Links;

impl Application for Links {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Outcome;
    type Query = Query;
    type Answer = Option<String>;

    fn apply(&self, txn: &mut Transaction, _: At, command: Command) -> Result<Outcome, StorageError> {
        let Command::Link { name, target } = command;
        match txn.load::<String>(name.as_bytes())? {
            Some(present) if present != target => return Ok(Outcome::Taken),
            Some(_) => {}
            None => txn.store(name.as_bytes(), &target)?,
        }
        Ok(Outcome::Leads)
    }

    fn query(&self, view: &mut View, query: Query) -> Result<Option<String>, StorageError> {
        let Query::Target { name } = query;
        view.load(name.as_bytes())
    }

    fn is_long(_: &Query) -> bool {
        false
    }
}

/// Replicated short links.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Serve the web here
    #[arg(long, value_name = "HOST:PORT")]
    listen: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { node, listen } = Args::parse();
    let _log = node.start_log("web", env!("CARGO_PKG_VERSION"))?;
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let version = env!("CARGO_PKG_VERSION");
    let node = Node::builder(Links).name("web").version(version).start(node.into()).await?;
    let router = Router::new().route("/{name}", get(follow).put(link)).with_state(node.clone());
    let asked_to_stop = StopRequests::listen(false)?.first(raftnode::logging::flush);
    let web = axum::serve(listener, router).with_graceful_shutdown(async { _ = asked_to_stop.await });
    // The web server uses the node, so it ends first.
    Ok(node.run_until(async { web.await }).await??)
}

type Answered<T> = Result<T, (StatusCode, String)>;

async fn link(State(node): State<Node<Links>>, Path(name): Path<String>, to: String) -> Answered<StatusCode> {
    match node.write(Command::Link { name, target: to }).await.map_err(failed)? {
        Outcome::Leads => Ok(StatusCode::CREATED),
        Outcome::Taken => Ok(StatusCode::CONFLICT),
    }
}

async fn follow(State(node): State<Node<Links>>, Path(name): Path<String>) -> Answered<Redirect> {
    let target = node.read(Query::Target { name }).await.map_err(failed)?;
    target.map(|target| Redirect::to(&target)).ok_or((StatusCode::NOT_FOUND, String::new()))
}

/// 503, 429, 422 or 504: whether the write may have been applied.
fn failed(error: Error) -> (StatusCode, String) {
    let code = StatusCode::from_u16(error.http_status());
    (code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.to_string())
}
