//! The reference: a map that remembers every version, and the fingerprint of each of its states.
//!
//! 1. A version is one committed batch, or the creation of one collection. Version 0 is empty.
//! 2. The fingerprint of a state is the sum of hashes of its pairs and of its collections, so a dump
//!    of a database in any order finds out which versions it may be.

use esker::MergeOperator;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many collections programs speak of.
pub const COLLECTIONS: usize = 4;
const NAMES: [&str; COLLECTIONS] = ["a", "users", "\u{fc}n\u{ef}", "zz"];

/// A collection, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Which(pub u8);

impl Which {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COLLECTIONS as u8).map(Self)
    }

    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|which| which.name() == name)
    }
}

/// A key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyBytes(pub Arc<[u8]>);

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..12).unwrap_or(&self.0);
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { write!(f, "…{}", self.0.len()) } else { Ok(()) }
    }
}

/// A value, told by a number that no other write has, and its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Val {
    pub tag: u32,
    pub len: u32,
}

impl fmt::Debug for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}×{}", self.tag, self.len)
    }
}

impl Val {
    /// Its bytes: they differ from those of any other tag, and every other tag's compress well.
    pub fn bytes(self) -> Vec<u8> {
        let step = if self.tag.is_multiple_of(2) { 0 } else { 0x9e37_79b9_7f4a_7c15 };
        let mut word = u64::from(self.tag).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let len = self.len as usize;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(word.to_le_bytes());
            word = word.wrapping_add(step);
        }
        bytes.truncate(len);
        bytes
    }
}

/// What an operand makes of the value that a key has.
pub fn mixed(old: Option<&[u8]>, operand: &[u8]) -> Val {
    let seed = old.map_or(0, |old| xxh3_64_with_seed(old, 1));
    let len = (old.map_or(0, <[u8]>::len) + operand.len()) % 900;
    Val { tag: xxh3_64_with_seed(operand, seed) as u32, len: len as u32 }
}

/// The merge operator of all collections: an operand is a row of pieces, each after its length, and
/// what comes out depends on all of them and on their order.
#[derive(Debug)]
pub struct Mix;

impl Mix {
    /// The operand of one piece.
    pub fn operand(val: Val) -> Vec<u8> {
        [&val.len.to_le_bytes()[..], &val.bytes()].concat()
    }
}

impl MergeOperator for Mix {
    fn name(&self) -> &str {
        "mix"
    }

    fn full(&self, _: &[u8], old: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut value = old.map(<[u8]>::to_vec);
        for operand in all {
            let mut rest = *operand;
            while let Some((len, behind)) = rest.split_first_chunk() {
                let len = u32::from_le_bytes(*len) as usize;
                let (piece, next) = behind.split_at_checked(len).ok_or("a piece is cut")?;
                value = Some(mixed(value.as_deref(), piece).bytes());
                rest = next;
            }
        }
        value.ok_or_else(|| "no piece".to_owned())
    }

    fn partial(&self, _: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        Some([left, right].concat())
    }
}

/// One operation of a batch: a value, an operand, or a removal.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    pub which: Which,
    pub key: KeyBytes,
    pub val: Option<Val>,
    /// Whether `val` is merged, and not put.
    pub merges: bool,
    /// Removes these instead of the key.
    pub many: Option<Many>,
}

/// Keys that are removed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Many {
    Range(Bound<KeyBytes>, Bound<KeyBytes>),
    Prefix(KeyBytes),
    All,
}

impl Many {
    fn has(&self, key: &KeyBytes) -> bool {
        match self {
            Self::Prefix(prefix) => key.0.starts_with(&prefix.0),
            Self::All => true,
            Self::Range(start, end) => {
                let after = match start {
                    Bound::Included(start) => key >= start,
                    Bound::Excluded(start) => key > start,
                    Bound::Unbounded => true,
                };
                let before = match end {
                    Bound::Included(end) => key <= end,
                    Bound::Excluded(end) => key < end,
                    Bound::Unbounded => true,
                };
                after && before
            }
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(many) = &self.many {
            return write!(f, "{}-{many:?}", self.which.0);
        }
        match self.val {
            Some(val) if self.merges => write!(f, "{}[{:?}]+{val:?}", self.which.0, self.key),
            Some(val) => write!(f, "{}[{:?}]={val:?}", self.which.0, self.key),
            None => write!(f, "{}[{:?}]-", self.which.0, self.key),
        }
    }
}

/// The hash of one pair.
pub fn pair_hash(which: Which, key: &[u8], value: &[u8]) -> u64 {
    let hash = xxh3_64_with_seed(key, u64::from(which.0) + 1);
    xxh3_64_with_seed(value, hash)
}

/// The hash of a collection's being there.
pub fn collection_hash(which: Which) -> u64 {
    xxh3_64_with_seed(which.name().as_bytes(), 99)
}

#[derive(Clone, Debug)]
struct Cell {
    version: usize,
    val: Option<Val>,
    hash: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Reference {
    cells: [BTreeMap<KeyBytes, Vec<Cell>>; COLLECTIONS],
    born: [Option<usize>; COLLECTIONS],
    /// The fingerprint of each version.
    sums: Vec<u64>,
}

impl Default for Reference {
    fn default() -> Self {
        Self { cells: Default::default(), born: [None; COLLECTIONS], sums: vec![0] }
    }
}

impl Reference {
    /// The newest version.
    pub fn version(&self) -> usize {
        self.sums.len() - 1
    }

    pub fn sum(&self) -> u64 {
        self.sums.last().copied().unwrap_or_default()
    }

    /// The versions that look like `sum`, the newest first.
    pub fn versions_of(&self, sum: u64) -> impl Iterator<Item = usize> {
        let versions = self.sums.iter().enumerate().rev();
        versions.filter(move |(_, found)| **found == sum).map(|(version, _)| version)
    }

    pub fn has(&self, which: Which) -> bool {
        self.born[usize::from(which.0)].is_some()
    }

    pub fn names(&self) -> BTreeSet<String> {
        Which::all().filter(|which| self.has(*which)).map(|which| which.name().to_owned()).collect()
    }

    /// Commits the creation of a collection that is not there.
    pub fn create(&mut self, which: Which) {
        assert!(!self.has(which), "a program creates a collection once");
        let sum = self.sum().wrapping_add(collection_hash(which));
        self.sums.push(sum);
        self.born[usize::from(which.0)] = Some(self.version());
    }

    /// Commits a batch: the later operation on a key wins.
    pub fn commit(&mut self, changes: &[Change]) {
        let version = self.version() + 1;
        let mut sum = self.sum();
        for change in changes {
            let which = change.which;
            if let Some(many) = &change.many {
                let cells = self.cells[usize::from(which.0)].iter_mut();
                for (_, versions) in cells.filter(|(key, _)| many.has(key)) {
                    sum = sum.wrapping_sub(versions.last().map_or(0, |cell| cell.hash));
                    versions.push(Cell { version, val: None, hash: 0 });
                }
                continue;
            }
            let versions = self.cells[usize::from(which.0)].entry(change.key.clone()).or_default();
            let mut val = change.val;
            if let Some(operand) = val.filter(|_| change.merges) {
                let old = versions.last().and_then(|cell| cell.val).map(Val::bytes);
                val = Some(mixed(old.as_deref(), &operand.bytes()));
            }
            let hash = val.map_or(0, |val| pair_hash(which, &change.key.0, &val.bytes()));
            let before = versions.last().map_or(0, |cell| cell.hash);
            sum = sum.wrapping_sub(before).wrapping_add(hash);
            versions.push(Cell { version, val, hash });
        }
        self.sums.push(sum);
    }

    /// Forgets everything after a version.
    pub fn rewind(&mut self, version: usize) {
        self.sums.truncate(version + 1);
        for cells in &mut self.cells {
            cells.retain(|_, versions| {
                let keep = versions.partition_point(|cell| cell.version <= version);
                versions.truncate(keep);
                keep > 0
            });
        }
        for born in &mut self.born {
            *born = born.filter(|at| *at <= version);
        }
    }

    /// Forgets all but the newest state: for long runs that hold no snapshot.
    pub fn forget_history(&mut self) {
        let sum = self.sum();
        self.sums = vec![sum];
        for cells in &mut self.cells {
            cells.retain(|_, versions| {
                let last = versions.pop().filter(|cell| cell.val.is_some());
                versions.clear();
                versions.extend(last.map(|cell| Cell { version: 0, ..cell }));
                !versions.is_empty()
            });
        }
        for born in &mut self.born {
            *born = born.map(|_| 0);
        }
    }

    fn at(versions: &[Cell], version: usize) -> Option<Val> {
        let seen = versions.partition_point(|cell| cell.version <= version);
        versions[..seen].last().and_then(|cell| cell.val)
    }

    pub fn get(&self, which: Which, key: &KeyBytes, version: usize) -> Option<Val> {
        let versions = self.cells[usize::from(which.0)].get(key)?;
        Self::at(versions, version)
    }

    /// The pairs of a collection as of a version, in order.
    pub fn pairs(&self, which: Which, version: usize) -> impl Iterator<Item = (&KeyBytes, Val)> {
        let cells = self.cells[usize::from(which.0)].iter();
        cells.filter_map(move |(key, versions)| Some((key, Self::at(versions, version)?)))
    }
}
