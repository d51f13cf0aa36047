//! The levels: what a reader finds, and how the newest level becomes a file.
//!
//! ```text
//!   View ── memtables   newest first; the first is being written
//!        └─ Version ── runs        newest first, disjoint in sequence numbers
//!                      └─ segments ascending, disjoint in keys
//! ```
//!
//! 1. Sources are asked newest first, and the first that knows the key decides: "deleted" is an
//!    answer (law 3; MOSS-19, SST-K1).
//!    What it knows may still be covered by a range delete, wherever that lies.
//! 2. A view is swapped whole, never edited in place; whoever holds one reads it undisturbed.

pub mod changed;
pub mod estimate;
pub mod flush;
pub mod gaps;
pub mod large;
pub mod newer;
mod operands;
pub mod scan;
pub mod spans;
pub mod version;
pub mod view;

#[cfg(test)]
mod tests;
