//! Traffic: the loads of a long run, on four collections that each live in their own way.
//!
//! ```text
//!   map      uniform, skewed, deletes, range deletes     series   at the end, trimmed at the front
//!   queue    in at the tail, out at the head             big      some values above a slab
//! ```
//!
//! What a load does next depends on what it did before, and not on whether it went well.

use super::Dice;
use super::program::Walk;
use super::reference::{Change, KeyBytes, Many, Val, Which};
use std::ops::Bound;

const KEYS: u64 = 3000;

const MAP: Which = Which(0);
const SERIES: Which = Which(1);
const QUEUE: Which = Which(2);
const BIG: Which = Which(3);

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Uniform,
    Skewed,
    Sequential,
    Queue,
    Deletes,
    Ranges,
    Merges,
    Big,
    Mixed,
}

pub const LOADS: [Load; 8] = [
    Load::Uniform,
    Load::Skewed,
    Load::Sequential,
    Load::Queue,
    Load::Deletes,
    Load::Ranges,
    Load::Merges,
    Load::Big,
];

/// Where the loads are.
#[derive(Debug, Default)]
pub struct Traffic {
    tags: u32,
    /// The next key of the series, and the first that is not yet trimmed.
    series: (u64, u64),
    /// Head and tail of the queue.
    queue: (u64, u64),
}

impl Traffic {
    fn val(&mut self, len: u64) -> Val {
        self.tags += 1;
        Val { tag: self.tags, len: len as u32 }
    }

    fn put(&mut self, which: Which, key: KeyBytes, len_max: u64, dice: &mut Dice) -> Change {
        let len = dice.below(len_max);
        Change { which, key, val: Some(self.val(len)), merges: false, many: None }
    }

    /// One operation, or now and then a batch; `slab` says what a large value is.
    pub fn changes(&mut self, load: Load, slab: usize, dice: &mut Dice) -> Vec<Change> {
        let count = if dice.one_in(8) { 2 + dice.below(10) } else { 1 };
        (0..count).map(|_| self.change(load, slab, dice)).collect()
    }

    /// A key that the load may have written.
    pub fn any_key(&self, load: Load, dice: &mut Dice) -> (Which, KeyBytes) {
        match load {
            Load::Skewed => {
                let hot = 1 + dice.below(KEYS);
                let hot = 1 + dice.below(hot);
                (MAP, key('k', dice.below(hot)))
            }
            Load::Sequential => (SERIES, key('s', dice.below(self.series.0 + 2))),
            Load::Queue => (QUEUE, key('q', self.queue.0 + dice.below(8))),
            Load::Big => (BIG, key('b', dice.below(16))),
            _ => (MAP, key('k', dice.below(KEYS))),
        }
    }

    fn change(&mut self, load: Load, slab: usize, dice: &mut Dice) -> Change {
        let gone = |which, key| Change { which, key, val: None, merges: false, many: None };
        let many = |which, many| Change {
            which,
            key: key('k', 0),
            val: None,
            merges: false,
            many: Some(many),
        };
        match load {
            Load::Sequential => {
                let (next, first) = self.series;
                if next > first + 4000 {
                    self.series.1 = next - 2000;
                    let to = Bound::Excluded(key('s', next - 2000));
                    return many(SERIES, Many::Range(Bound::Unbounded, to));
                }
                self.series.0 += 1;
                self.put(SERIES, key('s', next), 150, dice)
            }
            Load::Queue => {
                let (head, tail) = self.queue;
                if head < tail && dice.below(100) < 48 {
                    self.queue.0 += 1;
                    return gone(QUEUE, key('q', head));
                }
                self.queue.1 += 1;
                self.put(QUEUE, key('q', tail), 300, dice)
            }
            Load::Deletes if dice.below(5) < 4 => {
                let (which, key) = self.any_key(load, dice);
                gone(which, key)
            }
            Load::Ranges if dice.one_in(25) => {
                let from = dice.below(KEYS);
                let to = key('k', from + dice.below(200));
                match dice.below(40) {
                    0 => many(MAP, Many::All),
                    1..=9 => {
                        let prefix = key('k', from).0[..7].into();
                        many(MAP, Many::Prefix(KeyBytes(prefix)))
                    }
                    10 => {
                        many(SERIES, Many::Range(Bound::Excluded(key('s', from)), Bound::Unbounded))
                    }
                    _ => {
                        many(MAP, Many::Range(Bound::Included(key('k', from)), Bound::Excluded(to)))
                    }
                }
            }
            Load::Merges if dice.below(5) < 4 => {
                let (which, key) = self.any_key(Load::Skewed, dice);
                Change { merges: true, ..self.put(which, key, 60, dice) }
            }
            Load::Big if dice.one_in(25) => {
                let (which, key) = self.any_key(load, dice);
                let longest = 3 * slab as u64;
                self.put(which, key, longest, dice)
            }
            Load::Big => {
                let (_, key) = self.any_key(load, dice);
                self.put(BIG, key, 500, dice)
            }
            _ => {
                let (which, key) = self.any_key(load, dice);
                self.put(which, key, 200, dice)
            }
        }
    }
}

fn key(prefix: char, n: u64) -> KeyBytes {
    KeyBytes(format!("{prefix}{n:07}").into_bytes().into())
}

/// All of a collection, or a part.
pub fn any_walk(dice: &mut Dice) -> Walk {
    let which = dice.pick(&[MAP, MAP, SERIES, QUEUE, BIG]);
    let letter = ['k', 's', 'q', 'b'][usize::from(which.0)];
    let from = dice.below(KEYS);
    let bounds = match dice.below(4) {
        0 => (Bound::Unbounded, Bound::Unbounded),
        1 => (Bound::Included(key(letter, from)), Bound::Unbounded),
        2 => (Bound::Unbounded, Bound::Excluded(key(letter, from))),
        _ => (Bound::Excluded(key(letter, from)), Bound::Included(key(letter, from + 300))),
    };
    Walk { which, bounds, prefix: false, backward: 0, most: usize::MAX }
}
