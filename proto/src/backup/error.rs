//! What can be wrong with a backup.

use std::io;

use super::{FORMAT_VERSION, MAX_BLOCK_BYTES, MAX_HEADER_BYTES};

/// Bytes are not a backup, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// They cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It begins otherwise.
    #[error("this is no backup: it does not begin as one")]
    NoBackup,
    /// Of a later program.
    #[error(
        "a backup of format {found}, and this program reads format {FORMAT_VERSION}; use the version that saved it"
    )]
    Format {
        /// The file's.
        found: u32,
    },
    /// The file ends before its end.
    #[error("cut off: it ends at byte {at}, before its end; save it again")]
    CutOff {
        /// So many bytes are there.
        at: u64,
    },
    /// A checksum is not that of the bytes before it.
    #[error("damaged between byte {from} and byte {to}: the checksum there is not that of the bytes")]
    Checksum {
        /// What comes before has been found good.
        from: u64,
        /// Where the checksum ends.
        to: u64,
    },
    /// No header has so many bytes.
    #[error("damaged: a header of {0} bytes; at most {MAX_HEADER_BYTES} can be right")]
    HeaderLength(u64),
    /// No block has so many bytes.
    #[error(
        "damaged: a block of {length} bytes, stored as {stored}, at byte {at}; at most {MAX_BLOCK_BYTES} \
         can be right, stored as no more than there are"
    )]
    BlockLength {
        /// Where it begins.
        at: u64,
        /// So many bytes of the file,
        stored: u64,
        /// and of the snapshot.
        length: u64,
    },
    /// The bytes of a block are those that were written, and are not so many bytes compressed.
    #[error("the block at byte {at} does not decompress to {length} bytes; save it again")]
    Block {
        /// Where it begins.
        at: u64,
        /// What it should be.
        length: u64,
        /// What it is, if it can be decompressed.
        found: Option<usize>,
    },
    /// The header's bytes are good and say nothing.
    #[error("its header cannot be read: {0}")]
    Header(#[from] prost::DecodeError),
    /// Blocks are missing, or there are too many.
    #[error("damaged: {found} bytes of a snapshot, but it says that there are {told}")]
    Length {
        /// What there is.
        found: u64,
        /// What should be.
        told: u64,
    },
    /// Something follows its end.
    #[error("damaged: there is something behind its end, at byte {at}")]
    BehindEnd {
        /// Where it ends.
        at: u64,
    },
    /// What is to be written is longer than the format permits.
    #[error("a header or block of {0} bytes is too long for a backup")]
    TooLong(usize),
}

impl From<BackupError> for io::Error {
    fn from(e: BackupError) -> Self {
        match e {
            BackupError::Io(e) => e,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
