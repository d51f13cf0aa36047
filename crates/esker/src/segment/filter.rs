//! The filter: a blocked Bloom filter over the full keys of a segment, and perhaps their prefixes.
//!
//! ```text
//! filter | piece ×F |          all but the last of 4096 bytes
//! piece  | line: 64 bytes ×1..=63 | zero ×59 | trailer of a piece: 5 bytes |
//! ```
//!
//! A key sets `probes` bits of one line: the high half of its hash chooses the line, nine bits at a
//! time of a mixed hash the bits.
//!
//! 1. What a segment holds passes its filter: a reader that is refused reads nothing more (law 8).
//! 2. One probe touches one cache line of one page, and no other piece need be whole.
//! 3. Sized by the number of keys; several versions of a key count once (HEST-8).
//! 4. Every piece has a checksum: a damaged one is damage, never "absent" (F-40).
//!
//! After Putze, Sanders, Singler: “Cache-, Hash- and Space-Efficient Bloom Filters”.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::format::{LINE_BYTES, PAGE_BYTES, TRAILER_BYTES, seal_raw, to_u64, to_usize};
use crate::base::id::FileId;

/// Lines of a full piece; the line behind them is the trailer and zeros before it.
const LINES_PER_PIECE: u64 = 63;
const LINE_BITS: u64 = 512;
/// Bits of a hash that choose a bit of a line.
const PROBE_BITS: u32 = 9;
/// Probes until the hash is mixed anew.
const PROBES_PER_MIX: u32 = 7;
/// More would cost time and gain nothing.
pub(super) const PROBES_MAX: u32 = 14;
const _: () = assert!(LINE_BITS == 1 << PROBE_BITS);

/// Bits of the filter for each key of a run on `level`, 0 being the youngest; `is_last` says that no
/// run lies below it.
///
/// An absent key is asked for in every run, so what counts is the sum of what all filters let pass;
/// a bit a key costs most where the most keys are. So the filters of young, small levels are nearly
/// exact, and the one of the last level, which has nine tenths of the keys, is small (Monkey: let
/// pass in proportion to size).
///
/// | level | bits | let pass |
/// |--:|--:|--:|
/// | 0 | 18 | 1 in 2500 |
/// | 1 | 16 | 1 in 1200 |
/// | 2, and all deeper but the last | 14 | 1 in 550 |
/// | the last | 9 | 1 in 65 |
///
/// Twelve young runs and three levels that grow tenfold: 9.6 bits a key in the mean, and 23 reads in
/// vain for 1000 absent keys; with 10 bits everywhere there are 140.
///
/// After Dayan, Athanassoulis, Idreos: “Monkey: Optimal Navigable Key-Value Store”.
pub fn filter_bits(level: u32, is_last: bool) -> u32 {
    match (is_last, level) {
        (true, _) => 9,
        (false, 0) => 18,
        (false, 1) => 16,
        (false, _) => 14,
    }
}

/// The shape of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// How many lines; 0 if there is no filter.
    pub(super) lines: u64,
    /// How many bits a key sets.
    pub(super) probes: u32,
}

/// Where the line of a hash lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which piece.
    pub(super) piece: u64,
    /// Where the piece begins in the filter.
    pub(super) piece_at: u64,
    /// Its bytes, trailer included.
    pub(super) piece_len: u64,
    /// Where the line begins in the piece.
    pub(super) line_at: usize,
}

impl Shape {
    /// The shape for `keys` keys at `bits_per_key`.
    pub(super) fn new(keys: u64, bits_per_key: u32) -> Self {
        if keys == 0 || bits_per_key == 0 {
            return Self::default();
        }
        let lines = keys.saturating_mul(u64::from(bits_per_key)).div_ceil(LINE_BITS);
        // ln 2 · bits is best for one large filter; a little less for lines that fill unevenly.
        let probes = (bits_per_key * 64 / 100).clamp(1, PROBES_MAX);
        Self { lines: lines.min(u64::from(u32::MAX)), probes }
    }

    /// How many pieces.
    pub(super) fn pieces(&self) -> u64 {
        self.lines.div_ceil(LINES_PER_PIECE)
    }

    /// Bytes of the whole filter.
    pub(super) fn byte_count(&self) -> u64 {
        self.lines.saturating_add(self.pieces()).saturating_mul(to_u64(LINE_BYTES))
    }

    /// Where piece `piece` lies; its line is the first.
    pub(super) fn piece(&self, piece: u64) -> Place {
        let first = piece.saturating_mul(LINES_PER_PIECE);
        let lines = self.lines.saturating_sub(first).min(LINES_PER_PIECE);
        let piece_at = piece.saturating_mul(to_u64(PAGE_BYTES));
        Place { piece, piece_at, piece_len: (lines + 1) * to_u64(LINE_BYTES), line_at: 0 }
    }

    /// Where the line of `hash` lies. There must be a filter.
    #[inline]
    pub(super) fn place(&self, hash: u64) -> Place {
        let line = (hash >> 32).saturating_mul(self.lines) >> 32;
        let place = self.piece(line / LINES_PER_PIECE);
        Place { line_at: to_usize(line % LINES_PER_PIECE) * LINE_BYTES, ..place }
    }

    /// The bits that `hash` sets in its line.
    #[inline]
    fn bits(&self, hash: u64) -> impl Iterator<Item = (usize, u8)> {
        let mut mixed = 0;
        (0..self.probes).map(move |probe| {
            if probe % PROBES_PER_MIX == 0 {
                mixed = mix(hash, probe);
            }
            let bit = mixed >> (64 - PROBE_BITS);
            mixed <<= PROBE_BITS;
            (to_usize(bit >> 3), 1 << (bit & 7))
        })
    }

    /// Whether a key with `hash` may be among those whose line this is.
    #[inline]
    pub(super) fn may_contain(&self, line: &[u8; LINE_BYTES], hash: u64) -> bool {
        self.bits(hash).all(|(byte, bit)| line.get(byte).is_some_and(|bits| bits & bit != 0))
    }

    /// Appends the pieces of a filter over `hashes`; the filter begins at `at` in `file`.
    pub(super) fn build(&self, hashes: &[u64], out: &mut Vec<u8>, file: FileId, at: u64) {
        let mut lines = vec![[0; LINE_BYTES]; to_usize(self.lines)];
        for &hash in hashes {
            let line = to_usize((hash >> 32).saturating_mul(self.lines) >> 32);
            if let Some(line) = lines.get_mut(line) {
                for (byte, bit) in self.bits(hash) {
                    if let Some(bits) = line.get_mut(byte) {
                        *bits |= bit;
                    }
                }
            }
        }
        for (piece, lines) in (0..).zip(lines.chunks(to_usize(LINES_PER_PIECE))) {
            let mut payload = lines.as_flattened().to_vec();
            payload.resize(payload.len() + LINE_BYTES - TRAILER_BYTES, 0);
            seal_raw(out, &payload, file, at + self.piece(piece).piece_at);
        }
    }
}

/// Spreads a hash over 64 bits, differently for each round of probes.
#[inline]
fn mix(hash: u64, round: u32) -> u64 {
    let word = (hash ^ hash >> 29).wrapping_add(u64::from(round));
    let word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (word ^ word >> 32).wrapping_mul(0x94d0_49bb_1331_11eb)
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "test data, not bytes from disk")]
mod tests {
    use super::super::format::Sealed;
    use super::*;

    const FILE: FileId = FileId(3);

    fn hash(i: u64) -> u64 {
        crate::base::key::hash_full_key(&i.to_be_bytes())
    }

    fn line(filter: &[u8], place: Place) -> [u8; LINE_BYTES] {
        let at = to_usize(place.piece_at) + place.line_at;
        filter[at..at + LINE_BYTES].try_into().unwrap()
    }

    /// What a blocked Bloom filter of uniform hashes lets through: lines fill by Poisson's law.
    fn theory(keys: u64, shape: Shape) -> f64 {
        let load = keys as f64 / shape.lines as f64;
        let mut chance = (-load).exp();
        let mut rate = 0.0;
        for in_line in 0..1000 {
            let set = 1.0 - (1.0 - 1.0 / 512.0f64).powi(in_line * shape.probes as i32);
            rate += chance * set.powi(shape.probes as i32);
            chance *= load / f64::from(in_line + 1);
        }
        rate
    }

    /// HEST-8: no false negatives; false positives within 1.2 of theory from 10³ to 10⁶ keys.
    #[test]
    fn the_false_positive_rate_is_that_of_theory_at_every_size() {
        for (keys, bits) in
            [(1_000, 10), (10_000, 10), (100_000, 10), (100_000, 16), (1_000_000, 10)]
        {
            let shape = Shape::new(keys, bits);
            let hashes: Vec<u64> = (0..keys).map(hash).collect();
            let mut filter = Vec::new();
            shape.build(&hashes, &mut filter, FILE, 0);
            assert_eq!(to_u64(filter.len()), shape.byte_count());
            let passes = |hash| shape.may_contain(&line(&filter, shape.place(hash)), hash);
            assert!(hashes.iter().all(|&hash| passes(hash)));
            let probes = 1_000_000;
            let hits = (keys..keys + probes).filter(|&i| passes(hash(i))).count();
            let (rate, theory) = (hits as f64 / probes as f64, theory(keys, shape));
            println!("{keys} keys, {bits} bits: {rate:.5}, theory {theory:.5}");
            assert!(rate < theory * 1.2, "{keys} keys, {bits} bits: {rate}, theory {theory}");
        }
    }

    /// The table of [`filter_bits`], and its sum for a tree of the usual shape.
    #[test]
    fn filters_sized_by_level_let_less_pass_and_take_less_room_than_even_ones() {
        let rate = |bits| theory(1_000_000, Shape::new(1_000_000, bits));
        for (level, is_last, one_in) in
            [(0, false, 2500), (1, false, 1200), (2, false, 550), (5, false, 550), (5, true, 65)]
        {
            let found = 1.0 / rate(filter_bits(level, is_last));
            assert!((found / f64::from(one_in) - 1.0).abs() < 0.06, "level {level}: 1 in {found}");
        }
        // Keys a level, runs on it.
        let tree = [(0, 12.0, 12.0), (1, 10.0, 1.0), (2, 100.0, 1.0), (3, 1000.0, 1.0)];
        let (mut vain, mut even, mut bits, mut keys) = (0.0, 0.0, 0.0, 0.0);
        for (level, level_keys, runs) in tree {
            let level_bits = filter_bits(level, level == 3);
            vain += runs * rate(level_bits);
            even += runs * rate(10);
            bits += level_keys * f64::from(level_bits);
            keys += level_keys;
        }
        println!("{vain} in vain, evenly {even}; {} bits a key", bits / keys);
        assert!(vain < even / 6.0 && bits / keys < 9.8);
    }

    #[test]
    fn every_line_lies_in_a_piece_with_a_valid_checksum() {
        for keys in [1, 50, 3_225, 3_226, 9_000] {
            let shape = Shape::new(keys, 10);
            let mut filter = Vec::new();
            shape.build(&[], &mut filter, FILE, 8192);
            let mut end = 0;
            for piece in 0..shape.pieces() {
                let Place { piece_at, piece_len, .. } = shape.piece(piece);
                assert_eq!(piece_at, end);
                end = piece_at + piece_len;
                let bytes = &filter[to_usize(piece_at)..to_usize(end)];
                Sealed::verify(bytes, FILE, 8192 + piece_at).unwrap();
            }
            assert_eq!(end, to_u64(filter.len()));
            for hash in (0..1000).map(hash).chain([0, u64::MAX]) {
                let place = shape.place(hash);
                let line_end = to_u64(place.line_at + 2 * LINE_BYTES);
                assert!(place.piece < shape.pieces() && line_end <= place.piece_len);
            }
        }
    }

    #[test]
    fn no_keys_or_no_bits_make_no_filter() {
        assert_eq!(Shape::new(0, 10).byte_count(), 0);
        assert_eq!(Shape::new(10, 0).byte_count(), 0);
    }
}
