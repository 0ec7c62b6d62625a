//! A cluster of three processes, as `kvnode playground` starts it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A running playground; stopped when this is dropped.
pub(crate) struct Playground {
    process: Child,
    endpoints: String,
}

impl Playground {
    /// Starts it, and waits until it says where it serves.
    pub(crate) fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvnode"));
        let mut process = command.arg("playground").stdout(Stdio::piped()).spawn().expect("kvnode runs");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut said = |prefix: &str| loop {
            let line = lines.next().expect("the playground comes up").expect("it says what it does");
            if let Some(rest) = line.trim().strip_prefix(prefix) {
                break rest.to_owned();
            }
        };
        let endpoints = said("export KVCLI_ENDPOINTS=");
        drop(said("Ctrl-C stops"));
        // It prints more when it stops, and must not wait for a reader then.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, endpoints }
    }

    pub(crate) fn endpoints(&self) -> &str {
        &self.endpoints
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // One that has ended by itself is not there to be told.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        drop(self.process.wait());
    }
}
