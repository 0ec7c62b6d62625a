//! What the state on disk consists of.
//!
//! ```text
//! state/ROOT    a marker file: codec bytes of the format, the position, and the runs, the newest first
//! ```
//!
//! Replaced as a whole, so that the state and the position it is at are of one moment, whatever a crash leaves.

use std::path::Path;

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{LogIdOf, StoredMembershipOf};
use serde::{Deserialize, Serialize};

use crate::raft::position::Position;
use super::table::RunRecord;
use crate::disk::GuardedDisk;
use crate::file::marker;
use crate::health::Fault;

pub(crate) const ROOT: &str = "ROOT";
/// Version of what is stored in ROOT and in the runs.
const FORMAT: u8 = 1;

/// The position and the runs that hold exactly the effects of what was applied up to it.
pub(crate) struct Root<C: RaftTypeConfig> {
    pub(crate) position: Position<C>,
    /// The newest first.
    pub(crate) runs: Vec<RunRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Stored<C: RaftTypeConfig> {
    format: u8,
    applied: Option<LogIdOf<C>>,
    membership: StoredMembershipOf<C>,
    runs: Vec<RunRecord>,
}

impl<C: RaftTypeConfig> Root<C> {
    /// A state that nothing was applied to.
    pub(crate) fn empty() -> Self {
        Self { position: Position::default(), runs: Vec::new() }
    }

    /// What ROOT in `dir` says; `None` if there is none.
    pub(crate) fn read(disk: &GuardedDisk, dir: &Path) -> Result<Option<Self>, Fault> {
        let path = dir.join(ROOT);
        let Some(content) = marker::read(disk, &path)? else {
            return Ok(None);
        };
        if content.first() != Some(&FORMAT) {
            let reason =
                format!("state format {:?}; this version reads format {FORMAT} only", content.first());
            return Err(disk.damaged(&path, reason));
        }
        let stored: Stored<C> = codec::decode(&content).map_err(|e| disk.damaged(&path, e))?;
        let position = Position { applied: stored.applied, membership: stored.membership };
        Ok(Some(Self { position, runs: stored.runs }))
    }

    /// From now on this is the state; durable when it returns.
    pub(crate) fn replace(&self, disk: &GuardedDisk, dir: &Path) -> Result<(), Fault> {
        let path = dir.join(ROOT);
        let stored = Stored::<C> {
            format: FORMAT,
            applied: self.position.applied.clone(),
            membership: self.position.membership.clone(),
            runs: self.runs.clone(),
        };
        let content = codec::encode(&stored).map_err(|e| disk.damaged(&path, e))?;
        marker::replace(disk, &path, &content)
    }
}
