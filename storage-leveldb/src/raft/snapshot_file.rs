//! A snapshot as openraft and the network hold it: bytes to read or to write, without blocking.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::snapshot::SnapshotError;
use super::snapshot_receiver::{Receive, Received, stream_of};
use super::snapshot_source::{PieceReader, SnapshotSource};
use crate::error::StorageError;
use crate::lsm::tree::LsmTree;
use crate::owned_thread::OwnedThread;

/// At most this much of one write is taken.
const MAX_PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait to be made into a table; when there are more, writing waits.
const QUEUE_PIECES: usize = 4;

type Permit = Result<mpsc::OwnedPermit<Bytes>, mpsc::error::SendError<()>>;

/// A snapshot on its way: [`AsyncRead`] for sending it, [`AsyncWrite`] for receiving it.
///
/// Reading makes the stream from the state on disk as it goes, verifying every byte that it comes
/// from, so that a damaged snapshot never reaches a peer. Writing makes a table of it as it comes;
/// it ends with `shutdown`, which says whether what came was a snapshot, and makes it durable.
pub struct SnapshotFile(State);

enum State {
    Sending(Sending),
    Receiving(Receiving),
    Received(Received),
    /// What was written is no snapshot.
    Refused,
}

/// Invariant: `source` is away only while `pending` is working with it.
struct Sending {
    source: Option<SnapshotSource>,
    pending: Option<tokio::task::JoinHandle<(SnapshotSource, io::Result<Bytes>)>>,
    unread: Bytes,
}

/// What is written goes to a thread that makes a table of it.
///
/// Invariant: `thread` is there until this is dropped.
struct Receiving {
    pieces: Option<mpsc::Sender<Bytes>>,
    room: Option<Pin<Box<dyn Future<Output = Permit> + Send + Sync>>>,
    result: oneshot::Receiver<Result<Received, SnapshotError>>,
    thread: Option<OwnedThread>,
    tree: Arc<LsmTree>,
}

impl SnapshotFile {
    pub(crate) fn sending(source: SnapshotSource) -> Self {
        Self(State::Sending(Sending { source: Some(source), pending: None, unread: Bytes::new() }))
    }

    /// One that has these codec bytes as its metadata, or any.
    fn receiving(inbox: &SnapshotInbox, announced: Option<Vec<u8>>) -> io::Result<Self> {
        inbox.tree.disk.health.check().map_err(StorageError::from)?;
        let (pieces, incoming) = mpsc::channel(QUEUE_PIECES);
        let (done, result) = oneshot::channel();
        let SnapshotInbox { receive, tree } = inbox.clone();
        let work = move || {
            let received = receive(&tree, &mut stream_of(incoming));
            let is_other = |received: &Received| announced.is_some_and(|meta| !received.is_of(&meta));
            // The writer may have gone away; then the answer is dropped, and with it what it has
            // written.
            drop(done.send(match received {
                Ok(received) if is_other(&received) => Err(SnapshotError::OtherMeta),
                other => other,
            }));
        };
        let thread = Some(OwnedThread::start("snapshot", work)?);
        let tree = inbox.tree.clone();
        Ok(Self(State::Receiving(Receiving { pieces: Some(pieces), room: None, result, thread, tree })))
    }

    /// Of one that was received to its end: what it says that it is. `None`: it was not, or its
    /// metadata are of another type configuration.
    #[must_use]
    pub fn received_meta<C: RaftTypeConfig>(&self) -> Option<SnapshotMetaOf<C>> {
        match &self.0 {
            State::Received(received) => codec::decode(received.meta()).ok(),
            _ => None,
        }
    }

    /// The table that it has become, or becomes now if it comes from another storage. Blocks on the
    /// disk.
    pub(crate) fn into_received(self, inbox: &SnapshotInbox) -> Result<Received, SnapshotError> {
        let unfinished =
            |text: &str| SnapshotError::Damaged(io::Error::new(io::ErrorKind::InvalidData, text.to_owned()));
        match self.0 {
            State::Received(received) => Ok(received),
            State::Sending(sending) => (inbox.receive)(&inbox.tree, &mut sending.into_reader()?),
            State::Receiving(_) => Err(unfinished("the snapshot was not received to its end")),
            State::Refused => Err(unfinished("what was received is no snapshot")),
        }
    }

    /// What is left of its stream. Reading it blocks on the disk.
    ///
    /// # Errors
    /// It is not one that is sent.
    #[cfg(feature = "testing")]
    pub(crate) fn into_stream(self) -> Result<impl io::Read, SnapshotError> {
        match self.0 {
            State::Sending(sending) => sending.into_reader(),
            _ => Err(SnapshotError::OtherMeta),
        }
    }
}

impl Sending {
    fn into_reader(self) -> Result<impl io::Read, SnapshotError> {
        let mut source = self.source.ok_or(StorageError::Closed)?;
        Ok(PieceReader { next: move || source.next(), unread: self.unread })
    }

    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        debug_assert!(self.source.is_none() || self.pending.is_none(), "the source is in one place");
        if !self.unread.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(mut source) = self.source.take() {
            self.pending = Some(spawn_blocking(move || {
                let piece = source.next();
                (source, piece)
            }));
        }
        let Some(pending) = &mut self.pending else {
            return Poll::Ready(Err(StorageError::Closed.into()));
        };
        let (source, piece) = ready!(Pin::new(pending).poll(cx)).map_err(io::Error::other)?;
        self.pending = None;
        self.source = Some(source);
        self.unread = piece?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for SnapshotFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let State::Sending(sending) = &mut self.0 else {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "not open for reading")));
        };
        ready!(sending.poll_unread(cx))?;
        let n = sending.unread.len().min(buf.remaining());
        buf.put_slice(sending.unread.get(..n).unwrap_or_default());
        sending.unread.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl Receiving {
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Some(pieces) = &self.pieces else {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "written after its end")));
        };
        let room = self.room.get_or_insert_with(|| Box::pin(pieces.clone().reserve_owned()));
        let permit = ready!(room.as_mut().poll(cx));
        self.room = None;
        let Ok(permit) = permit else {
            // The thread has ended before the stream did.
            self.pieces = None;
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let piece = buf.get(..buf.len().min(MAX_PIECE_BYTES)).unwrap_or_default();
        permit.send(Bytes::copy_from_slice(piece));
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, SnapshotError>> {
        (self.pieces, self.room) = (None, None);
        let result = ready!(Pin::new(&mut self.result).poll(cx));
        Poll::Ready(result.unwrap_or_else(|_| Err(StorageError::Closed.into())))
    }
}

impl Drop for Receiving {
    /// The thread ends when nothing is sent any more, as soon as the disk lets it. This may be a
    /// thread of the runtime, so it is not waited for here.
    fn drop(&mut self) {
        (self.pieces, self.room) = (None, None);
        self.result.close();
        if let Some(thread) = self.thread.take() {
            self.tree.wait_at_stop(thread);
        }
    }
}

impl SnapshotFile {
    /// Waits for what the thread says of all that was written.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Receiving(receiving) => match ready!(receiving.poll_result(cx)) {
                Ok(received) => {
                    self.0 = State::Received(received);
                    Poll::Ready(Ok(()))
                }
                Err(e) => {
                    self.0 = State::Refused;
                    Poll::Ready(Err(e.into()))
                }
            },
            State::Refused => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            State::Received(_) | State::Sending(_) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for SnapshotFile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            State::Receiving(receiving) if receiving.pieces.is_some() => {
                match ready!(receiving.poll_write(cx, buf)) {
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
                    other => return Poll::Ready(other),
                }
            }
            State::Receiving(_) => {}
            _ => {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "not open for writing")));
            }
        }
        // Why it has ended is what the writer should know.
        ready!(self.poll_end(cx))?;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "bytes behind the end of a snapshot")))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)
    }
}

/// Makes room for snapshots that are being received. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotInbox {
    pub(crate) receive: Receive,
    pub(crate) tree: Arc<LsmTree>,
}

impl SnapshotInbox {
    /// An empty snapshot, which shall become the one that a peer has announced with this metadata.
    /// Write the received bytes, shut it down, and hand it to openraft to be installed; if it is
    /// dropped instead, what was written goes away.
    ///
    /// `shutdown` makes it durable: bytes that are not a whole snapshot, or are another one, are an
    /// error of the kind [`InvalidData`](io::ErrorKind::InvalidData) there, or earlier, and must not
    /// be handed to openraft, which takes a snapshot that cannot be installed for a failure of this
    /// node.
    ///
    /// # Errors
    /// A storage fault, or the metadata cannot be encoded.
    #[allow(clippy::unused_async, reason = "making room may come to need the disk")]
    pub async fn create_for(&self, announced: &impl Serialize) -> io::Result<SnapshotFile> {
        let announced = codec::encode(announced).map_err(io::Error::other)?;
        SnapshotFile::receiving(self, Some(announced))
    }

    /// The same for whatever snapshot comes; installing it with other metadata than its own fails.
    ///
    /// # Errors
    /// A storage fault.
    #[allow(clippy::unused_async, reason = "making room may come to need the disk")]
    pub async fn create(&self) -> io::Result<SnapshotFile> {
        SnapshotFile::receiving(self, None)
    }
}
