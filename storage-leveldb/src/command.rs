//! Whether a command may be proposed.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What openraft puts around a command in a log entry: the log id, with a node id of any sensible
/// length.
const ROOM_FOR_THE_ENTRY_BYTES: usize = 4096;

/// The longest encoded command that can be stored and sent.
pub const MAX_COMMAND_BYTES: usize = codec::MAX_DECODED_BYTES - ROOM_FOR_THE_ENTRY_BYTES;

/// Why a command must not be proposed. It has had no effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It is too large for a log entry.
    #[error("the command has {bytes} bytes encoded and may have {MAX_COMMAND_BYTES}; split it up")]
    TooLarge {
        /// Encoded length.
        bytes: usize,
    },
    /// It cannot be encoded.
    #[error("the command cannot be encoded: {0}")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is encoded, and cannot be read back: no node that has it in its log could start again.
    #[error(
        "the command cannot be read back from its encoding, which has no names of fields: {0}; its type \
         must not use serde's `tag`, `untagged`, `flatten` or `skip_serializing_if`"
    )]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something else is read back than was encoded.
    #[error(
        "the command changes when it is encoded and read back; its type must not use serde's `untagged`, \
         `flatten` or `skip_serializing_if`"
    )]
    Changed,
}

/// Whether `command` can be stored, sent, and read back as what it is. To be asked before
/// `openraft::Raft::client_write`.
///
/// openraft has no way to refuse a command once it has taken it. A log that cannot store an entry
/// stops consensus on the node that leads, and an entry that cannot be read back stops every node
/// that has it, at every start. A command that is refused here has had no effect on anything.
///
/// ```
/// # use storage_leveldb::command::{CommandError, MAX_COMMAND_BYTES, check_command};
/// check_command(&"push bread".to_owned())?;
/// let large = "x".repeat(MAX_COMMAND_BYTES + 1);
/// assert!(matches!(check_command(&large), Err(CommandError::TooLarge { .. })));
/// # Ok::<(), CommandError>(())
/// ```
///
/// # Errors
/// Why not.
pub fn check_command<D: Serialize + DeserializeOwned>(command: &D) -> Result<(), CommandError> {
    encode_command(command).map(drop)
}

/// The encoding of a command that [`check_command`] lets pass.
///
/// # Errors
/// As for [`check_command`].
pub fn encode_command<D: Serialize + DeserializeOwned>(command: &D) -> Result<Vec<u8>, CommandError> {
    let bytes = codec::encode(command).map_err(|e| match e {
        codec::EncodeError::TooLong { len, .. } => CommandError::TooLarge { bytes: len },
        e => CommandError::Encode(Box::new(e)),
    })?;
    if bytes.len() > MAX_COMMAND_BYTES {
        return Err(CommandError::TooLarge { bytes: bytes.len() });
    }
    let read: D = codec::decode(&bytes).map_err(|e| CommandError::Unreadable(Box::new(e)))?;
    match codec::encode(&read) {
        Ok(again) if again == bytes => Ok(bytes),
        _ => Err(CommandError::Changed),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// serde needs names to tell the variants apart, and the encoding has none.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Push { item: String },
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Skipping {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        first: Option<u8>,
        second: Option<u8>,
    }

    /// Takes more memory than bytes, which counts against the limit of what is decoded.
    #[derive(Debug, Serialize, Deserialize)]
    struct Numbers(Vec<u128>);

    #[test]
    fn good_commands_pass() {
        check_command(&("push".to_owned(), vec![Some(1_u64), None])).unwrap();
        check_command(&"x".repeat(MAX_COMMAND_BYTES - 16)).unwrap();
        check_command(&Skipping { first: Some(1), second: None }).unwrap();
    }

    #[test]
    fn a_command_over_the_limit_is_refused_with_its_size() {
        for bytes in [MAX_COMMAND_BYTES, 2 * codec::MAX_DECODED_BYTES] {
            let error = check_command(&"x".repeat(bytes)).unwrap_err();
            assert!(matches!(error, CommandError::TooLarge { bytes: b } if b > bytes), "{error}");
        }
    }

    /// Found by an author's trial: the first start after the first write of such a type said that
    /// the log was damaged, on every node.
    #[test]
    fn a_command_that_cannot_be_read_back_is_refused() {
        let error = check_command(&Tagged::Push { item: "bread".to_owned() }).unwrap_err();
        assert!(matches!(error, CommandError::Unreadable(_)), "{error}");
        assert!(error.to_string().contains("`tag`"), "{error}");
        let error = check_command(&Skipping { first: None, second: Some(1) }).unwrap_err();
        assert!(matches!(error, CommandError::Unreadable(_)), "{error}");
        let error = check_command(&Numbers(vec![1; MAX_COMMAND_BYTES / 4])).unwrap_err();
        assert!(matches!(error, CommandError::Unreadable(_)), "{error}");
    }
}
