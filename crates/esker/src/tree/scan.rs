//! The sources of a scan: every memtable and every run of one view, merged.

use super::view::View;
use crate::base::cursor::Cursor;
use crate::base::id::SeqNo;
use crate::merge::loser::Merged;
use crate::merge::run::RunCursor;
use std::sync::Arc;

impl View {
    /// A cursor over all entries of this view up to `seq`, newest source first.
    ///
    /// Cost: brings the order of each memtable up to date (MOSS-10); opens no file before a move.
    pub fn cursor(self: &Arc<Self>, seq: SeqNo) -> Merged {
        let memtables = self.memtables.iter().filter(|memtable| !memtable.is_empty());
        let memtables = memtables.map(|memtable| Box::new(memtable.cursor(seq)) as Box<dyn Cursor>);
        let runs = self.version.runs.iter();
        let runs =
            runs.map(|run| Box::new(RunCursor::new(run.segments.clone())) as Box<dyn Cursor>);
        Merged::new(memtables.chain(runs).collect())
    }
}
