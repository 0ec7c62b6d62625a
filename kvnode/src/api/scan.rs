//! Scan: a stream of bounded responses, each read at one instant.
//!
//! One confirmation when the scan starts makes the first response linearizable; later ones are read from
//! the same node, whose state only moves forward. The stream is pulled: nothing is read before the
//! client has room for it.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use proto::kv::v1 as kv;
use tonic::Status;

use super::admission::Place;
use super::call::Call;
use super::forward::{Effect, Hop};
use super::header::header;
use super::route::{self, LEADER_WAIT};
use super::server::Api;
use super::status_codes;
use super::write::pair;
use crate::app::{Query, ScanQuery};

/// Most pairs in one response.
const MAX_RESPONSE_PAIRS: usize = 1000;
/// A response is complete once it has this many bytes of keys and values; a single pair may exceed it.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The responses to one scan.
pub(crate) type ScanStream = Pin<Box<dyn Stream<Item = Result<kv::ScanResponse, Status>> + Send>>;

/// Where a scan on this node has got to.
struct Cursor {
    api: Arc<Api>,
    call: Call,
    request: kv::ScanRequest,
    next: Bytes,
    /// Pairs still wanted; `None`: all.
    left: Option<u64>,
    done: bool,
}

impl Api {
    pub(super) async fn scan(
        this: &Arc<Self>,
        call: &Call,
        request: kv::ScanRequest,
    ) -> Result<ScanStream, Status> {
        let place = this.admission.scan()?;
        let responses = if request.stale {
            this.refuse_outsiders()?;
            Cursor::start(this, *call, request)
        } else {
            let here = async || {
                route::within(call, Effect::Read, this.confirm_read()).await?;
                Ok(Cursor::start(this, *call, request.clone()))
            };
            let there =
                async |hop: Hop| Ok(hop.kv().scan(hop.request(request.clone())).await?.into_inner().boxed());
            this.on_leader(call, LEADER_WAIT, Effect::Read, here, there).await?
        };
        Ok(holding(place, responses))
    }
}

/// Keeps the scan's place until its stream is dropped.
fn holding(place: Place, responses: ScanStream) -> ScanStream {
    responses
        .map(move |response| {
            let _held = &place;
            response
        })
        .boxed()
}

impl Cursor {
    fn start(api: &Arc<Api>, call: Call, request: kv::ScanRequest) -> ScanStream {
        let left = (request.limit > 0).then_some(request.limit);
        let cursor =
            Self { api: Arc::clone(api), call, next: request.prefix.clone(), request, left, done: false };
        stream::try_unfold(cursor, Self::response).map_err(Status::from).boxed()
    }

    /// Reads the next response. The first is sent even if it is empty: its header tells the revision.
    async fn response(mut self) -> Result<Option<(kv::ScanResponse, Self)>, Status> {
        if self.done {
            return Ok(None);
        }
        status_codes::check_standing(&self.api.local)?;
        let wanted = self.left.map_or(MAX_RESPONSE_PAIRS, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let query = Query::Scan(ScanQuery {
            start: self.next.clone(),
            prefix: self.request.prefix.clone(),
            max_pairs: wanted.min(MAX_RESPONSE_PAIRS),
            max_bytes: MAX_RESPONSE_BYTES,
            keys_only: self.request.keys_only,
        });
        let answer = tokio::time::timeout_at(self.call.deadline, self.api.long_query(query));
        let answer = answer.await.map_err(|_| status_codes::out_of_time())??;
        let pairs: Vec<_> = answer.found.into_iter().map(|found| pair(found.key, found.record)).collect();
        self.advance(&pairs);
        Ok(Some((kv::ScanResponse { header: header(&self.api.local, answer.applied_index), pairs }, self)))
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
