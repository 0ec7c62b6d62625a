//! Whether clients have to say who they are, and what they may do.

use std::path::PathBuf;

use super::TlsOptions;

/// Principals and their rights. None: whatever reaches a port may do everything.
///
/// `docs/operations/rights.md` says what the file holds, and what needs which right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "args", derive(clap::Args))]
pub struct AuthOptions {
    /// Serve the principals in this file (TOML) and no others, each within its rights
    #[cfg_attr(feature = "args", arg(long, env = "NODE_AUTH_FILE", value_name = "FILE"))]
    pub auth_file: Option<PathBuf>,
    /// Take tokens, and requests that nodes pass on, over connections without TLS as well: where no
    /// other program can read or reach them
    #[cfg_attr(feature = "args", arg(long, env = "NODE_AUTH_OVER_PLAINTEXT"))]
    pub auth_over_plaintext: bool,
}

/// Options of rights that do not go together, or with those of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthOptionsError {
    /// There is no principal.
    #[error("--auth-over-plaintext is given without --auth-file; leave it out, or give --auth-file")]
    NothingToAllow,
    /// Anything could pass requests on.
    #[error(
        "--auth-file is given without --peer-cert: what reaches the port for peers could pass requests on that no node has \
         checked; give --peer-cert, or --auth-over-plaintext where no other program reaches that port"
    )]
    UnprovenPeers,
    /// No client could say who it is.
    #[error(
        "--auth-file is given without --client-cert: clients need TLS to prove who they are; give --client-cert, or \
         --auth-over-plaintext where no other program can read their tokens"
    )]
    UnprovenClients,
    /// TLS may be left out.
    #[error(
        "--auth-file and --allow-plaintext are given: what reaches the port for peers without TLS could pass requests on that \
         no node has checked; leave --allow-plaintext out, or give --auth-over-plaintext until the change to TLS is done"
    )]
    MayBePlain,
}

impl AuthOptions {
    /// Everything that does not go together.
    #[must_use]
    pub fn problems(&self, tls: &TlsOptions) -> Vec<AuthOptionsError> {
        match (self.auth_file.is_some(), self.auth_over_plaintext) {
            (false, true) => vec![AuthOptionsError::NothingToAllow],
            (true, false) => [
                (tls.peer_cert.is_none(), AuthOptionsError::UnprovenPeers),
                (tls.client_cert.is_none(), AuthOptionsError::UnprovenClients),
                (tls.allow_plaintext, AuthOptionsError::MayBePlain),
            ]
            .into_iter()
            .filter_map(|(is_so, problem)| is_so.then_some(problem))
            .collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_without_tls_are_asked_for_by_name() {
        let (file, some) = (Some(PathBuf::from("auth.toml")), Some(PathBuf::from("f")));
        let plain = TlsOptions::default();
        let secured = TlsOptions { peer_cert: some.clone(), client_cert: some, ..TlsOptions::default() };
        let changing = TlsOptions { allow_plaintext: true, ..secured.clone() };
        let options = |auth_file, auth_over_plaintext| AuthOptions { auth_file, auth_over_plaintext };
        use AuthOptionsError::{MayBePlain, NothingToAllow, UnprovenClients, UnprovenPeers};
        for (options, tls, problems) in [
            (options(None, false), &plain, &[][..]),
            (options(None, true), &secured, &[NothingToAllow]),
            (options(file.clone(), false), &plain, &[UnprovenPeers, UnprovenClients]),
            (options(file.clone(), false), &secured, &[]),
            (options(file.clone(), false), &changing, &[MayBePlain]),
            (options(file.clone(), true), &plain, &[]),
            (options(file, true), &changing, &[]),
        ] {
            assert_eq!(options.problems(tls), problems, "{options:?}");
        }
    }
}
