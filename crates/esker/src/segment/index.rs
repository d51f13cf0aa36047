//! The sparse index: which block may hold a key.
//!
//! ```text
//! partition | first: u64 | children end: u64 | n: u32 | prefix length: u32 | prefix |
//!           | slot ×n | separators without the prefix |
//! slot      | child at: u64 | separator end: u32 |            end: in the separators, exclusive
//! ```
//!
//! A child is a data block, or, in the top index, a partition. Children lie one behind the other
//! and are numbered; `first` is the number of the first.
//!
//! 1. A separator is at or above every key of its child, and at or below every key of the next;
//!    equal to one of the next only if versions of that key fill the end of its child.
//! 2. The last separator of a file is its largest key: what is above is absent without a read.
//! 3. A search finds the first child whose separator is at or above the key (HEST-9).
//!
//! Separators are as short as they can be, after LevelDB; slots of one size are searched where they
//! lie, without decoding.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::block::shared_len;
use super::format::{Damage, to_u64};
use crate::base::coding::Decoder;
use std::cmp::Ordering;

const HEADER_BYTES: usize = 8 + 8 + 4 + 4;
const SLOT_BYTES: usize = 8 + 4;

/// A short key at or above `last` and below `next`; `last` itself where there is no shorter one.
pub(super) fn separator(last: &[u8], next: &[u8]) -> Vec<u8> {
    let shared = shared_len(last, next);
    let (Some(&low), Some(&high)) = (last.get(shared), next.get(shared)) else {
        return last.to_vec();
    };
    let mut short = last.get(..shared).unwrap_or_default().to_vec();
    if shared + 1 < next.len() && low < high {
        short.push(high);
    } else if low.saturating_add(1) < high {
        short.push(low + 1);
    } else {
        return last.to_vec();
    }
    if short.len() < last.len() { short } else { last.to_vec() }
}

/// Makes one level of the index in memory.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    separators: Vec<u8>,
    slots: Vec<(u64, usize)>,
}

impl IndexBuilder {
    /// Appends the child at `at`, whose keys are all at or below `separator`.
    pub(super) fn push(&mut self, separator: &[u8], at: u64) {
        self.separators.extend_from_slice(separator);
        self.slots.push((at, self.separators.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Its bytes if it were finished now, at most.
    pub(super) fn byte_count(&self) -> usize {
        HEADER_BYTES + self.slots.len() * SLOT_BYTES + self.separators.len()
    }

    /// The bytes of the partition; the builder is empty after it.
    pub(super) fn finish(&mut self, first: u64, children_end: u64) -> Vec<u8> {
        let slots = std::mem::take(&mut self.slots);
        let all = std::mem::take(&mut self.separators);
        let starts = std::iter::once(0).chain(slots.iter().map(|slot| slot.1));
        let parts = || starts.clone().zip(&slots).map(|(from, slot)| all.get(from..slot.1));
        let first_key = parts().next().flatten().unwrap_or_default();
        let last_from = slots.iter().rev().nth(1).map_or(0, |slot| slot.1);
        let last_key = all.get(last_from..).unwrap_or_default();
        let prefix_len = shared_len(first_key, last_key);
        let mut out = Vec::with_capacity(HEADER_BYTES + slots.len() * SLOT_BYTES + all.len());
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&children_end.to_le_bytes());
        for count in [slots.len(), prefix_len] {
            out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        out.extend_from_slice(first_key.get(..prefix_len).unwrap_or_default());
        let mut end = 0;
        for ((at, _), key) in slots.iter().zip(parts()) {
            end += key.unwrap_or_default().len() - prefix_len;
            out.extend_from_slice(&at.to_le_bytes());
            out.extend_from_slice(&u32::try_from(end).unwrap_or(u32::MAX).to_le_bytes());
        }
        for key in parts() {
            out.extend_from_slice(key.unwrap_or_default().get(prefix_len..).unwrap_or_default());
        }
        out
    }
}

/// Where a child lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    /// Its number.
    pub(super) ordinal: u64,
    /// Where its piece begins in the file.
    pub(super) at: u64,
    /// Bytes of its piece, trailer included.
    pub(super) len: u64,
}

/// One level of the index, read where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index<'a> {
    first: u64,
    children_end: u64,
    prefix: &'a [u8],
    slots: &'a [[u8; SLOT_BYTES]],
    separators: &'a [u8],
}

impl<'a> Index<'a> {
    #[inline]
    pub(super) fn of(payload: &'a [u8]) -> Result<Self, Damage> {
        Self::split(payload).ok_or_else(|| Damage::new(0, "an index with its slots"))
    }

    #[inline]
    fn split(payload: &'a [u8]) -> Option<Self> {
        let mut input = Decoder::new(payload);
        let first = input.u64()?;
        let children_end = input.u64()?;
        let count = usize::try_from(input.u32()?).ok()?;
        let prefix_len = usize::try_from(input.u32()?).ok()?;
        let prefix = input.bytes(prefix_len)?;
        let slots = input.bytes(count.checked_mul(SLOT_BYTES)?)?.as_chunks().0;
        Some(Self { first, children_end, prefix, slots, separators: input.rest() })
    }

    /// How many children it has.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Where the last child ends.
    pub(super) fn children_end(&self) -> u64 {
        self.children_end
    }

    #[inline]
    fn slot(&self, i: usize) -> Option<(u64, usize)> {
        let mut input = Decoder::new(self.slots.get(i)?);
        Some((input.u64()?, usize::try_from(input.u32()?).ok()?))
    }

    /// The child of slot `i`.
    #[inline]
    pub(super) fn child(&self, i: usize) -> Result<Child, Damage> {
        let wrong = || Damage::new(0, "children one behind the other");
        let (at, _) = self.slot(i).ok_or_else(wrong)?;
        let end = self.slot(i + 1).map_or(self.children_end, |(at, _)| at);
        let len = end.checked_sub(at).ok_or_else(wrong)?;
        let ordinal = self.first.checked_add(to_u64(i)).ok_or_else(wrong)?;
        Ok(Child { ordinal, at, len })
    }

    /// The separator of slot `i`, without the prefix.
    #[inline]
    fn suffix(&self, i: usize) -> Result<&'a [u8], Damage> {
        let wrong = || Damage::new(0, "separators in the index");
        let from = match i.checked_sub(1) {
            Some(before) => self.slot(before).ok_or_else(wrong)?.1,
            None => 0,
        };
        let to = self.slot(i).ok_or_else(wrong)?.1;
        self.separators.get(from..to).ok_or_else(wrong)
    }

    /// The separator of slot `i`.
    pub(super) fn separator(&self, i: usize) -> Result<Vec<u8>, Damage> {
        Ok([self.prefix, self.suffix(i)?].concat())
    }

    /// Whether the separator of slot `i` is `key`.
    pub(super) fn separator_is(&self, i: usize, key: &[u8]) -> Result<bool, Damage> {
        Ok(key.strip_prefix(self.prefix) == Some(self.suffix(i)?))
    }

    /// The first slot whose separator is at or above `key`; the number of slots if none is.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, Damage> {
        let Some(rest) = key.strip_prefix(self.prefix) else {
            let below = key.cmp(self.prefix) == Ordering::Less;
            return Ok(if below { 0 } else { self.count() });
        };
        let (mut from, mut to) = (0, self.count());
        while from < to {
            let middle = from.midpoint(to);
            if self.suffix(middle)? < rest {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(keys: &[&str]) -> Vec<u8> {
        let mut builder = IndexBuilder::default();
        for (i, key) in keys.iter().enumerate() {
            builder.push(key.as_bytes(), to_u64(i) * 100);
        }
        assert_eq!(builder.count(), keys.len());
        let most = builder.byte_count();
        let bytes = builder.finish(5, to_u64(keys.len()) * 100);
        assert!(bytes.len() <= most);
        bytes
    }

    /// HEST-9, all its vectors; slot 0 is its value 1.
    #[test]
    fn a_search_finds_the_first_child_at_or_above() {
        type Vector = (&'static [&'static str], &'static [(&'static str, Option<usize>)]);
        let vectors: [Vector; 4] = [
            (
                &["bbb", "ccc", "ddd"],
                &[
                    ("aaa", Some(0)),
                    ("bbb", Some(0)),
                    ("bbc", Some(1)),
                    ("ccc", Some(1)),
                    ("ccc-suffix", Some(2)),
                    ("ddd", Some(2)),
                    ("dde", None),
                ],
            ),
            (&["bbb", "ddd", "fff"], &[("ccc", Some(1)), ("eee", Some(2))]),
            (&["bbb"], &[("aaa", Some(0)), ("bbb", Some(0)), ("ccc", None)]),
            (&[], &[("aaa", None)]),
        ];
        for (keys, probes) in vectors {
            let bytes = build(keys);
            let index = Index::of(&bytes).unwrap();
            for (probe, want) in probes {
                let found = index.find(probe.as_bytes()).unwrap();
                assert_eq!((found < index.count()).then_some(found), *want, "{probe} in {keys:?}");
            }
        }
    }

    #[test]
    fn a_common_prefix_is_stored_once_and_does_not_change_the_search() {
        let keys: Vec<String> = (0..200).map(|i| format!("users/archive/{:03}", i * 2)).collect();
        let refs: Vec<&str> = keys.iter().map(String::as_str).collect();
        let bytes = build(&refs);
        assert!(bytes.len() < keys.len() * 16 + 60);
        let index = Index::of(&bytes).unwrap();
        for i in 0..400 {
            let probe = format!("users/archive/{i:03}");
            assert_eq!(index.find(probe.as_bytes()).unwrap(), usize::div_ceil(i, 2), "{probe}");
        }
        for (probe, want) in [("users", 0), ("users/archive/", 0), ("a", 0), ("users/b", 200)] {
            assert_eq!(index.find(probe.as_bytes()).unwrap(), want, "{probe}");
        }
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(index.separator(i).unwrap(), key.as_bytes());
            assert!(index.separator_is(i, key.as_bytes()).unwrap());
            let want = Child { ordinal: 5 + to_u64(i), at: to_u64(i) * 100, len: 100 };
            assert_eq!(index.child(i).unwrap(), want);
        }
    }

    #[test]
    fn a_separator_sorts_between_and_is_short() {
        let cases: [(&[u8], &[u8], &[u8]); 8] = [
            (b"abcdef", b"abxyz", b"abx"),
            (b"abc", b"abd", b"abc"),
            (b"abcccc", b"abd", b"abcccc"),
            (b"abcccc", b"abe", b"abd"),
            (b"ab", b"abc", b"ab"),
            (b"same", b"same", b"same"),
            (b"", b"a", b""),
            (b"a\xff\xff", b"b\0", b"b"),
        ];
        for (last, next, want) in cases {
            let found = separator(last, next);
            assert_eq!(found, want);
            assert!(last <= &found[..] && (&found[..] < next || last == next));
        }
    }

    /// F-39: whatever the bytes, no call panics.
    #[test]
    fn a_hostile_index_is_an_error_or_a_wrong_place() {
        let good = build(&["alpha", "alpine", "also"]);
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                for bytes in [&bad[..], &bad[..at]] {
                    let Ok(index) = Index::of(bytes) else { continue };
                    let _ = index.find(b"alpha");
                    for i in 0..index.count().min(9) {
                        let _ = (index.child(i), index.separator(i));
                    }
                }
            }
        }
    }
}
