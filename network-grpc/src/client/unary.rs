//! Calls with one request and one answer: heartbeats, votes, leader transfer.

use std::future::Future;
use std::time::{Duration, Instant};

use openraft::RaftTypeConfig;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};
use proto::raft::v1 as pb;
use proto::raft::v1::raft_client::RaftClient;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::client::answer::{Answer, Sent, check_vote};
use crate::client::{Peer, PeerClient};
use crate::error::PeerError;
use crate::observer::Rpc;
use crate::wire::{self, Pieces};

impl<C: RaftTypeConfig, SD> PeerClient<C, SD> {
    /// One append outside any stream. Of a request that is too large for one message the first part
    /// is sent, and its success is a partial one.
    pub(super) async fn append(
        &self,
        request: AppendEntriesRequest<C>,
        ttl: Duration,
    ) -> Result<AppendEntriesResponse<C>, PeerError> {
        let started = Instant::now();
        let result = self.append_first_piece(request, started, ttl).await;
        self.peer.finished(Rpc::Append, started, result.as_ref().err());
        result
    }

    async fn append_first_piece(
        &self,
        request: AppendEntriesRequest<C>,
        started: Instant,
        ttl: Duration,
    ) -> Result<AppendEntriesResponse<C>, PeerError> {
        let vote = request.vote.clone();
        let Some(piece) = Pieces::of(request)?.next_piece()? else {
            return Err(self.peer.connection.bad_answer("nothing to send"));
        };
        let (mut message, sent) = Sent::of(piece, vote, started);
        message.header = Some(self.peer.header()?);
        let response = self.peer.call(ttl, |mut client| async move { client.append(message).await }).await?;
        let completes = sent.completes;
        Ok(match sent.judge(response, &self.peer.connection)? {
            Answer::Stored(_) if completes => AppendEntriesResponse::Success,
            Answer::Stored(log_id) | Answer::StoredPart(log_id) => {
                AppendEntriesResponse::PartialSuccess(log_id)
            }
            Answer::Conflict(_) => AppendEntriesResponse::Conflict,
            Answer::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    pub(super) async fn ask_for_vote(
        &self,
        rpc: Rpc,
        request: VoteRequest<C>,
        ttl: Duration,
    ) -> Result<VoteResponse<C>, PeerError> {
        let body = wire::encode(&request)?;
        let message = pb::VoteRequest { header: Some(self.peer.header()?), body };
        let started = Instant::now();
        let result = self
            .peer
            .call(ttl, |mut client| async move {
                match rpc {
                    Rpc::PreVote => client.pre_vote(message).await,
                    _ => client.vote(message).await,
                }
            })
            .await
            .and_then(|answer| self.peer.decode::<VoteResponse<C>>(&answer.body))
            .and_then(|response| {
                check_vote::<C>(&response.vote, &request.vote, &self.peer.connection)?;
                Ok(response)
            });
        self.peer.finished(rpc, started, result.as_ref().err());
        result
    }

    pub(super) async fn hand_over(
        &self,
        request: TransferLeaderRequest<C>,
        ttl: Duration,
    ) -> Result<TransferLeaderResponse<C>, PeerError> {
        let body = wire::encode(&request)?;
        let message = pb::TransferLeaderRequest { header: Some(self.peer.header()?), body };
        let started = Instant::now();
        let result = self
            .peer
            .call(ttl, |mut client| async move { client.transfer_leader(message).await })
            .await
            .and_then(|answer| self.peer.decode(&answer.body));
        self.peer.finished(Rpc::TransferLeader, started, result.as_ref().err());
        result
    }
}

impl Peer {
    /// Dials if necessary and calls, both within `ttl`.
    async fn call<T, F, Fut>(&self, ttl: Duration, call: F) -> Result<T, PeerError>
    where
        F: FnOnce(RaftClient<Channel>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        match timeout(ttl, self.call_forever(call)).await {
            Ok(result) => result,
            Err(_) => Err(self.connection.timed_out("answer", ttl)),
        }
    }

    async fn call_forever<T, F, Fut>(&self, call: F) -> Result<T, PeerError>
    where
        F: FnOnce(RaftClient<Channel>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let live = self.connection.live().await?;
        match call(live.client.clone()).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(self.failed(&live, status)),
        }
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, PeerError> {
        wire::decode(bytes).map_err(|e| self.connection.bad_answer(e.to_string()))
    }
}
