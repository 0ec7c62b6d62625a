//! A network between nodes of one process. Whatever happens to a message is chosen for the
//! direction in which it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storage_leveldb::testing::Random;
use tokio::time::{sleep, timeout};

use super::port::Port;
use crate::raft::NodeId;

/// A message takes this long at least.
const LATENCY: Duration = Duration::from_micros(200);
/// As good as never.
const MAX_DELAY: Duration = Duration::from_secs(3600);
/// A message that is overtaken arrives at most this much after its sender has given it up.
const LATE_MILLIS: u64 = 400;

/// The links between the nodes of a [`Cluster`](super::Cluster): one for each direction between
/// two of them. Cheap to clone; clones are one network.
#[derive(Clone)]
pub struct Network(Arc<Mutex<Links>>);

/// What happens to messages of one direction.
#[derive(Debug, Clone, Copy, Default)]
struct Link {
    cut: bool,
    /// Each message takes up to so much longer.
    delay_millis: u64,
    /// One message in so many is lost; 0: none is.
    drop_one_in: u64,
    /// One message in so many is overtaken by others; 0: none is.
    reorder_one_in: u64,
}

/// What happens to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives(Duration),
    /// It arrives so much after its sender has given it up.
    ArrivesLate(Duration),
    Lost,
}

/// Invariant: only nodes with a port are ever reached.
struct Links {
    ports: BTreeMap<NodeId, Port>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    /// Entries from these are lost; their heartbeats are not.
    mute: BTreeSet<NodeId>,
    random: Random,
    messages: Messages,
    /// What is late does not arrive any more.
    forgets_late: bool,
}

/// What has become of the messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Messages {
    /// All that were sent.
    pub sent: u64,
    /// Lost, in a cut direction or by chance.
    pub lost: u64,
    /// Overtaken by others.
    pub reordered: u64,
}

/// A request got no answer. Whether it arrived is not known, unless it says so.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Silence {
    reason: String,
    pub(super) may_have_arrived: bool,
}

impl Network {
    /// `seed` decides what is lost and what is late.
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Links {
            ports: BTreeMap::new(),
            links: BTreeMap::new(),
            mute: BTreeSet::new(),
            random: Random::new(seed),
            messages: Messages::default(),
            forgets_late: false,
        })))
    }

    /// What `from` sends to `to` is lost from now on.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.link(from, to, |link| link.cut = true);
    }

    /// Nothing passes between `node` and the others, in either direction.
    pub fn isolate(&self, node: NodeId, nodes: impl IntoIterator<Item = NodeId>) {
        for other in nodes.into_iter().filter(|other| *other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// Each message from `from` to `to` takes up to `most` longer, an hour at most.
    pub fn delay(&self, from: NodeId, to: NodeId, most: Duration) {
        let most = most.min(MAX_DELAY);
        self.link(from, to, |link| {
            link.delay_millis = most.as_secs() * 1000 + u64::from(most.subsec_millis())
        });
    }

    /// One message in `n` from `from` to `to` is lost.
    pub fn drop_one_in(&self, n: u64, from: NodeId, to: NodeId) {
        self.link(from, to, |link| link.drop_one_in = n);
    }

    /// One request in `n` from `from` to `to` arrives after later ones, when its sender has given
    /// it up. An answer is not overtaken: it would be lost.
    pub fn reorder_one_in(&self, n: u64, from: NodeId, to: NodeId) {
        self.link(from, to, |link| link.reorder_one_in = n);
    }

    /// Every direction works again.
    pub fn heal(&self) {
        let mut links = self.links();
        links.links.clear();
        links.mute.clear();
    }

    /// What has become of the messages so far.
    #[must_use]
    pub fn messages(&self) -> Messages {
        self.links().messages
    }

    /// Entries that `from` sends are lost, and its heartbeats arrive.
    #[cfg(test)]
    pub(super) fn mute(&self, from: NodeId) {
        self.links().mute.insert(from);
    }

    pub(super) fn is_mute(&self, from: NodeId) -> bool {
        self.links().mute.contains(&from)
    }

    /// From now on `node` is reached there.
    pub(super) fn connect(&self, node: NodeId, port: Port) {
        self.links().ports.insert(node, port);
    }

    /// Nothing reaches `node` any more, and nothing that it still says leaves it.
    pub(super) fn disconnect(&self, node: NodeId) {
        self.links().ports.remove(&node);
    }

    /// Asks `to` on behalf of `from`, there and back, and waits `patience` at most. What is lost
    /// costs the sender its patience, as on a real network.
    pub(super) async fn call<T, F>(
        &self,
        (from, to): (NodeId, NodeId),
        patience: Duration,
        ask: impl FnOnce(Port) -> F + Send + 'static,
    ) -> Result<T, Silence>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let there_and_back = async {
            match self.fate_of_request(from, to) {
                Fate::Arrives(after) => sleep(after).await,
                Fate::ArrivesLate(after) => {
                    let network = self.clone();
                    tokio::spawn(async move {
                        sleep(patience + after).await;
                        if let Some(port) = network.port_for_late(to) {
                            drop(ask(port).await);
                        }
                    });
                    return pending().await;
                }
                Fate::Lost => return pending().await,
            }
            let Some(port) = self.port(to) else {
                let reason = format!("node {to} does not run");
                return Err(Silence { reason, may_have_arrived: false });
            };
            let incarnation = port.incarnation;
            let answer = ask(port).await;
            match self.fate_of_answer(to, from) {
                Some(after) => sleep(after).await,
                None => return pending().await,
            }
            // What a node says after its power has failed is not heard.
            if self.port(to).is_none_or(|port| port.incarnation != incarnation) {
                return pending().await;
            }
            Ok(answer)
        };
        match timeout(patience, there_and_back).await {
            Ok(answered) => answered,
            Err(_) => {
                let reason = format!("node {to} does not answer node {from}");
                Err(Silence { reason, may_have_arrived: true })
            }
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Link)) {
        change(self.links().links.entry((from, to)).or_default());
    }

    /// Nothing that is late arrives from now on: nothing may be under way when a run is judged.
    pub(super) fn forget_late(&self) {
        self.links().forgets_late = true;
    }

    fn port_for_late(&self, node: NodeId) -> Option<Port> {
        let links = self.links();
        if links.forgets_late { None } else { links.ports.get(&node).cloned() }
    }

    fn port(&self, node: NodeId) -> Option<Port> {
        self.links().ports.get(&node).cloned()
    }

    fn fate_of_request(&self, from: NodeId, to: NodeId) -> Fate {
        let mut links = self.links();
        let Some(after) = links.arrival(from, to) else { return Fate::Lost };
        let one_in = links.link(from, to).reorder_one_in;
        if one_in == 0 || !links.random.one_in(one_in) {
            return Fate::Arrives(after);
        }
        links.messages.reordered += 1;
        Fate::ArrivesLate(after + Duration::from_millis(links.random.below(LATE_MILLIS)))
    }

    /// When it arrives; `None`: it is lost.
    fn fate_of_answer(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        self.links().arrival(from, to)
    }
}

impl Links {
    fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or_default()
    }

    /// When a message arrives; `None`: it is lost.
    fn arrival(&mut self, from: NodeId, to: NodeId) -> Option<Duration> {
        let link = self.link(from, to);
        self.messages.sent += 1;
        if link.cut || (link.drop_one_in > 0 && self.random.one_in(link.drop_one_in)) {
            self.messages.lost += 1;
            return None;
        }
        let more_millis = if link.delay_millis == 0 { 0 } else { self.random.below(link.delay_millis + 1) };
        Some(LATENCY + Duration::from_millis(more_millis))
    }
}
