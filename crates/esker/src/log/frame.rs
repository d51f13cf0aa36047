//! One log frame: the smallest thing that is written, checksummed and replayed whole.
//!
//! ```text
//! header = 50 v(n)  58 d  65 crc32c of the payload, 4 bytes LE     n payload length; d 1 2 3
//! frame  = one byte |header|  ‖  header  ‖  payload                v = varint
//!
//!   block of 1 MiB                                                border
//! ─┬────────┬────────┬───────────────┬─────────────────────┬───────┬────────────────────┬─
//!  │ WHOLE  │ WHOLE  │ …             │ FIRST 2 : n − 19    │ zeros │ SECOND 3 : the rest│
//! ─┴────────┴────────┴───────────────┴─────────────────────┴───────┴────────────────────┴─
//! ```
//!
//! 1. A frame that does not fit its block is split around the border, wherever the cut falls; if 19
//!    bytes or less are left in the block, they stay zero and the frame begins at the border.
//! 2. A payload above 1 MiB, or one that must stay contiguous ([`Layout::Whole`]), is one WHOLE
//!    frame that crosses borders; it too begins where more than 19 bytes are left. So no frame of
//!    Esker's ever begins in the last 19 bytes of a block, and what lies there is never looked at.
//! 3. [`place`] alone decides where a frame goes. [`locate`](super::locate) reads what this makes.
//!
//! Golden bytes: `tests/golden/log-vectors.txt`. Source: SST-2 to SST-9.

#![deny(clippy::indexing_slicing, clippy::unwrap_used)]

use crate::base::coding::varint_len;
use std::ops::Range;

/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 1 << 20;
/// An upper bound of a header with its length byte, as placement counts it.
pub const HEADER_BYTES_MAX: u64 = 19;
/// The largest payload that is split at a border.
pub const SPLIT_BYTES_MAX: u64 = BLOCK_BYTES;

/// Discriminant of a payload in one frame.
pub(super) const WHOLE: u8 = 1;
/// Discriminant of the part before a border.
pub(super) const FIRST: u8 = 2;
/// Discriminant of the part behind it.
pub(super) const SECOND: u8 = 3;

/// Whether a payload may be split at a block border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Yes, if it is no larger than [`SPLIT_BYTES_MAX`].
    Blocks,
    /// No: it carries a value that must be contiguous in the file.
    Whole,
}

/// How a payload lies in its frame or frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// In one frame.
    Whole,
    /// `first` bytes in a FIRST frame, `gap` zeros up to the border, the rest in a SECOND frame.
    Split {
        /// Payload bytes before the border.
        first: u64,
        /// Zeros between the two frames.
        gap: u64,
    },
}

/// Where a payload goes: the span from `start` to `end` is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where the log ended before.
    pub start: u64,
    /// Zeros before the frame.
    pub pad: u64,
    /// Split or not.
    pub shape: Shape,
    /// Payload bytes.
    pub payload: u64,
    /// Where the log ends after it.
    pub end: u64,
}

impl Placement {
    /// Where the frame begins, behind the padding.
    pub fn at(&self) -> u64 {
        self.start + self.pad
    }

    /// Bytes to claim: padding, headers, payload.
    pub fn span(&self) -> u64 {
        self.end - self.start
    }

    /// Bytes of the span before the payload's first byte.
    pub fn front(&self) -> u64 {
        let first = match self.shape {
            Shape::Whole => self.payload,
            Shape::Split { first, .. } => first,
        };
        self.pad + header_len(first)
    }

    /// Bytes between the payload's two parts: zeros and a header. 0 if it is whole.
    fn between(&self) -> u64 {
        match self.shape {
            Shape::Whole => 0,
            Shape::Split { first, gap } => gap + header_len(self.payload - first),
        }
    }
}

/// Bytes of the header of an `n`-byte payload, with its length byte: 10 to 14 for payloads up to
/// 16 GiB.
pub const fn header_len(n: u64) -> u64 {
    9 + varint_len(n) as u64
}

/// The first border above `position`.
pub const fn next_border(position: u64) -> u64 {
    (position / BLOCK_BYTES + 1) * BLOCK_BYTES
}

/// Where a payload of `payload` bytes goes in a log that ends at `position` (SST-3, SST-5).
pub fn place(position: u64, payload: u64, layout: Layout) -> Placement {
    let border = next_border(position);
    let room = border - position;
    let end = position + header_len(payload) + payload;
    let placed = |pad, shape, end| Placement { start: position, pad, shape, payload, end };
    if end <= border {
        return placed(0, Shape::Whole, end);
    }
    if room <= HEADER_BYTES_MAX {
        let rest = place(border, payload, layout);
        return placed(room, rest.shape, rest.end);
    }
    if layout == Layout::Whole || payload > SPLIT_BYTES_MAX {
        return placed(0, Shape::Whole, end);
    }
    let first = room - HEADER_BYTES_MAX;
    let gap = HEADER_BYTES_MAX - header_len(first);
    let second = payload - first;
    placed(0, Shape::Split { first, gap }, border + header_len(second) + second)
}

/// A header with its length byte, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX as usize],
    len: usize,
}

impl Header {
    /// The header of a payload in one frame.
    pub fn whole(payload: u64, crc: u32) -> Self {
        Self::new(payload, WHOLE, crc)
    }

    #[inline]
    fn new(mut size: u64, discriminant: u8, crc: u32) -> Self {
        let len = header_len(size);
        let mut header = Self { bytes: [0; HEADER_BYTES_MAX as usize], len: len as usize };
        let mut places = header.bytes.iter_mut();
        let mut put = |byte| {
            if let Some(place) = places.next() {
                *place = byte;
            }
        };
        put(len as u8 - 1);
        put(0x50);
        while size >= 0x80 {
            put(size as u8 | 0x80);
            size >>= 7;
        }
        put(size as u8);
        put(0x58);
        put(discriminant);
        put(0x65);
        crc.to_le_bytes().into_iter().for_each(put);
        header
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Makes the exact bytes of `placement`'s span from a buffer that holds [`Placement::front`] spare
/// bytes and then the payload: fills in padding and headers, moves what lies behind a border.
///
/// Panics if the buffer does not have that length.
pub fn seal(placement: &Placement, buffer: &mut Vec<u8>) {
    let front = placement.front() as usize;
    assert_eq!(buffer.len() as u64, front as u64 + placement.payload, "a payload as reserved");
    if let Shape::Split { first, .. } = placement.shape {
        let cut = front + first as usize;
        let between = placement.between() as usize;
        let old = buffer.len();
        buffer.resize(old + between, 0);
        buffer.copy_within(cut..old, cut + between);
        let second = payload_crc(buffer, cut + between..old + between);
        let header = Header::new(placement.payload - first, SECOND, second);
        if let Some(gap) = buffer.get_mut(cut..cut + between) {
            let (zeros, place) = gap.split_at_mut(between - header.len);
            zeros.fill(0);
            place.copy_from_slice(header.bytes());
        }
    }
    let (size, discriminant) = match placement.shape {
        Shape::Whole => (placement.payload, WHOLE),
        Shape::Split { first, .. } => (first, FIRST),
    };
    let crc = payload_crc(buffer, front..front + size as usize);
    let header = Header::new(size, discriminant, crc);
    if let Some(place) = buffer.get_mut(..front) {
        let (pad, place) = place.split_at_mut(placement.pad as usize);
        pad.fill(0);
        place.copy_from_slice(header.bytes());
    }
}

fn payload_crc(buffer: &[u8], range: Range<usize>) -> u32 {
    crc32c::crc32c(buffer.get(range).unwrap_or_default())
}

/// Appends the exact bytes of `placement`'s span, for a payload made elsewhere.
///
/// Panics if the payload does not have the length that was placed.
pub fn write(placement: &Placement, payload: &[u8], out: &mut Vec<u8>) {
    let mut bytes = vec![0; placement.front() as usize];
    bytes.extend_from_slice(payload);
    seal(placement, &mut bytes);
    out.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests;
