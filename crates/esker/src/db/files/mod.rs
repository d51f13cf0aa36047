//! How files become part of the database, and are its own from then on.
//!
//! ```text
//!   ledger    numbers for files; the manifest, one edit at a time
//!   outputs   what jobs write, and files that go
//!   publish   edit ─ durable ─▶ version ─▶ readers
//!   large     where large values stay: a log that becomes a blob file, or a new one
//!   keep      logs that the change feed may still read
//!   copy      bytes of files that never change, and what proves them
//! ```
//!
//! 1. A file counts once the manifest names it, durably; until then the next open removes it (F-11).
//! 2. Only then is it shown, and only then are those doomed whose place it takes (laws 5 and 7).

pub(in crate::db) mod copy;
pub(in crate::db) mod keep;
pub(in crate::db) mod large;
pub(in crate::db) mod ledger;
mod outputs;
mod publish;
