//! Folding in rewrites: between what decides what is kept, and what writes it.
//!
//! ```text
//!   Retain   keep M9 · keep M8 · keep P7                M an operand, P a put
//!   Folded   make P9 · drop M9 · drop M8 · drop P7      upon a base, or where nothing lies beneath
//!            make M9 · drop M9 · drop M8                where it is out of reach: partial
//! ```
//!
//! 1. Only operands of one stripe are folded, and upon a base of that stripe: each reader there can be
//!    sees all of a chain, or nothing of it.
//! 2. What is made takes the number of the newest operand: nothing that was above or below it is any
//!    more on the other side.
//! 3. Where an operator is missing or fails, operands are kept as they are. So are those upon a value
//!    that lies out of line, but that neighbours are combined: it is not written again.
//!    Nor is one that expires written into another, which would not; once it has, it is a delete.
//! 4. What does not have to do with operands passes through, at the cost of one comparison.
//! 5. in + made = kept + dropped, by setsum (law 6).

use super::operator::{self, MergeOperator};
use super::retain::{Judged, Keep, Retain, Soundings, Tally, Verdict, stripe_of};
use super::rewrite::Plant;
use super::rules::{Rule, Rules};
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Entry, Kind, split_full_key};
use crate::base::setsum::Setsum;
use crate::base::value::Value;
use std::collections::VecDeque;
use std::sync::Arc;

/// A longer chain is folded in pieces: so much of one is held at once.
const CHAIN_BYTES_MAX: usize = 16 << 20;
/// What a version costs beside its value, about.
const VERSION_BYTES: usize = size_of::<Version>();

/// A version of the key whose chain is folded.
#[derive(Clone, Debug)]
struct Version {
    seq: SeqNo,
    kind: Kind,
    value: Value,
    verdict: Verdict,
}

impl Version {
    fn entry<'a>(&'a self, key: &'a [u8]) -> Entry<'a> {
        Entry { key, seq: self.seq, kind: self.kind, value: &self.value }
    }

    fn is_operand(&self) -> bool {
        self.kind == Kind::Merge && self.verdict == Verdict::Keep
    }
}

/// What the operands of a chain came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// The last version of the chain, a put.
    Value,
    /// Nothing exists.
    Nothing,
    /// Not known here.
    OutOfReach,
}

/// Judges every entry of a cursor, and folds operands.
pub struct Folded<'a, C> {
    retain: Retain<'a, C>,
    keep: &'a Keep,
    beneath: Soundings<'a>,
    rules: &'a Rules,
    plant: Option<&'a dyn Plant>,
    /// The rule of the collection that was met last.
    rule: Option<(CollectionId, Arc<Rule>)>,
    /// The verdict on what `retain` lends, where that was not given yet.
    pending: Option<Verdict>,
    /// The key of the last chain, and what became of its versions: the first is lent, if `lends`.
    key: Vec<u8>,
    out: VecDeque<Version>,
    lends: bool,
    /// What folding adds to the figures of `retain`.
    folded: Tally,
}

impl<'a, C: Cursor> Folded<'a, C> {
    /// Judges all of `cursor`, from its first entry on.
    pub fn new(cursor: C, keep: &'a Keep, rules: &'a Rules, plant: Option<&'a dyn Plant>) -> Self {
        Self {
            retain: Retain::new(cursor, keep),
            keep,
            beneath: Soundings::new(&keep.beneath),
            rules,
            plant,
            rule: None,
            pending: None,
            key: Vec::new(),
            out: VecDeque::new(),
            lends: false,
            folded: Tally::default(),
        }
    }

    /// The figures so far.
    pub fn tally(&self) -> Tally {
        let mut tally = self.retain.tally();
        tally.dropped += self.folded.dropped;
        tally.entries_dropped += self.folded.entries_dropped;
        tally.tombstones_dropped += self.folded.tombstones_dropped;
        tally.created = self.folded.created;
        tally.entries_created = self.folded.entries_created;
        tally
    }

    /// The next entry with its verdict; lent until the next call. Errors: as of
    /// [`Retain::judge_next`].
    #[inline]
    pub fn judge_next(&mut self) -> Result<Option<Judged<'_>>> {
        let Some(verdict) = self.advance()? else { return Ok(None) };
        let entry = match self.out.front().filter(|_| self.lends) {
            Some(version) => Some(version.entry(&self.key)),
            None => self.retain.lent(),
        };
        Ok(entry.map(|entry| Judged { entry, verdict }))
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<Verdict>> {
        loop {
            if self.lends {
                self.out.pop_front();
            }
            self.lends = !self.out.is_empty();
            if let Some(version) = self.out.front() {
                return Ok(Some(version.verdict));
            }
            let verdict = match self.pending.take() {
                Some(verdict) => Some(verdict),
                None => self.retain.advance()?,
            };
            let is_operand = verdict == Some(Verdict::Keep)
                && self.retain.lent().is_some_and(|entry| entry.kind == Kind::Merge);
            if !is_operand || !self.gather()? {
                return Ok(verdict);
            }
        }
    }

    /// The chain whose newest operand `retain` lends: takes it in, and folds it. False if nobody can.
    #[cold]
    fn gather(&mut self) -> Result<bool> {
        let Some(newest) = self.retain.lent() else { return Ok(false) };
        let (collection, _) = split_full_key(newest.key).unwrap_or_default();
        let rule = match &self.rule {
            Some((of, rule)) if *of == collection => rule.clone(),
            _ => self.rule.insert((collection, self.rules.of(collection))).1.clone(),
        };
        let Some(operator) = rule.operator.as_deref() else {
            self.rules.folds.note_kept(1, collection, "there is no merge operator");
            return Ok(false);
        };
        if self.rules.folds.is_distrusted(collection) {
            let why = format_args!("{:?} did not give the same twice", operator.name());
            self.rules.folds.note_kept(1, collection, why);
            return Ok(false);
        }
        self.key.clear();
        self.key.extend_from_slice(newest.key);
        let base = self.take_in()?;
        self.fold(operator, collection, base);
        Ok(true)
    }

    /// Takes in what `retain` lends and all behind it that belongs to the chain.
    fn take_in(&mut self) -> Result<Base> {
        let mut bytes = 0;
        let mut stripe = None;
        let mut verdict = Verdict::Keep;
        loop {
            let Some(entry) = self.retain.lent() else { return Ok(Base::OutOfReach) };
            let (seq, kind, is_absence) = (entry.seq, entry.kind, entry.is_absence(self.keep.now));
            let version = Version { seq, kind, value: self.retain.value(), verdict };
            let stripe = *stripe.get_or_insert(stripe_of(seq, &self.keep.snapshots));
            bytes += version.value.len() + VERSION_BYTES;
            self.out.push_back(version);
            if verdict == Verdict::Keep && kind != Kind::RangeDelete && kind != Kind::Merge {
                return Ok(match kind {
                    _ if is_absence => Base::Nothing,
                    Kind::Put => Base::Value,
                    _ => Base::OutOfReach,
                });
            }
            let next = self.retain.advance()?;
            let Some(entry) = self.retain.lent().filter(|entry| *entry.key == *self.key) else {
                self.pending = next;
                let mut operands = self.out.iter().filter(|version| version.is_operand());
                let lowest = operands.next_back().map_or(SeqNo::ZERO, |version| version.seq);
                let may_hold = self.beneath.may_hold(&self.key, lowest);
                return Ok(if may_hold { Base::OutOfReach } else { Base::Nothing });
            };
            verdict = next.unwrap_or(Verdict::Keep);
            let is_point = verdict == Verdict::Keep && entry.kind != Kind::RangeDelete;
            let is_older = stripe_of(entry.seq, &self.keep.snapshots) != stripe;
            if is_point && is_older || bytes > CHAIN_BYTES_MAX {
                self.pending = next;
                return Ok(Base::OutOfReach);
            }
        }
    }

    /// Folds the chain in `out`.
    fn fold(&mut self, operator: &dyn MergeOperator, collection: CollectionId, base: Base) {
        let (_, key) = split_full_key(&self.key).unwrap_or_default();
        let operands: Vec<usize> =
            (0..self.out.len()).filter(|&at| self.out[at].is_operand()).collect();
        let made = match base {
            Base::OutOfReach => {
                let mut made = Vec::new();
                combine(operator, key, &self.out, &operands, &mut made);
                made
            }
            base => {
                let existing = self.out.back().filter(|_| base == Base::Value);
                let existing = existing.map(|version| &*version.value);
                let oldest_first = operands.iter().rev().map(|&at| &*self.out[at].value);
                let oldest_first: Vec<&[u8]> = oldest_first.collect();
                match operator::full(operator, key, existing, &oldest_first) {
                    Ok(value) => vec![Made { kind: Kind::Put, value, of: operands }],
                    Err(said) => {
                        let count = operands.len() as u64;
                        let why = format_args!("{:?} says: {said}", operator.name());
                        return self.rules.folds.note_kept(count, collection, why);
                    }
                }
            }
        };
        if base != Base::OutOfReach {
            let last = self.out.len() - 1;
            self.drop_folded(last);
        }
        // From the oldest on, so that places stay what they are.
        for Made { kind, value, of } in made.into_iter().rev() {
            let Some(&newest) = of.first() else { continue };
            self.rules.folds.note_folded(of.len() as u64);
            of.iter().for_each(|&at| self.drop_folded(at));
            let value = self.plant.and_then(|plant| plant.fold(&value)).unwrap_or(value);
            let value = Value::lent(Arc::new(value), Vec::as_slice);
            let seq = self.out[newest].seq;
            let made = Version { seq, kind, value, verdict: Verdict::Make };
            self.folded.created += Setsum::of(&made.entry(&self.key));
            self.folded.entries_created += 1;
            self.out.insert(newest, made);
        }
    }

    /// Drops a version that is part of what was made, unless it goes anyway or stays for what it hides.
    fn drop_folded(&mut self, at: usize) {
        let Some(version) = self.out.get_mut(at) else { return };
        if version.verdict != Verdict::Keep || version.kind == Kind::RangeDelete {
            return;
        }
        version.verdict = Verdict::Drop;
        self.folded.dropped += Setsum::of(&version.entry(&self.key));
        self.folded.entries_dropped += 1;
        self.folded.tombstones_dropped += u64::from(version.kind == Kind::Delete);
    }
}

/// One version in the place of some.
struct Made {
    kind: Kind,
    value: Vec<u8>,
    /// Their places, newest first.
    of: Vec<usize>,
}

/// Combines `operands`, which are neighbours, newest first: all of them, or else those of each half.
fn combine(
    operator: &dyn MergeOperator,
    key: &[u8],
    versions: &VecDeque<Version>,
    operands: &[usize],
    made: &mut Vec<Made>,
) {
    if operands.len() < 2 {
        return;
    }
    let values: Vec<&[u8]> = operands.iter().rev().map(|&at| &*versions[at].value).collect();
    if let Some(value) = operator::partial_of_all(operator, key, &values) {
        made.push(Made { kind: Kind::Merge, value: value.into_owned(), of: operands.to_vec() });
        return;
    }
    let (newer, older) = operands.split_at(operands.len() / 2);
    combine(operator, key, versions, newer, made);
    combine(operator, key, versions, older, made);
}

#[cfg(test)]
mod tests;
