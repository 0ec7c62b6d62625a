//! Scan: a stream of bounded responses, each read at one instant, and none of a state before the
//! one before it.
//!
//! The stream is pulled: nothing is read before the client has room for it.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use proto::kv::v1 as kv;
use raftnode::{Answered, Call, Place};
use tonic::Status;

use super::access::{Access, Store};
use super::shapes::{header, pair};
use crate::app::{Answer, ScanQuery};

/// Most pairs in one response.
const MAX_RESPONSE_PAIRS: usize = 1000;
/// A response is complete once it has this many bytes of keys and values; a single pair may exceed
/// it.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The responses to one scan.
pub(crate) type ScanStream = Pin<Box<dyn Stream<Item = Result<kv::ScanResponse, Status>> + Send>>;

/// How far a scan has got.
struct Cursor {
    store: Store,
    access: Access,
    call: Call,
    request: kv::ScanRequest,
    /// The prefixes to look at from here on: those of the request that its caller may read.
    ranges: VecDeque<Bytes>,
    /// Where to go on in the first of them.
    next: Bytes,
    /// Pairs still wanted; `None`: all.
    left: Option<u64>,
    // Held as long as there may be responses.
    _place: Place,
}

/// Starts a scan. The first response is read before it answers, so that a scan that is refused
/// fails as a whole.
pub(super) async fn scan(
    store: &Store,
    access: Access,
    call: Call,
    request: kv::ScanRequest,
) -> Result<ScanStream, Status> {
    let ranges = access.ranges(&request.prefix)?;
    let left = (request.limit > 0).then_some(request.limit);
    let (store, next, place) = (store.clone(), request.prefix.clone(), store.node().place_for_stream()?);
    let cursor = Cursor { store, access, call, request, ranges, next, left, _place: place };
    let Some((first, cursor)) = cursor.response().await? else { return Ok(stream::empty().boxed()) };
    let rest = stream::try_unfold(cursor, Cursor::response);
    Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
}

impl Cursor {
    /// Reads the next response. One is sent even if there is no pair: its header tells the
    /// revision.
    async fn response(mut self) -> Result<Option<(kv::ScanResponse, Self)>, Status> {
        while let Some(prefix) = self.ranges.front().cloned() {
            let (pairs, node, revision) = self.page(prefix).await?;
            if pairs.is_empty() {
                self.ranges.pop_front();
                // The last response has no pairs.
                if !self.ranges.is_empty() {
                    continue;
                }
            }
            self.advance(&pairs);
            let header = header(self.store.node(), node, revision);
            return Ok(Some((kv::ScanResponse { header, pairs }, self)));
        }
        Ok(None)
    }

    /// The next pairs with this prefix, which node they are from, and the revision.
    async fn page(&self, prefix: Bytes) -> Result<(Vec<kv::Pair>, u64, u64), Status> {
        let wanted = self.left.map_or(MAX_RESPONSE_PAIRS, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let query = self.access.page(ScanQuery {
            start: self.next.clone(),
            prefix,
            max_pairs: wanted.min(MAX_RESPONSE_PAIRS),
            max_bytes: MAX_RESPONSE_BYTES,
            keys_only: self.request.keys_only,
        })?;
        let answered = self.store.read(&self.call, query, self.request.stale);
        let answered = tokio::time::timeout_at(self.call.deadline, answered).await;
        let out_of_time = |_| Status::deadline_exceeded("out of time; nothing was changed");
        let Answered { value: Answer { found, revision }, node } = answered.map_err(out_of_time)??;
        Ok((found.into_iter().map(|found| pair(found.key, found.record)).collect(), node, revision))
    }

    /// A response with pairs is followed by another look, since it may have stopped at its size.
    fn advance(&mut self, pairs: &[kv::Pair]) {
        self.left = self.left.map(|left| left.saturating_sub(pairs.len() as u64));
        if let Some(last) = pairs.last() {
            self.next = successor(&last.key);
        }
        if self.left == Some(0) {
            self.ranges.clear();
        }
    }
}

/// The smallest key greater than `key`.
fn successor(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}
