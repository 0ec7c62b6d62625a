//! A certificate and its key on disk.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// All may read a certificate.
const CERTIFICATE_MODE: u32 = 0o644;
/// Its owner alone may read a key.
const KEY_MODE: u32 = 0o600;

/// `NAME.pem` and `NAME-key.pem`.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Pair {
    pub(super) fn new(dir: &Path, name: &str) -> Self {
        Self { certificate: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}-key.pem")) }
    }

    pub(super) fn read(&self) -> anyhow::Result<(String, String)> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    /// Writes both, each at once: a node that looks at them never sees half a file.
    pub(super) fn write(&self, certificate: &str, key: &str, force: bool) -> anyhow::Result<()> {
        if let Some(there) = [&self.key, &self.certificate].into_iter().find(|path| path.exists() && !force) {
            bail!(
                "{} is there already; --force replaces it, and what it was used for has to follow",
                there.display()
            );
        }
        write(&self.key, key, KEY_MODE, force)?;
        write(&self.certificate, certificate, CERTIFICATE_MODE, force)
    }
}

fn write(path: &Path, text: &str, mode: u32, force: bool) -> anyhow::Result<()> {
    let written = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        // Its owner alone may read it from the beginning.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        match force {
            true => file.persist(path)?,
            false => file.persist_noclobber(path)?,
        };
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
