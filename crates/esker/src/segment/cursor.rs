//! Walks a segment in both directions.
//!
//! 1. A step within a block neither allocates nor touches a reference count.
//! 2. The cursor is on an entry, or off. After an error it is off, and stays so until a seek.
//! 3. It keeps its reader alive, and through it the file: it may outlive the version that named it.
//! 4. It holds one data block, one index partition and what it has read ahead; in a mapped file, only
//!    their places.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::ahead::Ahead;
use super::block::Walk;
use super::format::{Damage, to_usize};
use super::index::Child;
use super::reader::{Payload, SegmentReader, Trust};
use crate::base::cursor::Cursor;
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::Entry;
use crate::base::value::Value;
use crate::cache::Block;
use std::ops::Range;
use std::sync::Arc;

/// A verified payload that a cursor keeps between steps.
#[derive(Debug)]
enum Held {
    /// At this range of the map.
    Mapped(Range<usize>),
    /// In memory of its own.
    Cached(Arc<Block>),
}

impl Held {
    fn new(payload: Payload<'_>, at: u64) -> Self {
        match payload {
            Payload::Mapped(bytes) => {
                let at = to_usize(at);
                Self::Mapped(at..at.saturating_add(bytes.len()))
            }
            Payload::Cached(block) => Self::Cached(block),
        }
    }

    #[inline]
    fn bytes<'a>(&'a self, reader: &'a SegmentReader) -> &'a [u8] {
        match self {
            Self::Mapped(range) => {
                reader.pages().and_then(|pages| pages.get(range.clone())).unwrap_or_default()
            }
            Self::Cached(block) => block,
        }
    }

    fn payload<'a>(&'a self, reader: &'a SegmentReader) -> Payload<'a> {
        match self {
            Self::Mapped(_) => Payload::Mapped(self.bytes(reader)),
            Self::Cached(block) => Payload::Cached(block.clone()),
        }
    }
}

/// Where a search of the index begins.
#[derive(Clone, Copy, Debug)]
enum Aim<'a> {
    First,
    Last,
    /// The first child whose separator is at or above the key.
    Key(&'a [u8]),
}

/// Walks the entries of a segment. Made by [`SegmentReader::cursor`].
#[derive(Debug)]
pub struct SegmentCursor {
    reader: Arc<SegmentReader>,
    trust: Trust,
    /// The slot of the partition in the top index.
    top_slot: usize,
    partition: Option<(Child, Held)>,
    /// The slot of the block in the partition.
    slot: usize,
    block: Option<(Child, Held)>,
    walk: Walk,
    is_on: bool,
    ahead: Ahead,
}

impl SegmentCursor {
    pub(super) fn new(reader: Arc<SegmentReader>, trust: Trust) -> Self {
        Self {
            reader,
            trust,
            top_slot: 0,
            partition: None,
            slot: 0,
            block: None,
            walk: Walk::default(),
            is_on: false,
            ahead: Ahead::default(),
        }
    }

    /// Loads the partition in slot `slot` of the top index; false if there is none.
    fn load_partition(&mut self, slot: usize) -> Result<bool> {
        let reader = &self.reader;
        let top_at = reader.layout.top_at();
        let top = reader.top(self.trust)?;
        let top = reader.index(&top, top_at)?;
        if slot >= top.count() {
            return Ok(false);
        }
        let child = top.child(slot).map_err(|damage| damage.of(reader.id(), top_at))?;
        let held = Held::new(reader.partition(child, self.trust)?, child.at);
        self.partition = Some((child, held));
        self.top_slot = slot;
        Ok(true)
    }

    /// Loads the block in slot `slot` of the partition; false if there is none.
    fn load_block(&mut self, slot: usize) -> Result<bool> {
        let Some((place, partition)) = &self.partition else { return Ok(false) };
        let reader = &self.reader;
        let payload = partition.payload(reader);
        let index = reader.index(&payload, place.at)?;
        if slot >= index.count() {
            return Ok(false);
        }
        let child = index.child(slot).map_err(|damage| damage.of(reader.id(), place.at))?;
        if self.block.as_ref().is_none_or(|(held, _)| *held != child) {
            let block = reader.data_block_ahead(child, self.trust, &mut self.ahead)?;
            let held = Held::new(block, child.at);
            self.block = Some((child, held));
        }
        self.slot = slot;
        Ok(true)
    }

    /// Loads the block that `aim` names; false if there is none.
    fn aim(&mut self, aim: Aim<'_>) -> Result<bool> {
        self.is_on = false;
        let reader = &self.reader;
        let top_at = reader.layout.top_at();
        let top = reader.top(self.trust)?;
        let top = reader.index(&top, top_at)?;
        let slot = match aim {
            Aim::First => 0,
            Aim::Last => top.count().wrapping_sub(1),
            Aim::Key(key) => top.find(key).map_err(|damage| damage.of(reader.id(), top_at))?,
        };
        if !self.load_partition(slot)? {
            return Ok(false);
        }
        let Some((place, partition)) = &self.partition else { return Ok(false) };
        let payload = partition.payload(&self.reader);
        let index = self.reader.index(&payload, place.at)?;
        let slot = match aim {
            Aim::First => 0,
            Aim::Last => index.count().wrapping_sub(1),
            Aim::Key(key) => {
                index.find(key).map_err(|damage| damage.of(self.reader.id(), place.at))?
            }
        };
        self.load_block(slot)
    }

    /// Moves within the block.
    #[inline]
    fn step(
        &mut self,
        step: impl FnOnce(&mut Walk, &[u8]) -> Result<bool, Damage>,
    ) -> Result<bool> {
        self.is_on = false;
        let Some((child, held)) = &self.block else { return Ok(false) };
        self.is_on = step(&mut self.walk, held.bytes(&self.reader))
            .map_err(|damage| damage.of(self.reader.id(), child.at))?;
        Ok(self.is_on)
    }

    /// To the first entry of the next block; off if there is none.
    fn next_block(&mut self) -> Result<()> {
        let is_loaded = self.load_block(self.slot + 1)?
            || (self.load_partition(self.top_slot + 1)? && self.load_block(0)?);
        if is_loaded {
            self.step(|walk, block| {
                walk.load(block)?;
                walk.next(block)
            })?;
        }
        Ok(())
    }

    /// To the last entry of the block before; off if there is none.
    fn prev_block(&mut self) -> Result<()> {
        let is_loaded = match (self.slot.checked_sub(1), self.top_slot.checked_sub(1)) {
            (Some(slot), _) => self.load_block(slot)?,
            (None, Some(top_slot)) => {
                self.load_partition(top_slot)? && {
                    let Some((place, partition)) = &self.partition else { return Ok(()) };
                    let payload = partition.payload(&self.reader);
                    let count = self.reader.index(&payload, place.at)?.count();
                    self.load_block(count.wrapping_sub(1))?
                }
            }
            (None, None) => false,
        };
        if is_loaded {
            self.step(Walk::last)?;
        }
        Ok(())
    }
}

impl Cursor for SegmentCursor {
    fn seek_first(&mut self) -> Result<()> {
        if self.aim(Aim::First)? {
            self.step(|walk, block| {
                walk.load(block)?;
                walk.next(block)
            })?;
        }
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        if self.aim(Aim::Last)? {
            self.step(Walk::last)?;
        }
        Ok(())
    }

    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        if !self.aim(Aim::Key(key))? {
            return Ok(());
        }
        // Versions of one key may fill blocks: the wanted one is then in a later block.
        while !self.step(|walk, block| walk.seek(block, key, seq))? {
            let is_loaded = self.load_block(self.slot + 1)?
                || (self.load_partition(self.top_slot + 1)? && self.load_block(0)?);
            if !is_loaded {
                break;
            }
        }
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        if !self.aim(Aim::Key(key))? {
            return self.seek_last();
        }
        let is_on = self.step(|walk, block| {
            walk.seek(block, key, SeqNo::MAX)?;
            walk.prev(block)
        })?;
        if is_on { Ok(()) } else { self.prev_block() }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if !self.is_on || self.step(Walk::next)? {
            return Ok(());
        }
        self.next_block()
    }

    fn prev(&mut self) -> Result<()> {
        if !self.is_on || self.step(Walk::prev)? {
            return Ok(());
        }
        self.prev_block()
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        let (_, held) = self.block.as_ref().filter(|_| self.is_on)?;
        self.walk.entry(held.bytes(&self.reader))
    }

    fn value(&self) -> Value {
        match &self.block {
            Some((child, held)) if self.is_on => {
                self.reader.value(&held.payload(&self.reader), child.at, self.walk.value_range())
            }
            _ => Value::EMPTY,
        }
    }
}
