//! Reading all of a database without holding it in memory.

use bytes::Bytes;

use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;

/// Pairs read at once.
const PAGE: ScanLimit = ScanLimit { pairs: 4096, bytes: 1 << 20 };

/// Calls `page` with some pairs at a time until there are no more.
pub(super) fn each_page(
    mut scan: impl FnMut(&KeyRange, ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError>,
    mut page: impl FnMut(&[(Bytes, Bytes)]),
) -> Result<(), StorageError> {
    let mut range = KeyRange::all();
    loop {
        let pairs = scan(&range, PAGE)?;
        let Some((last, _)) = pairs.last() else { return Ok(()) };
        range.start = Bytes::from([last, &[0][..]].concat());
        page(&pairs);
    }
}
