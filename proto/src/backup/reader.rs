//! Reads a backup, and hands out nothing that has not been verified.

use std::io::{self, Read};

use prost::Message as _;
use prost::bytes::{Buf as _, Bytes};

use super::{BackupError, FORMAT_VERSION, MAGIC, MAX_BLOCK_BYTES, MAX_HEADER_BYTES};
use crate::node::v1::BackupHeader;

/// A backup that is read from its beginning to its end; the bytes of its snapshot are what it reads
/// as ([`Read`]).
///
/// Invariant: the end is answered only after as many bytes as the backup says it has, all of them
/// verified, and nothing behind them.
#[derive(Debug)]
pub struct BackupReader<R> {
    source: R,
    header: BackupHeader,
    crc: u32,
    /// Bytes of the file so far.
    at: u64,
    /// Bytes of the snapshot so far.
    length: u64,
    /// Of the block that was read last.
    unread: Bytes,
    ended: bool,
}

impl<R: Read> BackupReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(source: R) -> Result<Self, BackupError> {
        let header = BackupHeader::default();
        let mut this = Self { source, header, crc: 0, at: 0, length: 0, unread: Bytes::new(), ended: false };
        let magic: [u8; MAGIC.len()] = match this.array() {
            Err(BackupError::CutOff { .. }) => return Err(BackupError::NoBackup),
            magic => magic?,
        };
        if magic != MAGIC {
            return Err(BackupError::NoBackup);
        }
        let found = this.number()?;
        if found != FORMAT_VERSION {
            return Err(BackupError::Format { found });
        }
        let length = this.number()?;
        if length as usize > MAX_HEADER_BYTES {
            return Err(BackupError::HeaderLength(length.into()));
        }
        let header = this.exactly(length)?;
        this.check(0)?;
        this.header = BackupHeader::decode(header)?;
        Ok(this)
    }

    /// What it is a backup of.
    pub fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// Bytes of the file read so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next bytes of the snapshot; none at the end of a whole backup.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn next_block(&mut self) -> Result<Option<Bytes>, BackupError> {
        if self.ended {
            return Ok(None);
        }
        let from = self.at;
        let stored = self.number()?;
        if stored == 0 {
            let told = u64::from_le_bytes(self.array()?);
            self.check(from)?;
            return self.end(told).map(|()| None);
        }
        let length = self.number()?;
        if stored > length || length as usize > MAX_BLOCK_BYTES {
            let (stored, length) = (stored.into(), length.into());
            return Err(BackupError::BlockLength { at: from, stored, length });
        }
        let block = self.exactly(stored)?;
        self.check(from)?;
        self.length += u64::from(length);
        if stored == length { Ok(Some(block)) } else { decompressed(&block, length, from).map(Some) }
    }

    fn end(&mut self, told: u64) -> Result<(), BackupError> {
        if told != self.length {
            return Err(BackupError::Length { found: self.length, told });
        }
        let mut more = Vec::new();
        (&mut self.source).take(1).read_to_end(&mut more)?;
        if !more.is_empty() {
            return Err(BackupError::BehindEnd { at: self.at });
        }
        self.ended = true;
        Ok(())
    }

    /// Reads what is left, and so verifies all of it; answers the length of the snapshot.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn verify(&mut self) -> Result<u64, BackupError> {
        self.unread.clear();
        while self.next_block()?.is_some() {}
        Ok(self.length)
    }

    fn number(&mut self) -> Result<u32, BackupError> {
        self.array().map(u32::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes);
        Ok(bytes)
    }

    /// The length has been found possible.
    fn exactly(&mut self, length: u32) -> Result<Bytes, BackupError> {
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes);
        Ok(bytes.into())
    }

    /// The next bytes are the checksum of those before.
    fn check(&mut self, from: u64) -> Result<(), BackupError> {
        let mut told = [0; 4];
        self.fill(&mut told)?;
        if u32::from_le_bytes(told) == self.crc {
            Ok(())
        } else {
            Err(BackupError::Checksum { from, to: self.at })
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let mut left = bytes;
        while !left.is_empty() {
            let n = match self.source.read(left) {
                Ok(0) => return Err(BackupError::CutOff { at: self.at }),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                n => n?,
            };
            self.at += n as u64;
            left = left.get_mut(n..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The length has been found possible.
fn decompressed(stored: &[u8], length: u32, at: u64) -> Result<Bytes, BackupError> {
    let mut block = vec![0; length as usize];
    match lz4_flex::block::decompress_into(stored, &mut block) {
        Ok(found) if found == block.len() => Ok(block.into()),
        found => Err(BackupError::Block { at, length: length.into(), found: found.ok() }),
    }
}

impl<R: Read> Read for BackupReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.unread = self.next_block()?.unwrap_or_default();
        }
        let n = self.unread.len().min(buf.len());
        self.unread.copy_to_slice(buf.get_mut(..n).unwrap_or_default());
        Ok(n)
    }
}
