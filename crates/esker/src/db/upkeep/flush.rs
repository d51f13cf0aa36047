//! Flushing: the oldest sealed generation becomes segments, and its logs are needed no more.
//!
//! ```text
//!   sealed ─▶ logs kept? ─▶ segments ─▶ large values ─▶ edit ─ durable ─▶ version ─▶ logs removed
//!                              └ lets writers in for what is written, waits while compactions are behind
//! ```
//!
//! 1. It counts once its edit is durable; only then is the version published that has its segments in
//!    the place of the memtable, and only then are logs removed (laws 5 and 7).
//! 2. One that fails removes what it wrote, keeps memtable and logs, and is tried again later with new
//!    files; a failed manifest is final (F-20, F-22, F-23).

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::commit::generation::Sealed;
use crate::compaction::policy::LAST;
use crate::db::core::{Core, Writing};
use crate::db::files::keep::names_of;
use crate::env::names::{FileKind, FileName};
use crate::manifest::{Balance, Edit, Placed, Reason, State};
use crate::merge::retain::Keep;
use crate::merge::rewrite::{Progress, Rewritten};
use crate::segment::SegmentMeta;
use crate::tree::flush::flush;
use crate::tree::version::fresh;
use std::cell::Cell;
use std::collections::BTreeSet;

/// How much of what a flush gives back to writers it gives when all is written and not yet synced.
const ENDING_PERCENT: u128 = 40;

impl Core {
    /// Flushes the oldest sealed generation. False if there is none.
    pub fn flush_one(&self, writing: &Writing) -> Result<bool> {
        let Some(sealed) = writing.queue.oldest() else { return Ok(false) };
        writing.committer.wait_visible(sealed.last)?;
        let (mut written, mut blobs) = (Vec::new(), Vec::new());
        let result = self.flush_sealed(writing, &sealed, &mut written, &mut blobs);
        let segments = written.iter().map(|id| FileKind::Segment.name(*id));
        let blobs = blobs.iter().map(|id| FileKind::Blob.name(*id));
        self.finish_job(result, segments.chain(blobs))?;
        Ok(true)
    }

    fn flush_sealed(
        &self,
        writing: &Writing,
        sealed: &Sealed,
        written: &mut Vec<FileId>,
        blobs: &mut Vec<FileId>,
    ) -> Result<()> {
        // Its names are made durable with those of the segments.
        let logs = self.keep_logs(writing, sealed)?;
        let keep = Keep {
            snapshots: self.snapshots.pinned(),
            spans: sealed.memtable.spans(),
            now: self.now(),
            ..Keep::default()
        };
        let tick = self.flush_tick(writing, sealed);
        let rewritten = self.rewriting(writing, &tick, &keep, |rewrite| {
            rewrite.tells_kept = true;
            flush(&sealed.memtable, sealed.last, rewrite, written)
        })?;
        let large = (rewritten.kept.as_slice(), rewritten.killed.as_slice());
        let large = self.keep_large(writing, sealed, large, blobs)?;
        let bytes = rewritten.segments.iter().map(|meta| meta.bytes).sum();
        self.counters.flushes.add(1);
        self.counters.bytes_flushed.add(bytes);
        let edit = Edit {
            flushed: Some(sealed.last),
            log_min: Some(sealed.logs_from),
            add_blobs: large.add,
            dead: large.dead,
            ..self.edit(writing, &rewritten, Reason::Flush)
        };
        let edit = logs.in_edit(edit);
        let fresh = fresh(&rewritten.segments, &self.shelves.segments)?;
        let mut ledger = writing.ledger.lock();
        let before = log_files(ledger.state());
        self.publish(writing, &mut ledger, edit, &fresh, Some(&sealed.memtable))?;
        let after = log_files(ledger.state());
        writing.committer.note_flushed(sealed.last);
        writing.queue.pop();
        drop(ledger);
        writing.committer.pace().give(sealed.repaid_down_to(0));
        before.difference(&after).for_each(|name| self.remove(*name));
        Ok(())
    }

    /// What a flush does now and then: it lets writers in for what it has written, and while too
    /// many runs lie on each other it goes on only as compactions do.
    fn flush_tick<'a>(
        &'a self,
        writing: &'a Writing,
        sealed: &'a Sealed,
    ) -> impl Fn(Progress) -> bool + 'a {
        let records = sealed.memtable.stats().records.max(1) as u64;
        let owed = sealed.owed();
        let pace = writing.committer.pace();
        let bytes_before = Cell::new(0);
        let compacted = Cell::new(pace.compacted());
        move |progress| {
            // Some is kept for the end: nothing gets on while the file is synced.
            let most = u128::from(records) * 100 / (100 - ENDING_PERCENT);
            let done = u128::from(progress.entries.min(records));
            let left = owed - (u128::from(owed) * done / most) as u64;
            let left = if progress.is_written { 0 } else { left };
            pace.give(sealed.repaid_down_to(left));
            let bytes = progress.bytes - bytes_before.replace(progress.bytes);
            let ended = || self.has_no_job(writing);
            let bytes = bytes * self.debt(writing);
            compacted.set(match bytes {
                0 => pace.compacted(),
                _ => pace.repay(&*self.env, compacted.get(), bytes, ended),
            });
            writing.background.is_stopping()
        }
    }

    /// How many bytes a compaction should write for each that a flush writes, so that the runs that
    /// lie on each other become no more; 0 while they are few.
    fn debt(&self, writing: &Writing) -> u64 {
        let view = self.views.load();
        let fan_in = self.options.compaction.fan_in;
        let runs_of = |level| view.version.runs.iter().filter(|run| run.level == level).count();
        let runs = (0..LAST).map(runs_of).max().unwrap_or(0);
        let over = runs.saturating_sub(2 * fan_in);
        if over == 0 || !self.options.background || !writing.steps.is_running() {
            return 0;
        }
        (1 + 4 * over / fan_in).min(8) as u64
    }

    fn edit(&self, writing: &Writing, rewritten: &Rewritten, reason: Reason) -> Edit {
        let run = writing.ledger.allocate().0;
        let place = |meta: &SegmentMeta| Placed { level: 0, run, meta: meta.clone() };
        let Rewritten { input, output, dropped, created, .. } = *rewritten;
        Edit {
            add: rewritten.segments.iter().map(place).collect(),
            balance: Some(Balance { reason, input, output, dropped, created }),
            ..Edit::default()
        }
    }

    /// Waits until no sealed generation has a number below `limit` as its last.
    ///
    /// Errors: why the flush does not succeed.
    pub(in crate::db) fn wait_flushed(&self, writing: &Writing, limit: SeqNo) -> Result<()> {
        let Writing { background, queue, committer, .. } = writing;
        let is_done = || queue.all().first().is_none_or(|oldest| oldest.last >= limit);
        let stuck = || {
            let closing = || {
                let closes = background.is_stopping();
                closes.then(|| Error::new(ErrorKind::Interrupted, "the database is closing"))
            };
            committer.poison().first().or_else(|| background.stuck()).or_else(closing)
        };
        if is_done() {
            return Ok(());
        }
        background.clear_stuck();
        background.wake();
        // Kept, because whoever else waits may try again and forget it.
        let mut why = None;
        queue.wait_until(&*self.env, || {
            why = if is_done() { None } else { stuck() };
            why.is_some() || is_done()
        });
        why.map_or(Ok(()), Err)
    }
}

/// The logs that a manifest names, live ones and kept ones.
fn log_files(state: &State) -> BTreeSet<FileName> {
    let live = state.logs.iter().map(|log| FileKind::Log.name(*log));
    live.chain(names_of(&state.held)).collect()
}
