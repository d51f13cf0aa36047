//! A cursor over the order of a memtable: a merge of its few runs, in both directions.
//!
//! 1. `places[r]` is how many items of run `r` lie before the cursor. No two items are equal, so
//!    the places tell all, and a turn of direction needs no repositioning.
//! 2. A cursor sees the runs as they were when it was made, so it is one snapshot by itself; items
//!    above its number are stepped over.
//! 3. One run takes a direct path (MOSS-16). Several are compared each step: there are few, because
//!    their lengths are geometric.
//! 4. Under a [`Cover`] a run none of whose visible items is above the covering number leaps over
//!    what is covered, by a search. So it walks a fixed part of the entries, whichever way.
//! 5. Bounds are the caller's: a cursor off the end has no entry, which is no error (MOSS-13).

use super::order::{Item, RUNS_MAX, Runs, rank_of};
use super::slab::{At, Slab};
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::Entry;
use crate::base::span::{Cover, Probe};
use crate::base::value::Value;
use std::cmp::Ordering;
use std::sync::Arc;

/// How many items ahead records are fetched into the processor's cache.
const AHEAD: usize = 8;

/// Walks a memtable; owns what it reads.
pub struct MemCursor {
    slab: Arc<Slab>,
    runs: Runs,
    places: [u32; RUNS_MAX],
    /// The entry it is on, and the run that it lies in.
    current: Option<At>,
    run: usize,
    up_to: SeqNo,
    probe: Probe,
}

impl MemCursor {
    pub(super) fn new(slab: Arc<Slab>, runs: Runs, up_to: SeqNo) -> Self {
        Self {
            slab,
            runs,
            places: [0; RUNS_MAX],
            current: None,
            run: 0,
            up_to,
            probe: Probe::default(),
        }
    }

    /// Leaves out entries that `cover`, which must suit the cursor's number, hides. Not all of them.
    #[must_use]
    pub fn under(self, cover: Cover) -> Self {
        Self { probe: Probe::new(cover), ..self }
    }

    /// Whether all that `run` has at the key of `item` is covered; then the number to leap by.
    #[inline]
    fn is_covered(&mut self, run: usize, item: Item) -> Option<SeqNo> {
        if self.probe.cover().is_empty() {
            return None;
        }
        let newest = self.runs.get(run)?.newest.min(self.up_to);
        self.probe.hides(self.slab.key(item.at), newest).then_some(newest)
    }

    /// How many entries lie from `start` up to `end`, excluded, whatever their numbers. Cost: two
    /// searches a run.
    pub fn count_between(&self, start: &[u8], end: &[u8]) -> usize {
        let count = |run| self.count_before(run, end).saturating_sub(self.count_before(run, start));
        (0..self.runs.len()).map(|run| count(run) as usize).sum()
    }

    /// How many items of `run` lie before `key`.
    fn count_before(&self, run: usize, key: &[u8]) -> u32 {
        let rank = rank_of(key);
        let is_before = |item: &Item| {
            item.rank().cmp(&rank).then_with(|| self.slab.key(item.at).cmp(key)).is_lt()
        };
        self.runs.get(run).map_or(0, |run| run.partition_point(is_before) as u32)
    }

    #[inline]
    fn item(&self, run: usize, place: usize) -> Option<&Item> {
        self.runs.get(run)?.get(place)
    }

    #[inline]
    fn place(&self, run: usize) -> usize {
        self.places[run] as usize
    }

    /// The run whose item behind (`back` 0) or before (`back` 1) the places is the outermost.
    fn pick(&self, back: usize) -> Option<(usize, Item)> {
        let item_of = |run: usize| self.item(run, self.place(run).checked_sub(back)?).copied();
        if self.runs.len() == 1 {
            return item_of(0).map(|item| (0, item));
        }
        let better = if back == 0 { Ordering::Less } else { Ordering::Greater };
        let mut best: Option<(usize, Item)> = None;
        for run in 0..self.runs.len() {
            let Some(item) = item_of(run) else { continue };
            if best.is_none_or(|(_, other)| item.compare(&other, &*self.slab) == better) {
                best = Some((run, item));
            }
        }
        best
    }

    /// To the first visible entry behind the places.
    #[inline]
    fn settle_forward(&mut self) {
        self.current = None;
        while let Some((run, item)) = self.pick(0) {
            if let Some(newest) = self.is_covered(run, item)
                && let Some(end) = self.probe.cover().reach(self.slab.key(item.at), newest)
            {
                self.places[run] = self.count_before(run, &end);
                continue;
            }
            if let Some(ahead) = self.item(run, self.place(run) + AHEAD) {
                self.slab.prefetch(ahead.at);
            }
            if self.slab.seq(item.at) <= self.up_to {
                (self.current, self.run) = (Some(item.at), run);
                return;
            }
            self.places[run] += 1;
        }
    }

    /// To the last visible entry before the places.
    #[inline]
    fn settle_back(&mut self) {
        self.current = None;
        while let Some((run, item)) = self.pick(1) {
            if let Some(newest) = self.is_covered(run, item)
                && let Some(start) = self.probe.cover().reach_back(self.slab.key(item.at), newest)
            {
                self.places[run] = self.count_before(run, &start);
                continue;
            }
            self.places[run] -= 1;
            if let Some(ahead) = self.place(run).checked_sub(AHEAD)
                && let Some(ahead) = self.item(run, ahead)
            {
                self.slab.prefetch(ahead.at);
            }
            if self.slab.seq(item.at) <= self.up_to {
                (self.current, self.run) = (Some(item.at), run);
                return;
            }
        }
    }

    /// Puts each place behind the items that `is_before` holds for.
    fn divide(&mut self, is_before: impl Fn(&Slab, &Item) -> bool) {
        for (place, run) in self.places.iter_mut().zip(self.runs.iter()) {
            *place = run.partition_point(|item| is_before(&self.slab, item)) as u32;
        }
    }
}

impl Cursor for MemCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.places = [0; RUNS_MAX];
        self.settle_forward();
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.divide(|_, _| true);
        self.settle_back();
        Ok(())
    }

    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        let rank = rank_of(key);
        self.divide(|slab, item| {
            let order = item.rank().cmp(&rank).then_with(|| slab.key(item.at).cmp(key));
            order.is_lt() || order.is_eq() && slab.seq(item.at) > seq
        });
        self.settle_forward();
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        let rank = rank_of(key);
        self.divide(|slab, item| {
            item.rank().cmp(&rank).then_with(|| slab.key(item.at).cmp(key)).is_lt()
        });
        self.settle_back();
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.current.is_some() {
            self.places[self.run] += 1;
            self.settle_forward();
        }
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        if self.current.is_some() {
            self.settle_back();
        }
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        self.current.map(|at| self.slab.entry(at))
    }

    #[inline]
    fn value(&self) -> Value {
        self.current.map_or(Value::EMPTY, |at| self.slab.pin(at))
    }
}
