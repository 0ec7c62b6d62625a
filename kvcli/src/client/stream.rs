//! The stream that operations of all callers share on one connection: `Kv.Session`.
//!
//! Operations that wait together share a message. A stream that breaks ends each of its operations
//! with the same status, and the next operation opens another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::ClusterId;
use super::metadata as names;
use super::terms::{Terms, introduce};
use super::wire::kv_client::KvClient;
use super::wire::operation::Request as Asked;
use super::wire::operation_response::Response;
use super::wire::{
    Operation, OperationFailure, OperationResponse, ResponseHeader, SessionRequest, SessionResponse,
};

/// Operations under way on one stream: as many as a node takes.
const MAX_UNDER_WAY: usize = 1024;
/// A message is complete with so many bytes of keys and values; a single operation may have more.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// How often a stream that takes no more looks whether its operations were given up.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Messages that wait for the connection to take them.
const WAITING_MESSAGES: usize = 2;

/// The session of one connection, if one is open. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionOver(Arc<Mutex<Option<Open>>>);

#[derive(Debug)]
struct Open {
    cluster: Option<ClusterId>,
    waiting: mpsc::Sender<Waiting>,
}

/// An operation, and the future that waits for its answer.
#[derive(Debug)]
struct Waiting {
    asked: Asked,
    terms: Terms,
    done: oneshot::Sender<Result<Response, Status>>,
}

impl SessionOver {
    /// Sends an operation over the session that is open, or else over another one.
    pub(super) async fn send(
        &self,
        service: &KvClient<Channel>,
        asked: Asked,
        terms: Terms,
    ) -> Result<Response, Status> {
        loop {
            let (done, answer) = oneshot::channel();
            let waiting = Waiting { asked: asked.clone(), terms: terms.clone(), done };
            if self.open(service, &terms).send(waiting).await.is_err() {
                continue;
            }
            // What is dropped without an answer was not sent.
            if let Ok(answer) = answer.await {
                return answer;
            }
        }
    }

    /// The next operation opens another session; what is under way on this one may still be
    /// answered.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The token is the client's, and the same for all of a connection.
    fn open(&self, service: &KvClient<Channel>, terms: &Terms) -> mpsc::Sender<Waiting> {
        let cluster = terms.cluster;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.as_ref()
            && open.cluster == cluster
            && !open.waiting.is_closed()
        {
            return open.waiting.clone();
        }
        let (waiting, arrivals) = mpsc::channel(MAX_UNDER_WAY);
        *open = Some(Open { cluster, waiting: waiting.clone() });
        tokio::spawn(Stream::new(arrivals).run(service.clone(), terms.clone()));
        waiting
    }
}

/// The task that serves a session.
#[derive(Debug)]
struct Stream {
    arrivals: mpsc::Receiver<Waiting>,
    /// None once this side has ended.
    out: Option<mpsc::Sender<SessionRequest>>,
    pending: HashMap<u64, oneshot::Sender<Result<Response, Status>>>,
    next_id: u64,
    /// What the node said last about itself and the leader.
    header: ResponseHeader,
}

/// The answers, once the node has accepted the stream. Operations need not wait for that.
enum Answers {
    Opening(BoxFuture<'static, Result<Streaming<SessionResponse>, Status>>),
    Open(Box<Streaming<SessionResponse>>),
}

impl Answers {
    async fn next(&mut self) -> Result<Option<SessionResponse>, Status> {
        if let Self::Opening(opening) = self {
            *self = Self::Open(Box::new(opening.await?));
        }
        match self {
            Self::Open(answers) => answers.message().await,
            Self::Opening(_) => Ok(None),
        }
    }
}

impl Stream {
    fn new(arrivals: mpsc::Receiver<Waiting>) -> Self {
        let header = ResponseHeader::default();
        Self { arrivals, out: None, pending: HashMap::new(), next_id: 0, header }
    }

    async fn run(mut self, mut service: KvClient<Channel>, terms: Terms) {
        let (out, outgoing) = mpsc::channel(WAITING_MESSAGES);
        self.out = Some(out);
        let mut request = Request::new(ReceiverStream::new(outgoing));
        introduce(request.metadata_mut(), &terms);
        let mut answers =
            Answers::Opening(Box::pin(async move { Ok(service.session(request).await?.into_inner()) }));
        let status = self.exchange(&mut answers).await;
        self.arrivals.close();
        for (_, done) in self.pending.drain() {
            drop(done.send(Err(status.clone())));
        }
    }

    /// Sends and receives until the stream ends; answers how it has ended for what is still
    /// pending.
    async fn exchange(&mut self, answers: &mut Answers) -> Status {
        let ended = || Status::unknown("the session was ended by the node");
        let mut arrived = Vec::new();
        while self.out.is_some() || !self.pending.is_empty() {
            if self.pending.len() >= MAX_UNDER_WAY || self.out.is_none() {
                self.pending.retain(|_, done| !done.is_closed());
            }
            let may_take = self.out.is_some() && self.pending.len() < MAX_UNDER_WAY;
            tokio::select! {
                answer = answers.next() => match answer {
                    Ok(Some(message)) => self.answered(message),
                    Ok(None) => return ended(),
                    Err(status) => return status,
                },
                // Operations that were given up are looked for.
                () = tokio::time::sleep(LOOK_AGAIN), if !may_take => {}
                taken = self.arrivals.recv_many(&mut arrived, MAX_UNDER_WAY), if may_take => {
                    if taken == 0 {
                        self.out = None;
                    } else if !self.send(std::mem::take(&mut arrived)).await {
                        return ended();
                    }
                }
            }
        }
        ended()
    }

    /// Sends what has arrived in as few messages as may be.
    async fn send(&mut self, arrived: Vec<Waiting>) -> bool {
        let (mut message, mut bytes) = (SessionRequest::default(), 0);
        for waiting in arrived {
            if waiting.done.is_closed() {
                continue;
            }
            let size = length(&waiting.asked);
            if bytes + size > MAX_MESSAGE_BYTES && bytes > 0 {
                if !self.emit(std::mem::take(&mut message)).await {
                    return false;
                }
                bytes = 0;
            }
            bytes += size;
            message.operations.push(self.number(waiting));
        }
        message.operations.is_empty() || self.emit(message).await
    }

    fn number(&mut self, Waiting { asked, terms, done }: Waiting) -> Operation {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, done);
        let (timeout_ms, trace) = (millis(terms.time_left), terms.trace.bytes());
        Operation { id, timeout_ms, trace, request: Some(asked) }
    }

    async fn emit(&mut self, message: SessionRequest) -> bool {
        match &self.out {
            Some(out) => out.send(message).await.is_ok(),
            None => false,
        }
    }

    fn answered(&mut self, message: SessionResponse) {
        if let Some(header) = message.header {
            self.header = header;
        }
        for OperationResponse { id, response } in message.responses {
            if let Some(done) = self.pending.remove(&id) {
                drop(done.send(self.outcome(response)));
            }
        }
        if message.going_away {
            self.out = None;
            self.arrivals.close();
            // They are sent over another session.
            while self.arrivals.try_recv().is_ok() {}
        }
    }

    fn outcome(&self, response: Option<Response>) -> Result<Response, Status> {
        let mut response = response.ok_or_else(|| Status::unknown("the node answered nothing"))?;
        let header = match &mut response {
            Response::Put(answer) => &mut answer.header,
            Response::Get(answer) => &mut answer.header,
            Response::Delete(answer) => &mut answer.header,
            Response::Scan(answer) => &mut answer.header,
            Response::Failure(failure) => return Err(self.status(failure)),
        };
        let (node_id, revision) = header.as_ref().map_or((0, 0), |own| (own.node_id, own.revision));
        *header = Some(ResponseHeader { node_id, revision, ..self.header.clone() });
        Ok(response)
    }

    /// The status that a call of its own would have failed with.
    fn status(&self, failure: &OperationFailure) -> Status {
        let OperationFailure { code, message, not_applied, node_fault } = failure;
        let code = i32::try_from(*code).map_or(Code::Unknown, Code::from_i32);
        let mut status = Status::new(code, message);
        let mut say = |name, text: &str| {
            if let Ok(value) = text.parse()
                && !text.is_empty()
            {
                status.metadata_mut().insert(name, value);
            }
        };
        say(names::CLUSTER_ID, &self.header.cluster_id);
        say(names::LEADER_ADDR, &self.header.leader_addr);
        say(names::NODE_FAULT, node_fault);
        say(names::NOT_APPLIED, if *not_applied { "1" } else { "" });
        status
    }
}

fn length(asked: &Asked) -> usize {
    match asked {
        Asked::Put(put) => put.key.len() + put.value.len(),
        Asked::Get(get) => get.key.len(),
        Asked::Delete(delete) => delete.key.len(),
        Asked::Scan(scan) => scan.prefix.len(),
        Asked::CancelScan(_) => 0,
    }
}

/// At least 1: 0 would mean the node's default.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}
