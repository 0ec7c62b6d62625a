//! Scans: pairs in key order, a page at a time.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tonic::{Request, Status, Streaming};

use super::attempt::{Answer, Header};
use super::call::Effect;
use super::connections::Link;
use super::kv::service;
use super::terms::untimed;
use super::wire::{Pair, ScanRequest, ScanResponse};
use super::{Cause, Client, ClientError, MAX_KEY_BYTES, ReadMode};

/// What to scan.
#[derive(Debug, Clone, Default)]
pub struct ScanOptions {
    /// Only keys that start with this; empty: every key.
    pub prefix: Bytes,
    /// At most this many pairs; none: all.
    pub limit: Option<u64>,
    /// Leave the values out.
    pub keys_only: bool,
    /// How fresh the answer is.
    pub mode: ReadMode,
}

/// A scan under way: holds one page at a time, however many pairs there are.
#[derive(Debug)]
pub struct Scan {
    opened: Opened,
    timeout: Duration,
    pairs: u64,
}

#[derive(Debug)]
struct Opened {
    first: Option<ScanResponse>,
    rest: Streaming<ScanResponse>,
}

impl Client {
    /// Starts a scan. The client's timeout holds for the first page, retries included, and then for
    /// each further page, so that a scan may take as long as its reader. The node is not told a
    /// deadline for the same reason.
    ///
    /// # Errors
    /// [`ClientError`], never [`ClientError::OutcomeUnknown`].
    pub async fn scan(&self, options: ScanOptions) -> Result<Scan, ClientError> {
        let bytes = options.prefix.len();
        if bytes > MAX_KEY_BYTES {
            return Err(ClientError::PrefixLength { bytes });
        }
        if options.limit == Some(0) {
            // On the wire 0 means all; a scan of one pair that hands out none would not be nothing.
            return Err(ClientError::ScanLimit);
        }
        let request = ScanRequest {
            prefix: options.prefix,
            limit: options.limit.unwrap_or(0),
            keys_only: options.keys_only,
            stale: options.mode.is_stale(),
        };
        let plan = self.plan("scan", Effect::None, options.mode.target());
        let opened = self.call(plan, |link, terms| open(link, untimed(request.clone(), terms))).await?;
        Ok(Scan { opened, timeout: self.timeout, pairs: 0 })
    }
}

async fn open(link: Link, request: Request<ScanRequest>) -> Result<Opened, Status> {
    let mut rest = service(link.channel).scan(request).await?.into_inner();
    Ok(Opened { first: rest.message().await?, rest })
}

impl Scan {
    /// The next pairs in key order, at most one message (4 MiB) of them; none at the end.
    ///
    /// # Errors
    /// [`ClientError::ScanInterrupted`]: what was handed out is valid, the rest is missing.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Pair>>, ClientError> {
        let page = match self.opened.first.take() {
            Some(first) => Some(first),
            None => self.receive().await?,
        };
        self.pairs += page.as_ref().map_or(0, |page| page.pairs.len() as u64);
        Ok(page.map(|page| page.pairs))
    }

    async fn receive(&mut self) -> Result<Option<ScanResponse>, ClientError> {
        let cause = match timeout(self.timeout, self.opened.rest.message()).await {
            Ok(Ok(page)) => return Ok(page),
            Ok(Err(status)) => Cause::Status(Box::new(status)),
            Err(_elapsed) => Cause::NoAnswer,
        };
        Err(ClientError::ScanInterrupted { pairs: self.pairs, cause })
    }
}

impl Answer for Opened {
    fn header(&self) -> Option<Header<'_>> {
        self.first.as_ref()?.header.as_ref().map(Header::from)
    }
}
