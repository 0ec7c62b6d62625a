//! Tables in LevelDB: a directory that is filled once, in key order, through rusty-leveldb, and
//! from then on read here.
//!
//! Written by rusty-leveldb ([`writer`]) and read without it: its `DB` has one user at a time, and
//! a `get` costs some 10 µs where one page cache hit costs two. What is read is LevelDB's table
//! file format:
//!
//! ```text
//! NNNNNN.ldb   data blocks, each with its trailer | filter block | metaindex block | index block | footer
//! trailer      compression u8 (0: none) | LevelDB's checksum u32
//! ```
//!
//! Every page below is verified as it is read ([`crate::file::paged`]), so LevelDB's own checksums
//! are not. What the pages hold is still not trusted: whatever makes no sense is a fault that names
//! the file, never a missing key.
//!
//! Top down: [`reader`] has the table files of one table in key order, and [`table_cache`] keeps
//! some of all tables' [`table`]s open; a table file consists of its [`index`], its [`filter`] and
//! [`block`]s, and what a scan finds there goes to a [`page`]. [`layout`] has the numbers they
//! share.

mod block;
mod filter;
mod index;
mod layout;
mod order;
mod page;
mod reader;
mod separators;
mod table_cache;
mod table_file;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use reader::LevelDbTable;
pub(super) use table_cache::TableCache;
pub(super) use writer::LevelDbTableWriter;

/// What makes no sense in the bytes of a file.
type Damage = &'static str;
