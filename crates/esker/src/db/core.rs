//! What one open database consists of, and the steps of its background work.
//!
//! ```text
//!   Db, Collection, … ─▶ Handle ─▶ Core ◀─ workers (weakly)
//! ```
//!
//! 1. A flush or compaction counts once its manifest edit is durable; only then is the new version
//!    published, and only then are inputs doomed or logs removed (laws 5 and 7).
//! 2. A failed flush or compaction removes what it wrote, keeps its inputs, and is tried again
//!    later with new files; a failed manifest is final (F-20, F-22, F-23).
//! 3. Only this room starts threads and removes files.
//!
//! Lock order: the ledger, then the view's swap. The lock of [`Steps`] is held alone.

use super::collections::catalog::Catalog;
use super::feed::changes::Still;
use super::files::keep::names_of;
use super::files::ledger::Ledger;
use super::options::Options;
use super::past::named::Named;
use super::report::RecoveryReport;
use super::stats::Counters;
use super::work::background::Background;
use super::work::steps::Steps;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::setsum::Setsum;
use crate::base::time::Time;
use crate::commit::Committer;
use crate::commit::generation::{Queue, Sealed};
use crate::compaction::policy::LAST;
use crate::env::names::{FileKind, FileName};
use crate::env::{Env, Lock, path_in};
use crate::manifest::{Balance, Blobs, Closed, Edit, Placed, Reason, State};
use crate::merge::Rules;
use crate::merge::retain::Keep;
use crate::merge::rewrite::{Progress, Rewrite, Rewritten};
use crate::segment::{SegmentMeta, WriterOptions};
use crate::tree::flush::flush;
use crate::tree::version::{Shelves, fresh};
use crate::tree::view::Views;
use crate::txn::snapshot::Registry;
use parking_lot::{Mutex, RwLock};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// A flushed segment is cut at this size: only a batch above the slab makes one so large.
const SEGMENT_BYTES: u64 = 64 << 20;

/// How much of what a flush gives back to writers it gives when all is written and not yet synced.
const ENDING_PERCENT: u128 = 40;

/// See the module.
pub struct Core {
    pub(super) env: Arc<dyn Env>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) views: Arc<Views>,
    pub(super) rules: Arc<Rules>,
    pub(super) shelves: Shelves,
    pub(super) snapshots: Arc<Registry>,
    pub(super) catalog: RwLock<Catalog>,
    /// Held while a name is written.
    pub(super) named: Mutex<Named>,
    pub(super) recovery: RecoveryReport,
    /// The last number there is, in a database that is only read.
    pub(super) last: SeqNo,
    /// The files of large values, in a database that is only read.
    pub(super) blobs: Blobs,
    /// What a feed can be given, in a database that is only read.
    pub(super) still: Still,
    /// The sum of what was flushed before the open.
    pub(super) flushed: Setsum,
    /// The parts that write; none in a database that is only read.
    pub(super) writing: Option<Writing>,
    pub(super) counters: Counters,
    pub(super) closed: AtomicBool,
    /// It is closed, and nothing more becomes durable.
    pub(super) ended: AtomicBool,
    pub(super) lock: Mutex<Option<Box<dyn Lock>>>,
}

/// The parts of a database that can be written to.
pub struct Writing {
    pub(super) committer: Committer,
    pub(super) ledger: Arc<Ledger>,
    pub(super) queue: Arc<Queue>,
    pub(super) background: Arc<Background>,
    /// How the logs ended that were live at the open.
    pub(super) earlier: Vec<Closed>,
    pub(super) steps: Arc<Steps>,
    /// One ingest at a time: two would choose the same number. Held while a caller's pairs are read.
    pub(super) ingesting: Mutex<()>,
}

impl Core {
    /// The highest number that readers may see.
    #[inline]
    pub fn visible(&self) -> SeqNo {
        self.writing.as_ref().map_or(self.last, |writing| writing.committer.visible())
    }

    /// What time it is.
    pub(super) fn now(&self) -> Time {
        self.views.load().clock.now()
    }

    /// When what is written now with this time to live expires.
    pub(super) fn expiry_after(&self, time_to_live: Duration) -> Time {
        self.now().after(time_to_live)
    }

    /// Errors: `InvalidArgument` once the database is closed.
    #[inline]
    pub fn check_open(&self) -> Result<()> {
        if !self.closed.load(SeqCst) {
            return Ok(());
        }
        Err(Error::invalid("the database is closed"))
    }

    /// The parts that write. Errors: `ReadOnly` in a database opened so.
    pub fn writing(&self) -> Result<&Writing> {
        self.check_open()?;
        self.writing
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::ReadOnly, "the database was opened read-only"))
    }

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

    /// Runs `job` with the way outputs are written, and makes their names durable.
    pub(super) fn rewriting(
        &self,
        writing: &Writing,
        tick: &dyn Fn(Progress) -> bool,
        keep: &Keep,
        job: impl FnOnce(&mut Rewrite<'_>) -> Result<Rewritten>,
    ) -> Result<Rewritten> {
        let mut rewrite = Rewrite {
            env: &self.env,
            dir: &self.dir,
            options: self.writer_options(),
            rules: &self.rules,
            segment_bytes: SEGMENT_BYTES,
            borders: Vec::new(),
            keep,
            allocate: &|| writing.ledger.allocate(),
            tick,
            plant: self.options.plant.as_deref(),
            tells_kept: false,
        };
        let rewritten = job(&mut rewrite)?;
        self.sync_names()?;
        Ok(rewritten)
    }

    /// Makes the names of new files durable.
    pub(super) fn sync_names(&self) -> Result<()> {
        let synced = self.env.sync_dir(&self.dir);
        synced.map_err(|error| Error::io("sync the database folder", error))
    }

    /// Errors: what a job ends with that need not go on: the first failure, or `Interrupted`.
    pub(super) fn refuse_if_stopping(&self, writing: &Writing) -> Result<()> {
        writing.committer.poison().refuse()?;
        if writing.background.is_stopping() {
            return Err(Error::new(ErrorKind::Interrupted, "the database is closing"));
        }
        Ok(())
    }

    /// Whether no job is on its way that a flush could wait for.
    pub(super) fn has_no_job(&self, writing: &Writing) -> bool {
        let stopped = writing.background.is_stopping() || writing.committer.poison().is_set();
        stopped || !writing.steps.is_running()
    }

    /// How segments are written.
    pub(super) fn writer_options(&self) -> WriterOptions {
        WriterOptions {
            compression: self.options.compression,
            prefix_filter: self.options.prefix_filter,
            ..WriterOptions::default()
        }
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

    /// After a job: if it failed, what it wrote is removed, unless the manifest may name it.
    pub(super) fn finish_job(
        &self,
        result: Result<()>,
        written: impl Iterator<Item = FileName>,
    ) -> Result<()> {
        let poisoned = self.writing.as_ref().is_some_and(|w| w.committer.poison().is_set());
        if result.is_err() && !poisoned {
            written.for_each(|name| self.remove(name));
        }
        result
    }

    /// Removes a file that no durable manifest names. A failure is tried again (F-29).
    pub(super) fn remove(&self, name: FileName) {
        if !self.is_removed(name)
            && let Some(writing) = &self.writing
        {
            writing.background.remove_later(name);
        }
    }

    fn is_removed(&self, name: FileName) -> bool {
        match self.env.remove(&path_in(&self.dir, name)) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => {
                tracing::warn!("remove {name}: {error}; it will be tried again");
                false
            }
        }
    }

    /// Removes doomed segments that nobody reads any more, and what could not be removed before.
    pub fn empty_trash(&self) {
        if let Some(writing) = &self.writing {
            writing.background.remove_late(|name| self.is_removed(name));
        }
        let segments = self.shelves.segments.trash.take().into_iter();
        let blobs = self.shelves.blobs.trash.take().into_iter();
        let segments = segments.map(|id| FileKind::Segment.name(id));
        for name in segments.chain(blobs.map(|id| FileKind::Blob.name(id))) {
            self.remove(name);
        }
    }

    /// The sum of every operation ever committed: those present and those dropped.
    pub fn checksum(&self) -> Result<Setsum> {
        self.check_open()?;
        // Under the ledger's lock no flush can move entries from a memtable into the total.
        let ledger = self.writing.as_ref().map(|writing| writing.ledger.lock());
        let view = self.views.load_full();
        let flushed = ledger.as_ref().map_or(self.flushed, |ledger| ledger.state().total());
        let in_memory = view.memtables.iter().flat_map(|memtable| memtable.entries());
        Ok(in_memory.fold(flushed, |sum, entry| sum + Setsum::of(&entry)))
    }
}

/// The logs that a manifest names, live ones and kept ones.
fn log_files(state: &State) -> BTreeSet<FileName> {
    let live = state.logs.iter().map(|log| FileKind::Log.name(*log));
    live.chain(names_of(&state.held)).collect()
}
