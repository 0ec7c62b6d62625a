//! The wire protocols as generated Rust: `raft.v1` and `node.v1` between peers, `kv.v1` for clients.
//!
//! The .proto files under `proto/` are the documentation; nothing here is written by hand. Each is
//! behind a feature, so that a peer library does not see the client protocol and a client does not
//! see the peers'.

/// The peer protocol: append, vote, transfer-leader and snapshot RPCs between members.
#[cfg(feature = "raft")]
pub mod raft {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        tonic::include_proto!("raft.v1");

        /// The encoded `FileDescriptorSet` of this package, for server reflection.
        pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/raft.bin"));
    }
}

/// Between nodes, beside Raft: who a node is, and how it comes to belong to a cluster.
#[cfg(feature = "node")]
pub mod node {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        tonic::include_proto!("node.v1");
    }
}

/// The client protocol: key-value operations and cluster administration.
#[cfg(feature = "kv")]
pub mod kv {
    /// Version 1.
    pub mod v1 {
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        tonic::include_proto!("kv.v1");

        /// The encoded `FileDescriptorSet` of this package, for server reflection.
        pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kv.bin"));
    }
}
