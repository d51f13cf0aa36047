//! A sealed memtable becomes a run.
//!
//! The sum of what goes in is taken over the slab in the order of its records, not over the sorted
//! walk: an entry that chains or order lost would be missed by the walk, and shows here (law 6).

use crate::base::error::Result;
use crate::base::id::{FileId, SeqNo};
use crate::base::setsum::Setsum;
use crate::memtable::Memtable;
use crate::merge::rewrite::{Rewrite, Rewritten};
use std::sync::Arc;

/// Writes `memtable`, all of which up to `last` is visible, as the segments of one run.
///
/// Cost: a sort of what nobody has ordered yet, and one write of the bytes. Errors: as of
/// [`Rewrite::run`].
pub fn flush(
    memtable: &Arc<Memtable>,
    last: SeqNo,
    rewrite: &Rewrite<'_>,
    written: &mut Vec<FileId>,
) -> Result<Rewritten> {
    let input = memtable.entries().fold(Setsum::ZERO, |sum, entry| sum + Setsum::of(&entry));
    rewrite.run(memtable.cursor(last), Some(input), written)
}
