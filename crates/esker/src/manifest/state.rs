//! What is live: runs of segments, newest first, and the figures of the chain.
//!
//! ```text
//!  runs[0]   level 0  run 31   seg-31                        a run is newer than the next one:
//!  runs[1]   level 0  run 27   seg-27 │ seg-28               by level, then by number, downwards
//!  runs[2]   level 5  run 20   seg-14 │ seg-15 │ seg-20      within a run: keys ascend, disjoint
//! ```
//!
//! 1. For any key, what a newer run holds is newer (law 3). Each edit is held against that: data
//!    that moves down passes no segment that may hold its keys and stays; new data comes in above
//!    every segment that may. On level 0 the numbers of runs are disjoint besides.
//! 2. Segments of a run are disjoint in keys, borders included: no key lies in two of them.
//! 3. `present` is the sum of the live segments. `present + dropped - created` is the sum of every
//!    operation ever flushed: a flush adds its input, a compaction changes nothing (law 6).
//! 4. `log_min`, `flushed` and `next_file` never go back. No live number is above `flushed`, no
//!    live file at or above `next_file`, no live log below `log_min`. Logs ascend.
//! 5. Blob files keep the invariants of `blobs.rs`. Their sums are of values, those above of
//!    entries: a cleaning changes neither `present` nor `dropped`.
//! 6. An edit that breaks any of these is refused and leaves the state as it was.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::blobs::{Blobs, LiveBlob, sum_removed};
use super::edit::{Balance, Closed, Dead, Edit, Placed, Reason, Ticks, Total, Whole};
use super::held::Held;
use crate::base::blob::Address;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{CollectionId, FileId, SeqNo};
use crate::base::key::KEY_BYTES_MAX;
use crate::base::setsum::Setsum;
use crate::env::names::FileKind;
use crate::segment::SegmentMeta;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

/// Where a run stands in the order of age: the lower, the newer.
pub type Age = (u32, Reverse<u64>);

/// Segments of one age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name. On one level a higher number is newer.
    pub number: u64,
    /// Depth; 0 is youngest.
    pub level: u32,
    /// Disjoint in keys, ascending; at least one.
    pub segments: Vec<SegmentMeta>,
}

impl Run {
    /// Its place in the order of age.
    pub fn age(&self) -> Age {
        (self.level, Reverse(self.number))
    }

    /// Whether one of its segments may hold a key from `smallest` to `largest`, both included.
    fn may_hold(&self, smallest: &[u8], largest: &[u8]) -> Option<&SegmentMeta> {
        let at = self.segments.partition_point(|meta| *meta.largest < *smallest);
        self.segments.get(at).filter(|meta| *meta.smallest <= *largest)
    }

    /// The lowest and the highest sequence number in it. Cost: one look at each segment.
    pub fn seqs(&self) -> (SeqNo, SeqNo) {
        let min = self.segments.iter().map(|meta| meta.seq_min).min().unwrap_or_default();
        let max = self.segments.iter().map(|meta| meta.seq_max).max().unwrap_or_default();
        (min, max)
    }
}

/// The set of live files. Cloning costs one count a run and a blob file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Newest first.
    pub runs: Vec<Arc<Run>>,
    /// Live logs, ascending: each must be there.
    pub logs: Vec<FileId>,
    /// Logs below are not needed.
    pub log_min: FileId,
    /// Every number at or below is in segments.
    pub flushed: SeqNo,
    /// Numbers from here on were never used.
    pub next_file: FileId,
    /// Sum of the live segments.
    pub present: Setsum,
    /// Sum of what was flushed once and is not there any more.
    pub dropped: Setsum,
    /// Sum of what merge operands were ever folded to: it is, or was, there and was never committed.
    pub created: Setsum,
    /// What is promised about the end of a live log.
    pub closed: Option<Closed>,
    /// Live blob files.
    pub blobs: Blobs,
    /// Edits that were ever made: the clock of blob files.
    pub tick: u64,
    /// The database was closed by its last user. The first edit takes it back; whoever opens it for
    /// writing does so in the manifest it creates.
    pub clean: bool,
    /// What a change feed can still be given.
    pub held: Held,
}

impl State {
    /// Live segments of all runs, newest run first.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentMeta> {
        self.runs.iter().flat_map(|run| &run.segments)
    }

    /// Sum of every operation ever flushed.
    pub fn total(&self) -> Setsum {
        self.present + self.dropped - self.created
    }

    /// The blob file that answers for `address`, whether the value is dead or not.
    pub fn blob_of(&self, address: Address) -> Option<&Arc<LiveBlob>> {
        self.blobs.of(address)
    }

    /// Whether the value at `address` is dead, or no live file answers for it.
    pub fn is_dead(&self, address: Address) -> bool {
        self.blob_of(address).is_none_or(|blob| blob.dead.contains(address.0))
    }

    /// Values that died, in any order, each with its stored bytes, by the files that answer for
    /// them now: an edit's `dead`, if it is recorded before another one.
    ///
    /// Errors: `Corruption` if no live blob file answers for one.
    pub fn resolve_dead(&self, killed: &[(Address, u32)]) -> Result<Vec<Dead>> {
        self.blobs.resolve(killed)
    }

    /// Makes one change. Cost: one look at each live segment, at the keys of each run that changes,
    /// and a copy of the dead addresses of each blob file in which values die.
    ///
    /// Errors: `Corruption` if it breaks an invariant above or does not balance; nothing changed.
    pub fn apply(&mut self, edit: &Edit) -> Result<()> {
        *self = self.clone().with(edit)?;
        Ok(())
    }

    /// This, changed as by [`Self::apply`]. Copies nothing that nobody else has.
    pub(super) fn with(mut self, edit: &Edit) -> Result<Self> {
        let next = &mut self;
        let flushed = next.flushed;
        let sum_in = match edit.balance {
            Some(Balance { reason: Reason::Clean, .. }) => {
                Some(sum_removed(&next.blobs, &edit.remove_blobs))
            }
            _ => None,
        };
        let removed = next.take_out(&edit.remove)?;
        let sum_in = sum_in.unwrap_or_else(|| removed.iter().map(|(_, meta)| meta.setsum).sum_up());
        check_balance(flushed, edit, sum_in)?;
        next.check_descent(&removed, &edit.add)?;
        next.check_arrival(flushed, edit)?;
        let left = next.raise(edit)?;
        next.held.apply(edit, &left, next.flushed)?;
        next.put_in(&edit.add)?;
        next.tick = next.tick.saturating_add(1);
        next.blobs.apply(edit, next.next_file, next.tick)?;
        for Placed { meta, .. } in &edit.add {
            let before = removed.iter().find(|(_, before)| before.id == meta.id);
            if before.is_some_and(|(_, before)| before != meta) {
                return Err(refused("moved", name(meta.id), "the segment unchanged", "another"));
            }
        }
        let balance = edit.balance.filter(|balance| balance.reason != Reason::Clean);
        next.dropped += balance.map_or(Setsum::ZERO, |balance| balance.dropped);
        next.created += balance.map_or(Setsum::ZERO, |balance| balance.created);
        next.clean = false;
        Ok(self)
    }

    /// The state that the first transaction of a manifest describes.
    pub(super) fn restore(edit: &Edit, whole: &Whole) -> Result<Self> {
        let mut state = Self::default();
        if !edit.remove.is_empty() || !edit.remove_blobs.is_empty() || edit.balance.is_some() {
            return Err(refused("first transaction", "edit", "a whole state", "a change of one"));
        }
        let missing = || refused("total", "first transaction", "one", "none");
        let total = whole.total.ok_or_else(missing)?;
        state.raise(edit)?;
        whole.logs.iter().try_for_each(|log| state.add_log(*log))?;
        state.put_in(&edit.add)?;
        state.tick = whole.tick.unwrap_or(0);
        state.blobs = Blobs::restore(edit, &whole.ticks, state.next_file)?;
        let odd = |ticks: &&Ticks| ticks.up2 > ticks.up1 || ticks.up1 > state.tick;
        if let Some(Ticks { file, up1, up2 }) = whole.ticks.iter().find(odd) {
            let (name, found) = (FileKind::Blob.name(*file), format!("up1={up1} up2={up2}"));
            return Err(refused(
                "ticks",
                name,
                format!("up2, up1, {} to ascend", state.tick),
                found,
            ));
        }
        (state.dropped, state.created) = (total.dropped, total.created);
        state.closed = edit.closed;
        state.held = Held::restore(edit, &whole.bulks, state.flushed)?;
        state.clean = whole.clean.is_some();
        if state.total() != total.all {
            return Err(refused("chain", "present + dropped - created", total.all, state.total()));
        }
        Ok(state)
    }

    /// What [`Self::restore`] makes this state from.
    pub(super) fn as_edit(&self) -> (Edit, Whole) {
        let placed = |run: &Arc<Run>| {
            let Run { level, number: run, .. } = **run;
            move |meta: &SegmentMeta| Placed { level, run, meta: meta.clone() }
        };
        let edit = Edit {
            add: self.runs.iter().flat_map(|run| run.segments.iter().map(placed(run))).collect(),
            add_blobs: self.blobs.iter().map(|blob| blob.meta.clone()).collect(),
            dead: self.blobs.iter().filter_map(|blob| blob.dead()).collect(),
            log_min: Some(self.log_min),
            flushed: Some(self.flushed),
            next_file: Some(self.next_file),
            closed: self.closed,
            keep: self.held.logs.clone(),
            forget: Some(self.held.gone).filter(|gone| *gone != self.flushed),
            ..Edit::default()
        };
        let total = Some(Total { all: self.total(), dropped: self.dropped, created: self.created });
        let clean = self.clean.then_some(());
        let tick = (self.tick > 0).then_some(self.tick);
        let ticks = self.blobs.iter().map(|blob| {
            let LiveBlob { up1, up2, .. } = **blob;
            Ticks { file: blob.meta.id, up1, up2 }
        });
        let (logs, bulks) = (self.logs.clone(), self.held.bulks.clone());
        (edit, Whole { total, logs, tick, ticks: ticks.collect(), bulks, clean })
    }

    /// Removes segments and returns them with the age of their runs.
    fn take_out(&mut self, remove: &[FileId]) -> Result<Vec<(Age, SegmentMeta)>> {
        let wanted: HashSet<_> = remove.iter().copied().collect();
        let mut removed = Vec::with_capacity(remove.len());
        if !wanted.is_empty() {
            for run in &mut self.runs {
                if run.segments.iter().any(|meta| wanted.contains(&meta.id)) {
                    let age = run.age();
                    let gone = |meta: &mut SegmentMeta| wanted.contains(&meta.id);
                    let taken = Arc::make_mut(run).segments.extract_if(.., gone);
                    removed.extend(taken.map(|meta| (age, meta)));
                }
            }
            self.runs.retain(|run| !run.segments.is_empty());
        }
        if removed.len() != remove.len() {
            let found = removed.len();
            return Err(refused("remove", "live segments", remove.len(), found));
        }
        removed.iter().for_each(|(_, meta)| self.present -= meta.setsum);
        Ok(removed)
    }

    /// Law 3 for what is rewritten or moved: `self` holds what stays. Between the run that a
    /// segment leaves and the run that takes its entries, that one included, nothing stays that may
    /// hold a key of its own.
    fn check_descent(&self, removed: &[(Age, SegmentMeta)], add: &[Placed]) -> Result<()> {
        let target = add.first().map(|placed| (placed.level, Reverse(placed.run)));
        let Some(target) = target.filter(|_| !removed.is_empty()) else { return Ok(()) };
        if let Some(odd) = add.iter().find(|p| (p.level, Reverse(p.run)) != target) {
            let (want, found) = (format!("run {}", target.1.0), format!("run {}", odd.run));
            return Err(refused("age", name(odd.meta.id), want, found));
        }
        for (age, meta) in removed {
            let between = target.min(*age)..=target.max(*age);
            let passed = self.runs.iter().filter(|run| between.contains(&run.age()));
            let passed = passed.filter(|run| run.age() != *age || *age == target);
            for run in passed {
                if let Some(held) = run.may_hold(&meta.smallest, &meta.largest) {
                    let found = format!("{}, which stays", name(held.id));
                    return Err(refused("age", name(meta.id), "nothing on its way", found));
                }
            }
        }
        Ok(())
    }

    /// Law 3 for what comes in from outside the tree: its numbers are above all that was flushed,
    /// and nothing above it may hold a key of its.
    fn check_arrival(&self, flushed: SeqNo, edit: &Edit) -> Result<()> {
        let reason = edit.balance.map(|balance| balance.reason);
        if !matches!(reason, Some(Reason::Flush | Reason::Ingest)) {
            return Ok(());
        }
        for Placed { level, run, meta } in &edit.add {
            if meta.seq_min <= flushed {
                let found = format!("{}..{}", meta.seq_min, meta.seq_max);
                return Err(refused("age", name(meta.id), format!("above {flushed}"), found));
            }
            let above = self.runs.iter().filter(|above| above.age() < (*level, Reverse(*run)));
            for run in above {
                if let Some(held) = run.may_hold(&meta.smallest, &meta.largest) {
                    let found = name(held.id);
                    return Err(refused("age", name(meta.id), "no such key above it", found));
                }
            }
        }
        Ok(())
    }

    /// Sets the numbers that only rise, and what is said of logs; answers those that are not live any
    /// more.
    fn raise(&mut self, edit: &Edit) -> Result<Vec<FileId>> {
        raise(&mut self.log_min, edit.log_min, "log")?;
        raise(&mut self.flushed, edit.flushed, "flushed")?;
        raise(&mut self.next_file, edit.next_file, "next-file")?;
        let log_min = self.log_min;
        let left = self.logs.extract_if(.., |log| *log < log_min).collect();
        edit.add_log.map_or(Ok(()), |log| self.add_log(log))?;
        self.closed = edit.closed.or(self.closed).filter(|closed| self.logs.contains(&closed.log));
        Ok(left)
    }

    fn add_log(&mut self, log: FileId) -> Result<()> {
        let above = self.logs.last().map_or(self.log_min, |last| FileId(last.0.saturating_add(1)));
        if log < above || log >= self.next_file {
            let want = format!("one from {above} and below next-file {}", self.next_file);
            return Err(refused("new-log", "number", want, log));
        }
        self.logs.push(log);
        Ok(())
    }

    /// Adds segments to their runs, then checks all that changed.
    fn put_in(&mut self, add: &[Placed]) -> Result<()> {
        if add.is_empty() {
            return Ok(());
        }
        let mut ids: HashSet<_> = self.segments().map(|meta| meta.id).collect();
        let mut runs: BTreeMap<u64, Vec<&Placed>> = BTreeMap::new();
        for placed in add {
            self.check_segment(&placed.meta)?;
            if !ids.insert(placed.meta.id) {
                return Err(refused("add", name(placed.meta.id), "a new segment", "a live one"));
            }
            self.present += placed.meta.setsum;
            runs.entry(placed.run).or_default().push(placed);
        }
        for run in &mut self.runs {
            if let Some(placed) = runs.remove(&run.number) {
                fill(Arc::make_mut(run), &placed)?;
            }
        }
        for (number, placed) in runs {
            let level = placed.first().map_or(0, |placed| placed.level);
            let mut run = Run { number, level, segments: Vec::with_capacity(placed.len()) };
            fill(&mut run, &placed)?;
            self.runs.push(Arc::new(run));
        }
        self.order_runs()
    }

    fn check_segment(&self, meta: &SegmentMeta) -> Result<()> {
        let refuse = |what, want: &str| Err(refused(what, name(meta.id), want, "another"));
        let key_bytes_max = KEY_BYTES_MAX.saturating_add(CollectionId::BYTES);
        if meta.id >= self.next_file {
            return refuse("number", "one below next-file");
        }
        if meta.smallest > meta.largest {
            return refuse("keys", "smallest at or below largest");
        }
        if meta.smallest.len().max(meta.largest.len()) > key_bytes_max {
            return refuse("keys", "none above the longest");
        }
        if meta.seq_min > meta.seq_max || meta.seq_max > self.flushed {
            return refuse("numbers", "a range up to flushed");
        }
        match meta.deletes.checked_add(meta.range_deletes) {
            Some(tombstones)
                if tombstones <= meta.entries && meta.expiries.count <= meta.entries =>
            {
                Ok(())
            }
            _ => refuse("entries", "at least its tombstones, and those that expire"),
        }
    }

    /// Sorts runs by age and checks what invariant 1 says of level 0.
    fn order_runs(&mut self) -> Result<()> {
        self.runs.sort_by_key(|run| run.age());
        let young = || self.runs.iter().take_while(|run| run.level == 0);
        for (newer, older) in young().zip(young().skip(1)) {
            let numbers = (newer.seqs().0, older.seqs().1);
            if numbers.0 <= numbers.1 {
                let what = format!("runs {} and {}", newer.number, older.number);
                let found = format!("{} in the newer, {} in the older", numbers.0, numbers.1);
                return Err(refused("age", what, "disjoint numbers", found));
            }
        }
        Ok(())
    }
}

/// Adds segments to a run and checks invariant 2.
fn fill(run: &mut Run, placed: &[&Placed]) -> Result<()> {
    if let Some(odd) = placed.iter().find(|placed| placed.level != run.level) {
        return Err(refused("level", format!("run {}", run.number), run.level, odd.level));
    }
    run.segments.extend(placed.iter().map(|placed| placed.meta.clone()));
    run.segments.sort_by(|a, b| a.smallest.cmp(&b.smallest));
    for (left, right) in run.segments.iter().zip(run.segments.iter().skip(1)) {
        if left.largest >= right.smallest {
            let what = format!("{} and {}", name(left.id), name(right.id));
            return Err(refused("keys", what, "disjoint", "a key in both"));
        }
    }
    Ok(())
}

/// Law 6. `sum_in` is the sum of what it removes: of blob files in a cleaning, else of segments.
fn check_balance(flushed_before: SeqNo, edit: &Edit, sum_in: Setsum) -> Result<()> {
    let changes = !edit.add.is_empty() || !edit.remove.is_empty();
    let flushes = edit.flushed.is_some_and(|flushed| flushed > flushed_before);
    let Some(Balance { input, output, dropped, created, reason }) = edit.balance else {
        let missing = changes || flushes;
        let refuse = || refused("balance", "edit that changes segments or flushes", "one", "none");
        return if missing { Err(refuse()) } else { Ok(()) };
    };
    let refuse = |what: &str, want: Setsum, found: Setsum| {
        Err(refused("balance", format!("{reason}: {what}"), want, found))
    };
    let cleans = reason == Reason::Clean;
    if cleans && (changes || flushes) {
        return Err(refused("balance", reason, "blob files alone", "segments or a flush"));
    }
    let added = if cleans {
        edit.add_blobs.iter().map(|meta| meta.setsum).sum_up()
    } else {
        edit.add.iter().map(|placed| placed.meta.setsum).sum_up()
    };
    if added != output {
        return refuse("sum of what it adds", output, added);
    }
    let accounted = output + dropped - created;
    if input != accounted {
        return refuse("out + dropped - created", input, accounted);
    }
    if created != Setsum::ZERO && !matches!(reason, Reason::Flush | Reason::Compaction) {
        return refuse("created", Setsum::ZERO, created);
    }
    let rewrites = matches!(reason, Reason::Compaction | Reason::Clean);
    if rewrites && sum_in != input {
        return refuse("sum of what it removes", input, sum_in);
    }
    if !rewrites && !edit.remove.is_empty() {
        return Err(refused("balance", reason, "nothing removed", edit.remove.len()));
    }
    Ok(())
}

trait SumUp {
    fn sum_up(self) -> Setsum;
}

impl<I: Iterator<Item = Setsum>> SumUp for I {
    fn sum_up(self) -> Setsum {
        self.fold(Setsum::ZERO, |sum, item| sum + item)
    }
}

fn raise<T: Copy + Ord + Display>(place: &mut T, to: Option<T>, what: &str) -> Result<()> {
    match to {
        Some(to) if to < *place => {
            Err(refused(what, "a number that only rises", format!("at least {place}"), to))
        }
        to => {
            *place = to.unwrap_or(*place);
            Ok(())
        }
    }
}

fn name(id: FileId) -> impl Display {
    FileKind::Segment.name(id)
}

pub(super) fn refused(
    what: &str,
    of: impl Display,
    want: impl Display,
    found: impl Display,
) -> Error {
    let message = format!("edit refused: {what} of {of}: want {want}, found {found}");
    Error::new(ErrorKind::Corruption, message)
}

#[cfg(test)]
pub(super) mod tests;
