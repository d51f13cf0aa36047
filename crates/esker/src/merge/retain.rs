//! What a flush or a compaction keeps of its input, and the proof that it lost nothing else.
//!
//! ```text
//!  snapshots        5            9                 versions of one key, newest first
//!  stripes   ≤5  │  6…9  │  10…                    12  11  9×  7   4   2
//!                                                  keep ·  keep ·  keep ·
//! ```
//!
//! A stripe is the numbers between two snapshots: every reader that can exist sees, of each
//! stripe, only the newest version.
//!
//! 1. Of each key and stripe the newest version is kept, the others are dropped. Every snapshot
//!    named, and the present, sees the same before and after.
//! 2. Merge operands close nothing: in a stripe everything is kept from the newest version down to
//!    and with the first put or delete. Folding them comes after ([`Folded`](super::Folded)).
//! 3. What has expired by the time of the rewrite is a tombstone, to all that follows. One is dropped only if no segment beneath can hold an older version of its key, and
//!    none is kept (law 4). Its verdict waits until that is known, so it may come after the verdicts
//!    of versions it shadows; the entries that are kept come in order.
//! 4. What a range delete of the same stripe covers is dropped, wherever in the tree that range
//!    delete lies: no reader can be between the two (F-44). The range delete itself stays, unless it
//!    is spent, or newer ones of its stripe hide all of it: they do all that it did.
//! 5. Input that is not strictly in order is `Corruption`: numbers are unique, so a version that
//!    comes twice was doubled (F-36).
//! 6. in = kept + dropped, by setsum, over what was walked (law 6, SST-17).

use crate::base::cursor::Cursor;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::key::{Entry, Kind};
use crate::base::setsum::Setsum;
use crate::base::span::{Place, Skyline, Span};
use crate::base::time::Time;
use crate::base::value::Value;
use crate::merge::run::Segments;
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What a rewrite must keep, beside the newest version of each key. The default keeps all that some
/// reader may need.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Numbers at which anyone may still read, ascending: all below the newest entry of the input
    /// and below the newest of `spans`. The present is always kept.
    ///
    /// Ask for them after `spans` was taken from a version: a reader who comes later is above both.
    pub snapshots: Vec<SeqNo>,
    /// What lies beneath the input.
    pub beneath: Beneath,
    /// Range deletes that are live and durable, or in the memtable that is flushed: whoever finds
    /// the output finds them. In any order.
    pub spans: Arc<[Span]>,
    /// Range deletes of the input that can go: nothing they cover is left outside of the input, and
    /// no snapshot is older than they are and may see what they cover.
    pub spent: BTreeSet<SeqNo>,
    /// What expires by then is gone, for every reader from now on.
    pub now: Time,
}

/// What lies beneath the input of a rewrite: segments of older runs that are no part of it.
#[derive(Clone, Debug)]
pub struct Beneath(Below);

#[derive(Clone, Debug)]
pub(super) enum Below {
    /// Any key, of any number.
    Anything,
    /// These, run by run.
    Runs(Vec<Segments>),
}

impl Beneath {
    /// Any key may be there: tombstones stay.
    pub const fn anything() -> Self {
        Self(Below::Anything)
    }

    /// Nothing: a tombstone that shadows nothing can go.
    pub const fn nothing() -> Self {
        Self(Below::Runs(Vec::new()))
    }

    /// These segments, run by run; within a run ascending and disjoint.
    pub const fn of(runs: Vec<Segments>) -> Self {
        Self(Below::Runs(runs))
    }

    pub(super) const fn below(&self) -> &Below {
        &self.0
    }
}

impl Default for Beneath {
    fn default() -> Self {
        Self::anything()
    }
}

/// Goes along what lies beneath, as keys ascend.
pub(super) struct Soundings<'a> {
    beneath: &'a Beneath,
    /// Of each run, how many segments end before the key.
    places: Vec<usize>,
}

impl<'a> Soundings<'a> {
    pub(super) fn new(beneath: &'a Beneath) -> Self {
        let runs = if let Below::Runs(runs) = &beneath.0 { runs.len() } else { 0 };
        Self { beneath, places: vec![0; runs] }
    }

    /// Whether a version of `key` below `seq` may be there. Cost: a comparison a run, most times.
    pub(super) fn may_hold(&mut self, key: &[u8], seq: SeqNo) -> bool {
        let Below::Runs(runs) = &self.beneath.0 else { return true };
        let mut holds = false;
        for (run, place) in runs.iter().zip(&mut self.places) {
            while run.get(*place).is_some_and(|segment| *segment.meta().largest < *key) {
                *place += 1;
            }
            let segment = run.get(*place).filter(|segment| segment.covers(key));
            holds |= segment.is_some_and(|segment| segment.meta().seq_min < seq);
        }
        holds
    }
}

/// The range deletes of each stripe, as keys ascend.
struct Sweep {
    /// By stripe; no more than there are up to the last stripe that has one.
    skylines: Vec<(Skyline, Place)>,
}

impl Sweep {
    fn new(spans: &[Span], snapshots: &[SeqNo]) -> Self {
        let mut stripes: Vec<Vec<&Span>> = Vec::new();
        for span in spans {
            let stripe = stripe_of(span.seq, snapshots);
            if stripes.len() <= stripe {
                stripes.resize_with(stripe + 1, Vec::new);
            }
            stripes[stripe].push(span);
        }
        let skyline = |spans| (Skyline::of::<'_>(spans), Place::default());
        Self { skylines: stripes.into_iter().map(skyline).collect() }
    }

    /// Whether no reader sees anything of `entry` because of range deletes.
    #[inline]
    fn hides(&mut self, entry: &Entry<'_>, stripe: Stripe) -> bool {
        let Some((skyline, place)) = self.skylines.get_mut(stripe) else { return false };
        match entry.kind {
            Kind::RangeDelete => skyline.hides(entry.key, entry.value, entry.seq, FRAGMENTS_MAX),
            _ => skyline.at_near(entry.key, place).seq > entry.seq,
        }
    }
}

/// So many fragments are looked at to find out that a range delete is hidden.
const FRAGMENTS_MAX: usize = 64;

pub(super) fn stripe_of(seq: SeqNo, snapshots: &[SeqNo]) -> Stripe {
    snapshots.partition_point(|&snapshot| snapshot < seq)
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes into the output.
    Keep,
    /// No reader can see it, or it is part of what was made.
    Drop,
    /// It did not come in: it is what operands were folded to, and goes into the output.
    Make,
}

/// An entry and what becomes of it; lent until the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged<'a> {
    /// The entry.
    pub entry: Entry<'a>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Figures for the balance. They cover what has been walked; whole once the walk has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sum of every entry that came in.
    pub input: Setsum,
    /// Sum of what was dropped. Input − dropped must be the sum of the output.
    pub dropped: Setsum,
    /// Entries in.
    pub entries: u64,
    /// Entries dropped.
    pub entries_dropped: u64,
    /// Of these, deletes of one key.
    pub tombstones_dropped: u64,
    /// Sum of what was made. Input + created − dropped must be the sum of the output.
    pub created: Setsum,
    /// Entries made.
    pub entries_created: u64,
}

/// Judges every entry of a cursor.
pub struct Retain<'a, C> {
    cursor: C,
    keep: &'a Keep,
    beneath: Soundings<'a>,
    sweep: Sweep,
    tally: Tally,
    phase: Phase,
    /// Key of the last entry judged; with the number, for the order. None before the first.
    key: Vec<u8>,
    last: Option<SeqNo>,
    /// The stripe in which the newest put or delete of the key was met: what follows there is
    /// shadowed.
    closed: Option<Stripe>,
    /// Tombstones of the key whose verdict waits.
    waiting: VecDeque<Waiting>,
    failed: Option<Error>,
}

/// A tombstone of the key whose verdict waits: a delete, or a put that has expired.
struct Waiting {
    seq: SeqNo,
    kind: Kind,
    value: Value,
}

impl Waiting {
    fn entry<'a>(&'a self, key: &'a [u8]) -> Entry<'a> {
        Entry { key, seq: self.seq, kind: self.kind, value: &self.value }
    }
}

/// Index of the oldest snapshot that sees a version; the number of snapshots for the present.
pub(super) type Stripe = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The cursor was not moved yet.
    New,
    /// It is on an entry that is not judged.
    On,
    /// It is on an entry that was judged and lent.
    Lent,
    /// The tombstones that wait get this verdict, one a call; then `On`.
    Release(Verdict),
}

/// What to do next.
enum Step {
    Lend(Verdict),
    Wait,
    Release(Verdict),
    End,
}

impl<'a, C: Cursor> Retain<'a, C> {
    /// Judges all of `cursor`, from its first entry on.
    pub fn new(cursor: C, keep: &'a Keep) -> Self {
        debug_assert!(keep.snapshots.is_sorted(), "snapshots must ascend");
        Self {
            cursor,
            keep,
            beneath: Soundings::new(&keep.beneath),
            sweep: Sweep::new(&keep.spans, &keep.snapshots),
            tally: Tally::default(),
            phase: Phase::New,
            key: Vec::new(),
            last: None,
            closed: None,
            waiting: VecDeque::new(),
            failed: None,
        }
    }

    /// The figures so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The next entry that is kept; lent until the next call. Errors as [`Self::judge_next`].
    pub fn next_kept(&mut self) -> Result<Option<Entry<'_>>> {
        loop {
            match self.advance()? {
                None => return Ok(None),
                Some(Verdict::Drop) => {}
                Some(_) => return Ok(self.lent()),
            }
        }
    }

    /// The next entry with its verdict; lent until the next call.
    ///
    /// Errors: the source's; `Corruption` if it is out of order (the caller knows which files).
    /// Either is repeated by every later call.
    pub fn judge_next(&mut self) -> Result<Option<Judged<'_>>> {
        let verdict = self.advance()?;
        Ok(verdict.and_then(|verdict| Some(Judged { entry: self.lent()?, verdict })))
    }

    /// The value of the entry that `advance` has judged, pinned.
    pub(super) fn value(&self) -> Value {
        match self.phase {
            Phase::Release(_) => {
                self.waiting.front().map_or(Value::EMPTY, |waiting| waiting.value.clone())
            }
            _ => self.cursor.value(),
        }
    }

    /// The entry that `advance` has judged.
    pub(super) fn lent(&self) -> Option<Entry<'_>> {
        match self.phase {
            Phase::Release(_) => Some(self.waiting.front()?.entry(&self.key)),
            _ => self.cursor.entry(),
        }
    }

    /// The verdict on the next entry, which [`Self::lent`] then lends.
    pub(super) fn advance(&mut self) -> Result<Option<Verdict>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let advanced = self.advance_whole();
        self.failed = advanced.as_ref().err().cloned();
        advanced
    }

    /// Leaves what was lent, then judges until there is something to lend.
    fn advance_whole(&mut self) -> Result<Option<Verdict>> {
        match self.phase {
            Phase::New => self.cursor.seek_first()?,
            Phase::Lent => self.cursor.next()?,
            Phase::On => {}
            Phase::Release(verdict) => {
                self.waiting.pop_front();
                if !self.waiting.is_empty() {
                    return Ok(Some(self.book_waiting(verdict)));
                }
            }
        }
        self.phase = Phase::On;
        loop {
            match self.judge()? {
                Step::Lend(verdict) => {
                    self.phase = Phase::Lent;
                    return Ok(Some(verdict));
                }
                Step::Wait => self.cursor.next()?,
                Step::Release(verdict) => {
                    self.phase = Phase::Release(verdict);
                    return Ok(Some(self.book_waiting(verdict)));
                }
                Step::End => return Ok(None),
            }
        }
    }

    /// Judges the entry under the cursor, or those that wait for what it shows.
    fn judge(&mut self) -> Result<Step> {
        let Some(entry) = self.cursor.entry() else {
            let waits = !self.waiting.is_empty();
            return Ok(if waits { Step::Release(Verdict::Drop) } else { Step::End });
        };
        let by_key = self.last.map_or(Ordering::Less, |_| self.key.as_slice().cmp(entry.key));
        let new_key = by_key == Ordering::Less;
        let older = by_key == Ordering::Equal && self.last > Some(entry.seq);
        if !new_key && !older {
            return Err(out_of_order(entry));
        }
        if new_key && !self.waiting.is_empty() {
            return Ok(Step::Release(Verdict::Drop));
        }
        if new_key {
            self.closed = None;
        }
        let stripe = stripe_of(entry.seq, &self.keep.snapshots);
        let shadowed = match entry.kind {
            Kind::RangeDelete => self.keep.spent.contains(&entry.seq),
            _ => self.closed == Some(stripe),
        } || self.sweep.hides(&entry, stripe);
        let waits = !shadowed
            && entry.is_absence(self.keep.now)
            && !self.beneath.may_hold(entry.key, entry.seq);
        if !shadowed && !waits && !self.waiting.is_empty() {
            return Ok(Step::Release(Verdict::Keep));
        }

        // From here on the verdict on this entry stands.
        let sum = Setsum::of(&entry);
        self.tally.input += sum;
        self.tally.entries += 1;
        self.last = Some(entry.seq);
        if new_key {
            self.key.clear();
            self.key.extend_from_slice(entry.key);
        }
        if !shadowed && (entry.kind.is_put() || entry.kind == Kind::Delete) {
            self.closed = Some(stripe);
        }
        // In the oldest stripe nothing older can be kept: no need to wait.
        let gone = shadowed || (waits && stripe == 0);
        if gone {
            self.tally.dropped += sum;
            self.tally.entries_dropped += 1;
            self.tally.tombstones_dropped += u64::from(entry.kind == Kind::Delete);
            return Ok(Step::Lend(Verdict::Drop));
        }
        if waits {
            let (seq, kind, value) = (entry.seq, entry.kind, self.cursor.value());
            self.waiting.push_back(Waiting { seq, kind, value });
            return Ok(Step::Wait);
        }
        Ok(Step::Lend(Verdict::Keep))
    }

    /// Books the verdict on the first tombstone that waits.
    fn book_waiting(&mut self, verdict: Verdict) -> Verdict {
        if let (Verdict::Drop, Some(waiting)) = (verdict, self.waiting.front()) {
            self.tally.dropped += Setsum::of(&waiting.entry(&self.key));
            self.tally.entries_dropped += 1;
            self.tally.tombstones_dropped += u64::from(waiting.kind == Kind::Delete);
        }
        verdict
    }
}

fn out_of_order(entry: Entry<'_>) -> Error {
    let message = format!(
        "entries out of order: key \"{}\" number {} comes twice or too late",
        entry.key.escape_ascii(),
        entry.seq
    );
    Error::new(ErrorKind::Corruption, message)
}

#[cfg(test)]
mod tests;
