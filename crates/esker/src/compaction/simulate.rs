//! The policy at work on a model of a tree: what it costs, without a byte of I/O.
//!
//! ```text
//!   load ─▶ memtable ─ full ─▶ level 0 ─ choose, carry out, again ─▶ figures
//! ```
//!
//! A file is a sorted list of (key, number, tombstone?); a merge is a merge of such lists, with the
//! same rules of dropping as the real one. Only the sizes are assumed: every value has as many
//! bytes. One step runs at a time.
//!
//! 1. Nothing is lost: the newest version of every key is there, or its tombstone's effect is.
//! 2. The same seed gives the same figures.

use super::policy::{Action, File, LAST, Policy, Run, Shape, Step, Waste, choose};
use crate::base::id::FileId;
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of a pair, and of a tombstone, in a file.
const PAIR_BYTES: u64 = 216;
const TOMBSTONE_BYTES: u64 = 24;

/// In which order keys are written and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// New keys, all over the key space.
    Scattered,
    /// Overwrites, each key as likely as any other, of keys that were all there before.
    Uniform,
    /// Overwrites, four in five of them of a fifth of the keys, and so on within it.
    Skewed,
    /// New keys in ascending order.
    Sequential,
    /// New keys all over; of three writes one deletes a key that is there.
    Deletes,
    /// New keys in ascending order; each write but the first hundred thousand deletes the lowest.
    Queue,
}

impl Load {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Scattered,
        Self::Uniform,
        Self::Skewed,
        Self::Sequential,
        Self::Deletes,
        Self::Queue,
    ];
}

/// What the tree looks like, and what it has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Operations so far.
    pub operations: u64,
    /// Bytes written by flushes and rewrites, and once for the log, over the bytes of the user.
    pub write: f64,
    /// Runs that a get of any key looks at, at most.
    pub read: f64,
    /// Bytes of all files over the bytes of the pairs that are there.
    pub space: f64,
    /// Bytes of the largest step so far.
    pub step_bytes: u64,
    /// Files.
    pub files: usize,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    key: u64,
    seq: u32,
    deletes: bool,
}

#[derive(Clone, Debug)]
struct SimFile {
    id: FileId,
    items: Vec<Item>,
    bytes: u64,
    ends: ([u8; 8], [u8; 8]),
    deletes: u64,
}

/// A tree under load.
#[derive(Debug)]
pub struct Simulation {
    policy: Policy,
    random: u64,
    seq: u32,
    next_file: u64,
    memtable: HashMap<u64, (u32, bool)>,
    memtable_bytes: u64,
    /// Live keys that were drawn at random.
    keys: Vec<u64>,
    /// Live keys that were counted up.
    counted: Range<u64>,
    runs: Vec<(u32, u64, Vec<SimFile>)>,
    user_bytes: u64,
    written: u64,
    step_bytes: u64,
}

impl Simulation {
    /// An empty tree.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            random: seed,
            seq: 0,
            next_file: 1,
            memtable: HashMap::new(),
            memtable_bytes: 0,
            keys: Vec::new(),
            counted: 0..0,
            runs: Vec::new(),
            user_bytes: 0,
            written: 0,
            step_bytes: 0,
        }
    }

    /// Runs `operations` of `load`.
    pub fn run(&mut self, load: Load, operations: u64) {
        for _ in 0..operations {
            match load {
                Load::Scattered => self.put_new(),
                Load::Sequential => self.put_next(),
                Load::Uniform => {
                    let at = self.chance(self.keys.len());
                    self.write(self.keys[at], false);
                }
                Load::Skewed => {
                    let mut range = self.keys.len();
                    while range > 16 && self.chance(5) > 0 {
                        range /= 5;
                    }
                    let at = self.chance(range);
                    self.write(self.keys[at], false);
                }
                Load::Deletes if self.chance(3) > 0 => self.put_new(),
                Load::Deletes => {
                    let at = self.chance(self.keys.len().max(1));
                    if !self.keys.is_empty() {
                        let key = self.keys.swap_remove(at);
                        self.write(key, true);
                    }
                }
                Load::Queue => {
                    self.put_next();
                    if self.counted.end - self.counted.start > 100_000 {
                        self.counted.start += 1;
                        self.write(self.counted.start - 1, true);
                    }
                }
            }
        }
    }

    /// Nobody writes any more: flushes, and carries out all that the policy wants then.
    pub fn rest(&mut self) {
        self.flush();
        let busy = self.policy;
        self.policy.at_rest = true;
        self.settle();
        self.policy = busy;
    }

    fn put_new(&mut self) {
        // Counted keys are below these.
        let key = self.next_random() | 1 << 63;
        self.keys.push(key);
        self.write(key, false);
    }

    fn put_next(&mut self) {
        self.counted.end += 1;
        self.write(self.counted.end - 1, false);
    }

    fn write(&mut self, key: u64, deletes: bool) {
        self.seq += 1;
        let bytes = if deletes { TOMBSTONE_BYTES } else { PAIR_BYTES };
        self.user_bytes += bytes;
        self.memtable_bytes += bytes;
        self.memtable.insert(key, (self.seq, deletes));
        if self.memtable_bytes >= self.policy.flush_bytes {
            self.flush();
            self.settle();
        }
    }

    fn flush(&mut self) {
        self.memtable_bytes = 0;
        let memtable = std::mem::take(&mut self.memtable);
        let mut items: Vec<Item> =
            memtable.into_iter().map(|(key, (seq, deletes))| Item { key, seq, deletes }).collect();
        items.sort_unstable_by_key(|item| item.key);
        let number = self.next_file;
        let files = self.cut(items, u64::MAX, &[]);
        if !files.is_empty() {
            self.runs.insert(0, (0, number, files));
        }
    }

    /// Files of about `bytes`, cut at `guards` besides.
    fn cut(&mut self, items: Vec<Item>, bytes: u64, guards: &[u64]) -> Vec<SimFile> {
        let mut files: Vec<SimFile> = Vec::new();
        let mut open: Vec<Item> = Vec::new();
        let mut open_bytes = 0;
        let mut guard = 0;
        for item in items {
            let mut passed = false;
            while guards.get(guard).is_some_and(|border| *border <= item.key) {
                guard += 1;
                passed = true;
            }
            if !open.is_empty() && (passed || open_bytes >= bytes) {
                files.push(self.close(std::mem::take(&mut open)));
                open_bytes = 0;
            }
            open_bytes += if item.deletes { TOMBSTONE_BYTES } else { PAIR_BYTES };
            open.push(item);
        }
        if !open.is_empty() {
            files.push(self.close(open));
        }
        files
    }

    fn close(&mut self, items: Vec<Item>) -> SimFile {
        let deletes = items.iter().filter(|item| item.deletes).count() as u64;
        let bytes = deletes * TOMBSTONE_BYTES + (items.len() as u64 - deletes) * PAIR_BYTES;
        let end = |item: Option<&Item>| item.map_or([0; 8], |item| item.key.to_be_bytes());
        let ends = (end(items.first()), end(items.last()));
        self.written += bytes;
        self.next_file += 1;
        SimFile { id: FileId(self.next_file), items, bytes, ends, deletes }
    }

    fn settle(&mut self) {
        loop {
            let step = choose(&self.shape(), &self.policy);
            let Some(step) = step else { return };
            self.carry_out(&step);
        }
    }

    fn shape(&self) -> Shape<'_> {
        let runs = self.runs.iter().map(|(level, number, files)| Run {
            level: *level,
            number: *number,
            files: files.iter().map(SimFile::as_seen).collect(),
        });
        Shape { runs: runs.collect(), claims: Vec::new() }
    }

    fn carry_out(&mut self, step: &Step) {
        let mut inputs = Vec::new();
        for (_, _, files) in &mut self.runs {
            inputs.extend(files.extract_if(.., |file| step.inputs.contains(&file.id)));
        }
        self.runs.retain(|(_, _, files)| !files.is_empty());
        let total: u64 = self.runs.iter().flat_map(|run| &run.2).map(|file| file.bytes).sum();
        let outputs = match step.action {
            Action::Drop => Vec::new(),
            Action::Move => inputs,
            Action::Merge => {
                self.step_bytes = self.step_bytes.max(step.bytes);
                self.merge(inputs, step.level, total)
            }
        };
        self.next_file += 1;
        let last = self.runs.iter().find(|run| run.0 == LAST).map(|run| run.1);
        let known = step.run.or(last.filter(|_| step.level == LAST));
        let number = known.unwrap_or(self.next_file);
        match self.runs.iter_mut().find(|run| run.0 == step.level && run.1 == number) {
            Some(run) => {
                run.2.extend(outputs);
                run.2.sort_by_key(|file| file.ends.0);
            }
            None if outputs.is_empty() => {}
            None => self.runs.push((step.level, number, outputs)),
        }
        self.runs.sort_by_key(|run| (run.0, std::cmp::Reverse(run.1)));
    }

    fn merge(&mut self, inputs: Vec<SimFile>, level: u32, total: u64) -> Vec<SimFile> {
        let mut items: Vec<Item> = inputs.into_iter().flat_map(|file| file.items).collect();
        items.sort_unstable_by_key(|item| (item.key, std::cmp::Reverse(item.seq)));
        items.dedup_by_key(|item| item.key);
        if level == LAST {
            items.retain(|item| !item.deletes);
        } else {
            let deeper = |run: &&(u32, u64, Vec<SimFile>)| run.0 >= level;
            let deeper: Vec<_> = self.runs.iter().filter(deeper).flat_map(|run| &run.2).collect();
            let covered = |key: u64| {
                let key = key.to_be_bytes();
                deeper.iter().any(|file| file.ends.0 <= key && key <= file.ends.1)
            };
            items.retain(|item| !item.deletes || covered(item.key));
        }
        let bytes: u64 = items.len() as u64 * PAIR_BYTES;
        let last = self.runs.iter().filter(|run| run.0 == LAST).flat_map(|run| &run.2);
        let guards: Vec<u64> = last.map(|file| u64::from_be_bytes(file.ends.0)).collect();
        if level == LAST {
            let most = self.policy.segment_bytes(total + bytes);
            let pieces = bytes.div_ceil(most).max(1);
            return self.cut(items, bytes.div_ceil(pieces), &[]);
        }
        self.cut(items, u64::MAX, &guards)
    }

    /// The figures now. Panics if a live key has no newest version in the tree (invariant 1).
    pub fn figures(&self) -> Figures {
        let files = || self.runs.iter().flat_map(|run| &run.2);
        let in_memory = self.memtable.iter();
        let in_memory = in_memory.map(|(&key, &(seq, deletes))| Item { key, seq, deletes });
        let mut newest: Vec<Item> =
            files().flat_map(|f| f.items.clone()).chain(in_memory).collect();
        newest.sort_unstable_by_key(|item| (item.key, std::cmp::Reverse(item.seq)));
        newest.dedup_by_key(|item| item.key);
        newest.retain(|item| !item.deletes);
        let mut live: Vec<u64> = self.counted.clone().chain(self.keys.iter().copied()).collect();
        live.sort_unstable();
        live.dedup();
        let is_whole = newest.iter().map(|item| item.key).eq(live.iter().copied());
        assert!(is_whole, "keys were lost, or came back");
        let bytes: u64 = files().map(|file| file.bytes).sum();
        let runs_over = |key: &u64| {
            let key = key.to_be_bytes();
            let over = |file: &SimFile| file.ends.0 <= key && key <= file.ends.1;
            self.runs.iter().filter(|run| run.2.iter().any(over)).count()
        };
        let sample: Vec<usize> =
            live.iter().step_by(live.len() / 1000 + 1).map(runs_over).collect();
        let read: usize = sample.iter().sum();
        Figures {
            operations: u64::from(self.seq),
            write: (self.written + self.user_bytes) as f64 / self.user_bytes.max(1) as f64,
            read: read as f64 / sample.len().max(1) as f64,
            space: bytes as f64 / (live.len().max(1) as u64 * PAIR_BYTES) as f64,
            step_bytes: self.step_bytes,
            files: files().count(),
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn chance(&mut self, below: usize) -> usize {
        (self.next_random() % below.max(1) as u64) as usize
    }
}

impl SimFile {
    fn as_seen(&self) -> File<'_> {
        File {
            blob_bytes: 0,
            id: self.id,
            bytes: self.bytes,
            entries: self.items.len() as u64,
            deletes: self.deletes,
            smallest: &self.ends.0,
            largest: &self.ends.1,
            reach: &self.ends.1,
            has_ranges: false,
            busy: false,
            waste: Waste::None,
        }
    }
}
