//! `Kv.Session` as a client in any language has it, and its operations.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::kv::v1::kv_client::KvClient;
use proto::kv::v1::operation::Request as Asked;
use proto::kv::v1::operation_response::Response as Answer;
use proto::kv::v1::{
    GetRequest, Operation, OperationFailure, OperationResponse, PutRequest, SessionRequest, SessionResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::{Node, kv_over};

/// A message is waited for no longer than this.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// A session as a client in any language has it.
pub struct Session {
    /// Its connection.
    _kv: KvClient<Channel>,
    pub operations: mpsc::Sender<SessionRequest>,
    pub answers: Streaming<SessionResponse>,
}

impl Session {
    pub async fn open(node: &Node) -> Self {
        Self::with(node.kv()).await
    }

    /// Over a channel, whose certificate says whose it is.
    pub async fn over(channel: Channel) -> Self {
        Self::with(kv_over(channel)).await
    }

    async fn with(mut kv: KvClient<Channel>) -> Self {
        let (operations, outgoing) = mpsc::channel(1);
        let answers = kv.session(Request::new(ReceiverStream::new(outgoing))).await.unwrap();
        Self { _kv: kv, operations, answers: answers.into_inner() }
    }

    pub async fn send(&self, operations: impl IntoIterator<Item = Operation>) {
        let operations = operations.into_iter().collect();
        self.operations.send(SessionRequest { operations }).await.expect("the node reads");
    }

    pub async fn message(&mut self) -> Result<Option<SessionResponse>, Status> {
        let message = tokio::time::timeout(MESSAGE_TIMEOUT, self.answers.message());
        message.await.expect("a message in time")
    }

    /// The answers to so many operations, by their ids; each may come once.
    pub async fn answers(&mut self, count: usize) -> BTreeMap<u64, Answer> {
        let mut found = BTreeMap::new();
        while found.len() < count {
            let message = self.message().await.unwrap().expect("the session goes on");
            for OperationResponse { id, response } in message.responses {
                assert!(found.insert(id, response.unwrap()).is_none(), "operation {id} has two answers");
            }
        }
        found
    }

    pub async fn ask(&mut self, asked: Asked) -> Answer {
        self.send([operation(7, asked)]).await;
        self.answers(1).await.remove(&7).expect("the answer is to this operation")
    }

    pub async fn ask_nothing(&mut self) -> Answer {
        self.send([Operation { id: 7, ..Operation::default() }]).await;
        self.answers(1).await.remove(&7).unwrap()
    }
}

pub fn operation(id: u64, asked: Asked) -> Operation {
    Operation { id, request: Some(asked), ..Operation::default() }
}

pub fn put(key: &str, value: impl Into<bytes::Bytes>) -> Asked {
    let (key, value) = (key.to_owned().into(), value.into());
    Asked::Put(PutRequest { key, value, ..PutRequest::default() })
}

pub fn get(key: &str) -> Asked {
    Asked::Get(GetRequest { key: key.to_owned().into(), stale: false })
}

pub fn value_of(answer: &Answer) -> Option<&[u8]> {
    match answer {
        Answer::Get(answer) => answer.pair.as_ref().map(|pair| &*pair.value),
        other => panic!("not the answer to a get: {other:?}"),
    }
}

pub fn failure(answer: &Answer) -> &OperationFailure {
    match answer {
        Answer::Failure(failure) => failure,
        other => panic!("no failure: {other:?}"),
    }
}
