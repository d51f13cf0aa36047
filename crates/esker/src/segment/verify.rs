//! Reads every byte of a segment and holds it against everything the file says.
//!
//! 1. Every byte is under a checksum that is verified, or is a zero that is looked at.
//! 2. Entries ascend, lie between their separators, pass the filter, and add up to the properties.
//! 3. It uses neither the cache nor what was verified before; it holds a chunk of blocks and the filter.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::ahead::Ahead;
use super::block::{Walk, check_restarts};
use super::expiries::Gathered;
use super::format::{Damage, FOOTER_BYTES, LINE_BYTES, damaged, decode_footer, to_u64, to_usize};
use super::index::{Child, Index};
use super::properties::{Properties, kind_place};
use super::reader::{RangeTombstone, SegmentReader, Trust};
use crate::base::blob::BlobRef;
use crate::base::error::{Error, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Entry, Kind, hash_full_key, hash_prefix};
use crate::base::setsum::Setsum;
use std::borrow::Cow;

/// One reading of a whole file.
struct Audit<'a> {
    reader: &'a SegmentReader,
    progress: &'a mut dyn FnMut(u64),
    refs: &'a mut dyn FnMut(&BlobRef),
    filter: Cow<'a, [u8]>,
    /// What the entries so far add up to; `largest` is the last key.
    seen: Properties,
    last_seq: SeqNo,
    last_separator: Vec<u8>,
    /// Where the data blocks so far end.
    data_end: u64,
    ranges: Vec<RangeTombstone>,
    expiries: Gathered,
    walk: Walk,
    ahead: Ahead,
}

impl SegmentReader {
    /// Reads and checks the whole file; the setsum of its entries is the result. `progress` is
    /// told how many more bytes were checked; the calls add up to the length of the file.
    ///
    /// Errors: `Corruption` for the first thing that is not as it was written; `Io` if a part
    /// cannot be read.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Setsum> {
        self.verify_refs(progress, &mut |_| {})
    }

    /// The same; `refs` is given what takes the place of each large value.
    pub fn verify_refs(
        &self,
        progress: &mut dyn FnMut(u64),
        refs: &mut dyn FnMut(&BlobRef),
    ) -> Result<Setsum> {
        let filter = self.bytes_at(self.layout.filter_at, self.layout.filter)?;
        let mut audit = Audit {
            reader: self,
            progress,
            refs,
            filter,
            seen: Properties { seq_min: SeqNo::MAX, ..Properties::default() },
            last_seq: SeqNo::ZERO,
            last_separator: Vec::new(),
            data_end: 0,
            ranges: Vec::new(),
            expiries: Gathered::default(),
            walk: Walk::default(),
            ahead: Ahead::default(),
        };
        audit.frame()?;
        audit.filter()?;
        audit.index()?;
        audit.sums()
    }
}

impl Audit<'_> {
    /// Refuses the file unless `holds`.
    fn demand(&self, holds: bool, at: u64, want: &'static str) -> Result<()> {
        if holds { Ok(()) } else { Err(self.damage(Damage::new(0, want), at)) }
    }

    fn damage(&self, damage: Damage, at: u64) -> Error {
        damage.of(self.reader.id(), at)
    }

    /// The footer and the properties, as they are now.
    fn frame(&mut self) -> Result<()> {
        let (reader, layout) = (self.reader, self.reader.layout);
        let (at, len) = (layout.footer_at(), to_u64(FOOTER_BYTES));
        let now = reader.byte_count_now();
        self.demand(now.is_none_or(|now| now == at + len), at, "a file of its former length")?;
        let (now, _) = decode_footer(&reader.bytes_at(at, len)?, at, Some(reader.id()))?;
        self.demand(now == layout, at, "the footer that was read at opening")?;
        (self.progress)(len);
        let at = layout.properties_at();
        let payload = reader.unremembered(at, layout.properties)?;
        let now = Properties::decode(payload.bytes(), &layout).ok();
        self.demand(now.as_ref() == Some(&reader.properties), at, "the properties as opened")?;
        (self.progress)(layout.properties);
        Ok(())
    }

    /// The zeros before the filter, and the checksums of its pieces.
    fn filter(&mut self) -> Result<()> {
        let (reader, layout) = (self.reader, self.reader.layout);
        let padding = layout.padding();
        let len = padding.end.saturating_sub(padding.start);
        let zeros = reader.bytes_at(padding.start, len)?;
        if let Some(odd) = zeros.iter().position(|&byte| byte != 0) {
            let at = padding.start.saturating_add(to_u64(odd));
            return Err(damaged(reader.id(), at, "zeros between data and filter", "another byte"));
        }
        for piece in 0..reader.properties.filter.pieces() {
            reader.filter_piece(reader.properties.filter.piece(piece), Trust::Nothing)?;
        }
        (self.progress)(len + layout.filter);
        Ok(())
    }

    /// The index, and through it all data.
    fn index(&mut self) -> Result<()> {
        let (reader, layout) = (self.reader, self.reader.layout);
        let top_at = layout.top_at();
        let top = reader.top(Trust::Nothing)?;
        let top = reader.index(&top, top_at)?;
        let mut end = layout.partitions_at();
        for slot in 0..top.count() {
            let ordinal = reader.properties.data_blocks + to_u64(slot);
            let child = self.child(&top, slot, top_at, Child { ordinal, at: end, len: 0 })?;
            self.partition(child)?;
            self.separator(&top, slot, top_at)?;
            end = child.at + child.len;
            (self.progress)(child.len);
        }
        self.seen.partitions = to_u64(top.count());
        let is_whole = end == top_at && (top.count() == 0 || top.children_end() == end);
        self.demand(is_whole, top_at, "an index of all partitions")?;
        self.demand(self.data_end == layout.data, top_at, "an index of all data blocks")?;
        (self.progress)(layout.top);
        Ok(())
    }

    /// The child in `slot` of the index at `at`, which must be as `want` says but for its length.
    fn child(&self, index: &Index<'_>, slot: usize, at: u64, want: Child) -> Result<Child> {
        let child = index.child(slot).map_err(|damage| self.damage(damage, at))?;
        let is_next = (child.ordinal, child.at) == (want.ordinal, want.at) && child.len > 0;
        self.demand(is_next, at, "children in order, one behind the other")?;
        Ok(child)
    }

    /// The separator in `slot` must be at or above the last key. It is kept for the next key.
    fn separator(&mut self, index: &Index<'_>, slot: usize, at: u64) -> Result<()> {
        let separator = index.separator(slot).map_err(|damage| self.damage(damage, at))?;
        let is_above = self.seen.largest <= separator && self.last_separator <= separator;
        self.demand(is_above, at, "a separator at or above the keys before it")?;
        self.last_separator = separator;
        Ok(())
    }

    fn partition(&mut self, place: Child) -> Result<()> {
        let reader = self.reader;
        let payload = reader.partition(place, Trust::Nothing)?;
        let index = reader.index(&payload, place.at)?;
        self.demand(index.count() > 0, place.at, "a partition with blocks")?;
        for slot in 0..index.count() {
            let want = Child { ordinal: self.seen.data_blocks, at: self.data_end, len: 0 };
            let child = self.child(&index, slot, place.at, want)?;
            let block = reader.data_block_ahead(child, Trust::Nothing, &mut self.ahead)?;
            self.block(block.bytes(), child.at)?;
            self.separator(&index, slot, place.at)?;
            self.seen.data_blocks += 1;
            self.seen.raw_bytes += to_u64(block.bytes().len());
            self.data_end = child.at + child.len;
            (self.progress)(child.len);
        }
        Ok(())
    }

    /// All entries of the block at `at`.
    fn block(&mut self, payload: &[u8], at: u64) -> Result<()> {
        let mut walk = std::mem::take(&mut self.walk);
        check_restarts(payload).map_err(|damage| self.damage(damage, at))?;
        walk.load(payload).map_err(|damage| self.damage(damage, at))?;
        while walk.next(payload).map_err(|damage| self.damage(damage, at))? {
            let Some(entry) = walk.entry(payload) else { break };
            self.entry(&entry, at)?;
        }
        self.walk = walk;
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, at: u64) -> Result<()> {
        let is_first = self.seen.keys == 0;
        let rises = is_first || entry.key > self.seen.largest.as_slice();
        let is_older = entry.key == self.seen.largest.as_slice() && entry.seq < self.last_seq;
        self.demand(rises || is_older, at, "entries that ascend")?;
        // Else a search would stop short of it.
        let is_above = self.seen.data_blocks == 0 || entry.key > self.last_separator.as_slice();
        self.demand(is_above || is_older, at, "keys above the separator before them")?;
        if rises {
            self.seen.keys += 1;
            self.demand(self.passes(entry.key), at, "keys that pass the filter")?;
            self.seen.largest.clear();
            self.seen.largest.extend_from_slice(entry.key);
        }
        if is_first {
            self.seen.smallest = entry.key.to_vec();
        }
        self.last_seq = entry.seq;
        self.seen.seq_min = self.seen.seq_min.min(entry.seq);
        self.seen.seq_max = self.seen.seq_max.max(entry.seq);
        self.seen.setsum += Setsum::of(entry);
        self.expiries.note(entry);
        let has_expiry = entry.kind != Kind::Expiring || entry.expiry().is_some();
        self.demand(has_expiry, at, "an expiry behind the value")?;
        if entry.kind == Kind::Blob {
            let blob = BlobRef::decode(entry.value);
            self.demand(blob.is_some(), at, "the ref of a large value")?;
            self.seen.blob_bytes += blob.map_or(0, |blob| u64::from(blob.stored));
            blob.iter().for_each(|blob| (self.refs)(blob));
        }
        if let Some(count) = self.seen.kinds.get_mut(kind_place(entry.kind)) {
            *count += 1;
        }
        if entry.kind == Kind::RangeDelete {
            let (start, end) = (entry.key.into(), entry.value.into());
            self.ranges.push(RangeTombstone { start, end, seq: entry.seq });
        }
        Ok(())
    }

    fn passes(&self, key: &[u8]) -> bool {
        let shape = &self.reader.properties.filter;
        if shape.lines == 0 {
            return true;
        }
        let prefix_len = to_usize(self.reader.properties.prefix_filter);
        let prefix = key.get(..CollectionId::BYTES.saturating_add(prefix_len));
        let prefix = prefix.filter(|_| prefix_len > 0).map(hash_prefix);
        [Some(hash_full_key(key)), prefix].into_iter().flatten().all(|hash| self.holds(hash))
    }

    /// Whether the filter, which must be there, holds `hash`.
    fn holds(&self, hash: u64) -> bool {
        let shape = &self.reader.properties.filter;
        let place = shape.place(hash);
        let at = to_usize(place.piece_at).saturating_add(place.line_at);
        let line = self.filter.get(at..).and_then(|rest| rest.first_chunk::<LINE_BYTES>());
        line.is_some_and(|line| shape.may_contain(line, hash))
    }

    /// What was seen against what the file says.
    fn sums(mut self) -> Result<Setsum> {
        let (reader, layout) = (self.reader, self.reader.layout);
        let ranges = reader.range_tombstones()?;
        self.demand(ranges == self.ranges, layout.ranges_at(), "the range deletes of the data")?;
        (self.progress)(layout.ranges);
        if self.seen.keys == 0 {
            self.seen.seq_min = SeqNo::ZERO;
        }
        self.seen.expiries = self.expiries.sum_up(self.seen.entries());
        let stated = &reader.properties;
        self.seen.filter = stated.filter;
        self.seen.restart_interval = stated.restart_interval;
        self.seen.block_bytes = stated.block_bytes;
        self.seen.prefix_filter = stated.prefix_filter;
        if self.seen != *stated {
            let (want, found) = (format!("{stated:?}"), format!("{:?}", self.seen));
            return Err(damaged(reader.id(), layout.properties_at(), want, found));
        }
        Ok(stated.setsum)
    }
}
