//! What LevelDB keeps in a file, told by the file's name.

use std::path::Path;

/// The kinds of file in a LevelDB directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// `NNNNNN.ldb`: sorted pairs, immutable.
    Table,
    /// `NNNNNN.log`: batches that are in no table yet.
    Log,
    /// `MANIFEST-NNNNNN`: which tables make up the database.
    Manifest,
    /// `CURRENT`: which MANIFEST counts.
    Current,
    /// `NNNNNN.dbtmp`: the next CURRENT.
    Temporary,
    /// Nothing that LevelDB reads.
    Other,
}

impl FileKind {
    pub(super) fn of(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            _ if name == "CURRENT" => Self::Current,
            _ if name.starts_with("MANIFEST-") => Self::Manifest,
            Some("ldb") => Self::Table,
            Some("log") => Self::Log,
            Some("dbtmp") => Self::Temporary,
            _ => Self::Other,
        }
    }
}
