//! The stream of requests to the node that leads: those that wait together share a message.
//!
//! One stream is open to a leader at a time. A stream that breaks ends each of its requests with
//! the same status, and the next request opens another one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use network_grpc::ClusterId;
use proto::node::v1 as pb;
use proto::node::v1::forwarded_request::Request as Task;
use proto::node::v1::forwarded_response::Response as Answer;
use proto::node::v1::requests_client::RequestsClient;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::call::{Call, address, forwarded_to};
use super::header::{NODE_FAULT_METADATA, NODE_ID_METADATA, is_answer};
use super::limits::MAX_STREAM_REQUESTS;
use crate::raft::NodeId;

/// A message is complete with so many bytes of commands and queries; a single one may have more.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// How often a stream that takes no more looks whether its requests were given up.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Messages that wait for the connection to take them.
const WAITING_MESSAGES: usize = 4;

/// Passes requests on over one stream. Cheap to clone; the stream ends with the last clone.
#[derive(Clone)]
pub(super) struct ForwardStream {
    waiting: mpsc::Sender<Forwarded>,
}

/// A request, and the future that waits for its answer.
struct Forwarded {
    call: Call,
    task: Task,
    done: oneshot::Sender<Result<Bytes, Status>>,
}

impl ForwardStream {
    /// A stream to that node of that cluster, opened by the task that serves it.
    pub(super) fn open(
        mut requests: RequestsClient<Channel>,
        cluster: Option<ClusterId>,
        to: NodeId,
    ) -> Self {
        let (waiting, arrivals) = mpsc::channel(MAX_STREAM_REQUESTS);
        let (out, outgoing) = mpsc::channel(WAITING_MESSAGES);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        forwarded_to(request.metadata_mut(), cluster, to);
        let stream = Stream { cluster, to, arrivals, out: Some(out), pending: HashMap::new(), next_id: 0 };
        tokio::spawn(async move {
            match requests.forward(request).await {
                Ok(answers) => stream.run(answers.into_inner()).await,
                Err(status) => stream.refuse(&status),
            }
        });
        Self { waiting }
    }

    /// No further request can be sent over it.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.is_closed()
    }

    /// Passes a request on, and waits for its answer. `None`: it was not sent, and may be sent over
    /// another stream.
    pub(super) async fn send(&self, call: &Call, task: Task) -> Option<Result<Bytes, Status>> {
        let (done, answer) = oneshot::channel();
        self.waiting.send(Forwarded { call: *call, task, done }).await.ok()?;
        // What is dropped without an answer was not taken from the queue.
        answer.await.ok()
    }
}

/// The task that serves a stream.
struct Stream {
    cluster: Option<ClusterId>,
    to: NodeId,
    arrivals: mpsc::Receiver<Forwarded>,
    /// None once this side has ended.
    out: Option<mpsc::Sender<pb::ForwardRequest>>,
    pending: HashMap<u64, oneshot::Sender<Result<Bytes, Status>>>,
    next_id: u64,
}

impl Stream {
    /// It could not be opened.
    fn refuse(mut self, status: &Status) {
        let status = if is_answer(status) { status.clone() } else { NotSent::of(status) };
        self.arrivals.close();
        while let Ok(forwarded) = self.arrivals.try_recv() {
            drop(forwarded.done.send(Err(status.clone())));
        }
    }

    async fn run(mut self, mut answers: Streaming<pb::ForwardResponse>) {
        let mut arrived = Vec::new();
        loop {
            if self.pending.len() >= MAX_STREAM_REQUESTS || self.out.is_none() {
                self.pending.retain(|_, done| !done.is_closed());
            }
            let may_take = self.out.is_some() && self.pending.len() < MAX_STREAM_REQUESTS;
            tokio::select! {
                answer = answers.message() => match answer {
                    Ok(Some(message)) => self.answered(message),
                    Ok(None) => return self.broken(&Status::unknown("the stream was ended")),
                    Err(status) => return self.broken(&status),
                },
                // Requests that were given up are looked for.
                () = tokio::time::sleep(LOOK_AGAIN), if !may_take => {}
                taken = self.arrivals.recv_many(&mut arrived, MAX_STREAM_REQUESTS), if may_take => {
                    if taken == 0 {
                        self.out = None;
                    } else if !self.send(std::mem::take(&mut arrived)).await {
                        return self.broken(&Status::unknown("the stream was ended"));
                    }
                }
            }
            if self.out.is_none() && self.pending.is_empty() {
                return;
            }
        }
    }

    /// Sends what has arrived in as few messages as may be.
    async fn send(&mut self, arrived: Vec<Forwarded>) -> bool {
        let (mut message, mut bytes) = (pb::ForwardRequest::default(), 0);
        for forwarded in arrived {
            if forwarded.done.is_closed() {
                continue;
            }
            let size = length(&forwarded.task);
            if bytes + size > MAX_MESSAGE_BYTES && bytes > 0 {
                if !self.emit(std::mem::take(&mut message)).await {
                    return false;
                }
                bytes = 0;
            }
            bytes += size;
            message.requests.push(self.number(forwarded));
        }
        message.requests.is_empty() || self.emit(message).await
    }

    fn number(&mut self, forwarded: Forwarded) -> pb::ForwardedRequest {
        let Forwarded { call, task, done } = forwarded;
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, done);
        let (timeout_ms, trace) = (call.remaining_ms(), call.trace.bytes());
        pb::ForwardedRequest { id, timeout_ms, trace, request: Some(task) }
    }

    async fn emit(&mut self, message: pb::ForwardRequest) -> bool {
        match &self.out {
            Some(out) => out.send(message).await.is_ok(),
            None => false,
        }
    }

    fn answered(&mut self, message: pb::ForwardResponse) {
        for answer in message.responses {
            if let Some(done) = self.pending.remove(&answer.id) {
                drop(done.send(self.outcome(answer.response)));
            }
        }
        if message.going_away {
            self.out = None;
            self.arrivals.close();
            while self.arrivals.try_recv().is_ok() {}
        }
    }

    fn outcome(&self, answer: Option<Answer>) -> Result<Bytes, Status> {
        match answer {
            Some(Answer::Written(bytes) | Answer::Answer(bytes)) => Ok(bytes),
            Some(Answer::Failure(failure)) => Err(self.status(failure)),
            None => Err(Status::unknown("the leader answered nothing")),
        }
    }

    /// The status of a failed call to that node.
    fn status(&self, failure: pb::ForwardFailure) -> Status {
        let code = i32::try_from(failure.code).map_or(Code::Unknown, Code::from_i32);
        let mut status = Status::new(code, failure.message);
        address(status.metadata_mut(), self.cluster, self.to);
        status.metadata_mut().insert(NODE_ID_METADATA, self.to.into());
        if let Ok(fault) = failure.node_fault.parse()
            && !failure.node_fault.is_empty()
        {
            status.metadata_mut().insert(NODE_FAULT_METADATA, fault);
        }
        status
    }

    /// Those that were sent may have been applied.
    fn broken(mut self, status: &Status) {
        self.arrivals.close();
        for (_, done) in self.pending.drain() {
            drop(done.send(Err(status.clone())));
        }
    }
}

/// The stream could not be opened: no request was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotSent(Status);

impl NotSent {
    fn of(status: &Status) -> Status {
        let mut not_sent = Status::new(status.code(), status.message());
        not_sent.set_source(Arc::new(Self(status.clone())));
        not_sent
    }
}

fn length(task: &Task) -> usize {
    match task {
        Task::Write(write) => write.command.len(),
        Task::Read(read) => read.query.len(),
    }
}
