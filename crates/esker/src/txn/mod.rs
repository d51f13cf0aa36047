//! Snapshots and serializable transactions.
//!
//! ```text
//!   begin    pin a snapshot
//!   read     own writes, else the snapshot      ─▶ Reads: keys and stretches of them
//!   write    ─▶ Writes: a batch, and what it says of each key
//!   commit   is any read newer than the snapshot? ─ no ─▶ the batch, at that very moment
//!                                                 └ yes ─▶ Conflict
//! ```
//!
//! Every read that led to the writes would give the same at the moment of the commit, so the
//! transaction might as well have happened then, all at once: that order is the serial one.

pub mod reads;
pub mod snapshot;
pub mod writes;
