//! The client API, kv.v1: the services `Kv` and `Cluster`, gRPC health and reflection.
//!
//! The way of a request: limits checked (`validate`), a place among those in flight taken
//! (`admission`), the leader found (`route`), then either answered here (`write`, `read`) or forwarded
//! (`forward`). Whatever fails becomes a status that says whether the request was applied
//! (`status_codes`). Every request has a line in the log (`request_log`). A node without storage answers nothing but why (`refusal`).

mod admission;
mod call;
mod cluster;
mod forward;
mod header;
mod init;
mod kv;
mod membership;
mod quorum;
mod read;
mod read_index;
pub(crate) mod refusal;
mod report;
mod request_log;
mod route;
mod scan;
mod server;
mod status_codes;
mod status_report;
pub(crate) mod validate;
mod write;

pub use admission::{MAX_REQUESTS_IN_FLIGHT, MAX_SCANS_IN_FLIGHT, MAX_WRITE_BYTES_IN_FLIGHT};
pub use call::DEFAULT_DEADLINE;
pub(crate) use forward::address;
pub use report::Reporter;
pub use server::{Api, ClientServices, HEALTH_SERVICES, MAX_MESSAGE_BYTES};
pub use status_report::status_report;
pub use validate::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
