//! What takes the place of a value that lies out of line.
//!
//! ```text
//! address   file: 30 bits │ offset: 34 bits      where the value was first written; never changes
//! blob ref  address u64 ‖ digest u64 ‖ length u32 ‖ codec: 2 bits │ stored length: 30 bits      LE
//!           and in an entry that expires, behind it: expiry u64
//! ```
//!
//! 1. An address names its value for ever: a file that is rewritten takes its addresses along, and
//!    nothing that refers to them changes (MACE-1).
//! 2. The digest is of the value as the user gave it, so it proves a read from end to end, and is
//!    the same whatever the codec.
//! 3. All refs have the same length, but for the [expiry](super::time) behind one: what takes the value's place is measured before it is known
//!    where the value goes.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

pub use super::codec::Codec;
use super::coding::Decoder;
use super::error::{Error, ErrorKind, Result};
use super::id::FileId;
use super::key::Entry;
use super::time::Time;
use std::fmt;

/// Values below this stay in line, whatever the options say: a ref would hardly be shorter.
pub const BLOB_BYTES_MIN: usize = 256;

const OFFSET_BITS: u32 = 34;
const STORED_BITS: u32 = 30;

/// The digest of a value: xxh3-64.
#[inline]
pub fn digest(value: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(value)
}

/// [`digest`] of a value that comes in pieces.
#[derive(Clone, Default)]
pub struct Digester(Box<xxhash_rust::xxh3::Xxh3>);

impl Digester {
    /// Takes in the next piece.
    pub fn take(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces so far.
    pub fn digest(&self) -> u64 {
        self.0.digest()
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digester({:#018x})", self.digest())
    }
}

/// Where a large value was first written: its name for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u64);

impl Address {
    /// The address of byte `offset` of file `file`; none beyond file 2^30 or 16 GiB.
    #[inline]
    pub const fn new(file: FileId, offset: u64) -> Option<Self> {
        if file.0 >> (u64::BITS - OFFSET_BITS) != 0 || offset >> OFFSET_BITS != 0 {
            return None;
        }
        Some(Self(file.0 << OFFSET_BITS | offset))
    }

    /// The file: a log, or a blob file.
    #[inline]
    pub const fn file(self) -> FileId {
        FileId(self.0 >> OFFSET_BITS)
    }

    /// The offset in that file.
    #[inline]
    pub const fn offset(self) -> u64 {
        self.0 & ((1 << OFFSET_BITS) - 1)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.offset())
    }
}

/// What segments and memtables hold in the place of a large value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// Its name.
    pub address: Address,
    /// [`digest`] of the value.
    pub digest: u64,
    /// Bytes of the value.
    pub len: u32,
    /// Bytes of it as stored: below 2^30 unless the value is raw and has exactly as many.
    pub stored: u32,
    /// How it is stored.
    pub codec: Codec,
}

impl BlobRef {
    /// Bytes of every ref, without an expiry.
    pub const BYTES: usize = 24;

    /// The ref of a value that is stored as it is. Cost: one pass over it.
    pub fn raw(address: Address, value: &[u8]) -> Self {
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        Self { address, digest: digest(value), len, stored: len, codec: Codec::Raw }
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        // A raw value says its length once: 1 GiB would not fit beside the codec.
        let stored = if self.codec == Codec::Raw { 0 } else { self.stored };
        let codec = u32::from(self.codec.number());
        let parts = [
            &self.address.0.to_le_bytes()[..],
            &self.digest.to_le_bytes(),
            &self.len.to_le_bytes(),
            &(codec << STORED_BITS | stored).to_le_bytes(),
        ];
        let mut bytes = [0; Self::BYTES];
        let mut space = &mut bytes[..];
        for part in parts {
            let (place, rest) = space.split_at_mut(part.len());
            place.copy_from_slice(part);
            space = rest;
        }
        bytes
    }

    /// The ref that takes the place of `entry`'s value. Errors: `Corruption` naming the key.
    pub fn of(entry: &Entry<'_>) -> Result<Self> {
        Self::decode(entry.value).ok_or_else(|| {
            let (key, value) = (entry.key.escape_ascii(), entry.value.escape_ascii());
            let message = format!("key \"{key}\": want the ref of a value, found \"{value}\"");
            Error::new(ErrorKind::Corruption, message)
        })
    }

    /// The ref that `bytes` are, with or without an expiry behind it; none if they are none.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::BYTES && bytes.len() != Self::BYTES + Time::BYTES {
            return None;
        }
        let mut input = Decoder::new(bytes);
        let (address, digest) = (Address(input.u64()?), input.u64()?);
        let (len, last) = (input.u32()?, input.u32()?);
        let codec = Codec::from_u8(u8::try_from(last >> STORED_BITS).ok()?)?;
        let stored = last & ((1 << STORED_BITS) - 1);
        let stored = match (codec, stored) {
            (Codec::Raw, 0) => len,
            (Codec::Raw, _) | (_, 0) => return None,
            (_, stored) => stored,
        };
        Some(Self { address, digest, len, stored, codec })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_round_trip_at_their_limits() {
        let far = Address::new(FileId((1 << 30) - 1), (1 << 34) - 1).unwrap();
        assert_eq!((far.file(), far.offset()), (FileId((1 << 30) - 1), (1 << 34) - 1));
        assert_eq!(Address::new(FileId(1 << 30), 0), None);
        assert_eq!(Address::new(FileId(0), 1 << 34), None);
        for codec in [Codec::Lz4, Codec::Zstd] {
            let stored = (1 << STORED_BITS) - 1;
            let blob = BlobRef { address: far, digest: u64::MAX, len: 1 << 30, stored, codec };
            assert_eq!(BlobRef::decode(&blob.encode()), Some(blob));
        }
        let raw = BlobRef { len: 1 << 30, stored: 1 << 30, ..BlobRef::raw(far, b"") };
        assert_eq!(BlobRef::decode(&raw.encode()), Some(raw));
    }

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let value: Vec<u8> = (0..=250).cycle().take(5000).collect();
        for step in [1, 7, 256, 1024, 5000] {
            let mut digester = Digester::default();
            value.chunks(step).for_each(|piece| digester.take(piece));
            assert_eq!(digester.digest(), digest(&value));
        }
    }

    /// Law 10: what is no ref is refused.
    #[test]
    fn other_bytes_are_no_ref() {
        let bytes = BlobRef::raw(Address(5), b"abc").encode();
        let long = [&bytes[..], &[0; 9]].concat();
        for len in 0..=long.len() {
            let is_ref = [BlobRef::BYTES, BlobRef::BYTES + Time::BYTES].contains(&len);
            assert_eq!(BlobRef::decode(&long[..len]).is_some(), is_ref, "{len}");
        }
        for last in [3 << STORED_BITS, 1, 1 << STORED_BITS] {
            let mut odd = bytes;
            odd[20..].copy_from_slice(&u32::to_le_bytes(last));
            assert_eq!(BlobRef::decode(&odd), None, "{last:x}");
        }
    }
}
