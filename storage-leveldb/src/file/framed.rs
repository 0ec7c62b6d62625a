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

/// Cuts a stream into frames, wherever they go.
///
/// Invariant: `offset` is where the next frame goes.
pub(crate) struct Framer {
    salt: u64,
    offset: u64,
    gathered: Vec<u8>,
}

impl Framer {
    /// The framer, and the header that comes before its frames.
    pub(crate) fn new() -> (Self, Vec<u8>) {
        let salt = random_salt();
        let mut header = Vec::with_capacity(FILE_HEADER_BYTES);
        header.extend(FILE_MAGIC);
        header.extend(salt.to_le_bytes());
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        (Self { salt, offset: header.len() as u64, gathered: Vec::new() }, header)
    }

    /// Takes as much of `bytes` as fits into the frame that gathers; answers the rest. A full frame is to be ended.
    pub(crate) fn gather<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        debug_assert!(!self.is_full(), "a full frame is to be ended");
        let room = MAX_FRAME_PAYLOAD_BYTES - self.gathered.len();
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        self.gathered.extend_from_slice(now);
        later
    }

    pub(crate) fn is_full(&self) -> bool {
        self.gathered.len() >= MAX_FRAME_PAYLOAD_BYTES
    }

    /// Adds the frame that has gathered to `out`, if there is anything in it. `synced` bytes of the file are durable.
    pub(crate) fn end_frame(&mut self, synced: u64, out: &mut Vec<u8>) {
        if self.gathered.is_empty() {
            return;
        }
        let crc = frame_crc(self.salt, self.offset, synced, &self.gathered);
        let before = out.len();
        out.extend(FRAME_MAGIC);
        out.extend((self.gathered.len() as u32).to_le_bytes());
        out.extend(synced.to_le_bytes());
        out.extend(crc.to_le_bytes());
        out.append(&mut self.gathered);
        self.offset += (out.len() - before) as u64;
    }
}

/// Invariants: `synced <= offset`, and the first `synced` bytes of the file are durable; the file has `end` bytes, and those
/// behind `offset` are zeros, which are no frame. Dropping writes what
/// has gathered and syncs it, so that a log that LevelDB rotates away is durable before the next one gets
/// a record.
pub(crate) struct FramedWriter {
    file: GuardedFile,
    framer: Framer,
    synced: u64,
    end: u64,
    /// So much is reserved when a frame would make the file longer; 0: nothing.
    step_bytes: u64,
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
        let (framer, header) = Framer::new();
        file.write_all(&header)?;
        let end = framer.offset;
        Ok(Self { file, framer, synced: 0, end, step_bytes: 0 })
    }

    /// From now on the file gets longer in steps of so many bytes: a sync of what replaces zeros need not make it durable, too,
    /// that the file is longer.
    pub(crate) fn grow_in_steps(&mut self, step_bytes: u64) {
        self.step_bytes = step_bytes;
    }

    /// Appends to the stream; durable after the next [`sync`](Self::sync).
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            bytes = self.framer.gather(bytes);
            if self.framer.is_full() {
                self.write_out()?;
            }
        }
        Ok(())
    }

    /// Ends the frame that has gathered, so that it survives the death of the process.
    pub(crate) fn write_out(&mut self) -> Result<(), Fault> {
        let mut frame = Vec::new();
        self.framer.end_frame(self.synced, &mut frame);
        if frame.is_empty() {
            return Ok(());
        }
        let longer_by = self.framer.offset.saturating_sub(self.end);
        if self.step_bytes > 0 && longer_by > 0 {
            let bytes = self.step_bytes.max(longer_by);
            self.file.reserve(bytes)?;
            self.end += bytes;
        }
        self.end = self.end.max(self.framer.offset);
        debug_assert!(self.synced <= self.framer.offset, "only what is written is synced");
        self.file.write_all(&frame)
    }

    /// Gives the synced file its lasting name, durably.
    pub(crate) fn rename(&mut self, disk: &GuardedDisk, to: &Path) -> Result<(), Fault> {
        disk.rename(self.file.path(), to)?;
        self.file.was_renamed(to);
        Ok(())
    }

    /// Where the next frame goes.
    pub(crate) fn offset(&self) -> u64 {
        self.framer.offset
    }

    pub(crate) fn salt(&self) -> u64 {
        self.framer.salt
    }

    /// How much of the file is durable.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// Makes all that was written durable, the file's name included.
    pub(crate) fn sync(&mut self) -> Result<(), Fault> {
        self.write_out()?;
        if self.synced < self.framer.offset {
            self.file.sync()?;
            self.synced = self.framer.offset;
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
