//! What `io_stats` reports: what went through this handle since it was opened, and since somebody
//! last asked.
//!
//! 1. A get is a read of its key and of the value found. A transaction is counted once it has
//!    committed, each of its operations as a write of the bytes that it carries.
//! 2. Counting takes no lock. Asking takes one, so that two who ask never count a thing twice.

use kvdb::{IoStats, IoStatsKind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Counters that only rise.
pub(crate) struct Tally {
    opened: Instant,
    transactions: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    reads: AtomicU64,
    bytes_read: AtomicU64,
    /// The figures at the last question for those since the previous one.
    asked: Mutex<IoStats>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let asked = IoStats::empty();
        Self {
            opened: asked.started,
            transactions: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            asked: Mutex::new(asked),
        }
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.reads.fetch_add(1, Relaxed);
        self.bytes_read.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn transaction(&self, writes: usize, bytes: usize) {
        self.transactions.fetch_add(1, Relaxed);
        self.writes.fetch_add(writes as u64, Relaxed);
        self.bytes_written.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn report(&self, kind: IoStatsKind) -> IoStats {
        match kind {
            IoStatsKind::Overall => self.overall(),
            IoStatsKind::SincePrevious => {
                let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                let before = std::mem::replace(&mut *asked, self.overall());
                since(&before, &asked)
            }
        }
    }

    fn overall(&self) -> IoStats {
        IoStats {
            transactions: self.transactions.load(Relaxed),
            writes: self.writes.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            reads: self.reads.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            started: self.opened,
            span: self.opened.elapsed(),
            ..IoStats::empty()
        }
    }
}

/// What `now` has more than `before`.
fn since(before: &IoStats, now: &IoStats) -> IoStats {
    IoStats {
        transactions: now.transactions - before.transactions,
        writes: now.writes - before.writes,
        bytes_written: now.bytes_written - before.bytes_written,
        reads: now.reads - before.reads,
        bytes_read: now.bytes_read - before.bytes_read,
        started: before.started + before.span,
        span: now.span - before.span,
        ..IoStats::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spans_between_questions_add_up_and_none_is_counted_twice() {
        let tally = Tally::new();
        tally.transaction(3, 18);
        let first = tally.report(IoStatsKind::SincePrevious);
        tally.read(7);
        tally.read(1);
        let second = tally.report(IoStatsKind::SincePrevious);
        let overall = tally.report(IoStatsKind::Overall);
        assert_eq!((first.writes, first.bytes_written, first.reads), (3, 18, 0));
        assert_eq!((second.writes, second.bytes_read, second.reads), (0, 8, 2));
        assert_eq!((overall.transactions, overall.writes, overall.reads), (1, 3, 2));
        assert_eq!(first.started + first.span, second.started);
        assert!(overall.span >= first.span + second.span);
    }
}
