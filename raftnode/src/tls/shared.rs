//! The newest certificates, for all that need them.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;

use super::{Current, NodeName, PortTls, TlsError};
use crate::config::{NodeConfig, TlsOptions};
use crate::throttle::Persistent;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A certificate that ends within this is worth a line in the log, once when it is read and then
/// each [`REMIND_INTERVAL`].
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// Between two such lines.
const REMIND_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// One of the three listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// For clients.
    Client,
    /// For peers: consensus, and requests of clients that nodes pass on.
    Peer,
    /// For HTTP.
    Http,
}

impl Port {
    /// As in the label of a series.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Http => "http",
        }
    }
}

/// The certificates, keys and CAs of this node. Cheap to clone; clones see the same.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: TlsOptions,
    own: NodeName,
    current: RwLock<Arc<Current>>,
}

impl Tls {
    /// Reads the files that the configuration names. Blocks on the disk.
    ///
    /// # Errors
    /// The first thing that is wrong with them. A certificate that has expired is logged, and can
    /// be replaced while the node runs.
    pub(crate) fn load(config: &NodeConfig) -> Result<Self, TlsError> {
        let options = config.tls.clone();
        if let Some(problem) = options.problems(&config.cluster_name).into_iter().next() {
            return Err(problem.into());
        }
        let own = NodeName { cluster: config.cluster_name.clone(), id: config.id };
        let current = RwLock::new(Arc::new(Current::read(&options, &own)?));
        Ok(Self(Arc::new(Shared { options, own, current })))
    }

    /// No TLS anywhere.
    #[cfg(test)]
    pub(crate) fn off() -> Self {
        let address = "localhost:1".parse::<crate::Address>().expect("it is host:port");
        let config = NodeConfig::new(1, std::path::PathBuf::new(), address.clone(), address.clone(), address);
        Self::load(&config).expect("there is no file")
    }

    pub(super) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn allows_plaintext(&self) -> bool {
        self.0.options.allow_plaintext
    }

    /// TLS for connections to a port; none: it has none.
    pub(crate) fn port(&self, port: Port) -> Option<PortTls> {
        let options = &self.0.options;
        let (has_tls, has_own) = match port {
            // Nodes prove themselves there as well, whether or not clients have TLS.
            Port::Client => (options.peer_cert.is_some(), options.client_cert.is_some()),
            Port::Peer => (options.peer_cert.is_some(), true),
            Port::Http => (options.http_cert.is_some(), true),
        };
        has_tls.then(|| PortTls::new(self.clone(), port, options.allow_plaintext || !has_own))
    }

    /// For how many more seconds the certificate of each port that has one is valid; less than 0:
    /// it has expired.
    pub(crate) fn expiry_seconds(&self) -> Vec<(Port, i64)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.current().expiry.iter().map(|(port, until)| (*port, until.saturating_sub(now))).collect()
    }

    /// Looks at the files for ever, and uses what has changed.
    pub(crate) async fn watch(self) {
        if self.current().expiry.is_empty() {
            return;
        }
        let (mut wrong, mut reminded) = (Persistent::default(), None);
        loop {
            if reminded.is_none_or(|at: tokio::time::Instant| at.elapsed() >= REMIND_INTERVAL) {
                reminded = Some(tokio::time::Instant::now());
                self.say_expiry();
            }
            sleep(LOOK_INTERVAL).await;
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.look()).await {
                Ok(Ok(is_new)) => {
                    wrong.is_over();
                    reminded = reminded.filter(|_| !is_new);
                }
                Ok(Err(e)) => {
                    let text = e.to_string();
                    // The two files of a pair are seldom replaced at the same instant.
                    if wrong.is_news(&text) {
                        tracing::error!(
                            "a changed certificate, key or CA is not used, and the old one stays: {text}"
                        );
                    }
                }
                Err(e) => tracing::error!("cannot look at certificates: {e}"),
            }
        }
    }

    /// Uses the files if they have changed; answers whether they have.
    fn look(&self) -> Result<bool, TlsError> {
        let Shared { options, own, current } = &*self.0;
        if self.current().is_current(options) {
            return Ok(false);
        }
        let new = Arc::new(Current::read(options, own)?);
        *current.write().unwrap_or_else(PoisonError::into_inner) = new;
        tracing::info!(
            "certificates, keys or CAs have changed; connections are made with the new ones from now on"
        );
        Ok(true)
    }

    fn say_expiry(&self) {
        for (port, seconds) in self.expiry_seconds() {
            let port = port.label();
            if seconds <= 0 {
                tracing::error!(
                    "the certificate of the {port} port has expired, and connections are refused; replace its file, \
                     --{port}-cert (it is read again by itself)"
                );
            } else if seconds.unsigned_abs() < EXPIRES_SOON.as_secs() {
                let days = seconds / (24 * 3600);
                tracing::warn!(
                    "the certificate of the {port} port expires in {days} days; replace its file, --{port}-cert (it is \
                     read again by itself)"
                );
            }
        }
    }
}
