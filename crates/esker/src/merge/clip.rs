//! The part of a walk that lies between two keys.
//!
//! ```text
//!   inner   a a b c c d e f f g        from c up to f
//!   clip          c c d e              versions of one key stay together
//! ```
//!
//! 1. `from` is included, `to` is not; both are full keys, so no cut goes through a key's versions.
//! 2. The inner cursor may stand outside; this one is then off, and stays so until a seek.

use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::Entry;
use crate::base::value::Value;

/// See the module.
pub struct Clip<C> {
    inner: C,
    from: Option<Box<[u8]>>,
    to: Option<Box<[u8]>>,
    is_on: bool,
}

impl<C: Cursor> Clip<C> {
    /// What `inner` has from the key `from` up to `to`; off until a seek.
    pub fn new(inner: C, from: Option<Box<[u8]>>, to: Option<Box<[u8]>>) -> Self {
        Self { inner, from, to, is_on: false }
    }

    /// Runs a move, then looks whether that led outside.
    #[inline]
    fn moved(&mut self, step: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        self.is_on = false;
        step(&mut self.inner)?;
        self.is_on = self.inner.entry().is_some_and(|entry| {
            self.from.as_ref().is_none_or(|from| **from <= *entry.key)
                && self.to.as_ref().is_none_or(|to| *entry.key < **to)
        });
        Ok(())
    }
}

impl<C: Cursor> Cursor for Clip<C> {
    fn seek_first(&mut self) -> Result<()> {
        let from = self.from.clone();
        self.moved(|inner| match from {
            Some(from) => inner.seek(&from, SeqNo::MAX),
            None => inner.seek_first(),
        })
    }

    fn seek_last(&mut self) -> Result<()> {
        let to = self.to.clone();
        self.moved(|inner| match to {
            Some(to) => inner.seek_before(&to),
            None => inner.seek_last(),
        })
    }

    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        match &self.from {
            Some(from) if *key < **from => self.seek_first(),
            _ => self.moved(|inner| inner.seek(key, seq)),
        }
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        match &self.to {
            Some(to) if **to < *key => self.seek_last(),
            _ => self.moved(|inner| inner.seek_before(key)),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.is_on { self.moved(C::next) } else { Ok(()) }
    }

    fn prev(&mut self) -> Result<()> {
        if self.is_on { self.moved(C::prev) } else { Ok(()) }
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        if self.is_on { self.inner.entry() } else { None }
    }

    fn value(&self) -> Value {
        if self.is_on { self.inner.value() } else { Value::EMPTY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::cursor::reference::{Owned, VecCursor, walks_like_the_reference};
    use crate::base::key::Kind;

    fn entries() -> Vec<Owned> {
        let mut all = Vec::new();
        for key in 0..12_u8 {
            for seq in (1..=u64::from(key % 3) + 1).rev() {
                let key = [b'k', 2 * key];
                let entry = Entry { key: &key, seq: SeqNo(seq), kind: Kind::Put, value: &key };
                all.push(Owned::of(entry));
            }
        }
        all
    }

    #[test]
    fn a_clip_walks_like_what_lies_between_its_ends() {
        let ends = [None, Some(0), Some(1), Some(4), Some(7), Some(22), Some(30)];
        for from in ends {
            for to in ends {
                let key = |end: u8| Box::<[u8]>::from([b'k', end]);
                let (from, to) = (from.map(key), to.map(key));
                let inside = |entry: &Owned| {
                    from.as_ref().is_none_or(|from| **from <= *entry.key)
                        && to.as_ref().is_none_or(|to| *entry.key < **to)
                };
                let wanted = entries().into_iter().filter(inside).collect();
                let mut clip = Clip::new(VecCursor::new(entries()), from.clone(), to.clone());
                walks_like_the_reference(&mut clip, wanted);
            }
        }
    }

    /// Parts that lie side by side have everything once.
    #[test]
    fn clips_side_by_side_have_everything_once() {
        for cut in 0..30_u8 {
            let cut: Box<[u8]> = [b'k', cut].into();
            let mut found = Vec::new();
            for (from, to) in [(None, Some(cut.clone())), (Some(cut), None)] {
                let mut clip = Clip::new(VecCursor::new(entries()), from, to);
                clip.seek_first().unwrap();
                while let Some(entry) = clip.entry() {
                    found.push(Owned::of(entry));
                    clip.next().unwrap();
                }
            }
            assert_eq!(found, entries());
        }
    }
}
