//! The example in Python is Python, and speaks the protocol as it is documented.

use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn example() -> String {
    std::fs::read_to_string(repository().join("examples/python/kv_client.py")).unwrap()
}

/// The head comment of cluster.proto is where authors of clients look.
#[test]
fn it_uses_the_metadata_that_the_protocol_documents() {
    let protocol = std::fs::read_to_string(repository().join("proto/proto/node/v1/cluster.proto")).unwrap();
    let head: String = protocol.lines().take_while(|line| line.starts_with("//")).collect();
    let source = example();
    let names: Vec<_> = source.split('"').filter(|text| text.starts_with("node-")).collect();
    assert!(names.contains(&"node-not-applied") && names.contains(&"node-cluster-id"), "{names:?}");
    for name in names {
        assert!(head.contains(name), "{name} is not documented");
    }
}

/// A syntax error, where there is a Python to find it; the example needs packages to run.
#[test]
fn it_compiles() {
    let compiled = Command::new("python3")
        .args(["-c", "import sys; compile(sys.argv[1], 'kv_client.py', 'exec')"])
        .arg(example())
        .output();
    match compiled {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("not compiled, as there is no python3: {error}"),
    }
}
