//! Who may do what.
//!
//! `--auth-file` names principals (`file`). A principal is known by the name in its certificate
//! or by a token, of which the file has the hash (`token`), and has rights and, where the
//! application knows scopes, a scope. `Auth` keeps what the file says now and rereads it.
//!
//! Every request of every service passes the `Guard` of its port before it reaches any service: the
//! guard finds the principal, looks up which right the path needs (`needs`; what is not listed
//! there needs the right to administer), and refuses or lets through. It puts a [`Caller`] into the
//! request: an application asks it within which scope a right holds. A request is checked once, by
//! the node that a client asks: what nodes pass on to each other goes over the port for peers.

mod caller;
mod credential;
mod file;
mod guard;
mod needs;
mod principal;
mod refusals;
mod shared;
#[cfg(test)]
mod tests;
mod token;

pub use caller::{Caller, Scope};
pub use file::AuthFileError;
pub(crate) use guard::{Guard, guarded};
pub use needs::Needs;
pub(crate) use needs::NeedsOf;
pub use principal::Right;
pub(crate) use principal::ScopeCheck;
pub(crate) use refusals::Refusals;
pub(crate) use shared::{Auth, AuthError};
pub use token::{NotAHash, TokenHash, new_token};
