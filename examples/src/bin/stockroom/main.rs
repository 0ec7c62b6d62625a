//! The program of docs/guide/first-application.md.

include!("program.rs");
