//! What cargo has built for the workspace, beside this test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory with `kvnode` and `kvcli`. Cargo builds them when it is asked to test the
/// workspace.
pub fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(Path::parent).unwrap().to_owned();
    for program in ["kvnode", "kvcli"] {
        assert!(
            directory.join(program).exists(),
            "{program} is missing in {}; run: cargo test --release --workspace (or first: cargo build --release --bin kvnode --bin kvcli)",
            directory.display()
        );
    }
    directory
}

/// One of them, which the environment of the tests must not configure.
pub fn built(program: &str) -> Command {
    let mut command = Command::new(programs().join(program));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KVNODE_") || name.to_string_lossy().starts_with("KVCLI_") {
            command.env_remove(name);
        }
    }
    command
}
