//! Makes the stream of a snapshot from pairs.

use std::io;

use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;

use super::{MAX_PART_BYTES, STREAM_MAGIC, TAG_END, TAG_PAIR};
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
    /// Key or value are longer than a reader takes.
    pub(crate) fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (key_len, value_len) = (length_of("key", key)?, length_of("value", value)?);
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

fn length_of(name: &str, part: &[u8]) -> io::Result<u32> {
    let len = part.len();
    u32::try_from(len).ok().filter(|_| len <= MAX_PART_BYTES).ok_or_else(|| {
        let reason = format!(
            "a {name} of {len} bytes; a snapshot holds at most {MAX_PART_BYTES}: have the \
            application store it in parts"
        );
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    openraft::declare_raft_types!(Types: D = u64, R = u64, NodeId = u64, Node = openraft::BasicNode);

    /// What no peer would take is not sent: else a node would begin again and again.
    #[test]
    fn a_part_is_no_longer_than_a_reader_takes() {
        let mut encoder = SnapshotEncoder::new::<Types>(&SnapshotMetaOf::<Types>::default()).unwrap();
        let long = vec![0; MAX_PART_BYTES + 1];
        for (key, value) in [(&long[..], &[][..]), (&[1], &long)] {
            let error = encoder.pair(key, value).unwrap_err().to_string();
            assert!(error.contains("67108865 bytes") && error.contains("in parts"), "{error}");
        }
        encoder.pair(&[1], long.split_last().unwrap().1).unwrap();
    }
}
