//! Paged files: LevelDB's tables.

use storage_leveldb::testing::formats::{PagedTable, write_paged};

use crate::damage::damage;
use crate::input::Input;
use crate::reference;

const NAME: &str = "000007.ldb";
const MAX_READS: usize = 16;

/// A table as it was written, then damaged, or any bytes: every read answers what `docs/FORMAT.md`
/// says, or an error.
pub fn paged_table(data: &[u8]) {
    let mut input = Input::new(data);
    let written = (!input.flag()).then(|| payload(&mut input));
    let mut file = match &written {
        Some(payload) => write_paged(NAME, payload).unwrap(),
        None => input.sized().to_vec(),
    };
    let reads: Vec<(u64, usize)> =
        (0..usize::from(input.u8()) % MAX_READS).map(|_| read(&mut input)).collect();
    if let Some(payload) = &written {
        assert_eq!(reference::paged_read(NAME, &file, 0, payload.len()).as_ref(), Some(payload));
    }
    damage(&mut file, &mut input);

    let table = match PagedTable::open(NAME, &file) {
        Ok(table) => table,
        Err(_) => return assert_eq!(reference::paged_len(NAME, &file), None, "a good trailer is refused"),
    };
    assert_eq!(Some(table.payload_len()), reference::paged_len(NAME, &file));
    assert!(table.payload_len() <= file.len() as u64);
    for (offset, len) in reads {
        let mut buf = vec![0xa5; len];
        let found = table.read_at(offset, &mut buf).ok().map(|n| {
            assert!(buf[n..].iter().all(|byte| *byte == 0xa5), "wrote behind what it answers");
            buf[..n].to_vec()
        });
        assert_eq!(found, reference::paged_read(NAME, &file, offset, len), "{len} bytes at {offset}");
    }
}

/// Up to four pages, no two bytes in a row the same.
fn payload(input: &mut Input<'_>) -> Vec<u8> {
    let len = usize::from(input.u16()) % (4 * 4092 + 2);
    (0..len).map(|i| (i % 251) as u8).collect()
}

fn read(input: &mut Input<'_>) -> (u64, usize) {
    let offset = match input.u8() {
        255 => input.u64(),
        _ => u64::from(input.u16()),
    };
    (offset, usize::from(input.u16()) % 10_000)
}
