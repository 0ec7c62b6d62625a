//! The client library: one noun per file, the way of a call from top to bottom.
//!
//! `kv`, `cluster` and `backup` are the operations. `call` runs one of them to its end: `identity`
//! makes sure which cluster it is meant for, `route` picks the endpoint of the next attempt,
//! `names` finds its addresses, `attempt` sends the request, with its `terms`, over one of the
//! `connections`, puts, gets and deletes of all callers over one `stream` of each, `failure` judges
//! what came back and `error` is what the caller sees. `survey` asks all endpoints at once. `trace`
//! names an operation for the logs, `tls` is what connections are encrypted by, and `token` says
//! who asks.

mod attempt;
mod backoff;
mod backup;
mod call;
mod cluster;
mod cluster_id;
mod connections;
mod endpoint;
mod error;
mod failure;
mod handle;
mod identity;
mod kv;
mod leader;
mod metadata;
mod names;
mod options;
mod route;
mod scan;
mod session;
mod stream;
mod survey;
mod terms;
mod tls;
mod token;
mod trace;

use crate::wire;

pub use backup::Backup;
pub use cluster_id::ClusterId;
pub use connections::MAX_CONNECTIONS_PER_ENDPOINT;
pub use endpoint::{Endpoint, MAX_ENDPOINTS};
pub use error::ClientError;
pub use failure::{Cause, Failure};
pub use handle::Client;
pub use kv::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ReadMode};
pub use names::{MAX_ADDRESSES_PER_ENDPOINT, Resolver};
pub use options::ClientOptions;
pub use scan::{Scan, ScanOptions};
pub use tls::ClientTls;
pub use token::ClientToken;
pub use trace::TraceId;
