//! The sources of a scan: every memtable and every run of one view, merged.
//!
//! A scan over a prefix leaves out the runs that hold nothing of it, as far as borders and filters
//! tell: what the others give within the prefix is all there is.

use super::version::LiveRun;
use super::view::View;
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::span::Cover;
use crate::merge::loser::Merged;
use crate::merge::run::{RunCursor, may_contain_prefix};
use std::sync::Arc;

impl View {
    /// A cursor over the entries of this view up to `seq`, newest source first. Of those that
    /// `cover` hides, which is [`View::cover`] at `seq`, it leaves out what it can leap over.
    ///
    /// Cost: brings the order of each memtable up to date (MOSS-10); opens no file before a move.
    pub fn cursor(self: &Arc<Self>, seq: SeqNo, cover: &Cover) -> Merged {
        self.merged(seq, cover, self.version.runs.iter())
    }

    /// As [`View::cursor`], for a walk over full keys that begin with `prefix`: of others it may show
    /// some and not others. Cost: at most a filter probe a run. Errors: `Corruption`, `Io`.
    pub fn cursor_of_prefix(
        self: &Arc<Self>,
        seq: SeqNo,
        cover: &Cover,
        prefix: &[u8],
    ) -> Result<Merged> {
        let mut runs = Vec::with_capacity(self.version.runs.len());
        for run in &self.version.runs {
            if may_contain_prefix(&run.segments, prefix)? {
                runs.push(run);
            }
        }
        Ok(self.merged(seq, cover, runs.into_iter()))
    }

    fn merged<'a>(
        &self,
        seq: SeqNo,
        cover: &Cover,
        runs: impl Iterator<Item = &'a LiveRun>,
    ) -> Merged {
        let memtables = self.memtables.iter().filter(|memtable| !memtable.is_empty());
        let memtables = memtables.map(|memtable| memtable.cursor(seq).under(cover.clone()));
        let memtables = memtables.map(|cursor| Box::new(cursor) as Box<dyn Cursor>);
        let runs = runs.map(|run| RunCursor::new(run.segments.clone()).under(cover.clone(), seq));
        let runs = runs.map(|cursor| Box::new(cursor) as Box<dyn Cursor>);
        Merged::new(memtables.chain(runs).collect())
    }
}
