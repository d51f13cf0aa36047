//! Large values, out of line.
//!
//! ```text
//!   blob-000041   a log that was taken over as it is: a value lies at the offset in its address
//!   blob-000057   values of other files, by address, and a table: address → offset
//! ```
//!
//! 1. A blob file is never opened for writing again. Its addresses are its own: no two live files
//!    cover the same one.

use crate::base::blob::Address;
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
