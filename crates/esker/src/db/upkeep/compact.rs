//! Compacting: a step carried out, part by part, and shown.
//!
//! ```text
//!   choice ─▶ plan ─▶ parts ─ merge ─▶ edit ─▶ view ─▶ let go
//!                        └─ the other workers take some
//! ```
//!
//! 1. A step counts once its edit is durable; until then its inputs are what readers see. One that
//!    fails leaves nothing behind, and is chosen again later (F-20, F-23).
//! 2. Compacting everything waits only for steps that are under way: they may let go what it wants.

use super::parts::{Ended, Taken};
use super::plan::{Job, Picked};
use super::steps::Want;
use crate::base::blob::BlobRef;
use crate::base::cursor::Cursor;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::key::Kind;
use crate::compaction::cuts::Part;
use crate::compaction::job;
use crate::compaction::policy::{Action, LAST};
use crate::db::core::{Core, Writing};
use crate::db::files::large::stored;
use crate::env::names::{FileKind, FileName};
use crate::manifest::{Balance, Edit, Placed, Reason};
use crate::merge::rewrite::{Progress, Rewritten};
use crate::merge::run::{RunCursor, Segments};
use crate::segment::{SegmentMeta, filter_bits};
use crate::tree::version::fresh;
use std::cell::Cell;

/// A file of a part may be larger than it was to be by the inverse of this.
const PART_SLACK: u64 = 8;

impl Core {
    /// Carries out a part of a step that is under way, or else of one that is wanted. False if there
    /// is none.
    ///
    /// Errors: why the step failed; its inputs are as they were.
    pub fn compact_step(&self, writing: &Writing, want: Want) -> Result<bool> {
        let taken = match writing.steps.take() {
            Some(taken) => taken,
            None => match self.begin(writing, want)? {
                Some(taken) => taken,
                None => return Ok(false),
            },
        };
        self.carry_out(writing, taken)?;
        Ok(true)
    }

    /// Carries out steps until everything is in the last level, beside what the workers do.
    pub fn compact_all(&self, writing: &Writing) -> Result<()> {
        let (steps, want) = (&writing.steps, Want::All(self.now()));
        loop {
            writing.committer.poison().refuse()?;
            let freed = steps.freed();
            if self.compact_step(writing, want)? || self.clean_step(writing, want)? {
                continue;
            }
            // A step that ended since this looked has let go what it wanted.
            let may_begin = || steps.freed() != freed || steps.has_untaken();
            steps.ended.wait_until(&*self.env, || may_begin() || !steps.is_running());
            if !may_begin() {
                return Ok(());
            }
        }
    }

    /// Ends the steps whose parts nobody will take any more, and removes what they have written.
    pub(in crate::db) fn give_up_steps(&self, writing: &Writing) {
        let error = Error::new(ErrorKind::Interrupted, "the database is closing");
        for ended in writing.steps.give_up(&error) {
            drop(ended.busy);
            // It is the error it was given.
            let _ = self.finish_job(ended.result.map(drop), segment_names(&ended.written));
        }
    }

    /// Chooses a step, lets others take its parts, and takes the first.
    fn begin(&self, writing: &Writing, want: Want) -> Result<Option<Taken>> {
        let Some((picked, busy)) = self.pick(writing, want) else { return Ok(None) };
        let job = match self.plan(picked) {
            Ok(job) => job,
            Err(error) => {
                drop(busy);
                writing.committer.pace().wake_all();
                return Err(error);
            }
        };
        let parts = job.parts.len();
        let taken = writing.steps.offer(job, busy);
        if parts > 1 {
            writing.background.wake_compaction();
        }
        Ok(Some(taken))
    }

    /// Carries out a part, and ends the step if it was the last.
    fn carry_out(&self, writing: &Writing, mut taken: Taken) -> Result<()> {
        let mut written = std::mem::take(&mut taken.written);
        let result = match taken.job.picked.step.action {
            Action::Merge => self.merge(writing, &taken, &mut written),
            Action::Drop => {
                let input = taken.job.picked.input();
                large_of(&taken.job.picked.inputs).map(|killed| Rewritten {
                    input,
                    dropped: input,
                    killed,
                    ..Rewritten::default()
                })
            }
            Action::Move => {
                let input = taken.job.picked.input();
                let segments = taken.job.picked.metas().cloned().collect();
                Ok(Rewritten { segments, input, output: input, ..Rewritten::default() })
            }
        };
        taken.written = written;
        let Some(Ended { job, busy, result, written }) = taken.end(result)? else { return Ok(()) };
        let result = result.and_then(|parts| self.publish_step(writing, &job, parts));
        drop(busy);
        // A flush that waits for compactions must not wait for one that has ended.
        writing.committer.pace().wake_all();
        self.finish_job(result, segment_names(&written))?;
        self.empty_trash();
        Ok(())
    }

    /// Puts the parts together and makes them, instead of the inputs, what readers see.
    fn publish_step(&self, writing: &Writing, job: &Job, parts: Vec<Rewritten>) -> Result<()> {
        let Job { picked, keep, .. } = job;
        let level = picked.step.level;
        let count = parts.len() as u64;
        let rewritten = Rewritten::join(parts, picked.input())?;
        if picked.step.action == Action::Merge {
            let bytes = rewritten.segments.iter().map(|meta| meta.bytes).sum();
            self.counters.bytes_compacted.add(bytes);
            // Only what lies above a pin can have hidden a version that the pin still sees.
            let oldest = keep.snapshots.first().copied().unwrap_or(SeqNo::MAX);
            let kept = |meta: &&SegmentMeta| level == LAST && oldest < meta.seq_max;
            let kept = rewritten.segments.iter().filter(kept).map(|meta| meta.id);
            let mut running = writing.steps.running.lock();
            running.kept_for_pins.extend(kept);
            let has_expired =
                |meta: &&SegmentMeta| meta.expiries.count > 0 && meta.expiries.first <= keep.now;
            let kept = rewritten.segments.iter().filter(has_expired);
            running.kept_expired.extend(kept.map(|meta| (meta.id, keep.now)));
        }
        let remove = picked.metas().map(|meta| meta.id).collect();
        let fresh = fresh(&rewritten.segments, &self.shelves.segments)?;
        let mut ledger = writing.ledger.lock();
        // Named only now: what came down while this step ran is older than its output.
        let last = || ledger.state().runs.iter().find(|run| run.level == LAST);
        let known = picked
            .step
            .run
            .or_else(|| (level == LAST).then(|| last().map(|run| run.number)).flatten());
        let run = known.unwrap_or_else(|| writing.ledger.allocate().0);
        let place = |meta: &SegmentMeta| Placed { level, run, meta: meta.clone() };
        let Rewritten { input, output, dropped, created, killed, .. } = rewritten;
        let reason = Reason::Compaction;
        let edit = Edit {
            add: rewritten.segments.iter().map(place).collect(),
            remove,
            dead: ledger.state().resolve_dead(&stored(&killed))?,
            balance: Some(Balance { reason, input, output, dropped, created }),
            ..Edit::default()
        };
        self.publish(writing, &mut ledger, edit, &fresh, None)?;
        self.counters.compactions.add(1);
        self.counters.compaction_parts.add(if count > 1 { count } else { 0 });
        Ok(())
    }

    fn merge(
        &self,
        writing: &Writing,
        taken: &Taken,
        written: &mut Vec<FileId>,
    ) -> Result<Rewritten> {
        let Job { picked, parts, keep, borders } = &*taken.job;
        let Picked { step, inputs, policy, total_bytes, .. } = picked;
        let whole = Part { bytes: step.bytes, ..Part::default() };
        let part = parts.get(taken.index).unwrap_or(&whole);
        // So that the files come out alike.
        let pieces = part.bytes.div_ceil(policy.segment_bytes(*total_bytes)).max(1);
        let segment_bytes = part.bytes.div_ceil(pieces);
        // A part is as large as it is only about: what it has above that is no file of its own.
        let slack = if parts.len() > 1 { segment_bytes / PART_SLACK } else { 0 };
        let pace = writing.committer.pace();
        let told = Cell::new(0);
        let tick = |progress: Progress| {
            pace.note_compacted(progress.bytes - told.replace(progress.bytes));
            writing.background.is_stopping() || taken.is_stopped()
        };
        self.rewriting(writing, &tick, keep, |rewrite| {
            let depth = step.level.saturating_sub(LAST - policy.tiers(*total_bytes));
            rewrite.options.filter_bits_per_key = filter_bits(depth, step.level == LAST);
            rewrite.segment_bytes = segment_bytes + slack;
            rewrite.borders = borders.clone();
            job::merge(inputs, part, rewrite, written)
        })
    }
}

fn segment_names(ids: &[FileId]) -> impl Iterator<Item = FileName> {
    ids.iter().map(|id| FileKind::Segment.name(*id))
}

/// The large values that the segments of `runs` name, which go unread otherwise.
fn large_of(runs: &[Segments]) -> Result<Vec<BlobRef>> {
    let mut found = Vec::new();
    for run in runs {
        let named = run.iter().filter(|segment| segment.meta().blob_bytes > 0);
        let mut cursor = RunCursor::verifying(named.cloned().collect());
        cursor.seek_first()?;
        while let Some(entry) = cursor.entry() {
            if entry.kind == Kind::Blob {
                found.push(BlobRef::of(&entry)?);
            }
            cursor.next()?;
        }
    }
    Ok(found)
}
