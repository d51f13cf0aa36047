//! Snapshots: which old versions must be kept, and for whom.

pub mod snapshot;
