//! The ledger on three processes: clients send each transfer again until it is answered, while
//! nodes are killed one by one and all at once. Afterwards every balance is what the answers say,
//! and no money was made or lost.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::{Cluster, Dice, until};
use serde_json::{Value, json};

const ACCOUNTS: [&str; 5] = ["ann", "bob", "cid", "dee", "eve"];
const ISSUED_EACH: u64 = 1000;
/// Often more than an account has.
const MAX_AMOUNT: usize = 1500;
const CLIENTS: usize = 3;
/// Nodes that are killed one at a time, before all are.
const KILLS: usize = 3;
/// Answered transfers between one kill and the next.
const TRANSFERS_BETWEEN: usize = 15;

/// What the clients have been answered.
type Balances = BTreeMap<&'static str, i64>;

/// A client with one transfer on its way at a time.
struct Client<'a> {
    id: String,
    ports: Vec<u16>,
    dice: Dice,
    sequence: u64,
    answered: &'a AtomicUsize,
}

/// A transfer and its answer.
#[derive(Clone)]
struct Transfer {
    from: &'static str,
    to: &'static str,
    amount: usize,
    answer: Value,
}

impl Client<'_> {
    /// Makes transfers until it is told to stop.
    fn run(mut self, stop: &AtomicBool) -> Vec<Transfer> {
        let mut made = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            made.push(self.transfer());
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        let last: &Transfer = made.last().expect("a transfer");
        let again = self.send(last.from, last.to, last.amount);
        assert_eq!(again, last.answer, "sent again, it is answered as before");
        made
    }

    fn transfer(&mut self) -> Transfer {
        let from = self.dice.below(ACCOUNTS.len());
        let to = (from + 1 + self.dice.below(ACCOUNTS.len() - 1)) % ACCOUNTS.len();
        let (from, to, amount) = (ACCOUNTS[from], ACCOUNTS[to], self.dice.below(MAX_AMOUNT));
        self.sequence += 1;
        Transfer { from, to, amount, answer: self.send(from, to, amount) }
    }

    /// Sends it to one node after the other until one answers.
    fn send(&mut self, from: &str, to: &str, amount: usize) -> Value {
        let transfer = json!({ "Transfer": { "from": from, "to": to, "amount": amount } }).to_string();
        let sequence = self.sequence.to_string();
        let headers =
            [("client-id", &*self.id), ("sequence", &sequence), ("Content-Type", "application/json")];
        until("a transfer is answered", || {
            let port = self.ports[self.dice.below(self.ports.len())];
            match crate::support::exchange(port, "POST", "/write", &headers, &transfer) {
                Ok(answer) if answer.code == 200 => Ok(answer.json()),
                other => Err(other),
            }
        })
    }
}

/// Kills one node after the other, then all, with transfers answered in between.
fn kill_nodes(cluster: &mut Cluster, dice: &mut Dice, answered: &AtomicUsize) {
    let progress = || {
        let goal = answered.load(Ordering::Relaxed) + TRANSFERS_BETWEEN;
        let reached = || {
            let now = answered.load(Ordering::Relaxed);
            (now >= goal).then_some(()).ok_or(now)
        };
        until("transfers are answered", reached);
    };
    for _ in 0..KILLS {
        progress();
        let killed = dice.below(cluster.nodes.len());
        cluster.nodes[killed].kill();
        progress();
        cluster.restart(killed);
    }
    progress();
    cluster.kill_and_restart_all();
    progress();
}

/// The balances that follow from the answers.
fn balances(transfers: &[Transfer]) -> Balances {
    let issued = i64::try_from(ISSUED_EACH).unwrap();
    let mut balances: Balances = ACCOUNTS.iter().map(|name| (*name, issued)).collect();
    for Transfer { from, to, amount, .. } in transfers.iter().filter(|made| made.answer["Done"].is_object()) {
        *balances.get_mut(from).unwrap() -= i64::try_from(*amount).unwrap();
        *balances.get_mut(to).unwrap() += i64::try_from(*amount).unwrap();
    }
    balances
}

#[test]
fn no_money_is_made_or_lost_while_nodes_are_killed() {
    let mut dice = Dice::new("ledger");
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_ledger"));
    for (name, sequence) in ACCOUNTS.iter().zip(1_u64..) {
        let issue = json!({ "Issue": { "to": name, "amount": ISSUED_EACH } });
        let named = [("client-id", "0123456789abcdef0123456789abcdef"), ("sequence", &*sequence.to_string())];
        assert_eq!(cluster.nodes[0].ask_as("/write", &named, &issue)["Done"]["balance"], ISSUED_EACH);
    }
    let ports: Vec<_> = cluster.nodes.iter().map(|node| node.http_port).collect();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let transfers: Vec<Transfer> = thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|client| Client {
                id: format!("{client:032x}"),
                ports: ports.clone(),
                dice: dice.fork(),
                sequence: 0,
                answered: &answered,
            })
            .map(|client| scope.spawn(|| client.run(&stop)))
            .collect();
        kill_nodes(&mut cluster, &mut dice, &answered);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let done = transfers.iter().filter(|made| made.answer["Done"].is_object()).count();
    assert!(done > 0 && done < transfers.len(), "{done} of {} were done", transfers.len());

    cluster.join();
    let expected = balances(&transfers);
    for node in &cluster.nodes {
        for (name, expected) in &expected {
            let balance = node.ask("/read", &json!({ "Balance": name }));
            assert_eq!(balance, json!({ "Balance": expected }), "{name}, asked of node {}", node.id);
        }
        let total = ISSUED_EACH * ACCOUNTS.len() as u64;
        // Of what it has applied itself, as soon as it has.
        let all = json!({ "Total": { "issued": total, "held": total } });
        let own = || match node.ask("/read-stale", &json!("Total")) {
            seen if seen == all => Ok(()),
            seen => Err(seen),
        };
        until("every node holds what was issued", own);
    }
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_ledger"));
    let write = |command: Value| cluster.nodes[1].ask("/write", &command);
    let issue = |amount: u64| write(json!({ "Issue": { "to": "ann", "amount": amount } }));
    let transfer = |from: &str, amount: u64| {
        write(json!({ "Transfer": { "from": from, "to": "ann", "amount": amount } }))
    };
    assert_eq!(issue(u64::MAX), json!({ "Done": { "balance": u64::MAX } }));
    assert!(issue(1)["Refused"].is_object(), "more than can be counted");
    assert!(transfer("bob", 1)["Refused"].is_object(), "of an account that has nothing");
    assert_eq!(transfer("ann", 7), json!({ "Done": { "balance": u64::MAX } }), "to itself");
    let negative = json!({ "Issue": { "to": "ann", "amount": -1 } });
    let refused = cluster.nodes[1].post("/write", &[], &negative).unwrap();
    assert_eq!(refused.code, 422, "{refused:?}");
    let total = cluster.nodes[0].ask("/read", &json!("Total"));
    assert_eq!(total, json!({ "Total": { "issued": u64::MAX, "held": u64::MAX } }));
}
