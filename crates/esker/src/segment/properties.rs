//! What a segment says about itself: counts, borders, sums.
//!
//! ```text
//! properties | field ×n |              tags ascend strictly
//! field      | tag: varint | length: varint | value |      a number is a varint, minimal
//! ```
//!
//! 1. An unknown tag below [`TAG_REQUIRED`] is skipped: it may be ignored by readers that do not
//!    know it. One at or above it makes the file `Unsupported`.
//! 2. A number that cannot be true of a file this long is damage (F-39).
//! 3. Tag 19 is written only where the filter holds prefixes: without them a file has the bytes it
//!    always had.
//! 4. Tags 128 to 132 are written only where entries expire: who cannot tell must not read them.
//!
//! Tag kept for later: 18 bytes per blob file.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::expiries::Expiries;
use super::filter::{PROBES_MAX, Shape};
use super::format::{Damage, Layout, TRAILER_BYTES, to_u64};
use crate::base::coding::{Decoder, put_varint};
use crate::base::id::{FileId, SeqNo};
use crate::base::key::Kind;
use crate::base::setsum::Setsum;

/// Tags from here on must be understood.
const TAG_REQUIRED: u64 = 128;

/// What the manifest keeps of a segment, and the tree needs to choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMeta {
    /// The number in its name.
    pub id: FileId,
    /// Its length.
    pub bytes: u64,
    /// How many entries it has, of all kinds.
    pub entries: u64,
    /// How many of them are tombstones of one key.
    pub deletes: u64,
    /// How many of them are deletes of a range. Their ends may lie above `largest`.
    pub range_deletes: u64,
    /// Bytes, as stored, of the values that lie out of line.
    pub blob_bytes: u64,
    /// When its entries expire.
    pub expiries: Expiries,
    /// The full key of the first entry.
    pub smallest: Box<[u8]>,
    /// The full key of the last entry.
    pub largest: Box<[u8]>,
    /// The lowest number of an entry.
    pub seq_min: SeqNo,
    /// The highest number of an entry.
    pub seq_max: SeqNo,
    /// The sum of all entries.
    pub setsum: Setsum,
}

/// All that a file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// Entries by kind: put, delete, merge, range delete, put out of line, put that expires.
    pub(super) kinds: [u64; 6],
    /// Bytes, as stored, of the values that lie out of line.
    pub(super) blob_bytes: u64,
    /// When entries expire.
    pub(super) expiries: Expiries,
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
    pub(super) seq_min: SeqNo,
    pub(super) seq_max: SeqNo,
    pub(super) setsum: Setsum,
    /// Distinct keys.
    pub(super) keys: u64,
    pub(super) data_blocks: u64,
    pub(super) partitions: u64,
    pub(super) filter: Shape,
    /// Bytes of the data blocks before compression, without trailers.
    pub(super) raw_bytes: u64,
    pub(super) restart_interval: u64,
    pub(super) block_bytes: u64,
    /// How many first bytes of user keys are in the filter too; 0 if none are.
    pub(super) prefix_filter: u64,
}

/// Where [`Properties::kinds`] counts a kind.
pub(super) fn kind_place(kind: Kind) -> usize {
    match kind {
        Kind::Put => 0,
        Kind::Delete => 1,
        Kind::Merge => 2,
        Kind::RangeDelete => 3,
        Kind::Blob => 4,
        Kind::Expiring => 5,
    }
}

/// Why properties cannot be used.
#[derive(Debug)]
pub(super) enum Refusal {
    /// They are not what a writer writes.
    Damaged(Damage),
    /// They have a field that must be understood and is not.
    Unknown(u64),
}

impl Properties {
    /// How many entries, of all kinds.
    pub(super) fn entries(&self) -> u64 {
        self.kinds.iter().fold(0, |sum: u64, count| sum.saturating_add(*count))
    }

    pub(super) fn meta(&self, id: FileId, bytes: u64) -> SegmentMeta {
        let [_, deletes, _, range_deletes, ..] = self.kinds;
        SegmentMeta {
            id,
            bytes,
            entries: self.entries(),
            deletes,
            range_deletes,
            blob_bytes: self.blob_bytes,
            expiries: self.expiries,
            smallest: self.smallest.clone().into(),
            largest: self.largest.clone().into(),
            seq_min: self.seq_min,
            seq_max: self.seq_max,
            setsum: self.setsum,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = |tag, value: &[u8]| {
            put_varint(&mut out, tag);
            put_varint(&mut out, to_u64(value.len()));
            out.extend_from_slice(value);
        };
        let [in_line @ .., blobs, expiring] = self.kinds;
        for (tag, count) in (1..).zip(in_line) {
            bytes(tag, &number(count));
        }
        bytes(5, &self.smallest);
        bytes(6, &self.largest);
        bytes(7, &number(self.seq_min.0));
        bytes(8, &number(self.seq_max.0));
        bytes(9, &self.setsum.0.to_le_bytes());
        let numbers = [
            self.keys,
            self.data_blocks,
            self.partitions,
            self.filter.lines,
            u64::from(self.filter.probes),
            self.raw_bytes,
            self.restart_interval,
            self.block_bytes,
        ];
        for (tag, value) in (10..).zip(numbers) {
            bytes(tag, &number(value));
        }
        if self.prefix_filter > 0 {
            bytes(19, &number(self.prefix_filter));
        }
        if blobs > 0 {
            bytes(20, &number(blobs));
            bytes(21, &number(self.blob_bytes));
        }
        let Expiries { count, first, half, last } = self.expiries;
        if count > 0 {
            for (tag, value) in (128..).zip([expiring, count, first.0, half.0, last.0]) {
                bytes(tag, &number(value));
            }
        }
        out
    }

    /// Reads the properties of a file with these regions.
    pub(super) fn decode(payload: &[u8], layout: &Layout) -> Result<Self, Refusal> {
        let mut input = Decoder::new(payload);
        let mut properties = Self::default();
        let mut seen = 0;
        while !input.is_empty() {
            let at = payload.len() - input.rest().len();
            let damaged = || Refusal::Damaged(Damage::new(at, "fields with ascending tags"));
            let tag = input.varint().ok_or_else(damaged)?;
            let value = input.length_prefixed().ok_or_else(damaged)?;
            if tag <= seen {
                return Err(damaged());
            }
            seen = tag;
            if !properties.take(tag, value).ok_or_else(damaged)? && tag >= TAG_REQUIRED {
                return Err(Refusal::Unknown(tag));
            }
        }
        if !properties.fit(layout) {
            return Err(Refusal::Damaged(Damage::new(0, "counts that fit the file")));
        }
        Ok(properties)
    }

    /// Takes one field; whether it is known, or none if its value is malformed.
    fn take(&mut self, tag: u64, value: &[u8]) -> Option<bool> {
        let [puts, deletes, merges, range_deletes, blobs, expiring] = &mut self.kinds;
        let place = match tag {
            1 => puts,
            2 => deletes,
            3 => merges,
            4 => range_deletes,
            5 => {
                return Some({
                    self.smallest = value.to_vec();
                    true
                });
            }
            6 => {
                return Some({
                    self.largest = value.to_vec();
                    true
                });
            }
            7 => &mut self.seq_min.0,
            8 => &mut self.seq_max.0,
            9 => {
                self.setsum = Setsum(u128::from_le_bytes(value.try_into().ok()?));
                return Some(true);
            }
            10 => &mut self.keys,
            11 => &mut self.data_blocks,
            12 => &mut self.partitions,
            13 => &mut self.filter.lines,
            14 => {
                self.filter.probes = u32::try_from(parse_number(value)?).ok()?;
                return Some(true);
            }
            15 => &mut self.raw_bytes,
            16 => &mut self.restart_interval,
            17 => &mut self.block_bytes,
            19 => &mut self.prefix_filter,
            20 => blobs,
            21 => &mut self.blob_bytes,
            128 => expiring,
            129 => &mut self.expiries.count,
            130 => &mut self.expiries.first.0,
            131 => &mut self.expiries.half.0,
            132 => &mut self.expiries.last.0,
            _ => return Some(false),
        };
        *place = parse_number(value)?;
        Some(true)
    }

    /// Whether the counts can be true of a file with these regions.
    fn fit(&self, layout: &Layout) -> bool {
        let least = to_u64(TRAILER_BYTES);
        self.data_blocks <= layout.data / least
            && self.partitions <= layout.partitions / least
            && (self.data_blocks == 0) == (layout.data == 0)
            && self.filter.byte_count() == layout.filter
            && self.filter.lines <= u64::from(u32::MAX)
            && self.filter.probes <= PROBES_MAX
    }
}

fn number(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out
}

fn parse_number(value: &[u8]) -> Option<u64> {
    let mut input = Decoder::new(value);
    let number = input.minimal_varint()?;
    input.is_empty().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Time;

    fn sample() -> (Properties, Layout) {
        let filter = Shape { lines: 10, probes: 6 };
        let properties = Properties {
            kinds: [100, 20, 3, 1, 7, 0],
            expiries: Expiries::default(),
            blob_bytes: 70_000,
            smallest: b"a".to_vec(),
            largest: vec![b'z'; 300],
            seq_min: SeqNo(5),
            seq_max: SeqNo::MAX,
            setsum: Setsum(u128::MAX - 1),
            keys: 90,
            data_blocks: 3,
            partitions: 1,
            filter,
            raw_bytes: 9000,
            restart_interval: 16,
            block_bytes: 4096,
            prefix_filter: 0,
        };
        let layout =
            Layout { data: 9000, filter: filter.byte_count(), partitions: 90, ..Layout::default() };
        (properties, layout)
    }

    #[test]
    fn properties_round_trip() {
        let (properties, layout) = sample();
        assert_eq!(Properties::decode(&properties.encode(), &layout).unwrap(), properties);
        let meta = properties.meta(FileId(4), 12);
        assert_eq!((meta.entries, meta.deletes, meta.range_deletes), (131, 20, 1));
        let with_prefixes = Properties { prefix_filter: 300, ..properties };
        let bytes = with_prefixes.encode();
        assert_eq!(Properties::decode(&bytes, &layout).unwrap(), with_prefixes);
        let [first, half, last] = [5, 1 << 40, u64::MAX].map(Time);
        let expiries = Expiries { count: 17, first, half, last };
        let timed = Properties { kinds: [100, 20, 3, 1, 7, 10], expiries, ..with_prefixes };
        assert_eq!(Properties::decode(&timed.encode(), &layout).unwrap(), timed);
    }

    /// F-38: what an older reader may ignore it skips; what it must understand it refuses.
    #[test]
    fn unknown_fields_are_skipped_unless_they_are_required() {
        let (properties, layout) = sample();
        for (tag, is_required) in [(22, false), (127, false), (133, true), (1 << 40, true)] {
            let mut bytes = properties.encode();
            put_varint(&mut bytes, tag);
            bytes.extend([2, 9, 9]);
            match Properties::decode(&bytes, &layout) {
                Ok(found) => assert!(!is_required && found == properties),
                Err(Refusal::Unknown(found)) => assert!(is_required && found == tag),
                Err(Refusal::Damaged(damage)) => panic!("{damage:?}"),
            }
        }
    }

    /// F-39: counts are held against the file before anything is allocated for them.
    #[test]
    fn counts_that_the_file_cannot_hold_are_damage() {
        let (good, layout) = sample();
        for n in [0, 1801, u64::MAX] {
            let bad = Properties { data_blocks: n, ..good.clone() };
            assert!(Properties::decode(&bad.encode(), &layout).is_err());
            let bad = Properties { filter: Shape { lines: n, probes: 6 }, ..good.clone() };
            assert!(Properties::decode(&bad.encode(), &layout).is_err());
        }
        let bytes = good.encode();
        for cut in 0..bytes.len() {
            let _ = Properties::decode(&bytes[..cut], &layout);
        }
        let twice = [&bytes[..], &bytes[..]].concat();
        assert!(Properties::decode(&twice, &layout).is_err());
    }
}
