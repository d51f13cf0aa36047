//! The line in which writes become visible: in order of their numbers, whatever order they finish.
//!
//! ```text
//!   ring    [ done | done |  –  | done |  –  |  –  | … ]      one cell a reservation
//!                          ↑ head: the oldest reservation that is not done
//! ```
//!
//! 1. Tickets are drawn under the commit lock, in the order of sequence numbers.
//! 2. `visible` rises only over done cells: a write is visible when all before it are (law 2).
//! 3. A reservation that fails never becomes done: nothing behind it is ever visible, and whoever
//!    waits there learns the error that poisoned the database (law 9).
//! 4. At most [`CELLS`] reservations are open: the ticket after that waits before it is drawn.

use super::poison::Poison;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::env::{Env, Gate};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Most open reservations at one time: more than any machine has threads that write.
const CELLS: usize = 1024;
/// How often a waiter looks before it parks: a predecessor's copy takes less than a microsecond.
const LOOKS: u32 = 64;

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Debug, Default)]
struct Cell {
    /// `ticket + 1` from when that reservation is done until the head has passed it. A thread that
    /// slept while the ring went round holds an old head, and cannot mistake the new round for it.
    done: AtomicU64,
    /// Its last number; written before `done`.
    last: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub struct Line {
    /// One a reservation, at `ticket % CELLS`.
    cells: Box<[Cell]>,
    head: AtomicU64,
    visible: AtomicU64,
    moved: Gate,
}

impl Line {
    /// A line in which everything up to `visible` is already there.
    pub fn new(visible: SeqNo) -> Self {
        Self {
            cells: (0..CELLS).map(|_| Cell::default()).collect(),
            head: AtomicU64::new(0),
            visible: AtomicU64::new(visible.0),
            moved: Gate::default(),
        }
    }

    /// The highest number that readers may see.
    #[inline]
    pub fn visible(&self) -> SeqNo {
        SeqNo(self.visible.load(SeqCst))
    }

    /// The ticket numbered `count`, if the ring has a cell for it. The caller counts under its lock.
    #[inline]
    pub fn ticket(&self, count: u64) -> Option<Ticket> {
        (count - self.head.load(SeqCst) < CELLS as u64).then_some(Ticket(count))
    }

    #[expect(clippy::indexing_slicing, reason = "an index modulo the length")]
    fn cell(&self, ticket: u64) -> &Cell {
        &self.cells[(ticket % CELLS as u64) as usize]
    }

    /// Says that the reservation with this ticket is in the log and in the memtable up to `last`.
    #[inline]
    pub fn complete(&self, ticket: Ticket, last: SeqNo) {
        let cell = self.cell(ticket.0);
        cell.last.store(last.0, SeqCst);
        cell.done.store(ticket.0 + 1, SeqCst);
        let mut moved = false;
        // Whoever stands at the head moves it over all that is done. If two try, the exchange lets
        // one through for each cell; the other leaves, because the winner looks again afterwards.
        loop {
            let head = self.head.load(SeqCst);
            let cell = self.cell(head);
            if cell.done.compare_exchange(head + 1, 0, SeqCst, SeqCst).is_err() {
                if head == self.head.load(SeqCst) {
                    break;
                }
                continue;
            }
            // The cell is not used again before the head has passed it.
            self.visible.store(cell.last.load(SeqCst), SeqCst);
            self.head.store(head + 1, SeqCst);
            moved = true;
        }
        if moved {
            self.moved.open();
        }
    }

    /// Waits until `seq` is visible. Errors: what poisoned the database, if that came first.
    #[inline]
    pub fn wait_visible(&self, env: &dyn Env, seq: SeqNo, poison: &Poison) -> Result<()> {
        for _ in 0..LOOKS {
            if self.visible() >= seq {
                return Ok(());
            }
            std::hint::spin_loop();
        }
        self.moved.wait_until(env, || self.visible() >= seq || poison.is_set());
        if self.visible() >= seq { Ok(()) } else { poison.check() }
    }

    /// Waits until the ring has a cell for ticket `count`.
    pub fn wait_room(&self, env: &dyn Env, count: u64, poison: &Poison) -> Result<()> {
        self.moved.wait_until(env, || self.ticket(count).is_some() || poison.is_set());
        poison.check()
    }

    /// Makes every waiter look again, after the poison was set.
    pub fn wake_all(&self) {
        self.moved.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_visible_in_order_whatever_order_writes_finish() {
        let line = Line::new(SeqNo(10));
        let tickets: Vec<_> = (0..3).map(|count| line.ticket(count).unwrap()).collect();
        line.complete(tickets[1], SeqNo(12));
        line.complete(tickets[2], SeqNo(15));
        assert_eq!(line.visible(), SeqNo(10));
        line.complete(tickets[0], SeqNo(11));
        assert_eq!(line.visible(), SeqNo(15));
    }

    #[test]
    fn the_ring_never_hands_out_a_cell_twice() {
        let line = Line::new(SeqNo::ZERO);
        let first = line.ticket(0).unwrap();
        assert!(line.ticket(CELLS as u64 - 1).is_some());
        assert_eq!(line.ticket(CELLS as u64), None);
        line.complete(first, SeqNo(1));
        assert!(line.ticket(CELLS as u64).is_some());
    }

    #[test]
    fn threads_that_finish_in_any_order_leave_no_cell_behind() {
        let line = Line::new(SeqNo::ZERO);
        let drawn = parking_lot::Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let mut count = drawn.lock();
                        // The ring is full while whoever stands at its head sleeps.
                        let ticket = loop {
                            match line.ticket(*count) {
                                Some(ticket) => break ticket,
                                None => std::thread::yield_now(),
                            }
                        };
                        *count += 1;
                        let last = SeqNo(*count);
                        drop(count);
                        line.complete(ticket, last);
                    }
                });
            }
        });
        assert_eq!(line.visible(), SeqNo(80_000));
    }
}
