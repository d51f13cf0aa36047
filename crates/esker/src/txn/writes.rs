//! What a transaction has written, as it will commit it, and as its own reads find it.
//!
//! ```text
//!   batch     put a · put b · delete a · range [x, z) · put y          in order: what commits
//!   newest    a ↦ 2, b ↦ 1, y ↦ 4                                      of each key its last operation
//!   covered   [x, z)                                                   where nothing beneath counts
//! ```
//!
//! 1. `newest` and `covered` are what the batch says: a key in neither is as the snapshot has it.
//! 2. A range delete takes its keys out of `newest`, so what is in `newest` came after it.
//! 3. A savepoint is the length of the batch; going back to it undoes what was noted since, newest
//!    first.

use super::intervals::Intervals;
use crate::base::batch::{Batch, Op, Ops};
use crate::base::entry::range_end;
use crate::base::error::Result;
use crate::base::key::Kind;
use std::collections::BTreeMap;
use std::ops::Bound;

/// See the module.
#[derive(Debug, Default)]
pub struct Writes {
    batch: Batch,
    newest: BTreeMap<Box<[u8]>, usize>,
    covered: Intervals,
    /// What savepoints need to go back; empty without one.
    undo: Vec<Undo>,
    savepoints: Vec<Mark>,
}

/// A savepoint: what there was.
#[derive(Debug)]
struct Mark {
    count: usize,
    undo: usize,
    covered: Intervals,
}

/// The operation that a key had before.
#[derive(Debug)]
struct Undo {
    key: Box<[u8]>,
    newest: Option<usize>,
}

/// What a transaction itself says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own<'a> {
    /// Its value.
    Put(&'a [u8]),
    /// It is gone.
    Gone,
}

impl Writes {
    /// Takes in an operation. Cost: one copy of it, and a search. Errors: `InvalidArgument` over a
    /// limit; nothing has changed.
    pub fn push(&mut self, op: Op<'_>) -> Result<()> {
        self.batch.push(op)?;
        let place = self.batch.count() - 1;
        let key = [&op.collection.0.to_be_bytes()[..], op.key].concat();
        if op.kind != Kind::RangeDelete {
            self.note(key.into(), Some(place));
            return Ok(());
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

    fn note(&mut self, key: Box<[u8]>, newest: Option<usize>) {
        let before = match newest {
            Some(place) => self.newest.insert(key.clone(), place),
            None => self.newest.remove(&key),
        };
        if !self.savepoints.is_empty() {
            self.undo.push(Undo { key, newest: before });
        }
    }

    /// What the transaction itself says of a full key; none if it has not touched it.
    pub fn get(&self, full: &[u8]) -> Option<Own<'_>> {
        match self.newest.get(full) {
            Some(place) => self.own(*place),
            None => self.covered.contains(full).then_some(Own::Gone),
        }
    }

    fn own(&self, place: usize) -> Option<Own<'_>> {
        let op = self.batch.get(place)?;
        Some(if op.kind == Kind::Put { Own::Put(op.value) } else { Own::Gone })
    }

    /// Whether a range delete of the transaction covers what the snapshot has of a full key.
    pub fn covers(&self, full: &[u8]) -> bool {
        self.covered.contains(full)
    }

    /// The keys within bounds that it has put or deleted, from both ends.
    pub fn range<'a>(
        &'a self,
        (start, end): (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], Own<'a>)> + use<'a> {
        let is_empty = match (start, end) {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
            | (Bound::Excluded(start), Bound::Included(end)) => start >= end,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        };
        // A `BTreeMap` panics at bounds that lie the wrong way round.
        let keys = (!is_empty).then(|| self.newest.range::<[u8], _>((start, end)));
        let keys = keys.into_iter().flatten();
        keys.filter_map(|(key, place)| Some((&**key, self.own(*place)?)))
    }

    /// Makes a savepoint. Cost: a copy of the covered intervals.
    pub fn save(&mut self) {
        let (count, undo) = (self.batch.count(), self.undo.len());
        self.savepoints.push(Mark { count, undo, covered: self.covered.clone() });
    }

    /// Forgets everything since the newest savepoint, and that savepoint; false if there is none.
    pub fn roll_back(&mut self) -> bool {
        let Some(Mark { count, undo, covered }) = self.savepoints.pop() else { return false };
        self.batch.truncate(count);
        self.covered = covered;
        for Undo { key, newest } in self.undo.drain(undo..).rev() {
            match newest {
                Some(place) => self.newest.insert(key, place),
                None => self.newest.remove(&key),
            };
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
