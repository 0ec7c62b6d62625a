//! Writes a snapshot file.

use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;

use super::directory::SnapshotDirectory;
use super::file::{SnapshotFile, TemporaryFile};
use super::{STREAM_MAGIC, TAG_END, TAG_PAIR};
use crate::error::StorageError;
use crate::file::framed::FramedWriter;

/// Invariant: what it writes is not a snapshot before [`finish`](Self::finish).
pub(crate) struct SnapshotWriter<C: RaftTypeConfig> {
    directory: SnapshotDirectory,
    temporary: TemporaryFile,
    framed: FramedWriter,
    meta: SnapshotMetaOf<C>,
    pairs: u64,
}

impl<C: RaftTypeConfig> SnapshotWriter<C> {
    pub(super) fn create(
        directory: &SnapshotDirectory,
        meta: &SnapshotMetaOf<C>,
    ) -> Result<Self, StorageError> {
        let temporary = directory.new_temporary();
        let mut framed = FramedWriter::create(directory.disk(), temporary.path())?;
        let encoded = codec::encode(meta).map_err(|e| StorageError::at(temporary.path(), e))?;
        framed.write(&STREAM_MAGIC)?;
        framed.write(&(encoded.len() as u32).to_le_bytes())?;
        framed.write(&encoded)?;
        Ok(Self { directory: directory.clone(), temporary, framed, meta: meta.clone(), pairs: 0 })
    }

    pub(crate) fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        let too_long =
            |e| self.directory.disk().damaged(self.temporary.path(), format!("a pair is too long: {e}"));
        let key_len = u32::try_from(key.len()).map_err(too_long)?;
        let value_len = u32::try_from(value.len()).map_err(too_long)?;
        self.framed.write(&[TAG_PAIR])?;
        self.framed.write(&key_len.to_le_bytes())?;
        self.framed.write(&value_len.to_le_bytes())?;
        self.framed.write(key)?;
        self.framed.write(value)?;
        self.pairs = self.pairs.saturating_add(1);
        Ok(())
    }

    /// Completes the file, makes it durable, and makes it the one that counts.
    pub(crate) fn finish(mut self) -> Result<SnapshotFile, StorageError> {
        self.framed.write(&[TAG_END])?;
        self.framed.write(&self.pairs.to_le_bytes())?;
        self.framed.sync()?;
        drop(self.framed);
        let snapshot = self.directory.commit::<C>(self.temporary, &self.meta)?;
        Ok(snapshot)
    }
}
