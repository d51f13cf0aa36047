//! The range deletes of all live segments, as the readers of one version see them.
//!
//! 1. Where a range delete lies says nothing: those of all segments count for every entry, by
//!    number alone.
//! 2. The present has its skyline made with the version. Readers older than some range delete get
//!    one without it, made at need; a few of those are kept.

use crate::base::id::{FileId, SeqNo};
use crate::base::span::{Skyline, Span};
use parking_lot::Mutex;
use std::sync::Arc;

/// So many skylines of older moments are kept.
const OLDER_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub struct LiveSpans {
    /// By number, ascending.
    all: Arc<[Span]>,
    now: Arc<Skyline>,
    /// The segments they come from.
    sources: Vec<FileId>,
    /// Each with the highest number that is in it; the one asked for last is the last. Held to look
    /// and to put in; skylines are made outside.
    older: Mutex<Vec<(SeqNo, Arc<Skyline>)>>,
}

impl LiveSpans {
    /// Those of the segments `sources`. Cost: a sort.
    pub fn new(sources: Vec<FileId>, mut all: Vec<Span>) -> Self {
        all.sort_unstable_by_key(|span| span.seq);
        let now = Arc::new(Skyline::of(&all));
        Self { all: all.into(), now, sources, older: Mutex::default() }
    }

    /// Which segments they come from.
    pub fn sources(&self) -> &[FileId] {
        &self.sources
    }

    /// All of them, by number.
    pub fn all(&self) -> &Arc<[Span]> {
        &self.all
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What readers at `at` see.
    pub fn skyline(&self, at: SeqNo) -> Arc<Skyline> {
        let seen = self.all.partition_point(|span| span.seq <= at);
        let Some(newest) = seen.checked_sub(1).and_then(|last| self.all.get(last)) else {
            return Arc::default();
        };
        if seen == self.all.len() {
            return self.now.clone();
        }
        let mut older = self.older.lock();
        let held = older.iter().position(|(seq, _)| *seq == newest.seq);
        let held = held.map(|place| older.remove(place).1);
        drop(older);
        let skyline =
            held.unwrap_or_else(|| Arc::new(Skyline::of(self.all.get(..seen).unwrap_or_default())));
        let mut older = self.older.lock();
        older.push((newest.seq, skyline.clone()));
        if older.len() > OLDER_MAX {
            older.remove(0);
        }
        skyline
    }

    /// The highest number up to `at` that covers `key`. Cost: nothing without range deletes, else a
    /// binary search.
    #[inline]
    pub fn cover(&self, key: &[u8], at: SeqNo) -> SeqNo {
        if self.is_empty() { SeqNo::ZERO } else { self.skyline(at).at(key).seq }
    }
}
