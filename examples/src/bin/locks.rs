//! A lock service with leases, waiters and fencing tokens. Start it as often as there are nodes,
//! and make them a cluster:
//!
//! ```text
//! locks --id 1 --data-dir d1 --client-addr n1:6000 --raft-addr n1:7000 --http-addr n1:8000 \
//!     --peers 1=n1:7000/n1:6000,2=n2:7000/n2:6000,3=n3:7000/n3:6000
//! curl -X POST n1:8000/admin/init
//! curl n2:8000/write --json '{"Acquire": {"lock": "build", "owner": "ann", "ttl_ms": 10000}}'
//! curl n3:8000/read --json '{"Lock": "build"}'
//! ```

use std::time::Duration;

use clap::Parser;
use raftnode::args::NodeArgs;
use raftnode::{
    Application, At, ClusterTime, KeyRange, MergeOperator, Node, ScanLimit, StorageError, Transaction, View,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    /// The token is a fencing token: it only grows.
    Acquire {
        lock: String,
        owner: String,
        ttl_ms: u64,
    },
    Renew {
        lock: String,
        owner: String,
        token: u64,
        ttl_ms: u64,
    },
    Release {
        lock: String,
        owner: String,
        token: u64,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Granted { token: u64, until_ms: u64 },
    Queued { ahead: usize },
    Released { next: Option<String> },
    Refused { reason: String },
}

#[derive(Debug, Serialize, Deserialize)]
enum Query {
    Lock(String),
    List { prefix: String },
    Acquisitions(String),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Lock(Option<Lock>),
    List(Vec<(String, Lock)>),
    Acquisitions(u64),
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lock {
    holder: Option<Lease>,
    waiting: Vec<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    owner: String,
    token: u64,
    until_ms: u64,
}

impl Lock {
    /// Gives the lock to the first waiter if its lease has run out, or there is none.
    fn hand_on(&mut self, at: At) -> Option<String> {
        if self.holder.as_ref().is_some_and(|lease| ClusterTime::from_millis(lease.until_ms) > at.time) {
            return None;
        }
        self.holder = None;
        if self.waiting.is_empty() {
            return None;
        }
        let (owner, ttl_ms) = self.waiting.remove(0);
        self.grant(at, owner.clone(), ttl_ms);
        Some(owner)
    }

    fn grant(&mut self, at: At, owner: String, ttl_ms: u64) -> Outcome {
        let (token, until_ms) = (at.position, until(at, ttl_ms));
        self.holder = Some(Lease { owner, token, until_ms });
        Outcome::Granted { token, until_ms }
    }

    fn acquire(&mut self, at: At, owner: String, ttl_ms: u64) -> Outcome {
        match &self.holder {
            Some(lease) if lease.owner == owner => {
                Outcome::Granted { token: lease.token, until_ms: lease.until_ms }
            }
            Some(_) => {
                let ahead = self.waiting.iter().position(|(waiting, _)| *waiting == owner);
                let ahead = ahead.unwrap_or_else(|| {
                    self.waiting.push((owner, ttl_ms));
                    self.waiting.len() - 1
                });
                Outcome::Queued { ahead }
            }
            None => self.grant(at, owner, ttl_ms),
        }
    }
}

fn until(at: At, ttl_ms: u64) -> u64 {
    (at.time + Duration::from_millis(ttl_ms)).as_millis()
}

struct Locks;

impl Application for Locks {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Outcome;
    type Query = Query;
    type Answer = Answer;

    fn apply(&self, txn: &mut Transaction, at: At, command: Command) -> Result<Outcome, StorageError> {
        let (Command::Acquire { lock: name, .. }
        | Command::Renew { lock: name, .. }
        | Command::Release { lock: name, .. }) = &command;
        let key = [b"l", name.as_bytes()].concat();
        let mut lock: Lock = txn.load(&key)?.unwrap_or_default();
        let before = lock.holder.as_ref().map(|lease| lease.token);
        let next = lock.hand_on(at);
        let outcome = match (command, &mut lock.holder) {
            (Command::Acquire { owner, ttl_ms, .. }, _) => lock.acquire(at, owner, ttl_ms),
            (Command::Renew { owner, token, ttl_ms, .. }, Some(lease)) if lease.is(&owner, token) => {
                lease.until_ms = until(at, ttl_ms);
                Outcome::Granted { token, until_ms: lease.until_ms }
            }
            (Command::Release { owner, token, .. }, Some(lease)) if lease.is(&owner, token) => {
                lock.holder = None;
                Outcome::Released { next: lock.hand_on(at).or(next) }
            }
            _ => Outcome::Refused { reason: "no longer held".to_owned() },
        };
        if let Some(lease) = lock.holder.as_ref().filter(|lease| Some(lease.token) != before) {
            txn.merge(&acquisitions(&lease.owner), &1_u64.to_le_bytes())?;
        }
        txn.store(&key, &lock)?;
        Ok(outcome)
    }

    fn query(&self, view: &mut View, query: Query) -> Result<Answer, StorageError> {
        Ok(match query {
            Query::Lock(name) => Answer::Lock(view.load(&[b"l", name.as_bytes()].concat())?),
            Query::List { prefix } => {
                let range = KeyRange::prefix(&[b"l", prefix.as_bytes()].concat());
                let pairs = view.scan(&range, ScanLimit { pairs: 1000, bytes: 1 << 20 })?;
                let named = pairs.into_iter().map(|(key, value)| {
                    let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
                    Ok((name, raftnode::decode(&key, &value)?))
                });
                Answer::List(named.collect::<Result<_, StorageError>>()?)
            }
            Query::Acquisitions(owner) => {
                let count = view.get(&acquisitions(&owner))?;
                let count = count.and_then(|bytes| Some(u64::from_le_bytes(bytes[..].try_into().ok()?)));
                Answer::Acquisitions(count.unwrap_or(0))
            }
        })
    }

    fn merge_operator(&self) -> Option<&dyn MergeOperator> {
        Some(self)
    }
}

/// Acquisitions are added up.
impl MergeOperator for Locks {
    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, String> {
        let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
        let sum = number(older).and_then(|older| older.checked_add(number(operand)?));
        Ok(sum.ok_or("no counter")?.to_le_bytes().to_vec())
    }
}

impl Lease {
    fn is(&self, owner: &str, token: u64) -> bool {
        self.owner == owner && self.token == token
    }
}

fn acquisitions(owner: &str) -> Vec<u8> {
    [b"a", owner.as_bytes()].concat()
}

/// A replicated lock service.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse().node;
    let _log = args.start_log("locks", env!("CARGO_PKG_VERSION"))?;
    let node = Node::builder(Locks).name("locks").version(env!("CARGO_PKG_VERSION"));
    let node = node.http_json().start(args.into()).await?;
    Ok(node.until_stopped().await?)
}
