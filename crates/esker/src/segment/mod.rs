//! Sorted files: written once, read in place, never opened for writing again.
//!
//! ```text
//! writer   entries in order ─▶ data blocks ─▶ filter ─▶ range tombstones ─▶ index ─▶ properties
//! reader   key ─▶ filter ─▶ top index ─▶ partition ─▶ data block ─▶ value, pinned where it lies
//! ```
//!
//! 1. Bytes are trusted only after their checksum was verified. A mapped piece is verified at its
//!    first touch and a bit remembers it; a piece that was read is verified before it is cached.
//! 2. Filter, index and data pieces are loaded when they are needed and may be evicted at any
//!    moment; a failure to load one is an error, never "absent" (HEST-10, F-28, F-40).
//! 3. The filter is asked before the index (law 8).
//!
//! The bytes: [`format`] for the file, [`block`], [`index`], [`filter`] and [`properties`] for its
//! pieces. After LevelDB's tables and RocksDB's partitioned index and filter.

mod ahead;
mod block;
mod cursor;
mod expiries;
mod fences;
mod filter;
mod format;
pub mod handle;
mod index;
mod point;
mod properties;
mod reader;
mod salvage;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use cursor::SegmentCursor;
pub use expiries::Expiries;
pub use fences::Fence;
pub use filter::filter_bits;
pub use point::Held;
pub use properties::SegmentMeta;
pub use reader::{Description, RangeTombstone, SegmentReader};
pub use salvage::{Salvaged, salvage};
pub use writer::{SegmentWriter, WriterOptions};
