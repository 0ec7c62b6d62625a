//! What goes wrong on demand.

use std::io;

/// What goes wrong at one operation that changes or syncs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The power fails: this operation may have happened in part, and nothing works until a
    /// [`reboot`](super::SimDisk::reboot).
    PowerLoss,
    /// The operation answers this error once, having done nothing; later ones work.
    Error(io::ErrorKind),
    /// A write writes half of its bytes and answers this error; other operations do nothing and
    /// answer it.
    ShortWrite(io::ErrorKind),
    /// A sync answers this error, and what it should have made durable may be lost although later
    /// syncs of the file succeed: Linux drops pages it could not write. Other operations do nothing
    /// and answer it.
    LostSync(io::ErrorKind),
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::PowerLoss => power_is_off(),
            Self::Error(kind) | Self::ShortWrite(kind) | Self::LostSync(kind) => {
                io::Error::new(kind, "injected")
            }
        }
    }
}

/// What goes wrong at one operation that reads: an open, a read, a look at a length, a list of a
/// directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFailure {
    /// It answers this error once; later ones work.
    Error(io::ErrorKind),
    /// A read answers half of the bytes it could; other operations work.
    Short,
}

pub(super) fn power_is_off() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the power is off")
}

/// Counts operations and says which fails.
#[derive(Debug, Clone)]
pub(super) struct Plan<F> {
    pub(super) done: u64,
    pub(super) failing: Option<(u64, F)>,
    pub(super) struck: bool,
}

impl<F> Default for Plan<F> {
    fn default() -> Self {
        Self { done: 0, failing: None, struck: false }
    }
}

impl<F: Copy> Plan<F> {
    /// Counts one operation; answers how it fails, if it does.
    pub(super) fn next(&mut self) -> Option<F> {
        self.done += 1;
        let failure = self.failing.filter(|(at, _)| *at == self.done).map(|(_, failure)| failure);
        self.struck |= failure.is_some();
        failure
    }
}
