//! A session: operations of all kinds over one stream.
//!
//! Puts, deletes and gets are begun together as they come, and answered as they end. A scan takes
//! many messages: a task of its own sends them, one after the other as the client reads.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use proto::kv::v1 as kv;
use proto::kv::v1::operation::Request as Asked;
use proto::kv::v1::operation_response::Response as Answer;
use raftnode::{Call, Ended, Exchange, Outcome, Requests, in_messages};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tonic::Status;

use super::access::{Access, Store, Write};
use super::scan::{ScanStream, scan};
use super::shapes::{DELETE, GET, PUT, SCAN, delete_response, get_response, header, put_response};
use crate::app::KvApplication;

/// Scans under way in one session.
const MAX_SCANS: usize = 16;

type Answers = mpsc::Sender<Result<kv::SessionResponse, Status>>;

/// One client's stream.
pub(super) struct Session {
    store: Store,
    access: Access,
    answers: Answers,
    scans: HashMap<u64, AbortHandle>,
    /// The header that the client was sent last.
    told: Option<kv::ResponseHeader>,
}

/// What an answer needs of its operation.
pub(super) struct Token {
    id: u64,
    kind: Kind,
}

enum Kind {
    Put(Bytes),
    Get,
    Delete(Bytes),
    Scan,
}

impl Session {
    pub(super) fn new(store: Store, access: Access, answers: Answers) -> Self {
        Self { store, access, answers, scans: HashMap::new(), told: None }
    }

    fn begin_one(&mut self, operation: kv::Operation, requests: &mut Requests<'_, KvApplication, Token>) {
        let kv::Operation { id, timeout_ms, trace, request } = operation;
        let call = Call::of_request(timeout_ms, &trace);
        let token = |kind| Token { id, kind };
        match request {
            Some(Asked::Put(put)) => match self.access.put(put) {
                Ok(Write { key, id, command }) => {
                    requests.write(token(Kind::Put(key)), PUT, call, id, &command);
                }
                Err(status) => requests.refuse(token(Kind::Put(Bytes::new())), PUT, &call, status),
            },
            Some(Asked::Delete(delete)) => match self.access.delete(delete) {
                Ok(Write { key, id, command }) => {
                    requests.write(token(Kind::Delete(key)), DELETE, call, id, &command);
                }
                Err(status) => requests.refuse(token(Kind::Delete(Bytes::new())), DELETE, &call, status),
            },
            Some(Asked::Get(get)) => match self.access.get(get.key) {
                Ok(query) if get.stale => {
                    requests.read_stale(token(Kind::Get), GET, call, query.into_inner());
                }
                Ok(query) => requests.read(token(Kind::Get), GET, call, query.into_inner()),
                Err(status) => requests.refuse(token(Kind::Get), GET, &call, status),
            },
            Some(Asked::Scan(request)) => match self.begin_scan(id, call, request) {
                Ok(()) => {}
                Err(status) => requests.refuse(token(Kind::Scan), SCAN, &call, status),
            },
            Some(Asked::CancelScan(id)) => {
                if let Some(scan) = self.scans.remove(&id) {
                    scan.abort();
                }
            }
            None => {
                let status = Status::invalid_argument("an operation asks for nothing that this node knows");
                requests.refuse(token(Kind::Get), GET, &call, status);
            }
        }
    }

    fn begin_scan(&mut self, id: u64, call: Call, request: kv::ScanRequest) -> Result<(), Status> {
        // Refused here rather than by its task.
        self.access.ranges(&request.prefix)?;
        self.scans.retain(|_, scan| !scan.is_finished());
        if self.scans.len() >= MAX_SCANS {
            return Err(Status::resource_exhausted(format!(
                "{MAX_SCANS} scans are under way in this session; not applied, try again later"
            )));
        }
        let reader = (self.store.clone(), self.access.clone());
        let scan = run_scan(reader, self.answers.clone(), id, call, request);
        self.scans.insert(id, tokio::spawn(scan).abort_handle());
        Ok(())
    }

    /// The header that says what the client does not know yet.
    fn news(&mut self) -> Option<kv::ResponseHeader> {
        let now = header(self.store.node(), 0, 0);
        let now = now.map(|now| kv::ResponseHeader { node_id: self.store.node().id(), ..now });
        if now == self.told {
            return None;
        }
        self.told.clone_from(&now);
        now
    }
}

impl Exchange<KvApplication> for Session {
    type Message = kv::SessionRequest;
    type Answer = kv::SessionResponse;
    type Token = Token;

    fn begin(&mut self, message: kv::SessionRequest, requests: &mut Requests<'_, KvApplication, Token>) {
        for operation in message.operations {
            self.begin_one(operation, requests);
        }
    }

    fn answers(&mut self, ended: Vec<Ended<KvApplication, Token>>) -> Vec<kv::SessionResponse> {
        let mut news = self.news();
        let responses = ended.into_iter().map(|Ended { token, outcome }| {
            let response = response(token.kind, outcome).unwrap_or_else(|status| failure(&status));
            kv::OperationResponse { id: token.id, response: Some(response) }
        });
        let message = |responses| kv::SessionResponse { header: news.take(), responses, going_away: false };
        in_messages(responses, kv::OperationResponse::encoded_len).map(message).collect()
    }

    fn going_away(&mut self) -> kv::SessionResponse {
        kv::SessionResponse { header: self.news(), responses: Vec::new(), going_away: true }
    }
}

fn response(kind: Kind, outcome: Result<Outcome<KvApplication>, Status>) -> Result<Answer, Status> {
    match (kind, outcome?) {
        (Kind::Put(key), Outcome::Written(answered)) => put_response(key, answered, short).map(Answer::Put),
        (Kind::Delete(key), Outcome::Written(answered)) => {
            delete_response(key, answered, short).map(Answer::Delete)
        }
        (Kind::Get, Outcome::Read(answered)) => Ok(Answer::Get(get_response(answered, short))),
        (Kind::Put(_) | Kind::Delete(_) | Kind::Get | Kind::Scan, _) => {
            Err(Status::internal("an answer of another kind than its operation"))
        }
    }
}

/// What a header says besides the session's own.
fn short(node_id: u64, revision: u64) -> Option<kv::ResponseHeader> {
    Some(kv::ResponseHeader { node_id, revision, ..kv::ResponseHeader::default() })
}

fn failure(status: &Status) -> Answer {
    let said = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
    Answer::Failure(kv::OperationFailure {
        code: status.code() as u32,
        message: status.message().to_owned(),
        not_applied: said("node-not-applied") == Some("1"),
        node_fault: said("node-fault").unwrap_or_default().to_owned(),
    })
}

/// Sends the parts of a scan, and ends.
async fn run_scan(
    (store, access): (Store, Access),
    answers: Answers,
    id: u64,
    call: Call,
    request: kv::ScanRequest,
) {
    let started = store.node().answer(SCAN, &call, scan(&store, access, call, request)).await;
    let ended = match started {
        Ok(parts) => send_parts(&answers, id, parts.into_inner()).await,
        Err(status) => Err(status),
    };
    let last = ended.map_or_else(|status| failure(&status), |()| Answer::Scan(kv::ScanResponse::default()));
    send(&answers, id, last).await;
}

async fn send_parts(answers: &Answers, id: u64, mut parts: ScanStream) -> Result<(), Status> {
    while let Some(part) = parts.next().await {
        let kv::ScanResponse { header, pairs } = part?;
        let header = header.and_then(|header| short(header.node_id, header.revision));
        if pairs.is_empty() || !send(answers, id, Answer::Scan(kv::ScanResponse { header, pairs })).await {
            break;
        }
    }
    Ok(())
}

/// Answers whether the client is still there.
async fn send(answers: &Answers, id: u64, response: Answer) -> bool {
    let responses = vec![kv::OperationResponse { id, response: Some(response) }];
    let message = kv::SessionResponse { header: None, responses, going_away: false };
    answers.send(Ok(message)).await.is_ok()
}
