//! The whole cluster as one node sees it, for the status page: `/api/cluster` and `/api/cluster/history`.
//!
//! `peers` asks every member, this node included, and remembers what they said; `document` and `series` make JSON of
//! it; `overview` sees to it that any number of pages costs one round of questions per second.

mod document;
mod events;
mod overview;
mod peers;
mod series;

pub(super) use events::kind as event_kind;
pub(super) use overview::Overview;
