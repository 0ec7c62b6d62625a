//! The receiving end of an append stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::base::BoxStream;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult};
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::LogIdOf;
use openraft::{Raft, RaftTypeConfig};
use proto::raft::v1::append_response::Result as Outcome;
use proto::raft::v1::{AppendConflict, AppendRequest, AppendResponse, AppendSuccess};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Status, Streaming};

use crate::options::MAX_INBOUND_STREAM_BYTES;
use crate::server::admission;
use crate::server::identity::{Addressee, CertifiedSender};
use crate::wire;

/// Unit of the inbound byte bound: semaphores count in `u32`, and small messages share a unit.
const PERMIT_BYTES: usize = 1024;
const PERMITS: usize = MAX_INBOUND_STREAM_BYTES / PERMIT_BYTES;

/// A request that was handed to `Raft`.
struct Expected<C: RaftTypeConfig> {
    last: Option<LogIdOf<C>>,
    /// Its share of [`MAX_INBOUND_STREAM_BYTES`].
    _permit: Option<OwnedSemaphorePermit>,
}

/// What the two directions of one stream share.
///
/// Invariant: `expected` holds, oldest first, the requests that are not answered.
struct Ledger<C: RaftTypeConfig> {
    expected: Mutex<VecDeque<Expected<C>>>,
    /// Why no further request was taken.
    refusal: Mutex<Option<Status>>,
    room: Arc<Semaphore>,
}

impl<C: RaftTypeConfig> Ledger<C> {
    fn new() -> Self {
        Self {
            expected: Mutex::default(),
            refusal: Mutex::default(),
            room: Arc::new(Semaphore::new(PERMITS)),
        }
    }

    /// Waits until the message fits into the bound.
    async fn reserve(&self, message: &AppendRequest) -> Option<OwnedSemaphorePermit> {
        let bytes: usize = message.entries.iter().map(bytes::Bytes::len).sum();
        let permits = (bytes / PERMIT_BYTES + 1).min(PERMITS);
        Arc::clone(&self.room).acquire_many_owned(permits as u32).await.ok()
    }

    fn expect(&self, last: Option<LogIdOf<C>>, permit: Option<OwnedSemaphorePermit>) {
        lock(&self.expected).push_back(Expected { last, _permit: permit });
    }

    /// The last log id of the request that is being answered.
    fn answered(&self) -> Option<LogIdOf<C>> {
        lock(&self.expected).pop_front().and_then(|expected| expected.last)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pipes `messages` through `raft`. The answers come in order; the first that is not a success is
/// the last, and a message that is refused ends the stream with its status after the answers before
/// it.
pub(super) fn stream<C, SM>(
    raft: Raft<C, SM>,
    addressee: Arc<Addressee<C>>,
    certified: Option<CertifiedSender<C::NodeId>>,
    messages: Streaming<AppendRequest>,
) -> impl Stream<Item = Result<AppendResponse, Status>> + Send + 'static
where
    C: RaftTypeConfig,
    SM: RaftStateMachine<C>,
{
    let ledger = Arc::new(Ledger::<C>::new());
    // Boxed, because the opaque type counts as a borrow of `raft` although it is 'static.
    let requests = requests(addressee, certified, messages, Arc::clone(&ledger));
    let answers: BoxStream<'static, _> = Box::pin(raft.stream_append(requests));
    let answering = Arc::clone(&ledger);
    let answers = answers.map(move |answer| match answer {
        Ok(result) => response::<C>(result, answering.answered()),
        Err(fatal) => Err(stopped(&fatal)),
    });
    // An idle stream would otherwise outlive the node and hold up a graceful stop of the server.
    let answers = answers.take_until(core_stopped(raft));
    let refusal = futures_util::stream::once(async move { lock(&ledger.refusal).take() });
    answers.chain(refusal.filter_map(|status| std::future::ready(status.map(Err))))
}

/// Resolves when the node's core has ended. Watches what seldom changes.
async fn core_stopped<C, SM>(raft: Raft<C, SM>)
where
    C: RaftTypeConfig,
    SM: RaftStateMachine<C>,
{
    let mut metrics = raft.server_metrics();
    drop(raft);
    while metrics.changed().await.is_ok() {}
}

/// The admitted requests; ends at the end of `messages` and at the first refusal.
fn requests<C: RaftTypeConfig>(
    addressee: Arc<Addressee<C>>,
    certified: Option<CertifiedSender<C::NodeId>>,
    messages: Streaming<AppendRequest>,
    ledger: Arc<Ledger<C>>,
) -> impl Stream<Item = AppendEntriesRequest<C>> + Send + 'static {
    let admit = move |message: &AppendRequest, first| admit(&addressee, certified.as_ref(), message, first);
    let start = (messages, true, admit, ledger);
    futures_util::stream::unfold(start, |(mut messages, first, admit, ledger)| async move {
        // A stream that breaks needs no answer: the peer is gone.
        let message = messages.message().await.ok()??;
        match admit(&message, first) {
            Ok(request) => {
                let permit = ledger.reserve(&message).await;
                ledger.expect(last_of(&request), permit);
                Some((request, (messages, false, admit, ledger)))
            }
            Err(status) => {
                *lock(&ledger.refusal) = Some(status);
                None
            }
        }
    })
}

fn admit<C: RaftTypeConfig>(
    addressee: &Addressee<C>,
    certified: Option<&CertifiedSender<C::NodeId>>,
    message: &AppendRequest,
    first: bool,
) -> Result<AppendEntriesRequest<C>, Status> {
    if first || message.header.is_some() {
        addressee.check(message.header.as_ref(), certified)?;
    }
    admission::append(addressee.node_id(), message)
}

fn last_of<C: RaftTypeConfig>(request: &AppendEntriesRequest<C>) -> Option<LogIdOf<C>> {
    match request.entries.last() {
        Some(entry) => Some(wire::log_id_of::<C>(entry)),
        None => request.prev_log_id.clone(),
    }
}

fn response<C: RaftTypeConfig>(
    result: StreamAppendResult<C>,
    sent: Option<LogIdOf<C>>,
) -> Result<AppendResponse, Status> {
    let answer = match result {
        Ok(stored) if stored == sent => AppendEntriesResponse::Success,
        Ok(stored) => AppendEntriesResponse::PartialSuccess(stored),
        Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
        Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
    };
    encode::<C>(answer)
}

/// openraft's answer to one append as a message.
pub(super) fn encode<C: RaftTypeConfig>(answer: AppendEntriesResponse<C>) -> Result<AppendResponse, Status> {
    let internal = |e: codec::EncodeError| Status::internal(e.to_string());
    let result = match answer {
        AppendEntriesResponse::Success => Outcome::Success(AppendSuccess::default()),
        AppendEntriesResponse::PartialSuccess(None) => {
            return Err(Status::internal("nothing of the request was stored"));
        }
        AppendEntriesResponse::PartialSuccess(Some(stored)) => {
            let partial_up_to = wire::encode(&stored).map_err(internal)?;
            Outcome::Success(AppendSuccess { partial_up_to })
        }
        AppendEntriesResponse::Conflict => Outcome::Conflict(AppendConflict {}),
        AppendEntriesResponse::HigherVote(vote) => {
            Outcome::HigherVote(wire::encode(&vote).map_err(internal)?)
        }
    };
    Ok(AppendResponse { result: Some(result) })
}

/// The local `Raft` has stopped; another node must do.
pub(super) fn stopped(error: &dyn std::fmt::Display) -> Status {
    Status::unavailable(format!("raft has stopped on this node: {error}"))
}
