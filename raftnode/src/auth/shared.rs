//! The newest principals, for all that ask.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::sleep;

use super::AuthFileError;
use super::file::{parse, read};
use super::principal::{Principals, ScopeCheck};
use crate::config::{AuthOptionsError, NodeConfig};
use crate::metrics::AuthMetrics;
use crate::throttle::Persistent;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What `--auth-file` says. Cheap to clone; clones see the same.
#[derive(Debug, Clone)]
pub(crate) struct Auth(Option<Arc<Shared>>);

#[derive(Debug)]
pub(super) struct Shared {
    file: PathBuf,
    pub(super) over_plaintext: bool,
    scopes: Option<ScopeCheck>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    /// Replaced as a whole: what was looked up in these holds as long as they are the same.
    principals: Arc<Principals>,
    text: String,
}

/// There is no telling who may do what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthError {
    #[error(transparent)]
    File(#[from] AuthFileError),
    #[error(transparent)]
    Options(#[from] AuthOptionsError),
}

impl Auth {
    /// Reads the file that the configuration names. Blocks on the disk.
    ///
    /// # Errors
    /// What is wrong with it, or with the options.
    pub(crate) fn load(config: &NodeConfig, scopes: Option<ScopeCheck>) -> Result<Self, AuthError> {
        if let Some(problem) = config.auth.problems(&config.tls).into_iter().next() {
            return Err(problem.into());
        }
        let over_plaintext = config.auth.auth_over_plaintext;
        match &config.auth.auth_file {
            None => Ok(Self(None)),
            Some(file) => Ok(Self::of_file(file, over_plaintext, scopes)?),
        }
    }

    pub(super) fn of_file(
        file: &Path,
        over_plaintext: bool,
        scopes: Option<ScopeCheck>,
    ) -> Result<Self, AuthFileError> {
        let text = read(file)?;
        let principals = Arc::new(parse(file, &text, scopes)?);
        let current = RwLock::new(Current { principals, text });
        let file = file.to_owned();
        Ok(Self(Some(Arc::new(Shared { file, over_plaintext, scopes, current }))))
    }

    /// None: there is no file, and no request is asked whose it is.
    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.0.as_ref()
    }

    /// Looks at the file for ever, and uses what has changed.
    pub(crate) async fn watch(self, metrics: AuthMetrics) {
        let Some(shared) = self.0 else { return };
        let mut wrong = Persistent::default();
        loop {
            sleep(LOOK_INTERVAL).await;
            let looking = Arc::clone(&shared);
            match tokio::task::spawn_blocking(move || looking.look()).await {
                Ok(Ok(())) => {
                    metrics.set_usable(true);
                    wrong.is_over();
                }
                Ok(Err(e)) => {
                    metrics.set_usable(false);
                    let text = e.to_string();
                    if wrong.is_news(&text) {
                        tracing::error!("a changed --auth-file is not used, and the old one stays: {text}");
                    }
                }
                Err(e) => tracing::error!("cannot look at --auth-file: {e}"),
            }
        }
    }
}

impl Shared {
    pub(super) fn principals(&self) -> Arc<Principals> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).principals)
    }

    /// Whether these are the newest.
    pub(super) fn are_current(&self, principals: &Arc<Principals>) -> bool {
        Arc::ptr_eq(&self.current.read().unwrap_or_else(PoisonError::into_inner).principals, principals)
    }

    /// Uses the file if it has changed.
    pub(super) fn look(&self) -> Result<(), AuthFileError> {
        let text = read(&self.file)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).text == text {
            return Ok(());
        }
        let principals = Arc::new(parse(&self.file, &text, self.scopes)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current { principals, text };
        tracing::info!("--auth-file has changed; requests are judged by the new one from now on");
        Ok(())
    }
}
