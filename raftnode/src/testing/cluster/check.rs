//! Whether what clients were told is what has happened.

use std::collections::BTreeMap;

use bytes::Bytes;
use storage_leveldb::scan::KeyRange;

use super::error::{ClusterError, WriteName};
use super::history::{Applied, Events, Moment, Read, Write, WriteEnd};
use crate::application::{Ask, Place, RequestId};
use crate::raft::NodeId;

/// The application's pairs.
pub(in crate::testing) type Pairs = Vec<(Bytes, Bytes)>;

/// Asks for them.
pub(in crate::testing) fn own_pairs() -> Ask {
    Box::new(|view| {
        let mut pairs = view.scan(KeyRange::all()).collect::<Result<Vec<_>, _>>()?;
        pairs.retain(|(key, _)| matches!(Place::of(key), Some(Place::Application(_))));
        Ok(Box::new(pairs))
    })
}

impl Write {
    fn name(&self) -> WriteName {
        WriteName { id: self.id, node: self.node }
    }

    /// When it was acknowledged.
    fn acknowledged(&self) -> Option<Moment> {
        match &self.end {
            Some((at, WriteEnd::Acknowledged(_))) => Some(*at),
            _ => None,
        }
    }
}

impl Events {
    /// Whether every client was told the truth, as far as positions say.
    pub(super) fn check(&self) -> Result<(), ClusterError> {
        if let Some((one, other)) = &self.divergence {
            let (position, text) = (one.at.position, |applied: &Applied| format!("{applied:?}"));
            return Err(ClusterError::Diverged { position, one: text(one), other: text(other) });
        }
        let places = self.places()?;
        for write in &self.writes {
            check_write(write, places.get(&write.id.client_id).copied())?;
        }
        self.reads.iter().try_for_each(|read| self.check_read(read, &places))?;
        self.check_order(&places)
    }

    /// Where each write was applied. Each has a client id of its own.
    fn places(&self) -> Result<BTreeMap<[u8; 16], &Applied>, ClusterError> {
        let mut places = BTreeMap::<_, &Applied>::new();
        for applied in self.applied.values() {
            let Some(id) = applied.at.request_id else { continue };
            if let Some(first) = places.insert(id.client_id, applied) {
                let (first, second) = (first.at.position, applied.at.position);
                return Err(ClusterError::AppliedTwice { write: self.name(id), first, second });
            }
        }
        Ok(places)
    }

    fn name(&self, id: RequestId) -> WriteName {
        let node = self.writes.iter().find(|write| write.id == id).map_or(0, |write| write.node);
        WriteName { id, node }
    }

    /// Whether there is one order of everything that agrees with every client's clock: that of the
    /// log. What began after something else had ended is not before it in that order.
    ///
    /// The positions are a witness: with them no order has to be searched for, so whole histories
    /// are checked, with scans and over all keys at once. That each answer is what its place says
    /// is up to [`replay`](Self::replay).
    fn check_order(&self, places: &BTreeMap<[u8; 16], &Applied>) -> Result<(), ClusterError> {
        let mut begun: Vec<_> = self.operations(places).collect();
        let mut ended: Vec<_> = begun.iter().copied().filter(|operation| operation.ended.is_some()).collect();
        begun.sort_by_key(|operation| operation.begun);
        ended.sort_by_key(|operation| operation.ended);
        let mut ended = ended.into_iter().peekable();
        // Of those that had ended before, the last in the order.
        let mut last: Option<Operation> = None;
        for later in begun {
            while let Some(earlier) = ended.next_if(|earlier| earlier.ended < Some(later.begun)) {
                if last.is_none_or(|last| last.place < earlier.place) {
                    last = Some(earlier);
                }
            }
            if let Some(earlier) = last.filter(|earlier| earlier.place > later.place) {
                return Err(ClusterError::OutOfOrder { earlier: earlier.name(), later: later.name() });
            }
        }
        Ok(())
    }

    /// All that has a place: writes that were applied, whatever their clients were told, and reads
    /// that were answered.
    fn operations(&self, places: &BTreeMap<[u8; 16], &Applied>) -> impl Iterator<Item = Operation> {
        let writes = self.writes.iter().filter_map(|write| {
            let position = places.get(&write.id.client_id)?.at.position;
            let place = (position, false);
            Some(Operation { node: write.node, begun: write.begun, ended: write.acknowledged(), place })
        });
        let reads = self.reads.iter().map(|read| {
            // Behind the write that has this position; reads of one state are in any order.
            let place = (read.position, true);
            Operation { node: read.node, begun: read.begun, ended: Some(read.ended), place }
        });
        writes.chain(reads)
    }

    fn check_read(&self, read: &Read, places: &BTreeMap<[u8; 16], &Applied>) -> Result<(), ClusterError> {
        let before = self.writes.iter().filter(|w| w.acknowledged().is_some_and(|at| at < read.begun));
        let place = |write: &Write| places.get(&write.id.client_id).map(|applied| applied.at.position);
        let acknowledged = before.filter_map(place).max().unwrap_or_default();
        if read.position < acknowledged {
            let Read { node, position, .. } = *read;
            return Err(ClusterError::StaleRead { node, position, acknowledged });
        }
        Ok(())
    }
}

/// A write or a read, and where in the order of the log it is.
#[derive(Debug, Clone, Copy)]
struct Operation {
    node: NodeId,
    begun: Moment,
    /// When its client knew its outcome; what it never knew may have happened at any time.
    ended: Option<Moment>,
    /// Commands before it and itself, and whether it is a read.
    place: (u64, bool),
}

impl Operation {
    fn name(self) -> String {
        let (position, is_read) = self.place;
        let what = if is_read { "read of what was applied up to" } else { "write applied at" };
        format!("the {what} position {position}, asked of node {}", self.node)
    }
}

fn check_write(write: &Write, applied: Option<&Applied>) -> Result<(), ClusterError> {
    match (write.end.as_ref().map(|(_, end)| end), applied) {
        (Some(WriteEnd::Acknowledged(_)), None) => Err(ClusterError::Lost { write: write.name() }),
        (Some(WriteEnd::Acknowledged(told)), Some(applied)) if *told != applied.response => {
            let (told, applied) = (told.clone(), applied.response.clone());
            Err(ClusterError::Response { write: write.name(), told, applied })
        }
        (Some(WriteEnd::NotApplied), Some(applied)) => {
            let position = applied.at.position;
            Err(ClusterError::AppliedAllTheSame { write: write.name(), position })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::{At, ClusterTime};

    /// What clients did, by when it began and ended.
    #[derive(Default)]
    struct Told(Events);

    impl Told {
        /// A write that was applied at `position`; `ended`: it was acknowledged then.
        fn write(mut self, position: u64, begun: Moment, ended: Option<Moment>) -> Self {
            let client_id = u128::from(position).to_be_bytes();
            let id = RequestId { client_id, sequence: 1 };
            let end = ended.map(|at| (at, WriteEnd::Acknowledged(Bytes::new())));
            self.0.writes.push(Write { id, node: 1, begun, end });
            let at = At { position, time: ClusterTime::default(), schema: 1, request_id: Some(id) };
            self.0.applied.insert(position, Applied { at, command: Bytes::new(), response: Bytes::new() });
            self
        }

        fn read(mut self, position: u64, begun: Moment, ended: Moment) -> Self {
            let (query, answer, time) = Default::default();
            self.0.reads.push(Read { node: 2, query, begun, ended, position, time, answer });
            self
        }

        fn is_wrong(&self) -> bool {
            self.0.check().is_err()
        }
    }

    #[test]
    fn what_happened_at_once_may_be_in_either_order() {
        let told = || Told::default().write(1, 1, Some(9)).write(2, 2, Some(8));
        assert!(!told().read(0, 3, 7).read(2, 4, 6).is_wrong());
        assert!(told().read(1, 9, 10).is_wrong() && !told().read(2, 9, 10).is_wrong());
        // Whose client was told nothing may be applied at any time.
        assert!(!Told::default().write(2, 1, None).write(1, 5, Some(6)).is_wrong());
    }

    /// Each was missed while a read was only compared with the writes acknowledged before it.
    #[test]
    fn what_was_seen_is_not_unseen() {
        // A read saw a write that no client was told of yet, and a later read does not.
        let told = Told::default().write(1, 1, Some(9)).read(1, 2, 3);
        assert!(told.read(0, 4, 5).is_wrong());
        // A read saw what began only after it had ended.
        assert!(Told::default().read(1, 1, 2).write(1, 3, Some(4)).is_wrong());
        // A write comes before a read that had ended when it began.
        assert!(Told::default().write(2, 1, None).read(2, 2, 3).write(1, 4, None).is_wrong());
    }

    #[test]
    fn what_was_acknowledged_comes_first() {
        assert!(Told::default().write(2, 1, Some(2)).write(1, 3, Some(4)).is_wrong());
        assert!(Told::default().write(1, 1, Some(2)).read(0, 3, 4).is_wrong());
        assert!(!Told::default().write(1, 1, Some(2)).read(1, 3, 4).is_wrong());
    }
}
