//! A place in the line for what was numbered before its place was known: sorted data in files.
//!
//! ```text
//!   numbers   … 41 42 43 ·········· gap ·········· N  N+1 …
//!                      ↑ next, when N is chosen    ↑ claimed when the files are there: next is N+1
//! ```
//!
//! 1. [`Committer::claim_ahead`] succeeds only while every number given out is below N. From then on
//!    every number is above it, and all below it lie in sealed generations.
//! 2. Nothing numbered above N is visible, so no generation with any of it is flushed, before the
//!    claim is finished: what is flushed stays a prefix (law 2).
//! 3. A claim that is finished with nothing behind it only skips numbers. One that is dropped
//!    poisons the database, as that of any write (law 9).

use super::checked::Hold;
use super::claim::{Claim, Turn};
use super::{Committer, closed};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;

/// How far ahead a number is chosen: more writes than are made while files are written, and less
/// than an open skips after a crash. At 2^27 each, five hundred million ingests use up all numbers.
const GAP: u64 = 1 << 27;

/// A claimed place, from when on the line waits for it.
pub struct Ahead<'a>(Claim<'a>);

impl Committer {
    /// A number that no write will have for a long time. One at a time: nothing reserves it.
    ///
    /// Errors: `InvalidArgument` if numbers are used up.
    pub fn number_ahead(&self) -> Result<SeqNo> {
        let number = SeqNo(self.front.lock().next.0 + GAP);
        if number >= SeqNo::MAX {
            return Err(Error::invalid("no sequence numbers are left for an ingest"));
        }
        Ok(number)
    }

    /// Seals what was written so far and claims the place of `number`, if it is still ahead and
    /// `admit` lets it, which is asked as [`Ops::admit`](crate::base::batch::Ops::admit) is.
    ///
    /// Errors: those of `admit`; `Busy` if writes have caught up with it; `ReadOnly` after an earlier failure; `Io` if
    /// no generation could be prepared; `InvalidArgument` on a closed database. Nothing is claimed.
    pub fn claim_ahead(&self, number: SeqNo, admit: impl Fn() -> Result<()>) -> Result<Ahead<'_>> {
        self.claim_place(Turn::Any, number, admit)
    }

    /// The same for whoever holds the order, of the first number that was not given out. What was
    /// written so far is sealed, and nobody else writes meanwhile.
    pub fn claim_held(&self, hold: &Hold<'_>) -> Result<Ahead<'_>> {
        self.claim_place(Turn::Held, hold.last().next(), || Ok(()))
    }

    fn claim_place(
        &self,
        turn: Turn,
        number: SeqNo,
        admit: impl Fn() -> Result<()>,
    ) -> Result<Ahead<'_>> {
        loop {
            self.poison.refuse()?;
            let mut front = self.front.lock();
            if front.closed {
                return Err(closed());
            }
            if !front.is_turn(turn) {
                drop(front);
                self.wait_released()?;
                continue;
            }
            admit()?;
            if front.next > number {
                let message = "too many writes were made during an ingest: split it and try again";
                return Err(Error::new(ErrorKind::Busy, message));
            }
            let Some(ticket) = self.line.ticket(front.tickets) else {
                let count = front.tickets;
                drop(front);
                self.line.wait_room(&*self.env, count, &self.poison)?;
                continue;
            };
            // A log with anything in it, be it a mark, is sealed too: its last number is the one
            // before `next`, and the close and the chain of logs go by that.
            let is_fresh = front.generation.memtable.is_empty() && front.tail.position() == 0;
            if is_fresh || self.rotate(&mut front, 0) {
                let claim = self.step_in(&mut front, ticket, number);
                drop(front);
                self.host.wake();
                return Ok(Ahead(claim));
            }
            drop(front);
            self.prepare(1)?;
        }
    }
}

impl Ahead<'_> {
    /// Steps out of the line: what was claimed is in the view, or will never be.
    pub fn finish(self) {
        self.0.finish();
    }
}
