//! The key-value operations.

use bytes::Bytes;
use tonic::Status;
use tonic::transport::Channel;

use super::attempt::{Answer, Header};
use super::call::{Effect, Target};
use super::connections::Link;
use super::session::Turn;
use super::terms::Terms;
use super::wire::kv_client::KvClient;
use super::wire::operation::Request as Asked;
use super::wire::operation_response::Response;
use super::wire::{DeleteRequest, DeleteResponse, GetRequest, GetResponse, PutRequest, PutResponse};
use super::{Client, ClientError};

/// Longest key.
pub const MAX_KEY_BYTES: usize = 4096;
/// Longest value.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// Longest message accepted from a node.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// How fresh a read is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// Reflects every write acknowledged before the read began.
    #[default]
    Linearizable,
    /// Whatever the asked node has applied; may be old.
    Stale,
}

impl ReadMode {
    pub(super) fn is_stale(self) -> bool {
        self == Self::Stale
    }

    /// A stale read loads any node; the others are best asked where they are answered.
    pub(super) fn target(self) -> Target {
        match self {
            Self::Linearizable => Target::Leader,
            Self::Stale => Target::AnyNode,
        }
    }
}

impl Client {
    /// Stores `value` under `key`. Retried under one request id until it is answered or time is
    /// out.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] the value may have been stored, after
    /// any other it was not.
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<PutResponse, ClientError> {
        let (key, value) = (checked_key(key.into())?, checked_value(value.into())?);
        let plan = self.plan("put", Effect::Once, Target::Leader);
        let turn = self.turn("put", plan.deadline).await?;
        let request = PutRequest { key, value, request_id: turn.request_id(), return_previous: false };
        self.call(plan, |link, terms| ask(link, Asked::Put(request.clone()), terms)).await
    }

    /// Removes `key`; the answer says whether it was there.
    ///
    /// # Errors
    /// [`ClientError`]; after [`ClientError::OutcomeUnknown`] the key may have been removed, after
    /// any other it was not.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<DeleteResponse, ClientError> {
        let key = checked_key(key.into())?;
        let plan = self.plan("delete", Effect::Once, Target::Leader);
        let turn = self.turn("delete", plan.deadline).await?;
        let request = DeleteRequest { key, request_id: turn.request_id(), return_previous: false };
        self.call(plan, |link, terms| ask(link, Asked::Delete(request.clone()), terms)).await
    }

    /// The pair stored under `key`; an answer without one if there is none.
    ///
    /// # Errors
    /// [`ClientError`], never [`ClientError::OutcomeUnknown`].
    pub async fn get(&self, key: impl Into<Bytes>, mode: ReadMode) -> Result<GetResponse, ClientError> {
        let request = GetRequest { key: checked_key(key.into())?, stale: mode.is_stale() };
        let plan = self.plan("get", Effect::None, mode.target());
        self.call(plan, |link, terms| ask(link, Asked::Get(request.clone()), terms)).await
    }

    async fn turn(
        &self,
        operation: &'static str,
        deadline: tokio::time::Instant,
    ) -> Result<Turn<'_>, ClientError> {
        let unreachable = ClientError::Unreachable { operation, waited: self.timeout, last: None };
        self.shared.sessions.turn(deadline).await.ok_or(unreachable)
    }
}

pub(super) fn service(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// Sends an operation over the session of a link. Whatever kind of answer comes is the one that was
/// asked for, or else the node is wrong.
async fn ask<T: Answered>(link: Link, operation: Asked, terms: Terms) -> Result<T, Status> {
    let answer = link.session.send(&service(link.channel), operation, terms).await?;
    T::of(answer).ok_or_else(|| Status::internal("the answer is to another operation"))
}

/// An answer as a session carries it.
trait Answered: Sized {
    /// None: it is of another kind.
    fn of(response: Response) -> Option<Self>;
}

fn checked_key(key: Bytes) -> Result<Bytes, ClientError> {
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(key),
        bytes => Err(ClientError::KeyLength { bytes }),
    }
}

fn checked_value(value: Bytes) -> Result<Bytes, ClientError> {
    match value.len() {
        ..=MAX_VALUE_BYTES => Ok(value),
        bytes => Err(ClientError::ValueLength { bytes, at_least: false }),
    }
}

impl Answered for PutResponse {
    fn of(response: Response) -> Option<Self> {
        if let Response::Put(answer) = response { Some(answer) } else { None }
    }
}

impl Answer for PutResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answered for DeleteResponse {
    fn of(response: Response) -> Option<Self> {
        if let Response::Delete(answer) = response { Some(answer) } else { None }
    }
}

impl Answer for DeleteResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}

impl Answered for GetResponse {
    fn of(response: Response) -> Option<Self> {
        if let Response::Get(answer) = response { Some(answer) } else { None }
    }
}

impl Answer for GetResponse {
    fn header(&self) -> Option<Header<'_>> {
        self.header.as_ref().map(Header::from)
    }
}
