//! The reference cursor, over a sorted vector, and the one suite that every cursor must pass.
//!
//! 1. [`VecCursor`] is too simple to be wrong: a vector and an index.
//! 2. [`walks_like_the_reference`] drives any cursor beside it, in both directions, turning at
//!    every place (SST-23).

use super::Cursor;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::key::{Entry, Kind};
use crate::base::value::Value;
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// An entry that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) key: Vec<u8>,
    pub(crate) seq: SeqNo,
    pub(crate) kind: Kind,
    pub(crate) value: Vec<u8>,
}

impl Owned {
    pub(crate) fn new(key: &[u8], seq: u64, kind: Kind, value: &[u8]) -> Self {
        Self { key: key.to_vec(), seq: SeqNo(seq), kind, value: value.to_vec() }
    }

    pub(crate) fn of(entry: Entry<'_>) -> Self {
        Self::new(entry.key, entry.seq.0, entry.kind, entry.value)
    }

    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry { key: &self.key, seq: self.seq, kind: self.kind, value: &self.value }
    }
}

/// A cursor over a vector. Counts its moves; fails at a chosen one.
#[derive(Clone, Debug)]
pub(crate) struct VecCursor {
    entries: Arc<Vec<Owned>>,
    /// The entry it is on; at or above the length: off.
    at: usize,
    /// Moves so far, seeks included; shared by clones.
    pub(crate) moves: Arc<AtomicUsize>,
    /// The move (counted from 0) that fails, once.
    pub(crate) fails_at: Option<usize>,
}

impl VecCursor {
    /// Sorts `entries` into internal order.
    pub(crate) fn new(mut entries: Vec<Owned>) -> Self {
        entries.sort_by(|a, b| a.entry().order(&b.entry()));
        Self { entries: Arc::new(entries), at: usize::MAX, moves: Arc::default(), fails_at: None }
    }

    /// All entries in order.
    pub(crate) fn entries(&self) -> &[Owned] {
        &self.entries
    }

    fn go(&mut self, at: Option<usize>) -> Result<()> {
        let moves = self.moves.fetch_add(1, Relaxed);
        if self.fails_at == Some(moves) {
            self.at = usize::MAX;
            return Err(Error::new(ErrorKind::Io, format!("planted at move {moves}")));
        }
        self.at = at.unwrap_or(usize::MAX);
        Ok(())
    }
}

impl Cursor for VecCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.go(Some(0))
    }

    fn seek_last(&mut self) -> Result<()> {
        self.go(self.entries.len().checked_sub(1))
    }

    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        let target = Entry { key, seq, kind: Kind::Put, value: b"" };
        let below = |entry: &Owned| entry.entry().order(&target) == Ordering::Less;
        self.go(Some(self.entries.partition_point(below)))
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.go(self.entries.partition_point(|entry| *entry.key < *key).checked_sub(1))
    }

    fn next(&mut self) -> Result<()> {
        self.go(self.at.checked_add(1))
    }

    fn prev(&mut self) -> Result<()> {
        self.go(self.at.checked_sub(1).filter(|_| self.at < self.entries.len()))
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.entries.get(self.at).map(Owned::entry)
    }

    fn value(&self) -> Value {
        self.entries.get(self.at).map_or(Value::EMPTY, |entry| Value::copied(&entry.value))
    }
}

/// Everything from here to the end, forward.
pub(crate) fn rest(cursor: &mut dyn Cursor) -> Result<Vec<Owned>> {
    let mut all = Vec::new();
    while let Some(entry) = cursor.entry() {
        all.push(Owned::of(entry));
        cursor.next()?;
    }
    Ok(all)
}

fn assert_same(cursor: &dyn Cursor, reference: &VecCursor, doing: &str) {
    assert_eq!(cursor.entry(), reference.entry(), "after {doing}");
    assert_eq!(cursor.value(), reference.value(), "the value after {doing}");
}

/// Drives `cursor` beside the reference over the same `entries`: whole walks both ways, every seek
/// to and around every entry, each followed by steps in both directions. Cost: quadratic only in
/// the steps after a seek, so up to some thousand entries are fine.
///
/// Panics at the first difference.
pub(crate) fn walks_like_the_reference(cursor: &mut dyn Cursor, entries: Vec<Owned>) {
    let mut reference = VecCursor::new(entries);
    assert!(cursor.entry().is_none(), "a new cursor is off");
    cursor.next().unwrap();
    cursor.prev().unwrap();
    assert!(cursor.entry().is_none(), "steps leave a new cursor off");

    let count = reference.entries().len();
    cursor.seek_first().unwrap();
    reference.seek_first().unwrap();
    for _ in 0..count + 2 {
        assert_same(cursor, &reference, "a walk forward");
        cursor.next().unwrap();
        reference.next().unwrap();
    }
    cursor.prev().unwrap();
    assert!(cursor.entry().is_none(), "prev off the end stays off");
    cursor.seek_last().unwrap();
    reference.seek_last().unwrap();
    for _ in 0..count + 2 {
        assert_same(cursor, &reference, "a walk backward");
        cursor.prev().unwrap();
        reference.prev().unwrap();
    }
    cursor.next().unwrap();
    assert!(cursor.entry().is_none(), "next off the front stays off");

    for (i, target) in reference.entries().to_vec().iter().enumerate() {
        let beyond = [&target.key[..], b"\0"].concat();
        let seqs = [SeqNo::MAX, target.seq.next(), target.seq, SeqNo::ZERO];
        for seq in seqs {
            cursor.seek(&target.key, seq).unwrap();
            reference.seek(&target.key, seq).unwrap();
            turn(cursor, &mut reference, i);
        }
        cursor.seek(&beyond, SeqNo::MAX).unwrap();
        reference.seek(&beyond, SeqNo::MAX).unwrap();
        turn(cursor, &mut reference, i);
        for key in [&target.key[..], &beyond, &target.key[..target.key.len() - 1]] {
            cursor.seek_before(key).unwrap();
            reference.seek_before(key).unwrap();
            turn(cursor, &mut reference, i);
        }
    }
}

/// A few steps to and fro, in an order that depends on `salt`.
fn turn(cursor: &mut dyn Cursor, reference: &mut VecCursor, salt: usize) {
    assert_same(cursor, reference, "a seek");
    for bit in 0..6 {
        if (salt >> bit) & 1 == bit & 1 {
            cursor.next().unwrap();
            reference.next().unwrap();
        } else {
            cursor.prev().unwrap();
            reference.prev().unwrap();
        }
        assert_same(cursor, reference, "a turn");
    }
}

#[test]
fn the_reference_passes_its_own_suite() {
    let entry = |i: u64| Owned::new(&[0, 0, 0, 1, (i / 3) as u8], 100 - i, Kind::Put, b"v");
    let entries: Vec<_> = (0..30).map(entry).collect();
    walks_like_the_reference(&mut VecCursor::new(entries.clone()), entries);
    walks_like_the_reference(&mut VecCursor::new(Vec::new()), Vec::new());
}
