//! What is done while nobody asks: flushing, compacting, cleaning, removing.
//!
//! ```text
//!   host        a commit needs a log, or room ─▶ wakes
//!   background  workers, woken ─▶ a unit of work each
//!   flush       a memtable ─▶ segments
//!   steps       which compaction next ─▶ carried out ─▶ published
//!   parts       a large one, by several workers
//!   clean       blob files that are mostly dead ─▶ a new one
//!   due         when what expires is worth one
//! ```
//!
//! 1. Nothing here changes what a reader sees at any moment, nor what the proof of the manifest says.
//! 2. A unit that fails leaves nothing behind, and is tried again; one that panics is final (F-20, F-31).

pub(in crate::db) mod background;
mod clean;
mod due;
mod flush;
pub(in crate::db) mod host;
mod parts;
pub(in crate::db) mod steps;
