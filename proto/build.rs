//! Compiles the .proto files in pure Rust, so that no `protoc` has to be installed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const INCLUDE: &str = "proto";
/// Messages that `src/bounded.rs` makes.
const BOUNDED: [(&str, &str); 2] = [
    (".kv.v1.SessionRequest", "crate::kv::v1::SessionRequest"),
    (".node.v1.ForwardRequest", "crate::node::v1::ForwardRequest"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={INCLUDE}");
    if std::env::var_os("CARGO_FEATURE_RAFT").is_some() {
        generate("raft", &["proto/raft/v1/raft.proto"])?;
    }
    if std::env::var_os("CARGO_FEATURE_NODE").is_some() {
        generate(
            "node",
            &["proto/node/v1/peer.proto", "proto/node/v1/cluster.proto", "proto/node/v1/requests.proto"],
        )?;
    }
    if std::env::var_os("CARGO_FEATURE_KV").is_some() {
        generate("kv", &["proto/kv/v1/kv.proto"])?;
    }
    Ok(())
}

/// Generates the Rust code of one package, and its descriptors for server reflection.
fn generate(package: &str, files: &[&str]) -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(files, [INCLUDE])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join(format!("{package}.bin")), descriptors.encode_to_vec())?;
    let mut builder = tonic_prost_build::configure().bytes(".");
    for (message, path) in BOUNDED {
        builder = builder.extern_path(message, path);
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
