//! Admission: how fast writers may go, decided before they take any lock.
//!
//! ```text
//!   admitted ──────────────────────────▶  bytes that writers were let in with
//!        │◀── room: some slabs ──▶│
//!   limit ────────────────────────▶       rises as a flush gets on, byte for byte
//! ```
//!
//! 1. A write comes in when all writes before it are within the limit; else it parks. So writers
//!    that are faster than the flush go on at its pace, in small steps, instead of stopping dead
//!    while it writes a whole memtable.
//! 2. The flush itself goes at the pace of compaction while too many young runs lie on each other
//!    ([`Pace::repay`]): what is owed below is paid back by the writers in proportion.
//! 3. Nobody sleeps for a time or spins: each wait ends with somebody's progress.
//! 4. A flush gives back exactly what its generation was let in with, also if it is tried again.

use super::poison::Poison;
use crate::base::error::Result;
use crate::env::{Env, Gate};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// See the module.
#[derive(Debug)]
pub struct Pace {
    admitted: AtomicU64,
    limit: AtomicU64,
    /// Opened when the limit rises.
    risen: Gate,
    /// Bytes that compactions have written: what a flush in debt waits for.
    compacted: AtomicU64,
    /// Opened when compactions get on, or end.
    moved: Gate,
    /// Whether the flush waits for compaction, so that writers know what they wait for.
    in_debt: AtomicBool,
    flush: Waits,
    compaction: Waits,
}

/// How often, and how long in all, writers waited for one reason.
#[derive(Debug, Default)]
pub struct Waits {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Waits {
    /// How often.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// How long in all, in nanoseconds.
    pub fn nanos(&self) -> u64 {
        self.nanos.load(Relaxed)
    }
}

impl Pace {
    /// Lets in `room` bytes before anything was flushed.
    pub fn new(room: u64) -> Self {
        Self {
            admitted: AtomicU64::new(0),
            limit: AtomicU64::new(room),
            risen: Gate::default(),
            compacted: AtomicU64::new(0),
            moved: Gate::default(),
            in_debt: AtomicBool::new(false),
            flush: Waits::default(),
            compaction: Waits::default(),
        }
    }

    /// Lets a write of `bytes` in, or parks it until there is room; `ended` says that there may be
    /// none any more. Cost: one addition when there is room.
    ///
    /// Errors: what poisoned the database.
    #[inline]
    pub fn admit(
        &self,
        env: &dyn Env,
        bytes: u64,
        poison: &Poison,
        ended: impl FnMut() -> bool,
    ) -> Result<()> {
        let before = self.admitted.fetch_add(bytes, Relaxed);
        if before <= self.limit.load(Relaxed) {
            return Ok(());
        }
        self.park(env, before, poison, ended)
    }

    #[cold]
    fn park(
        &self,
        env: &dyn Env,
        before: u64,
        poison: &Poison,
        mut ended: impl FnMut() -> bool,
    ) -> Result<()> {
        let since = env.now();
        let waits = if self.in_debt.load(SeqCst) { &self.compaction } else { &self.flush };
        self.risen
            .wait_until(env, || before <= self.limit.load(SeqCst) || poison.is_set() || ended());
        waits.count.fetch_add(1, Relaxed);
        let nanos = env.now().saturating_sub(since).as_nanos();
        waits.nanos.fetch_add(u64::try_from(nanos).unwrap_or(u64::MAX), Relaxed);
        poison.refuse()
    }

    /// Takes back what a write was let in with that did not happen.
    pub fn cancel(&self, bytes: u64) {
        self.admitted.fetch_sub(bytes, Relaxed);
    }

    /// Raises the limit: so much was flushed.
    pub fn give(&self, bytes: u64) {
        self.limit.fetch_add(bytes, SeqCst);
        self.risen.open();
    }

    /// Holds the flush until compactions have written `bytes` more than `since`, or `ended` says
    /// that none is on its way. Answers how much they have written.
    pub fn repay(&self, env: &dyn Env, since: u64, bytes: u64, ended: impl Fn() -> bool) -> u64 {
        let is_paid = || self.compacted() >= since + bytes;
        if !is_paid() && !ended() {
            self.in_debt.store(true, SeqCst);
            self.moved.wait_until(env, || is_paid() || ended());
            self.in_debt.store(false, SeqCst);
        }
        self.compacted()
    }

    /// Says that compactions have written so much more.
    pub fn note_compacted(&self, bytes: u64) {
        self.compacted.fetch_add(bytes, SeqCst);
        self.moved.open();
    }

    /// What compactions have written since the open.
    pub fn compacted(&self) -> u64 {
        self.compacted.load(SeqCst)
    }

    /// Waits for the flush.
    pub fn flush_waits(&self) -> &Waits {
        &self.flush
    }

    /// Waits for the flush while it waited for compactions.
    pub fn compaction_waits(&self) -> &Waits {
        &self.compaction
    }

    /// Makes all who wait look again.
    pub fn wake_all(&self) {
        self.risen.open();
        self.moved.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Error;
    use crate::env::real::Real;

    #[test]
    fn writes_come_in_while_those_before_are_within_the_limit() {
        let (env, pace, poison) = (Real::new(), Pace::new(100), Poison::default());
        pace.admit(&*env, 100, &poison, || false).unwrap();
        // One more: whatever its size, or a batch above all room could never come in.
        pace.admit(&*env, 1000, &poison, || false).unwrap();
        let mut asked = 0;
        pace.admit(&*env, 1, &poison, || {
            asked += 1;
            true
        })
        .unwrap();
        assert!(asked > 0, "the third must wait");
        assert_eq!((pace.flush_waits().count(), pace.compaction_waits().count()), (1, 0));
        pace.give(1001);
        pace.admit(&*env, 1, &poison, || panic!("there is room")).unwrap();
    }

    #[test]
    fn a_parked_writer_goes_on_when_the_flush_gets_on_or_the_database_fails() {
        let (env, pace, poison) = (Real::new(), Pace::new(10), Poison::default());
        pace.admit(&*env, 20, &poison, || false).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| pace.admit(&*env, 1, &poison, || false));
            pace.give(10);
            waiter.join().unwrap().unwrap();
            let waiter = scope.spawn(|| pace.admit(&*env, 1, &poison, || false));
            poison.set(&Error::invalid("the disk is gone"));
            pace.wake_all();
            waiter.join().unwrap().unwrap_err();
        });
    }

    #[test]
    fn a_flush_in_debt_waits_for_compactions_and_for_nothing_else() {
        let (env, pace) = (Real::new(), Pace::new(10));
        assert_eq!(pace.repay(&*env, 0, 100, || true), 0);
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| pace.repay(&*env, 0, 100, || false));
            pace.note_compacted(60);
            pace.note_compacted(60);
            assert_eq!(flush.join().unwrap(), 120);
        });
    }
}
