//! A data block: a few kilobytes of sorted entries.
//!
//! ```text
//! block   | value ×n | head ×n | restart ×r | heads at: u32 | r: u32 |
//! head    | shared: varint | unshared: varint | value length: varint | tag: u64 |
//!         | key from `shared` on |
//! restart | offset of its head: u32 | offset of its value: u32 |
//! ```
//!
//! `shared` is the number of bytes an entry's full key has in common with the one before it. A
//! restart is an entry that shares nothing; `tag` is number and kind. Values lie one behind the
//! other in the order of entries, apart from the heads, so that a search reads a few neighbouring
//! cache lines and then one value.
//!
//! 1. Entries ascend strictly in the order of [`Entry::order`]. The first is a restart.
//! 2. At most [`RESTART_INTERVAL_MAX`] entries lie between restarts, so that a hostile block cannot
//!    make a step backwards rebuild gigabytes of keys.
//! 3. A head takes at least 11 bytes, so every walk ends.
//! 4. Steps do not allocate: a [`Walk`] reuses one key buffer. A step back decodes the entries since
//!    the last restart once, and keeps them until it has walked through them.
//!
//! After LevelDB's `table/block.cc`; a search compares what keys share, as LMDB and fst do, so that
//! it rebuilds none.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::format::{Damage, to_u64};
use crate::base::coding::{Decoder, put_varint};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Entry, KEY_BYTES_MAX, Kind, pack_tag, unpack_tag};
use std::cmp::Ordering;
use std::ops::Range;

/// The most entries between two restarts.
pub(super) const RESTART_INTERVAL_MAX: usize = 256;
/// The longest full key.
const FULL_KEY_BYTES_MAX: usize = CollectionId::BYTES + KEY_BYTES_MAX;
/// More than the lengths and the tag of an entry and a restart ever take.
const ENTRY_OVERHEAD_BYTES: usize = 3 + 3 + 5 + 8 + RESTART_BYTES;
const RESTART_BYTES: usize = 4 + 4;
/// Where the heads begin, and how many restarts there are.
const TAIL_BYTES: usize = 4 + 4;

/// How much space a builder keeps for the next block.
const SPACE_KEPT_BYTES: usize = 1 << 20;

/// How many bytes two keys begin with in common.
#[inline]
pub(super) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    let (a_words, b_words) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let mut words = 0;
    for (a, b) in a_words.iter().zip(b_words) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return words * 8 + usize::try_from(differ.trailing_zeros() / 8).unwrap_or(0);
        }
        words += 1;
    }
    let done = words * 8;
    let (a, b) = (a.get(done..).unwrap_or_default(), b.get(done..).unwrap_or_default());
    done + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Makes a block in memory.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    /// The values; the whole block once it is finished.
    bytes: Vec<u8>,
    heads: Vec<u8>,
    restarts: Vec<[u32; 2]>,
    since_restart: usize,
    restart_interval: usize,
}

impl BlockBuilder {
    pub(super) fn new(restart_interval: usize) -> Self {
        let restart_interval = restart_interval.clamp(1, RESTART_INTERVAL_MAX);
        let (bytes, heads, restarts) = (Vec::new(), Vec::new(), Vec::new());
        Self { bytes, heads, restarts, since_restart: 0, restart_interval }
    }

    /// Appends an entry whose key has `shared` bytes in common with the one before.
    pub(super) fn push(&mut self, shared: usize, entry: &Entry<'_>) {
        let mut shared = shared;
        if self.restarts.is_empty() || self.since_restart == self.restart_interval {
            shared = 0;
            self.since_restart = 0;
            self.restarts.push([offset(&self.heads), offset(&self.bytes)]);
        }
        self.since_restart += 1;
        let suffix = entry.key.get(shared..).unwrap_or_default();
        self.heads.reserve(ENTRY_OVERHEAD_BYTES + suffix.len());
        for len in [shared, suffix.len(), entry.value.len()] {
            put_varint(&mut self.heads, to_u64(len));
        }
        self.heads.extend_from_slice(&pack_tag(entry.seq, entry.kind).to_le_bytes());
        self.heads.extend_from_slice(suffix);
        self.bytes.extend_from_slice(entry.value);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// Its bytes if it were finished now.
    pub(super) fn byte_count(&self) -> usize {
        self.bytes.len() + self.heads.len() + self.restarts.len() * RESTART_BYTES + TAIL_BYTES
    }

    /// Its bytes, at most, after one more entry.
    pub(super) fn byte_count_with(&self, entry: &Entry<'_>) -> usize {
        self.byte_count() + ENTRY_OVERHEAD_BYTES + entry.key.len() + entry.value.len()
    }

    /// Completes the block.
    pub(super) fn finish(&mut self) -> &[u8] {
        let heads_at = offset(&self.bytes);
        let count = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&self.heads);
        for word in self.restarts.as_flattened().iter().chain(&[heads_at, count]) {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        &self.bytes
    }

    /// Begins the next block. The space of an oversize one is given back.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(SPACE_KEPT_BYTES);
        self.heads.clear();
        self.restarts.clear();
        self.since_restart = 0;
    }
}

/// The offset of what is appended to `bytes` next. A block is far below 4 GiB.
fn offset(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// The parts of a block but for its values.
#[derive(Clone, Copy, Debug)]
struct Parts<'a> {
    heads: &'a [u8],
    /// Where the heads begin, which is where the values end.
    heads_at: usize,
    restarts: &'a [[u8; RESTART_BYTES]],
}

/// A place between entries: offsets of the next head among the heads, of its value in the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    head: usize,
    value: usize,
}

impl<'a> Parts<'a> {
    #[inline]
    fn of(payload: &'a [u8]) -> Result<Self, Damage> {
        Self::split(payload).ok_or_else(|| Damage::new(0, "a block with entries and restarts"))
    }

    #[inline]
    fn split(payload: &'a [u8]) -> Option<Self> {
        let (rest, tail) = payload.split_last_chunk::<TAIL_BYTES>()?;
        let mut tail = Decoder::new(tail);
        let heads_at = usize::try_from(tail.u32()?).ok()?;
        let count = usize::try_from(tail.u32()?).ok()?;
        let restarts_at = rest.len().checked_sub(count.checked_mul(RESTART_BYTES)?)?;
        let heads = rest.get(heads_at..restarts_at)?;
        let restarts = rest.get(restarts_at..)?.as_chunks().0;
        (!heads.is_empty() && !restarts.is_empty()).then_some(Self { heads, heads_at, restarts })
    }

    /// The place of restart `i`; beyond all entries if there is none.
    #[inline]
    fn restart(&self, i: usize) -> Place {
        let mut words = Decoder::new(self.restarts.get(i).map_or(&[], |restart| restart));
        let mut word = || words.u32().and_then(|word| usize::try_from(word).ok());
        match (word(), word()) {
            (Some(head), Some(value)) => Place { head, value },
            _ => Place { head: usize::MAX, value: usize::MAX },
        }
    }

    /// The place from which the first entry at or after (`key`, `seq`) is found by going forward.
    #[inline]
    fn restart_before(&self, key: &[u8], seq: SeqNo) -> Result<Place, Damage> {
        let (mut below, mut above) = (0, self.restarts.len());
        while above - below > 1 {
            let middle = below.midpoint(above);
            let place = self.restart(middle);
            let head = self.head(place)?;
            if head.shared != 0 {
                return Err(self.damage(place, "a restart that shares nothing"));
            }
            match head.suffix(self.heads).cmp(key).then(seq.cmp(&SeqNo(head.tag >> 8))) {
                Ordering::Less => below = middle,
                Ordering::Equal | Ordering::Greater => above = middle,
            }
        }
        Ok(self.restart(below))
    }

    #[cold]
    fn damage(&self, place: Place, want: &'static str) -> Damage {
        Damage::new(self.heads_at.saturating_add(place.head), want)
    }

    /// The head at `place`.
    #[inline]
    fn head(&self, place: Place) -> Result<Head, Damage> {
        Head::split(self.heads, place, self.heads_at)
            .ok_or_else(|| self.damage(place, "an entry inside its block"))
    }
}

/// One entry, found but not rebuilt. Its value lies in the block from the value of the place it was
/// found at up to that of `end`.
#[derive(Clone, Copy, Debug)]
struct Head {
    shared: usize,
    tag: u64,
    /// Where the rest of the key begins among the heads.
    key_at: usize,
    /// Where the next entry is.
    end: Place,
}

impl Head {
    #[inline]
    fn split(heads: &[u8], place: Place, values_end: usize) -> Option<Self> {
        let mut input = Decoder::new(heads.get(place.head..)?);
        let shared = length(&mut input)?;
        let unshared = length(&mut input)?;
        let value_len = length(&mut input)?;
        let tag = input.u64()?;
        let key_at = heads.len() - input.rest().len();
        input.bytes(unshared)?;
        let value_end = place.value.checked_add(value_len).filter(|end| *end <= values_end)?;
        let end = Place { head: key_at + unshared, value: value_end };
        Some(Self { shared, tag, key_at, end })
    }

    #[inline]
    fn suffix<'a>(&self, heads: &'a [u8]) -> &'a [u8] {
        heads.get(self.key_at..self.end.head).unwrap_or_default()
    }
}

/// A varint that is mostly one or two bytes.
#[inline]
fn length(input: &mut Decoder<'_>) -> Option<usize> {
    if let [first @ 0..0x80, ..] = input.rest() {
        let first = usize::from(*first);
        input.u8()?;
        return Some(first);
    }
    if let [first, second @ 0..0x80, ..] = input.rest() {
        let both = usize::from(*first & 0x7f) | usize::from(*second) << 7;
        input.array::<2>()?;
        return Some(both);
    }
    usize::try_from(input.varint()?).ok()
}

/// Walks the block by its restarts alone and by its heads alone: they must tell the same, and the
/// values must fill their part.
pub(super) fn check_restarts(payload: &[u8]) -> Result<(), Damage> {
    let parts = Parts::of(payload)?;
    let mut restarts = (0..parts.restarts.len()).map(|i| parts.restart(i)).peekable();
    let mut place = Place::default();
    while place.head < parts.heads.len() {
        let head = parts.head(place)?;
        if restarts.next_if_eq(&place).is_some() && head.shared != 0 {
            return Err(parts.damage(place, "a restart that shares nothing"));
        }
        place = head.end;
    }
    if restarts.next().is_some() || place.value != parts.heads_at {
        return Err(parts.damage(place, "restarts that are entries, and values without gaps"));
    }
    Ok(())
}

/// What a search of one block found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The newest version at or below the wanted number; the value is at this range of the block.
    Here(SeqNo, Kind, Range<usize>),
    /// The block has an entry above the key and none of it.
    Absent,
    /// All entries of the block are before the wanted place.
    Beyond,
}

/// The newest version of `key` at or below `at`. Rebuilds no key.
pub(super) fn search(payload: &[u8], key: &[u8], at: SeqNo) -> Result<Found, Damage> {
    let parts = Parts::of(payload)?;
    let heads = parts.heads;
    let mut place = parts.restart_before(key, at)?;
    // How many bytes of `key` the entry before had; it is below `key`, or a newer version of it.
    let mut matched = 0;
    let mut is_first = true;
    while place.head < heads.len() {
        let head = parts.head(place)?;
        if is_first && head.shared != 0 {
            return Err(parts.damage(place, "a restart that shares nothing"));
        }
        is_first = false;
        // A restart shares nothing, whatever it has in common with the entry before.
        matched = if head.shared == 0 { 0 } else { matched };
        match head.shared.cmp(&matched) {
            // It shares the byte that made the one before smaller.
            Ordering::Greater => {}
            // It left what the one before had in common with `key`, and it is above that one.
            Ordering::Less => return Ok(Found::Absent),
            Ordering::Equal => {
                let (suffix, wanted) = (head.suffix(heads), key.get(matched..).unwrap_or_default());
                if suffix == wanted {
                    if SeqNo(head.tag >> 8) <= at {
                        let (seq, kind) = known_kind(head.tag, parts.heads_at + place.head)?;
                        return Ok(Found::Here(seq, kind, place.value..head.end.value));
                    }
                    matched = key.len();
                } else {
                    if suffix > wanted {
                        return Ok(Found::Absent);
                    }
                    matched += shared_len(suffix, wanted);
                }
            }
        }
        place = head.end;
    }
    Ok(Found::Beyond)
}

#[inline]
fn known_kind(tag: u64, at: usize) -> Result<(SeqNo, Kind), Damage> {
    unpack_tag(tag).ok_or_else(|| Damage::new(at, "an entry of a known kind"))
}

/// One entry before a [`Walk`] that goes backwards.
#[derive(Clone, Copy, Debug)]
struct Behind {
    at: Place,
    head: Head,
    key_from: usize,
    key_to: usize,
}

/// A place in a block, and the rebuilt key there. The block's bytes are handed to every call; they
/// must be those it was loaded with.
#[derive(Debug, Default)]
pub(super) struct Walk {
    key: Vec<u8>,
    seq: SeqNo,
    kind: Option<Kind>,
    /// Where the entry it is on lies, and the one after it.
    at: Place,
    next: Place,
    heads: Range<usize>,
    behind: Vec<Behind>,
    behind_keys: Vec<u8>,
}

impl Walk {
    /// Before the first entry of a block.
    pub(super) fn load(&mut self, payload: &[u8]) -> Result<(), Damage> {
        let parts = self.begin(payload)?;
        self.go(parts.restart(0));
        Ok(())
    }

    #[inline]
    fn begin<'a>(&mut self, payload: &'a [u8]) -> Result<Parts<'a>, Damage> {
        let parts = Parts::of(payload)?;
        self.heads = parts.heads_at..parts.heads_at + parts.heads.len();
        Ok(parts)
    }

    /// Before the entry at `place`, which must be a restart or the end.
    fn go(&mut self, place: Place) {
        self.key.clear();
        self.at = place;
        self.next = place;
        self.behind.clear();
    }

    /// To the next entry; false, past the last one, if there is none.
    #[inline]
    pub(super) fn next(&mut self, payload: &[u8]) -> Result<bool, Damage> {
        self.behind.clear();
        self.at = self.next;
        let heads = payload.get(self.heads.clone()).unwrap_or_default();
        if self.at.head >= heads.len() {
            return Ok(false);
        }
        let head = Head::split(heads, self.at, self.heads.start);
        let head = head.ok_or_else(|| self.damage("an entry inside its block"))?;
        let suffix = head.suffix(heads);
        if head.shared > self.key.len() || head.shared + suffix.len() > FULL_KEY_BYTES_MAX {
            return Err(self.damage("a key that the one before begins"));
        }
        self.key.truncate(head.shared);
        self.key.extend_from_slice(suffix);
        self.next = head.end;
        self.set_tag(head.tag)?;
        Ok(true)
    }

    #[inline]
    fn set_tag(&mut self, tag: u64) -> Result<(), Damage> {
        let (seq, kind) = known_kind(tag, self.heads.start + self.at.head)?;
        self.seq = seq;
        self.kind = Some(kind);
        Ok(())
    }

    #[cold]
    fn damage(&self, want: &'static str) -> Damage {
        Damage::new(self.heads.start.saturating_add(self.at.head), want)
    }

    /// To the first entry at or after (`key`, `seq`); false, past the last one, if there is none.
    pub(super) fn seek(&mut self, payload: &[u8], key: &[u8], seq: SeqNo) -> Result<bool, Damage> {
        let parts = self.begin(payload)?;
        self.go(parts.restart_before(key, seq)?);
        while self.next(payload)? {
            if self.key.as_slice().cmp(key).then(seq.cmp(&self.seq)) != Ordering::Less {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// To the last entry.
    pub(super) fn last(&mut self, payload: &[u8]) -> Result<bool, Damage> {
        let parts = self.begin(payload)?;
        self.go(Place { head: parts.heads.len(), value: parts.heads_at });
        self.prev(payload)
    }

    /// To the entry before; false if there is none. A walk past the last entry goes to it.
    pub(super) fn prev(&mut self, payload: &[u8]) -> Result<bool, Damage> {
        if self.behind.is_empty() {
            self.look_behind(payload)?;
        }
        let Some(Behind { at, head, key_from, key_to }) = self.behind.pop() else {
            return Ok(false);
        };
        self.key.clear();
        self.key.extend_from_slice(self.behind_keys.get(key_from..key_to).unwrap_or_default());
        self.at = at;
        self.next = head.end;
        self.set_tag(head.tag)?;
        Ok(true)
    }

    /// Decodes the entries from the last restart before here up to here.
    fn look_behind(&mut self, payload: &[u8]) -> Result<(), Damage> {
        let parts = Parts::of(payload)?;
        let limit = u32::try_from(self.at.head).unwrap_or(u32::MAX);
        let before = parts.restarts.partition_point(|restart| {
            restart.first_chunk().is_some_and(|head| u32::from_le_bytes(*head) < limit)
        });
        let Some(last) = before.checked_sub(1) else { return Ok(()) };
        self.behind_keys.clear();
        let (mut place, mut key_from, mut key_to) = (parts.restart(last), 0, 0);
        while place.head < self.at.head {
            let head = parts.head(place)?;
            let suffix = head.suffix(parts.heads);
            let too_many = self.behind.len() == RESTART_INTERVAL_MAX;
            let shares = head.shared <= key_to - key_from;
            if !shares || head.shared + suffix.len() > FULL_KEY_BYTES_MAX || too_many {
                return Err(parts.damage(place, "a key that the one before begins"));
            }
            let copied_from = key_from;
            key_from = key_to;
            self.behind_keys.extend_from_within(copied_from..copied_from + head.shared);
            self.behind_keys.extend_from_slice(suffix);
            key_to = self.behind_keys.len();
            self.behind.push(Behind { at: place, head, key_from, key_to });
            place = head.end;
        }
        if place != self.at {
            return Err(parts.damage(place, "restarts that are entries"));
        }
        Ok(())
    }

    /// The entry it is on.
    #[inline]
    pub(super) fn entry<'a>(&'a self, payload: &'a [u8]) -> Option<Entry<'a>> {
        let value = payload.get(self.value_range())?;
        Some(Entry { key: &self.key, seq: self.seq, kind: self.kind?, value })
    }

    /// Where the value of the entry it is on lies in the block.
    #[inline]
    pub(super) fn value_range(&self) -> Range<usize> {
        self.at.value..self.next.value
    }
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "test data, not bytes from disk")]
mod tests;
