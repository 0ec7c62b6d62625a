//! Writing a framed file: a byte stream cut into checksummed frames that know what was durable before them.
//!
//! ```text
//! header  magic "RLFRAME1" (8) | salt u64 | crc32c of both u32
//! frame   magic "FRM1" (4) | payload length u32 | synced u64 | crc32c u32 | payload
//! ```
//!
//! Little endian. `synced` is the length of the file that was durable when the frame was written. The
//! checksum covers salt, the frame's offset, length, `synced` and payload, so a frame is valid in one
//! place of one file only. A frame that is damaged although a later one calls it durable had been
//! acknowledged; see [`super::framed_reader`].

use std::hash::{BuildHasher, Hasher};
use std::path::Path;

use crate::disk::{GuardedDisk, GuardedFile};
use crate::health::Fault;

pub(crate) const FILE_MAGIC: [u8; 8] = *b"RLFRAME1";
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"FRM1";
pub(crate) const FILE_HEADER_BYTES: usize = 20;
pub(crate) const FRAME_HEADER_BYTES: usize = 20;
/// A frame is written as soon as this much has gathered, or at a sync.
pub(crate) const MAX_FRAME_PAYLOAD_BYTES: usize = 64 * 1024;

/// The checksum of one frame.
pub(crate) fn frame_crc(salt: u64, offset: u64, synced: u64, payload: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&salt.to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &(payload.len() as u32).to_le_bytes());
    let seed = crc32c::crc32c_append(seed, &synced.to_le_bytes());
    crc32c::crc32c_append(seed, payload)
}

/// Nobody who chooses payloads can know it, so nobody can store bytes that look like a frame of this file.
fn random_salt() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Invariants: `synced <= offset`, and the first `synced` bytes of the file are durable. Dropping writes what
/// has gathered and syncs it, so that a log that LevelDB rotates away is durable before the next one gets
/// a record.
pub(crate) struct FramedWriter {
    file: GuardedFile,
    salt: u64,
    offset: u64,
    synced: u64,
    gathered: Vec<u8>,
}

impl FramedWriter {
    /// A file that is written over a long time: its name and header are durable when this returns.
    pub(crate) fn create_log(disk: &GuardedDisk, path: &Path) -> Result<Self, Fault> {
        let mut writer = Self::create(disk, path)?;
        writer.sync()?;
        Ok(writer)
    }

    /// A file that means nothing before its one [`sync`](Self::sync).
    pub(crate) fn create(disk: &GuardedDisk, path: &Path) -> Result<Self, Fault> {
        let mut file = disk.create(path)?;
        let salt = random_salt();
        let mut header = Vec::with_capacity(FILE_HEADER_BYTES);
        header.extend(FILE_MAGIC);
        header.extend(salt.to_le_bytes());
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        file.write_all(&header)?;
        Ok(Self { file, salt, offset: header.len() as u64, synced: 0, gathered: Vec::new() })
    }

    /// Appends to the stream; durable after the next [`sync`](Self::sync).
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let room = MAX_FRAME_PAYLOAD_BYTES.saturating_sub(self.gathered.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.gathered.extend_from_slice(now);
            bytes = later;
            if self.gathered.len() >= MAX_FRAME_PAYLOAD_BYTES {
                self.write_out()?;
            }
        }
        Ok(())
    }

    /// Ends the frame that has gathered, so that it survives the death of the process.
    pub(crate) fn write_out(&mut self) -> Result<(), Fault> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let crc = frame_crc(self.salt, self.offset, self.synced, &self.gathered);
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + self.gathered.len());
        frame.extend(FRAME_MAGIC);
        frame.extend((self.gathered.len() as u32).to_le_bytes());
        frame.extend(self.synced.to_le_bytes());
        frame.extend(crc.to_le_bytes());
        frame.append(&mut self.gathered);
        self.file.write_all(&frame)?;
        self.offset = self.offset.saturating_add(frame.len() as u64);
        Ok(())
    }

    /// Gives the synced file its lasting name, durably.
    pub(crate) fn rename(&mut self, disk: &GuardedDisk, to: &Path) -> Result<(), Fault> {
        disk.rename(self.file.path(), to)?;
        self.file.was_renamed(to);
        Ok(())
    }

    /// Where the next frame goes.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    /// How much of the file is durable.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// Makes all that was written durable, the file's name included.
    pub(crate) fn sync(&mut self) -> Result<(), Fault> {
        self.write_out()?;
        if self.synced < self.offset {
            self.file.sync()?;
            self.synced = self.offset;
        }
        Ok(())
    }
}

impl Drop for FramedWriter {
    fn drop(&mut self) {
        // A failure has been latched, which is how everybody learns of it.
        let _ = self.sync();
    }
}
