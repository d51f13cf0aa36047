//! What one moment shows of a collection.
//!
//! ```text
//!   collection ─ now, or at a snapshot ─▶ moment + view ─▶ stream   one value, or a part of it
//!                                                      └─▶ range    pairs, from both ends
//!                                                           └─▶ scans  keys, readers, what was removed
//! ```
//!
//! 1. A reader takes its moment first and its view then: the view is never older.
//! 2. What was read lives as long as it is held, whatever becomes of handle, files and database.
//! 3. Nothing here writes.

pub(crate) mod range;
pub(crate) mod scans;
pub(crate) mod stream;
