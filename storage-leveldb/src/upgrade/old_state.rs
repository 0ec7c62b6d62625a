//! The state's database of format 1: which counts, how far it is, and its pairs.
//!
//! ```text
//! !format        one byte: 1
//! !applied       codec bytes of the last applied log id, if any
//! !membership    codec bytes of the last applied membership, with its log id
//! a…             the application's pairs
//! ```

use std::path::{Path, PathBuf};

use bytes::Bytes;
use openraft::RaftTypeConfig;

use super::{ACTIVE, DATABASE, named_by, number_of};
use crate::disk::GuardedDisk;
use crate::engine::{Engine, EngineFactory, KeyRange, ScanLimit};
use crate::error::StorageError;
use crate::state::{Change, Position, StateRunWriter, key};
use crate::storage::expect_database;

const FORMAT: &[u8] = b"!format";
const APPLIED: &[u8] = b"!applied";
const MEMBERSHIP: &[u8] = b"!membership";
/// Version of these records.
const RECORDS: [u8; 1] = [1];
/// Read at once.
const PAGE: ScanLimit = ScanLimit { pairs: 2048, bytes: 256 * 1024 };

/// Invariant: `position` is that of the pairs in `engine`.
pub(super) struct OldState<C: RaftTypeConfig> {
    engine: Box<dyn Engine>,
    pub(super) position: Position<C>,
}

impl<C: RaftTypeConfig> OldState<C> {
    /// Opens the database that ACTIVE in `dir` names.
    pub(super) fn open(
        disk: &GuardedDisk,
        dir: &Path,
        factory: &dyn EngineFactory,
    ) -> Result<Self, StorageError> {
        expect_database(disk, factory, &active(disk, dir)?)?;
        let missing = || disk.damaged(dir, "the database is missing").into();
        Self::find(disk, dir, factory)?.ok_or_else(missing)
    }

    /// The same; `None` if there is no such database: a first start may have been interrupted before it made one.
    pub(super) fn find(
        disk: &GuardedDisk,
        dir: &Path,
        factory: &dyn EngineFactory,
    ) -> Result<Option<Self>, StorageError> {
        let database = active(disk, dir)?;
        if !factory.exists(&database)? {
            return Ok(None);
        }
        let mut engine = factory.open(&database)?;
        let position = load(engine.as_mut())?;
        let position = position.map_err(|reason| disk.damaged(&database, reason))?;
        Ok(Some(Self { engine, position }))
    }

    /// All pairs, in order.
    pub(super) fn copy_to(&mut self, run: &mut StateRunWriter) -> Result<(), StorageError> {
        let mut range = KeyRange::prefix(&[key::APPLICATION]);
        loop {
            let pairs = self.engine.scan(&range, PAGE)?;
            let Some((last, _)) = pairs.last() else { return Ok(()) };
            range.start = Bytes::from([last, key::AFTER].concat());
            for (key, value) in pairs {
                run.push(&key, &Change::Put(value))?;
            }
        }
    }
}

fn active(disk: &GuardedDisk, dir: &Path) -> Result<PathBuf, StorageError> {
    let marker = dir.join(ACTIVE);
    let name = named_by(disk, &marker)?;
    match number_of(&name, DATABASE) {
        Some(_) => Ok(dir.join(name)),
        None => Err(disk.damaged(&marker, "does not name a database").into()),
    }
}

/// The position; the start if nothing was ever applied. As a text what is wrong with what is stored.
fn load<C: RaftTypeConfig>(engine: &mut dyn Engine) -> Result<Result<Position<C>, String>, StorageError> {
    let format = engine.get(FORMAT)?;
    if let Some(format) = format.as_ref().filter(|format| ***format != RECORDS) {
        return Ok(Err(format!("state format {format:?}, where only {RECORDS:?} can be")));
    }
    let (applied, membership) = (engine.get(APPLIED)?, engine.get(MEMBERSHIP)?);
    if format.is_none() && (applied.is_some() || membership.is_some()) {
        return Ok(Err("the state has a position and no format version".to_owned()));
    }
    let position = || -> Result<Position<C>, codec::DecodeError> {
        let applied = applied.map(|record| codec::decode(&record)).transpose()?;
        let membership = membership.map(|record| codec::decode(&record)).transpose()?;
        Ok(Position { applied, membership: membership.unwrap_or_default() })
    };
    Ok(position().map_err(|e| e.to_string()))
}
