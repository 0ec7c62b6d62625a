//! How much is in flight at once. Beyond it a request is refused with RESOURCE_EXHAUSTED, so that
//! overload costs the clients patience and not this node its memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// Requests being worked on, scans apart.
pub(super) const MAX_REQUESTS_IN_FLIGHT: usize = 4096;
/// Scans being worked on; each holds up to one response of a megabyte.
pub(super) const MAX_SCANS_IN_FLIGHT: usize = 64;
/// Backups being sent; each reads the whole state, and keeps its tables on the disk.
pub(super) const MAX_BACKUPS_IN_FLIGHT: usize = 2;
/// Keys and values of the writes being worked on.
pub(super) const MAX_WRITE_BYTES_IN_FLIGHT: usize = 256 * 1024 * 1024;

/// The places for requests.
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    backups: Arc<Semaphore>,
    write_bytes: Arc<Semaphore>,
}

/// A place among the requests in flight, given up when dropped.
#[derive(Debug)]
pub struct Place(#[allow(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Admission {
    pub(crate) fn new() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(MAX_REQUESTS_IN_FLIGHT)),
            scans: Arc::new(Semaphore::new(MAX_SCANS_IN_FLIGHT)),
            backups: Arc::new(Semaphore::new(MAX_BACKUPS_IN_FLIGHT)),
            write_bytes: Arc::new(Semaphore::new(MAX_WRITE_BYTES_IN_FLIGHT)),
        }
    }

    pub(crate) fn request(&self) -> Result<Place, Status> {
        take(&self.requests, 1, || format!("{MAX_REQUESTS_IN_FLIGHT} requests are in flight"))
    }

    /// Whether no request is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.available_permits() == MAX_REQUESTS_IN_FLIGHT
    }

    pub(crate) fn scan(&self) -> Result<Place, Status> {
        take(&self.scans, 1, || format!("{MAX_SCANS_IN_FLIGHT} scans are in flight"))
    }

    pub(crate) fn backup(&self) -> Result<Place, Status> {
        take(&self.backups, 1, || format!("{MAX_BACKUPS_IN_FLIGHT} backups are being sent by this node"))
    }

    pub(crate) fn write(&self, bytes: usize) -> Result<Place, Status> {
        take(&self.write_bytes, bytes, || {
            format!("writes of {MAX_WRITE_BYTES_IN_FLIGHT} bytes are in flight")
        })
    }
}

fn take(places: &Arc<Semaphore>, count: usize, full: impl FnOnce() -> String) -> Result<Place, Status> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    match Arc::clone(places).try_acquire_many_owned(count) {
        Ok(permit) => Ok(Place(permit)),
        Err(_) => Err(Status::resource_exhausted(format!("{}; not applied, try again later", full()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_refuses_until_somebody_leaves() {
        let admission = Admission::new();
        let mut places: Vec<_> = (0..MAX_SCANS_IN_FLIGHT).map(|_| admission.scan().unwrap()).collect();
        assert_eq!(admission.scan().unwrap_err().code(), tonic::Code::ResourceExhausted);
        places.pop();
        admission.scan().unwrap();
        assert!(admission.is_empty());
        let request = admission.request().unwrap();
        assert!(!admission.is_empty());
        drop(request);
        assert!(admission.is_empty());
    }
}
