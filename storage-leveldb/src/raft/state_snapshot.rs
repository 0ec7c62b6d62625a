//! A snapshot for anything but openraft: a backup, or another storage.

use openraft::type_config::alias::SnapshotMetaOf;

use super::application::{Application, StandardTypes};
use super::apply_thread::Command;
use super::snapshot_file::SnapshotFile;
use super::snapshot_source::SnapshotSource;
use super::state_reader::StateReader;
use crate::error::StorageError;
use crate::lsm::user_code::for_an_answer;
use crate::lsm::view::View;

/// The state as of one applied entry, whole and durable.
pub struct StateSnapshot<C: openraft::RaftTypeConfig, T> {
    /// Which entry, and the membership there.
    pub meta: SnapshotMetaOf<C>,
    /// What was asked about exactly this state.
    pub answer: T,
    /// About how long the stream is.
    pub expected_bytes: u64,
    /// The state as a stream. It keeps the tables that it is made of on disk until it is dropped.
    pub stream: SnapshotFile,
}

impl<C: StandardTypes, A: Application<C>> StateReader<C, A> {
    /// The state with everything in it that was applied before this was called: makes that durable,
    /// and asks `query` about it. openraft hears nothing of it.
    ///
    /// # Errors
    /// A storage fault, or what the query answered.
    pub async fn snapshot(&self, query: A::Query) -> Result<StateSnapshot<C, A::Answer>, StorageError> {
        let when_durable = self.ask(|done| Command::MakeDurable { done }).await?;
        let checkpoint = when_durable.await;
        // The flush thread answers nothing if it has ended with a fault.
        self.tree.disk.health.check()?;
        let checkpoint = checkpoint.map_err(|_| StorageError::Closed)?;
        let pinned = checkpoint.pin();
        let ask = || self.application.query(&mut View::new(&pinned), query);
        let answer = for_an_answer(&self.tree.disk, ask)?;
        let (meta, source) = SnapshotSource::new::<C>(&self.tree, &checkpoint)?;
        let expected_bytes = checkpoint.bytes();
        Ok(StateSnapshot { meta, answer, expected_bytes, stream: SnapshotFile::sending(source) })
    }
}
