//! What a node can do.

use std::sync::Arc;

use crate::api::Api;
use crate::standing::Faulty;

/// What a handle of a node has behind it.
#[derive(Clone)]
pub(super) enum Part {
    /// Everything.
    Serving(Arc<Api>),
    /// Its storage could not be opened: it refuses everything, and says why.
    Faulty(Arc<Faulty>),
}
