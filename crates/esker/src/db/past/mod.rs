//! Moments that have names: kept over reopenings, and come back to.
//!
//! ```text
//!   named    a moment ─ name ─▶ a record, and a pin ─ forget ─▶ let go
//!   revert   a named moment ─▶ one write that says again what was true then
//! ```
//!
//! 1. A name and the versions that it sees are in the same files, or the name is not there at all.
//! 2. History only grows: a revert is a write as any other.

pub(in crate::db) mod named;
mod revert;
