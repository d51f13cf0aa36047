//! The reference at one moment: maps in maps, changed one operation after the other.
//!
//! ```text
//!   State   paths   "a" ─▶ 1   "a/b" ─▶ 4          rooms   1 ─▶ settings, pairs   4 ─▶ …
//!           named   "x" ─▶ (version, paths and rooms of then)
//! ```
//!
//! 1. A collection is its number, which no other ever has; a path is what it is called at the moment.
//! 2. Nothing here is the engine's but its settings and kinds of errors.

use crate::support::reference::{KeyBytes, Many, Mix, Val, mixed};
use esker::{ErrorKind, MergeOperator, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// A collection, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(u32);

pub type Pairs = BTreeMap<KeyBytes, Val>;

/// One operation on the pairs of a collection.
#[derive(Clone, Debug)]
pub enum Change {
    Put(KeyBytes, Val),
    Merge(KeyBytes, Val),
    Remove(KeyBytes),
    RemoveMany(Many),
}

impl Change {
    fn apply(&self, pairs: &mut Pairs) {
        match self {
            Self::Put(key, val) => _ = pairs.insert(key.clone(), *val),
            Self::Remove(key) => _ = pairs.remove(key),
            Self::Merge(key, operand) => {
                let old = pairs.get(key).map(|val| val.bytes());
                pairs.insert(key.clone(), mixed(old.as_deref(), &operand.bytes()));
            }
            Self::RemoveMany(many) => {
                let span = Span::of(many);
                pairs.retain(|key, _| !span.has(key));
            }
        }
    }

    /// The keys that it writes to.
    pub fn span(&self) -> Span {
        match self {
            Self::Put(key, _) | Self::Merge(key, _) | Self::Remove(key) => Span::one(key),
            Self::RemoveMany(many) => Span::of(many),
        }
    }
}

/// The keys from one up to another, excluded; without that, all from there on.
#[derive(Clone, Debug)]
pub struct Span {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Span {
    pub fn one(key: &KeyBytes) -> Self {
        Self { start: key.0.to_vec(), end: Some(after(key)) }
    }

    pub fn of(many: &Many) -> Self {
        match many {
            Many::All => Self { start: Vec::new(), end: None },
            Many::Prefix(prefix) => {
                // What follows all that begins so: the last byte that can be raised is.
                let last = prefix.0.iter().rposition(|byte| *byte != 0xff);
                let end = last.map(|last| [&prefix.0[..last], &[prefix.0[last] + 1]].concat());
                Self { start: prefix.0.to_vec(), end }
            }
            Many::Range(start, end) => Self {
                start: match start {
                    Bound::Included(key) => key.0.to_vec(),
                    Bound::Excluded(key) => after(key),
                    Bound::Unbounded => Vec::new(),
                },
                end: match end {
                    Bound::Included(key) => Some(after(key)),
                    Bound::Excluded(key) => Some(key.0.to_vec()),
                    Bound::Unbounded => None,
                },
            },
        }
    }

    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Whether it was made of one key.
    pub fn is_one(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.strip_suffix(&[0]) == Some(&self.start))
    }

    pub fn has(&self, key: &KeyBytes) -> bool {
        *key.0 >= *self.start && self.end.as_ref().is_none_or(|end| *key.0 < **end)
    }

    pub fn start(&self) -> KeyBytes {
        KeyBytes(self.start.as_slice().into())
    }

    pub fn end(&self) -> Option<KeyBytes> {
        self.end.as_ref().map(|end| KeyBytes(end.as_slice().into()))
    }

    pub fn meets(&self, other: &Self) -> bool {
        let before = |a: &Self, b: &Self| b.end.as_ref().is_none_or(|end| a.start < *end);
        !self.is_empty() && !other.is_empty() && before(self, other) && before(other, self)
    }
}

/// The first key above.
fn after(key: &KeyBytes) -> Vec<u8> {
    [&key.0, &[0][..]].concat()
}

#[derive(Clone, Debug, Default)]
pub struct Room {
    pub settings: Settings,
    pub pairs: Pairs,
}

impl Room {
    pub fn merges(&self) -> bool {
        self.settings.merge_operator.is_some()
    }
}

/// All collections: what a snapshot sees.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    paths: BTreeMap<String, Number>,
    rooms: BTreeMap<Number, Arc<Room>>,
}

impl Moment {
    /// Whether the same collections have the same paths.
    pub fn is_named_as(&self, other: &Self) -> bool {
        self.paths == other.paths
    }

    pub fn paths(&self) -> Vec<String> {
        self.paths.keys().cloned().collect()
    }

    pub fn number(&self, path: &str) -> Option<Number> {
        self.paths.get(path).copied()
    }

    pub fn path(&self, number: Number) -> Option<&str> {
        let mut paths = self.paths.iter().filter(|(_, it)| **it == number);
        paths.next().map(|(path, _)| path.as_str())
    }

    pub fn room(&self, number: Number) -> Option<&Room> {
        self.rooms.get(&number).map(|room| &**room)
    }

    /// None if there is no such collection.
    pub fn pairs(&self, number: Number) -> &Pairs {
        static NONE: Pairs = Pairs::new();
        self.room(number).map_or(&NONE, |room| &room.pairs)
    }

    pub fn rooms(&self) -> impl Iterator<Item = (&String, &Room)> {
        self.paths.iter().map(|(path, number)| (path, &*self.rooms[number]))
    }

    /// The paths of a collection and of all below it.
    pub fn tree(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let is_in = |it: &&String| **it == path || it.starts_with(&below);
        self.paths.keys().filter(is_in).cloned().collect()
    }

    /// The keys that differ, of any collection, and how many collections have another path, or other
    /// settings.
    pub fn differences(&self, other: &Self) -> (Vec<(Number, KeyBytes)>, usize) {
        let mut keys = Vec::new();
        let numbers: BTreeSet<_> = self.rooms.keys().chain(other.rooms.keys()).copied().collect();
        for number in numbers {
            let (here, there) = (self.pairs(number), other.pairs(number));
            let all: BTreeSet<_> = here.keys().chain(there.keys()).collect();
            let bytes = |pairs: &Pairs, key| pairs.get(key).map(|val| val.bytes());
            let differing = all.into_iter().filter(|key| bytes(here, key) != bytes(there, key));
            keys.extend(differing.map(|key| (number, key.clone())));
        }
        let paths: BTreeSet<_> = self.paths.keys().chain(other.paths.keys()).collect();
        let known = |moment: &Self, path: &str| {
            let number = moment.number(path)?;
            Some((number, moment.room(number)?.settings.clone()))
        };
        let differing = paths.into_iter().filter(|path| known(self, path) != known(other, path));
        (keys, differing.count())
    }
}

/// All that a database has. Each change is refused, with the kind of error, or made.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub now: Moment,
    /// Each with the version that it is of.
    pub named: BTreeMap<String, (usize, Arc<Moment>)>,
    /// Shared by all states of a program: what was refused has used its numbers up, too.
    numbers: Arc<AtomicU32>,
}

type Judged = Result<(), ErrorKind>;

impl State {
    /// A number that none has had.
    pub fn fresh(&self) -> Number {
        Number(self.numbers.fetch_add(1, SeqCst))
    }

    /// Whether all paths, those of named snapshots too, mean the same collections.
    pub fn is_named_as(&self, other: &Self) -> bool {
        let mut named = self.named.values().zip(other.named.values());
        self.now.is_named_as(&other.now)
            && named.all(|((_, here), (_, there))| here.is_named_as(there))
    }

    fn add(&mut self, path: &str, number: Number, settings: &Settings) {
        let room = Room { settings: settings.clone(), pairs: Pairs::new() };
        self.now.paths.insert(path.to_owned(), number);
        self.now.rooms.insert(number, Arc::new(room));
    }

    fn add_parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            if self.now.number(&path[..at]).is_none() {
                let number = self.fresh();
                self.add(&path[..at], number, &Settings::default());
            }
        }
    }

    pub fn create(&mut self, path: &str, number: Number, settings: &Settings) -> Judged {
        if self.now.number(path).is_some() {
            return Err(ErrorKind::InvalidArgument);
        }
        self.add_parents(path);
        self.add(path, number, settings);
        Ok(())
    }

    pub fn delete(&mut self, number: Number) -> Result<Vec<Number>, ErrorKind> {
        let path = self.now.path(number).ok_or(ErrorKind::NotFound)?.to_owned();
        let tree = self.now.tree(&path).into_iter();
        let gone: Vec<Number> = tree.filter_map(|path| self.now.paths.remove(&path)).collect();
        gone.iter().for_each(|number| _ = self.now.rooms.remove(number));
        Ok(gone)
    }

    pub fn rename(&mut self, number: Number, to: &str) -> Judged {
        if self.now.number(to).is_some() {
            return Err(ErrorKind::InvalidArgument);
        }
        let from = self.now.path(number).ok_or(ErrorKind::NotFound)?.to_owned();
        if to.starts_with(&format!("{from}/")) {
            return Err(ErrorKind::InvalidArgument);
        }
        let moved = self.now.tree(&from);
        let numbers: Vec<_> = moved.iter().filter_map(|path| self.now.paths.remove(path)).collect();
        self.add_parents(to);
        for (path, number) in moved.iter().zip(numbers) {
            self.now.paths.insert([to, &path[from.len()..]].concat(), number);
        }
        Ok(())
    }

    pub fn configure(&mut self, number: Number, settings: &Settings) -> Judged {
        let room = self.now.rooms.get_mut(&number).ok_or(ErrorKind::NotFound)?;
        Arc::make_mut(room).settings = settings.clone();
        Ok(())
    }

    pub fn change(&mut self, number: Number, change: &Change) -> Judged {
        let room = self.now.rooms.get_mut(&number).ok_or(ErrorKind::NotFound)?;
        change.apply(&mut Arc::make_mut(room).pairs);
        Ok(())
    }

    pub fn name(&mut self, name: &str, version: usize) -> Judged {
        if self.named.contains_key(name) {
            return Err(ErrorKind::InvalidArgument);
        }
        self.named.insert(name.to_owned(), (version, Arc::new(self.now.clone())));
        Ok(())
    }

    pub fn forget(&mut self, name: &str) -> Judged {
        self.named.remove(name).map(drop).ok_or(ErrorKind::NotFound)
    }

    /// Collections get back what they were then, but keep an operator that they, or those of a named
    /// snapshot, have.
    pub fn revert(&mut self, name: &str) -> Judged {
        let (_, then) = self.named.get(name).ok_or(ErrorKind::NotFound)?;
        let mut then = Moment::clone(then);
        let moments = || self.named.values().map(|(_, moment)| &**moment).chain([&self.now]);
        for (number, room) in &mut then.rooms {
            let has = |moment: &Moment| moment.room(*number).is_some_and(Room::merges);
            if !room.merges() && moments().any(has) {
                Arc::make_mut(room).settings.merge_operator = Some(Mix.name().to_owned());
            }
        }
        self.now = then;
        Ok(())
    }
}
