//! One sorted run: segments that do not overlap, walked as if they were one.
//!
//! 1. Segments are in ascending key order and disjoint; only the one under the cursor is open.
//! 2. What a cover hides is left out where it hides all that a segment has there: so a cursor walks a
//!    fixed part of the entries, whichever way, and blocks and files in between stay unread.
//! 3. A point read touches at most one segment of a run.

use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::{Entry, Kind, Lookup};
use crate::base::span::{Cover, Probe};
use crate::base::value::Value;
use crate::segment::handle::Segment;
use crate::segment::{Held, SegmentCursor, SegmentMeta};
use std::sync::Arc;

/// The segments of one run, ascending and disjoint.
pub type Segments = Arc<[Arc<Segment>]>;

/// The segment of `run` that may hold `key`, if any.
#[inline]
pub fn segment_for<'a>(run: &'a [Arc<Segment>], key: &[u8]) -> Option<&'a Arc<Segment>> {
    let at = run.partition_point(|segment| *segment.meta().largest < *key);
    run.get(at).filter(|segment| segment.covers(key))
}

/// The newest version of a key at or below `at` in this run.
///
/// Cost: a filter probe, and mostly one block when the key is there. Errors: `Corruption`, `Io`.
#[inline]
pub fn get_in_run(
    run: &[Arc<Segment>],
    key: &Lookup,
    at: SeqNo,
) -> Result<Option<(SeqNo, Kind, Value)>> {
    match segment_for(run, key.full()) {
        Some(segment) => segment.read(|reader| reader.get(key, at)),
        None => Ok(None),
    }
}

/// As [`get_in_run`] of several keys, which ascend; `found` is told what there is of each.
///
/// Cost: a filter probe a key; neighbours share index partitions and blocks. Errors: `Corruption`,
/// `Io`, those of `found`; what was told before stands.
pub fn get_all_in_run<'k>(
    run: &[Arc<Segment>],
    keys: impl Iterator<Item = &'k Lookup>,
    at: SeqNo,
    mut found: impl FnMut(usize, (SeqNo, Kind, Value)) -> Result<()>,
) -> Result<()> {
    let mut keys = keys.enumerate().peekable();
    while let Some((_, key)) = keys.peek() {
        let Some(segment) = segment_for(run, key.full()) else {
            keys.next();
            continue;
        };
        segment.read(|reader| {
            let mut held = Held::default();
            while let Some((place, key)) = keys.next_if(|(_, key)| segment.covers(key.full())) {
                if let Some(version) = reader.get_beside(key, at, &mut held)? {
                    found(place, version)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether a key of `run` may begin with `prefix`, a full key's first bytes.
///
/// Cost: two searches in memory, and a filter probe if one segment reaches over all such keys.
/// Errors: `Corruption`, `Io`; neither means that there is no such key.
pub fn may_contain_prefix(run: &[Arc<Segment>], prefix: &[u8]) -> Result<bool> {
    let at = run.partition_point(|segment| *segment.meta().largest < *prefix);
    let Some(segment) = run.get(at) else { return Ok(false) };
    let SegmentMeta { smallest, largest, .. } = segment.meta();
    if smallest.starts_with(prefix) || largest.starts_with(prefix) {
        return Ok(true);
    }
    // The first that ends at or above the prefix: it either begins above it, or reaches over it.
    if **smallest > *prefix {
        return Ok(false);
    }
    segment.read(|reader| reader.may_contain_prefix(prefix))
}

/// Whether blocks whose checksum was right once are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// As readers do.
    Verified,
    /// No: what is rewritten is checked again, and kept out of the cache.
    Nothing,
}

/// Walks a run.
pub struct RunCursor {
    segments: Segments,
    trust: Trust,
    at: usize,
    inner: Option<SegmentCursor>,
    omit: Omit,
}

/// What may be left out, for a reader at `up_to`.
struct Omit {
    probe: Probe,
    up_to: SeqNo,
}

impl Omit {
    /// Where the keys around `key` end, all of which are covered in a segment of these properties; none
    /// if `key` is not.
    #[inline]
    fn leap(&mut self, meta: &SegmentMeta, key: &[u8]) -> Option<Vec<u8>> {
        let newest = self.newest_where_covered(meta, key)?;
        self.probe.cover().reach(key, newest)
    }

    /// The same for where they begin.
    #[inline]
    fn leap_back(&mut self, meta: &SegmentMeta, key: &[u8]) -> Option<Vec<u8>> {
        let newest = self.newest_where_covered(meta, key)?;
        self.probe.cover().reach_back(key, newest)
    }

    #[inline]
    fn newest_where_covered(&mut self, meta: &SegmentMeta, key: &[u8]) -> Option<SeqNo> {
        if self.probe.cover().is_empty() {
            return None;
        }
        let newest = meta.seq_max.min(self.up_to);
        self.probe.hides(key, newest).then_some(newest)
    }
}

impl RunCursor {
    /// Off the ends; opens nothing yet.
    pub fn new(segments: Segments) -> Self {
        let omit = Omit { probe: Probe::default(), up_to: SeqNo::MAX };
        Self { segments, trust: Trust::Verified, at: 0, inner: None, omit }
    }

    /// Leaves out what `cover` hides from a reader at `up_to`, where that is all that a segment has:
    /// blocks and files of it are not read.
    #[must_use]
    pub fn under(self, cover: Cover, up_to: SeqNo) -> Self {
        Self { omit: Omit { probe: Probe::new(cover), up_to }, ..self }
    }

    /// To the first entry from segment `at` on, stepping over files that are covered.
    fn enter_first(&mut self, mut at: usize) -> Result<()> {
        while let Some(segment) = self.segments.get(at).cloned() {
            match self.omit.leap(segment.meta(), &segment.meta().smallest) {
                Some(end) if *end > *segment.meta().largest => at += 1,
                Some(end) => {
                    return self.enter(Some(at))?.map_or(Ok(()), |c| c.seek(&end, SeqNo::MAX));
                }
                None => return self.enter(Some(at))?.map_or(Ok(()), |c| c.seek_first()),
            }
        }
        self.inner = None;
        Ok(())
    }

    /// To the last entry up to and with segment `at`, stepping over files that are covered.
    fn enter_last(&mut self, mut at: Option<usize>) -> Result<()> {
        while let Some((place, segment)) =
            at.and_then(|at| Some((at, self.segments.get(at)?.clone())))
        {
            match self.omit.leap_back(segment.meta(), &segment.meta().largest) {
                Some(start) if *start <= *segment.meta().smallest => at = place.checked_sub(1),
                Some(start) => return self.enter(at)?.map_or(Ok(()), |c| c.seek_before(&start)),
                None => return self.enter(at)?.map_or(Ok(()), |c| c.seek_last()),
            }
        }
        self.inner = None;
        Ok(())
    }

    /// A cursor that verifies the checksum of every block again: for the inputs of a rewrite.
    pub fn verifying(segments: Segments) -> Self {
        Self { trust: Trust::Nothing, ..Self::new(segments) }
    }

    fn ends_before(&self, at: usize, key: &[u8]) -> bool {
        self.segments.get(at).is_some_and(|segment| *segment.meta().largest < *key)
    }

    /// Makes segment `at` the current one; none past either end.
    fn enter(&mut self, at: Option<usize>) -> Result<Option<&mut SegmentCursor>> {
        let Some((at, segment)) = at.and_then(|at| Some((at, self.segments.get(at)?))) else {
            self.inner = None;
            return Ok(None);
        };
        if self.inner.is_none() || self.at != at {
            self.inner = None;
            let reader = segment.reader()?;
            self.inner = Some(match self.trust {
                Trust::Verified => reader.cursor(),
                Trust::Nothing => reader.rewrite_cursor(),
            });
            self.at = at;
        }
        Ok(self.inner.as_mut())
    }

    /// Goes on while the current segment is used up, or what it is on is covered.
    #[inline]
    fn settle_forward(&mut self) -> Result<()> {
        while let (Some(inner), Some(segment)) = (&mut self.inner, self.segments.get(self.at)) {
            let Some(entry) = inner.entry() else {
                self.enter_first(self.at + 1)?;
                continue;
            };
            match self.omit.leap(segment.meta(), entry.key) {
                Some(end) => inner.seek(&end, SeqNo::MAX)?,
                None => break,
            }
        }
        Ok(())
    }

    #[inline]
    fn settle_backward(&mut self) -> Result<()> {
        while let (Some(inner), Some(segment)) = (&mut self.inner, self.segments.get(self.at)) {
            let Some(entry) = inner.entry() else {
                self.enter_last(self.at.checked_sub(1))?;
                continue;
            };
            match self.omit.leap_back(segment.meta(), entry.key) {
                Some(start) => inner.seek_before(&start)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Runs a move; an error leaves the cursor off, as the contract of [`Cursor`] wants.
    fn moved(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let result = step(self);
        if result.is_err() {
            self.inner = None;
        }
        result
    }
}

impl Cursor for RunCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.moved(|cursor| {
            cursor.enter_first(0)?;
            cursor.settle_forward()
        })
    }

    fn seek_last(&mut self) -> Result<()> {
        self.moved(|cursor| {
            cursor.enter_last(cursor.segments.len().checked_sub(1))?;
            cursor.settle_backward()
        })
    }

    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        self.moved(|cursor| {
            let at = cursor.segments.partition_point(|segment| *segment.meta().largest < *key);
            let segment = cursor.segments.get(at);
            match segment.and_then(|segment| cursor.omit.leap(segment.meta(), key)) {
                Some(end) if cursor.ends_before(at, &end) => cursor.enter_first(at + 1)?,
                Some(end) => {
                    cursor.enter(Some(at))?.map_or(Ok(()), |c| c.seek(&end, SeqNo::MAX))?
                }
                None => cursor.enter(Some(at))?.map_or(Ok(()), |c| c.seek(key, seq))?,
            }
            cursor.settle_forward()
        })
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.moved(|cursor| {
            let end = cursor.segments.partition_point(|segment| *segment.meta().smallest < *key);
            if let Some(inner) = cursor.enter(end.checked_sub(1))? {
                inner.seek_before(key)?;
            }
            cursor.settle_backward()
        })
    }

    fn next(&mut self) -> Result<()> {
        self.moved(|cursor| {
            if let Some(inner) = cursor.inner.as_mut() {
                inner.next()?;
            }
            cursor.settle_forward()
        })
    }

    fn prev(&mut self) -> Result<()> {
        self.moved(|cursor| {
            if let Some(inner) = cursor.inner.as_mut() {
                inner.prev()?;
            }
            cursor.settle_backward()
        })
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.inner.as_ref()?.entry()
    }

    fn value(&self) -> Value {
        self.inner.as_ref().map_or(Value::EMPTY, Cursor::value)
    }
}
