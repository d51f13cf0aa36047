//! Merging adjacent runs into one.
//!
//! Inputs are handed over as segments, snapshots as numbers: a job asks nobody anything. What it
//! writes counts only once the manifest says so; until then its inputs are untouched.

use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::merge::loser::Merged;
use crate::merge::rewrite::{Rewrite, Rewritten};
use crate::merge::run::{RunCursor, Segments};

/// Merges `runs`, newest first, into the segments of one run.
///
/// Errors: as of [`Rewrite::run`]; the inputs stay as they are.
pub fn merge(
    runs: &[Segments],
    rewrite: &Rewrite<'_>,
    written: &mut Vec<FileId>,
) -> Result<Rewritten> {
    let metas = runs.iter().flat_map(|run| run.iter()).map(|segment| segment.meta());
    let input = metas.fold(Setsum::ZERO, |sum, meta| sum + meta.setsum);
    let cursors = runs.iter().map(|run| RunCursor::verifying(run.clone()));
    let cursors = cursors.map(|cursor| Box::new(cursor) as Box<dyn Cursor>);
    rewrite.run(Merged::new(cursors.collect()), input, written)
}
