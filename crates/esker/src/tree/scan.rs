//! The sources of a scan: every memtable and every run of one view, merged.
//!
//! A scan over a prefix leaves out the runs that hold nothing of it, as far as borders and filters
//! tell: what the others give within the prefix is all there is.

use super::version::LiveRun;
use super::view::View;
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::merge::loser::Merged;
use crate::merge::run::{RunCursor, may_contain_prefix};
use std::sync::Arc;

impl View {
    /// A cursor over all entries of this view up to `seq`, newest source first.
    ///
    /// Cost: brings the order of each memtable up to date (MOSS-10); opens no file before a move.
    pub fn cursor(self: &Arc<Self>, seq: SeqNo) -> Merged {
        self.merged(seq, self.version.runs.iter())
    }

    /// As [`View::cursor`], for a walk over full keys that begin with `prefix`: of others it may show
    /// some and not others. Cost: at most a filter probe a run. Errors: `Corruption`, `Io`.
    pub fn cursor_of_prefix(self: &Arc<Self>, seq: SeqNo, prefix: &[u8]) -> Result<Merged> {
        let mut runs = Vec::with_capacity(self.version.runs.len());
        for run in &self.version.runs {
            if may_contain_prefix(&run.segments, prefix)? {
                runs.push(run);
            }
        }
        Ok(self.merged(seq, runs.into_iter()))
    }

    fn merged<'a>(&self, seq: SeqNo, runs: impl Iterator<Item = &'a LiveRun>) -> Merged {
        let memtables = self.memtables.iter().filter(|memtable| !memtable.is_empty());
        let memtables = memtables.map(|memtable| Box::new(memtable.cursor(seq)) as Box<dyn Cursor>);
        let runs =
            runs.map(|run| Box::new(RunCursor::new(run.segments.clone())) as Box<dyn Cursor>);
        Merged::new(memtables.chain(runs).collect())
    }
}
