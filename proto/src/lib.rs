//! The wire protocols as generated Rust: `raft.v1` between peers, `node.v1` between nodes and for
//! who administers them, `kv.v1` for clients.
//!
//! The .proto files under `proto/` are the documentation. Their code is made by `proto/generator`
//! and committed. Written by hand are only the messages that carry many requests, whose number is
//! bounded while they are decoded ([`MAX_REQUESTS_PER_MESSAGE`]).
//!
//! ## Features
//!
//! One for each protocol: `raft`, `node` and `kv`. So a peer library does not see the client
//! protocol, and a client does not see the peers'. `backup` is the module of that name, the file
//! that a backup is. None is on by default.

#[cfg(feature = "backup")]
pub mod backup;
mod bounded;

pub use bounded::MAX_REQUESTS_PER_MESSAGE;

/// The peer protocol: append, vote, transfer-leader and snapshot RPCs between members.
#[cfg(feature = "raft")]
pub mod raft {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("generated/raft.v1.rs");

        /// The encoded `FileDescriptorSet` of this package, for server reflection.
        pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/raft.v1.bin");
    }
}

/// What every node has, whatever application it runs: who it is, how it comes to belong to a
/// cluster, how the cluster is administered, and requests passed on to the leader.
#[cfg(feature = "node")]
pub mod node {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("generated/node.v1.rs");

        crate::bounded::bounded! {
            /// Requests that one node passes on to another.
            ForwardRequest { requests: ForwardedRequest }
        }

        /// The encoded `FileDescriptorSet` of this package, for server reflection.
        pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/node.v1.bin");
    }
}

/// The client protocol of the key-value store.
#[cfg(feature = "kv")]
pub mod kv {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        include!("generated/kv.v1.rs");

        crate::bounded::bounded! {
            /// Some operations of a session.
            SessionRequest { operations: Operation }
        }

        /// The encoded `FileDescriptorSet` of this package, for server reflection.
        pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/kv.v1.bin");
    }
}
