//! Many requests over one stream, for an application with a gRPC service of its own.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::handle::{Node, answer_of, encoded, response_of};
use crate::api::{Answered, Call, DEFAULT_DEADLINE, Done, Pipeline, Task, Work, serve};
use crate::application::{Application, RequestId};
use crate::connections::Origin;
use crate::metrics::Op;

/// The answers to a stream of requests, as tonic sends them.
pub type AnswerStream<T> = ReceiverStream<Result<T, Status>>;

/// What an application's protocol says about a stream of requests: how they are read from messages,
/// and how answers are put into them. [`Node::exchange`] does the rest.
pub trait Exchange<A: Application>: Send + 'static {
    /// What clients send: some requests.
    type Message: Send + 'static;
    /// What they are sent: some answers.
    type Answer: Send + 'static;
    /// What a request is known by, from its beginning to its answer.
    type Token: Send + 'static;

    /// Begins what a message asks for, in this order.
    fn begin(&mut self, message: Self::Message, requests: &mut Requests<'_, A, Self::Token>);
    /// Puts what has ended into messages, each of at most [`MAX_MESSAGE_BYTES`](crate::MAX_MESSAGE_BYTES).
    fn answers(&mut self, ended: Vec<Ended<A, Self::Token>>) -> Vec<Self::Answer>;
    /// Tells the client to end its side: this node stops. What is sent until then is answered.
    fn going_away(&mut self) -> Self::Answer;
}

/// The requests of one message, begun together once they have all been named.
pub struct Requests<'a, A: Application, T> {
    node: &'a Node<A>,
    pipeline: &'a mut Pipeline<T>,
    named: Vec<Work<T>>,
}

/// A request has ended.
pub struct Ended<A: Application, T> {
    /// What it was begun with.
    pub token: T,
    /// What was answered.
    pub outcome: Result<Outcome<A>, Status>,
}

/// What a request of a stream was answered.
pub enum Outcome<A: Application> {
    /// The command was applied.
    Written(Answered<A::Response>),
    /// The query was answered.
    Read(Answered<A::Answer>),
}

impl<A: Application, T: Send + 'static> Requests<'_, A, T> {
    /// Has a command applied, by whichever node leads.
    pub fn write(&mut self, token: T, op: Op, call: Call, id: Option<RequestId>, command: &A::Command) {
        match encoded::<A>(id, command) {
            Ok(command) => self.named.push(Work { token, op, call, task: Task::Write(command) }),
            Err(status) => self.refuse(token, op, &call, status),
        }
    }

    /// Answers a query with everything in it that was acknowledged before.
    pub fn read(&mut self, token: T, op: Op, call: Call, query: A::Query) {
        match self.node.question(query) {
            Ok(question) => self.named.push(Work { token, op, call, task: Task::Read(Arc::new(question)) }),
            Err(status) => self.refuse(token, op, &call, status),
        }
    }

    /// Answers a query from what this node has applied, however old that is.
    pub fn read_stale(&mut self, token: T, op: Op, call: Call, query: A::Query) {
        match self.node.question(query) {
            Ok(question) => {
                self.named.push(Work { token, op, call, task: Task::ReadStale(Arc::new(question)) })
            }
            Err(status) => self.refuse(token, op, &call, status),
        }
    }

    /// Answers a request without beginning it.
    pub fn refuse(&mut self, token: T, op: Op, call: &Call, status: Status) {
        self.pipeline.refuse(token, op, call, status);
    }
}

/// The typed side of an exchange.
struct Typed<A: Application, E> {
    node: Node<A>,
    exchange: E,
}

impl<A: Application, E: Exchange<A>> crate::api::Exchange for Typed<A, E> {
    type Message = E::Message;
    type Answer = E::Answer;
    type Token = E::Token;

    fn begin(&mut self, message: E::Message, pipeline: &mut Pipeline<E::Token>) {
        let mut requests = Requests { node: &self.node, pipeline, named: Vec::new() };
        self.exchange.begin(message, &mut requests);
        let named = requests.named;
        pipeline.begin(named);
    }

    fn answers(&mut self, ended: Vec<crate::api::Ended<E::Token>>) -> Vec<E::Answer> {
        let typed = ended.into_iter().map(|(token, done)| {
            let outcome = done.and_then(|done| match done {
                Done::Written(answered) => response_of::<A>(answered).map(Outcome::Written),
                Done::Read(Answered { value, node }) => {
                    Ok(Outcome::Read(Answered { value: answer_of::<A>(value)?, node }))
                }
            });
            Ended { token, outcome }
        });
        self.exchange.answers(typed.collect())
    }

    fn going_away(&mut self) -> E::Answer {
        self.exchange.going_away()
    }
}

impl<A: Application> Node<A> {
    /// Serves a stream of requests: at most 1024 are under way at a time, each has its own deadline
    /// and outcome, and they are answered in any order. `exchange` may keep the sender, to answer
    /// what takes many messages; the stream is open until it is dropped.
    ///
    /// # Errors
    /// The stream is not for this node, or this node cannot serve. No request was begun.
    pub fn exchange<E: Exchange<A>>(
        &self,
        request: Request<Streaming<E::Message>>,
        exchange: impl FnOnce(mpsc::Sender<Result<E::Answer, Status>>) -> E,
    ) -> Result<Response<AnswerStream<E::Answer>>, Status> {
        let api = self.api()?;
        api.check_stream(&Call::of(request.metadata(), DEFAULT_DEADLINE))?;
        let connection = request.extensions().get::<Origin>().map(|origin| origin.requests.clone());
        let typed = |answers| Typed { node: self.clone(), exchange: exchange(answers) };
        Ok(serve(api, connection, request.into_inner(), typed))
    }
}
