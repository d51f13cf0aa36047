//! What a change feed can still be given: logs that are kept, and what never was in a log.
//!
//! ```text
//!   … gone │ kept-4   kept-7 │ 812 │ kept-9 │ log-12   log-13        numbers rise ─▶
//!          │ all flushed     │ a bulk       │ live: not all flushed
//! ```
//!
//! 1. Every change above `gone` lies in a kept log, in a live log, or is told by a bulk.
//! 2. A kept log ends as it is said here, and all of it is durable. All of it is flushed too: it is
//!    never replayed, and no reader of the database needs it.
//! 3. Logs ascend, by their own numbers and by those in them; so do bulks. No bulk lies within a log,
//!    and between two bulks lies a log: so there are at most as many as logs, and one.
//! 4. Only the oldest are ever forgotten: `gone` rises, and takes with it what lies wholly below. It may
//!    rise above what is flushed: an open forgets at once what it will flush and not keep.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::edit::{Closed, Edit, Reason};
use super::state::refused;
use crate::base::error::Result;
use crate::base::id::{FileId, SeqNo};
use crate::env::names::FileKind;

/// Writes past the log: the first and the last of their numbers.
pub type Bulk = (SeqNo, SeqNo);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Changes up to here are not held any more.
    pub gone: SeqNo,
    /// Kept logs, ascending.
    pub logs: Vec<Closed>,
    /// Writes that never were in a log, ascending.
    pub bulks: Vec<Bulk>,
}

impl Held {
    /// Nothing, when everything up to `flushed` is in segments.
    pub fn nothing(flushed: SeqNo) -> Self {
        Self { gone: flushed, ..Self::default() }
    }

    /// What the first transaction of a manifest says.
    pub(super) fn restore(edit: &Edit, bulks: &[Bulk], flushed: SeqNo) -> Result<Self> {
        let mut held = Self::nothing(edit.forget.unwrap_or(flushed));
        for log in &edit.keep {
            held.put(*log, flushed)?;
        }
        for bulk in bulks {
            let above = held.bulks.last().map_or(held.gone, |(_, last)| *last);
            if bulk.0 <= above || bulk.1 < bulk.0 || bulk.1 > flushed {
                let (want, found) = (format!("above {above}"), format!("{}..{}", bulk.0, bulk.1));
                return Err(refused("bulk", "first transaction", want, found));
            }
            held.bulks.push(*bulk);
        }
        Ok(held)
    }

    /// Takes in an edit by which the logs `left` are not live any more, and after which everything up
    /// to `flushed` is in segments.
    pub(super) fn apply(&mut self, edit: &Edit, left: &[FileId], flushed: SeqNo) -> Result<()> {
        for log in &edit.keep {
            if !left.contains(&log.log) {
                let name = FileKind::Log.name(log.log);
                return Err(refused("keep", name, "a log that was live", "another"));
            }
            self.put(*log, flushed)?;
        }
        match edit.forget {
            Some(gone) if gone < self.gone || gone > flushed => {
                let want = format!("from {} to {flushed}", self.gone);
                return Err(refused("forget", "number", want, gone));
            }
            Some(gone) => self.forget(gone),
            // A log that nobody keeps: what was in it is gone, and so is all before it.
            None if self.logs.is_empty() && !left.is_empty() => self.forget(flushed),
            None => {}
        }
        if edit.balance.is_some_and(|balance| balance.reason == Reason::Ingest) {
            self.put_bulk(flushed);
        }
        Ok(())
    }

    fn put(&mut self, log: Closed, flushed: SeqNo) -> Result<()> {
        let (id, last) = self.logs.last().map_or((FileId(0), self.gone), |it| (it.log, it.last));
        if log.log <= id || log.last <= last || log.last > flushed || log.length == 0 {
            let name = FileKind::Kept.name(log.log);
            let want = format!("one above {id} that ends in {last} to {flushed}");
            let found = format!("{} bytes up to {}", log.length, log.last);
            return Err(refused("keep", name, want, found));
        }
        self.logs.push(log);
        Ok(())
    }

    fn put_bulk(&mut self, number: SeqNo) {
        let logged = self.logs.last().map_or(SeqNo::ZERO, |log| log.last);
        match self.bulks.last_mut() {
            Some((_, last)) if *last > logged => *last = number,
            _ => self.bulks.push((number, number)),
        }
    }

    fn forget(&mut self, gone: SeqNo) {
        // An open may have forgotten what it was about to flush.
        let gone = self.gone.max(gone);
        self.gone = gone;
        self.logs.retain(|log| log.last > gone);
        self.bulks.retain(|(_, last)| *last > gone);
    }

    /// Forgets the oldest logs until those that are kept, and the `new` ones that will be, have at most
    /// `bytes`.
    pub fn shrink_to(&mut self, bytes: u64, new: &[Closed]) {
        if let Some(gone) = self.beyond(new, bytes) {
            self.forget(gone);
        }
    }

    /// The last number that must be forgotten so that of the kept logs, and the `new` ones behind
    /// them, the newest stay that have at most `bytes`; none if all can.
    pub fn beyond(&self, new: &[Closed], bytes: u64) -> Option<SeqNo> {
        let mut total = 0_u64;
        let newest_first = new.iter().rev().chain(self.logs.iter().rev());
        let mut newest_first = newest_first.skip_while(|log| {
            total = total.saturating_add(log.length);
            total <= bytes
        });
        newest_first.next().map(|log| log.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::ErrorKind;
    use crate::base::setsum::Setsum;
    use crate::manifest::Balance;

    fn log(id: u64, length: u64, last: u64) -> Closed {
        Closed { log: FileId(id), length, last: SeqNo(last) }
    }

    fn held() -> Held {
        let (logs, bulks) = (vec![log(4, 100, 10), log(7, 50, 20)], vec![(SeqNo(15), SeqNo(15))]);
        Held { gone: SeqNo(3), logs, bulks }
    }

    fn ingest() -> Edit {
        let (input, output, dropped, created) = Default::default();
        let balance = Balance { input, output, dropped, created, reason: Reason::Ingest };
        assert_eq!(balance.input, Setsum::ZERO);
        Edit { balance: Some(balance), ..Edit::default() }
    }

    #[test]
    fn the_oldest_logs_go_first_and_take_along_what_lies_below() {
        assert_eq!(held().beyond(&[], 150), None);
        assert_eq!(held().beyond(&[], 149), Some(SeqNo(10)));
        assert_eq!(held().beyond(&[log(9, 50, 30)], 150), Some(SeqNo(10)));
        assert_eq!(held().beyond(&[log(9, 151, 30)], 150), Some(SeqNo(30)));
        let mut shrunk = held();
        shrunk.shrink_to(99, &[]);
        assert_eq!((shrunk.gone, &*shrunk.logs), (SeqNo(10), &[log(7, 50, 20)][..]));
        assert_eq!(shrunk.bulks.len(), 1);
        shrunk.shrink_to(49, &[]);
        assert_eq!(shrunk, Held::nothing(SeqNo(20)));
    }

    #[test]
    fn a_log_that_nobody_keeps_takes_all_before_it_along() {
        let (mut held, none) = (Held::nothing(SeqNo(3)), Edit::default());
        held.apply(&none, &[], SeqNo(9)).unwrap();
        assert_eq!(held.gone, SeqNo(3), "no log has left");
        held.apply(&none, &[FileId(4)], SeqNo(9)).unwrap();
        assert_eq!(held, Held::nothing(SeqNo(9)));
    }

    #[test]
    fn bulks_between_two_logs_are_told_as_one() {
        let mut held = held();
        for number in [30, 40] {
            held.apply(&ingest(), &[], SeqNo(number)).unwrap();
        }
        held.apply(&Edit { keep: vec![log(8, 1, 50)], ..Edit::default() }, &[FileId(8)], SeqNo(50))
            .unwrap();
        held.apply(&ingest(), &[], SeqNo(60)).unwrap();
        let want = [(15, 15), (30, 40), (60, 60)].map(|(a, b)| (SeqNo(a), SeqNo(b)));
        assert_eq!(held.bulks, want);
    }

    #[test]
    fn what_breaks_an_invariant_is_refused() {
        let keep = |log| Edit { keep: vec![log], ..Edit::default() };
        let forget = |gone| Edit { forget: Some(SeqNo(gone)), ..Edit::default() };
        let odd = [
            keep(log(6, 9, 25)),
            keep(log(9, 9, 20)),
            keep(log(9, 9, 31)),
            keep(log(9, 0, 25)),
            keep(log(10, 9, 25)),
            forget(2),
            forget(31),
        ];
        for edit in odd {
            let error = held().apply(&edit, &[FileId(6), FileId(9)], SeqNo(30)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{edit:?}");
        }
        let bulks = [[(3, 3), (9, 9)], [(5, 4), (9, 9)], [(4, 5), (5, 6)], [(4, 5), (6, 31)]];
        for bulks in bulks {
            let bulks = bulks.map(|(first, last)| (SeqNo(first), SeqNo(last)));
            let error = Held::restore(&forget(3), &bulks, SeqNo(30)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{bulks:?}");
        }
    }
}
