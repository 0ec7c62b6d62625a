//! Records of the log, which the log takes for bytes: entries, votes and log ids.

use std::io;

use openraft::RaftTypeConfig;
use openraft::entry::RaftEntry;
use openraft::type_config::alias::LogIdOf;
use serde::de::DeserializeOwned;

use crate::log::PurgePoint;

/// The index behind an entry. There is one behind each that is stored, and it is not the largest
/// number, which stands for a segment that has not been begun.
pub(crate) fn index_behind<C: RaftTypeConfig>(log_id: &LogIdOf<C>) -> io::Result<u64> {
    log_id.index.checked_add(1).filter(|end| *end < u64::MAX).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("no entry can follow entry {log_id}"))
    })
}

/// The point up to and including this entry.
pub(crate) fn purge_point<C: RaftTypeConfig>(last: &LogIdOf<C>) -> io::Result<PurgePoint> {
    Ok(PurgePoint { end: index_behind::<C>(last)?, log_id: codec::encode(last)?.into() })
}

/// The last entry that is purged.
pub(crate) fn purged_id<C: RaftTypeConfig>(point: &PurgePoint) -> Result<LogIdOf<C>, String> {
    let log_id: LogIdOf<C> = decode("purged id", &point.log_id)?;
    match log_id.index.checked_add(1) {
        Some(end) if end == point.end && end < u64::MAX => Ok(log_id),
        _ => Err(format!("purged id: entries before {} are purged, but the last is {log_id}", point.end)),
    }
}

/// The entry of this index.
pub(crate) fn entry<C: RaftTypeConfig>(index: u64, record: &[u8]) -> Result<C::Entry, String> {
    let entry: C::Entry = codec::decode(record).map_err(|e| format!("log entry {index}: {e}"))?;
    match entry.index() {
        found if found == index => Ok(entry),
        found => Err(format!("log entry {index} says it is entry {found}")),
    }
}

/// A record of the hard state.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, record: &[u8]) -> Result<T, String> {
    codec::decode(record).map_err(|e| format!("{what}: {e}"))
}
