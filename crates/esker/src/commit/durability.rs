//! How durable a write is when its call returns.

/// What is true of a write when its call returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It survives the end of the process, however abrupt; it reaches the disk within the sync
    /// interval. A power loss before that takes a suffix of all writes, never one from the middle.
    #[default]
    Buffered,
    /// It is on disk, with every write before it.
    Sync,
}
