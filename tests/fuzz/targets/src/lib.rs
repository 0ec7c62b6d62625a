//! What the fuzz targets check.
//!
//! Every target is a plain function from bytes to nothing that panics when a promise is broken: the
//! programs in `../fuzz_targets` feed it from libFuzzer, and `tests/replay.rs` from the files in
//! `../seeds`. Each has more of an oracle than "no panic": a second, independent reading of
//! `docs/FORMAT.md`, a model, or a round trip.
//!
//! A panic that production code catches (`engine/leveldb` and the state's thread do) is a finding
//! here all the same: libFuzzer's panic hook aborts at once, and the replay counts panics with a
//! hook of its own.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a fuzz target fails by panicking"
)]

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What an entry carries: any bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

openraft::declare_raft_types!(
    /// As a node's own, whose entries are bytes too.
    pub TypeConfig: D = Payload, R = (), NodeId = u64, Node = raftnode::Member
);

mod batch_apply;
mod damage;
mod framed;
mod input;
mod kv_apply;
mod kv_request;
mod leveldb_open;
mod paged;
mod raft_values;
mod raft_wire;
pub(crate) mod records;
mod reference;
pub mod seeds;
mod snapshot_install;

pub use batch_apply::batch_apply;
pub use framed::{framed_damage, framed_file};
pub use kv_apply::kv_apply;
pub use kv_request::kv_request;
pub use leveldb_open::leveldb_open;
pub use paged::paged_table;
pub use raft_wire::raft_wire;
pub use records::records;
pub use snapshot_install::snapshot_install;

/// Panics if the bytes break a promise.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Target); 10] = [
    ("framed_file", framed_file),
    ("framed_damage", framed_damage),
    ("paged_table", paged_table),
    ("records", records),
    ("batch_apply", batch_apply),
    ("kv_apply", kv_apply),
    ("snapshot_install", snapshot_install),
    ("raft_wire", raft_wire),
    ("kv_request", kv_request),
    ("leveldb_open", leveldb_open),
];
