//! Values only: errors, ids, keys, operations, coding, checksums.
//!
//! Everything above speaks in these nouns. Nothing here does I/O, takes a lock or starts a thread.

pub mod batch;
pub mod blob;
pub mod codec;
pub mod coding;
pub mod cursor;
pub mod entry;
pub mod error;
pub mod id;
pub mod key;
pub mod keyset;
pub mod setsum;
pub mod span;
pub mod time;
pub mod value;
