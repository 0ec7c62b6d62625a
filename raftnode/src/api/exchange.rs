//! A stream of requests and the stream of their answers: what is the same whatever they speak.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::pipeline::{Ended, Pipeline};
use super::server::Api;
use crate::connections::{LongLived, Requests};

/// Messages of answers that wait for their client to read them.
const WAITING_MESSAGES: usize = 8;
/// A message of answers is complete with so many bytes; a single answer may have more.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// How long a node that stops goes on reading from a client that does not end its side.
const GOING_AWAY_GRACE: Duration = Duration::from_secs(1);

/// Where answers go.
pub(crate) type Answers<M> = mpsc::Sender<Result<M, Status>>;

/// How requests are read from messages, and answers put into them.
pub(crate) trait Exchange: Send + 'static {
    type Message: Send + 'static;
    type Answer: Send + 'static;
    type Token: Send + 'static;

    /// Begins what a message asks for.
    fn begin(&mut self, message: Self::Message, pipeline: &mut Pipeline<Self::Token>);
    /// What has ended, in as many messages as it takes.
    fn answers(&mut self, ended: Vec<Ended<Self::Token>>) -> Vec<Self::Answer>;
    /// Says that this node stops.
    fn going_away(&mut self) -> Self::Answer;
}

/// Serves a stream on a task of its own, which ends with it.
pub(crate) fn serve<E: Exchange>(
    api: &Arc<Api>,
    connection: Option<Requests>,
    messages: Streaming<E::Message>,
    exchange: impl FnOnce(Answers<E::Answer>) -> E,
) -> Response<ReceiverStream<Result<E::Answer, Status>>> {
    let (answers, outgoing) = mpsc::channel(WAITING_MESSAGES);
    let pipeline = Pipeline::new(Arc::clone(api), connection);
    let exchange = exchange(answers.clone());
    let served = Served { api: Arc::clone(api), exchange, pipeline, messages, answers };
    tokio::spawn(served.run());
    let mut response = Response::new(ReceiverStream::new(outgoing));
    response.extensions_mut().insert(LongLived);
    response
}

/// Divides answers, whose sizes `bytes` tells, among messages of at most a megabyte; an answer that
/// is larger has one to itself.
pub fn in_messages<T>(
    answers: impl IntoIterator<Item = T>,
    bytes: impl Fn(&T) -> usize,
) -> impl Iterator<Item = Vec<T>> {
    let mut answers = answers.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut message = vec![answers.next()?];
        let mut size = bytes(message.first()?);
        while let Some(next) = answers.next_if(|next| size + bytes(next) <= MAX_MESSAGE_BYTES) {
            size += bytes(&next);
            message.push(next);
        }
        Some(message)
    })
}

struct Served<E: Exchange> {
    api: Arc<Api>,
    exchange: E,
    pipeline: Pipeline<E::Token>,
    messages: Streaming<E::Message>,
    answers: Answers<E::Answer>,
}

/// The client is gone, and its requests with it.
struct Gone;

impl<E: Exchange> Served<E> {
    async fn run(mut self) {
        // A client that has gone away wants no answer, and the pipeline counts its requests.
        drop(self.exchange().await);
    }

    async fn exchange(&mut self) -> Result<(), Gone> {
        let api = Arc::clone(&self.api);
        let mut stopping = std::pin::pin!(api.local().stopping());
        let (mut reads, mut goes) = (true, false);
        while reads || !self.pipeline.is_empty() {
            let may_read = reads && self.pipeline.has_room();
            tokio::select! {
                ended = self.pipeline.next(), if !self.pipeline.is_empty() => self.answer(ended).await?,
                message = self.messages.message(), if may_read => match message {
                    Ok(Some(message)) => self.exchange.begin(message, &mut self.pipeline),
                    Ok(None) => reads = false,
                    Err(status) => return self.end(status).await,
                },
                () = &mut stopping, if !goes => {
                    goes = true;
                    let going = self.exchange.going_away();
                    self.send(going).await?;
                }
                () = tokio::time::sleep(GOING_AWAY_GRACE), if goes && reads && self.pipeline.is_empty() => {
                    reads = false;
                }
                () = self.answers.closed() => return Err(Gone),
            }
        }
        Ok(())
    }

    /// What the client sent cannot be read, or the client is gone: then this does not arrive.
    async fn end(&mut self, status: Status) -> Result<(), Gone> {
        self.answers.send(Err(status)).await.map_err(|_| Gone)
    }

    async fn answer(&mut self, ended: Vec<Ended<E::Token>>) -> Result<(), Gone> {
        for answer in self.exchange.answers(ended) {
            self.send(answer).await?;
        }
        Ok(())
    }

    async fn send(&mut self, answer: E::Answer) -> Result<(), Gone> {
        self.answers.send(Ok(answer)).await.map_err(|_| Gone)
    }
}
