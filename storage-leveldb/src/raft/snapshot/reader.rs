//! Reads the stream of a snapshot, verifying every byte of it.

use std::io::{self, Read};

use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;

use super::error::SnapshotError;
use super::{MAX_META_BYTES, MAX_PART_BYTES, STREAM_MAGIC, TAG_END, TAG_PAIR};
use crate::file::framed_reader::FramedReader;

/// An application's key and value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Invariants: it answers the end only after as many pairs as the file says it holds; keys come in
/// ascending order, none twice, so that there is one state that a snapshot can mean.
pub(crate) struct SnapshotReader<C: RaftTypeConfig, R> {
    stream: FramedReader<R>,
    meta: SnapshotMetaOf<C>,
    pairs: u64,
    last_key: Vec<u8>,
    ended: bool,
}

fn damaged(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SnapshotError {
    SnapshotError::Damaged(io::Error::new(io::ErrorKind::InvalidData, what))
}

impl<C: RaftTypeConfig, R: Read> SnapshotReader<C, R> {
    /// Reads up to the metadata.
    pub(crate) fn open(source: R) -> Result<Self, SnapshotError> {
        let mut stream = FramedReader::open(source).map_err(SnapshotError::in_stream)?;
        let mut magic = [0; STREAM_MAGIC.len()];
        stream.read_exact(&mut magic).map_err(SnapshotError::in_stream)?;
        if magic != STREAM_MAGIC {
            return Err(damaged("not a snapshot, or of another format version"));
        }
        let len = read_len(&mut stream, "metadata", MAX_META_BYTES)?;
        let meta = codec::decode(&read_part(&mut stream, len)?).map_err(damaged)?;
        Ok(Self { stream, meta, pairs: 0, last_key: Vec::new(), ended: false })
    }

    pub(crate) fn meta(&self) -> &SnapshotMetaOf<C> {
        &self.meta
    }

    /// The next pair; `None` at the end of a complete snapshot.
    pub(crate) fn next_pair(&mut self) -> Result<Option<Pair>, SnapshotError> {
        if self.ended {
            return Ok(None);
        }
        let mut tag = [0];
        self.stream.read_exact(&mut tag).map_err(SnapshotError::in_stream)?;
        match tag {
            [TAG_PAIR] => {
                let key_len = read_len(&mut self.stream, "a key", MAX_PART_BYTES)?;
                let value_len = read_len(&mut self.stream, "a value", MAX_PART_BYTES)?;
                let key = read_part(&mut self.stream, key_len)?;
                self.check_order(&key)?;
                let value = read_part(&mut self.stream, value_len)?;
                self.pairs += 1;
                Ok(Some((key, value)))
            }
            [TAG_END] => self.end(),
            [other] => Err(damaged(format!("unknown record type {other}"))),
        }
    }

    fn check_order(&mut self, key: &[u8]) -> Result<(), SnapshotError> {
        let last = &mut self.last_key;
        if self.pairs > 0 && last.as_slice() >= key {
            return Err(damaged(format!("pair {} is repeated or out of order", self.pairs)));
        }
        last.clear();
        last.extend_from_slice(key);
        Ok(())
    }

    fn end(&mut self) -> Result<Option<Pair>, SnapshotError> {
        let mut count = [0; 8];
        self.stream.read_exact(&mut count).map_err(SnapshotError::in_stream)?;
        let told = u64::from_le_bytes(count);
        if told != self.pairs {
            return Err(damaged(format!("{} pairs, but it says {told}", self.pairs)));
        }
        if self.stream.read(&mut [0]).map_err(SnapshotError::in_stream)? != 0 {
            return Err(damaged("bytes behind its end"));
        }
        self.ended = true;
        Ok(None)
    }
}

/// How long a part is, before memory is taken for it.
fn read_len(stream: &mut impl Read, part: &str, max: usize) -> Result<usize, SnapshotError> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).map_err(SnapshotError::in_stream)?;
    let len = u32::from_le_bytes(len) as usize;
    if len > max {
        return Err(damaged(format!("{part} of {len} bytes; at most {max} can be right")));
    }
    Ok(len)
}

/// Takes memory as verified bytes come, whatever length they were said to have.
fn read_part(stream: &mut impl Read, len: usize) -> Result<Vec<u8>, SnapshotError> {
    let mut part = Vec::new();
    stream.take(len as u64).read_to_end(&mut part).map_err(SnapshotError::in_stream)?;
    if part.len() < len {
        return Err(damaged(format!("it ends {} bytes into a part of {len}", part.len())));
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::framed::Framer;

    openraft::declare_raft_types!(Types: D = u64, R = u64, NodeId = u64, Node = openraft::BasicNode);

    /// What a snapshot begins with.
    fn beginning() -> Vec<u8> {
        let meta = codec::encode(&SnapshotMetaOf::<Types>::default()).unwrap();
        [&STREAM_MAGIC[..], &(meta.len() as u32).to_le_bytes(), &meta].concat()
    }

    /// How many pairs are read from a snapshot that has these keys and says that it has `told`, or
    /// does not come to say it.
    fn read(keys: &[&[u8]], told: Option<u64>) -> Result<u64, SnapshotError> {
        let mut stream = beginning();
        for key in keys {
            stream.push(TAG_PAIR);
            stream.extend((key.len() as u32).to_le_bytes());
            stream.extend(0_u32.to_le_bytes());
            stream.extend(*key);
        }
        if let Some(told) = told {
            stream.push(TAG_END);
            stream.extend(told.to_le_bytes());
        }
        let (mut framer, mut file) = Framer::new();
        assert!(framer.gather(&stream).is_empty());
        framer.end_frame(0, &mut file);
        let mut reader = SnapshotReader::<Types, _>::open(file.as_slice())?;
        while reader.next_pair()?.is_some() {}
        Ok(reader.pairs)
    }

    /// A snapshot that ends with a whole frame but before its end. Every other test cut within a
    /// frame, so that a reader which took this for a complete one went unnoticed; the mutant
    /// `half-a-snapshot` showed it.
    #[test]
    fn a_snapshot_that_does_not_come_to_its_end_is_refused() {
        for keys in [&[][..], &[&b"a"[..], b"b"]] {
            let error = read(keys, None).unwrap_err();
            assert!(matches!(error, SnapshotError::Damaged(_)), "{error}");
        }
    }

    /// Found by reading: only the four bytes of its length bounded a key or a value, so that a peer
    /// had a node take 4 GiB into memory for one.
    #[test]
    fn a_part_that_is_too_long_is_refused_before_it_is_read() {
        let too_long = (MAX_PART_BYTES as u32 + 1).to_le_bytes();
        let (short, key) = (1_u32.to_le_bytes(), b"k");
        let pairs = [[&too_long[..], &short].concat(), [&short[..], &too_long, key].concat()];
        for (pair, part) in pairs.iter().zip(["a key", "a value"]) {
            let mut stream = beginning();
            stream.push(TAG_PAIR);
            stream.extend(pair);
            let (mut framer, mut file) = Framer::new();
            assert!(framer.gather(&stream).is_empty());
            framer.end_frame(0, &mut file);
            let mut reader = SnapshotReader::<Types, _>::open(file.as_slice()).unwrap();
            let SnapshotError::Damaged(error) = reader.next_pair().unwrap_err() else { panic!("{part}") };
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    /// Every frame may be right and the pairs still not be all: they come in frames of whole
    /// writes, and a sender that has lost some can only say so here.
    #[test]
    fn a_snapshot_has_as_many_pairs_as_it_says() {
        assert_eq!(read(&[b"a", b"b"], Some(2)).unwrap(), 2);
        for told in [0, 1, 3, u64::MAX] {
            let error = read(&[b"a", b"b"], Some(told)).unwrap_err();
            assert!(matches!(error, SnapshotError::Damaged(_)), "{told}: {error}");
        }
    }
}
