//! `node.v1.Requests`: what other nodes pass on to this one because it leads.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use proto::node::v1 as pb;
use proto::node::v1::forwarded_request::Request as Asked;
use proto::node::v1::forwarded_response::Response as Answer;
use proto::node::v1::requests_server::Requests;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::call::{Call, DEFAULT_DEADLINE};
use super::exchange::{self, Exchange};
use super::header::NODE_FAULT_METADATA;
use super::limits::{MAX_COMMAND_BYTES, check_answer_length, check_length};
use super::pipeline::{Done, Ended, Pipeline, Task, Work};
use super::requests::{Answered, Found, Question};
use super::server::Api;
use crate::application::{Ask, Command, Host, RequestId};
use crate::connections::Origin;
use crate::metrics::Op;

pub(super) struct RequestsService(pub(super) Arc<Api>);

#[tonic::async_trait]
impl Requests for RequestsService {
    type ForwardStream = ReceiverStream<Result<pb::ForwardResponse, Status>>;

    async fn forward(
        &self,
        request: Request<Streaming<pb::ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        let call = Call::of_node(request.metadata(), DEFAULT_DEADLINE);
        self.0.check_stream(&call)?;
        let connection = request.extensions().get::<Origin>().map(|origin| origin.requests.clone());
        let forwarded = Forwarded { host: Arc::clone(self.0.host()), forwarded: call.forwarded };
        Ok(exchange::serve(&self.0, connection, request.into_inner(), |_| forwarded))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexResponse>, Status> {
        let call = Call::of_node(request.metadata(), DEFAULT_DEADLINE);
        let index = async { Ok(pb::ReadIndexResponse { index: self.0.covering_index(&call).await? }) };
        self.0.answer(Op::READ_INDEX, &call, index).await
    }
}

/// Requests that another node passes on.
struct Forwarded {
    host: Arc<dyn Host>,
    /// They may not be passed on again.
    forwarded: bool,
}

impl Exchange for Forwarded {
    type Message = pb::ForwardRequest;
    type Answer = pb::ForwardResponse;
    type Token = u64;

    fn begin(&mut self, message: pb::ForwardRequest, pipeline: &mut Pipeline<u64>) {
        let mut begun = Vec::with_capacity(message.requests.len());
        for pb::ForwardedRequest { id, timeout_ms, trace, request } in message.requests {
            let call = Call { forwarded: self.forwarded, ..Call::of_request(timeout_ms, &trace) };
            let (op, task) = match request {
                Some(Asked::Write(write)) => (Op::WRITE, self.command(write).map(Task::Write)),
                Some(Asked::Read(read)) => (Op::READ, Ok(Task::Read(self.question(read.query)))),
                None => (Op::READ, Err(Status::invalid_argument("a request asks for nothing"))),
            };
            match task {
                Ok(task) => begun.push(Work { token: id, op, call, task }),
                Err(status) => pipeline.refuse(id, op, &call, status),
            }
        }
        pipeline.begin(begun);
    }

    fn answers(&mut self, ended: Vec<Ended<u64>>) -> Vec<pb::ForwardResponse> {
        let responses = ended.into_iter().map(|(id, done)| {
            let response = Some(response(done));
            pb::ForwardedResponse { id, response }
        });
        let message = |responses| pb::ForwardResponse { responses, going_away: false };
        exchange::in_messages(responses, pb::ForwardedResponse::encoded_len).map(message).collect()
    }

    fn going_away(&mut self) -> pb::ForwardResponse {
        pb::ForwardResponse { responses: Vec::new(), going_away: true }
    }
}

impl Forwarded {
    /// A command that every node can apply. The node that passes it on has looked, but may run
    /// another program, and without TLS what reaches this port need not be a node.
    fn command(&self, write: pb::WriteRequest) -> Result<Command, Status> {
        let pb::WriteRequest { since, command, request_id } = write;
        let request_id = request_id.map(RequestId::try_from).transpose()?;
        check_length("command", command.len(), MAX_COMMAND_BYTES)?;
        if since > self.host.schema() {
            // Of a later program: refused by its schema, which is not in force.
            return Ok(Command { request_id, since, bytes: command });
        }
        let since = self.host.check_command(&command).map_err(|reason| {
            Status::invalid_argument(format!(
                "the command cannot be read: {reason}; was its type changed without another SCHEMA? Not applied"
            ))
        })?;
        Ok(Command { request_id, since, bytes: command })
    }

    fn question(&self, query: Bytes) -> Arc<dyn Question> {
        Arc::new(Encoded { host: Arc::clone(&self.host), query })
    }
}

fn response(done: Result<Done, Status>) -> Answer {
    let done = done.and_then(|done| match done {
        Done::Written(Answered { value, .. }) => Ok(Answer::Written(value)),
        // Asked by a client, of a node that does not lead.
        Done::Read(Answered { value: Found::There(answer), .. }) => Ok(Answer::Answer(answer)),
        Done::Read(Answered { value: Found::Here(found), .. }) => {
            let answer = found.downcast().map_err(|_| Status::internal("an answer of another type"))?;
            Ok(Answer::Answer(*answer))
        }
    });
    done.unwrap_or_else(|status| {
        let fault = status.metadata().get(NODE_FAULT_METADATA).and_then(|fault| fault.to_str().ok());
        Answer::Failure(pb::ForwardFailure {
            code: status.code() as u32,
            node_fault: fault.unwrap_or_default().to_owned(),
            message: status.message().to_owned(),
        })
    })
}

/// A query that another node has encoded. What it finds is encoded, too.
struct Encoded {
    host: Arc<dyn Host>,
    query: bytes::Bytes,
}

impl Question for Encoded {
    fn ask(&self) -> Option<Ask> {
        let (host, query) = (Arc::clone(&self.host), self.query.clone());
        Some(Box::new(move |view| {
            let answer = host.query(view, &query)?;
            check_answer_length(answer.len())?;
            Ok(Box::new(answer))
        }))
    }

    fn encoded(&self) -> Result<bytes::Bytes, Status> {
        Ok(self.query.clone())
    }

    fn is_long(&self) -> bool {
        self.host.is_long(&self.query)
    }
}

impl TryFrom<pb::RequestId> for RequestId {
    type Error = Status;

    fn try_from(id: pb::RequestId) -> Result<Self, Status> {
        Self::from_wire(&id.client_id, id.sequence)
    }
}

impl RequestId {
    /// As a client sends it.
    ///
    /// # Errors
    /// INVALID_ARGUMENT: the id has not 16 bytes, or the sequence is 0.
    pub fn from_wire(client_id: &[u8], sequence: u64) -> Result<Self, Status> {
        let len = client_id.len();
        let client_id = client_id.try_into().map_err(|_| {
            Status::invalid_argument(format!("the client_id has {len} bytes; it must have 16"))
        })?;
        if sequence == 0 {
            return Err(Status::invalid_argument("the sequence is 0; it must be 1 or more"));
        }
        Ok(Self { client_id, sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_sixteen_bytes_and_a_positive_number() {
        let id = |len: usize, sequence| RequestId::from_wire(&vec![7; len], sequence);
        assert_eq!(id(16, 1).unwrap().sequence, 1);
        for (len, sequence) in [(0, 1), (15, 1), (17, 1), (16, 0)] {
            assert_eq!(id(len, sequence).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }
}
