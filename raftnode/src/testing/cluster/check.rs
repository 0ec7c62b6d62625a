//! Whether what clients were told is what has happened.

use std::collections::BTreeMap;

use bytes::Bytes;
use storage_leveldb::scan::KeyRange;

use super::error::{ClusterError, WriteName};
use super::history::{Applied, Events, Moment, Read, Write, WriteEnd};
use crate::application::{Ask, Place, RequestId};

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
        self.check_order(&places)?;
        self.reads.iter().try_for_each(|read| self.check_read(read, &places))
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

    /// A write that began after another was acknowledged comes behind it.
    fn check_order(&self, places: &BTreeMap<[u8; 16], &Applied>) -> Result<(), ClusterError> {
        let place = |write: &Write| places.get(&write.id.client_id).map(|applied| applied.at.position);
        let mut acknowledged: Vec<_> = self.writes.iter().filter(|w| w.acknowledged().is_some()).collect();
        acknowledged.sort_by_key(|write| write.acknowledged());
        let mut begun: Vec<_> = self.writes.iter().filter(|write| place(write).is_some()).collect();
        begun.sort_by_key(|write| write.begun);
        let mut acknowledged = acknowledged.into_iter().peekable();
        // Of those acknowledged before, the one that was applied last.
        let mut last: Option<&Write> = None;
        for write in begun {
            while let Some(earlier) = acknowledged.next_if(|e| e.acknowledged() < Some(write.begun)) {
                if last.is_none_or(|last| place(last) < place(earlier)) {
                    last = Some(earlier);
                }
            }
            if let Some(earlier) = last.filter(|earlier| place(earlier) > place(write)) {
                return Err(ClusterError::OutOfOrder { earlier: earlier.name(), later: write.name() });
            }
        }
        Ok(())
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
