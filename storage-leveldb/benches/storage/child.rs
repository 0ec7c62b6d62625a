//! Processes of their own, for what needs one: its own memory to be measured, or being killed.
//!
//! A child is this program with a hidden name. It says what it has to say in lines `WORD VALUE`.

use std::path::Path;
use std::process::Stdio;

use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{self, ChildStdout, Command};

use crate::args::{Args, Name};

/// What a child calls to tell its parent.
pub(crate) fn say(word: &str, value: impl std::fmt::Display) {
    println!("{word} {value}");
}

pub(crate) struct Child {
    process: process::Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a child that uses the storage in `dir`.
    pub(crate) fn start(name: Name, args: &Args, dir: &Path, pairs: u64, seconds: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(name.to_possible_value().unwrap().get_name()).arg("--dir").arg(dir);
        for (option, value) in [("--pairs", pairs), ("--seconds", seconds), ("--seed", args.seed)] {
            command.arg(option).arg(value.to_string());
        }
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Waits for the line that begins with `word`; answers its number.
    pub(crate) async fn said(&mut self, word: &str) -> f64 {
        loop {
            let line = self.lines.next_line().await.unwrap().expect("the child has ended too early");
            if let Some(value) = line.strip_prefix(word) {
                return value.trim().parse().unwrap();
            }
        }
    }

    /// Kills it as `kill -9` does.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    pub(crate) async fn end(mut self) {
        assert!(self.process.wait().await.unwrap().success(), "the child has failed");
    }
}
