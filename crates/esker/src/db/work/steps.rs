//! The steps of compaction: chosen one at a time, carried out side by side, large ones in parts.
//!
//! ```text
//!   choose ─ under a lock ─▶ Running ─▶ plan ─▶ parts ─ merge, without it ─▶ edit ─▶ view ─▶ let go
//!     ▲        busy files, claimed ranges        └─ the other workers take some                │
//!     └─────────────────────────── the other workers look again ◀──────────────────────────────┘
//! ```
//!
//! 1. A file is an input of at most one step; outputs of two steps never share a range of a run.
//! 2. A step counts once its edit is durable; until then its inputs are what readers see. One that
//!    fails leaves nothing behind, and is chosen again later (F-20, F-23).
//! 3. What a step may drop is decided from the version and the pins at its start. Later changes only
//!    bring newer data, so the decision stays right.
//! 4. A merge that is large enough is cut by keys into [`parts`](super::parts), which whoever compacts
//!    takes before he chooses another step. Their sums together are those of the whole (law 6), and
//!    one edit publishes them. A merge with range deletes stays whole: one of them is judged together
//!    with all that it covers.

use super::due::expired;
use super::parts::{Ended, Taken, Underway};
use crate::base::blob::BlobRef;
use crate::base::cursor::Cursor;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::base::key::Kind;
use crate::base::setsum::Setsum;
use crate::base::span::Skyline;
use crate::base::time::Time;
use crate::compaction::cuts::{Part, Wish, cut, stretches};
use crate::compaction::job;
use crate::compaction::policy::{
    Action, Claim, File, LAST, Policy, Run, Shape, Step, Waste, choose, choose_all,
};
use crate::db::core::{Core, Writing};
use crate::db::files::large::stored;
use crate::env::Gate;
use crate::env::names::{FileKind, FileName};
use crate::manifest::{Balance, Edit, Placed, Reason};
use crate::merge::retain::{Beneath, Keep};
use crate::merge::rewrite::{Progress, Rewritten};
use crate::merge::run::{RunCursor, Segments};
use crate::segment::handle::Segment;
use crate::segment::{SegmentMeta, filter_bits};
use crate::tree::version::{LiveRun, Version, fresh};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A file of a part may be larger than it was to be by the inverse of this.
const PART_SLACK: u64 = 8;

/// What is going on: guards the choice, never held during I/O.
#[derive(Debug, Default)]
pub struct Steps {
    pub(super) running: Mutex<Running>,
    /// Opened whenever a step ends, and when there are parts to take.
    pub(super) ended: Gate,
}

#[derive(Debug, Default)]
pub(super) struct Running {
    count: usize,
    /// How often files were let go: what could not be chosen before may be now.
    freed: u64,
    next_token: u64,
    busy: HashSet<FileId>,
    /// Files of the last level in which versions were kept for a reader.
    kept_for_pins: HashSet<FileId>,
    /// Those in which what had expired by this time was kept, because it hides such versions.
    kept_expired: HashMap<FileId, Time>,
    claims: Vec<Claimed>,
    /// Steps whose parts can be taken, or were.
    pub(super) underway: Vec<Underway>,
    overwrites: Overwrites,
}

/// How many large values take the place of others, as flushes have found by samples. Older findings
/// count for half.
#[derive(Clone, Copy, Debug, Default)]
struct Overwrites {
    asked: u64,
    known: u64,
}

impl Overwrites {
    /// In hundredths; a guess before anything was found.
    fn percent(&self) -> u64 {
        match self.known.saturating_mul(100).checked_div(self.asked) {
            Some(percent) => percent.min(100),
            None => Policy::BALANCED.overwrites,
        }
    }
}

#[derive(Debug)]
struct Claimed {
    token: u64,
    level: u32,
    run: Option<u64>,
    keys: (Box<[u8]>, Box<[u8]>),
}

/// A step that was chosen.
#[derive(Debug)]
struct Picked {
    step: Step,
    version: Arc<Version>,
    /// The inputs, run by run, newest first.
    inputs: Vec<Segments>,
    policy: Policy,
    total_bytes: u64,
    /// What expires by then is gone.
    now: Time,
}

/// A step with all that its parts need.
#[derive(Debug)]
pub(super) struct Job {
    picked: Picked,
    /// At least one.
    pub(super) parts: Vec<Part>,
    keep: Keep,
    /// Where outputs end in any case.
    borders: Vec<Box<[u8]>>,
}

/// Inputs and claims of a step that runs: free again when this is dropped.
#[derive(Debug)]
pub(super) struct Busy {
    steps: Arc<Steps>,
    token: u64,
    inputs: Vec<FileId>,
}

/// How a step is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// When it is due.
    Due,
    /// Whatever brings everything into the last level, and takes what expires by then out of it.
    All(Time),
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut running = self.steps.running.lock();
        running.count -= 1;
        running.freed += 1;
        for id in &self.inputs {
            running.busy.remove(id);
            // A step that failed keeps its inputs: at worst one of them is not cleaned up again.
            running.kept_for_pins.remove(id);
            running.kept_expired.remove(id);
        }
        running.claims.retain(|claim| claim.token != self.token);
        drop(running);
        self.steps.ended.open();
    }
}

/// Files that no step takes as long as this is held.
pub struct Held<'a> {
    steps: &'a Steps,
    files: Vec<FileId>,
    /// Whether a job is being carried out on them.
    is_job: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut running = self.steps.running.lock();
        self.files.iter().for_each(|id| _ = running.busy.remove(id));
        running.count -= usize::from(self.is_job);
        running.freed += 1;
        drop(running);
        self.steps.ended.open();
    }
}

impl Steps {
    /// Keeps `files` from being chosen, before a version has them.
    pub fn hold(&self, files: &[FileId]) -> Held<'_> {
        self.running.lock().busy.extend(files);
        Held { steps: self, files: files.to_vec(), is_job: false }
    }

    /// Lets `choose` choose files for a job, told which are busy, and keeps those that it names.
    pub fn choose_files<T>(
        &self,
        choose: impl FnOnce(&dyn Fn(FileId) -> bool) -> Option<(T, Vec<FileId>)>,
    ) -> Option<(T, Held<'_>)> {
        let mut running = self.running.lock();
        let (choice, files) = choose(&|id| running.busy.contains(&id))?;
        running.busy.extend(&files);
        running.count += 1;
        Some((choice, Held { steps: self, files, is_job: true }))
    }

    /// Notes that of so many large values that came, keys were `asked` for, and `known` were there.
    pub fn note_overwrites(&self, asked: u64, known: u64) {
        if asked > 0 {
            let overwrites = &mut self.running.lock().overwrites;
            overwrites.asked = overwrites.asked / 2 + asked;
            overwrites.known = overwrites.known / 2 + known;
        }
    }

    /// How often files were let go so far.
    fn freed(&self) -> u64 {
        self.running.lock().freed
    }

    /// Whether a step is being carried out.
    pub fn is_running(&self) -> bool {
        self.running.lock().count > 0
    }
}

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

    /// Whether nobody writes and nothing waits to be flushed.
    pub(super) fn is_at_rest(&self, writing: &Writing) -> bool {
        let is_quiet = writing.committer.memtable_is_empty() || writing.committer.is_resting();
        writing.queue.is_empty() && is_quiet
    }

    fn policy(&self, writing: &Writing) -> Policy {
        let at_rest = self.is_at_rest(writing);
        let overwrites = writing.steps.running.lock().overwrites.percent();
        let flush_bytes = self.options.slab() as u64;
        Policy { flush_bytes, at_rest, overwrites, ..self.options.compaction }
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

    fn pick(&self, writing: &Writing, want: Want) -> Option<(Picked, Busy)> {
        let policy = self.policy(writing);
        let now = match want {
            Want::Due => self.now(),
            // The clock may have been set back.
            Want::All(until) => self.now().max(until),
        };
        let mut running = writing.steps.running.lock();
        let version = self.views.load_full().version.clone();
        let pins = self.snapshots.pinned();
        // What expires while all is compacted is none of it: that would not end.
        let seen_at = if let Want::All(until) = want { until } else { now };
        let shape = shape_of(&version, &running, &pins, seen_at);
        let step = match want {
            Want::Due => choose(&shape, &policy),
            Want::All(_) => choose_all(&shape, &policy),
        };
        drop(shape);
        if step.is_none() && !pins.is_empty() {
            self.snapshots.hold_back();
        }
        let step = step?;
        let wanted: HashSet<FileId> = step.inputs.iter().copied().collect();
        let inputs = version.runs.iter().map(|run| {
            let part = run.segments.iter().filter(|segment| wanted.contains(&segment.meta().id));
            part.cloned().collect::<Segments>()
        });
        let inputs = inputs.filter(|part| !part.is_empty()).collect();
        let total_bytes = version.segments().map(|segment| segment.meta().bytes).sum();
        running.next_token += 1;
        running.count += 1;
        let token = running.next_token;
        running.busy.extend(wanted);
        if step.action != Action::Drop {
            let (level, run, keys) = (step.level, step.run, step.keys.clone());
            running.claims.push(Claimed { token, level, run, keys });
        }
        drop(running);
        let busy = Busy { steps: writing.steps.clone(), token, inputs: step.inputs.clone() };
        Some((Picked { step, version, inputs, policy, total_bytes, now }, busy))
    }

    /// Decides what `picked` may drop, and cuts it into parts.
    fn plan(&self, picked: Picked) -> Result<Job> {
        if picked.step.action != Action::Merge {
            let parts = vec![Part::default()];
            return Ok(Job { picked, parts, keep: Keep::default(), borders: Vec::new() });
        }
        let snapshots = self.snapshots.pinned();
        let keep = Keep {
            beneath: picked.beneath(),
            spans: picked.version.spans.all().clone(),
            spent: picked.spent(&snapshots)?,
            now: picked.now,
            snapshots,
        };
        let last = picked.version.runs.iter().filter(|run| run.level == LAST);
        let last = last.flat_map(|run| run.segments.iter()).map(|s| s.meta().smallest.clone());
        let is_last = picked.step.level == LAST;
        let borders: Vec<Box<[u8]>> = if is_last { Vec::new() } else { last.collect() };
        let bytes = picked.step.bytes;
        let part_bytes_min = picked.policy.flush_bytes.max(1);
        let parts_max = self.options.compaction_threads;
        let is_large = parts_max > 1 && bytes / 2 >= part_bytes_min;
        let has_ranges = picked.metas().any(|meta| meta.range_deletes > 0);
        let mut parts = Vec::new();
        if is_large && !has_ranges {
            let wish = Wish { parts_max, part_bytes_min, borders: &borders };
            parts = cut(&stretches(&picked.inputs)?, &wish);
        }
        if parts.len() < 2 {
            parts = vec![Part { bytes, ..Part::default() }];
        }
        Ok(Job { picked, parts, keep, borders })
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

impl Picked {
    fn metas(&self) -> impl Iterator<Item = &SegmentMeta> {
        self.inputs.iter().flat_map(|run| run.iter()).map(|segment| segment.meta())
    }

    /// The sum of the inputs, as the manifest knows it.
    fn input(&self) -> Setsum {
        self.metas().fold(Setsum::ZERO, |sum, meta| sum + meta.setsum)
    }

    fn is_input(&self, segment: &Segment) -> bool {
        self.inputs.iter().any(|run| {
            let meta = segment.meta();
            let at = run.partition_point(|input| input.meta().smallest < meta.smallest);
            run.get(at).is_some_and(|input| input.meta().id == meta.id)
        })
    }

    /// What older runs hold over the keys of the inputs, beside them.
    fn beneath(&self) -> Beneath {
        let (smallest, largest) = &self.step.keys;
        let has_input = |run: &LiveRun| run.segments.iter().any(|s| self.is_input(s));
        let newest = self.version.runs.iter().position(has_input);
        let older = self.version.runs.iter().skip(newest.unwrap_or(0));
        let parts = older.map(|run| {
            let part = run.between(smallest, largest).iter().filter(|s| !self.is_input(s));
            part.cloned().collect::<Segments>()
        });
        Beneath::of(parts.filter(|part| !part.is_empty()).collect())
    }

    /// The range deletes of the inputs that can go: nothing that they cover is left elsewhere, and
    /// no pin is older (law 4).
    fn spent(&self, pins: &[SeqNo]) -> Result<BTreeSet<SeqNo>> {
        let mut spent = BTreeSet::new();
        for segment in self.inputs.iter().flat_map(|run| run.iter()) {
            for span in segment.spans()?.iter() {
                let mut covered = self.version.runs.iter().flat_map(|run| {
                    run.between(&span.start, &span.end).iter().filter(|s| {
                        let meta = s.meta();
                        meta.seq_min < span.seq && *meta.smallest < *span.end && !self.is_input(s)
                    })
                });
                let is_pinned = pins.first().is_some_and(|oldest| *oldest < span.seq);
                if covered.next().is_none() && !is_pinned {
                    spent.insert(span.seq);
                }
            }
        }
        Ok(spent)
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

/// What the policy sees of a version.
fn shape_of<'a>(
    version: &'a Version,
    running: &'a Running,
    pins: &[SeqNo],
    now: Time,
) -> Shape<'a> {
    let skyline = version.spans.skyline(SeqNo::MAX);
    let seen = Seen { version, running, pins, skyline: &skyline, now };
    let runs = version.runs.iter().enumerate().map(|(place, run)| Run {
        level: run.level,
        number: run.number,
        files: run.segments.iter().map(|segment| seen.file(segment, place)).collect(),
    });
    let claims = running.claims.iter().map(|claim| Claim {
        level: claim.level,
        run: claim.run.unwrap_or(u64::MAX),
        smallest: &claim.keys.0,
        largest: &claim.keys.1,
    });
    Shape { runs: runs.collect(), claims: claims.collect() }
}

/// What decides how the policy sees a file.
struct Seen<'a> {
    version: &'a Version,
    running: &'a Running,
    pins: &'a [SeqNo],
    skyline: &'a Skyline,
    now: Time,
}

impl Seen<'_> {
    /// A file of the run at `place`.
    fn file<'b>(&self, segment: &'b Segment, place: usize) -> File<'b> {
        let meta = segment.meta();
        File {
            id: meta.id,
            bytes: meta.bytes,
            entries: meta.entries,
            deletes: meta.deletes,
            smallest: &meta.smallest,
            largest: &meta.largest,
            reach: segment.reach(),
            has_ranges: meta.range_deletes > 0,
            blob_bytes: meta.blob_bytes,
            busy: self.running.busy.contains(&meta.id),
            waste: self.waste(segment, place),
        }
    }

    fn waste(&self, segment: &Segment, place: usize) -> Waste {
        let meta = segment.meta();
        let expired = expired(self.version, place, meta, self.now);
        if expired == Waste::All || self.is_covered(meta) {
            return Waste::All;
        }
        let level = self.version.runs.get(place).map(|run| run.level).unwrap_or_default();
        let is_unpinned = self.pins.first().is_none_or(|oldest| *oldest >= meta.seq_max);
        let has_tombstones = meta.deletes + meta.range_deletes > 0;
        let has_any = has_tombstones || self.running.kept_for_pins.contains(&meta.id);
        let is_waste = level == LAST && has_any && is_unpinned;
        // What the last rewrite could not drop stays until the reader has gone for whom it was kept: it
        // is no reason to come back, what has expired since is.
        let kept_at = self.running.kept_expired.get(&meta.id).filter(|_| !is_unpinned);
        let is_new = |moment: Time| kept_at.is_none_or(|kept| *kept < moment);
        match expired {
            Waste::Most if is_new(meta.expiries.half) => Waste::Most,
            _ if is_waste && !self.covers_above(segment) => Waste::Some,
            Waste::Few | Waste::Most if is_new(self.now) => Waste::Few,
            _ => Waste::None,
        }
    }

    /// Whether a younger run may hold what range deletes of `segment` cover: they could not go.
    fn covers_above(&self, segment: &Segment) -> bool {
        let meta = segment.meta();
        let above = self.version.runs.iter().filter(|run| run.level < LAST);
        let mut above = above.flat_map(|run| run.between(&meta.smallest, segment.reach()));
        meta.range_deletes > 0 && above.any(|held| held.meta().seq_min < meta.seq_max)
    }

    /// Whether range deletes hide every entry from every reader there can be. A file with range
    /// deletes of its own stays: they may reach further.
    fn is_covered(&self, meta: &SegmentMeta) -> bool {
        if self.skyline.is_empty() || meta.range_deletes > 0 {
            return false;
        }
        let mut key = &*meta.smallest;
        loop {
            let fragment = self.skyline.at(key);
            // A reader between the two sees entries that the range delete hides from later ones.
            let between = |pin: &SeqNo| meta.seq_min <= *pin && *pin < fragment.seq;
            if fragment.seq <= meta.seq_max || self.pins.iter().any(between) {
                return false;
            }
            match fragment.end {
                Some(end) if *end <= *meta.largest => key = end,
                _ => return true,
            }
        }
    }
}

#[cfg(test)]
impl Job {
    /// A step of `parts` parts with nothing in it, which runs in `steps`.
    pub(super) fn sample(steps: &Arc<Steps>, parts: usize) -> (Self, Busy) {
        let step = Step {
            action: Action::Merge,
            inputs: Vec::new(),
            level: LAST,
            run: None,
            keys: Default::default(),
            bytes: 0,
        };
        let version = Arc::default();
        let (inputs, policy, total_bytes) = (Vec::new(), Policy::BALANCED, 0);
        let now = Time::default();
        let picked = Picked { step, version, inputs, policy, total_bytes, now };
        let parts = vec![Part::default(); parts];
        steps.running.lock().count += 1;
        let busy = Busy { steps: steps.clone(), token: 0, inputs: Vec::new() };
        (Self { picked, parts, keep: Keep::default(), borders: Vec::new() }, busy)
    }
}
