//! Point reads: one key, or many in ascending order that share what neighbours need.
//!
//! ```text
//! key ─▶ filter ─▶ top index ─▶ partition ─▶ data block ─▶ value, pinned
//!                     └────────────┴─────────────┴── held for the next key, if it wants the same
//! ```
//!
//! 1. The filter is asked before the index (law 8).
//! 2. What is held was verified, and is found by its offset: a key that wants other pieces loads
//!    them, whatever the order of keys. Order only decides how much is shared.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::block::{self, Found};
use super::format::{Damage, to_usize};
use super::handle::Asked;
use super::reader::{Payload, SegmentReader, Trust};
use crate::base::error::Result;
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Kind, Lookup, hash_prefix};
use crate::base::value::Value;
use std::sync::Arc;

/// What a point read leaves for the next one. Start with an empty one.
#[derive(Debug, Default)]
pub struct Held<'a> {
    top: Slot<'a>,
    partition: Slot<'a>,
    block: Slot<'a>,
}

/// A piece and its offset.
type Slot<'a> = Option<(u64, Payload<'a>)>;

/// The piece at `at`: the one in `slot`, or else a new one, which takes its place.
#[inline]
fn hold<'h, 'a>(
    slot: &'h mut Slot<'a>,
    at: u64,
    load: impl FnOnce() -> Result<Payload<'a>>,
) -> Result<&'h Payload<'a>> {
    let payload = match slot.take() {
        Some((held, payload)) if held == at => payload,
        _ => load()?,
    };
    Ok(&slot.insert((at, payload)).1)
}

impl SegmentReader {
    /// The newest version of `key` at or below `at`, if this segment has one: its number, what it
    /// does, and its value, pinned where it lies.
    ///
    /// Deletes of ranges are not applied here; an entry that is one is returned as such. Cost: a
    /// line of the filter, then a search in two index pieces and a block.
    ///
    /// Errors: `Io`, `Corruption`; neither means that the key is absent.
    #[inline]
    pub fn get(self: &Arc<Self>, key: &Lookup, at: SeqNo) -> Result<Option<(SeqNo, Kind, Value)>> {
        self.get_beside(key, at, &mut Held::default())
    }

    /// As [`SegmentReader::get`], with the pieces in `held` at hand. Cost for a neighbour of the key
    /// before: a line of the filter and three searches in memory.
    pub fn get_beside<'a>(
        &'a self,
        key: &Lookup,
        at: SeqNo,
        held: &mut Held<'a>,
    ) -> Result<Option<(SeqNo, Kind, Value)>> {
        if self.properties.filter.lines == 0 {
            return self.find(key, at, held);
        }
        if !self.may_contain(key.hash())? {
            self.count(Asked::Refused);
            return Ok(None);
        }
        let found = self.find(key, at, held)?;
        self.count(if found.is_some() { Asked::Found } else { Asked::InVain });
        Ok(found)
    }

    #[inline]
    fn find<'a>(
        &'a self,
        key: &Lookup,
        at: SeqNo,
        held: &mut Held<'a>,
    ) -> Result<Option<(SeqNo, Kind, Value)>> {
        let (full, trust) = (key.full(), Trust::of_read(key.hash()));
        let top_at = self.layout.top_at();
        let top = hold(&mut held.top, top_at, || self.top(trust))?;
        let top = self.index(top, top_at)?;
        let in_top = |damage: Damage| damage.of(self.id(), top_at);
        for slot in top.find(full).map_err(in_top)?..top.count() {
            let child = top.child(slot).map_err(in_top)?;
            let load = || self.partition(child, trust);
            let partition = self.index(hold(&mut held.partition, child.at, load)?, child.at)?;
            let in_partition = |damage: Damage| damage.of(self.id(), child.at);
            for slot in partition.find(full).map_err(in_partition)?..partition.count() {
                let child = partition.child(slot).map_err(in_partition)?;
                let load = || self.data_block(child, trust);
                let payload = hold(&mut held.block, child.at, load)?;
                match block::search(payload.bytes(), full, at) {
                    Err(damage) => return Err(damage.of(self.id(), child.at)),
                    Ok(Found::Absent) => return Ok(None),
                    Ok(Found::Here(seq, kind, range)) => {
                        return Ok(Some((seq, kind, self.value(payload, child.at, range))));
                    }
                    // Older versions of the key may fill the next block.
                    Ok(Found::Beyond) => {
                        if !partition.separator_is(slot, full).map_err(in_partition)? {
                            return Ok(None);
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether a key with this hash may be here; always true without a filter.
    ///
    /// Errors: `Io`, `Corruption`; neither means that the key is absent (F-40).
    #[inline]
    pub fn may_contain(&self, hash: u64) -> Result<bool> {
        if self.properties.filter.lines == 0 {
            return Ok(true);
        }
        self.probe(hash)
    }

    /// Whether a key that begins with `prefix` may be here, a full key's first bytes; always true
    /// unless the filter holds prefixes, and none that are longer. Errors as of
    /// [`SegmentReader::may_contain`].
    pub fn may_contain_prefix(&self, prefix: &[u8]) -> Result<bool> {
        let len = to_usize(self.properties.prefix_filter);
        match prefix.get(..CollectionId::BYTES.saturating_add(len)) {
            Some(first) if len > 0 && self.properties.filter.lines > 0 => {
                self.probe(hash_prefix(first))
            }
            _ => Ok(true),
        }
    }

    /// Asks the filter, which must be there.
    #[inline]
    fn probe(&self, hash: u64) -> Result<bool> {
        let shape = &self.properties.filter;
        let place = shape.place(hash);
        let piece = self.filter_piece(place, Trust::of_read(hash))?;
        let line = piece.bytes().get(place.line_at..).and_then(|rest| rest.first_chunk());
        let line = line.ok_or_else(|| {
            let at = self.layout.filter_at.saturating_add(place.piece_at);
            Damage::new(place.line_at, "a line of the filter").of(self.id(), at)
        })?;
        Ok(shape.may_contain(line, hash))
    }
}
