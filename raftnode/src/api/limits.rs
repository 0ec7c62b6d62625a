//! How large requests and their answers may be, and how many a stream may have under way.

use storage_leveldb::StorageError;
use tonic::Status;

/// Longest encoded command.
pub const MAX_COMMAND_BYTES: usize = 3 * 1024 * 1024;
/// Longest encoded response or answer.
pub const MAX_ANSWER_BYTES: usize = 3 * 1024 * 1024;
/// Largest message accepted or sent: enough that a value over the limit is refused by name rather
/// than by breaking the call.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Requests under way on one stream.
pub const MAX_STREAM_REQUESTS: usize = 1024;

/// Refuses a request that is too long, before anything comes of it.
pub(crate) fn check_length(what: &str, bytes: usize, most: usize) -> Result<(), Status> {
    if bytes <= most {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "the {what} has {bytes} bytes encoded; at most {most}; not applied"
    )))
}

/// The same for an answer to any node, the one that ran the query included.
pub(crate) fn check_answer_length(bytes: usize) -> Result<(), StorageError> {
    if bytes <= MAX_ANSWER_BYTES {
        return Ok(());
    }
    Err(StorageError::QueryFailed(format!(
        "the answer has {bytes} bytes encoded; at most {MAX_ANSWER_BYTES}"
    )))
}
