//! The change feed: what was committed, for whoever follows.
//!
//! ```text
//!   kept logs ─▶ live logs ─ durable so far ─▶ changes ─ frame by frame ─▶ change
//! ```
//!
//! 1. Every change once, in order, or an error in its place; and only what no crash takes back (F-15).
//! 2. A feed reads logs, and holds none of them back.

pub(crate) mod change;
pub(crate) mod changes;
