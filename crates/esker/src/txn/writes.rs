//! What a transaction has written, as it will commit it, and as its own reads find it.
//!
//! ```text
//!   batch     put a · put b · delete a · range [x, z) · put y          in order: what commits
//!   newest    a ↦ 2, b ↦ 1, y ↦ 4                                      of each key its last put or
//!                                                                      delete, and operands since
//!   covered   [x, z)                                                   where nothing beneath counts
//! ```
//!
//! 1. `newest` and `covered` are what the batch says: a key in neither is as the snapshot has it.
//! 2. A range delete takes its keys out of `newest`, so what is in `newest` came after it.
//! 3. What it has written with an expiry is gone for its own reads, too, once that has come. What a
//!    collection's time to live comes to is decided at the commit.
//! 4. A savepoint is the length of the batch; going back to it undoes what was noted since, newest
//!    first.

use crate::base::batch::{Batch, Op, Ops};
use crate::base::entry::range_end;
use crate::base::error::Result;
use crate::base::key::{Kind, full_key};
use crate::base::keyset::KeySet;
use crate::base::time::Time;
use std::collections::BTreeMap;
use std::ops::Bound;

/// See the module.
#[derive(Debug, Default)]
pub struct Writes {
    batch: Batch,
    newest: BTreeMap<Box<[u8]>, Last>,
    covered: KeySet,
    /// What savepoints need to go back; empty without one.
    undo: Vec<Undo>,
    savepoints: Vec<Mark>,
}

/// A savepoint: what there was.
#[derive(Debug)]
struct Mark {
    count: usize,
    undo: usize,
    covered: KeySet,
}

/// What a key had before.
#[derive(Debug)]
struct Undo {
    key: Box<[u8]>,
    was: Was,
}

#[derive(Debug)]
enum Was {
    This(Option<Last>),
    /// The same with an operand less: a copy for each would be as many copies of as many operands.
    OneLess,
}

/// The places in the batch of what counts of a key.
#[derive(Clone, Debug, Default)]
struct Last {
    /// Its last put or delete.
    base: Option<usize>,
    /// The operands behind it.
    operands: Vec<usize>,
}

/// What a transaction itself says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own<'a> {
    /// Its value.
    Put(&'a [u8]),
    /// It is gone.
    Gone,
    /// Operands came upon something.
    Merged {
        /// What they came upon.
        base: Base<'a>,
        /// Oldest first; there is at least one.
        operands: Vec<&'a [u8]>,
    },
}

/// What a transaction's operands came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base<'a> {
    /// What the snapshot has.
    Snapshot,
    /// A value of its own.
    Put(&'a [u8]),
    /// Nothing.
    Gone,
}

impl Writes {
    /// Takes in an operation. Cost: one copy of it, and a search. Errors: `InvalidArgument` over a
    /// limit; nothing has changed.
    pub fn push(&mut self, op: Op<'_>) -> Result<()> {
        self.batch.push(op)?;
        let place = self.batch.count() - 1;
        let key = full_key(op.collection, op.key);
        match op.kind {
            Kind::RangeDelete => {}
            Kind::Merge => {
                self.add_operand(key, place);
                return Ok(());
            }
            Kind::Put | Kind::Delete | Kind::Blob | Kind::Expiring => {
                let last = Last { base: Some(place), operands: Vec::new() };
                self.note(key, Some(last));
                return Ok(());
            }
        }
        let (id, end) = range_end(&op);
        let end = [&id[..], end].concat();
        self.covered.insert(&key, &end);
        let inside = (Bound::Included(&*key), Bound::Excluded(&*end));
        let inside: Vec<_> = self.newest.range::<[u8], _>(inside).map(|(k, _)| k.clone()).collect();
        for key in inside {
            self.note(key, None);
        }
        Ok(())
    }

    fn add_operand(&mut self, key: Box<[u8]>, place: usize) {
        let Some(last) = self.newest.get_mut(&key) else {
            return self.note(key, Some(Last { base: None, operands: vec![place] }));
        };
        last.operands.push(place);
        if !self.savepoints.is_empty() {
            self.undo.push(Undo { key, was: Was::OneLess });
        }
    }

    fn note(&mut self, key: Box<[u8]>, newest: Option<Last>) {
        let before = match newest {
            Some(last) => self.newest.insert(key.clone(), last),
            None => self.newest.remove(&key),
        };
        if !self.savepoints.is_empty() {
            self.undo.push(Undo { key, was: Was::This(before) });
        }
    }

    /// What the transaction itself says of a full key at the time `now`, which is asked if it matters;
    /// none if it has not touched it.
    pub fn get(&self, full: &[u8], now: impl Fn() -> Time) -> Option<Own<'_>> {
        match self.newest.get(full) {
            Some(last) => Some(self.own(full, last, now)),
            None => self.covered.contains(full).then_some(Own::Gone),
        }
    }

    fn own(&self, full: &[u8], last: &Last, now: impl Fn() -> Time) -> Own<'_> {
        let is_there = |op: &Op<'_>| op.expiry().is_none_or(|expiry| expiry > now());
        let base = match last.base.and_then(|place| self.batch.get(place)) {
            Some(op) if op.kind == Kind::Put && is_there(&op) => Base::Put(op.value),
            Some(_) => Base::Gone,
            None if self.covered.contains(full) => Base::Gone,
            None => Base::Snapshot,
        };
        let operands = last.operands.iter();
        let operands: Vec<_> =
            operands.filter_map(|place| Some(self.batch.get(*place)?.value)).collect();
        match base {
            Base::Put(value) if operands.is_empty() => Own::Put(value),
            Base::Gone if operands.is_empty() => Own::Gone,
            base => Own::Merged { base, operands },
        }
    }

    /// Whether a range delete of the transaction covers what the snapshot has of a full key.
    pub fn covers(&self, full: &[u8]) -> bool {
        self.covered.contains(full)
    }

    /// The keys from `start` up to `end`, excluded, of which it says something at the time `now`, from
    /// both ends.
    pub fn range<'a>(
        &'a self,
        start: &[u8],
        end: &[u8],
        now: Time,
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], Own<'a>)> + use<'a> {
        // A `BTreeMap` panics at bounds that lie the wrong way round.
        let bounds = (Bound::Included(start.min(end)), Bound::Excluded(end));
        let inside = self.newest.range::<[u8], _>(bounds);
        inside.map(move |(key, last)| (&**key, self.own(key, last, || now)))
    }

    /// Makes a savepoint. Cost: a copy of the covered stretches.
    pub fn save(&mut self) {
        let (count, undo) = (self.batch.count(), self.undo.len());
        self.savepoints.push(Mark { count, undo, covered: self.covered.clone() });
    }

    /// Forgets everything since the newest savepoint, and that savepoint; false if there is none.
    pub fn roll_back(&mut self) -> bool {
        let Some(Mark { count, undo, covered }) = self.savepoints.pop() else { return false };
        self.batch.truncate(count);
        self.covered = covered;
        for Undo { key, was } in self.undo.drain(undo..).rev() {
            match was {
                Was::This(Some(last)) => _ = self.newest.insert(key, last),
                Was::This(None) => _ = self.newest.remove(&key),
                Was::OneLess => _ = self.newest.get_mut(&key).and_then(|last| last.operands.pop()),
            }
        }
        true
    }

    /// Forgets the newest savepoint and keeps what was written since; false if there is none.
    pub fn release(&mut self) -> bool {
        let is_there = self.savepoints.pop().is_some();
        if self.savepoints.is_empty() {
            self.undo.clear();
        }
        is_there
    }

    /// What is to be committed, in order.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }
}
