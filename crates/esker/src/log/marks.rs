//! Marks: what a log says about itself, and what it promises to be durable.
//!
//! Each is a `Put` in the system collection, with a sequence number of its own, that rides at the
//! end of an ordinary frame. The `sst` crate reads it as one more entry.
//!
//! ```text
//! key       00000000 "log:origin"  |  00000000 "log:durable"
//! origin    version 1: u8 │ log: u64 │ nonce: u64 │ at: u64 │ some: u8 │ previous log: u64
//!           │ its length: u64 │ its last number: u64 │ crc32c of all before: u32
//! durable   version 1: u8 │ log: u64 │ nonce: u64 │ at: u64 │ durable: u64 │ crc32c: u32
//! ```
//!
//! 1. Integers are little-endian; the layout has a fixed length, so the length of a frame does not
//!    depend on what its mark says.
//! 2. `at` is the offset of the frame that carries the mark, `nonce` a random number of this log.
//!    So a mark that was copied, in a stored value or by a disk, to any other place does not count.
//! 3. The first frame of a log, and only that, carries its origin.
//! 4. `durable` ≤ `at`, and rises: all bytes of this log below it, and all earlier logs, were synced
//!    before the frame was placed.
//!
//! Golden bytes: `tests/golden/log-marks.txt`. Idea: design section 5; there is none of it in sst.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use crate::base::batch::Op;
use crate::base::coding::Decoder;
use crate::base::id::{CollectionId, FileId, SeqNo};
use crate::base::key::{Entry, Kind};

/// Every key of the system collection that begins so belongs to the log.
pub const PREFIX: &[u8] = b"log:";
const ORIGIN: &[u8] = b"log:origin";
const DURABLE: &[u8] = b"log:durable";
const VERSION: u8 = 1;
const ORIGIN_BYTES: usize = 1 + 8 + 8 + 8 + 1 + 8 + 8 + 8 + 4;
const DURABLE_BYTES: usize = 1 + 8 + 8 + 8 + 8 + 4;

/// Whether an entry with this full key is a mark: replay keeps it out of the memtable, and no
/// catalog may use such a key.
#[inline]
pub fn is_mark(full_key: &[u8]) -> bool {
    full_key
        .strip_prefix(&CollectionId::SYSTEM.0.to_be_bytes())
        .is_some_and(|key| key.starts_with(PREFIX))
}

/// Which log a mark speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The log's number.
    pub log: FileId,
    /// A random number that no other log has.
    pub nonce: u64,
}

/// How the log before this one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its number.
    pub log: FileId,
    /// Its final length in bytes.
    pub length: u64,
    /// The last sequence number in it.
    pub last: SeqNo,
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Where the log comes from; none if it is the first of its database.
    Origin(Option<Previous>),
    /// All bytes of the log below this offset are durable, and all earlier logs.
    Durable(u64),
}

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of which log.
    pub identity: Identity,
    /// The offset of the frame that carries it.
    pub at: u64,
    /// What it says.
    pub says: Says,
}

/// A mark's value, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct MarkBytes {
    bytes: [u8; ORIGIN_BYTES],
    len: usize,
    key: &'static [u8],
}

impl MarkBytes {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.len += bytes.len();
    }

    fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The operation that writes it.
    pub fn op(&self) -> Op<'_> {
        let collection = CollectionId::SYSTEM;
        Op { kind: Kind::Put, collection, key: self.key, value: self.written(), expires: None }
    }
}

impl Mark {
    /// Its bytes.
    pub fn encode(&self) -> MarkBytes {
        let key = match self.says {
            Says::Origin(_) => ORIGIN,
            Says::Durable(_) => DURABLE,
        };
        let mut out = MarkBytes { bytes: [0; ORIGIN_BYTES], len: 0, key };
        out.put(&[VERSION]);
        for number in [self.identity.log.0, self.identity.nonce, self.at] {
            out.put(&number.to_le_bytes());
        }
        match self.says {
            Says::Origin(previous) => {
                let none = Previous { log: FileId(0), length: 0, last: SeqNo::ZERO };
                let Previous { log, length, last } = previous.unwrap_or(none);
                out.put(&[u8::from(previous.is_some())]);
                for number in [log.0, length, last.0] {
                    out.put(&number.to_le_bytes());
                }
            }
            Says::Durable(offset) => out.put(&offset.to_le_bytes()),
        }
        let crc = crc32c::crc32c(out.written());
        out.put(&crc.to_le_bytes());
        out
    }

    /// The mark in `entry`, for which [`is_mark`] holds; none if it is malformed, or of a version
    /// that this build does not know.
    pub fn decode(entry: &Entry<'_>) -> Option<Self> {
        let key = entry.key.get(CollectionId::BYTES..)?;
        let want = if key == ORIGIN { ORIGIN_BYTES } else { DURABLE_BYTES };
        let known = entry.kind == Kind::Put && (key == ORIGIN || key == DURABLE);
        let (body, crc) = entry.value.split_last_chunk::<4>()?;
        let whole = entry.value.len() == want && crc32c::crc32c(body) == u32::from_le_bytes(*crc);
        let mut input = Decoder::new(body);
        if !known || !whole || input.u8()? != VERSION {
            return None;
        }
        let identity = Identity { log: FileId(input.u64()?), nonce: input.u64()? };
        let at = input.u64()?;
        let says = if key == DURABLE {
            Says::Durable(input.u64()?)
        } else {
            let some = input.u8()?;
            let (log, length) = (FileId(input.u64()?), input.u64()?);
            let previous = Previous { log, length, last: SeqNo(input.u64()?) };
            match some {
                0 => Says::Origin(None),
                1 => Says::Origin(Some(previous)),
                _ => return None,
            }
        };
        Some(Self { identity, at, says })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { log: FileId(5), nonce: 0x1122_3344_5566_7788 };

    fn marks() -> [Mark; 3] {
        let previous = Previous { log: FileId(4), length: 1000, last: SeqNo(77) };
        [
            Mark { identity: IDENTITY, at: 0, says: Says::Origin(None) },
            Mark { identity: IDENTITY, at: 0, says: Says::Origin(Some(previous)) },
            Mark { identity: IDENTITY, at: 4096, says: Says::Durable(4000) },
        ]
    }

    fn with_entry<T>(bytes: &MarkBytes, value: &[u8], then: impl Fn(&Entry<'_>) -> T) -> T {
        let key = [&[0; 4], bytes.op().key].concat();
        then(&Entry { key: &key, seq: SeqNo(9), kind: Kind::Put, value })
    }

    #[test]
    fn marks_round_trip_and_are_told_from_other_keys() {
        for mark in marks() {
            let bytes = mark.encode();
            assert_eq!(with_entry(&bytes, bytes.op().value, Mark::decode), Some(mark));
            assert!(with_entry(&bytes, b"", |entry| is_mark(entry.key)));
        }
        assert!(!is_mark(b"\0\0\0\x01log:origin"));
        assert!(!is_mark(b"\0\0\0\0catalog"));
        assert!(!is_mark(b"\0\0\0\0log"));
    }

    /// F-33, F-39: a mark is whole or it is none.
    #[test]
    fn every_flip_and_every_cut_of_a_mark_is_noticed() {
        for mark in marks() {
            let bytes = mark.encode();
            let value = bytes.op().value.to_vec();
            for at in 0..value.len() {
                assert_eq!(with_entry(&bytes, &value[..at], Mark::decode), None);
                for bit in 0..8 {
                    let mut flipped = value.clone();
                    flipped[at] ^= 1 << bit;
                    assert_eq!(with_entry(&bytes, &flipped, Mark::decode), None);
                }
            }
        }
    }
}
