//! Who asks, for the services behind the guard.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::{Extensions, Status};

use super::Refusals;
use super::Right;
use super::credential::{Credential, Unproven};
use super::principal::{Principal, Principals};
use super::refusals::Reason;
use super::shared::Shared;

/// Whom a request is of, and what it may do. Cheap to clone.
///
/// The guard of a port puts it into the extensions of each request ([`Caller::of`]). What it may do
/// is looked up anew when the file has changed, so that a stream which was opened before is held to
/// the new rights with its next request.
#[derive(Clone)]
pub struct Caller(Option<Arc<Known>>);

struct Known {
    shared: Arc<Shared>,
    refusals: Arc<Refusals>,
    credential: Credential,
    found: Mutex<Found>,
}

/// What was found, and in what.
struct Found {
    principals: Arc<Principals>,
    principal: Result<Arc<Principal>, Unproven>,
}

/// How far a right reaches.
#[derive(Debug, Clone)]
pub struct Scope(Option<Arc<Principal>>);

impl Scope {
    /// The entries of the principal's `scope`; none: everything, because no rights are asked for
    /// here.
    #[must_use]
    pub fn entries(&self) -> Option<&[String]> {
        self.0.as_deref().map(|principal| &principal.scope[..])
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_ref().map(|known| known.principal().map(|principal| principal.name.clone()));
        f.debug_tuple("Caller").field(&name).finish()
    }
}

impl Caller {
    /// Of a request to a node without `--auth-file`: it may do everything.
    pub(super) fn unrestricted() -> Self {
        Self(None)
    }

    /// Of a request that presents this, if it is known.
    pub(super) fn identified(
        shared: &Arc<Shared>,
        refusals: &Arc<Refusals>,
        credential: Credential,
    ) -> Result<Self, Unproven> {
        let principals = shared.principals();
        let principal = Arc::clone(credential.find(&principals)?);
        let found = Mutex::new(Found { principals, principal: Ok(principal) });
        let (shared, refusals) = (Arc::clone(shared), Arc::clone(refusals));
        Ok(Self(Some(Arc::new(Known { shared, refusals, credential, found }))))
    }

    /// Of the request that has these extensions.
    ///
    /// # Errors
    /// The request has not come by way of a node's port, so nothing is known of it.
    pub fn of(extensions: &Extensions) -> Result<Self, Status> {
        extensions.get::<Self>().cloned().ok_or_else(|| {
            Status::unauthenticated("the request has not passed the guard of a node's port; not applied")
        })
    }

    /// The scope within which the right holds.
    ///
    /// # Errors
    /// UNAUTHENTICATED or PERMISSION_DENIED: the principal is gone, or has not this right.
    pub fn may(&self, right: Right) -> Result<Scope, Status> {
        let Some(known) = &self.0 else { return Ok(Scope(None)) };
        match known.principal() {
            Ok(principal) if principal.has(right) => Ok(Scope(Some(principal))),
            Ok(principal) => Err(known.refuse(Reason::Lacks { principal, right, needed_by: "this" })),
            Err(unproven) => Err(known.refuse(Reason::Unproven(unproven))),
        }
    }

    /// The refusal of what is outside of the scope: `what`, as in `the key 'a'`.
    #[must_use]
    pub fn outside(&self, what: &dyn fmt::Display) -> Status {
        match &self.0 {
            // Without a scope there is nothing outside of it.
            None => Status::internal(format!("{what} is outside of no scope; not applied")),
            Some(known) => match known.principal() {
                Ok(principal) => known.refuse(Reason::Outside { principal, what: what.to_string() }),
                Err(unproven) => known.refuse(Reason::Unproven(unproven)),
            },
        }
    }

    /// Whether a path that needs this right may be asked for.
    pub(super) fn check<'a>(&self, right: Right, needed_by: &'a str) -> Result<(), Reason<'a>> {
        let Some(known) = &self.0 else { return Ok(()) };
        let principal = known.principal().map_err(Reason::Unproven)?;
        match principal.has(right) {
            true => Ok(()),
            false => Err(Reason::Lacks { principal, right, needed_by }),
        }
    }
}

impl Known {
    fn principal(&self) -> Result<Arc<Principal>, Unproven> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.shared.are_current(&found.principals) {
            let principals = self.shared.principals();
            let principal = self.credential.find(&principals).cloned();
            *found = Found { principals, principal };
        }
        found.principal.clone()
    }

    fn refuse(&self, reason: Reason<'_>) -> Status {
        self.refusals.note(&reason, None);
        reason.status()
    }
}
