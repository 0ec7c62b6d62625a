//! HTTP, for people and their monitoring: `/metrics`, `/livez`, `/readyz`, the status page at `/`
//! and what it is made of: `/api/status`, `/api/history`, `/api/cluster`, `/api/cluster/history`.
//!
//! Never serves data, and is the last surface to go: after a storage fault it is where this node
//! says why it does not serve.

mod admin;
mod answer;
mod health;
mod history;
mod json;
mod page;
mod router;
mod server;
mod status;

pub(crate) use json::json_router;
pub(crate) use router::faulty_router;
pub(crate) use router::{Surface, router};
pub(crate) use server::HTTP_HEADER_TIMEOUT;
pub(crate) use server::serve;
pub(crate) use status::StatusDocument;
