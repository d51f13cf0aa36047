//! Programs: how a database is opened, what is then done with it, and how both come from a seed.
//!
//! 1. A step says all that it does; what it refers to and is not there (a collection, a snapshot)
//!    makes it create that, or do nothing. So any part of a program is a program.
//! 2. Keys are few and alike (prefixes of each other, zeros, 0xff), so that they collide often.

use super::Dice;
use super::reference::{COLLECTIONS, Change, KeyBytes, Many, Mix, Val, Which};
use esker::env::sim::{Sim, Weather};
use esker::{Access, Compression, Durability, Options};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where databases lie in simulated worlds.
pub const DIR: &str = "/db";

pub fn dir() -> &'static Path {
    Path::new(DIR)
}

/// How a database is opened, in what kind of world.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub slab: usize,
    pub access: Access,
    pub compression: Compression,
    /// Whether every commit is synced.
    pub sync: bool,
    /// Whether the world can map files.
    pub mapping: bool,
    pub weather: Weather,
    pub interval: Option<Duration>,
    pub background: bool,
    /// From this comes the length from which on values are out of line, and how they are stored:
    /// another at each open.
    pub large: u64,
}

impl Setup {
    /// One of 64 sets of options that cover all pairs of choices.
    pub fn numbered(index: u64, slabs: &[usize]) -> Self {
        let bit = |n: u64| index >> n & 1 == 1;
        let mut dice = Dice::new(index);
        let weather = Weather { short_reads: 100, short_writes: 100, interrupts: 50 };
        Self {
            slab: dice.pick(slabs),
            access: if bit(0) { Access::Mapped } else { Access::Positioned },
            compression: if bit(1) { Compression::Lz4 } else { Compression::None },
            sync: bit(2),
            mapping: bit(3),
            weather: if bit(4) { weather } else { Weather::default() },
            interval: bit(5).then_some(Duration::from_millis(100)),
            background: !dice.one_in(4),
            large: dice.next(),
        }
    }

    pub fn any(dice: &mut Dice, slabs: &[usize]) -> Self {
        let index = dice.below(64);
        let slab = dice.pick(slabs);
        Self { slab, large: dice.next(), ..Self::numbered(index, slabs) }
    }

    /// An empty world for it.
    pub fn world(&self, seed: u64) -> Arc<Sim> {
        let world = Sim::new(seed);
        self.prepare(&world);
        world
    }

    /// Gives a world the properties that a crash does not hand on.
    pub fn prepare(&self, world: &Sim) {
        world.set_mapping(self.mapping);
        world.set_weather(self.weather);
    }

    /// From how many bytes on values are out of line, and how they are stored, at an open of `world`
    /// as it is now.
    fn blobs(&self, world: &Sim) -> (usize, Compression) {
        let mut dice = Dice::new(self.large ^ world.calls());
        let least = match dice.below(8) {
            0 => usize::MAX,
            1 => 256,
            2 => self.slab,
            _ => 256 + dice.index(1745),
        };
        (least, if dice.one_in(3) { Compression::None } else { Compression::Lz4 })
    }

    pub fn options(&self, world: &Arc<Sim>) -> Options {
        let (blob_threshold, blob_compression) = self.blobs(world);
        Options::default()
            .blob_threshold(blob_threshold)
            .blob_compression(blob_compression)
            .memory_budget(1 << 20)
            .slab_bytes(self.slab)
            .access(self.access)
            .compression(self.compression)
            .sync(self.sync)
            .sync_interval(self.interval)
            .background_compaction(self.background)
            .merge_operator(Mix)
            .env(world.clone())
    }
}

/// What is asked of a collection's order.
#[derive(Clone, Debug)]
pub struct Walk {
    pub which: Which,
    pub bounds: (Bound<KeyBytes>, Bound<KeyBytes>),
    /// Asked for as a prefix, which then is the lower bound.
    pub prefix: bool,
    /// Bit n is whether step n (modulo 64) takes from the back.
    pub backward: u64,
    /// Taken before it is dropped.
    pub most: usize,
}

/// One thing that a program does.
#[derive(Clone, Debug)]
pub enum Step {
    /// One change alone is an insert or remove of the collection, else a batch.
    Write {
        changes: Vec<Change>,
        how: Option<Durability>,
        batch: bool,
    },
    /// Pairs of one collection, their keys ascending, as one ingest.
    Ingest(Vec<Change>),
    Create(Which),
    Get(Which, KeyBytes),
    Walk(Walk),
    Flush,
    Compact,
    Sync,
    /// Lets workers run.
    Help(u8),
    Settle,
    /// Milliseconds pass.
    Advance(u64),
    /// Closes and opens.
    Reopen,
}

/// How often a kind of step comes, in parts of their sum.
#[derive(Clone, Copy, Debug)]
pub struct Diet {
    pub write: u64,
    pub read: u64,
    pub maintain: u64,
    pub help: u64,
    pub reopen: u64,
    /// Longest batch.
    pub batch: u64,
    /// Values longer than the slab, in thousandths of the values.
    pub huge: u64,
    /// Values whose lengths lie around those from which on they are out of line, in thousandths.
    pub large: u64,
}

/// Makes steps.
pub struct Author {
    dice: Dice,
    diet: Diet,
    keys: Vec<KeyBytes>,
    slab: usize,
    tag: u32,
    /// Whether there are range deletes; what they lie in is compacted in other ways.
    has_ranges: bool,
    /// Whether there are merge operands.
    merges: bool,
}

impl Author {
    pub fn new(dice: &mut Dice, diet: Diet, slab: usize) -> Self {
        let mut dice = dice.fork();
        let count = dice.pick(&[4, 12, 40]);
        let keys = (0..count).map(|_| any_key(&mut dice)).collect();
        let (has_ranges, merges) = (dice.one_in(2), dice.one_in(2));
        Self { dice, diet, keys, slab, tag: 0, has_ranges, merges }
    }

    /// Values get tags above `tag`.
    pub fn tags_from(&mut self, tag: u32) {
        self.tag = tag;
    }

    /// The last tag that was used.
    pub fn tags(&self) -> u32 {
        self.tag
    }

    pub fn program(&mut self, len: usize) -> Vec<Step> {
        (0..len).map(|_| self.step()).collect()
    }

    fn which(&mut self) -> Which {
        let choice = self.dice.index(2 * COLLECTIONS);
        Which(if choice < COLLECTIONS { choice as u8 } else { 0 })
    }

    fn key(&mut self) -> KeyBytes {
        let index = self.dice.index(self.keys.len());
        self.keys[index].clone()
    }

    fn val(&mut self) -> Val {
        self.tag += 1;
        let dice = &mut self.dice;
        let slab = self.slab as u64;
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

    fn change(&mut self) -> Change {
        let (which, key) = (self.which(), self.key());
        let val = if self.dice.one_in(4) { None } else { Some(self.val()) };
        let many = (self.has_ranges && self.dice.one_in(8)).then(|| self.many());
        let merges = val.is_some() && self.merges && self.dice.one_in(3);
        Change { which, key, val, merges, many }
    }

    fn bound(&mut self) -> Bound<KeyBytes> {
        match self.dice.below(4) {
            0 => Bound::Unbounded,
            1 => Bound::Excluded(self.key()),
            _ => Bound::Included(self.key()),
        }
    }

    fn many(&mut self) -> Many {
        match self.dice.below(12) {
            0 => Many::All,
            1 | 2 => Many::Prefix(self.key()),
            _ => Many::Range(self.bound(), self.bound()),
        }
    }

    fn ingest(&mut self) -> Step {
        let (which, count) = (self.which(), 1 + self.dice.index(2 * self.keys.len()));
        let keys: BTreeSet<KeyBytes> = (0..count).map(|_| self.key()).collect();
        let change = |key| {
            let val = Some(self.val());
            Change { which, key, val, merges: false, many: None }
        };
        Step::Ingest(keys.into_iter().map(change).collect())
    }

    fn write(&mut self) -> Step {
        if self.dice.one_in(16) {
            return self.ingest();
        }
        let batch = self.diet.batch > 0 && self.dice.one_in(3);
        let count = if batch { 1 + self.dice.below(self.diet.batch) } else { 1 };
        let changes = (0..count).map(|_| self.change()).collect();
        let how = match self.dice.below(6) {
            0 => Some(Durability::Sync),
            1 => Some(Durability::Buffered),
            _ => None,
        };
        Step::Write { changes, how, batch }
    }

    fn walk(&mut self) -> Walk {
        let which = self.which();
        let bounds = (self.bound(), self.bound());
        let prefix = self.dice.one_in(6);
        let backward = match self.dice.below(3) {
            0 => 0,
            1 => u64::MAX,
            _ => self.dice.next(),
        };
        let most = if self.dice.one_in(3) { self.dice.index(8) } else { usize::MAX };
        Walk { which, bounds, prefix, backward, most }
    }

    fn read(&mut self) -> Step {
        match self.dice.below(3) {
            0 => Step::Walk(self.walk()),
            _ => Step::Get(self.which(), self.key()),
        }
    }

    fn maintain(&mut self) -> Step {
        match self.dice.below(10) {
            0..=3 => Step::Flush,
            4 | 5 => Step::Compact,
            6..=8 => Step::Sync,
            _ => Step::Create(self.which()),
        }
    }

    fn help(&mut self) -> Step {
        match self.dice.below(12) {
            0 => Step::Settle,
            // Ten years at once change nothing (F-45).
            1 if self.dice.one_in(20) => Step::Advance(10 * 365 * 86_400_000),
            1..=4 => Step::Advance(self.dice.below(1000)),
            _ => Step::Help(1 + self.dice.below(4) as u8),
        }
    }

    fn step(&mut self) -> Step {
        let Diet { write, read, maintain, help, reopen, .. } = self.diet;
        let mut dice = self.dice.below(write + read + maintain + help + reopen);
        let mut is = |weight: u64| {
            let hit = dice < weight;
            dice = dice.wrapping_sub(weight);
            hit
        };
        if is(write) {
            self.write()
        } else if is(read) {
            self.read()
        } else if is(maintain) {
            self.maintain()
        } else if is(help) {
            self.help()
        } else {
            Step::Reopen
        }
    }
}

/// A key of a few bytes of a small alphabet; now and then a long one.
pub fn any_key(dice: &mut Dice) -> KeyBytes {
    let len = match dice.below(40) {
        0 => 0,
        1 => 200 + dice.index(800),
        2..=20 => 1 + dice.index(2),
        _ => dice.index(6),
    };
    let mut bytes: Vec<u8> = (0..len.min(6)).map(|_| dice.pick(&[0, b'a', b'b', 0xff])).collect();
    bytes.resize(len, b'k');
    KeyBytes(bytes.into())
}
