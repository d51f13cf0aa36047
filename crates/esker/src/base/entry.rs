//! How an operation looks in a log: the entry variants of the `sst` crate, and two of Esker's own.
//!
//! ```text
//! put     42 v(L) [ 08 00  12 v(|k|) k  18 v(n)  22 v(|val|) val ]     L = length of the brackets
//! packed  42 v(L) [ 08 00  12 v(|k|) k  18 v(n)  48 c  50 v(len)  59 digest  22 v(|val|) val ]
//! expires 42 v(L) [ as put or packed, with 60 v(time) before 22 ]
//! delete  4a v(L) [ 28 00  32 v(|k|) k  38 v(n) ]
//! merge   6a v(L) [ as put; val is the operand ]                        Esker's own, field 13
//! range   72 v(L) [ as put; val is where the range ends, a full key ]   Esker's own, field 14
//! k = full key: collection id u32 big-endian ‖ user key      n = sequence number      v = varint
//! time = milliseconds since the Unix epoch
//! ```
//!
//! `packed` is the put of a large value that is stored compressed: `val` is what is stored, `c` its
//! codec, `len` and `digest` (xxh3-64, little-endian) are of the user's value. The crate's reader
//! skips the three fields, and takes what is stored for the value. Codec 0 says of a value that is
//! stored as it is that it is large, whatever its length; alone, without length and digest, that it
//! is not.
//!
//! 1. Every field is written, in this order, also when it is zero; `08`/`28` (`shared`) is always 0.
//! 2. A range that is open at its end (an empty end in [`Op`]) ends where the next collection
//!    begins. So collection `u32::MAX` must never be given out.
//! 3. The reader takes what the crate's reader takes (SST-8.8, SST-9): fields in any order, unknown
//!    ones skipped, omitted ones zero, the last of a repeated one; varints may be longer than they
//!    need be in tags, in the entry's length and in fields that the crate does not know, not in the
//!    values and lengths of the others.
//! 4. Nothing is copied: keys and values are borrowed from the payload.
//! 5. An operation of [`Kind::Blob`] is logged as a packed put: its value is the ref, and behind that
//!    what is stored. The ref's address is not written: it is where `val` lies. The value ends its
//!    entry, so that it can be written from where it is.
//! 6. What expires carries the user's value, and the [time](super::time) in a field of its own, which
//!    the crate's reader skips: it takes it for any put.
//!
//! Golden bytes: `tests/golden/log-vectors.txt` (SST-6). Source: SST-2.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::batch::{Op, Ops};
use super::blob::{Address, BLOB_BYTES_MIN, BlobRef, Codec};
use super::coding::{Decoder, to_u64, varint_len};
use super::error::{Error, ErrorKind, Result};
use super::id::{CollectionId, SeqNo};
use super::key::{Entry, Kind, VALUE_BYTES_MAX};
use super::time::{Time, split};
use std::fmt;
use std::ops::Deref;

const PUT: u8 = 0x42;
const DELETE: u8 = 0x4a;
const MERGE: u8 = 0x6a;
const RANGE_DELETE: u8 = 0x72;
/// The field that says when an entry expires.
const EXPIRY: u64 = 12;

/// The full key where the range that `op` deletes ends (excluded), as the id and user key to join.
pub fn range_end<'a>(op: &Op<'a>) -> ([u8; CollectionId::BYTES], &'a [u8]) {
    let id = if op.value.is_empty() { op.collection.0.saturating_add(1) } else { op.collection.0 };
    (id.to_be_bytes(), op.value)
}

/// Put before a value as [`Kind::Blob`] has a ref: it lies in line, whatever its length.
pub const IN_LINE: [u8; BlobRef::BYTES] = [0; BlobRef::BYTES];

/// What ends the entry of `op`: its value, or of a packed one what is stored.
#[inline]
pub fn logged_value<'a>(op: &Op<'a>) -> &'a [u8] {
    match op.kind {
        Kind::Delete => &[],
        kind => split_packed(kind, op.value).1,
    }
}

/// How a value is packed, if it is, and what is stored of it.
#[inline]
fn split_packed(kind: Kind, value: &[u8]) -> (Option<Packed>, &[u8]) {
    match value.split_at_checked(BlobRef::BYTES) {
        Some((blob, stored)) if kind == Kind::Blob => {
            (BlobRef::decode(blob).map(|blob| Packed::of(&blob)), stored)
        }
        _ => (None, value),
    }
}

/// What an entry says of a value that it carries packed, as it stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    codec: u64,
    len: u64,
    digest: u64,
}

impl Packed {
    const CODEC: u64 = 9;
    const LEN: u64 = 10;
    const DIGEST: u64 = 11;

    fn of(blob: &BlobRef) -> Self {
        let BlobRef { codec, len, digest, .. } = *blob;
        Self { codec: codec.number().into(), len: len.into(), digest }
    }

    /// The ref of the value, of which `stored` bytes lie at `address`.
    ///
    /// Errors: `Unsupported` for a codec of a newer format; `Corruption` for what no writer says.
    pub fn blob(&self, address: Address, stored: usize) -> Result<BlobRef> {
        let Self { codec, len, digest } = *self;
        let Some(codec) = u8::try_from(codec).ok().and_then(Codec::from_u8) else {
            let message =
                format!("a value packed by codec {codec}, which this build does not know");
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let fits = |codec, stored, len| match codec {
            Codec::Raw => stored == len,
            _ => stored < len,
        };
        let is_large = (widen(BLOB_BYTES_MIN)..=widen(VALUE_BYTES_MAX)).contains(&len);
        match (u32::try_from(len), u32::try_from(stored)) {
            (Ok(len), Ok(stored)) if is_large && 0 < stored && fits(codec, stored, len) => {
                Ok(BlobRef { address, digest, len, stored, codec })
            }
            _ => {
                let message = format!("want a large value packed, found {len} bytes in {stored}");
                Err(Error::new(ErrorKind::Corruption, message))
            }
        }
    }

    #[inline]
    fn len(&self) -> usize {
        let codec = 1 + varint_len(self.codec);
        if self.is_in_line() { codec } else { codec + 1 + varint_len(self.len) + 1 + 8 }
    }

    /// Whether it says that the value is not large.
    #[inline]
    fn is_in_line(&self) -> bool {
        self.codec == 0 && self.len == 0
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut fields = Short::new();
        fields.byte(0x48);
        fields.varint(self.codec);
        if !self.is_in_line() {
            fields.byte(0x50);
            fields.varint(self.len);
            fields.byte(0x59);
            fields.all(&self.digest.to_le_bytes());
        }
        fields.append_to(out);
    }
}

/// An entry's fields. Key and value come in two pieces, so that nobody must join an id and a key.
struct Parts<'a> {
    kind: Kind,
    key: [&'a [u8]; 2],
    seq: SeqNo,
    packed: Option<Packed>,
    expiry: Option<Time>,
    value: [&'a [u8]; 2],
}

impl<'a> Parts<'a> {
    #[inline]
    fn of(op: &Op<'a>, seq: SeqNo, id: &'a [u8; CollectionId::BYTES], end: &'a [u8]) -> Self {
        let (packed, value) = split_packed(op.kind, op.value);
        let (kind, expiry) = (op.kind, op.expiry());
        Self { kind, key: [id, op.key], seq, packed, expiry, value: [end, value] }
    }

    #[inline]
    fn key_len(&self) -> usize {
        self.key[0].len() + self.key[1].len()
    }

    #[inline]
    fn value_len(&self) -> usize {
        self.value[0].len() + self.value[1].len()
    }

    #[inline]
    fn inner_len(&self) -> usize {
        let (key, value) = (self.key_len(), self.value_len());
        let front = 2 + 1 + len_of_len(key) + key + 1 + varint_len(self.seq.0);
        match self.kind {
            Kind::Delete => front,
            _ => {
                let packed = self.packed.map_or(0, |packed| packed.len());
                let expiry = self.expiry.map_or(0, |Time(time)| 1 + varint_len(time));
                front + packed + expiry + 1 + len_of_len(value) + value
            }
        }
    }

    #[inline]
    fn len(&self) -> usize {
        let inner = self.inner_len();
        1 + len_of_len(inner) + inner
    }

    /// Appends all but the second piece of the value.
    #[inline]
    fn put_front(&self, out: &mut Vec<u8>) {
        let (tag, shared, key, number) = match self.kind {
            Kind::Put | Kind::Blob | Kind::Expiring => (PUT, 0x08, 0x12, 0x18),
            Kind::Delete => (DELETE, 0x28, 0x32, 0x38),
            Kind::Merge => (MERGE, 0x08, 0x12, 0x18),
            Kind::RangeDelete => (RANGE_DELETE, 0x08, 0x12, 0x18),
        };
        let mut head = Short::new();
        head.byte(tag);
        head.varint(widen(self.inner_len()));
        head.byte(shared);
        head.byte(0);
        head.byte(key);
        head.varint(widen(self.key_len()));
        head.all(self.key[0]);
        head.append_to(out);
        out.extend_from_slice(self.key[1]);
        let mut middle = Short::new();
        middle.byte(number);
        middle.varint(self.seq.0);
        if let Some(packed) = &self.packed {
            std::mem::replace(&mut middle, Short::new()).append_to(out);
            packed.put(out);
        }
        if let Some(Time(time)) = self.expiry {
            middle.byte(0x60);
            middle.varint(time);
        }
        if self.kind != Kind::Delete {
            middle.byte(0x22);
            middle.varint(widen(self.value_len()));
            middle.all(self.value[0]);
        }
        middle.append_to(out);
    }

    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        self.put_front(out);
        if self.kind != Kind::Delete {
            out.extend_from_slice(self.value[1]);
        }
    }
}

/// Hands the parts of `op`'s entry to `then`.
#[inline]
fn with_parts<T>(op: &Op<'_>, seq: SeqNo, then: impl FnOnce(Parts<'_>) -> T) -> T {
    let id = op.collection.0.to_be_bytes();
    match op.kind {
        Kind::RangeDelete => then(Parts::of(op, seq, &id, &range_end(op).0)),
        _ => then(Parts::of(op, seq, &id, &[])),
    }
}

#[inline]
const fn len_of_len(len: usize) -> usize {
    varint_len(widen(len))
}

#[inline]
#[expect(clippy::as_conversions, reason = "usize is at most 64 bits wide; `from` is not const")]
const fn widen(len: usize) -> u64 {
    len as u64
}

/// Bytes of `op`'s entry under number `seq`.
#[inline]
pub fn entry_len(op: &Op<'_>, seq: SeqNo) -> usize {
    with_parts(op, seq, |parts| parts.len())
}

/// Bytes of the payload of `ops` when the first gets number `first`.
pub fn ops_len(ops: &impl Ops, first: SeqNo) -> usize {
    ops.iter().zip(first.0..).map(|(op, seq)| entry_len(&op, SeqNo(seq))).sum()
}

/// The length of a payload, measured before its sequence numbers are known.
///
/// A number's varint changes its length only at powers of 128, so a measure taken near the current
/// number, outside every lock, holds but for eight moments in the life of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpsLen {
    bytes: u64,
    count: u64,
    from: u64,
    to: u64,
}

impl OpsLen {
    /// No operations: 0 bytes whatever the number.
    pub const EMPTY: Self = Self { bytes: 0, count: 0, from: 0, to: u64::MAX };

    /// Measures `ops` as if their numbers began at `near`. Cost: a few ns an operation.
    #[inline]
    pub fn at(ops: &impl Ops, near: SeqNo) -> Self {
        let (bytes, count) = (widen(ops_len(ops, near)), widen(ops.count()));
        let bits = 7 * varint_len(near.0);
        let from = if bits == 7 { 0 } else { 1u64 << (bits - 7) };
        let last = if bits >= 64 { u64::MAX } else { (1u64 << bits) - 1 };
        match (last - from).checked_sub(count.saturating_sub(1)) {
            Some(room) if near.0 <= from + room => Self { bytes, count, from, to: from + room },
            _ => Self { bytes, count, from: near.0, to: near.0 },
        }
    }

    /// Whether the measure holds when the first operation gets number `first`.
    #[inline]
    pub fn fits(&self, first: SeqNo) -> bool {
        self.from <= first.0 && first.0 <= self.to
    }

    /// Bytes of the payload.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many operations were measured; each takes one sequence number.
    #[inline]
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// A few bytes built on the stack: at most [`SHORT_BYTES`] are kept.
struct Short {
    bytes: [u8; SHORT_BYTES],
    len: usize,
}

/// More than the fields before a key or a value take: tag, three varints, id.
const SHORT_BYTES: usize = 32;

impl Short {
    #[inline]
    const fn new() -> Self {
        Self { bytes: [0; SHORT_BYTES], len: 0 }
    }

    #[inline]
    #[expect(clippy::indexing_slicing, reason = "masked, so the compiler needs no check")]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len % SHORT_BYTES] = byte;
        self.len += 1;
    }

    #[inline]
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.byte(n.to_le_bytes()[0] | 0x80);
            n >>= 7;
        }
        self.byte(n.to_le_bytes()[0]);
    }

    #[inline]
    fn all(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.byte(byte);
        }
    }

    /// Copies a constant number of bytes and takes back what is too much: cheaper than to copy a
    /// few.
    #[inline]
    fn append_to(&self, out: &mut Vec<u8>) {
        let len = out.len() + self.len;
        out.extend_from_slice(&self.bytes);
        out.truncate(len);
    }
}

/// Appends the entry of `op` but for the bytes of [`logged_value`], which end it.
#[inline]
pub fn put_entry_front(out: &mut Vec<u8>, op: &Op<'_>, seq: SeqNo) {
    with_parts(op, seq, |parts| parts.put_front(out));
}

/// Appends the entry of `op` under number `seq`: exactly [`entry_len`] bytes.
#[inline]
pub fn put_entry(out: &mut Vec<u8>, op: &Op<'_>, seq: SeqNo) {
    with_parts(op, seq, |parts| parts.put(out));
}

/// Appends an entry at rest as it is, its key being full already: for tools that write logs anew. One
/// of kind `Blob` has what is stored behind its ref, and does not expire.
pub fn put_entry_at_rest(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let Entry { key, seq, kind, value } = *entry;
    let (packed, value) = split_packed(kind, value);
    let timed = (kind == Kind::Expiring).then(|| split(kind, value).ok()).flatten();
    let (value, expiry) = timed.unwrap_or((value, None));
    Parts { kind, key: [&[], key], seq, packed, expiry, value: [&[], value] }.put(out);
}

/// What is wrong with a payload, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Offset of the entry in the payload.
    pub offset: usize,
    /// What must be there.
    pub want: &'static str,
    /// What is.
    pub found: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of payload: want {}, found {}", self.offset, self.want, self.found)
    }
}

/// A field of a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Field numbers of protobuf are below.
const FIELDS: u64 = 1 << 29;

/// A field that was taken off a message.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Its number.
    pub number: u64,
    /// Its value.
    pub field: Field<'a>,
    /// Whether its value, or its length, has no more bytes than it needs: it must, in fields that the
    /// crate knows.
    pub is_short: bool,
}

/// The next field; none if it is malformed (invariant 3).
pub fn take_field<'a>(input: &mut Decoder<'a>) -> Option<Taken<'a>> {
    let tag = input.varint()?;
    // Protobuf keeps the numbers from 19,000 on for itself.
    if !matches!(tag >> 3, 1..19_000 | 20_000..FIELDS) {
        return None;
    }
    let before = input.rest().len();
    let field = match tag & 7 {
        0 => Field::Varint(input.varint()?),
        1 => Field::Fixed64(input.u64()?),
        2 => Field::Bytes(input.length_prefixed()?),
        5 => Field::Fixed32(input.u32()?),
        _ => return None,
    };
    let taken = before - input.rest().len();
    let is_short = match field {
        Field::Varint(n) => taken == varint_len(n),
        Field::Bytes(bytes) => taken == varint_len(to_u64(bytes.len())) + bytes.len(),
        Field::Fixed64(_) | Field::Fixed32(_) => true,
    };
    Some(Taken { number: tag >> 3, field, is_short })
}

/// An entry as a log has it: of what expires the kind is `Put`, and the value the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// The entry; its value is what is stored, packed or not.
    pub entry: Entry<'a>,
    /// How its value is packed, if it is.
    pub packed: Option<Packed>,
    /// When it expires; none if never.
    pub expiry: Option<Time>,
}

impl Logged<'_> {
    /// Whether it is the put of a large value: it says so, or, if it says nothing, has at least
    /// `least` bytes.
    pub fn is_large(&self, least: usize) -> bool {
        let by_length = self.entry.value.len() >= least;
        self.entry.kind == Kind::Put && self.packed.map_or(by_length, |it| !it.is_in_line())
    }
}

impl<'a> Deref for Logged<'a> {
    type Target = Entry<'a>;

    fn deref(&self) -> &Entry<'a> {
        &self.entry
    }
}

/// The entries of a payload in order. Ends after the first that is bad.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    input: Decoder<'a>,
    total: usize,
}

impl<'a> Entries<'a> {
    /// Starts at the first entry of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { input: Decoder::new(payload), total: payload.len() }
    }

    /// Where the next entry begins in the payload.
    pub fn offset(&self) -> usize {
        self.total - self.input.rest().len()
    }

    fn entry(&mut self) -> Result<Logged<'a>, (&'static str, String)> {
        let truncated = || ("a whole entry", "the end of the payload".to_owned());
        let tag = self.input.varint().ok_or_else(truncated)?;
        let kind = match u8::try_from(tag) {
            Ok(PUT) => Kind::Put,
            Ok(DELETE) => Kind::Delete,
            Ok(MERGE) => Kind::Merge,
            Ok(RANGE_DELETE) => Kind::RangeDelete,
            _ => return Err(("an entry tag 42, 4a, 6a or 72", format!("{tag:02x}"))),
        };
        let inner = self.input.length_prefixed().ok_or_else(truncated)?;
        entry_of(kind, inner)
    }
}

fn entry_of(kind: Kind, inner: &[u8]) -> Result<Logged<'_>, (&'static str, String)> {
    let base = if kind == Kind::Delete { 5 } else { 1 };
    let (mut shared, mut key, mut seq, mut value) = (0, &[][..], 0, &[][..]);
    let (mut packed, mut is_said, mut expiry) = (Packed::default(), false, Time::NEVER);
    let mut input = Decoder::new(inner);
    while !input.is_empty() {
        let malformed = || ("fields that end with their entry", "a malformed field".to_owned());
        let Taken { number, field, is_short } = take_field(&mut input).ok_or_else(malformed)?;
        match (number.wrapping_sub(base), field) {
            (0, Field::Varint(n)) => shared = n,
            (1, Field::Bytes(bytes)) => key = bytes,
            (2, Field::Varint(n)) => seq = n,
            (3, Field::Bytes(bytes)) if kind != Kind::Delete => value = bytes,
            _ => {
                match (number, field) {
                    (Packed::CODEC, Field::Varint(n)) => (packed.codec, is_said) = (n, true),
                    (Packed::LEN, Field::Varint(n)) => packed.len = n,
                    (Packed::DIGEST, Field::Fixed64(n)) => packed.digest = n,
                    (EXPIRY, Field::Varint(n)) => expiry = Time(n),
                    _ => {}
                }
                continue;
            }
        }
        if !is_short {
            return Err(malformed());
        }
    }
    if shared != 0 {
        return Err(("no bytes shared with another key", format!("{shared} shared")));
    }
    let packed = (kind == Kind::Put && is_said).then_some(packed);
    let expiry = (kind == Kind::Put && expiry != Time::NEVER).then_some(expiry);
    Ok(Logged { entry: Entry { key, seq: SeqNo(seq), kind, value }, packed, expiry })
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Logged<'a>, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.input.is_empty() {
            return None;
        }
        let offset = self.offset();
        let entry = self.entry();
        if entry.is_err() {
            self.input = Decoder::new(&[]);
        }
        Some(entry.map_err(|(want, found)| Bad { offset, want, found }))
    }
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "tests know their numbers")]
mod tests;
