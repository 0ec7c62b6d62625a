//! Backups: the parts of a file, as a node sends them.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::attempt::{Answer, Header};
use super::call::{Effect, Target};
use super::connections::Link;
use super::kv::MAX_MESSAGE_BYTES;
use super::terms::untimed;
use super::wire::node::backups_client::BackupsClient;
use super::wire::node::{SaveRequest, SaveResponse};
use super::{Cause, Client, ClientError};

/// A backup that a node is sending.
#[derive(Debug)]
pub struct Backup {
    opened: Opened,
    timeout: Duration,
    expected_bytes: u64,
    sent_bytes: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Opened {
    first: Option<SaveResponse>,
    rest: Streaming<SaveResponse>,
}

impl Client {
    /// Begins a backup of the whole state, from the first node that answers, with everything in it
    /// that was acknowledged before. The client's timeout holds for the first part, retries
    /// included, and then for each further part, so that a backup may take as long as it needs.
    ///
    /// # Errors
    /// [`ClientError`], never [`ClientError::OutcomeUnknown`].
    pub async fn save_backup(&self) -> Result<Backup, ClientError> {
        let plan = self.plan("backup save", Effect::None, Target::AnyNode);
        let opened = self.call(plan, |link, terms| open(link, untimed(SaveRequest {}, terms))).await?;
        let expected_bytes = opened.first.as_ref().map_or(0, |first| first.expected_bytes);
        Ok(Backup { opened, timeout: self.timeout(), expected_bytes, sent_bytes: 0, bytes: 0 })
    }
}

async fn open(link: Link, request: Request<SaveRequest>) -> Result<Opened, Status> {
    let mut rest = service(link.channel).save(request).await?.into_inner();
    Ok(Opened { first: rest.message().await?, rest })
}

fn service(channel: Channel) -> BackupsClient<Channel> {
    BackupsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

impl Backup {
    /// About how many bytes of state it will have. They come compressed.
    #[must_use]
    pub fn expected_bytes(&self) -> u64 {
        self.expected_bytes
    }

    /// How many bytes of state are in the parts so far.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// The next part of the file; none at the end. A node that fails may end the stream early:
    /// whether what came is a whole backup is to be seen in it.
    ///
    /// # Errors
    /// [`ClientError::BackupInterrupted`].
    pub async fn next_part(&mut self) -> Result<Option<Bytes>, ClientError> {
        let response = match self.opened.first.take() {
            Some(first) => Some(first),
            None => self.receive().await?,
        };
        if let Some(response) = &response {
            self.bytes += response.part.len() as u64;
            self.sent_bytes = response.sent_bytes;
        }
        Ok(response.map(|response| response.part))
    }

    async fn receive(&mut self) -> Result<Option<SaveResponse>, ClientError> {
        let cause = match timeout(self.timeout, self.opened.rest.message()).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(status)) => Cause::Status(Box::new(status)),
            Err(_elapsed) => Cause::NoAnswer,
        };
        Err(ClientError::BackupInterrupted { bytes: self.bytes, cause })
    }
}

impl Answer for Opened {
    fn header(&self) -> Option<Header<'_>> {
        self.first.as_ref()?.header.as_ref().map(Header::from)
    }
}
