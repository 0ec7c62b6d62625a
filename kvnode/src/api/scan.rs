//! Scan: a stream of bounded responses, each read at one instant, and none of a state before the
//! one before it.
//!
//! The stream is pulled: nothing is read before the client has room for it.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use proto::kv::v1 as kv;
use raftnode::{Answered, Call, Node, Place};
use tonic::Status;

use super::shapes::{header, pair, read};
use crate::app::{Answer, KvApplication, Query, ScanQuery};

/// Most pairs in one response.
const MAX_RESPONSE_PAIRS: usize = 1000;
/// A response is complete once it has this many bytes of keys and values; a single pair may exceed
/// it.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The responses to one scan.
pub(crate) type ScanStream = Pin<Box<dyn Stream<Item = Result<kv::ScanResponse, Status>> + Send>>;

/// How far a scan has got.
struct Cursor {
    node: Node<KvApplication>,
    call: Call,
    request: kv::ScanRequest,
    next: Bytes,
    /// Pairs still wanted; `None`: all.
    left: Option<u64>,
    done: bool,
    // Held as long as there may be responses.
    _place: Place,
}

/// Starts a scan. The first response is read before it answers, so that a scan that is refused
/// fails as a whole.
pub(super) async fn scan(
    node: &Node<KvApplication>,
    call: Call,
    request: kv::ScanRequest,
) -> Result<ScanStream, Status> {
    let left = (request.limit > 0).then_some(request.limit);
    let (node, next, place) = (node.clone(), request.prefix.clone(), node.place_for_stream()?);
    let cursor = Cursor { node, call, next, request, left, done: false, _place: place };
    let Some((first, cursor)) = cursor.response().await? else { return Ok(stream::empty().boxed()) };
    let rest = stream::try_unfold(cursor, Cursor::response);
    Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
}

impl Cursor {
    /// Reads the next response. The first is sent even if it is empty: its header tells the
    /// revision.
    async fn response(mut self) -> Result<Option<(kv::ScanResponse, Self)>, Status> {
        if self.done {
            return Ok(None);
        }
        let wanted = self.left.map_or(MAX_RESPONSE_PAIRS, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let query = Query::Scan(ScanQuery {
            start: self.next.clone(),
            prefix: self.request.prefix.clone(),
            max_pairs: wanted.min(MAX_RESPONSE_PAIRS),
            max_bytes: MAX_RESPONSE_BYTES,
            keys_only: self.request.keys_only,
        });
        let answered = read(&self.node, &self.call, query, self.request.stale);
        let answered = tokio::time::timeout_at(self.call.deadline, answered).await;
        let out_of_time = |_| Status::deadline_exceeded("out of time; nothing was changed");
        let Answered { value: Answer { found, revision }, node } = answered.map_err(out_of_time)??;
        let pairs: Vec<_> = found.into_iter().map(|found| pair(found.key, found.record)).collect();
        self.advance(&pairs);
        Ok(Some((kv::ScanResponse { header: header(&self.node, node, revision), pairs }, self)))
    }

    /// A response with pairs is followed by another look, since it may have stopped at its size.
    fn advance(&mut self, pairs: &[kv::Pair]) {
        self.left = self.left.map(|left| left.saturating_sub(pairs.len() as u64));
        match pairs.last() {
            Some(last) => self.next = successor(&last.key),
            None => self.done = true,
        }
        self.done |= self.left == Some(0);
    }
}

/// The smallest key greater than `key`.
fn successor(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}
