//! The bytes of a segment file as a whole: pieces, their trailers, the footer.
//!
//! ```text
//! data block ×D │ zeros │ filter piece ×F │ range tombstones │ index partition ×P │ top index │
//! properties │ footer                                              regions in this order, no gaps
//!
//! piece    | payload | compression: u8 | crc32c: u32 |                  every region is of pieces
//! crc32c   of payload ‖ compression ‖ file number: u64 ‖ offset of the piece: u64
//! packed   payload = | uncompressed length: u32 | LZ4 block, or zstd frame |
//!
//! footer   | data | filter at | filter | ranges | partitions | top | properties |  7 × u64: bytes
//!          | file number: u64 | reserved: u64 = 0 | crc32c: u32 |
//!          | major: u16 | minor: u16 | magic: "eskerSEG" |
//! ```
//!
//! Integers are little-endian.
//!
//! 1. Every byte of the file is under a checksum, or is a zero between data and filter that
//!    `verify` looks at, so that no flipped bit goes unseen (F-33).
//! 2. A checksum covers file number and offset: a moved, doubled or swapped piece is damage (F-36).
//! 3. The regions fill the file exactly; an offset or length that would not is damage (F-39).
//! 4. The filter begins at a multiple of [`LINE_BYTES`], of [`PAGE_BYTES`] if it is larger than
//!    that, so that a probe touches one cache line of one page.
//! 5. A payload that does not shrink by an eighth is stored raw (BLOB-11); one above
//!    [`COMPRESSED_BYTES_MAX`] is never compressed, which bounds what a hostile length can ask for.
//! 6. The last 12 bytes never change their meaning: a reader of any version finds the version.
//!
//! Golden bytes: `tests/golden/segment-v1.hex`. After LevelDB's `doc/table_format.md`; binding checksums to their place is RocksDB's idea.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use crate::base::codec::{Codec, Compression, Odd, compress, packed_max, unpack};
use crate::base::coding::Decoder;
pub(super) use crate::base::coding::{to_u64, to_usize};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::env::names::FileKind;
use std::fmt;
use std::ops::Range;

/// Bytes after each payload: compression and checksum.
pub(super) const TRAILER_BYTES: usize = 1 + 4;
/// A cache line: what one probe of the filter touches.
pub(super) const LINE_BYTES: usize = 64;
/// A page: one piece of the filter.
pub(super) const PAGE_BYTES: usize = 4096;
/// The most uncompressed bytes of a compressed payload.
pub(super) const COMPRESSED_BYTES_MAX: usize = 32 << 20;
/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 7 * 8 + 8 + 8 + 4 + TAIL_BYTES;
/// Bytes at the very end whose meaning never changes.
const TAIL_BYTES: usize = 2 + 2 + 8;
const _: () = assert!(FOOTER_BYTES == 88);

pub(super) const MAGIC: &[u8; 8] = b"eskerSEG";
/// Raised when older readers must refuse the file.
pub(super) const MAJOR: u16 = 1;
/// Raised when older readers may still read the file.
pub(super) const MINOR: u16 = 0;

const RAW: u8 = Codec::Raw.number();

/// What is wrong with bytes, before it is known whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// Where in the payload.
    pub(super) at: usize,
    /// What should be there.
    pub(super) want: &'static str,
}

impl Damage {
    #[cold]
    pub(super) fn new(at: usize, want: &'static str) -> Self {
        Self { at, want }
    }

    /// The error of the piece of `file` that begins at `piece_at`.
    #[cold]
    pub(super) fn of(self, file: FileId, piece_at: u64) -> Error {
        let at = piece_at.saturating_add(to_u64(self.at));
        damaged(file, at, self.want, "other bytes under a valid checksum")
    }
}

/// The error for bytes of segment `file` that are not what was written.
#[cold]
pub(super) fn damaged(
    file: FileId,
    at: u64,
    want: impl fmt::Display,
    found: impl fmt::Display,
) -> Error {
    Error::corruption(FileKind::Segment.name(file), at, want, found)
}

/// The checksum of a piece at `at` in `file`.
pub(super) fn checksum(payload: &[u8], compression: u8, file: FileId, at: u64) -> u32 {
    let mut place = [compression; 17];
    if let Some((_, numbers)) = place.split_first_mut() {
        let (first, second) = numbers.split_at_mut(8);
        first.copy_from_slice(&file.0.to_le_bytes());
        second.copy_from_slice(&at.to_le_bytes());
    }
    crc32c::crc32c_append(crc32c::crc32c(payload), &place)
}

/// Appends `payload` as a raw piece that will lie at `at`.
pub(super) fn seal_raw(out: &mut Vec<u8>, payload: &[u8], file: FileId, at: u64) {
    out.extend_from_slice(payload);
    out.extend_from_slice(&raw_trailer(payload, file, at));
}

/// The trailer of a raw piece that will lie at `at`.
pub(super) fn raw_trailer(payload: &[u8], file: FileId, at: u64) -> [u8; TRAILER_BYTES] {
    let [a, b, c, d] = checksum(payload, RAW, file, at).to_le_bytes();
    [RAW, a, b, c, d]
}

/// Appends `payload` as a piece that will lie at `at`, compressed if that pays. `scratch` is space
/// to reuse.
pub(super) fn seal(
    out: &mut Vec<u8>,
    payload: &[u8],
    compression: Compression,
    place: (FileId, u64),
    scratch: &mut Vec<u8>,
) {
    let (file, at) = place;
    let codec = pack(payload, compression, scratch);
    if codec == Codec::Raw {
        return seal_raw(out, payload, file, at);
    }
    out.extend_from_slice(scratch);
    out.push(codec.number());
    out.extend_from_slice(&checksum(scratch, codec.number(), file, at).to_le_bytes());
}

/// Fills `scratch` with the payload packed, behind its length; raw if that saves less than an eighth.
fn pack(payload: &[u8], compression: Compression, scratch: &mut Vec<u8>) -> Codec {
    let Ok(len) = u32::try_from(payload.len()) else { return Codec::Raw };
    if payload.len() > COMPRESSED_BYTES_MAX {
        return Codec::Raw;
    }
    scratch.clear();
    scratch.extend_from_slice(&len.to_le_bytes());
    let most = packed_max(payload.len()).saturating_sub(scratch.len());
    compress(payload, compression, most, scratch)
}

/// A piece as it lies in the file, its checksum verified.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed<'a> {
    payload: &'a [u8],
    compression: u8,
}

impl<'a> Sealed<'a> {
    /// Splits a piece without looking at its checksum.
    pub(super) fn split(piece: &'a [u8], file: FileId, at: u64) -> Result<(Self, u32)> {
        let short = || damaged(file, at, "a piece with a trailer", piece.len());
        let payload_len = piece.len().checked_sub(TRAILER_BYTES).ok_or_else(short)?;
        let (payload, trailer) = piece.split_at_checked(payload_len).ok_or_else(short)?;
        let mut trailer = Decoder::new(trailer);
        let compression = trailer.u8().ok_or_else(short)?;
        let crc = trailer.u32().ok_or_else(short)?;
        Ok((Self { payload, compression }, crc))
    }

    /// Splits a piece and verifies its checksum. Cost: 50 ns a KiB.
    pub(super) fn verify(piece: &'a [u8], file: FileId, at: u64) -> Result<Self> {
        let (sealed, want) = Self::split(piece, file, at)?;
        let found = checksum(sealed.payload, sealed.compression, file, at);
        if want != found {
            let want = format_args!("a piece of {} bytes with crc {want:#010x}", piece.len());
            return Err(damaged(file, at, want, format_args!("{found:#010x}")));
        }
        Ok(sealed)
    }

    /// The payload in place, if it is not compressed.
    #[inline]
    pub(super) fn raw(&self) -> Option<&'a [u8]> {
        (self.compression == RAW).then_some(self.payload)
    }

    /// The payload in memory of its own.
    ///
    /// Errors: `Unsupported` for a compression this build lacks; `Corruption` if it does not
    /// unpack to the length it states, or states one that no writer would.
    pub(super) fn unpack(&self, file: FileId, at: u64) -> Result<Vec<u8>> {
        let Some(codec) = Codec::from_u8(self.compression) else {
            return Err(unsupported(file, format_args!("compression {}", self.compression)));
        };
        if codec == Codec::Raw {
            return Ok(self.payload.to_vec());
        }
        let mut input = Decoder::new(self.payload);
        let len = input.u32().and_then(|len| usize::try_from(len).ok());
        let Some(len) = len.filter(|&len| len <= COMPRESSED_BYTES_MAX) else {
            return Err(damaged(file, at, "a length of packed bytes", "none that can be"));
        };
        unpack(codec, input.rest(), len).map_err(|odd| match odd {
            Odd::Damaged { want, found } => damaged(file, at, want, found),
            Odd::Lacking(what) => unsupported(file, what),
        })
    }
}

#[cold]
fn unsupported(file: FileId, what: impl fmt::Display) -> Error {
    let name = FileKind::Segment.name(file);
    Error::new(ErrorKind::Unsupported, format!("{name}: has {what}"))
}

/// Where the regions of a file lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of the data blocks, from the start of the file.
    pub(super) data: u64,
    /// Where the filter begins; zeros lie between.
    pub(super) filter_at: u64,
    /// Bytes of all filter pieces.
    pub(super) filter: u64,
    /// Bytes of the piece of range tombstones; 0 if there is none.
    pub(super) ranges: u64,
    /// Bytes of all index partitions.
    pub(super) partitions: u64,
    /// Bytes of the top index.
    pub(super) top: u64,
    /// Bytes of the properties.
    pub(super) properties: u64,
}

impl Layout {
    pub(super) fn ranges_at(&self) -> u64 {
        self.filter_at.saturating_add(self.filter)
    }

    pub(super) fn partitions_at(&self) -> u64 {
        self.ranges_at().saturating_add(self.ranges)
    }

    pub(super) fn top_at(&self) -> u64 {
        self.partitions_at().saturating_add(self.partitions)
    }

    pub(super) fn properties_at(&self) -> u64 {
        self.top_at().saturating_add(self.top)
    }

    /// Where the footer begins. Sums saturate, so a hostile one is beyond any file.
    pub(super) fn footer_at(&self) -> u64 {
        self.properties_at().saturating_add(self.properties)
    }

    /// The bytes between data and filter, which are zero.
    pub(super) fn padding(&self) -> Range<u64> {
        self.data..self.filter_at
    }
}

/// The first offset at or above `at` where a filter of `filter_bytes` may begin.
pub(super) fn align_filter(at: u64, filter_bytes: u64) -> u64 {
    let page = to_u64(PAGE_BYTES);
    let step = if filter_bytes > page { page } else { to_u64(LINE_BYTES) };
    if filter_bytes == 0 { at } else { at.next_multiple_of(step) }
}

/// The footer of `file` with these regions.
pub(super) fn encode_footer(layout: &Layout, file: FileId) -> Vec<u8> {
    let Layout { data, filter_at, filter, ranges, partitions, top, properties } = *layout;
    let mut out = Vec::with_capacity(FOOTER_BYTES);
    for word in [data, filter_at, filter, ranges, partitions, top, properties, file.0, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let crc = footer_checksum(&out, MAJOR, MINOR, file, layout.footer_at());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&MAJOR.to_le_bytes());
    out.extend_from_slice(&MINOR.to_le_bytes());
    out.extend_from_slice(MAGIC);
    out
}

fn footer_checksum(words: &[u8], major: u16, minor: u16, file: FileId, at: u64) -> u32 {
    let crc = checksum(words, RAW, file, at);
    crc32c::crc32c_append(crc, &[major.to_le_bytes(), minor.to_le_bytes()].concat())
}

/// Reads a footer that lies at `at`, and the file number in it; `expected` is that of the name.
///
/// Errors: `Unsupported` for a newer major version, `Corruption` for anything else.
pub(super) fn decode_footer(
    footer: &[u8],
    at: u64,
    expected: Option<FileId>,
) -> Result<(Layout, FileId)> {
    let name = expected.unwrap_or_default();
    let wrong = |at, want: &'static str| damaged(name, at, want, "other bytes");
    let tail_at = footer.len().saturating_sub(TAIL_BYTES);
    let (body, tail) = footer.split_at_checked(tail_at).unwrap_or((footer, &[]));
    let mut tail = Decoder::new(tail);
    let version = (tail.u16(), tail.u16());
    if tail.array() != Some(*MAGIC) {
        return Err(wrong(at, "a footer that ends in eskerSEG"));
    }
    let (Some(major), Some(minor)) = version else { return Err(wrong(at, "a version")) };
    if major != MAJOR {
        return Err(unsupported(name, format_args!("format version {major}; this build reads 1")));
    }
    let words_len = body.len().saturating_sub(4);
    let (words, crc) = body.split_at_checked(words_len).unwrap_or((body, &[]));
    let mut fields = Decoder::new(words);
    let mut word = || fields.u64().ok_or_else(|| wrong(at, "a whole footer"));
    let layout = Layout {
        data: word()?,
        filter_at: word()?,
        filter: word()?,
        ranges: word()?,
        partitions: word()?,
        top: word()?,
        properties: word()?,
    };
    let (file, reserved) = (FileId(word()?), word()?);
    let found = footer_checksum(words, major, minor, expected.unwrap_or(file), at);
    if Decoder::new(crc).u32() != Some(found) {
        return Err(wrong(at, "a footer of this file with a valid checksum"));
    }
    if expected.is_some_and(|expected| expected != file) {
        return Err(damaged(name, at, format_args!("file number {name}"), file));
    }
    let aligned = layout.filter_at == align_filter(layout.data, layout.filter);
    if reserved != 0 || !fields.is_empty() || layout.footer_at() != at || !aligned {
        return Err(wrong(at, "regions that fill the file"));
    }
    Ok((layout, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId(7);

    fn layout() -> Layout {
        let (data, filter) = (100, 5000);
        Layout { data, filter_at: 4096, filter, ranges: 0, partitions: 30, top: 20, properties: 9 }
    }

    #[test]
    fn a_footer_round_trips_and_any_flipped_bit_is_an_error() {
        let at = layout().footer_at();
        let footer = encode_footer(&layout(), FILE);
        assert_eq!(footer.len(), FOOTER_BYTES);
        assert_eq!(decode_footer(&footer, at, Some(FILE)).unwrap(), (layout(), FILE));
        assert_eq!(decode_footer(&footer, at, None).unwrap(), (layout(), FILE));
        for bit in 0..footer.len() * 8 {
            let mut bad = footer.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_footer(&bad, at, Some(FILE)).is_err(), "bit {bit}");
            assert!(decode_footer(&bad, at, None).is_err(), "bit {bit}");
        }
        for cut in 0..footer.len() {
            assert!(decode_footer(&footer[..cut], at, Some(FILE)).is_err());
        }
    }

    /// F-38: a newer major version is `Unsupported`, a newer minor one is read.
    #[test]
    fn a_newer_major_version_is_unsupported() {
        let mut footer = encode_footer(&layout(), FILE);
        let major_at = footer.len() - TAIL_BYTES;
        footer[major_at] = 2;
        let error = decode_footer(&footer, layout().footer_at(), Some(FILE)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    /// F-36: the same bytes at another place or in another file are damage.
    #[test]
    fn a_piece_is_bound_to_its_place() {
        let mut piece = Vec::new();
        seal_raw(&mut piece, b"payload", FILE, 4096);
        assert_eq!(Sealed::verify(&piece, FILE, 4096).unwrap().raw(), Some(&b"payload"[..]));
        assert!(Sealed::verify(&piece, FILE, 4097).is_err());
        assert!(Sealed::verify(&piece, FileId(8), 4096).is_err());
    }

    /// BLOB-11: compressed only if it saves an eighth.
    #[test]
    fn a_payload_that_does_not_shrink_by_an_eighth_is_stored_raw() {
        let mut scratch = Vec::new();
        let noise: Vec<u8> = (0..4096u64).flat_map(|i| crate_hash(i).to_le_bytes()).collect();
        for zeros in 0..noise.len() {
            if zeros % 97 != 0 {
                continue;
            }
            let mut payload = noise.clone();
            payload[..zeros].fill(0);
            let mut piece = Vec::new();
            seal(&mut piece, &payload, Compression::Lz4, (FILE, 0), &mut scratch);
            let sealed = Sealed::verify(&piece, FILE, 0).unwrap();
            let limit = payload.len() - (payload.len() >> 3);
            assert_eq!(sealed.raw().is_none(), piece.len() - TRAILER_BYTES <= limit);
            assert_eq!(sealed.unpack(FILE, 0).unwrap(), payload);
        }
        let mut empty = Vec::new();
        seal(&mut empty, b"", Compression::Lz4, (FILE, 0), &mut scratch);
        assert_eq!(Sealed::verify(&empty, FILE, 0).unwrap().raw(), Some(&b""[..]));
    }

    fn crate_hash(i: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes())
    }

    /// F-39: a length that the bytes cannot unpack to is refused before anything is allocated.
    #[test]
    fn a_decompression_bomb_is_damage() {
        for len in [0, 1, 99, 101, 1 << 20, COMPRESSED_BYTES_MAX + 1, 0xffff_ffff] {
            let mut packed = Vec::new();
            assert_eq!(pack(&[9; 100], Compression::Lz4, &mut packed), Codec::Lz4);
            packed[..4].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
            let mut piece = packed.clone();
            piece.push(Codec::Lz4.number());
            piece.extend(checksum(&packed, Codec::Lz4.number(), FILE, 0).to_le_bytes());
            let sealed = Sealed::verify(&piece, FILE, 0).unwrap();
            assert_eq!(sealed.unpack(FILE, 0).unwrap_err().kind(), ErrorKind::Corruption);
        }
    }

    #[test]
    fn an_unknown_compression_is_unsupported() {
        let lacking = (!cfg!(feature = "zstd")).then_some(Codec::Zstd.number());
        for id in lacking.into_iter().chain([3, 255]) {
            let mut piece = b"\x05\0\0\0x".to_vec();
            let sum = checksum(&piece, id, FILE, 0);
            piece.push(id);
            piece.extend(sum.to_le_bytes());
            let error = Sealed::verify(&piece, FILE, 0).unwrap().unpack(FILE, 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }
}
