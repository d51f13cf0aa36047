//! Gaps: keys among which a scan found nothing, remembered so that the next one leaps over them.
//!
//! ```text
//!  at number t   … v  × × × ×  …  ×  w …      × deleted, covered, or newer than t
//!  remembered        ├──────────────┤ t      between two visible keys, and more than 64 of them
//! ```
//!
//! A gap [x, y) at t is as good as a range delete for every reader at t or above. For take a key k
//! in it and a reader at u ≥ t. Every write up to t was visible to the scan (law 2), and of k it saw
//! nothing: the newest of what concerns k up to t deletes it, or there is none. Now the newest of
//! what concerns k up to u is either above t, and then nothing at or below t matters, an operand
//! above t applying to nothing; or it is that same one, and k is absent. Either way no entry of k
//! numbered t or lower is seen. Later writes have numbers above t, and rewrites change nothing that
//! a reader can see, so the gap stays true for ever.
//!
//! 1. It says nothing to readers below t.
//! 2. What has expired shows nothing, and is there again if the clock is set back: so it says nothing
//!    to readers at an earlier time of day than the scan's.
//! 3. It is never written, and no rewrite drops anything because of it: it is a shortcut only.
//! 4. At most [`GAPS_MAX`] are kept; the oldest goes out, and one that lies in a newer one.

use crate::base::id::SeqNo;
use crate::base::span::{Skyline, Span};
use crate::base::time::Time;
use parking_lot::Mutex;
use std::sync::Arc;

/// How many are kept.
const GAPS_MAX: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Gaps {
    /// Held to look and to put in, and while a skyline is made of what has changed.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Oldest first.
    gaps: Vec<Gap>,
    newest: SeqNo,
    latest: Time,
    /// Of all of them, until one is added.
    skyline: Option<Arc<Skyline>>,
}

#[derive(Debug)]
struct Gap {
    span: Span,
    /// The time of day of the scan.
    now: Time,
}

impl Gaps {
    /// Remembers that a scan at number `span.seq`, at the time `now`, found no visible key in it.
    pub fn remember(&self, span: Span, now: Time) {
        if span.start >= span.end {
            return;
        }
        let mut held = self.held.lock();
        held.gaps.retain(|Gap { span: older, .. }| {
            let within = span.start <= older.start && older.end <= span.end;
            !within || older.seq > span.seq
        });
        if held.gaps.len() >= GAPS_MAX {
            held.gaps.remove(0);
        }
        held.newest = held.newest.max(span.seq);
        held.latest = held.latest.max(now);
        held.gaps.push(Gap { span, now });
        held.skyline = None;
    }

    /// What readers at `at`, at the time `now`, may leap over. Cost: a lock; a sort after something was
    /// added, or for a reader older than that.
    pub fn skyline(&self, at: SeqNo, now: Time) -> Arc<Skyline> {
        let mut held = self.held.lock();
        if held.gaps.is_empty() {
            return Arc::default();
        }
        if at < held.newest || now < held.latest {
            let known = held.gaps.iter().filter(|gap| gap.span.seq <= at && gap.now <= now);
            return Arc::new(Skyline::of(known.map(|gap| &gap.span)));
        }
        let Held { gaps, skyline, .. } = &mut *held;
        let all = || Arc::new(Skyline::of(gaps.iter().map(|gap| &gap.span)));
        skyline.get_or_insert_with(all).clone()
    }

    /// How many are remembered.
    pub fn count(&self) -> usize {
        self.held.lock().gaps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(start: u16, end: u16, seq: u64) -> Span {
        let key = |n: u16| n.to_be_bytes().into();
        Span { start: key(start), end: key(end), seq: SeqNo(seq) }
    }

    fn at(gaps: &Gaps, key: u16, reader: u64) -> u64 {
        gaps.skyline(SeqNo(reader), Time(7)).at(&key.to_be_bytes()).seq.0
    }

    #[test]
    fn a_gap_counts_for_readers_who_are_not_older() {
        let gaps = Gaps::default();
        gaps.remember(gap(2, 8, 10), Time(7));
        assert_eq!([9, 10, 11].map(|reader| at(&gaps, 5, reader)), [0, 10, 10]);
        gaps.remember(gap(4, 6, 20), Time(7));
        assert_eq!([10, 19, 20].map(|reader| at(&gaps, 5, reader)), [10, 10, 20]);
        assert_eq!(at(&gaps, 7, 20), 10);
    }

    /// The clock was set back: what had expired is there again.
    #[test]
    fn a_gap_counts_from_its_time_of_day_on() {
        let gaps = Gaps::default();
        gaps.remember(gap(2, 4, 10), Time(5));
        gaps.remember(gap(6, 8, 10), Time(9));
        let at = |key: u16, now| gaps.skyline(SeqNo(10), Time(now)).at(&key.to_be_bytes()).seq.0;
        assert_eq!([4, 5, 8, 9, 10].map(|now| at(3, now)), [0, 10, 10, 10, 10]);
        assert_eq!([4, 5, 8, 9, 10].map(|now| at(7, now)), [0, 0, 0, 10, 10]);
    }

    #[test]
    fn gaps_are_few() {
        let gaps = Gaps::default();
        for n in 0..2000 {
            gaps.remember(gap(2 * n, 2 * n + 1, 1), Time(7));
        }
        assert_eq!(gaps.count(), GAPS_MAX);
        assert_eq!((at(&gaps, 0, 1), at(&gaps, 3998, 1)), (0, 1));
        gaps.remember(gap(0, 4000, 2), Time(7));
        gaps.remember(gap(9, 9, 3), Time(7));
        assert_eq!(gaps.count(), 1);
    }
}
