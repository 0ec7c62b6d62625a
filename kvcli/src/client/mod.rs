//! The client library: one noun per file, the way of a call from top to bottom.
//!
//! `kv` and `cluster` are the operations, `call` runs one of them to its end over several attempts,
//! `trace` names it for the logs, `route` picks the endpoint of the next attempt, `connections` dials it, `failure` judges what came
//! back and `error` is what the caller sees.

mod backoff;
mod call;
mod cluster;
mod connections;
mod endpoint;
mod error;
mod failure;
mod handle;
mod kv;
mod leader;
mod options;
mod route;
mod scan;
mod session;
mod trace;

use proto::kv::v1 as wire;

pub use connections::MAX_CONNECTIONS_PER_ENDPOINT;
pub use endpoint::{Endpoint, MAX_ENDPOINTS};
pub use error::ClientError;
pub use failure::{Cause, Failure};
pub use handle::Client;
pub use kv::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ReadMode};
pub use options::ClientOptions;
pub use scan::{Scan, ScanOptions};
pub use trace::TraceId;
