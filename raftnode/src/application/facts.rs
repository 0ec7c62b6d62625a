//! What a backup says of the state that it is of.

use std::any::Any;
use std::sync::Arc;

use super::hosted::{Ask, Host, meta_of};
use super::place::Meta;

/// How far a state is, in the framework's numbers and in the application's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) meta: Meta,
    pub(crate) revision: Option<u64>,
}

/// Asks for them.
pub(crate) fn facts(host: &Arc<dyn Host>) -> Ask {
    let host = Arc::clone(host);
    Box::new(move |view| {
        let meta = meta_of(view.get(&Meta::KEY)?.as_deref())?;
        Ok(Box::new(Facts { meta, revision: host.revision(view)? }))
    })
}

/// What came back.
pub(crate) fn facts_found(found: &(dyn Any + Send)) -> Facts {
    debug_assert!(found.is::<Facts>(), "the answer to `facts`");
    found.downcast_ref().copied().unwrap_or_default()
}
