//! What a Raft entry carries: some commands, encoded once where they came in.
//!
//! ```text
//! [schema u32][time u64, milliseconds]  then for each command
//! [0] | [1][client id 16 bytes][sequence u64]   [length u32][command]
//! ```
//!
//! Integers are little endian. The bytes are stored, sent and stored again as they are.

use std::fmt;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::request_id::RequestId;
use super::time::ClusterTime;

/// What a batch has beside the commands' own bytes.
const BATCH_BYTES: usize = size_of::<u32>() + size_of::<u64>();
/// What a command has beside its own bytes, at most.
const COMMAND_BYTES: usize = 1 + 16 + size_of::<u64>() + size_of::<u32>();

/// Commands that are stored and sent as one entry, in the order in which they are applied.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch(Bytes);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) request_id: Option<RequestId>,
    /// The first schema whose programs understand it. Not in the batch: that has its own.
    pub(crate) since: u32,
    /// The application's encoding.
    pub(crate) bytes: Bytes,
}

/// What was so when a batch was proposed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The schema in force.
    pub(crate) schema: u32,
    pub(crate) time: ClusterTime,
}

impl Command {
    /// What it adds to a batch, at most.
    pub(crate) fn cost_bytes(&self) -> usize {
        COMMAND_BYTES + self.bytes.len()
    }
}

/// Bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch of commands is malformed")]
pub(crate) struct Malformed;

impl Batch {
    pub(crate) fn new<'a>(stamp: Stamp, commands: impl IntoIterator<Item = &'a Command> + Clone) -> Self {
        let bytes: usize = commands.clone().into_iter().map(Command::cost_bytes).sum();
        let mut encoded = BytesMut::with_capacity(BATCH_BYTES + bytes);
        encoded.put_u32_le(stamp.schema);
        encoded.put_u64_le(stamp.time.as_millis());
        for command in commands {
            match command.request_id {
                None => encoded.put_u8(0),
                Some(id) => {
                    encoded.put_u8(1);
                    encoded.put_slice(&id.client_id);
                    encoded.put_u64_le(id.sequence);
                }
            }
            encoded.put_u32_le(length_of(&command.bytes));
            encoded.put_slice(&command.bytes);
        }
        Self(encoded.freeze())
    }

    /// What the log or a peer has: [`open`](Self::open) finds out what it is.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Its stamp, and the commands.
    pub(crate) fn open(&self) -> Result<(Stamp, Commands), Malformed> {
        let mut rest = self.0.clone();
        let schema = rest.try_get_u32_le().map_err(|_| Malformed)?;
        let time = ClusterTime::from_millis(rest.try_get_u64_le().map_err(|_| Malformed)?);
        Ok((Stamp { schema, time }, Commands { schema, rest }))
    }
}

#[allow(clippy::expect_used, reason = "it cannot be, and a wrong length would spoil the log")]
fn length_of(command: &Bytes) -> u32 {
    u32::try_from(command.len()).expect("MAX_COMMAND_BYTES is checked before a command is proposed")
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({self})")
    }
}

/// Sizes only: users' data does not belong in logs.
impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = self.open().map(|(_, commands)| commands.count()).unwrap_or_default();
        write!(f, "{commands} commands, {} bytes", self.0.len())
    }
}

/// The commands of a batch, in order; ends after the first that is malformed.
pub(crate) struct Commands {
    schema: u32,
    rest: Bytes,
}

impl Iterator for Commands {
    type Item = Result<Command, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let command = self.command();
        if command.is_none() {
            self.rest.clear();
        }
        Some(command.ok_or(Malformed))
    }
}

impl Commands {
    fn command(&mut self) -> Option<Command> {
        let request_id = match self.rest.try_get_u8().ok()? {
            0 => None,
            1 => {
                let mut client_id = [0; 16];
                self.rest.try_copy_to_slice(&mut client_id).ok()?;
                Some(RequestId { client_id, sequence: self.rest.try_get_u64_le().ok()? })
            }
            _ => return None,
        };
        let length = usize::try_from(self.rest.try_get_u32_le().ok()?).ok()?;
        let bytes = (length <= self.rest.len()).then(|| self.rest.split_to(length))?;
        Some(Command { request_id, since: self.schema, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> [Command; 3] {
        let id = RequestId { client_id: [7; 16], sequence: u64::MAX };
        [
            Command { request_id: None, since: 3, bytes: Bytes::from_static(b"one") },
            Command { request_id: Some(id), since: 3, bytes: Bytes::new() },
            Command { request_id: Some(id), since: 3, bytes: Bytes::from_static(&[0xff; 300]) },
        ]
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let stamp = Stamp { schema: 3, time: ClusterTime::from_millis(5) };
        let batch = Batch::new(stamp, &commands());
        let (found, commands_found) = batch.open().unwrap();
        assert_eq!(found, stamp);
        assert_eq!(commands_found.collect::<Result<Vec<_>, _>>().unwrap(), commands());
        assert_eq!(batch.to_string(), "3 commands, 378 bytes");
    }

    /// Whatever is cut off or changed: an error, or other commands, but no panic and no more memory
    /// than there are bytes.
    #[test]
    fn malformed_bytes_are_told() {
        let Batch(bytes) = Batch::new(Stamp::default(), &commands());
        let is_whole = |bytes: Bytes| match Batch(bytes).open() {
            Ok((_, mut commands)) => commands.all(|command| command.is_ok()),
            Err(Malformed) => false,
        };
        let ends = [12, 20, 49, bytes.len()];
        for end in 0..=bytes.len() {
            assert_eq!(is_whole(bytes.slice(..end)), ends.contains(&end), "cut off at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 0x80;
            is_whole(changed.into());
        }
    }
}
