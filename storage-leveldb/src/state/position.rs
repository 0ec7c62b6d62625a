//! How far the state machine is.

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{LogIdOf, StoredMembershipOf};

use super::key;
use crate::engine::{Batch, Engine};
use crate::error::StorageError;

/// Version of the records in the state's database.
const FORMAT: u8 = 1;

/// The last applied log id and membership. Stored in the same batch as the effects of what was applied.
pub(crate) struct Position<C: RaftTypeConfig> {
    pub(crate) applied: Option<LogIdOf<C>>,
    pub(crate) membership: StoredMembershipOf<C>,
}

impl<C: RaftTypeConfig> Clone for Position<C> {
    fn clone(&self) -> Self {
        Self { applied: self.applied.clone(), membership: self.membership.clone() }
    }
}

impl<C: RaftTypeConfig> Position<C> {
    /// Reads the position; the start if the database is new.
    ///
    /// # Errors
    /// The engine's, and as a text what is wrong with what is stored.
    pub(crate) fn load(engine: &mut dyn Engine) -> Result<Result<Self, String>, StorageError> {
        let format = engine.get(key::FORMAT)?;
        if let Some(format) = format.as_ref().filter(|format| ***format != [FORMAT]) {
            return Ok(Err(format!("state format {format:?}; this version reads format {FORMAT} only")));
        }
        let applied = engine.get(key::APPLIED)?;
        let membership = engine.get(key::MEMBERSHIP)?;
        if format.is_none() && (applied.is_some() || membership.is_some()) {
            return Ok(Err("the state has a position and no format version".to_owned()));
        }
        let position = || -> Result<Self, codec::DecodeError> {
            let applied = applied.map(|record| codec::decode(&record)).transpose()?;
            let membership = membership.map(|record| codec::decode(&record)).transpose()?;
            Ok(Self { applied, membership: membership.unwrap_or_default() })
        };
        Ok(position().map_err(|e| e.to_string()))
    }

    /// Adds the applied log id to a batch.
    pub(crate) fn put_applied(&self, batch: &mut Batch) -> Result<(), codec::EncodeError> {
        if let Some(log_id) = &self.applied {
            batch.put(key::APPLIED.to_vec(), codec::encode(log_id)?.into());
        }
        Ok(())
    }

    /// Adds all of the position to a batch.
    pub(crate) fn put_all(&self, batch: &mut Batch) -> Result<(), codec::EncodeError> {
        batch.put(key::FORMAT.to_vec(), vec![FORMAT].into());
        batch.put(key::MEMBERSHIP.to_vec(), codec::encode(&self.membership)?.into());
        self.put_applied(batch)
    }

    /// Log index of the last applied entry; 0 if there is none.
    pub(crate) fn applied_index(&self) -> u64 {
        self.applied.as_ref().map_or(0, |log_id| log_id.index)
    }
}
