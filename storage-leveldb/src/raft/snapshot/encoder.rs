//! Makes the stream of a snapshot from pairs.

use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;

use super::{STREAM_MAGIC, TAG_END, TAG_PAIR};
use crate::file::framed::Framer;

/// Invariant: without [`end`](Self::end), what it has made is not a snapshot.
pub(crate) struct SnapshotEncoder {
    framer: Framer,
    pairs: u64,
    out: Vec<u8>,
}

impl SnapshotEncoder {
    /// Begins the stream.
    ///
    /// # Errors
    /// The metadata cannot be encoded.
    pub(crate) fn new<C: RaftTypeConfig>(meta: &SnapshotMetaOf<C>) -> Result<Self, codec::EncodeError> {
        let meta = codec::encode(meta)?;
        let (framer, out) = Framer::new();
        let mut this = Self { framer, pairs: 0, out };
        this.write(&STREAM_MAGIC);
        this.write(&(meta.len() as u32).to_le_bytes());
        this.write(&meta);
        Ok(this)
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = self.framer.gather(bytes);
            if self.framer.is_full() {
                self.framer.end_frame(0, &mut self.out);
            }
        }
    }

    /// Adds a pair.
    ///
    /// # Errors
    /// Key or value are too long for the format.
    pub(crate) fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), std::num::TryFromIntError> {
        let (key_len, value_len) = (u32::try_from(key.len())?, u32::try_from(value.len())?);
        self.write(&[TAG_PAIR]);
        self.write(&key_len.to_le_bytes());
        self.write(&value_len.to_le_bytes());
        self.write(key);
        self.write(value);
        self.pairs += 1;
        Ok(())
    }

    /// Ends the stream.
    pub(crate) fn end(&mut self) {
        self.write(&[TAG_END]);
        let pairs = self.pairs;
        self.write(&pairs.to_le_bytes());
        self.framer.end_frame(0, &mut self.out);
    }

    /// How much can be taken.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// What was made since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}
