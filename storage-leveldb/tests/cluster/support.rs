//! The application in memory that network-grpc tests with: commands are blobs.

#[path = "../../../network-grpc/tests/network/support/app.rs"]
pub mod app;
#[path = "../../../network-grpc/tests/network/support/log_store.rs"]
pub mod log_store;
#[path = "../../../network-grpc/tests/network/support/state_machine.rs"]
pub mod state_machine;

pub use app::{Blob, TypeConfig};
