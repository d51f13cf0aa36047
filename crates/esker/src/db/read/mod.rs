//! What one moment shows of a collection.
//!
//! ```text
//!   get     collection ─ now, or at a snapshot ─▶ moment + view ─▶ a value
//!   reader                                             ├─▶ a value, piece by piece
//!   range                                              └─▶ pairs, from both ends
//!   scans                                                   └─▶ keys, readers, what was removed
//! ```
//!
//! 1. What pins its moment loads the view after that: it is as new as the pin. What pins nothing loads
//!    the view first: nothing that its moment, taken then, needs was dropped from it.
//! 2. What was read lives as long as it is held, whatever becomes of handle, files and database.
//! 3. Nothing here writes.

mod get;
pub(crate) mod range;
pub(crate) mod reader;
pub(crate) mod scans;
