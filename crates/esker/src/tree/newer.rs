//! Whether anything newer than a moment was written to a key, or among keys: what a transaction asks
//! before it commits.
//!
//! ```text
//!                  moment                                  asked is what lies right of it
//!   memtable 0        │  ▪▪▪▪▪▪▪▪▪▪▪▪
//!   memtable 1    ▪▪▪▪│▪▪▪▪                                the first one that begins left of it is
//!   runs     ▪▪▪▪▪▪▪▪▪│                                    the last that is asked
//! ```
//!
//! 1. Nothing is kept for it: while a snapshot pins the moment, of each key whose value has changed
//!    since the newest version is still there, be it a tombstone.
//! 2. A memtable, run or segment that has nothing newer is not read.
//! 3. A range delete counts for every key in its range.

use super::view::View;
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::{Kind, Lookup};
use crate::base::span::Span;
use crate::memtable::Memtable;
use crate::merge::run::{RunCursor, Segments, get_in_run, segment_for};
use crate::segment::handle::Segment;
use std::sync::Arc;

impl View {
    /// Whether `key` was written after `since`. Cost: at most that of a get, and mostly one hash
    /// probe. Errors: `Corruption`, `Io`.
    pub fn is_newer(&self, key: &Lookup, since: SeqNo) -> Result<bool> {
        for memtable in &self.memtables {
            let cover = memtable.cover(key.full(), SeqNo::MAX);
            let found = memtable.get(key, SeqNo::MAX).map(|found| found.seq);
            if found.unwrap_or_default().max(cover) > since {
                return Ok(true);
            }
            // Whatever lies behind it is older.
            if found.is_some() || begins_by(memtable, since) {
                return Ok(false);
            }
        }
        if self.version.spans.cover(key.full(), SeqNo::MAX) > since {
            return Ok(true);
        }
        for run in &self.version.runs {
            let segment = segment_for(&run.segments, key.full());
            if segment.is_none_or(|segment| segment.meta().seq_max <= since) {
                continue;
            }
            if let Some((seq, ..)) = get_in_run(&run.segments, key, SeqNo::MAX)? {
                return Ok(seq > since);
            }
        }
        Ok(false)
    }

    /// A full key from `start` up to `end`, excluded, that was written after `since`, or that a range
    /// delete from after it covers.
    ///
    /// Cost: a walk over these keys in what has anything newer; brings the order of memtables up to
    /// date. Errors: `Corruption`, `Io`.
    pub fn newer_among(&self, start: &[u8], end: &[u8], since: SeqNo) -> Result<Option<Vec<u8>>> {
        let reaches = |span: &Span| span.seq > since && *span.start < *end && *start < *span.end;
        let first_of = |span: &Span| start.max(&span.start).to_vec();
        for memtable in &self.memtables {
            let spans = memtable.spans();
            if let Some(span) = spans.iter().find(|span| reaches(span)) {
                return Ok(Some(first_of(span)));
            }
            let newer = walk(memtable.cursor(SeqNo::MAX), start, end, since)?;
            if newer.is_some() || begins_by(memtable, since) {
                return Ok(newer);
            }
        }
        if let Some(span) = self.version.spans.all().iter().find(|span| reaches(span)) {
            return Ok(Some(first_of(span)));
        }
        for run in &self.version.runs {
            let is_near = |segment: &&Arc<Segment>| {
                let meta = segment.meta();
                meta.seq_max > since && *meta.smallest < *end && *start <= *meta.largest
            };
            let near: Segments = run.segments.iter().filter(is_near).cloned().collect();
            let newer = walk(RunCursor::new(near), start, end, since)?;
            if newer.is_some() {
                return Ok(newer);
            }
        }
        Ok(None)
    }
}

/// Whether the first entry of a memtable is not newer than `since`: all that is older than the
/// memtable is then older than that.
pub(super) fn begins_by(memtable: &Memtable, since: SeqNo) -> bool {
    memtable.entries().next().is_some_and(|first| first.seq <= since)
}

fn walk(
    mut cursor: impl Cursor,
    start: &[u8],
    end: &[u8],
    since: SeqNo,
) -> Result<Option<Vec<u8>>> {
    cursor.seek(start, SeqNo::MAX)?;
    while let Some(entry) = cursor.entry().filter(|entry| *entry.key < *end) {
        if entry.seq > since && entry.kind != Kind::RangeDelete {
            return Ok(Some(entry.key.to_vec()));
        }
        cursor.next()?;
    }
    Ok(None)
}
