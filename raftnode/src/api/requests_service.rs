//! `node.v1.Requests`: what other nodes pass on to this one because it leads.

use std::sync::Arc;

use proto::node::v1 as pb;
use proto::node::v1::requests_server::Requests;
use storage_leveldb::StorageError;
use tonic::{Request, Response, Status};

use super::call::{Call, DEFAULT_DEADLINE};
use super::requests::{Found, MAX_ANSWER_BYTES, MAX_COMMAND_BYTES, Question};
use super::server::Api;
use crate::application::{Ask, Command, Host, RequestId};
use crate::metrics::Op;

pub(super) struct RequestsService(pub(super) Arc<Api>);

#[tonic::async_trait]
impl Requests for RequestsService {
    async fn write(&self, request: Request<pb::WriteRequest>) -> Result<Response<pb::WriteResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            let request_id = request.request_id.map(RequestId::try_from).transpose()?;
            check_length("command", request.command.len(), MAX_COMMAND_BYTES)?;
            let command = Command { request_id, since: request.since, bytes: request.command };
            let response = self.0.write(&call, command).await?;
            let outcome = Some(pb::write_response::Outcome::Response(response.value));
            Ok(pb::WriteResponse { outcome })
        };
        self.0.answer(Op::WRITE, &call, work).await
    }

    async fn read(&self, request: Request<pb::ReadRequest>) -> Result<Response<pb::ReadResponse>, Status> {
        let call = Call::of(request.metadata(), DEFAULT_DEADLINE);
        let request = request.into_inner();
        let work = async {
            let query = Encoded { host: Arc::clone(self.0.host()), query: request.query };
            let answer = match self.0.read(&call, &query).await?.value {
                Found::Here(found) => {
                    *found.downcast().map_err(|_| Status::internal("an answer of another type"))?
                }
                // Asked by a client, of a node that does not lead.
                Found::There(answer) => answer,
            };
            Ok(pb::ReadResponse { answer })
        };
        self.0.answer(Op::READ, &call, work).await
    }
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

/// The same for an answer to any node, the one that ran the query included.
pub(crate) fn check_answer_length(bytes: usize) -> Result<(), StorageError> {
    if bytes <= MAX_ANSWER_BYTES {
        return Ok(());
    }
    Err(StorageError::QueryFailed(format!(
        "the answer has {bytes} bytes encoded; at most {MAX_ANSWER_BYTES}"
    )))
}

pub(crate) fn check_length(what: &str, bytes: usize, most: usize) -> Result<(), Status> {
    if bytes <= most {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "the {what} has {bytes} bytes encoded; at most {most}; not applied"
    )))
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
