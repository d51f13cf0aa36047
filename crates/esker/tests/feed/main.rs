//! The change feed in a simulated world: copies that follow it against the database itself, and the
//! power lost at every call.
//!
//! ```text
//!   random program ─▶ database in a Sim ─ sync ─▶ changes ─▶ copies that began at some moment
//!                          └────────────────── the same pairs, by collection ─────┘
//! ```
//!
//! 1. A copy of any moment that is still held, and all changes behind that moment, are the present; or
//!    the feed says that they are not held, or that something went past the log.
//! 2. What a feed gave is there after any crash: it gave only what is durable.
//! 3. What is kept stays within the bytes that are allowed, and is all there after any crash.

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

mod edges;
mod kept;
mod play;
mod told;

use esker::env::sim::Sim;
use esker::operators::Append;
use esker::{Action, Change, Changes, Db, ErrorKind, Options, Range};
use std::collections::BTreeMap;
use std::sync::Arc;

const DIR: &str = "/db";
const MANY: u64 = 1 << 30;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(world: &Arc<Sim>) -> Options {
    let options = Db::options().slab_bytes(16 << 10).memory_budget(1 << 20).blob_threshold(600);
    options.merge_operator(Arc::new(Append::new(":"))).env(world.clone())
}

fn open(world: &Arc<Sim>, keep: u64) -> Db {
    options(world).keep_logs(keep).open(DIR).unwrap()
}

fn pairs(range: Range) -> Pairs {
    try_pairs(range).unwrap()
}

fn try_pairs(range: Range) -> esker::Result<Pairs> {
    range.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

/// All that there is now without waiting.
fn drain(changes: &mut Changes) -> Vec<Change> {
    std::iter::from_fn(|| changes.try_next().unwrap()).collect()
}

fn from(db: &Db, number: u64) -> Vec<Change> {
    drain(&mut db.changes(number).unwrap())
}

/// A database as somebody has it who follows it: by the numbers of collections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Copy {
    paths: BTreeMap<u32, String>,
    pairs: BTreeMap<u32, Pairs>,
}

impl Copy {
    fn of(db: &Db) -> Self {
        Self::try_of(db).unwrap()
    }

    fn try_of(db: &Db) -> esker::Result<Self> {
        let mut copy = Self::default();
        for path in db.collections()? {
            let c = db.existing_collection(&path)?.unwrap();
            copy.pairs.insert(c.id(), try_pairs(c.iter())?);
            copy.paths.insert(c.id(), path);
        }
        Ok(copy)
    }

    /// Does what a change says; false if that cannot be told.
    fn apply(&mut self, change: &Change) -> bool {
        let Change::Batch { first, last, operations } = change else { return false };
        let mut gone = Vec::new();
        let mut number = *first;
        for operation in operations {
            assert!((number..=*last).contains(&operation.sequence), "numbers rise: {change:?}");
            number = operation.sequence + 1;
            let path = operation.path.as_deref();
            let id = operation.collection.unwrap_or_default();
            let pairs = self.pairs.entry(id).or_default();
            match &operation.action {
                Action::Put { key, value, .. } => _ = pairs.insert(key.to_vec(), value.to_vec()),
                Action::Remove { key } => _ = pairs.remove(&**key),
                Action::Merge { key, operand } => {
                    pairs.entry(key.to_vec()).or_default().extend([b":", &**operand].concat());
                }
                Action::RemoveRange { start, end } => pairs.retain(|key, _| {
                    **key < **start || end.as_ref().is_some_and(|end| **key >= **end)
                }),
                Action::Named { .. } => {
                    self.paths.retain(|_, named| *named != *path.unwrap());
                    self.paths.insert(id, path.unwrap().to_owned());
                }
                Action::Unnamed => gone.push(path.unwrap().to_owned()),
                _ => {}
            }
        }
        self.paths.retain(|_, path| !gone.contains(path));
        self.pairs.retain(|id, _| self.paths.contains_key(id));
        true
    }
}

/// A copy, and the number to go on from.
#[derive(Clone, Debug)]
struct Follower {
    copy: Copy,
    next: u64,
}

impl Follower {
    fn of(db: &Db) -> Self {
        Self::try_of(db).unwrap()
    }

    fn try_of(db: &Db) -> esker::Result<Self> {
        Ok(Self { copy: Copy::try_of(db)?, next: db.snapshot().sequence() + 1 })
    }

    /// Follows to the present; answers what it had to be told otherwise.
    fn follow(&mut self, db: &Db) -> Met {
        self.try_follow(db).unwrap()
    }

    fn try_follow(&mut self, db: &Db) -> esker::Result<Met> {
        let mut changes = match db.changes(self.next) {
            Ok(changes) => changes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                assert!(self.next < db.changes_held()?.start);
                *self = Self::try_of(db)?;
                return Ok(Met::Gone);
            }
            Err(error) => return Err(error),
        };
        while let Some(change) = changes.try_next()? {
            assert!(change.first() >= self.next && change.last() >= change.first(), "{change:?}");
            self.next = change.last() + 1;
            if !self.copy.apply(&change) {
                *self = Self::try_of(db)?;
                return Ok(Met::Bulk);
            }
        }
        self.next = changes.position();
        Ok(Met::All)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    All,
    Bulk,
    Gone,
}

/// What a change says, in words.
fn words(change: &Change) -> String {
    let Change::Batch { operations, .. } = change else { return "bulk".into() };
    let text = |bytes: &[u8]| match bytes.len() {
        0..40 => bytes.escape_ascii().to_string(),
        len => format!("{len} bytes"),
    };
    let one = |operation: &esker::Operation| {
        let path = operation.path.as_deref().unwrap_or("?");
        match &operation.action {
            Action::Put { key, value, .. } => format!("{path}:{}={}", text(key), text(value)),
            Action::Remove { key } => format!("{path}:-{}", text(key)),
            Action::Merge { key, operand } => format!("{path}:{}+{}", text(key), text(operand)),
            Action::RemoveRange { start, end } => {
                let end = end.as_ref().map_or("".into(), |end| text(end));
                format!("{path}:-{}..{end}", text(start))
            }
            Action::Named { settings } => format!("named {path} filter {:?}", settings.filter),
            Action::Unnamed => format!("unnamed {path}"),
            Action::SnapshotNamed { name, sequence } => format!("snapshot {name} of {sequence}"),
            Action::SnapshotForgotten { name } => format!("forgot {name}"),
            _ => "another".into(),
        }
    };
    operations.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn all_words(changes: &[Change]) -> Vec<String> {
    changes.iter().map(words).collect()
}
