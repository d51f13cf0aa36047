//! Operations on their way in.
//!
//! ```text
//!   insert, merging, writer ─────────▶ commit: log ─▶ memtable ─▶ visible
//!   slot ─▶ batch ───────────────────▶
//!   ingest ─▶ sorted ─▶ segments ────▶ a place in the order ─▶ edit ─▶ visible
//! ```
//!
//! 1. What is over a limit, or of another database, is refused before anything is written.
//! 2. All of a write becomes visible at once, and in the order of its number.

pub(crate) mod batch;
mod ingest;
mod insert;
mod merging;
mod slot;
pub(in crate::db) mod sorted;
pub(crate) mod writer;
