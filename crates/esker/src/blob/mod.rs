//! Large values, out of line.
//!
//! ```text
//!   blob-000041   a log that was taken over as it is: a value lies at the offset in its address
//!   blob-000057   values of other files, by address, and a table: address → offset
//!
//!   BlobWriter    values in order of addresses ─▶ a file with a table
//!   BlobReader    ref ─▶ value;  walk ─▶ all values, everything verified
//!   LiveBlobs     address ─▶ Blob, opened at first use, one of a bounded number
//! ```
//!
//! 1. A blob file is never opened for writing again. Its addresses are its own: no two live files
//!    cover the same one.
//! 2. What takes a value's place in segments names its address, never its file: which file answers
//!    for an address is looked up when it is read (MACE-1).
//! 3. A value that is read is the one that was written, or the read is an error: its digest is in
//!    its ref.

mod format;
mod handle;
mod live;
mod reader;
mod salvage;
#[cfg(test)]
mod tests;
mod writer;

pub use handle::{Blob, BlobShelf};
pub use live::LiveBlobs;
pub use reader::BlobReader;
pub use salvage::Values;
pub use writer::BlobWriter;

use crate::base::blob::{Address, BlobRef};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;

/// What the manifest keeps of a blob file, and cleaning needs to choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobMeta {
    /// The number in its name.
    pub id: FileId,
    /// Its length.
    pub bytes: u64,
    /// How many values were in it when it became live, dead or not.
    pub values: u64,
    /// Their bytes, as stored.
    pub stored_bytes: u64,
    /// In a log that was taken over: shorter values are not among them, they were kept in line. 0 in
    /// a file that has a table.
    pub least: u32,
    /// The sum of all of them.
    pub setsum: Setsum,
    /// The addresses it answers for, ascending, disjoint; both ends included.
    pub intervals: Vec<(Address, Address)>,
}

impl BlobMeta {
    /// What `log`, cut to its end at `length` and linked under its new name, is as a blob file: all
    /// its values of at least `least` bytes are large, and `refs` are those, dead or not.
    pub fn adopted(log: FileId, length: u64, least: u32, refs: &[BlobRef]) -> Self {
        let mut totals = format::Totals::default();
        refs.iter().for_each(|blob| totals.add(blob));
        let first = Address::new(log, 0);
        let interval = first.zip(Address::new(log, length.saturating_sub(1)));
        let format::Totals { values, stored_bytes, setsum } = totals;
        let intervals = interval.into_iter().collect();
        Self {
            id: log,
            bytes: length,
            values,
            stored_bytes,
            least: least.max(1),
            setsum,
            intervals,
        }
    }

    /// What a cleaning would free if `live_bytes` of `live_values` are live: the rest, but for what a
    /// file of those has beside them.
    pub fn garbage_bytes(&self, live_values: u64, live_bytes: u64) -> u64 {
        let (values, intervals) = (u128::from(live_values), self.intervals.len() as u128);
        let tables =
            values * format::ENTRY_BYTES as u128 + intervals * format::INTERVAL_BYTES as u128;
        let kept = u128::from(live_bytes) + tables + format::FOOTER_BYTES as u128;
        let garbage = u128::from(self.bytes).saturating_sub(kept);
        u64::try_from(garbage).unwrap_or(u64::MAX)
    }

    /// Whether it is a log that was taken over, and so has no table.
    pub fn is_adopted(&self) -> bool {
        self.least > 0
    }
}
