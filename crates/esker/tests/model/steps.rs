//! What a program is made of, and how it comes by chance.
//!
//! 1. A step says all that it does; what it refers to and is not there (a collection, a snapshot, a
//!    transaction) makes it create that, or do nothing. So any part of a program is a program.
//! 2. Keys and paths are few and alike, so that they collide often.

use super::atomic::Atomic;
use super::batches::Batch;
use super::care::Care;
use super::copies::Copies;
use super::feed::Feed;
use super::past::Past;
use super::reads::Read;
use super::tree::Tree;
use super::txns::Txn;
use super::walks::Held;
use super::writes::Write;
use crate::support::Dice;
use crate::support::program::any_key;
use crate::support::reference::{KeyBytes, Many, Mix, Val};
use esker::{Compression, Durability, MergeOperator, Settings};
use std::ops::Bound;
use std::time::Duration;

const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a-", "\u{fc}/n\u{ef}", "z", "z/b", "z/b/c"];

/// A path that programs speak of.
pub type Path = &'static str;

/// One thing that a program does.
#[derive(Clone, Debug)]
pub enum Step {
    Write(Write),
    Batch(Batch),
    Tree(Tree),
    Atomic(Atomic),
    Read(Read),
    Held(Held),
    Past(Past),
    Txn(Txn),
    Copies(Copies),
    Feed(Feed),
    Care(Care),
}

/// A step, and the seed of what is left to chance in it: the others may go.
#[derive(Clone, Debug)]
pub struct Turn {
    pub luck: u64,
    pub step: Step,
}

/// How often a kind of step comes, in parts of their sum.
#[derive(Clone, Copy, Debug)]
pub struct Diet {
    pub write: u64,
    pub batch: u64,
    pub tree: u64,
    pub atomic: u64,
    pub read: u64,
    pub held: u64,
    pub past: u64,
    pub txn: u64,
    pub copies: u64,
    pub feed: u64,
    pub care: u64,
    /// Of the steps of care, so many in 100 end the process, or the world.
    pub ends: u64,
    /// Values longer than the slab, in thousandths of the values.
    pub huge: u64,
    /// Values whose lengths lie around those from which on they are out of line, in thousandths.
    pub large: u64,
}

impl Diet {
    pub fn any(dice: &mut Dice) -> Self {
        let plain = Self {
            write: 30,
            batch: 12,
            tree: 4,
            atomic: 6,
            read: 22,
            held: 6,
            past: 8,
            txn: 14,
            copies: 1,
            feed: 3,
            care: 12,
            ends: 12,
            huge: 2,
            large: 40,
        };
        match dice.below(7) {
            0 => Self { write: 70, batch: 30, huge: 20, ..plain },
            // What was there before is kept, asked for, gone back to.
            1 => Self { past: 40, care: 25, large: 300, ..plain },
            // Hardly anything but large values, which come, are overwritten, and go.
            2 => Self { write: 50, care: 20, large: 850, ..plain },
            3 => Self { txn: 70, past: 4, ..plain },
            4 => Self { tree: 25, batch: 25, past: 14, ..plain },
            5 => Self { care: 20, ends: 50, large: 200, copies: 3, ..plain },
            _ => plain,
        }
    }
}

/// Makes steps.
pub struct Author {
    pub dice: Dice,
    pub diet: Diet,
    keys: Vec<KeyBytes>,
    slab: u64,
    tag: u32,
    /// Whether there are range deletes; what they lie in is compacted in other ways.
    pub has_ranges: bool,
    /// Whether there are merge operands.
    pub merges: bool,
    /// Whether there is what expires.
    pub expires: bool,
}

impl Author {
    pub fn new(dice: &mut Dice, diet: Diet, slab: usize) -> Self {
        let mut dice = dice.fork();
        let count = dice.pick(&[4, 12, 40]);
        let keys = (0..count).map(|_| any_key(&mut dice)).collect();
        let [has_ranges, merges, expires] = [(); 3].map(|()| !dice.one_in(3));
        Self { dice, diet, keys, slab: slab as u64, tag: 0, has_ranges, merges, expires }
    }

    pub fn program(&mut self, len: usize) -> Vec<Turn> {
        (0..len).map(|_| Turn { luck: self.dice.next(), step: self.step() }).collect()
    }

    fn step(&mut self) -> Step {
        let Diet { write, batch, tree, atomic, read, held, .. } = self.diet;
        let Diet { past, txn, copies, feed, care, .. } = self.diet;
        let weights = [write, batch, tree, atomic, read, held, past, txn, copies, feed, care];
        let mut dice = self.dice.below(weights.iter().sum());
        let chosen = weights.iter().position(|weight| {
            let is_it = dice < *weight;
            dice = dice.wrapping_sub(*weight);
            is_it
        });
        match chosen {
            Some(0) => Step::Write(self.write()),
            Some(1) => Step::Batch(self.batch()),
            Some(2) => Step::Tree(self.tree()),
            Some(3) => Step::Atomic(self.atomic()),
            Some(4) => Step::Read(self.read()),
            Some(5) => Step::Held(self.held()),
            Some(6) => Step::Past(self.past()),
            Some(7) => Step::Txn(self.txn()),
            Some(8) => Step::Copies(self.copies()),
            Some(9) => Step::Feed(self.feed()),
            _ => Step::Care(self.care()),
        }
    }

    /// Mostly one of the same few.
    pub fn path(&mut self) -> Path {
        match self.dice.below(4) {
            0 | 1 => PATHS[0],
            2 => PATHS[1],
            _ => self.dice.pick(&PATHS),
        }
    }

    pub fn key(&mut self) -> KeyBytes {
        let index = self.dice.index(self.keys.len());
        self.keys[index].clone()
    }

    /// Some keys, in any order, one perhaps several times.
    pub fn some_keys(&mut self) -> Vec<KeyBytes> {
        let count = self.dice.index(2 * self.keys.len());
        (0..count).map(|_| self.key()).collect()
    }

    pub fn val(&mut self) -> Val {
        self.tag += 1;
        let (dice, slab) = (&mut self.dice, self.slab);
        let len = if dice.below(1000) < self.diet.huge {
            slab / 2 + dice.below(3 * slab)
        } else if dice.below(1000) < self.diet.large {
            if dice.one_in(3) { 250 + dice.below(120) } else { 200 + dice.below(2200) }
        } else {
            match dice.below(20) {
                0 | 1 => 0,
                2..=10 => 1 + dice.below(16),
                11..=17 => dice.below(300),
                _ => dice.below(slab / 8 + 1),
            }
        };
        Val { tag: self.tag, len: len as u32 }
    }

    pub fn bound(&mut self) -> Bound<KeyBytes> {
        match self.dice.below(4) {
            0 => Bound::Unbounded,
            1 => Bound::Excluded(self.key()),
            _ => Bound::Included(self.key()),
        }
    }

    pub fn many(&mut self) -> Many {
        match self.dice.below(12) {
            0 => Many::All,
            1 | 2 => Many::Prefix(self.key()),
            _ => Many::Range(self.bound(), self.bound()),
        }
    }

    pub fn durability(&mut self) -> Option<Durability> {
        match self.dice.below(6) {
            0 => Some(Durability::Sync),
            1 => Some(Durability::Buffered),
            _ => None,
        }
    }

    pub fn style(&mut self) -> Style {
        Style(self.dice.below(16) as u8)
    }
}

/// What is set for a collection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style(u8);

impl Style {
    pub fn settings(self) -> Settings {
        let merging = Settings::default().merge_operator(Mix.name());
        match self.0 {
            0 => Settings::default(),
            1 => merging.compression(Compression::Lz4).blob_threshold(256),
            2 => merging.compression(Compression::None).filter(3),
            3 => merging.blob_threshold(usize::MAX).filter(0),
            4 => merging.blob_compression(Compression::None).prefix_filter(1),
            5 => merging.blob_compression(Compression::Lz4).blob_threshold(600),
            6 => Settings::default().time_to_live(Duration::from_millis(300)),
            7 => Settings::default().time_to_live(Duration::from_secs(20)).blob_threshold(256),
            _ => merging,
        }
    }

    /// The same, for a collection that has some already: an operator stays, for its operands.
    pub fn instead_of(self, before: &Settings) -> Settings {
        let settings = self.settings();
        match &before.merge_operator {
            Some(operator) => {
                let mut settings = settings.merge_operator(operator);
                settings.time_to_live = None;
                settings
            }
            None => settings,
        }
    }
}
