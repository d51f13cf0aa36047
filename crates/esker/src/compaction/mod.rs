//! Which runs to merge, and merging them.
//!
//! [`policy`] is a pure function from the sizes of the runs to a choice; [`job`] carries it out.
//! Neither knows a version, a manifest or a snapshot: both are handed values.

pub mod job;
pub mod policy;
