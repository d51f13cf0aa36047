//! Merging adjacent runs into one, all of it or one part.
//!
//! Inputs are handed over as segments, snapshots as numbers: a job asks nobody anything. What it
//! writes counts only once the manifest says so; until then its inputs are untouched. A part does not
//! know the sum of its input: [`Rewritten::join`] checks it for all parts.

use super::cuts::Part;
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::FileId;
use crate::merge::Clip;
use crate::merge::loser::Merged;
use crate::merge::rewrite::{Rewrite, Rewritten};
use crate::merge::run::{RunCursor, Segments};

/// Merges what `runs`, newest first, have in `part`, into segments of one run.
///
/// Errors: as of [`Rewrite::run`]; the inputs stay as they are.
pub fn merge(
    runs: &[Segments],
    part: &Part,
    rewrite: &Rewrite<'_>,
    written: &mut Vec<FileId>,
) -> Result<Rewritten> {
    let Part { from, to, .. } = part;
    let planted = rewrite.plant.and_then(|plant| plant.clip(from.as_deref(), to.as_deref()));
    let (from, to) = planted.unwrap_or_else(|| (from.clone(), to.clone()));
    let cursors = runs.iter().map(|run| within(run, from.as_deref(), to.as_deref()));
    let cursors = cursors.filter(|run| !run.is_empty()).map(RunCursor::verifying);
    let cursors: Vec<Box<dyn Cursor>> =
        cursors.map(|cursor| Box::new(cursor) as Box<dyn Cursor>).collect();
    if cursors.is_empty() {
        return Ok(Rewritten::default());
    }
    let merged = Merged::new(cursors);
    match (from, to) {
        (None, None) => rewrite.run(merged, None, written),
        (from, to) => rewrite.run(Clip::new(merged, from, to), None, written),
    }
}

/// The segments of `run` that may hold a key from `from` up to `to`.
fn within(run: &Segments, from: Option<&[u8]>, to: Option<&[u8]>) -> Segments {
    let first = from.map_or(0, |from| run.partition_point(|s| *s.meta().largest < *from));
    let rest = run.get(first..).unwrap_or_default();
    let count = to.map_or(rest.len(), |to| rest.partition_point(|s| *s.meta().smallest < *to));
    rest.get(..count).unwrap_or_default().into()
}
