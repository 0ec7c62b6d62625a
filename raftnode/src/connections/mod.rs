//! Connections of all three listeners: how many there may be, and which of them have to go.
//!
//! Anything that reaches a port may connect, and a connection costs a descriptor, of which the
//! storage needs some too. So each listener has a number of places of its own
//! ([`ConnectionLimits`]), a connection holds one until it ends ([`Places`]), and [`Incoming`]
//! accepts only as many as there are places. A connection that has sent nothing is closed after a
//! while; where places are scarce, one without a request under way makes room for the next.
//! [`counted`] tells which have one. On a port with TLS the handshake comes between the place and
//! the first request.

mod accepted;
mod clock;
mod connection;
mod door;
mod incoming;
mod limits;
mod places;
mod refused;
mod requests;

pub(crate) use clock::{CLOCK_ADVICE, is_before_1970};
pub(crate) use connection::{Connection, Origin};
pub(crate) use incoming::Incoming;
pub(crate) use limits::ConnectionLimits;
pub(crate) use places::{Patience, Place, Places, Requests, UnderWay};
pub(crate) use requests::{LongLived, counted};
