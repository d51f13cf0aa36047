//! The range deletes of a memtable: written in no time, looked at through skylines.
//!
//! ```text
//! pending   range deletes, in the order of arrival: all that a writer touches
//! groups    oldest first, each more than twice as long as the next; each with a skyline
//! ```
//!
//! 1. Nothing is built for writers, nor while nobody asks. Who asks makes a group of what is pending
//!    and visible, and merges it into its neighbours while they are short: so a range delete takes
//!    part in O(log n) skylines, and a look is O(log² n).
//! 2. A reader takes a group's skyline only if no number in it is above the reader's. What an older
//!    one needs of a group it finds by a look at each.
//! 3. Pending are only numbers that nobody has asked for yet: `pending_min` is never above one that
//!    is visible and pending, because it is lowered before the number becomes visible.

use super::slab::At;
use crate::base::id::SeqNo;
use crate::base::span::{Skyline, Span};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A group takes in a neighbour that is at most so many times as long.
const RATIO: usize = 2;

/// Range deletes that share a skyline.
struct Group {
    /// By number, ascending; at least one.
    spans: Vec<Span>,
    skyline: Arc<Skyline>,
}

impl Group {
    fn new(mut spans: Vec<Span>) -> Self {
        spans.sort_unstable_by_key(|span| span.seq);
        let skyline = Arc::new(Skyline::of(&spans));
        Self { spans, skyline }
    }

    /// Those with a number at or below `up_to`.
    fn up_to(&self, up_to: SeqNo) -> &[Span] {
        let len = self.spans.partition_point(|span| span.seq <= up_to);
        self.spans.get(..len).unwrap_or_default()
    }
}

type Groups = Vec<Arc<Group>>;

/// What writers touch. Held only to push, to copy, or to make a group.
#[derive(Default)]
struct Arrived {
    /// Every range delete.
    all: Vec<At>,
    pending: Vec<(SeqNo, At)>,
}

/// See the module.
pub(super) struct RangeDeletes {
    /// The highest number; zero without any.
    newest: AtomicU64,
    /// The lowest number that is in no group.
    pending_min: AtomicU64,
    arrived: Mutex<Arrived>,
    groups: ArcSwap<Groups>,
}

impl RangeDeletes {
    pub(super) fn new() -> Self {
        Self {
            newest: AtomicU64::new(0),
            pending_min: AtomicU64::new(u64::MAX),
            arrived: Mutex::default(),
            groups: ArcSwap::default(),
        }
    }

    /// Takes note of one that was written.
    pub(super) fn push(&self, at: At, seq: SeqNo) {
        let mut arrived = self.arrived.lock();
        arrived.all.push(at);
        arrived.pending.push((seq, at));
        self.pending_min.fetch_min(seq.0, Ordering::Release);
        self.newest.fetch_max(seq.0, Ordering::Release);
    }

    /// The highest number; zero without any.
    #[inline]
    pub(super) fn newest(&self) -> SeqNo {
        SeqNo(self.newest.load(Ordering::Acquire))
    }

    /// All, in the order of arrival.
    pub(super) fn all(&self) -> Vec<At> {
        self.arrived.lock().all.clone()
    }

    /// The groups, in which every number up to `up_to` is. `read` says what a record covers.
    fn groups(&self, up_to: SeqNo, read: impl Fn(At) -> Option<Span>) -> Arc<Groups> {
        if self.pending_min.load(Ordering::Acquire) <= up_to.0 {
            self.gather(up_to, read);
        }
        self.groups.load_full()
    }

    #[cold]
    fn gather(&self, up_to: SeqNo, read: impl Fn(At) -> Option<Span>) {
        let mut arrived = self.arrived.lock();
        let pending = std::mem::take(&mut arrived.pending);
        let (due, later): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|(seq, _)| *seq <= up_to);
        let later_min = later.iter().map(|(seq, _)| seq.0).min().unwrap_or(u64::MAX);
        arrived.pending = later;
        let mut spans: Vec<Span> = due.into_iter().filter_map(|(_, at)| read(at)).collect();
        if !spans.is_empty() {
            let mut groups = Groups::clone(&self.groups.load());
            while let Some(last) = groups.pop_if(|last| last.spans.len() <= RATIO * spans.len()) {
                spans.extend(last.spans.iter().cloned());
            }
            groups.push(Arc::new(Group::new(spans)));
            self.groups.store(Arc::new(groups));
        }
        // Last, and under the lock: who sees it finds the groups.
        self.pending_min.store(later_min, Ordering::Release);
    }

    /// The highest number up to `up_to` that covers `key`.
    pub(super) fn cover(
        &self,
        key: &[u8],
        up_to: SeqNo,
        read: impl Fn(At) -> Option<Span>,
    ) -> SeqNo {
        let groups = self.groups(up_to, read);
        let of_group = |group: &Arc<Group>| {
            let spans = group.up_to(up_to);
            if spans.len() == group.spans.len() {
                return group.skyline.at(key).seq;
            }
            let covering = spans.iter().filter(|span| span.covers(key));
            covering.map(|span| span.seq).max().unwrap_or_default()
        };
        groups.iter().map(of_group).max().unwrap_or_default()
    }

    /// What readers at `up_to` see, group by group.
    pub(super) fn skylines(
        &self,
        up_to: SeqNo,
        read: impl Fn(At) -> Option<Span>,
    ) -> Vec<Arc<Skyline>> {
        let groups = self.groups(up_to, read);
        let of_group = |group: &Arc<Group>| {
            let spans = group.up_to(up_to);
            if spans.len() == group.spans.len() {
                group.skyline.clone()
            } else {
                Arc::new(Skyline::of(spans))
            }
        };
        groups.iter().map(of_group).collect()
    }
}
