//! All clients of one line of the result.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use kvcli::{Client, ClientError, ClientOptions, Endpoint};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::end::{End, Stop};
use super::progress::Progress;
use super::tally::{Counters, Tally};
use super::worker::Worker;
use super::workload::Workload;

/// One connection carries this many clients without becoming the bottleneck,
const CLIENTS_PER_CONNECTION: u64 = 16;
/// up to this many connections per node.
const MAX_CONNECTIONS: u64 = 8;

/// One stage: so many clients, doing this, until then.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) label: String,
    pub(super) clients: u64,
    pub(super) end: End,
    pub(super) workload: Workload,
}

impl Stage {
    /// Runs it to its end on connections of its own to the cluster that `base` knows.
    pub(super) async fn run(self, base: &Client) -> anyhow::Result<Tally> {
        let connections = self.clients.div_ceil(CLIENTS_PER_CONNECTION).min(MAX_CONNECTIONS) as usize;
        let clients = self.clients(base, connections).await?;
        let counters = Arc::new(Counters::new()?);
        let before = processor_micros(base).await;
        let started = Instant::now();
        let mut workers = JoinSet::new();
        let stop = Stop::at(self.end, started);
        for (number, client) in clients.into_iter().enumerate() {
            let workload = self.workload.clone();
            let (counters, stop) = (Arc::clone(&counters), stop.clone());
            workers.spawn(Worker { number, client, workload, counters, stop }.run());
        }
        self.watch(&mut workers, &counters, started).await?;
        let took = started.elapsed();
        let used = used_micros(&before, &processor_micros(base).await);
        counters.tally(self.clients, connections, took, used)
    }

    /// A client for each worker, with the connections dialled, so that the figures do not include
    /// that.
    async fn clients(&self, base: &Client, connections: usize) -> anyhow::Result<Vec<Client>> {
        let endpoints = base.endpoints().iter().map(Endpoint::as_str);
        let options = ClientOptions { connections_per_endpoint: connections, ..base.options() };
        let first = Client::connect(endpoints, options)?;
        // The first request may learn who leads; from the second on they go there, over another
        // connection each.
        for _ in 0..=connections {
            self.workload.warm_up(&first).await?;
        }
        Ok((0..self.clients).map(|_| first.clone()).collect())
    }

    async fn watch(
        &self,
        workers: &mut JoinSet<()>,
        counters: &Counters,
        started: Instant,
    ) -> anyhow::Result<()> {
        let mut progress = Progress::new(&self.label, self.clients, self.end);
        let mut ticks = interval(progress.period());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        loop {
            tokio::select! {
                ended = workers.join_next() => match ended {
                    Some(ended) => ended?,
                    None => break,
                },
                _ = ticks.tick() => progress.show(counters, started.elapsed()),
            }
        }
        progress.clear();
        Ok(())
    }
}

/// What each member has used of processors since its start, by its id; empty if one of them does
/// not answer.
async fn processor_micros(client: &Client) -> BTreeMap<u64, u64> {
    let asked = async {
        let members = client.latest_status().await?.members;
        let questions = members.iter().map(async |member| {
            let status = client.status_of(&member.client_addr.parse()?).await?;
            Ok::<_, ClientError>((status.node_id, status.processor_micros))
        });
        try_join_all(questions).await
    };
    asked.await.map(BTreeMap::from_iter).unwrap_or_default()
}

/// What all nodes together have used meanwhile; none if one of them is missing or has started anew.
fn used_micros(before: &BTreeMap<u64, u64>, after: &BTreeMap<u64, u64>) -> Option<u64> {
    let used = |(id, before): (&u64, &u64)| after.get(id)?.checked_sub(*before);
    let known = !before.is_empty() && before.len() == after.len();
    if known { before.iter().map(used).sum() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_known_of_all_nodes_or_not_at_all() {
        let at = |pairs: &[(u64, u64)]| pairs.iter().copied().collect::<BTreeMap<_, _>>();
        assert_eq!(used_micros(&at(&[(1, 5), (2, 7)]), &at(&[(1, 8), (2, 7)])), Some(3));
        for after in [&[][..], &[(1, 8)], &[(1, 8), (2, 6)], &[(1, 8), (3, 9)]] {
            assert_eq!(used_micros(&at(&[(1, 5), (2, 7)]), &at(after)), None, "{after:?}");
        }
        assert_eq!(used_micros(&at(&[]), &at(&[])), None);
    }
}
