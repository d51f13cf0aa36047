//! Every entry of some sources once: merged by key and number, whatever comes from where.
//!
//! ```text
//!   seg-12  a@9 b@4      ┐
//!   seg-15  a@9 a@7      ├─▶  a@9 a@7 b@5 b@4        same key and number: one of them
//!   log-17  b@5          ┘
//! ```
//!
//! 1. Numbers are unique, so two entries of one key and number are the same one, met twice: after a
//!    flush or merge of which both sides are there. They are equal, or one is what an earlier repair put in the
//!    place of a value that it could not read.
//! 2. Of two, what has its value with it goes before what refers to it, that before an operand, which a
//!    merge may have folded into the other; then comes a delete, and last what refers to what cannot
//!    be read.
//! 3. Two operands of one number are one of them folded with older ones, if they differ. The one that was
//!    written first is taken, so sources come in that order: what was folded into the other is there, too,
//!    and must not count twice.

use crate::base::blob::BlobRef;
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::{Entry, Kind};
use crate::base::value::Value;
use crate::blob::Values;
use crate::merge::Merged;

/// An entry that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) key: Vec<u8>,
    pub(super) seq: SeqNo,
    pub(super) kind: Kind,
    pub(super) value: Vec<u8>,
}

impl Owned {
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        let Entry { key, seq, kind, value } = *entry;
        Self { key: key.to_vec(), seq, kind, value: value.to_vec() }
    }

    pub(super) fn entry(&self) -> Entry<'_> {
        Entry { key: &self.key, seq: self.seq, kind: self.kind, value: &self.value }
    }

    /// What takes the place of its value, if that lies out of line.
    pub(super) fn blob(&self) -> Option<BlobRef> {
        (self.kind == Kind::Blob).then(|| BlobRef::decode(&self.value)).flatten()
    }

    /// How good it is among those of its key and number; the lower the better.
    fn rank(&self, values: &mut Values) -> Result<u8> {
        Ok(match (self.kind, self.blob()) {
            (Kind::Blob, None) => 4,
            (Kind::Blob, Some(blob)) if values.read(&blob)?.is_none() => 4,
            (Kind::Delete, _) => 3,
            (Kind::Merge, _) => 2,
            (Kind::Blob, Some(_)) => 1,
            _ => 0,
        })
    }
}

/// See the module.
pub(super) struct Union {
    merged: Merged,
    /// Read and not given out.
    ahead: Option<Owned>,
    is_begun: bool,
}

impl Union {
    /// What was written first comes first.
    pub(super) fn new(sources: Vec<Box<dyn Cursor>>) -> Self {
        Self { merged: Merged::new(sources), ahead: None, is_begun: false }
    }

    /// The next entry. Errors: those of the sources.
    pub(super) fn next(&mut self, values: &mut Values) -> Result<Option<Owned>> {
        if !self.is_begun {
            self.is_begun = true;
            self.merged.seek_first()?;
            self.ahead = self.merged.entry().map(|entry| Owned::of(&entry));
        }
        let Some(mut best) = self.ahead.take() else { return Ok(None) };
        loop {
            self.merged.next()?;
            let Some(entry) = self.merged.entry() else { return Ok(Some(best)) };
            let other = Owned::of(&entry);
            if (other.seq, &other.key) != (best.seq, &best.key) {
                self.ahead = Some(other);
                return Ok(Some(best));
            }
            if other != best && other.rank(values)? < best.rank(values)? {
                best = other;
            }
        }
    }
}

/// Entries that were found one by one, as a source.
#[derive(Debug, Default)]
pub(super) struct Pile {
    entries: Vec<Owned>,
    /// The entry it is on, counted from 1; 0 and beyond the last: off.
    on: usize,
}

impl Pile {
    /// Sorts what was found.
    pub(super) fn new(mut entries: Vec<Owned>) -> Self {
        entries.sort_by(|a, b| a.entry().order(&b.entry()));
        entries.dedup();
        Self { entries, on: 0 }
    }
}

impl Cursor for Pile {
    fn seek_first(&mut self) -> Result<()> {
        self.on = 1;
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.on = self.entries.len();
        Ok(())
    }

    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        let target = Entry { key, seq, kind: Kind::Put, value: b"" };
        self.on = 1 + self.entries.partition_point(|one| one.entry().order(&target).is_lt());
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.on = self.entries.partition_point(|one| *one.key < *key);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.on = if self.entry().is_some() { self.on + 1 } else { 0 };
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.on = if self.entry().is_some() { self.on - 1 } else { 0 };
        Ok(())
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.entries.get(self.on.checked_sub(1)?).map(Owned::entry)
    }

    fn value(&self) -> Value {
        self.entry().map_or(Value::EMPTY, |entry| Value::copied(entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::blob::Address;

    /// SST-21: what a merge has made of operands lies beside them, whichever comes first.
    #[test]
    fn the_best_of_one_number_is_taken_in_any_order() {
        let one = |kind, seq, value: &[u8]| Owned {
            key: b"0000k".to_vec(),
            seq: SeqNo(seq),
            kind,
            value: value.to_vec(),
        };
        let (folded, delete) = (one(Kind::Put, 5, b"111"), one(Kind::Delete, 5, b""));
        let unread = BlobRef::raw(Address(77), b"a value that no file has").encode();
        let unread = one(Kind::Blob, 5, &unread);
        let operand = one(Kind::Merge, 5, b"100");
        let older = one(Kind::Merge, 4, b"10");
        let check = |all: [&Owned; 3], best: &Owned| {
            for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let piles = order.map(|at| Pile::new(vec![all[at].clone(), older.clone()]));
                let sources = piles.map(|pile| Box::new(pile) as Box<dyn Cursor>);
                let (mut union, mut values) = (Union::new(sources.into()), Values::default());
                let mut next = || union.next(&mut values).unwrap();
                let found = [next(), next(), next()];
                assert_eq!(found, [Some(best.clone()), Some(older.clone()), None]);
            }
        };
        check([&operand, &folded, &delete], &folded);
        check([&unread, &folded, &operand], &folded);
        check([&unread, &operand, &delete], &operand);
        check([&unread, &unread, &delete], &delete);
    }
}
