//! YAML, as Python's parser reads it. No crate for it is needed by anything else here.

use std::process::Command;

use serde_json::Value;

use super::{output, repository};

/// The documents of a file of this repository.
pub fn documents(path: &str) -> Vec<Value> {
    let to_json =
        "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";
    let json = output(Command::new("python3").args(["-c", to_json]).arg(repository(path)));
    serde_json::from_str(&json).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The only document of a file of this repository.
pub fn parsed(path: &str) -> Value {
    let mut documents = documents(path);
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}
