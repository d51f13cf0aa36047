//! A checksum over a set of entries, whatever their order: the proof that a rewrite lost nothing.
//!
//! ```text
//! item   = xxh3-128( key length: u32 LE ‖ key ‖ tag: u64 LE ‖ value )        tag: number and kind
//! setsum = sum of all items modulo 2^128
//!
//! of a put of 256 bytes or more:  value = length: u32 LE ‖ xxh3-64 of the value,  kind = Blob
//! if it expires, behind that:     expiry: u64 LE
//! ```
//!
//! 1. Order-free: a log, a memtable, a segment and their rewrite have the same sum if they hold the
//!    same entries, so `in = out + dropped` can be checked without keeping either (SST-17).
//! 2. Additive and subtractable. Items are length-framed (SST-16, vector 4, cannot happen here).
//! 3. A large value counts the same whether it lies in line or not, and is not read for it: what
//!    takes its place has its length and its digest ([`BlobRef`]).
//! 4. It guards against accidents, not against an adversary who chooses entries.
//!
//! The idea is the `setsum` crate's; the hash is faster (13 ns for 216 bytes against SHA3).

use super::blob::{BLOB_BYTES_MIN, BlobRef, digest};
use super::key::{Entry, Kind, pack_tag};
use super::time::{Time, split};
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use xxhash_rust::xxh3::xxh3_128;

/// The sum of a set of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Setsum(pub u128);

const STACK_BYTES: usize = 512;
/// What stands for a large value: its length, its digest, and when it expires.
const BRIEF_BYTES_MAX: usize = 4 + 8 + Time::BYTES;

impl Setsum {
    /// The empty set.
    pub const ZERO: Self = Self(0);

    /// The set of this one entry.
    #[inline]
    pub fn of(entry: &Entry<'_>) -> Self {
        let Entry { key, seq, kind, value } = *entry;
        let large = match kind {
            Kind::Put if value.len() >= BLOB_BYTES_MIN => (length(value), digest(value), None),
            Kind::Expiring if value.len() >= BLOB_BYTES_MIN + Time::BYTES => {
                let (value, expiry) = split(kind, value).unwrap_or((value, None));
                (length(value), digest(value), expiry)
            }
            Kind::Blob => match BlobRef::decode(value) {
                Some(BlobRef { len, digest, .. }) => (len, digest, entry.expiry()),
                None => return Self::of_parts(entry),
            },
            _ => return Self::of_parts(entry),
        };
        let (len, digest, expiry) = large;
        let expiry = expiry.map(|Time(expiry)| expiry.to_le_bytes());
        let parts =
            [&len.to_le_bytes()[..], &digest.to_le_bytes(), expiry.as_ref().map_or(&[], |e| e)];
        let mut brief = [0; BRIEF_BYTES_MAX];
        let mut space = &mut brief[..];
        for part in parts {
            let (place, rest) = space.split_at_mut(part.len());
            place.copy_from_slice(part);
            space = rest;
        }
        let left = space.len();
        let value = brief.get(..BRIEF_BYTES_MAX - left).unwrap_or_default();
        Self::of_parts(&Entry { key, seq, kind: Kind::Blob, value })
    }

    /// The set of one value that lies out of line, wherever it lies.
    pub fn of_blob(blob: &BlobRef) -> Self {
        Self(xxh3_128(&blob.encode()))
    }

    fn of_parts(entry: &Entry<'_>) -> Self {
        let frame = u32::try_from(entry.key.len()).unwrap_or(u32::MAX).to_le_bytes();
        let tag = pack_tag(entry.seq, entry.kind).to_le_bytes();
        let parts = [&frame[..], entry.key, &tag, entry.value];
        let total = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut stack = [0; STACK_BYTES];
        if let Some(mut space) = stack.get_mut(..total) {
            for part in parts {
                let (place, rest) = space.split_at_mut(part.len());
                place.copy_from_slice(part);
                space = rest;
            }
            return Self(xxh3_128(stack.get(..total).unwrap_or_default()));
        }
        let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
        for part in parts {
            hash.update(part);
        }
        Self(hash.digest128())
    }

    /// The sum in 32 hexadecimal digits, as the manifest stores it.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

/// The length of a value: at most 1 GiB.
fn length(value: &[u8]) -> u32 {
    u32::try_from(value.len()).unwrap_or(u32::MAX)
}

impl Add for Setsum {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl Sub for Setsum {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

impl AddAssign for Setsum {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Setsum {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl fmt::Display for Setsum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::blob::Address;
    use super::super::id::SeqNo;
    use super::*;

    fn entry<'a>(key: &'a [u8], value: &'a [u8]) -> Entry<'a> {
        Entry { key, seq: SeqNo(1), kind: Kind::Put, value }
    }

    #[test]
    fn order_does_not_matter_and_sums_subtract() {
        let (a, b) = (Setsum::of(&entry(b"a", b"1")), Setsum::of(&entry(b"b", b"2")));
        assert_eq!(a + b, b + a);
        assert_eq!(a + b - a, b);
        assert_eq!(Setsum::from_hex(&(a + b).to_string()), Some(a + b));
    }

    /// SST-16 vector 4: moving bytes between key and value must change the sum.
    #[test]
    fn items_are_framed_by_length() {
        assert_ne!(Setsum::of(&entry(b"a", b"zzz")), Setsum::of(&entry(b"az", b"zz")));
    }

    #[test]
    fn long_and_short_entries_hash_the_same_bytes() {
        let (key, value) = ([1; STACK_BYTES], [2; 20]);
        let long = Setsum::of(&entry(&key, &value));
        let mut all = 512u32.to_le_bytes().to_vec();
        all.extend(key);
        all.extend(pack_tag(SeqNo(1), Kind::Put).to_le_bytes());
        all.extend(value);
        assert_eq!(long, Setsum(xxh3_128(&all)));
    }

    /// Moving a value out of line is no change of what the database holds.
    #[test]
    fn a_large_value_counts_the_same_in_line_and_out_of_line() {
        for len in [BLOB_BYTES_MIN, 5000] {
            let value = vec![7; len];
            let blob = BlobRef::raw(Address(1 << 40), &value);
            let bytes = blob.encode();
            let outside = Entry { kind: Kind::Blob, value: &bytes, ..entry(b"a", b"") };
            assert_eq!(Setsum::of(&entry(b"a", &value)), Setsum::of(&outside));
            let moved = BlobRef { address: Address(7), ..blob }.encode();
            assert_eq!(Setsum::of(&outside), Setsum::of(&Entry { value: &moved, ..outside }));
        }
    }

    /// When an entry expires is part of what it says, in line and out of line alike.
    #[test]
    fn an_expiry_counts() {
        for len in [0, BLOB_BYTES_MIN - 1, BLOB_BYTES_MIN, 5000] {
            let value = vec![7; len];
            let blob = BlobRef::raw(Address(1 << 40), &value).encode();
            let sum = |kind, value: &[u8], expiry: u64| {
                let value = [value, &expiry.to_le_bytes()].concat();
                Setsum::of(&Entry { kind, value: &value, ..entry(b"a", b"") })
            };
            let in_line = sum(Kind::Expiring, &value, 5);
            assert_ne!(in_line, Setsum::of(&entry(b"a", &value)));
            assert_ne!(in_line, sum(Kind::Expiring, &value, 6));
            assert_eq!(in_line == sum(Kind::Blob, &blob, 5), len >= BLOB_BYTES_MIN);
        }
    }

    /// A short value that has the bytes that stand for a long one is another value.
    #[test]
    fn what_stands_for_a_large_value_is_no_value() {
        let value = vec![7; 1000];
        let mut brief = 1000u32.to_le_bytes().to_vec();
        brief.extend(digest(&value).to_le_bytes());
        assert_ne!(Setsum::of(&entry(b"a", &value)), Setsum::of(&entry(b"a", &brief)));
    }
}
