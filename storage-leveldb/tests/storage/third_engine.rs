//! The engine of `examples/third_engine`, for the tests here.

#[path = "../../examples/third_engine/engine.rs"]
mod engine;

pub(crate) use engine::OneFileFactory;
