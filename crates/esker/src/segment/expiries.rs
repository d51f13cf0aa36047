//! When the entries of a segment expire, all at once.
//!
//! ```text
//!   expiries, sorted      first ──── … ──── half ──── … ──── last
//!                                            └ by then half of all entries have expired
//! ```
//!
//! 1. `half` is exact and counts all entries, those that never expire too: whoever rewrites the file
//!    then frees as much as he keeps, whatever the times in it are. [`Time::NEVER`] if fewer than half
//!    of them ever expire.
//! 2. Of a rewrite at some time none is left that had expired by then, unless something older had to
//!    be hidden: so `first` lies behind it, and nobody comes back for nothing.

use crate::base::key::Entry;
use crate::base::time::Time;

/// See the module. Without an entry that expires all of it is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiries {
    /// How many entries expire.
    pub count: u64,
    /// When the first of them does.
    pub first: Time,
    /// When half of all entries have.
    pub half: Time,
    /// When all that expire have.
    pub last: Time,
}

impl Expiries {
    /// About how many of `entries` have expired by `now`: as if even times lay between those known.
    pub fn gone_by(&self, now: Time, entries: u64) -> u64 {
        let Self { count, first, half, last } = *self;
        if count == 0 || now < first {
            return 0;
        }
        if now >= last {
            return count;
        }
        let middle = if half <= now { (half, entries.div_ceil(2)) } else { (first, 0) };
        let next =
            if half > now && half < last { (half, entries.div_ceil(2)) } else { (last, count) };
        let part = u128::from(now.0 - middle.0.0) * u128::from(next.1.saturating_sub(middle.1));
        let part = part / u128::from((next.0.0 - middle.0.0).max(1));
        middle.1.saturating_add(u64::try_from(part).unwrap_or(u64::MAX)).min(count)
    }
}

/// The expiries of entries that come one by one. Eight bytes each.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered(Vec<Time>);

impl Gathered {
    /// Takes note of an entry.
    #[inline]
    pub(super) fn note(&mut self, entry: &Entry<'_>) {
        self.0.extend(entry.expiry());
    }

    /// What they come to among so many entries.
    pub(super) fn sum_up(&mut self, entries: u64) -> Expiries {
        self.0.sort_unstable();
        let all = &self.0;
        let (Some(first), Some(last)) = (all.first(), all.last()) else {
            return Expiries::default();
        };
        let half = usize::try_from(entries.div_ceil(2)).unwrap_or(usize::MAX);
        let half = all.get(half.saturating_sub(1)).copied().unwrap_or(Time::NEVER);
        Expiries { count: all.len() as u64, first: *first, half, last: *last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64], entries: u64) -> Expiries {
        Gathered(times.iter().copied().map(Time).collect()).sum_up(entries)
    }

    #[test]
    fn half_is_when_half_of_all_entries_have_expired() {
        assert_eq!(of(&[], 10), Expiries::default());
        let half = |times: &[u64], entries| of(times, entries).half.0;
        assert_eq!([half(&[9, 5, 7, 3], 4), half(&[9, 5, 7], 3), half(&[9], 1)], [5, 7, 9]);
        assert_eq!([half(&[9, 5], 4), half(&[9, 5], 5), half(&[9], 3)], [9, u64::MAX, u64::MAX]);
    }

    #[test]
    fn what_has_expired_is_known_at_the_ends_and_half_way_and_guessed_between() {
        let of = of(&[10, 11, 12, 13, 50, 90], 6);
        assert_eq!((of.first, of.half, of.last), (Time(10), Time(12), Time(90)));
        let gone = [0, 9, 10, 11, 12, 51, 89, 90, u64::MAX].map(|now| of.gone_by(Time(now), 6));
        assert_eq!(gone, [0, 0, 0, 1, 3, 4, 5, 6, 6]);
        let few = Expiries { half: Time::NEVER, ..of };
        assert_eq!([10, 50, 90].map(|now| few.gone_by(Time(now), 100)), [0, 3, 6]);
    }
}
