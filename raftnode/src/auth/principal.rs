//! A principal and its rights, and all of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::TokenHash;

/// What a principal may be allowed. None includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// To read what the application stores; metrics and the status page as well.
    Read,
    /// To change what the application stores.
    Write,
    /// To change the cluster: membership, leadership, snapshots.
    Admin,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// Whether an entry of a scope is one, for the application.
pub(crate) type ScopeCheck = fn(&str) -> Result<(), String>;

/// Who is known, and may do what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Principal {
    /// For messages.
    pub(super) name: String,
    pub(super) rights: Vec<Right>,
    /// In the application's words; empty: nothing.
    pub(super) scope: Vec<String>,
}

impl Principal {
    pub(super) fn has(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}

/// All principals of a file, by what they prove themselves with.
#[derive(Debug, Default)]
pub(super) struct Principals {
    pub(super) certificates: HashMap<String, Arc<Principal>>,
    pub(super) tokens: Vec<(TokenHash, Arc<Principal>)>,
}

impl Principals {
    pub(super) fn with_certificate(&self, name: &str) -> Option<&Arc<Principal>> {
        self.certificates.get(name)
    }

    /// Looks at all of them, whichever it is.
    pub(super) fn with_token(&self, presented: &TokenHash) -> Option<&Arc<Principal>> {
        let mut found = None;
        for (hash, principal) in &self.tokens {
            if hash.is(presented) {
                found = Some(principal);
            }
        }
        found
    }
}
