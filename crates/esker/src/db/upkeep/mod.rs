//! What is done while nobody asks: flushing, compacting, cleaning, removing.
//!
//! ```text
//!   host        a commit needs a log, or room ─▶ wakes
//!   background  workers, woken ─▶ a unit of work each
//!   flush       a memtable ─▶ segments
//!   choice ─▶ plan ─▶ compact       which step is next ─▶ in which parts ─▶ carried out, published
//!     └ due                └ parts  what expires makes it worth one; whoever compacts takes some
//!   clean       blob files that are mostly dead ─▶ a new one
//!   steps       what is going on: files that nobody else may take
//! ```
//!
//! 1. Nothing here changes what a reader sees at any moment, nor what the proof of the manifest says.
//! 2. A unit that fails leaves nothing behind, and is tried again; one that panics is final (F-20, F-31).

pub(in crate::db) mod background;
mod choice;
mod clean;
mod compact;
mod due;
mod flush;
pub(in crate::db) mod host;
mod parts;
mod plan;
pub(in crate::db) mod steps;
