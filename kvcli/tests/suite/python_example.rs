//! The example in Python is Python, and speaks the protocol as it is documented.

use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn example(name: &str) -> String {
    std::fs::read_to_string(repository().join("examples/python").join(name)).unwrap()
}

/// The head comment of cluster.proto is where authors of clients look.
#[test]
fn it_uses_the_metadata_that_the_protocol_documents() {
    let protocol = std::fs::read_to_string(repository().join("proto/proto/node/v1/cluster.proto")).unwrap();
    let head: String = protocol.lines().take_while(|line| line.starts_with("//")).collect();
    let source = example("kv_client.py");
    let names: Vec<_> = source.split('"').filter(|text| text.starts_with("node-")).collect();
    assert!(names.contains(&"node-not-applied") && names.contains(&"node-cluster-id"), "{names:?}");
    for name in names {
        assert!(head.contains(name), "{name} is not documented");
    }
}

/// A syntax error, where there is a Python to find it; the examples need packages to run.
#[test]
fn they_compile() {
    for name in ["kv_client.py", "kv_session.py"] {
        let compiled = Command::new("python3")
            .args(["-c", "import sys; compile(sys.argv[1], sys.argv[2], 'exec')"])
            .args([&*example(name), name])
            .output();
        match compiled {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("{name} is not compiled, as there is no python3: {error}"),
        }
    }
}
