//! What a node does for clients, whatever its application is: commands and queries (`requests`),
//! and the services `node.v1.Cluster` and `node.v1.Backups`.
//!
//! The way of a request: a place among those in flight taken (`admission`), the leader found
//! (`route`), then either answered here (`requests`, by way of `proposals` or `read_index`) or
//! passed on (`forward`), with others over one stream (`forward_stream`). The requests of a stream
//! (`exchange`) are begun together (`pipeline`). Whatever fails becomes a status that says whether
//! the request was applied (`status_codes`). Every request has a line in the log (`request_log`). A
//! node without storage answers nothing but why (`refusal`). `server` is what all of this shares,
//! and `services` puts what is served together.

mod admission;
mod backup;
mod backups_service;
mod call;
mod change;
mod cluster;
mod exchange;
mod forward;
mod forward_stream;
mod header;
mod in_flight;
mod init;
mod learner;
mod limits;
mod membership;
mod pipeline;
mod proposal;
mod proposals;
mod quorum;
mod read_index;
pub(crate) mod refusal;
mod report;
mod request_log;
mod requests;
mod requests_service;
mod returning;
mod route;
mod server;
mod services;
pub(crate) mod status_codes;
mod status_report;
mod validate;

pub use admission::Place;
pub(crate) use call::{CLUSTER_ID_METADATA, DEFAULT_CLUSTER_DEADLINE, address};
pub use call::{Call, DEFAULT_DEADLINE};
pub use exchange::in_messages;
pub(crate) use exchange::{Exchange, serve};
pub(crate) use header::{
    NODE_FAULT_METADATA, NODE_ID_METADATA, NOT_APPLIED_METADATA, header, header_of_faulty,
};
pub use limits::{MAX_ANSWER_BYTES, MAX_COMMAND_BYTES, MAX_MESSAGE_BYTES, MAX_STREAM_REQUESTS};
pub(crate) use limits::{check_answer_length, check_length};
pub(crate) use pipeline::{Done, Ended, Pipeline, Task, Work};
#[cfg(any(test, feature = "testing"))]
pub(crate) use proposals::Proposals;
#[cfg(any(test, feature = "testing"))]
pub(crate) use read_index::ReadIndex;
pub(crate) use report::Reporter;
pub use requests::Answered;
pub(crate) use requests::{Found, Question};
pub(crate) use server::Api;
pub use services::ClientServices;
pub(crate) use services::HEALTH_SERVICES;
pub(crate) use status_report::{status_report, status_report_of_faulty};
