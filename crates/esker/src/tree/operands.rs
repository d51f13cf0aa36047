//! The operands of one key, gathered over all memtables and runs, newest first, and folded once.
//!
//! ```text
//!   memtable   c9 b8        ─┐
//!   run        b6 │ ×5       ├─ 9 8 6 ─▶ fold          until a put, a delete, or what covers the key
//!   run        a3           ─┘
//! ```
//!
//! Reads without operands do not come here.

use super::view::View;
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::{Kind, Lookup};
use crate::base::value::Value;
use crate::env::clock::Glance;
use crate::merge::fold::Chain;
use crate::merge::run::{RunCursor, get_in_run};

impl View {
    /// The value of a key as of `at`, as a put at rest, whose newest version that nothing covers is an operand.
    ///
    /// Cost: a probe of each source down to what the operands came upon, a step for each operand, one
    /// call of the operator; a base that lies out of line is read. Errors: as of [`Chain::fold`].
    #[cold]
    pub(super) fn fold(&self, key: &Lookup, at: SeqNo, time: &Glance<'_>) -> Result<(Kind, Value)> {
        let covers = self.memtables.iter().map(|memtable| memtable.cover(key.full(), at));
        let cover = covers.max().unwrap_or_default().max(self.version.spans.cover(key.full(), at));
        let mut chain = Chain::at(time.now());
        // Whether it ends the chain.
        let mut take =
            |seq: SeqNo, kind: Kind, value: Value| seq < cover || !chain.take(kind, value);
        let ended = self.memtables.iter().any(|memtable| memtable.versions(key, at, &mut take));
        if !ended {
            self.gather_in_runs(key, at, &mut take)?;
        }
        chain.fold(key.full(), self)
    }

    /// Shows the versions of a key in the runs to `is_last`, until that says so.
    fn gather_in_runs(
        &self,
        key: &Lookup,
        at: SeqNo,
        is_last: &mut impl FnMut(SeqNo, Kind, Value) -> bool,
    ) -> Result<()> {
        for run in &self.version.runs {
            let Some((newest, kind, value)) = get_in_run(&run.segments, key, at)? else { continue };
            if is_last(newest, kind, value) {
                return Ok(());
            }
            let mut cursor = RunCursor::new(run.segments.clone());
            cursor.seek(key.full(), newest)?;
            while let Some(entry) = cursor.entry().filter(|entry| *entry.key == *key.full()) {
                if entry.seq < newest && is_last(entry.seq, entry.kind, cursor.value()) {
                    return Ok(());
                }
                cursor.next()?;
            }
        }
        Ok(())
    }
}
