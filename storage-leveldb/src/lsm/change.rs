//! What a part of the state says of a key.

use bytes::Bytes;

/// What one part says of a key; older parts say what was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has this value, whatever was before.
    Put(Bytes),
    /// It is not there.
    Delete,
    /// Its value is what was before, with this operand merged into it; just the operand, if there
    /// was nothing.
    Merge(Bytes),
}

impl Change {
    /// The value, where nothing is older.
    pub(crate) fn alone(self) -> Option<Bytes> {
        match self {
            Self::Put(value) | Self::Merge(value) => Some(value),
            Self::Delete => None,
        }
    }

    /// Of the value or operand.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put(value) | Self::Merge(value) => value.len(),
            Self::Delete => 0,
        }
    }
}
