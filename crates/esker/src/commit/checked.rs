//! A place in the order for what must be checked against all that comes before it: a transaction.
//!
//! ```text
//!   check what is visible ─▶ is that all that has a number? ─ yes ─▶ claim
//!                              └ no ─▶ hold the order ─▶ wait until it is visible ─▶ check it
//!                                        ─▶ claim ─▶ let go
//! ```
//!
//! 1. Between the last check and the claim no number is given out: what was checked is all that lies
//!    before the write, and it commits at that moment.
//! 2. The first check, which may read files, is made while others write. The second one has little to
//!    look at: what was given numbers meanwhile.
//! 3. Whoever holds the order waits only for writes that have their places already, and for flushes of
//!    those (a revert); neither waits for anybody who waits for the order. It is let go on every path.
//!
//! After the backward validation of optimistic concurrency control (Kung and Robinson, 1981).

use super::claim::{Places, Turn, Wanted};
use super::{Committer, Durability, Front};
use crate::base::batch::Ops;
use crate::base::error::Result;
use crate::base::id::SeqNo;

impl Front {
    /// The last number that was given out.
    fn last(&self) -> SeqNo {
        SeqNo(self.next.0 - 1)
    }

    /// Whether a write may have its number now.
    #[inline]
    pub(super) fn is_turn(&self, turn: Turn) -> bool {
        match turn {
            Turn::Any => !self.held,
            Turn::After(last) => !self.held && self.last() == last,
            Turn::Held => true,
        }
    }
}

/// The order, held: nobody else is given a number. Dropped, it is let go.
pub struct Hold<'a> {
    committer: &'a Committer,
    last: SeqNo,
}

impl Hold<'_> {
    /// The last number that was given out.
    pub fn last(&self) -> SeqNo {
        self.last
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.committer.front.lock().held = false;
        self.committer.released.open();
    }
}

impl Committer {
    /// Commits `ops`, of which there are some, as one, if `check` agrees. It is called with a number,
    /// from `since` on, and says whether what is visible above that number stands against them; what
    /// it has agreed to once it is not asked again.
    ///
    /// Cost: that of a commit and of the checks. While other writers are on their way, all wait until
    /// what they have begun is visible. Errors: those of `check`, and nothing is written; those of
    /// [`Committer::commit`].
    pub fn commit_checked(
        &self,
        ops: &impl Ops,
        durability: Durability,
        since: SeqNo,
        check: &mut dyn FnMut(SeqNo) -> Result<()>,
    ) -> Result<()> {
        self.poison.refuse()?;
        self.commit_by(ops, durability, |wanted| self.claim_checked(wanted, since, check))
    }

    fn claim_checked(
        &self,
        wanted: &Wanted<'_>,
        since: SeqNo,
        check: &mut dyn FnMut(SeqNo) -> Result<()>,
    ) -> Result<Places<'_>> {
        let seen = self.visible();
        check(since)?;
        if let Some(places) = self.claim_at(Turn::After(seen), wanted)? {
            return Ok(places);
        }
        let hold = self.hold()?;
        self.wait_visible(hold.last)?;
        check(seen)?;
        loop {
            if let Some(places) = self.claim_at(Turn::Held, wanted)? {
                return Ok(places);
            }
        }
    }

    /// Holds the order as soon as nobody else does. What has a number may not be visible yet.
    ///
    /// Whoever holds it must not wait for anything that is written from then on. Flushes, compactions
    /// and syncs go on: none of them takes a number. Errors: `ReadOnly` after an earlier failure.
    pub fn hold(&self) -> Result<Hold<'_>> {
        loop {
            let mut front = self.front.lock();
            if !front.held {
                front.held = true;
                let last = front.last();
                return Ok(Hold { committer: self, last });
            }
            drop(front);
            self.wait_released()?;
        }
    }

    /// Waits until nobody holds the order. Errors: what poisoned the database meanwhile.
    pub(super) fn wait_released(&self) -> Result<()> {
        let is_held = || self.front.lock().held;
        self.released.wait_until(&*self.env, || !is_held() || self.poison.is_set());
        self.poison.refuse()
    }
}
