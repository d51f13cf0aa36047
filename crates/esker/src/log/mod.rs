//! Framed appends and strict replay: the write-ahead log, byte for byte in the `sst` crate's format.
//!
//! ```text
//! commit   LogTail::reserve (under the caller's lock) → Reservation::fill (in parallel) → LogFile::sync
//! recover  LogReader::next, until it ends, or says what is damaged
//! follow   Follower::next, up to where the log is durable
//! read     large::read_value, for a value that stayed in its log
//! ```
//!
//! This room knows frames, entries and marks. It does not know collections, memtables or the
//! manifest: what those promise about a log is handed down as a [`reader::Promise`].

pub mod dump;
pub mod follow;
pub mod frame;
pub mod large;
pub mod locate;
pub mod marks;
pub mod reader;
pub mod writer;
