//! `RaftNetworkV2`: openraft's calls, each handed to the file that does it.

use std::future::Future;

use futures_util::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::network::{Backoff, RPCOption, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use openraft::{OptionalSend, RaftNetworkV2, RaftTypeConfig};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::client::append_stream::Session;
use crate::client::{PeerClient, snapshot};
use crate::connection::Lane;
use crate::error::PeerError;
use crate::observer::Rpc;
use crate::options::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};

impl<C, SD> RaftNetworkV2<C> for PeerClient<C, SD>
where
    C: RaftTypeConfig,
    SD: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    type SnapshotData = SD;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<C>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<C>, RPCError<C>> {
        self.append(rpc, option.soft_ttl()).await.map_err(PeerError::into_rpc)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<C>, RPCError<C>>>, RPCError<C>>>
    where
        S: Stream<Item = AppendEntriesRequest<C>> + OptionalSend + Unpin + 'static,
    {
        if self.lane == Lane::Heartbeat {
            return stream_append_sequential(self, input, option);
        }
        let session: BoxStream<'s, _> =
            Box::pin(Session::<C, S>::new(self.peer.clone(), input).into_stream());
        Box::pin(std::future::ready(Ok(session)))
    }

    async fn vote(&mut self, rpc: VoteRequest<C>, option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        self.ask_for_vote(Rpc::Vote, rpc, option.soft_ttl()).await.map_err(PeerError::into_rpc)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<C>,
        option: RPCOption,
    ) -> Result<VoteResponse<C>, RPCError<C>> {
        self.ask_for_vote(Rpc::PreVote, rpc, option.soft_ttl()).await.map_err(PeerError::into_rpc)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<C>,
        snapshot: SnapshotOf<C, SD>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        // The option's deadline is for the whole transfer, which may take as long as it progresses.
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot::send(&self.peer, vote, snapshot) => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<C>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<C>, RPCError<C>> {
        self.hand_over(req, option.soft_ttl()).await.map_err(PeerError::into_rpc)
    }

    fn backoff(&self) -> Option<Backoff> {
        let next = |pause: &std::time::Duration| Some((*pause * 2).min(RETRY_PAUSE_MAX));
        Some(Backoff::new(std::iter::successors(Some(RETRY_PAUSE_MIN), next)))
    }
}
