//! Makes the Rust code and the descriptors of the protocols, in pure Rust: `cargo run --package
//! proto-generator`, after a change of a .proto file. What it makes is committed, so that who
//! builds the crates compiles no compiler of protocols. A test sees that it is up to date.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use prost::Message as _;

/// The directory of `raftnode-proto`.
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const GENERATED: &str = "src/generated";
/// Packages, each with its files.
const PACKAGES: [(&str, &[&str]); 3] = [
    ("raft.v1", &["raft/v1/raft.proto"]),
    (
        "node.v1",
        &["node/v1/peer.proto", "node/v1/cluster.proto", "node/v1/requests.proto", "node/v1/backup.proto"],
    ),
    ("kv.v1", &["kv/v1/kv.proto"]),
];
/// Messages that `src/bounded.rs` makes.
const BOUNDED: [(&str, &str); 2] = [
    (".kv.v1.SessionRequest", "crate::kv::v1::SessionRequest"),
    (".node.v1.ForwardRequest", "crate::node::v1::ForwardRequest"),
];

fn main() -> anyhow::Result<()> {
    generate(&Path::new(PROTO).join(GENERATED))
}

/// Writes the code of every package, and its descriptors for server reflection, into `directory`.
fn generate(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let include = Path::new(PROTO).join("proto");
    for (package, files) in PACKAGES {
        let descriptors = protox::compile(files.iter().copied(), [&include])?;
        let file = directory.join(package).with_added_extension("bin");
        fs::write(&file, descriptors.encode_to_vec()).with_context(|| file.display().to_string())?;
        let mut builder = tonic_prost_build::configure().bytes(".").out_dir(directory);
        for (message, path) in BOUNDED {
            builder = builder.extern_path(message, path);
        }
        builder.compile_fds(descriptors)?;
        let code = directory.join(package).with_added_extension("rs");
        ensure!(code.exists(), "{} was not made", code.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_what_the_protocols_give() {
        let made = tempfile::tempdir().unwrap();
        generate(made.path()).unwrap();
        for entry in fs::read_dir(made.path()).unwrap() {
            let entry = entry.unwrap();
            let committed = fs::read(Path::new(PROTO).join(GENERATED).join(entry.file_name()));
            assert!(
                committed.is_ok_and(|bytes| bytes == fs::read(entry.path()).unwrap()),
                "{:?} is not up to date; run: cargo run --package proto-generator",
                entry.file_name()
            );
        }
    }
}
