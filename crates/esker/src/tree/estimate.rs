//! About how much there is between two keys, without walking over it.
//!
//! ```text
//!   segment within the range      what its properties say
//!   segment at a border           its share by the fences of its index; half of a stretch that is cut
//!   memtable                      how many entries lie between, times what the first of them have
//! ```
//!
//! Entries are counted, not keys: old versions and what a range delete covers count until compaction
//! drops them. A tombstone takes itself and what it hides away, what has expired itself: of a segment,
//! as many as should have by its times.

use super::view::View;
use crate::base::blob::BlobRef;
use crate::base::coding::to_u64;
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::{Entry, Kind};
use crate::base::time::Time;
use crate::memtable::Memtable;
use crate::segment::handle::Segment;
use std::sync::Arc;

/// So many entries of a memtable stand for all.
const SAMPLE: u64 = 1000;

/// About how much there is in a range of keys; see [`Collection::estimate`](crate::Collection::estimate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimate {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values, as they are stored.
    pub bytes: u64,
}

/// What is known of some entries.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    entries: u64,
    deletes: u64,
    /// Those that have expired.
    expired: u64,
    bytes: u64,
}

impl Part {
    /// `of`/`whole` of it.
    fn share(self, of: u64, whole: u64) -> Self {
        let share = |n: u64| {
            let part = u128::from(n) * u128::from(of) / u128::from(whole.max(1));
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        let Self { entries, deletes, expired, bytes } = self;
        let [entries, deletes, expired, bytes] = [entries, deletes, expired, bytes].map(share);
        Self { entries, deletes, expired, bytes }
    }
}

impl View {
    /// About how much there is from the full key `start` up to `end`, excluded.
    ///
    /// Cost: brings the order of memtables up to date; a few reads of the index for each segment at a
    /// border. Errors: `Corruption`, `Io`.
    pub fn estimate(&self, start: &[u8], end: &[u8]) -> Result<Estimate> {
        if start >= end {
            return Ok(Estimate::default());
        }
        let (mut sum, now) = (Part::default(), self.clock.now());
        let mut add = |part: Part| {
            sum.entries += part.entries;
            sum.deletes += part.deletes;
            sum.expired += part.expired;
            sum.bytes += part.bytes;
        };
        for memtable in &self.memtables {
            add(in_memtable(memtable, start, end, now)?);
        }
        for segment in self.version.runs.iter().flat_map(|run| run.between(start, end)) {
            add(in_segment(segment, start, end, now)?);
        }
        let keys = sum.entries.saturating_sub(sum.deletes.saturating_mul(2) + sum.expired);
        Ok(Estimate { keys, bytes: sum.bytes })
    }
}

fn in_memtable(memtable: &Memtable, start: &[u8], end: &[u8], now: Time) -> Result<Part> {
    let mut cursor = memtable.cursor(SeqNo::MAX);
    let count = to_u64(cursor.count_between(start, end));
    let mut part = Part::default();
    cursor.seek(start, SeqNo::MAX)?;
    while let Some(entry) = cursor.entry().filter(|_| part.entries < count.min(SAMPLE)) {
        part.entries += 1;
        part.deletes += u64::from(entry.kind == Kind::Delete);
        part.expired += u64::from(entry.kind != Kind::Delete && entry.is_absence(now));
        part.bytes += bytes_of(&entry);
        cursor.next()?;
    }
    Ok(part.share(count, part.entries))
}

fn bytes_of(entry: &Entry<'_>) -> u64 {
    let large = BlobRef::decode(entry.value).filter(|_| entry.kind == Kind::Blob);
    to_u64(entry.key.len()) + large.map_or(to_u64(entry.value.len()), |blob| u64::from(blob.stored))
}

fn in_segment(segment: &Arc<Segment>, start: &[u8], end: &[u8], now: Time) -> Result<Part> {
    let meta = segment.meta();
    let bytes = meta.bytes + meta.blob_bytes;
    let expired = meta.expiries.gone_by(now, meta.entries);
    let whole = Part { entries: meta.entries, deletes: meta.deletes, expired, bytes };
    if *start <= *meta.smallest && *meta.largest < *end {
        return Ok(whole);
    }
    let (mut inside, mut all) = (0, 0);
    let mut from = meta.smallest.clone();
    for fence in segment.read(|reader| reader.fences())? {
        let is_apart = *fence.key < *start || *end <= *from;
        let is_inside = *start <= *from && *fence.key < *end;
        // Doubled, so that a half is a number.
        inside += fence.bytes * if is_inside { 2 } else { u64::from(!is_apart) };
        all += fence.bytes * 2;
        from = fence.key;
    }
    Ok(whole.share(inside, all))
}
