//! What can still be read of a segment in which something is damaged: for repair alone.
//!
//! ```text
//!   data   block │ block │ ▒▒▒▒▒ │ block │ …         a block is a piece with a checksum of its own
//!          known from the index: where it lies       else: an end is tried at every byte, until the
//!                                                    checksum in the four bytes behind it is right
//! ```
//!
//! 1. A block is taken whole, if its checksum is right and it can be walked, or not at all. Checksums
//!    are bound to file and offset: nothing is taken from a place where it was not written.
//! 2. The footer says where the index lies, and the index where the blocks lie. Each of them is used
//!    if it is whole; without any of them the blocks are found by their checksums alone.
//! 3. Range deletes are listed beside the data once more: of those, too, what is whole is taken. So
//!    an entry may come twice.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::block::{Walk, check_restarts};
use super::format::{FOOTER_BYTES, Layout, MAGIC, Sealed, decode_footer, to_u64, to_usize};
use super::index::Index;
use super::reader::{RangeTombstone, read_tombstone};
use crate::base::coding::Decoder;
use crate::base::id::{FileId, SeqNo};
use crate::base::key::{Entry, Kind};
use std::collections::BTreeMap;
use std::ops::Range;

/// So often may the end of a piece that no index leads to not be found in all that is left of the file.
const FAR_TRIES: u32 = 8;
/// The longest such piece after that, and
const UNKNOWN_BYTES_MAX: usize = 64 << 10;
/// the longest one that shows where damage ends that no index leads over.
const RESYNC_BYTES_MAX: usize = 8 << 10;
/// So many ends are tried in one file: some ten seconds, whatever lies there.
const TRIES_MAX: u64 = 1 << 28;
/// So many bytes that cannot be an end cost about as much as one that can.
const SKIPPED_BYTES: usize = 64;

/// What was found, and where nothing was.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// Bytes of the data that are no blocks.
    pub lost: Vec<Range<u64>>,
    /// How many blocks were read.
    pub blocks: u64,
    /// Whether the file was written to its end: it ends as a segment does, but for a byte at most.
    pub has_end: bool,
    /// How many ends were tried of pieces that no index leads to; 64 bytes that cannot be one count as one.
    pub tries: u64,
}

/// Gives `each` every entry that can be read of segment `id`, whose file has these bytes. In order,
/// but for range deletes, which may come twice.
///
/// Cost: one pass where an index leads. Else an end is tried at every byte that may stand before a
/// checksum, some 40 ns each: of a block once, of a damaged one of a few kilobytes a million times. After
/// [`TRIES_MAX`] the rest is given up.
pub fn salvage(bytes: &[u8], id: FileId, each: &mut dyn FnMut(&Entry<'_>)) -> Salvaged {
    let footer_at = bytes.len().saturating_sub(FOOTER_BYTES);
    let footer = bytes.get(footer_at..).unwrap_or_default();
    let layout = decode_footer(footer, to_u64(footer_at), Some(id)).ok().map(|(layout, _)| layout);
    let (walk, last) = Default::default();
    let mut file = File { bytes, id, walk, last, far_tries: FAR_TRIES, tries: 0 };
    let data = layout.map_or(to_u64(bytes.len()), |layout| layout.data);
    let known = layout.map(|layout| file.index(&layout)).unwrap_or_default();
    let mut found = Salvaged { has_end: has_end(bytes), ..Salvaged::default() };
    file.pieces(0..data, &known, &mut |file, at, piece| {
        let is_piece = piece.is_some();
        let taken = piece.is_some_and(|payload| file.block(&payload, each));
        match taken {
            true => found.blocks += 1,
            // Without a footer nobody knows where the data end: behind them lies what is no block.
            false if layout.is_none() && is_piece && found.blocks > 0 => return false,
            false => found.lost.push(at),
        }
        true
    });
    if let Some(layout) = &layout {
        file.ranges(layout, each);
    }
    found.tries = file.tries;
    found
}

fn has_end(bytes: &[u8]) -> bool {
    let alike = bytes.iter().rev().zip(MAGIC.iter().rev()).filter(|(byte, magic)| byte == magic);
    alike.count() + 1 >= MAGIC.len()
}

/// A file that is searched.
struct File<'a> {
    bytes: &'a [u8],
    id: FileId,
    walk: Walk,
    /// The last entry that was taken.
    last: Option<(Vec<u8>, SeqNo)>,
    /// How many of [`FAR_TRIES`] are left.
    far_tries: u32,
    /// How many ends were tried.
    tries: u64,
}

/// Where pieces lie, as an index tells: offset and length.
type Known = BTreeMap<u64, u64>;

/// Takes the place of a piece and its payload, none if it is damaged; answers whether to go on.
type Each<'a, F> = dyn FnMut(&mut F, Range<u64>, Option<Vec<u8>>) -> bool + 'a;

impl File<'_> {
    /// Whether these bytes are a piece by their checksum.
    fn is_piece(&self, range: Range<u64>) -> bool {
        let piece = self.bytes.get(to_usize(range.start)..to_usize(range.end));
        piece.is_some_and(|piece| Sealed::verify(piece, self.id, range.start).is_ok())
    }

    /// The payload of the piece that takes these bytes, if there is one.
    fn piece(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let piece = self.bytes.get(to_usize(range.start)..to_usize(range.end))?;
        Sealed::verify(piece, self.id, range.start).ok()?.unpack(self.id, range.start).ok()
    }

    /// Where the piece ends that begins at `at`, tried at every byte that may say how it is compressed.
    fn end_of(&mut self, at: u64, limit: u64, longest: usize) -> Option<u64> {
        let start = to_usize(at);
        let most = to_usize(limit.saturating_sub(at)).min(longest);
        let bytes = self.bytes.get(start..start.saturating_add(most))?;
        let place = [self.id.0.to_le_bytes(), at.to_le_bytes()].concat();
        let (mut crc, mut from) = (crc32c::crc32c(b""), 0);
        // The three kinds there are: most bytes are none of them, and cost next to nothing.
        while let Some(gap) = bytes.get(from..)?.iter().position(|&byte| byte <= 2) {
            let next = from.saturating_add(gap).saturating_add(1);
            crc = crc32c::crc32c_append(crc, bytes.get(from..next)?);
            let (sum, _) = bytes.get(next..)?.split_first_chunk()?;
            self.tries += 1 + to_u64(gap / SKIPPED_BYTES);
            if crc32c::crc32c_append(crc, &place).to_le_bytes() == *sum {
                return Some(at.saturating_add(to_u64(next + sum.len())));
            }
            from = next;
        }
        self.tries += to_u64(bytes.len().saturating_sub(from) / SKIPPED_BYTES);
        None
    }

    /// Gives `each` the pieces of a region, in order, and what lies between those that are whole;
    /// until that answers no.
    fn pieces(&mut self, region: Range<u64>, known: &Known, each: &mut Each<'_, Self>) {
        let mut at = region.start;
        while at < region.end {
            let next = known.range(at.saturating_add(1)..).next().map(|(next, _)| *next);
            let limit = next.unwrap_or(region.end).min(region.end);
            let told = known.get(&at).map(|len| at.saturating_add((*len).max(1)));
            let end = match told {
                Some(end) => told.filter(|_| self.is_piece(at..end)),
                None => self.unknown_end_of(at, limit),
            };
            let payload = end.and_then(|end| self.piece(at..end));
            let from = at;
            at = end.or(told).unwrap_or_else(|| self.resync(from, limit));
            if !each(self, from..at, payload) {
                return;
            }
        }
    }

    /// Where a piece ends that no index leads to.
    fn unknown_end_of(&mut self, at: u64, limit: u64) -> Option<u64> {
        let longest = if self.far_tries > 0 { usize::MAX } else { UNKNOWN_BYTES_MAX };
        let end = self.end_of(at, limit, longest);
        self.far_tries = self.far_tries.saturating_sub(end.is_none().into());
        end
    }

    /// Where the next whole piece begins behind `at`; the end if none is found.
    fn resync(&mut self, at: u64, end: u64) -> u64 {
        let mut places = at.saturating_add(1)..end;
        let mut is_one = |place: &u64| {
            self.tries >= TRIES_MAX || self.end_of(*place, end, RESYNC_BYTES_MAX).is_some()
        };
        let found = places.find(&mut is_one);
        found.filter(|_| self.tries < TRIES_MAX).unwrap_or(end)
    }

    /// Where the data blocks lie, as far as the index can be read.
    fn index(&mut self, layout: &Layout) -> Known {
        let mut partitions = Known::new();
        let top = self.piece(layout.top_at()..layout.properties_at());
        top.iter().for_each(|top| children(top, &mut partitions));
        let mut blocks = Known::new();
        let region = layout.partitions_at()..layout.top_at();
        self.pieces(region, &partitions, &mut |_, _, payload| {
            payload.iter().for_each(|payload| children(payload, &mut blocks));
            true
        });
        blocks
    }

    /// Gives `each` the entries of a block; false, and nothing is given, if it is none, or does not
    /// belong behind the one before.
    fn block(&mut self, payload: &[u8], each: &mut dyn FnMut(&Entry<'_>)) -> bool {
        let Some(last) = self.walk_block(payload, &mut |_| {}) else { return false };
        self.walk_block(payload, each);
        self.last = last;
        true
    }

    /// The last entry of a block in which all ascend; none if it is no such block.
    fn walk_block(
        &mut self,
        payload: &[u8],
        each: &mut dyn FnMut(&Entry<'_>),
    ) -> Option<Option<(Vec<u8>, SeqNo)>> {
        check_restarts(payload).ok()?;
        self.walk.load(payload).ok()?;
        let mut last = self.last.clone();
        while self.walk.next(payload).ok()? {
            let entry = self.walk.entry(payload)?;
            let is_behind = |(key, seq): &(Vec<u8>, SeqNo)| {
                *entry.key > **key || *entry.key == **key && entry.seq < *seq
            };
            if !last.as_ref().is_none_or(is_behind) {
                return None;
            }
            each(&entry);
            last = Some((entry.key.to_vec(), entry.seq));
        }
        Some(last)
    }

    /// Gives `each` the range deletes of the list beside the data.
    fn ranges(&self, layout: &Layout, each: &mut dyn FnMut(&Entry<'_>)) {
        let Some(list) = self.piece(layout.ranges_at()..layout.partitions_at()) else { return };
        let mut input = Decoder::new(&list);
        while !input.is_empty() {
            let Some(RangeTombstone { start, end, seq }) = read_tombstone(&mut input) else {
                return;
            };
            each(&Entry { key: &start, seq, kind: Kind::RangeDelete, value: &end });
        }
    }
}

/// Notes where the children of an index lie.
fn children(payload: &[u8], known: &mut Known) {
    let Ok(index) = Index::of(payload) else { return };
    let children = (0..index.count()).filter_map(|slot| index.child(slot).ok());
    known.extend(children.map(|child| (child.at, child.len)));
}
