//! The reference at one moment: maps in maps, changed one operation after the other.
//!
//! ```text
//!   State   paths   "a" ─▶ 1   "a/b" ─▶ 4          rooms   1 ─▶ settings, pairs   4 ─▶ …
//!           named   "x" ─▶ (version, paths and rooms of then)
//! ```
//!
//! 1. A collection is its number, which no other ever has; a path is what it is called at the moment.
//! 2. What expires is kept with its time, and not shown from then on, by any state.
//! 3. Nothing here is the engine's but its settings and kinds of errors.

use crate::support::reference::{KeyBytes, Many, Mix, Val, mixed};
use esker::{ErrorKind, MergeOperator, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// A collection, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(u32);

/// What is shown of a collection.
pub type Pairs = BTreeMap<KeyBytes, Val>;

/// One operation on the pairs of a collection.
#[derive(Clone, Debug)]
pub enum Change {
    Put(KeyBytes, Val),
    /// Until so long has passed.
    PutFor(KeyBytes, Val, Lifetime),
    PutUntil(KeyBytes, Val, Expiry),
    Merge(KeyBytes, Val),
    Remove(KeyBytes),
    RemoveMany(Many),
}

impl Change {
    /// The same, counted from `now` on.
    pub fn begun(&self, now: u64) -> Self {
        match self {
            Self::PutFor(key, val, life) => Self::PutUntil(key.clone(), *val, life.from(now)),
            other => other.clone(),
        }
    }

    fn apply(&self, room: &mut Room, now: u64) {
        let Room { settings, cells } = room;
        let mut put = |key: &KeyBytes, val: Val, expires: Expiry| {
            cells.insert(key.clone(), Cell { val: Some(val), expires, operands: Vec::new() });
        };
        match self {
            Self::Put(key, val) => put(key, *val, Lifetime(settings.time_to_live).from(now)),
            Self::PutFor(key, val, life) => put(key, *val, life.from(now)),
            Self::PutUntil(key, val, expires) => put(key, *val, *expires),
            Self::Remove(key) => _ = cells.remove(key),
            Self::Merge(key, operand) => {
                let cell = cells.entry(key.clone()).or_default();
                cell.operands.push(*operand);
                *cell = std::mem::take(cell).folded(now);
            }
            Self::RemoveMany(many) => {
                let span = Span::of(many);
                cells.retain(|key, _| !span.has(key));
            }
        }
    }

    /// The keys that it writes to.
    pub fn span(&self) -> Span {
        match self {
            Self::Put(key, _) | Self::PutFor(key, ..) | Self::PutUntil(key, ..) => Span::one(key),
            Self::Merge(key, _) | Self::Remove(key) => Span::one(key),
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

/// When a value expires, in milliseconds since the epoch; none: never.
pub type Expiry = Option<u64>;

/// How long a value lives; none: for ever.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime(pub Option<Duration>);

impl Lifetime {
    pub fn span(self) -> Duration {
        self.0.unwrap_or(Duration::MAX)
    }

    fn from(self, now: u64) -> Expiry {
        let millis = u64::try_from(self.0?.as_millis()).ok()?;
        now.checked_add(millis)
    }
}

/// What a key has: a value, and operands upon it, which are apart from it only while it may expire.
#[derive(Clone, Debug, Default)]
struct Cell {
    val: Option<Val>,
    expires: Expiry,
    operands: Vec<Val>,
}

impl Cell {
    /// What it shows. Operands outlive what they came upon.
    fn shown(&self, now: u64) -> Option<Val> {
        let val = self.val.filter(|_| self.expires.is_none_or(|expires| now < expires));
        let fold = |old: Option<Val>, operand: &Val| {
            Some(mixed(old.map(Val::bytes).as_deref(), &operand.bytes()))
        };
        self.operands.iter().fold(val, fold)
    }

    /// When what it shows expires: with what operands came upon.
    fn expiry(&self, now: u64) -> Expiry {
        self.expires.filter(|expires| now < *expires)
    }

    /// The same with its operands folded, if that is for good.
    fn folded(self, now: u64) -> Self {
        match self.expires {
            Some(expires) if now < expires => self,
            _ => Self { val: self.shown(now), ..Self::default() },
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Room {
    settings: Settings,
    cells: BTreeMap<KeyBytes, Cell>,
}

/// What time it is, for all states of a program.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn now(&self) -> u64 {
        self.0.load(SeqCst)
    }

    pub fn set(&self, since_epoch: Duration) {
        self.0.store(since_epoch.as_millis() as u64, SeqCst);
    }
}

/// All collections: what a snapshot sees.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    paths: BTreeMap<String, Number>,
    rooms: BTreeMap<Number, Arc<Room>>,
    pub clock: Clock,
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

    pub fn settings(&self, number: Number) -> Option<&Settings> {
        self.rooms.get(&number).map(|room| &room.settings)
    }

    pub fn merges(&self, number: Number) -> bool {
        self.settings(number).is_some_and(|settings| settings.merge_operator.is_some())
    }

    fn merging(&self) -> impl Iterator<Item = Number> {
        self.rooms.keys().copied().filter(|number| self.merges(*number))
    }

    fn cell(&self, number: Number, key: &KeyBytes) -> Option<&Cell> {
        self.rooms.get(&number)?.cells.get(key)
    }

    pub fn get(&self, number: Number, key: &KeyBytes) -> Option<Val> {
        self.cell(number, key)?.shown(self.clock.now())
    }

    /// When the value of a key expires that has one.
    pub fn expiry(&self, number: Number, key: &KeyBytes) -> Expiry {
        self.cell(number, key)?.expiry(self.clock.now())
    }

    /// What a collection shows; nothing if it is not there.
    pub fn pairs(&self, number: Number) -> Pairs {
        let cells = self.rooms.get(&number).into_iter().flat_map(|room| &room.cells);
        let now = self.clock.now();
        cells.filter_map(|(key, cell)| Some((key.clone(), cell.shown(now)?))).collect()
    }

    /// What each key has: a value, when that expires, and operands upon it.
    pub fn cells(
        &self,
        number: Number,
    ) -> impl Iterator<Item = (&KeyBytes, Option<Val>, Expiry, &[Val])> {
        let cells = self.rooms.get(&number).into_iter().flat_map(|room| &room.cells);
        cells.map(|(key, cell)| (key, cell.val, cell.expires, &*cell.operands))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.all().map(|(_, pairs)| pairs.len()).sum()
    }

    /// Whether anything in a span expires at some time.
    pub fn expires(&self, number: Number, span: &Span) -> bool {
        let mut cells = self.rooms.get(&number).into_iter().flat_map(|room| &room.cells);
        cells.any(|(key, cell)| span.has(key) && cell.expires.is_some())
    }

    /// Whether anything in a span that was there at a time of day has expired since.
    pub fn has_expired(&self, number: Number, span: &Span, since: u64) -> bool {
        let gone = since + 1..=self.clock.now();
        let mut cells = self.rooms.get(&number).into_iter().flat_map(|room| &room.cells);
        cells.any(|(key, cell)| span.has(key) && cell.expires.is_some_and(|it| gone.contains(&it)))
    }

    /// All collections: their paths, and what they show.
    pub fn all(&self) -> impl Iterator<Item = (&String, Pairs)> {
        self.paths.iter().map(|(path, number)| (path, self.pairs(*number)))
    }

    /// The paths of a collection and of all below it.
    pub fn tree(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let is_in = |it: &&String| **it == path || it.starts_with(&below);
        self.paths.keys().filter(is_in).cloned().collect()
    }

    /// Whether a key has the same here and there, and as long.
    fn is_same(&self, other: &Self, number: Number, key: &KeyBytes) -> bool {
        let shown = |moment: &Self| {
            let bytes = moment.get(number, key)?.bytes();
            Some((bytes, moment.expiry(number, key)))
        };
        shown(self) == shown(other)
    }

    /// The keys that differ, of any collection, and how many collections have another path, or other
    /// settings.
    pub fn differences(&self, other: &Self) -> (Vec<(Number, KeyBytes)>, usize) {
        let mut keys = Vec::new();
        let numbers: BTreeSet<_> = self.rooms.keys().chain(other.rooms.keys()).copied().collect();
        for number in numbers {
            let (here, there) = (self.pairs(number), other.pairs(number));
            let all: BTreeSet<_> = here.keys().chain(there.keys()).collect();
            let differing = all.into_iter().filter(|key| !self.is_same(other, number, key));
            keys.extend(differing.map(|key| (number, key.clone())));
        }
        let paths: BTreeSet<_> = self.paths.keys().chain(other.paths.keys()).collect();
        let known = |moment: &Self, path: &str| {
            let number = moment.number(path)?;
            Some((number, moment.settings(number)?.clone()))
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
    /// Those that had an operator since the open.
    merged: BTreeSet<Number>,
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
        let room = Room { settings: settings.clone(), cells: BTreeMap::new() };
        self.now.paths.insert(path.to_owned(), number);
        self.now.rooms.insert(number, Arc::new(room));
        self.note_operators();
    }

    fn note_operators(&mut self) {
        self.merged.extend(self.now.merging());
    }

    /// The database was opened: of what is gone it knows no more than names lead to.
    pub fn open(&mut self) {
        let named = self.named.values().flat_map(|(_, moment)| moment.merging());
        self.merged = named.collect();
        self.note_operators();
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
        self.note_operators();
        Ok(())
    }

    pub fn change(&mut self, number: Number, change: &Change) -> Judged {
        let room = self.now.rooms.get_mut(&number).ok_or(ErrorKind::NotFound)?;
        change.apply(Arc::make_mut(room), self.now.clock.now());
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

    /// Collections get back what they were then, but keep an operator that they have had since the open,
    /// or have at a named snapshot. What shows the same is not written again; what is, is written as it shows.
    pub fn revert(&mut self, name: &str) -> Judged {
        let (_, then) = self.named.get(name).ok_or(ErrorKind::NotFound)?;
        let mut then = Moment::clone(then);
        let moments = || self.named.values().map(|(_, moment)| &**moment).chain([&self.now]);
        let now = then.clock.now();
        let before = then.clone();
        for (number, room) in &mut then.rooms {
            let Room { settings, cells } = Arc::make_mut(room);
            let is_known = self.merged.contains(number);
            if is_known || moments().any(|moment| moment.merges(*number)) {
                settings.merge_operator = Some(Mix.name().to_owned());
            }
            cells.retain(|key, cell| {
                let stays = before.is_same(&self.now, *number, key);
                let expires = cell.expiry(now);
                *cell = match self.now.cell(*number, key) {
                    Some(present) if stays => present.clone(),
                    _ => Cell { val: cell.shown(now), expires, operands: Vec::new() },
                };
                cell.val.is_some() || !cell.operands.is_empty()
            });
        }
        self.now = then;
        Ok(())
    }
}
