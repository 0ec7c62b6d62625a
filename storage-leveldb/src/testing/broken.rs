//! Why a test of a storage failed.

use std::io;

use crate::error::StorageError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The storage does not hold what it promised.
    #[error("{0}")]
    Promise(String),
    /// The storage failed where nothing had been made to fail.
    #[error("the storage failed: {0}")]
    Storage(#[from] StorageError),
    /// The same, as openraft is told of it.
    #[error("the storage failed: {0}")]
    Io(#[from] io::Error),
    /// One of these, after some work.
    #[error("{reason}\n{trace}")]
    During {
        /// What went wrong.
        reason: Box<Broken>,
        /// What had been done.
        trace: String,
    },
}

impl Broken {
    /// The storage's own word for a fault, with the file it names; `None` if the storage did not
    /// notice that anything was wrong.
    pub(crate) fn named_fault(&self) -> Option<String> {
        match self {
            Self::Promise(_) => None,
            Self::Storage(e) => named(&e.to_string()),
            Self::Io(e) => named(&e.to_string()),
            Self::During { reason, .. } => reason.named_fault(),
        }
    }
}

/// A fault that names something on the simulated disk.
fn named(text: &str) -> Option<String> {
    let at = text.find(&format!("storage fault in {}", super::subject::MOUNT))?;
    text.get(at..).map(str::to_owned)
}

/// A promise that is kept if `$kept`.
macro_rules! promise {
    ($kept:expr, $($text:tt)+) => {
        if !$kept {
            return Err($crate::testing::broken::Broken::Promise(format!($($text)+)));
        }
    };
}
pub(crate) use promise;
