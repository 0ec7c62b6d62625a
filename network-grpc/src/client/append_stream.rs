//! A replication session: openraft's requests down one pipelined gRPC stream, answers back in
//! order.
//!
//! Everything happens while openraft polls the session, in openraft's own task, and the session
//! owns openraft's request stream: dropping the session stops both at the same instant. That
//! matters, because the next session shares the request stream's state and must never race with
//! this one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use futures_util::{Stream, StreamExt};
use openraft::RaftTypeConfig;
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use openraft::type_config::alias::VoteOf;
use proto::raft::v1::AppendResponse;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use crate::client::Peer;
use crate::client::answer::{Answer, Sent};
use crate::client::link::Link;
use crate::error::PeerError;
use crate::observer::Rpc;
use crate::options::{MAX_INFLIGHT_BYTES, MAX_INFLIGHT_MESSAGES, MIN_BYTES_PER_SECOND};
use crate::wire::Pieces;

type Item<C> = Result<StreamAppendResult<C>, RPCError<C>>;

/// The request that is being sent.
struct Outgoing<C: RaftTypeConfig> {
    pieces: Pieces<C>,
    vote: VoteOf<C>,
    started: StdInstant,
}

/// What a session waits for.
enum Event<C: RaftTypeConfig> {
    Response(Result<Option<AppendResponse>, Status>),
    Request(Option<AppendEntriesRequest<C>>),
    Timer,
}

/// Invariants: `in_flight` holds the messages sent and not answered, oldest first, and
/// `in_flight_bytes` their entries; no request is taken from `input` before `outgoing` is sent
/// completely; after a `failure` nothing more is sent; after `ended` nothing is yielded.
pub(super) struct Session<C: RaftTypeConfig, S> {
    peer: Arc<Peer>,
    input: S,
    input_ended: bool,
    outgoing: Option<Outgoing<C>>,
    /// Why the rest cannot be sent; yielded when all that was sent is answered.
    failure: Option<PeerError>,
    link: Option<Link>,
    in_flight: VecDeque<Sent<C>>,
    in_flight_bytes: usize,
    /// Until when the oldest message in flight must be answered.
    deadline: Instant,
    /// Fires at `deadline` or earlier; moved only when it fires.
    timer: Pin<Box<Sleep>>,
    ended: bool,
}

impl<C, S> Session<C, S>
where
    C: RaftTypeConfig,
    S: Stream<Item = AppendEntriesRequest<C>> + Send + Unpin + 'static,
{
    pub(super) fn new(peer: Arc<Peer>, input: S) -> Self {
        let now = Instant::now();
        Self {
            peer,
            input,
            input_ended: false,
            outgoing: None,
            failure: None,
            link: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            deadline: now,
            timer: Box::pin(sleep_until(now)),
            ended: false,
        }
    }

    /// Answers of whole requests, in order; ends after the first that is not a full success.
    pub(super) fn into_stream(self) -> impl Stream<Item = Item<C>> + Send {
        futures_util::stream::unfold(self, |mut session| async move {
            session.next().await.map(|item| (item, session))
        })
    }

    async fn next(&mut self) -> Option<Item<C>> {
        if self.ended {
            return None;
        }
        let item = match self.run().await {
            Ok(answer) => answer.map(|answer| Ok(self.yielded(answer))),
            Err(error) => {
                let started = self.in_flight.front().map_or_else(StdInstant::now, |s| s.started);
                self.peer.finished(Rpc::AppendStream, started, Some(&error));
                self.ended = true;
                Some(Err(error.into_rpc()))
            }
        };
        self.ended |= item.is_none();
        if self.ended {
            self.link = None;
        }
        item
    }

    fn yielded(&mut self, answer: Answer<C>) -> StreamAppendResult<C> {
        self.ended = !matches!(answer, Answer::Stored(_));
        match answer {
            Answer::Stored(log_id) | Answer::StoredPart(log_id) => Ok(log_id),
            Answer::Conflict(log_id) => Err(StreamAppendError::Conflict(log_id)),
            Answer::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
        }
    }

    /// Runs until there is an answer to yield.
    async fn run(&mut self) -> Result<Option<Answer<C>>, PeerError> {
        if self.link.is_none() && !self.open().await? {
            return Ok(None);
        }
        loop {
            self.send_what_fits();
            if self.in_flight.is_empty()
                && let Some(failure) = self.failure.take()
            {
                return Err(failure);
            }
            match self.event().await {
                Event::Request(request) => self.take(request)?,
                Event::Timer => self.check_progress()?,
                Event::Response(response) => match self.answered(response)? {
                    Reaction::Yield(answer) => return Ok(Some(answer)),
                    Reaction::Continue => {}
                    Reaction::End => return Ok(None),
                },
            }
        }
    }

    /// Opens the stream with the first request. openraft's backoff happens inside its request
    /// stream, so the request is awaited before anything is dialled. False if there is none.
    async fn open(&mut self) -> Result<bool, PeerError> {
        let Some(request) = self.input.next().await else { return Ok(false) };
        self.take(Some(request))?;
        let Some(outgoing) = &mut self.outgoing else { return Ok(false) };
        let Some(piece) = outgoing.pieces.next_piece()? else { return Ok(false) };
        let (message, sent) = Sent::of(piece, outgoing.vote.clone(), outgoing.started);
        self.track(sent);
        let ttl = self.allowance();
        self.link = Some(Link::open(&self.peer, message, ttl).await?);
        self.deadline = Instant::now() + ttl;
        Ok(true)
    }

    fn take(&mut self, request: Option<AppendEntriesRequest<C>>) -> Result<(), PeerError> {
        match request {
            Some(request) => {
                let vote = request.vote.clone();
                let pieces = Pieces::of(request)?;
                self.outgoing = Some(Outgoing { pieces, vote, started: StdInstant::now() });
            }
            None => self.input_ended = true,
        }
        Ok(())
    }

    /// Sends from the current request as much as the bounds allow.
    fn send_what_fits(&mut self) {
        while self.has_room()
            && let Some(outgoing) = &mut self.outgoing
        {
            match outgoing.pieces.next_piece() {
                Ok(Some(piece)) => {
                    let (message, sent) = Sent::of(piece, outgoing.vote.clone(), outgoing.started);
                    self.track(sent);
                    if let Some(link) = &self.link {
                        link.send(message);
                    }
                }
                Ok(None) => self.outgoing = None,
                Err(error) => {
                    self.outgoing = None;
                    self.failure = Some(error);
                }
            }
        }
        let all_sent = self.input_ended && self.outgoing.is_none();
        if let Some(link) = self.link.as_mut().filter(|link| all_sent && !link.is_finished()) {
            link.finish();
        }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_INFLIGHT_MESSAGES && self.in_flight_bytes < MAX_INFLIGHT_BYTES
    }

    fn track(&mut self, sent: Sent<C>) {
        self.in_flight_bytes += sent.bytes;
        self.in_flight.push_back(sent);
        if self.in_flight.len() == 1 {
            self.deadline = Instant::now() + self.allowance();
        }
    }

    /// How long the oldest message in flight may take.
    fn allowance(&self) -> Duration {
        let bytes = self.in_flight.front().map_or(0, |sent| sent.bytes);
        let transfer = Duration::from_secs((bytes / MIN_BYTES_PER_SECOND) as u64);
        self.peer.options.append_progress_timeout + transfer
    }

    async fn event(&mut self) -> Event<C> {
        let Some(link) = &mut self.link else { return Event::Response(Ok(None)) };
        let wants_request = self.outgoing.is_none() && self.failure.is_none() && !self.input_ended;
        let awaits_answer = !self.in_flight.is_empty() || link.is_finished();
        tokio::select! {
            biased;
            response = link.answer() => Event::Response(response),
            request = self.input.next(), if wants_request => Event::Request(request),
            () = &mut self.timer, if awaits_answer => Event::Timer,
        }
    }

    fn check_progress(&mut self) -> Result<(), PeerError> {
        if Instant::now() < self.deadline {
            self.timer.as_mut().reset(self.deadline);
            return Ok(());
        }
        if let Some(link) = &self.link {
            self.peer.connection.discard(link.live());
        }
        Err(self.peer.connection.timed_out("answer to an append", self.allowance()))
    }

    fn answered(
        &mut self,
        response: Result<Option<AppendResponse>, Status>,
    ) -> Result<Reaction<C>, PeerError> {
        let response = match response {
            Ok(Some(response)) => response,
            Ok(None) => return self.peer_ended(),
            Err(status) => return Err(self.broken(status)),
        };
        let Some(sent) = self.in_flight.pop_front() else {
            return Err(self.peer.connection.bad_answer("an answer to nothing"));
        };
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(sent.bytes);
        self.deadline = Instant::now() + self.allowance();
        let (completes, started) = (sent.completes, sent.started);
        let answer = sent.judge(response, &self.peer.connection)?;
        if matches!(answer, Answer::Stored(_)) && !completes {
            return Ok(Reaction::Continue);
        }
        self.peer.finished(Rpc::AppendStream, started, None);
        Ok(Reaction::Yield(answer))
    }

    fn peer_ended(&self) -> Result<Reaction<C>, PeerError> {
        let asked_to = self.link.as_ref().is_some_and(Link::is_finished);
        if asked_to && self.in_flight.is_empty() {
            return Ok(Reaction::End);
        }
        let address = self.peer.connection.address();
        Err(PeerError::Closed { address, unanswered: self.in_flight.len() })
    }

    fn broken(&self, status: Status) -> PeerError {
        match &self.link {
            Some(link) => self.peer.failed(link.live(), status),
            None => PeerError::from_status(&self.peer.connection.address(), status),
        }
    }
}

/// What follows from a response.
enum Reaction<C: RaftTypeConfig> {
    Yield(Answer<C>),
    Continue,
    End,
}
