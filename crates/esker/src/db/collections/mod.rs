//! Which collections there are, and the handles that users hold on them.
//!
//! ```text
//!   verbs       opened, listed, renamed, deleted, configured ─▶ changes
//!   draft       changes ─▶ the catalog as one commit will leave it
//!   catalog     path ─▶ identity          from the records of the system collection
//!   identity    what all handles share    settings   what is set for it
//!   collection  the handles: a collection, a snapshot, and the one as the other sees it
//! ```
//!
//! 1. The catalog in memory changes in the order of commits, under its own lock; what it says is what
//!    its records say (MOSS-9).
//! 2. Handles are told apart by identity, never by path.

pub(in crate::db) mod catalog;
pub(crate) mod collection;
pub(in crate::db) mod draft;
pub(in crate::db) mod identity;
pub(in crate::db) mod records;
pub(crate) mod settings;
mod verbs;
