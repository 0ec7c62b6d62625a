//! The whole cluster as one node sees it.
//!
//! `peers` asks every member, this node included, and remembers what they said; `judgement` says
//! whether the cluster is well; `document` and `series` make JSON of it for the status page;
//! `overview` sees to it that any number of pages and questions costs one round per second.

mod document;
mod events;
mod judgement;
mod overview;
mod peers;
mod series;

pub(crate) use document::role;
pub(crate) use events::kind as event_kind;
pub(crate) use overview::Overview;
