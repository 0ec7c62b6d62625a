//! How one attempt failed, and what that says about the request. Judged by `call`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, ConnectError, Status, TimeoutExpired};

use super::Endpoint;

/// Longest part of a server's error message that is repeated to the user.
const MAX_MESSAGE_CHARS: usize = 1000;

/// Set on the answers of a node whose storage has failed. A full disk is RESOURCE_EXHAUSTED, as is a busy node.
const FAULT_METADATA: &str = "kv-node-fault";

/// One failed attempt at one endpoint.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Where the attempt went.
    pub endpoint: Endpoint,
    /// What happened.
    pub cause: Cause,
}

/// What happened to an attempt.
#[derive(Debug, Clone)]
pub enum Cause {
    /// No connection; nothing was sent.
    Connect(Arc<tonic::transport::Error>),
    /// No connection within this time; nothing was sent.
    ConnectTimeout(Duration),
    /// The node's answer, or what the transport made of a lost connection.
    Status(Box<Status>),
    /// The request was sent and the deadline passed without an answer.
    NoAnswer,
}

/// What a failed attempt says about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not applied, and another attempt may succeed.
    NotApplied,
    /// May have been applied; another attempt under the same request id may tell.
    Unknown,
    /// Not applied, this node's storage has failed; others may serve.
    NodeFailed,
    /// Not applied, and asking again would not change that.
    Refused,
    /// Something answered nonsense: asking again would not help, and a write may have been applied.
    Nonsense,
}

impl Failure {
    pub(super) fn status(endpoint: &Endpoint, status: Status) -> Self {
        // The transport enforces the same deadline as we do and may notice first.
        let cause = match has_source::<TimeoutExpired>(&status) {
            true => Cause::NoAnswer,
            false => Cause::Status(Box::new(status)),
        };
        Self { endpoint: endpoint.clone(), cause }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match &self.cause {
            Cause::Connect(_) | Cause::ConnectTimeout(_) => Verdict::NotApplied,
            Cause::NoAnswer => Verdict::Unknown,
            Cause::Status(status) => judge(status),
        }
    }

    /// Whether the connection it came over is not to be used again.
    pub(super) fn breaks_connection(&self) -> bool {
        match &self.cause {
            Cause::Connect(_) | Cause::ConnectTimeout(_) => true,
            // A closed channel reports UNKNOWN without a source; a new connection costs little.
            Cause::Status(status) => status.source().is_some() || status.code() == Code::Unknown,
            Cause::NoAnswer => false,
        }
    }

    /// Whether it says that the node does not lead (any more).
    pub(super) fn denies_leadership(&self) -> bool {
        !matches!(self.verdict(), Verdict::Refused | Verdict::Nonsense)
    }

    /// Whether no connection could be made.
    pub(super) fn is_connect(&self) -> bool {
        match &self.cause {
            Cause::Connect(_) | Cause::ConnectTimeout(_) => true,
            Cause::Status(status) => never_connected(status),
            Cause::NoAnswer => false,
        }
    }
}

/// A status made by the local transport has a source, one sent by a node has none. Only the node may
/// say "not applied"; a lost connection reported as UNAVAILABLE says nothing.
fn judge(status: &Status) -> Verdict {
    if never_connected(status) {
        return Verdict::NotApplied;
    }
    if status.source().is_some() {
        return Verdict::Unknown;
    }
    match status.code() {
        Code::Unavailable => Verdict::NotApplied,
        Code::Unknown | Code::DeadlineExceeded | Code::Cancelled => Verdict::Unknown,
        Code::DataLoss => Verdict::NodeFailed,
        _ if status.metadata().contains_key(FAULT_METADATA) => Verdict::NodeFailed,
        // Made on this side too, when an answer cannot be decoded: the request was handled then.
        Code::Ok | Code::Internal | Code::OutOfRange => Verdict::Nonsense,
        _ => Verdict::Refused,
    }
}

/// Whether the status stands for a failed dial.
fn never_connected(status: &Status) -> bool {
    has_source::<ConnectError>(status)
}

fn has_source<E: Error + 'static>(status: &Status) -> bool {
    std::iter::successors(status.source(), |error: &&(dyn Error + 'static)| (*error).source())
        .any(|error| error.is::<E>())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {}", root(error.as_ref())),
            Self::ConnectTimeout(time) => write!(f, "cannot connect within {time:.1?}"),
            Self::Status(status) => write_status(f, status),
            Self::NoAnswer => f.write_str("no answer before the timeout"),
        }
    }
}

fn write_status(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    if never_connected(status) {
        return write!(f, "cannot connect: {}", root(status));
    }
    if status.source().is_some() {
        return write!(f, "connection lost: {}", root(status));
    }
    match status.message() {
        "" => write!(f, "{}", status.code()),
        // It came from the network and goes to a terminal.
        message => message
            .chars()
            .take(MAX_MESSAGE_CHARS)
            .try_for_each(|c| write!(f, "{}", if c.is_control() { ' ' } else { c })),
    }
}

/// The innermost error: the outer ones only say "transport error".
fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error.as_ref()),
            Self::Status(status) => Some(status.as_ref()),
            Self::ConnectTimeout(_) | Self::NoAnswer => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: Status) -> Verdict {
        Failure::status(&"a:1".parse().unwrap(), status).verdict()
    }

    #[test]
    fn what_a_node_says_is_taken_at_its_word() {
        assert_eq!(verdict(Status::unavailable("no leader")), Verdict::NotApplied);
        assert_eq!(verdict(Status::unknown("")), Verdict::Unknown);
        assert_eq!(verdict(Status::deadline_exceeded("")), Verdict::Unknown);
        assert_eq!(verdict(Status::data_loss("")), Verdict::NodeFailed);
        assert_eq!(verdict(Status::resource_exhausted("")), Verdict::Refused);
        let mut full = Status::resource_exhausted("disk full on node 1");
        full.metadata_mut().insert(FAULT_METADATA, "disk-full".parse().unwrap());
        assert_eq!(verdict(full), Verdict::NodeFailed);
        assert_eq!(verdict(Status::internal("")), Verdict::Nonsense);
    }

    #[test]
    fn a_local_unavailable_proves_nothing_unless_it_is_a_failed_dial() {
        let lost = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(verdict(lost), Verdict::Unknown);
        let refused = ConnectError(Box::new(std::io::Error::other("refused")));
        assert_eq!(verdict(Status::from_error(Box::new(refused))), Verdict::NotApplied);
    }

    #[test]
    fn messages_carry_no_control_characters() {
        let failure = Failure::status(&"a:1".parse().unwrap(), Status::unavailable("x\u{1b}[2Jy"));
        assert_eq!(failure.to_string(), "a:1: x [2Jy");
    }
}
