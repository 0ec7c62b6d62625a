//! Mistakes that an author can make, each in an application of a few lines, and the test of
//! `raftnode::testing` that finds it.

mod clusters;
mod nondeterministic;
mod outside;
mod support;
mod unreadable;
mod vacuous;
