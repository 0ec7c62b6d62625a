//! Makes the parts of a backup.

use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes, BytesMut};

use super::{BackupError, FORMAT_VERSION, MAGIC, MAX_BLOCK_BYTES, MAX_HEADER_BYTES};
use crate::node::v1::BackupHeader;

/// What a part has beside its own bytes, at most.
const PART_BYTES: usize = MAGIC.len() + 3 * size_of::<u32>();

/// Makes the parts of a backup, in order. Without [`end`](Self::end) they are none.
#[derive(Debug)]
pub struct BackupWriter {
    crc: u32,
    length: u64,
}

impl BackupWriter {
    /// Begins a backup; answers its first part.
    ///
    /// # Errors
    /// [`BackupError::TooLong`].
    pub fn begin(header: &BackupHeader) -> Result<(Self, Bytes), BackupError> {
        let header = header.encode_to_vec();
        let length = length_of(&header, MAX_HEADER_BYTES)?;
        let mut part = BytesMut::with_capacity(PART_BYTES + header.len());
        part.put_slice(&MAGIC);
        part.put_u32_le(FORMAT_VERSION);
        part.put_u32_le(length);
        part.put_slice(&header);
        let mut this = Self { crc: 0, length: 0 };
        let part = this.seal(part);
        Ok((this, part))
    }

    /// The next bytes of the snapshot, compressed if that makes them fewer. Nothing is made of
    /// none.
    ///
    /// # Errors
    /// [`BackupError::TooLong`].
    pub fn block(&mut self, bytes: &[u8]) -> Result<Bytes, BackupError> {
        if bytes.is_empty() {
            return Ok(Bytes::new());
        }
        let length = length_of(bytes, MAX_BLOCK_BYTES)?;
        let compressed = lz4_flex::block::compress(bytes);
        let stored = if compressed.len() < bytes.len() { &compressed } else { bytes };
        let mut part = BytesMut::with_capacity(PART_BYTES + stored.len());
        part.put_u32_le(length_of(stored, MAX_BLOCK_BYTES)?);
        part.put_u32_le(length);
        part.put_slice(stored);
        self.length += u64::from(length);
        Ok(self.seal(part))
    }

    /// Bytes of the snapshot so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The last part.
    #[must_use]
    pub fn end(mut self) -> Bytes {
        let mut part = BytesMut::with_capacity(PART_BYTES);
        part.put_u32_le(0);
        part.put_u64_le(self.length);
        self.seal(part)
    }

    fn seal(&mut self, mut part: BytesMut) -> Bytes {
        self.crc = crc32c::crc32c_append(self.crc, &part);
        part.put_u32_le(self.crc);
        part.freeze()
    }
}

fn length_of(bytes: &[u8], most: usize) -> Result<u32, BackupError> {
    let fits = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= most);
    fits.ok_or(BackupError::TooLong(bytes.len()))
}
