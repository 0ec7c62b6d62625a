//! Opening engines and tables.

use std::path::Path;
use std::sync::Arc;

use super::served::Served;
use super::table::EngineTableWriter;
use super::{Engine, Table, TableWriter};
use crate::error::StorageError;

/// Opens engines. Shared between threads; the engines are not.
pub trait EngineFactory: Send + Sync + 'static {
    /// Opens the engine in `dir`, creating it if the directory is empty or missing.
    ///
    /// # Errors
    /// A fault, naming the damaged file.
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, StorageError>;

    /// Whether `dir` holds an engine.
    ///
    /// # Errors
    /// A fault.
    fn exists(&self, dir: &Path) -> Result<bool, StorageError>;

    /// Starts writing a table in `dir`, which is empty or missing.
    ///
    /// # Errors
    /// A fault.
    fn write_table(&self, dir: &Path) -> Result<Box<dyn TableWriter>, StorageError> {
        Ok(Box::new(EngineTableWriter::new(self.open(dir)?)))
    }

    /// Opens the complete table in `dir`.
    ///
    /// # Errors
    /// A fault, naming the damaged file; also if there is no table.
    fn open_table(self: Arc<Self>, dir: &Path) -> Result<Arc<dyn Table>, StorageError> {
        Ok(Arc::new(Served::start("table", dir, move |dir| self.open(dir))?))
    }
}
