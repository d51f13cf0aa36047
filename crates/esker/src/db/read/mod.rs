//! What one moment shows of a collection.
//!
//! ```text
//!   get     collection ─ now, or at a snapshot ─▶ moment + view ─▶ a value
//!   reader                                             ├─▶ a value, piece by piece
//!   range                                              └─▶ pairs, from both ends
//!   scans                                                   └─▶ keys, readers, what was removed
//! ```
//!
//! 1. A reader takes its moment first and its view then: the view is never older.
//! 2. What was read lives as long as it is held, whatever becomes of handle, files and database.
//! 3. Nothing here writes.

mod get;
pub(crate) mod range;
pub(crate) mod reader;
pub(crate) mod scans;
