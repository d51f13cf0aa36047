//! The places of a write: its number, where it goes in log and memtable, its place in the line.
//!
//! ```text
//!   wanted ─ one short lock: number, log place, slab place, ticket ─▶ places ─ filled ─▶ finished
//!              └ no ticket, no room, not its turn: waits without the lock, and looks again
//! ```
//!
//! 1. All of them are fixed in one moment, in one generation (law 1); what must be asked or told in that
//!    moment is asked and told there: see [`Ops::admit`] and [`Ops::numbered`].
//! 2. A claim ends finished. One that is dropped poisons the database: nothing behind a hole may be
//!    acknowledged.

use super::line::Ticket;
use super::{Committer, Front, closed};
use crate::base::batch::Ops;
use crate::base::entry::OpsLen;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{FileId, SeqNo};
use crate::log::frame::Layout;
use crate::log::writer::Reservation;
use crate::memtable::{Memtable, Slot};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// When a write may be given its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// As soon as nobody holds the order.
    Any,
    /// Only if this is the last number that was given out.
    After(SeqNo),
    /// Now: it is this write for which the order is held.
    Held,
}

/// A place in the line. Dropped unfinished, it poisons the database: nothing behind a hole may be
/// acknowledged.
pub(super) struct Claim<'a> {
    committer: &'a Committer,
    last: SeqNo,
    ticket: Ticket,
    finished: bool,
}

/// What a claim asks of operations.
pub(super) trait Claimant {
    /// How long their payload is if their first number is this one.
    fn measure(&self, first: SeqNo) -> OpsLen;
    /// [`Ops::admit`].
    fn admit(&self) -> Result<()>;
    /// [`Ops::numbered`].
    fn numbered(&self);
}

impl<O: Ops> Claimant for O {
    fn measure(&self, first: SeqNo) -> OpsLen {
        OpsLen::at(self, first)
    }

    fn admit(&self) -> Result<()> {
        Ops::admit(self)
    }

    fn numbered(&self) {
        Ops::numbered(self);
    }
}

/// The places that a write wants.
pub(super) struct Wanted<'a> {
    /// As they go to the log.
    pub(super) ops: &'a dyn Claimant,
    /// Bytes of memtable.
    pub(super) bytes: usize,
    pub(super) layout: Layout,
}

/// All that a write has claimed.
pub(super) struct Places<'a> {
    pub(super) claim: Claim<'a>,
    pub(super) log_id: FileId,
    pub(super) log: Reservation,
    pub(super) memtable: Arc<Memtable>,
    pub(super) slot: Slot,
    pub(super) first: SeqNo,
}

impl Committer {
    /// Takes the places that are wanted; waits for room first.
    pub(super) fn claim(&self, wanted: &Wanted<'_>) -> Result<Places<'_>> {
        loop {
            if let Some(places) = self.claim_at(Turn::Any, wanted)? {
                return Ok(places);
            }
            self.wait_released()?;
        }
    }

    /// The same, unless it is not its turn: then none, and nothing has changed.
    pub(super) fn claim_at(&self, turn: Turn, wanted: &Wanted<'_>) -> Result<Option<Places<'_>>> {
        let Wanted { ops, bytes, layout } = *wanted;
        let mut len = ops.measure(SeqNo(self.near.load(SeqCst)));
        loop {
            let mut front = self.front.lock();
            if front.closed {
                return Err(closed());
            }
            if !front.is_turn(turn) {
                return Ok(None);
            }
            ops.admit()?;
            let Some(ticket) = self.line.ticket(front.tickets) else {
                let count = front.tickets;
                drop(front);
                self.line.wait_room(&*self.env, count, &self.poison)?;
                continue;
            };
            let log_is_full = front.tail.position() >= self.log_bytes;
            let memtable = &front.generation.memtable;
            let slot = if log_is_full { None } else { memtable.reserve(bytes) };
            if let Some(slot) = slot {
                let first = front.next;
                if !len.fits(first) {
                    self.near.store(first.0, SeqCst);
                    len = ops.measure(first);
                }
                let log = front.tail.reserve(&len, first, layout)?;
                let claim = self.step_in(&mut front, ticket, log.last());
                ops.numbered();
                let log_id = front.generation.log_id;
                let memtable = front.generation.memtable.clone();
                let half_full = memtable.used_bytes() * 2 >= memtable.capacity()
                    || front.tail.position() * 2 >= self.log_bytes;
                let ask = half_full && !std::mem::replace(&mut front.asked, half_full);
                drop(front);
                if ask {
                    self.host.wake();
                }
                return Ok(Some(Places { claim, log_id, log, memtable, slot, first }));
            }
            let full = self.queue.len() >= self.sealed_max;
            if !full && self.rotate(&mut front, bytes) {
                drop(front);
                self.host.wake();
                continue;
            }
            drop(front);
            if full { self.wait_for_room()? } else { self.prepare(bytes)? }
        }
    }

    pub(super) fn step_in(&self, front: &mut Front, ticket: Ticket, last: SeqNo) -> Claim<'_> {
        front.next = last.next();
        front.tickets += 1;
        Claim { committer: self, last, ticket, finished: false }
    }
}

impl Claim<'_> {
    /// Steps out of the line: what was claimed is written.
    pub(super) fn finish(mut self) -> SeqNo {
        self.finished = true;
        self.committer.line.complete(self.ticket, self.last);
        self.last
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.committer.fail(&Error::new(ErrorKind::Io, "a write was given up half-way"));
        }
    }
}
