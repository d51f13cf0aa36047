//! Internal keys: what the engine sorts by.
//!
//! ```text
//! full key   collection id: u32 big-endian ‖ user key          sorted bytewise, ascending
//! tag        sequence number << 8 | kind                       for one full key: descending
//! ```
//!
//! 1. Entries are ordered by full key, then newest first. No two entries have the same number.
//! 2. A [`Lookup`] is made once an operation; memtables and filters share its hash.

use super::error::{Error, Result};
use super::id::{CollectionId, SeqNo};
use std::cmp::Ordering;

/// The longest key a user may store: 64 KiB.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// The longest value: 1 GiB.
pub const VALUE_BYTES_MAX: usize = 1 << 30;
/// The most bytes of keys and values in a batch: 1 GiB (and room for one key beside a value).
pub const BATCH_BYTES_MAX: usize = (1 << 30) + (1 << 20);

/// What an entry does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The value is the key's new value.
    Put = 1,
    /// A tombstone: the key is absent from here on. The value is empty.
    Delete = 2,
    /// The value is an operand for the collection's merge operator.
    Merge = 3,
    /// Keys from this one up to the value (excluded; a full key) are absent from here on.
    RangeDelete = 4,
    /// A put whose value lies out of line: the value here is a [`BlobRef`](super::blob::BlobRef).
    /// Logs never say so: they carry the value itself.
    Blob = 5,
    /// A put that expires: behind the value there is [when](super::time). One out of line is of kind
    /// `Blob`, and its ref has the expiry behind it.
    Expiring = 6,
}

impl Kind {
    /// Whether the entry is the key's new value, in line or out of line.
    #[inline]
    pub const fn is_put(self) -> bool {
        matches!(self, Self::Put | Self::Blob | Self::Expiring)
    }

    /// The kind that `byte` stands for, if any.
    pub const fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Put),
            2 => Some(Self::Delete),
            3 => Some(Self::Merge),
            4 => Some(Self::RangeDelete),
            5 => Some(Self::Blob),
            6 => Some(Self::Expiring),
            _ => None,
        }
    }
}

/// One operation at rest: borrowed from a log frame, a slab or a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Full key: collection id and user key.
    pub key: &'a [u8],
    /// Its place in the order of all operations.
    pub seq: SeqNo,
    /// What it does.
    pub kind: Kind,
    /// Value, operand, end of range (a full key), or nothing.
    pub value: &'a [u8],
}

impl Entry<'_> {
    /// Order of entries: full key ascending, then newest first.
    pub fn order(&self, other: &Entry<'_>) -> Ordering {
        self.key.cmp(other.key).then(other.seq.cmp(&self.seq))
    }
}

/// Sequence number and kind in one word, as slabs and blocks store them.
pub const fn pack_tag(seq: SeqNo, kind: Kind) -> u64 {
    seq.0 << 8 | kind as u64
}

/// The parts of a word made by [`pack_tag`]; none if its kind is unknown.
pub fn unpack_tag(tag: u64) -> Option<(SeqNo, Kind)> {
    let kind = Kind::from_u8((tag & 0xff) as u8)?;
    Some((SeqNo(tag >> 8), kind))
}

/// The full key of a user key, or of a prefix of some.
pub fn full_key(collection: CollectionId, key: &[u8]) -> Box<[u8]> {
    [&collection.0.to_be_bytes()[..], key].concat().into()
}

/// The first key above `key`: nothing sorts between the two.
pub fn key_after(key: &[u8]) -> Box<[u8]> {
    [key, b"\0"].concat().into()
}

/// The collection and user key of a full key; none if it is too short to have an id.
pub fn split_full_key(full: &[u8]) -> Option<(CollectionId, &[u8])> {
    let (id, key) = full.split_first_chunk::<{ CollectionId::BYTES }>()?;
    Some((CollectionId(u32::from_be_bytes(*id)), key))
}

/// The hash that memtables and filters use for a full key.
pub fn hash_full_key(full: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(full)
}

/// The hash that filters use for the first bytes of full keys: another than that of a full key of the
/// same bytes.
pub fn hash_prefix(prefix: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(prefix, 1)
}

/// The first full key that does not start with `prefix`; none if every key above does.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix.get(..=keep)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// Refuses a key over [`KEY_BYTES_MAX`].
pub fn check_key(key: &[u8]) -> Result<()> {
    check_key_len(key.len())
}

/// Refuses the length of a key over [`KEY_BYTES_MAX`].
pub fn check_key_len(len: usize) -> Result<()> {
    if len <= KEY_BYTES_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!("key of {len} bytes: want at most {KEY_BYTES_MAX}")))
}

/// Refuses a value over [`VALUE_BYTES_MAX`].
pub fn check_value(value: &[u8]) -> Result<()> {
    check_value_len(value.len() as u64)
}

/// Refuses the length of a value over [`VALUE_BYTES_MAX`].
pub fn check_value_len(len: u64) -> Result<()> {
    if len <= VALUE_BYTES_MAX as u64 {
        return Ok(());
    }
    Err(Error::invalid(format!("value of {len} bytes: want at most {VALUE_BYTES_MAX}")))
}

const INLINE_BYTES: usize = 92;

/// A full key with its hash, made once for a point read or write. Keys up to 88 bytes stay on the
/// stack.
#[derive(Clone, Debug)]
pub struct Lookup {
    inline: [u8; INLINE_BYTES],
    len: usize,
    heap: Vec<u8>,
    hash: u64,
}

impl Lookup {
    /// Cost: one copy of the key and one hash of it.
    #[inline]
    pub fn new(collection: CollectionId, key: &[u8]) -> Self {
        let id = collection.0.to_be_bytes();
        let len = id.len() + key.len();
        let mut lookup = Self { inline: [0; INLINE_BYTES], len, heap: Vec::new(), hash: 0 };
        if let (true, Some(space)) = (len <= INLINE_BYTES, lookup.inline.get_mut(..len)) {
            let (head, tail) = space.split_at_mut(id.len());
            head.copy_from_slice(&id);
            tail.copy_from_slice(key);
        } else {
            lookup.heap = [&id[..], key].concat();
        }
        lookup.hash = hash_full_key(lookup.full());
        lookup
    }

    /// Collection id and user key.
    #[inline]
    pub fn full(&self) -> &[u8] {
        if self.heap.is_empty() {
            self.inline.get(..self.len).unwrap_or_default()
        } else {
            &self.heap
        }
    }

    /// [`hash_full_key`] of it.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_sort_by_key_then_newest_first() {
        let entry = |key, seq| Entry { key, seq: SeqNo(seq), kind: Kind::Put, value: b"" };
        assert_eq!(entry(b"a", 1).order(&entry(b"b", 9)), Ordering::Less);
        assert_eq!(entry(b"a", 9).order(&entry(b"a", 1)), Ordering::Less);
    }

    #[test]
    fn a_lookup_of_any_length_holds_id_and_key() {
        for len in [0, 1, INLINE_BYTES - 5, INLINE_BYTES - 4, INLINE_BYTES - 3, 70_000] {
            let key = vec![7; len];
            let lookup = Lookup::new(CollectionId(258), &key);
            assert_eq!(split_full_key(lookup.full()), Some((CollectionId(258), &key[..])));
            assert_eq!(lookup.hash(), hash_full_key(lookup.full()));
        }
    }

    #[test]
    fn the_end_of_a_prefix_skips_bytes_that_cannot_rise() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn a_tag_round_trips_at_its_limits() {
        for seq in [SeqNo::ZERO, SeqNo(1), SeqNo::MAX] {
            assert_eq!(
                unpack_tag(pack_tag(seq, Kind::RangeDelete)),
                Some((seq, Kind::RangeDelete))
            );
        }
        assert_eq!(unpack_tag(0), None);
    }
}
