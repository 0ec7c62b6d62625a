//! How one attempt failed, and what that says about the request. Judged by `call`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, ConnectError, Status, TimeoutExpired};

use super::{ClusterId, Endpoint, metadata, tls};

/// Longest part of a server's error message that is repeated to the user.
const MAX_MESSAGE_CHARS: usize = 1000;

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
    /// The name has no address; nothing was sent.
    Lookup(Arc<std::io::Error>),
    /// No address within this time; nothing was sent.
    LookupTimeout(Duration),
    /// No connection; nothing was sent.
    Connect(Arc<tonic::transport::Error>),
    /// A certificate, key or CA cannot be used any more; nothing was sent.
    Tls(String),
    /// No connection within this time; nothing was sent.
    ConnectTimeout(Duration),
    /// The node's answer, or what the transport made of a lost connection.
    Status(Box<Status>),
    /// The request was sent and the deadline passed without an answer.
    NoAnswer,
}

/// What a failed attempt says about the next one. Whether the request may have been applied is
/// another question: [`Failure::proves_not_applied`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Another attempt may succeed.
    TryAgain,
    /// No answer, or one that leaves open what became of the request; another attempt may tell.
    Unknown,
    /// This node's storage has failed; others may serve.
    NodeFailed,
    /// Asking again would not change the answer.
    Refused,
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
            Cause::NoAnswer => Verdict::Unknown,
            Cause::Status(status) => judge(status),
            _never_sent => Verdict::TryAgain,
        }
    }

    /// Whether the request has changed nothing and never will. A code alone proves nothing: gRPC
    /// libraries and proxies make UNAVAILABLE and others of a connection that broke after the
    /// request was sent.
    pub(super) fn proves_not_applied(&self) -> bool {
        match &self.cause {
            Cause::NoAnswer => false,
            Cause::Status(status) => proves_not_applied(status),
            _never_sent => true,
        }
    }

    /// The id of the cluster whose node answered, if it says so.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        match &self.cause {
            Cause::Status(status) => metadata::text(status, metadata::CLUSTER_ID)?.parse().ok(),
            _ => None,
        }
    }

    /// Whether it was sent by a node, or by something else that answers at its address.
    pub(super) fn is_answer(&self) -> bool {
        matches!(&self.cause, Cause::Status(status) if status.source().is_none())
    }

    /// Whether asking the same node again would not change the answer.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.verdict(), Verdict::Refused | Verdict::NodeFailed)
    }

    /// A node says that the condition for the request is not given.
    pub(super) fn is_precondition(&self) -> bool {
        matches!(&self.cause, Cause::Status(status)
            if status.source().is_none() && status.code() == Code::FailedPrecondition)
    }

    /// Whether the connection it came over is not to be used again.
    pub(super) fn breaks_connection(&self) -> bool {
        match &self.cause {
            // A closed channel reports UNKNOWN without a source; a new connection costs little.
            Cause::Status(status) => status.source().is_some() || status.code() == Code::Unknown,
            Cause::NoAnswer => false,
            _never_sent => true,
        }
    }

    /// Whether it says that the node does not lead (any more).
    pub(super) fn denies_leadership(&self) -> bool {
        self.verdict() != Verdict::Refused
    }

    /// Whether no connection could be made.
    pub(super) fn is_connect(&self) -> bool {
        match &self.cause {
            Cause::Status(status) => never_connected(status),
            Cause::NoAnswer => false,
            _never_sent => true,
        }
    }
}

/// A status made by the local transport has a source, one sent by a node has none.
fn judge(status: &Status) -> Verdict {
    if never_connected(status) {
        return Verdict::TryAgain;
    }
    if status.source().is_some() {
        return Verdict::Unknown;
    }
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled => {
            if proves_not_applied(status) { Verdict::TryAgain } else { Verdict::Unknown }
        }
        Code::DataLoss => Verdict::NodeFailed,
        _ if status.metadata().contains_key(metadata::NODE_FAULT) => Verdict::NodeFailed,
        _ => Verdict::Refused,
    }
}

fn proves_not_applied(status: &Status) -> bool {
    // UNIMPLEMENTED means that nothing at that address knows the request.
    let unknown_there = status.source().is_none() && status.code() == Code::Unimplemented;
    never_connected(status) || unknown_there || metadata::text(status, metadata::NOT_APPLIED) == Some("1")
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
            Self::Lookup(error) => write!(f, "cannot look up its address: {error}"),
            Self::LookupTimeout(time) => {
                write!(f, "cannot look up its address within {:.1}s", time.as_secs_f64())
            }
            Self::Connect(error) => write!(f, "cannot connect: {}", explained(error.as_ref())),
            Self::Tls(problem) => write!(f, "cannot connect: {problem}"),
            Self::ConnectTimeout(time) => write!(f, "cannot connect within {:.1}s", time.as_secs_f64()),
            Self::Status(status) => write_status(f, status),
            Self::NoAnswer => f.write_str("no answer before the timeout"),
        }
    }
}

fn write_status(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    if never_connected(status) {
        return write!(f, "cannot connect: {}", explained(status));
    }
    if status.source().is_some() {
        return write!(f, "connection lost: {}", explained(status));
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

/// The innermost error, and what to do about it if that is known.
fn explained(error: &(dyn Error + 'static)) -> String {
    match tls::advice(error) {
        Some(advice) => format!("{advice} ({})", root(error)),
        None => root(error).to_string(),
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
            Self::Lookup(error) => Some(error.as_ref()),
            Self::Connect(error) => Some(error.as_ref()),
            Self::Status(status) => Some(status.as_ref()),
            Self::LookupTimeout(_) | Self::ConnectTimeout(_) | Self::Tls(_) | Self::NoAnswer => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: Status) -> Failure {
        Failure::status(&"a:1".parse().unwrap(), status)
    }

    fn proven(mut status: Status) -> Status {
        status.metadata_mut().insert(metadata::NOT_APPLIED, "1".parse().unwrap());
        status
    }

    #[test]
    fn where_to_go_after_an_answer() {
        for (status, verdict) in [
            (proven(Status::unavailable("no leader")), Verdict::TryAgain),
            (Status::unavailable("connection reset"), Verdict::Unknown),
            (Status::unknown(""), Verdict::Unknown),
            (Status::deadline_exceeded(""), Verdict::Unknown),
            (proven(Status::deadline_exceeded("")), Verdict::TryAgain),
            (proven(Status::data_loss("")), Verdict::NodeFailed),
            (proven(Status::resource_exhausted("")), Verdict::Refused),
            (Status::internal(""), Verdict::Refused),
        ] {
            assert_eq!(failure(status.clone()).verdict(), verdict, "{status}");
        }
        let mut full = Status::resource_exhausted("disk full on node 1");
        full.metadata_mut().insert(metadata::NODE_FAULT, "disk-full".parse().unwrap());
        assert_eq!(failure(full).verdict(), Verdict::NodeFailed);
    }

    /// gRPC libraries answer UNAVAILABLE themselves when a connection breaks after a request was
    /// sent: of 1,655 such puts 63 had been applied.
    #[test]
    fn only_the_metadata_proves_that_nothing_was_applied() {
        for code in 1..=16 {
            let status = Status::new(code.into(), "");
            let named = code == Code::Unimplemented as i32;
            assert_eq!(failure(status.clone()).proves_not_applied(), named, "{status}");
            assert!(failure(proven(status.clone())).proves_not_applied(), "{status}");
        }
        let mut other = Status::unavailable("");
        other.metadata_mut().insert(metadata::NOT_APPLIED, "0".parse().unwrap());
        assert!(!failure(other).proves_not_applied());
    }

    #[test]
    fn a_local_unavailable_proves_nothing_unless_it_is_a_failed_dial() {
        let lost = failure(Status::from_error(Box::new(std::io::Error::other("reset"))));
        assert_eq!((lost.verdict(), lost.proves_not_applied()), (Verdict::Unknown, false));
        let refused = ConnectError(Box::new(std::io::Error::other("refused")));
        let refused = failure(Status::from_error(Box::new(refused)));
        assert_eq!((refused.verdict(), refused.proves_not_applied()), (Verdict::TryAgain, true));
    }

    #[test]
    fn messages_carry_no_control_characters() {
        let failure = Failure::status(&"a:1".parse().unwrap(), Status::unavailable("x\u{1b}[2Jy"));
        assert_eq!(failure.to_string(), "a:1: x [2Jy");
    }
}
