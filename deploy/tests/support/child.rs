//! A program that runs beside the test, its output in a file. Killed at the latest when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Invariant: once this is dropped, the process has ended.
pub struct Child {
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::create(log).unwrap();
        // A playground's nodes end with their standard input, which is a pipe of the playground's.
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let process = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Self { process, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has printed; an error when it has ended, which no child should before the test does.
    pub fn printed(&mut self) -> Result<String, String> {
        let printed = std::fs::read_to_string(&self.log).map_err(|e| e.to_string())?;
        match self.process.try_wait() {
            Ok(None) => Ok(printed),
            ended => panic!("it has ended ({ended:?}): {printed}"),
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
