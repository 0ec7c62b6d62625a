//! The file that a backup is: what [`Backups.Save`](crate::node::v1::backups_client) sends and
//! `kvcli` stores, part by part; what a restore reads.
//!
//! ```text
//! "RNBACKUP"  version u32  length u32  header (protobuf BackupHeader)  checksum u32
//! then blocks: stored u32, 1 or more  length u32  the stored bytes  checksum u32
//! then the end: 0 u32  length of the snapshot u64  checksum u32, and nothing behind it
//! ```
//!
//! A block is `length` bytes of the snapshot: as they are if as many are stored, else compressed to
//! fewer as one LZ4 block.
//!
//! Integers are little endian. A checksum is the CRC-32C of everything before it but for the other
//! checksums: so a block of another backup does not fit either.

mod error;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use error::BackupError;
pub use reader::BackupReader;
pub use writer::BackupWriter;

/// First bytes of the file.
const MAGIC: [u8; 8] = *b"RNBACKUP";
/// The format that follows.
const FORMAT_VERSION: u32 = 1;
/// The longest header.
pub const MAX_HEADER_BYTES: usize = 256 * 1024;
/// The most bytes of a snapshot that are one block.
pub const MAX_BLOCK_BYTES: usize = 1024 * 1024;
