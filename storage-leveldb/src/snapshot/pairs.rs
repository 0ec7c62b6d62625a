//! All pairs of a snapshot at once, for tests that compare them.

use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;

use bytes::Bytes;

use super::error::SnapshotError;
use super::file::SnapshotFile;
use super::reader::SnapshotReader;

/// What a snapshot holds.
pub(crate) type Content<C> = (SnapshotMetaOf<C>, Vec<(Bytes, Bytes)>);

impl SnapshotFile {
    /// The metadata and every pair. Blocks on the disk.
    pub(crate) fn read_pairs<C: RaftTypeConfig>(&self) -> Result<Content<C>, SnapshotError> {
        let mut reader = SnapshotReader::<C>::open(self.disk(), self.path())?;
        let mut pairs = Vec::new();
        while let Some((key, value)) = reader.next_pair()? {
            pairs.push((key.into(), value.into()));
        }
        Ok((reader.meta().clone(), pairs))
    }
}
