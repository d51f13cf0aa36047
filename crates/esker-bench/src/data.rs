//! The keys and values of every workload, made from a counter: nothing is stored, all is checkable.
//! And the choice of counters, made on the way.
//!
//! key    | first half: u64 | second half: u64 |     big-endian; one half is the counter, one mixed
//! value  | tag: u64 | random bytes … to the middle | one byte, repeated … to the end |
//!
//! 1. A key is a bijection of its counter: no key is written twice by accident.
//! 2. Scattered keys put the mixed half first, so neighbours in time are far apart in the database.
//! 3. The tag is a function of the key alone: any pair, of any version, can be verified.
//! 4. A key for an absent counter sorts among the present ones, so a filter or a search must work.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::sync::Arc;

/// Bytes of every key.
pub(crate) const KEY_BYTES: usize = 16;
/// The smallest value: a tag and a byte of each kind.
pub(crate) const VALUE_BYTES_MIN: usize = 16;
/// Bytes of randomness that values are cut from: too many for a block to hold a repetition.
const POOL_BYTES: usize = 1 << 20;
/// The skew of the skewed workloads, as YCSB has it.
const ZIPF_EXPONENT: f64 = 0.99;
/// Its curve is kept in 2 to this power pieces: 32 KiB.
const ZIPF_PIECES_BITS: u32 = 12;
/// Added to a counter to name a key that nobody wrote.
const ABSENT: u64 = 1 << 48;

/// A key.
pub(crate) type Key = [u8; KEY_BYTES];

/// How keys follow one another in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// In the order of the database.
    Sequential,
    /// All over the database.
    Scattered,
}

/// The key of a counter.
pub(crate) fn key(shape: Shape, index: u64) -> Key {
    let (first, second) = match shape {
        Shape::Sequential => (index, mix(index)),
        Shape::Scattered => (mix(index), index),
    };
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&second.to_be_bytes());
    key
}

/// A key that was never written, which sorts among those that were.
pub(crate) fn absent_key(shape: Shape, index: u64) -> Key {
    match shape {
        Shape::Scattered => key(shape, index + ABSENT),
        Shape::Sequential => {
            let mut key = key(shape, index);
            key[KEY_BYTES - 1] ^= 1;
            key
        }
    }
}

/// Mixes all bits of a counter, without two counters meeting (the finisher of splitmix64).
const fn mix(index: u64) -> u64 {
    let mut x = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The tag that every value of `key` begins with.
fn tag(key: &[u8]) -> Option<[u8; 8]> {
    let first = u64::from_be_bytes(key.get(..8)?.try_into().ok()?);
    let second = u64::from_be_bytes(key.get(8..16)?.try_into().ok()?);
    Some((first ^ second.rotate_left(32)).to_le_bytes())
}

/// Makes values. A copy shares the random bytes and has its own buffer.
#[derive(Clone)]
pub(crate) struct Values {
    pool: Arc<[u8]>,
    buffer: Vec<u8>,
}

impl Values {
    /// A maker of values of `value_bytes`, at least [`VALUE_BYTES_MIN`].
    pub(crate) fn new(value_bytes: usize, seed: u64) -> Self {
        assert!(value_bytes >= VALUE_BYTES_MIN, "a value holds a tag and both kinds of bytes");
        let mut pool = vec![0; POOL_BYTES + value_bytes];
        SmallRng::seed_from_u64(seed).fill(&mut pool[..]);
        Self { pool: pool.into(), buffer: vec![0; value_bytes] }
    }

    /// The value of `key` in one of its versions; it is overwritten by the next call.
    pub(crate) fn make(&mut self, key: &Key, version: u64) -> &[u8] {
        let middle = self.buffer.len() / 2;
        let at = mix(version ^ 0x5eed) as usize % POOL_BYTES;
        let random = middle - 8;
        self.buffer[..8].copy_from_slice(&tag(key).expect("a whole key"));
        self.buffer[8..middle].copy_from_slice(&self.pool[at..at + random]);
        self.buffer[middle..].fill(version as u8);
        &self.buffer
    }

    /// Bytes of each value.
    pub(crate) fn value_bytes(&self) -> usize {
        self.buffer.len()
    }
}

/// Reads a byte of every cache line of `value`, and says whether it is a value of `key`.
pub(crate) fn is_value_of(key: &[u8], value: &[u8], value_bytes: usize) -> bool {
    let touched = value.iter().step_by(64).fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    black_box(touched);
    value.len() == value_bytes && tag(key).is_some_and(|tag| value.starts_with(&tag))
}

/// An endless choice of counters below a limit. It costs 10 ns or so each and no memory: a list of
/// them would, in a long run, outweigh what the engine owns.
#[derive(Clone)]
pub(crate) struct Picks {
    random: SmallRng,
    seed: u64,
    limit: u64,
    skew: Option<Arc<[f64]>>,
}

impl Picks {
    /// Each counter below `limit` as likely as any other.
    pub(crate) fn uniform(limit: u64, seed: u64) -> Self {
        assert!(limit > 0, "there is something to choose from");
        Self { random: SmallRng::seed_from_u64(seed), seed, limit, skew: None }
    }

    /// A few counters below `limit` far more often than the rest.
    ///
    /// The favourites are spread over the counters, so they are neither the oldest nor the newest.
    pub(crate) fn skewed(limit: u64, seed: u64) -> Self {
        Self { skew: Some(zipf_ranks(limit)), ..Self::uniform(limit, seed) }
    }

    /// The same choice made anew, for thread `number`.
    pub(crate) fn of_thread(&self, number: usize) -> Self {
        let random = SmallRng::seed_from_u64(mix(self.seed ^ (number as u64) << 32));
        Self { random, ..self.clone() }
    }
}

impl Iterator for Picks {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let Some(ranks) = &self.skew else {
            return Some(self.random.random_range(0..self.limit));
        };
        let share: u64 = self.random.random();
        let piece = (share >> (64 - ZIPF_PIECES_BITS)) as usize;
        let within = (share << ZIPF_PIECES_BITS) as f64 / 2f64.powi(64);
        let rank = (ranks[piece] + (ranks[piece + 1] - ranks[piece]) * within) as u64;
        Some(((u128::from(mix(rank)) * u128::from(self.limit)) >> 64) as u64)
    }
}

/// The Zipf rank, from 0, below which each 4,096th share of all choices falls.
///
/// Between two shares the curve is taken for a line. To sample it exactly costs three powers of real
/// numbers a choice, more than some engines take for a write.
fn zipf_ranks(limit: u64) -> Arc<[f64]> {
    let rest = 1.0 - ZIPF_EXPONENT;
    let total = ((limit as f64).powf(rest) - ZIPF_EXPONENT) / rest;
    let rank = |piece: usize| {
        let share = total * piece as f64 / (1 << ZIPF_PIECES_BITS) as f64;
        let rank =
            if share <= 1.0 { share } else { (share * rest + ZIPF_EXPONENT).powf(1.0 / rest) };
        rank.min(limit as f64)
    };
    (0..=1 << ZIPF_PIECES_BITS).map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_its_key_in_every_version_and_to_no_other() {
        let mut values = Values::new(200, 1);
        let (ours, other) = (key(Shape::Scattered, 7), key(Shape::Scattered, 8));
        for version in 0..100 {
            let value = values.make(&ours, version).to_vec();
            assert!(is_value_of(&ours, &value, 200));
            assert!(!is_value_of(&other, &value, 200));
            assert!(!is_value_of(&ours, &value[..199], 200));
        }
    }

    #[test]
    fn skewed_counters_stay_below_the_limit_and_have_favourites() {
        let mut counts = vec![0_u32; 1000];
        Picks::skewed(1000, 3).take(10_000).for_each(|pick| counts[pick as usize] += 1);
        assert!(counts.iter().max().is_some_and(|most| *most > 500));
    }

    #[test]
    fn the_favourites_come_about_as_often_as_zipf_says() {
        let (limit, picks) = (100_000_u64, 1_000_000);
        let total: f64 = (1..=limit).map(|rank| (rank as f64).powf(-ZIPF_EXPONENT)).sum();
        let mut counts = vec![0_u32; limit as usize];
        Picks::skewed(limit, 4).take(picks).for_each(|pick| counts[pick as usize] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        for rank in [1, 10, 100, 1000] {
            let want: f64 = (1..=rank).map(|rank| f64::from(rank).powf(-ZIPF_EXPONENT)).sum();
            let want = want / total;
            let seen: u32 = counts[..rank as usize].iter().sum();
            let seen = f64::from(seen) / picks as f64;
            assert!(
                (seen / want - 1.0).abs() < 0.1,
                "rank {rank}: {seen} of the choices, not {want}"
            );
        }
    }

    #[test]
    fn an_absent_key_is_none_of_the_present_ones_in_either_shape() {
        for shape in [Shape::Sequential, Shape::Scattered] {
            let present: std::collections::HashSet<Key> =
                (0..1000).map(|index| key(shape, index)).collect();
            assert_eq!(present.len(), 1000);
            assert!((0..1000).all(|index| !present.contains(&absent_key(shape, index))));
        }
    }
}
