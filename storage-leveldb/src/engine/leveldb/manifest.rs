//! Which files a LevelDB consists of, as its MANIFEST tells.
//!
//! A MANIFEST is a list of changes ("version edits"): fields of a tag and its value, integers as
//! varints.

use std::collections::BTreeMap;

use super::records::Records;

const COMPARATOR: u64 = 1;
const LOG_NUMBER: u64 = 2;
const NEXT_FILE_NUMBER: u64 = 3;
const LAST_SEQUENCE: u64 = 4;
const COMPACT_POINTER: u64 = 5;
const DELETED_FILE: u64 = 6;
const NEW_FILE: u64 = 7;
const PREVIOUS_LOG_NUMBER: u64 = 9;

/// Tables by level and number.
type Levels = BTreeMap<(u64, u64), LiveTable>;

/// What MANIFEST tells of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LiveTable {
    /// How many bytes LevelDB wrote to it.
    pub(crate) payload_bytes: u64,
    /// Its first key, with LevelDB's eight bytes of sequence number and type.
    pub(crate) smallest: Vec<u8>,
    /// Its last key, the same way.
    pub(crate) largest: Vec<u8>,
}

/// The files that count, by number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveFiles {
    pub(crate) tables: BTreeMap<u64, LiveTable>,
    /// The log being written when the MANIFEST was; it and those after it count.
    pub(crate) log_number: u64,
    /// An older log that counts, too; 0: none.
    pub(crate) previous_log_number: u64,
}

impl LiveFiles {
    /// Reads the stream in a MANIFEST.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(stream: &[u8]) -> Result<Self, String> {
        let mut levels = Levels::new();
        let mut live = Self::default();
        let mut records = 0_u64;
        for record in Records::of(stream) {
            let record = record?;
            let mut fields = Fields(&record);
            live.apply(&mut fields, &mut levels)
                .map_err(|reason| format!("LevelDB's version edit {records}: {reason}"))?;
            records += 1;
        }
        if records == 0 {
            return Err("it has no whole record".to_owned());
        }
        live.tables = levels.into_iter().map(|((_, number), table)| (number, table)).collect();
        Ok(live)
    }

    pub(crate) fn has_log(&self, number: u64) -> bool {
        number >= self.log_number || (number != 0 && number == self.previous_log_number)
    }

    fn apply(&mut self, fields: &mut Fields<'_>, levels: &mut Levels) -> Result<(), String> {
        while !fields.0.is_empty() {
            match fields.varint()? {
                LOG_NUMBER => self.log_number = fields.varint()?,
                PREVIOUS_LOG_NUMBER => self.previous_log_number = fields.varint()?,
                NEXT_FILE_NUMBER | LAST_SEQUENCE => drop(fields.varint()?),
                COMPARATOR => drop(fields.bytes()?),
                COMPACT_POINTER => {
                    fields.varint()?;
                    fields.bytes()?;
                }
                DELETED_FILE => {
                    let file = (fields.varint()?, fields.varint()?);
                    levels.remove(&file);
                }
                NEW_FILE => {
                    let file = (fields.varint()?, fields.varint()?);
                    let payload_bytes = fields.varint()?;
                    let (smallest, largest) = (fields.bytes()?.to_vec(), fields.bytes()?.to_vec());
                    levels.insert(file, LiveTable { payload_bytes, smallest, largest });
                }
                tag => return Err(format!("unknown tag {tag}")),
            }
        }
        Ok(())
    }
}

/// What is left of a version edit.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("it ends within a number")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long".to_owned())
    }

    /// A length and as many bytes.
    fn bytes(&mut self) -> Result<&'a [u8], String> {
        let len = usize::try_from(self.varint()?).map_err(|_| "a key is too long")?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or("it ends within a key")?;
        self.0 = rest;
        Ok(bytes)
    }
}
