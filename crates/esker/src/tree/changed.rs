//! The keys that may have another value than at some moment, in order: what a revert looks at.
//!
//! ```text
//!   written since    memtables and segments with anything newer, merged ────────┐
//!   removed since    range deletes, joined ─▶ what the moment sees under them ──┴─▶ keys, each once
//! ```
//!
//! 1. While a snapshot pins the moment: of each key that has another value now, its newest version is
//!    newer than the moment and still there, be it a tombstone, or a range delete that is newer covers
//!    the key.
//! 2. A memtable, run or segment that has nothing newer is not read for what was written since.
//! 3. What it gives may have come back to the value that it had. That something expires is no change: it
//!    does so at every moment.

use super::newer::begins_by;
use super::view::View;
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::Kind;
use crate::base::keyset::{KeySet, Stretch};
use crate::merge::loser::Merged;
use crate::merge::run::{RunCursor, Segments};
use crate::merge::visible::{Scope, Tombstones, Visible};
use std::ops::Bound;
use std::sync::Arc;

/// See the module.
pub struct Changed {
    view: Arc<View>,
    since: SeqNo,
    written: Merged,
    /// Whether `written` was moved to its first entry.
    is_begun: bool,
    /// Where range deletes lie, without the stretches that were walked.
    stretches: KeySet,
    /// What the moment sees in the present one, and the key that it is at.
    removed: Option<(Visible<Merged>, Vec<u8>)>,
    /// The last key that was given.
    given: Vec<u8>,
}

impl View {
    /// The keys that may have another value than at `since`, which a snapshot must pin.
    ///
    /// Cost: brings the order of memtables up to date; then a walk over what was written since, and
    /// over what range deletes have covered since.
    pub fn changed_since(self: &Arc<Self>, since: SeqNo) -> Changed {
        let mut sources: Vec<Box<dyn Cursor>> = Vec::new();
        let mut spans = Vec::new();
        for memtable in &self.memtables {
            sources.push(Box::new(memtable.cursor(SeqNo::MAX)));
            spans.extend(memtable.spans().iter().cloned());
            // Whatever lies behind it is older.
            if begins_by(memtable, since) {
                break;
            }
        }
        for run in &self.version.runs {
            let newer = run.segments.iter().filter(|segment| segment.meta().seq_max > since);
            let newer: Segments = newer.cloned().collect();
            if !newer.is_empty() {
                sources.push(Box::new(RunCursor::new(newer)));
            }
        }
        spans.extend(self.version.spans.all().iter().cloned());
        let mut stretches = KeySet::default();
        for span in spans.iter().filter(|span| span.seq > since) {
            stretches.insert(&span.start, &span.end);
        }
        Changed {
            view: self.clone(),
            since,
            written: Merged::new(sources),
            is_begun: false,
            stretches,
            removed: None,
            given: Vec::new(),
        }
    }
}

impl Changed {
    /// The next full key, lent until the call after. Errors: `Corruption`, `Io`.
    pub fn advance(&mut self) -> Result<Option<&[u8]>> {
        self.find_written()?;
        self.find_removed()?;
        let written = self.written.entry().map(|entry| entry.key);
        let removed = self.removed.as_ref().map(|(_, key)| &**key);
        let next = match (written, removed) {
            (Some(written), Some(removed)) => written.min(removed),
            (Some(key), None) | (None, Some(key)) => key,
            (None, None) => return Ok(None),
        };
        self.given.clear();
        self.given.extend_from_slice(next);
        Ok(Some(&self.given))
    }

    /// Moves on to an entry that is newer, of a key that was not given.
    fn find_written(&mut self) -> Result<()> {
        if !self.is_begun {
            self.is_begun = true;
            self.written.seek_first()?;
        }
        while let Some(entry) = self.written.entry() {
            let is_newer = entry.seq > self.since && entry.kind != Kind::RangeDelete;
            if is_newer && *entry.key > *self.given {
                break;
            }
            self.written.next()?;
        }
        Ok(())
    }

    /// Moves on to a key, not given, that the moment sees where range deletes lie.
    fn find_removed(&mut self) -> Result<()> {
        loop {
            match &mut self.removed {
                Some((_, key)) if *key > self.given => return Ok(()),
                Some((seen, key)) => match seen.advance()? {
                    Some(entry) => {
                        key.clear();
                        key.extend_from_slice(entry.key);
                    }
                    None => self.removed = None,
                },
                None => match self.stretches.pop_first() {
                    // The empty key is no full key: it is below all of them.
                    Some(stretch) => self.removed = Some((self.seen_in(stretch), Vec::new())),
                    None => return Ok(()),
                },
            }
        }
    }

    /// What the moment sees of a stretch.
    fn seen_in(&self, (start, end): Stretch) -> Visible<Merged> {
        let (view, at, now) = (self.view.clone(), self.since, self.view.clock.now());
        let scope = Scope {
            seq: at,
            now,
            start: Bound::Included(start),
            end: Bound::Excluded(end),
            tombstones: Tombstones::Hidden,
        };
        let cover = view.cover(at, now);
        let (hidden, backing) = (cover.clone(), view.clone());
        let open = Box::new(move || Ok(view.cursor(at, &hidden)));
        Visible::new(open, scope).under(cover).folding(backing)
    }
}
