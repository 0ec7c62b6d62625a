//! A ledger: accounts, and transfers between them. Money is issued, and never made or lost by a
//! transfer, however often its client sends it. Start it as often as there are nodes, and make them
//! a cluster:
//!
//! ```text
//! ledger --id 1 --data-dir d1 --client-addr n1:6000 --raft-addr n1:7000 --http-addr n1:8000 \
//!     --peers 1=n1:7000/n1:6000,2=n2:7000/n2:6000,3=n3:7000/n3:6000
//! curl -X POST n1:8000/admin/init
//! curl n2:8000/write --json '{"Issue": {"to": "ann", "amount": 100}}'
//! curl n3:8000/write --json '{"Transfer": {"from": "ann", "to": "bob", "amount": 30}}' \
//!     -H 'client-id: 0123456789abcdef0123456789abcdef' -H 'sequence: 1'
//! curl n1:8000/read --json '{"Balance": "bob"}'
//! ```
//!
//! A transfer that carries a client id and a sequence is made once: send it again with the same
//! two until it is answered.

use clap::Parser;
use raftnode::args::NodeArgs;
use raftnode::{Application, At, KeyRange, Node, ScanLimit, StorageError, Transaction, View};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum Command {
    Issue { to: String, amount: u64 },
    Transfer { from: String, to: String, amount: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    /// The balance of the account that it went to.
    Done {
        balance: u64,
    },
    Refused {
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum Query {
    Balance(String),
    /// Adds up all accounts.
    Total,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Balance(u64),
    Total { issued: u64, held: u64 },
}

/// All money that was ever issued; accounts have keys of their own below [`ACCOUNTS`].
const ISSUED: &[u8] = b"issued";
const ACCOUNTS: &[u8] = b"account/";
/// Accounts that are read at a time.
const PAGE: ScanLimit = ScanLimit { pairs: 1000, bytes: 1 << 20 };

fn account(name: &str) -> Vec<u8> {
    [ACCOUNTS, name.as_bytes()].concat()
}

fn refused(reason: &str) -> Result<Outcome, StorageError> {
    Ok(Outcome::Refused { reason: reason.to_owned() })
}

/// All that was issued can be counted, so what one account holds of it can.
fn credit(txn: &mut Transaction, to: &str, amount: u64) -> Result<Outcome, StorageError> {
    let held: u64 = txn.load(&account(to))?.unwrap_or(0);
    let too_much = || StorageError::corrupt(format!("{to} holds more than was issued"));
    let balance = held.checked_add(amount).ok_or_else(too_much)?;
    txn.store(&account(to), &balance)?;
    Ok(Outcome::Done { balance })
}

struct Ledger;

impl Application for Ledger {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Outcome;
    type Query = Query;
    type Answer = Answer;

    fn apply(&self, txn: &mut Transaction, _: At, command: Command) -> Result<Outcome, StorageError> {
        match command {
            Command::Issue { to, amount } => {
                let issued: u64 = txn.load(ISSUED)?.unwrap_or(0);
                let Some(issued) = issued.checked_add(amount) else {
                    return refused("more than can be counted");
                };
                txn.store(ISSUED, &issued)?;
                credit(txn, &to, amount)
            }
            Command::Transfer { from, to, amount } => {
                let held: u64 = txn.load(&account(&from))?.unwrap_or(0);
                let Some(left) = held.checked_sub(amount) else { return refused("not that much") };
                txn.store(&account(&from), &left)?;
                // Reads what was just stored, if it is the same account.
                credit(txn, &to, amount)
            }
        }
    }

    fn query(&self, view: &mut View, query: Query) -> Result<Answer, StorageError> {
        if let Query::Balance(name) = query {
            return Ok(Answer::Balance(view.load(&account(&name))?.unwrap_or(0)));
        }
        let (mut rest, mut held) = (KeyRange::prefix(ACCOUNTS), 0_u64);
        loop {
            let page = view.scan(&rest, PAGE)?;
            for (key, balance) in &page {
                held += raftnode::decode::<u64>(key, balance)?;
            }
            let Some((last, _)) = page.last() else { break };
            rest.start = [last, &b"\0"[..]].concat().into();
        }
        Ok(Answer::Total { issued: view.load(ISSUED)?.unwrap_or(0), held })
    }

    fn is_long(query: &Query) -> bool {
        matches!(query, Query::Total)
    }
}

/// A replicated ledger.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse().node;
    let _log = args.start_log("ledger", env!("CARGO_PKG_VERSION"))?;
    let node = Node::builder(Ledger).name("ledger").version(env!("CARGO_PKG_VERSION"));
    let node = node.http_json().start(args.into()).await?;
    Ok(node.until_stopped().await?)
}
