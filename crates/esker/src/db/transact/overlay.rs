//! The pairs of a snapshot with a transaction's own writes over them.
//!
//! ```text
//!   snapshot      a   c   d   f        covered by the transaction: [c, d]
//!   own           a×      d   e
//!   given                 d   e   f
//! ```
//!
//! 1. Either end looks one pair ahead in each source; what it has looked at and not given belongs to
//!    whoever comes to it, the other end too. So the ends meet exactly once.
//! 2. What was looked at counts as read, given or not: that nothing lies before it was learned.

use crate::base::error::{Error, Result};
use crate::base::id::CollectionId;
use crate::base::key::{Kind, full_key, key_after};
use crate::base::time::Time;
use crate::base::value::{Key, Value};
use crate::db::read::range::{FullBounds, Range, Side};
use crate::merge::fold::{Backing, Chain};
use crate::tree::view::View as TreeView;
use crate::txn::reads::Reads;
use crate::txn::writes::{Base, Own, Writes};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::iter::FusedIterator;
use std::sync::Arc;

/// The pairs of a range in key order, from both ends, as a transaction sees them.
///
/// What it has walked over counts as read when it is dropped: all of the range once it has ended, else
/// as far as either end has looked. After an error it stays at that error.
pub struct TransactionRange<'a> {
    writes: &'a Writes,
    reads: &'a RefCell<Reads>,
    /// Knows how operands fold.
    backing: Arc<TreeView>,
    collection: CollectionId,
    /// What the snapshot has, and the transaction does not cover.
    pairs: Range,
    /// By user key.
    own: Box<dyn DoubleEndedIterator<Item = (&'a [u8], Own<'a>)> + 'a>,
    front: Heads<'a>,
    back: Heads<'a>,
    walked: Walked,
    failed: Option<Error>,
}

/// What either source gives next at one end, if it was looked at already.
#[derive(Default)]
struct Heads<'a> {
    pair: Option<(Key, Value)>,
    own: Option<(&'a [u8], Own<'a>)>,
}

/// How far the snapshot was looked at, in full keys.
struct Walked {
    /// Its number among the walks of the transaction.
    number: usize,
    /// The first key behind what the front has seen, and the last one that the back has.
    front: Option<Box<[u8]>>,
    back: Option<Box<[u8]>>,
    whole: bool,
}

impl<'a> TransactionRange<'a> {
    /// `pairs`, which lie within `bounds`, with `writes` over them.
    pub(super) fn new(
        (writes, reads): (&'a Writes, &'a RefCell<Reads>),
        backing: Arc<TreeView>,
        pairs: Range,
        bounds: FullBounds,
    ) -> Self {
        let collection = bounds.collection;
        let (start, end) = bounds.keys();
        let own = writes.range(&start, &end, pairs.now());
        let own = own.map(|(full, own)| (full.get(CollectionId::BYTES..).unwrap_or_default(), own));
        let own = Box::new(own);
        let number = reads.borrow_mut().begin((start, end));
        let walked = Walked { number, front: None, back: None, whole: false };
        let (front, back, failed) = Default::default();
        Self { writes, reads, backing, collection, pairs, own, front, back, walked, failed }
    }

    /// The next pair of the snapshot that the transaction does not cover.
    fn look(&mut self, side: Side) -> Result<Option<(Key, Value)>> {
        loop {
            let Some(item) = self.pairs.item(side)? else {
                self.walked.whole = true;
                return Ok(None);
            };
            let expiry = item.expiry;
            let (key, value) = self.pairs.value(item)?;
            let full = full_key(self.collection, &key);
            let is_covered = self.writes.covers(&full);
            match side {
                Side::Front => self.walked.front = Some(key_after(&full)),
                Side::Back => self.walked.back = Some(full),
            }
            if !is_covered {
                self.reads.borrow_mut().expiring(expiry);
                return Ok(Some((key, value)));
            }
        }
    }

    /// What either source gives next at this end; where it has ended, what the other end holds.
    fn fill(&mut self, side: Side) -> Result<&mut Heads<'a>> {
        let lacks_pair = match side {
            Side::Front => self.front.pair.is_none(),
            Side::Back => self.back.pair.is_none(),
        };
        let pair = if lacks_pair && !self.walked.whole { self.look(side)? } else { None };
        let (here, there) = match side {
            Side::Front => (&mut self.front, &mut self.back),
            Side::Back => (&mut self.back, &mut self.front),
        };
        if lacks_pair {
            here.pair = pair.or_else(|| there.pair.take());
        }
        if here.own.is_none() {
            let own = match side {
                Side::Front => self.own.next(),
                Side::Back => self.own.next_back(),
            };
            here.own = own.or_else(|| there.own.take());
        }
        Ok(here)
    }

    /// The next pair at this end.
    fn step(&mut self, side: Side) -> Result<Option<(Key, Value)>> {
        loop {
            let heads = self.fill(side)?;
            let order = match (&heads.pair, &heads.own) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((pair, _)), Some((own, _))) => match side {
                    Side::Front => (**pair).cmp(own),
                    Side::Back => (**own).cmp(pair),
                },
            };
            if order == Ordering::Less {
                return Ok(heads.pair.take());
            }
            // What the transaction has written hides what the snapshot has.
            let hidden = heads.pair.take_if(|_| order == Ordering::Equal);
            let Some((key, own)) = heads.own.take() else { continue };
            let value = match own {
                Own::Gone => continue,
                Own::Put(value) => Value::copied(value),
                Own::Merged { base, operands } => {
                    let full = full_key(self.collection, key);
                    let beneath = hidden.map(|(_, value)| value);
                    fold_own(&full, (base, &operands), beneath, &*self.backing)?
                }
            };
            return Ok(Some((Key::from(key), value)));
        }
    }

    fn next_at(&mut self, end: Side) -> Option<Result<(Key, Value)>> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let stepped = self.step(end);
        self.failed = stepped.as_ref().err().cloned();
        stepped.transpose()
    }
}

/// What a transaction's operands make of what they came upon; `beneath` is what the snapshot has.
pub(super) fn fold_own(
    full: &[u8],
    (base, operands): (Base<'_>, &[&[u8]]),
    beneath: Option<Value>,
    backing: &dyn Backing,
) -> Result<Value> {
    // What it is handed has not expired.
    let mut chain = Chain::at(Time::default());
    for operand in operands.iter().rev() {
        chain.take(Kind::Merge, Value::copied(operand));
    }
    let base = match base {
        Base::Snapshot => beneath,
        Base::Put(value) => Some(Value::copied(value)),
        Base::Gone => None,
    };
    if let Some(value) = base {
        chain.take(Kind::Put, value);
    }
    Ok(chain.fold(full, backing)?.1)
}

impl Iterator for TransactionRange<'_> {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_at(Side::Front)
    }
}

impl DoubleEndedIterator for TransactionRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.next_at(Side::Back)
    }
}

impl FusedIterator for TransactionRange<'_> {}

impl Drop for TransactionRange<'_> {
    fn drop(&mut self) {
        let Walked { number, front, back, whole } = &self.walked;
        let mut reads = self.reads.borrow_mut();
        let Some((start, end)) = reads.end(*number) else { return };
        if *whole {
            return reads.stretch(&start, &end);
        }
        if let Some(front) = front {
            reads.stretch(&start, front);
        }
        if let Some(back) = back {
            reads.stretch(back, &end);
        }
    }
}

impl std::fmt::Debug for TransactionRange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionRange").finish_non_exhaustive()
    }
}
