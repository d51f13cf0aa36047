//! Durable commits that share one sync.
//!
//! ```text
//!   round r      | leader syncs everything reserved up to T            |
//!   round r + 1        ▲ arrivals behind T gather, fill their frames    | next leader syncs
//! ```
//!
//! 1. One sync at a time. Whoever finds none under way leads: it fixes T under the commit lock, waits
//!    until all up to T is in the log, and syncs the logs, oldest first, so that what is durable is
//!    always a prefix.
//! 2. Covered waiters and the next round wait on different conditions: a finished sync wakes those
//!    it covered and one leader, nobody else. No timer, no sleep.
//! 3. A failed sync is final: every waiter gets its error, and it is never tried again (law 9).
//!
//! The two overlapped stages are those of the `sst` crate's log (SST-12).

use super::poison::Poison;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::env::Gate;
use parking_lot::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// See the module.
#[derive(Debug)]
pub struct Group {
    /// Raised under the lock of the state, read without.
    durable: AtomicU64,
    state: Mutex<State>,
    /// Waiters of even and of odd rounds.
    rounds: [Condvar; 2],
    /// Opened whenever more is durable, or nothing ever will be.
    pub(super) moved: Gate,
}

#[derive(Debug)]
struct State {
    round: u64,
    /// What the sync under way covers.
    syncing: Option<SeqNo>,
    syncs: u64,
}

/// How a leader fixes what it covers, and covers it.
pub trait Stage {
    /// Everything reserved so far. Called with the group's lock held: brief.
    fn fix(&self) -> SeqNo;
    /// Makes everything up to `target` durable.
    fn sync(&self, target: SeqNo) -> Result<()>;
}

impl Group {
    /// A group in which everything up to `durable` already is.
    pub fn new(durable: SeqNo) -> Self {
        let state = State { round: 0, syncing: None, syncs: 0 };
        let (durable, state) = (AtomicU64::new(durable.0), Mutex::new(state));
        Self { durable, state, rounds: Default::default(), moved: Gate::default() }
    }

    /// Everything up to here is on disk.
    pub fn durable(&self) -> SeqNo {
        SeqNo(self.durable.load(SeqCst))
    }

    /// How many syncs have run.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Says that everything up to `seq` is on disk by other means (a flush).
    pub fn note_durable(&self, seq: SeqNo) {
        let state = self.state.lock();
        self.durable.fetch_max(seq.0, SeqCst);
        drop(state);
        self.moved.open();
    }

    fn condition(&self, round: u64) -> &Condvar {
        let [even, odd] = &self.rounds;
        if round.is_multiple_of(2) { even } else { odd }
    }

    /// Returns when everything up to `seq` is on disk. Cost: one sync, shared with all that arrive
    /// while another is under way. Errors: the first failure of any write or sync.
    pub fn wait_durable(&self, seq: SeqNo, stage: &impl Stage, poison: &Poison) -> Result<()> {
        let mut state = self.state.lock();
        let mut waited = false;
        loop {
            if self.durable() >= seq {
                // Whoever was woken to lead and need not, passes that on.
                if waited && state.syncing.is_none() {
                    self.condition(state.round).notify_one();
                }
                return Ok(());
            }
            poison.check()?;
            match state.syncing {
                Some(target) => {
                    let round = if seq <= target { state.round } else { state.round + 1 };
                    self.condition(round).wait(&mut state);
                    waited = true;
                }
                None => {
                    let target = stage.fix();
                    state.syncing = Some(target);
                    drop(state);
                    // A leader that panics must not leave the round open (SST-L11).
                    let result = catch_unwind(AssertUnwindSafe(|| stage.sync(target)))
                        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "a sync panicked")));
                    state = self.state.lock();
                    self.end_round(&mut state, target, &result, poison);
                }
            }
        }
    }

    fn end_round(&self, state: &mut State, target: SeqNo, result: &Result<()>, poison: &Poison) {
        state.syncing = None;
        state.syncs += 1;
        let ended = self.condition(state.round);
        state.round += 1;
        let next = self.condition(state.round);
        match result {
            Ok(()) => {
                self.durable.fetch_max(target.0, SeqCst);
                next.notify_one();
            }
            Err(error) => {
                poison.set(error);
                next.notify_all();
            }
        }
        ended.notify_all();
        self.moved.open();
    }

    /// Makes every waiter look again, after the poison was set.
    pub fn wake_all(&self) {
        let _state = self.state.lock();
        for condition in &self.rounds {
            condition.notify_all();
        }
        self.moved.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Disk {
        reserved: AtomicU64,
        synced: AtomicU64,
        syncs: AtomicU64,
        broken: bool,
    }

    impl Stage for Disk {
        fn fix(&self) -> SeqNo {
            SeqNo(self.reserved.load(SeqCst))
        }

        fn sync(&self, target: SeqNo) -> Result<()> {
            if self.broken {
                return Err(Error::io("sync", std::io::Error::other("broken")));
            }
            // Long enough for others to gather behind it.
            for _ in 0..100 {
                std::thread::yield_now();
            }
            self.synced.store(target.0, SeqCst);
            self.syncs.fetch_add(1, SeqCst);
            Ok(())
        }
    }

    /// SST-12: no acknowledgement before the sync that covers it, and fewer syncs than commits.
    #[test]
    fn writers_share_syncs_and_none_returns_before_its_own() {
        let (disk, group, poison) = (Disk::default(), Group::new(SeqNo::ZERO), Poison::default());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let seq = disk.reserved.fetch_add(1, SeqCst) + 1;
                        group.wait_durable(SeqNo(seq), &disk, &poison).unwrap();
                        assert!(disk.synced.load(SeqCst) >= seq);
                    }
                });
            }
        });
        assert!(disk.syncs.load(SeqCst) <= 1600);
        assert_eq!(group.syncs(), disk.syncs.load(SeqCst));
        assert_eq!(group.durable(), SeqNo(1600));
    }

    /// F-18, SST-L4: every waiter fails, and no sync is tried again.
    #[test]
    fn a_failed_sync_fails_every_waiter_for_good() {
        let disk = Disk { broken: true, ..Disk::default() };
        let (group, poison) = (Group::new(SeqNo::ZERO), Poison::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let seq = disk.reserved.fetch_add(1, SeqCst) + 1;
                    let error = group.wait_durable(SeqNo(seq), &disk, &poison).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Io);
                });
            }
        });
        assert_eq!(group.syncs(), 1);
    }
}
