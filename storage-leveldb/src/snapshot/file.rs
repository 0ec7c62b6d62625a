//! A snapshot as openraft and the network hold it: bytes to read or to write, without blocking.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::SnapshotError;
use crate::disk::{GuardedDisk, GuardedFile};
use crate::file::framed_reader::FramedReader;
use crate::health::Fault;

/// At most this much of one write is taken.
const MAX_WRITE_BYTES: usize = 1024 * 1024;

/// A file that is removed when dropped, unless it got a lasting name.
pub(super) struct TemporaryFile {
    path: PathBuf,
    disk: GuardedDisk,
    remove: bool,
}

impl TemporaryFile {
    pub(super) fn new(path: PathBuf, disk: GuardedDisk) -> Self {
        Self { path, disk, remove: true }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn was_renamed(mut self) {
        self.remove = false;
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if self.remove {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.delete(&self.path);
        }
    }
}

/// Whether what was received is a snapshot.
pub(super) type Verify = fn(&GuardedDisk, &Path) -> Result<(), SnapshotError>;

/// What the file is open for.
enum Open {
    /// Nothing yet, or no longer.
    No,
    Reading(FramedReader),
    Writing(GuardedFile, Verify),
    /// Never again: what was written is no snapshot.
    Refused,
}

/// What a blocking operation gave back.
type Done = (Open, io::Result<Bytes>);

/// A snapshot file: [`AsyncRead`] for sending it, [`AsyncWrite`] for receiving it.
///
/// Reading verifies every frame before a byte of it is answered, so that a damaged snapshot never reaches a
/// peer. Writing ends with `shutdown`, which makes the file durable and verifies it.
pub struct SnapshotFile {
    path: PathBuf,
    disk: GuardedDisk,
    temporary: Option<TemporaryFile>,
    /// Everything written is durable and a snapshot; true from the start for a file that is not written through this.
    synced: bool,
    open: Open,
    pending: Option<JoinHandle<Done>>,
    unread: Bytes,
}

impl SnapshotFile {
    fn new(path: PathBuf, disk: GuardedDisk, temporary: Option<TemporaryFile>) -> Self {
        Self { path, disk, temporary, synced: true, open: Open::No, pending: None, unread: Bytes::new() }
    }

    /// A snapshot that counts, which must be there. It is open from now on: a newer one may remove its name at any
    /// time.
    pub(super) fn complete(path: PathBuf, disk: GuardedDisk) -> Result<Self, Fault> {
        let reader = FramedReader::open(&disk, &path).map_err(|e| disk.damaged(&path, e))?;
        let reader = reader.ok_or_else(|| disk.damaged(&path, "missing"))?;
        Ok(Self { open: Open::Reading(reader), ..Self::new(path, disk, None) })
    }

    pub(super) fn temporary(temporary: TemporaryFile) -> Self {
        Self::new(temporary.path.clone(), temporary.disk.clone(), Some(temporary))
    }

    pub(super) fn incoming(temporary: TemporaryFile, file: GuardedFile, verify: Verify) -> Self {
        Self { synced: false, open: Open::Writing(file, verify), ..Self::temporary(temporary) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn disk(&self) -> &GuardedDisk {
        &self.disk
    }

    /// The temporary file behind it, if it is one.
    ///
    /// # Errors
    /// It was written and not shut down.
    pub(super) fn into_temporary(self) -> io::Result<Option<TemporaryFile>> {
        if self.synced {
            return Ok(self.temporary);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot was not received to its end"))
    }

    /// Runs `operation` where it may block.
    fn start(&mut self, operation: impl FnOnce(Open) -> Done + Send + 'static) {
        let open = std::mem::replace(&mut self.open, Open::No);
        self.pending = Some(spawn_blocking(move || operation(open)));
    }

    /// Waits for what was started; answers what it read.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Some(pending) = &mut self.pending else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        let (open, result) = ready!(Pin::new(pending).poll(cx)).map_err(io::Error::other)?;
        self.pending = None;
        self.open = open;
        Poll::Ready(result)
    }
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The next verified piece of a file; empty at its end. A file that cannot be read is a fault of this node.
fn read_piece(open: Open, path: &Path, disk: &GuardedDisk) -> Done {
    let reader = match open {
        Open::Reading(reader) => Ok(Some(reader)),
        Open::No => FramedReader::open(disk, path),
        Open::Writing(..) | Open::Refused => {
            return (open, Err(io::Error::new(io::ErrorKind::InvalidInput, "not open for reading")));
        }
    };
    let reader = reader.and_then(|reader| reader.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)));
    let piece = reader.and_then(|mut reader| Ok((reader.next_raw()?, reader)));
    match piece {
        Ok((piece, reader)) => (Open::Reading(reader), Ok(piece)),
        Err(e) => (Open::No, Err(io::Error::other(disk.damaged(path, e)))),
    }
}

impl AsyncRead for SnapshotFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.unread.is_empty() {
            if this.pending.is_none() {
                let (path, disk) = (this.path.clone(), this.disk.clone());
                this.start(move |open| read_piece(open, &path, &disk));
            }
            this.unread = ready!(this.poll_pending(cx))?;
        }
        let n = this.unread.len().min(buf.remaining());
        buf.put_slice(this.unread.get(..n).unwrap_or_default());
        this.unread.advance(n);
        Poll::Ready(Ok(()))
    }
}

fn write_piece(open: Open, piece: &[u8]) -> Done {
    let Open::Writing(mut file, verify) = open else {
        return (open, Err(io::Error::new(io::ErrorKind::InvalidInput, "not open for writing")));
    };
    let result = file.write_all(piece).map(|()| Bytes::new()).map_err(io::Error::other);
    (Open::Writing(file, verify), result)
}

fn finish(open: Open, disk: &GuardedDisk, path: &Path) -> Done {
    let Open::Writing(mut file, verify) = open else {
        return (open, Ok(Bytes::new()));
    };
    match file.sync().map_err(SnapshotError::from).and_then(|()| verify(disk, path)) {
        Ok(()) => (Open::No, Ok(Bytes::new())),
        Err(e) => (Open::Refused, Err(e.into())),
    }
}

impl AsyncWrite for SnapshotFile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx))?;
        let piece = buf.get(..buf.len().min(MAX_WRITE_BYTES)).unwrap_or_default().to_vec();
        let n = piece.len();
        self.start(move |open| write_piece(open, &piece));
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_pending(cx).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_pending(cx))?;
            match self.open {
                Open::Writing(..) => {
                    let (path, disk) = (self.path.clone(), self.disk.clone());
                    self.start(move |open| finish(open, &disk, &path));
                }
                Open::Refused => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Open::No | Open::Reading(_) => {
                    self.synced = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
