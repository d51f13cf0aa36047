//! The list of promises, a sentence each, kept on the real environment.
//!
//! | room | what it promises |
//! |---|---|
//! | `writes` | pairs, limits, batches, removals, values of any size |
//! | `collections` | nested collections: created, renamed, deleted in batches; what races with that |
//! | `ranges` | the range matrix, bounds, prefixes, both ends |
//! | `removals` | range deletes: bounds, snapshots, what comes after, whatever lies where |
//! | `repair` | whatever is lost or damaged: what is left is a whole database, and the loss is told |
//! | `reverts` | going back to a named snapshot: what comes back, what stays, what others see of it |
//! | `scans` | failing fast, keys alone, what was removed, seeks |
//! | `settings` | what is set for a collection: kept, changed, and used where it is written |
//! | `snapshots` | snapshots hold; iterators and values outlive the database |
//! | `feed` | who follows beside writers gets every batch, once, in order, until the database closes |
//! | `history` | named snapshots: kept over everything, by name, as of collections that went |
//! | `ingest` | sorted pairs past log and memory: order, snapshots, threads, what is refused |
//! | `json` | pairs as JSON Lines, out and in; with the feature of that name |
//! | `large` | large values: sizes, written once, cleaned, damaged |
//! | `packed` | large values that are stored compressed: replayed, cleaned, beside raw ones |
//! | `threads` | batches stay whole under threads; syncs are shared |
//! | `transactions` | every anomaly as a schedule, own writes, savepoints, keys swapped as one step |
//! | `expiry` | what expires: at every reader, wherever it lies, by every way to write |
//! | `folders` | open, close, reopen, read-only, busy, what is refused and left untouched |
//! | `care` | verify, checksum, stats |
//! | `copies` | checkpoints and backups: whole, of one moment, incremental, damaged |
//!
//! What holds for a set of pairs holds in every [`Shape`] in which they may lie.

#![expect(clippy::disallowed_methods, reason = "the tests look at folders from outside")]
#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

mod care;
mod collections;
mod copies;
mod expiry;
mod feed;
mod folders;
mod history;
mod ingest;
mod json;
mod large;
mod packed;
mod ranges;
mod removals;
mod repair;
mod reverts;
mod scans;
mod settings;
mod snapshots;
mod threads;
mod transactions;
mod writes;

use esker::{Collection, Db, Options, Range};
use std::path::Path;
use tempfile::TempDir;

/// Options under which a few hundred small pairs already make several generations.
fn small() -> Options {
    Db::options().slab_bytes(64 << 10).memory_budget(4 << 20)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A database in `folder` with its collection `c`.
fn open(folder: &Path) -> (Db, Collection) {
    let db = small().open(folder).unwrap();
    let collection = db.collection("c").unwrap();
    (db, collection)
}

/// The keys of a range as text, each with a space behind.
fn keys(range: Range) -> String {
    range.map(|pair| format!("{} ", pair.unwrap().0.escape_ascii())).collect()
}

/// The pairs of a range as text.
fn pairs(range: Range) -> String {
    let text = |(key, value): (esker::Key, esker::Value)| {
        format!("{}={} ", key.escape_ascii(), value.escape_ascii())
    };
    range.map(|pair| text(pair.unwrap())).collect()
}

/// How the same pairs may lie: in memory, in files, or over several of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    OneBatch,
    ManyCommits,
    Flushed,
    /// Each commit in a run of its own.
    ManyRuns,
    /// Half of the commits in runs, the others in memory.
    Mixed,
    Compacted,
    Reopened,
    Replayed,
}

const SHAPES: [Shape; 8] = [
    Shape::OneBatch,
    Shape::ManyCommits,
    Shape::Flushed,
    Shape::ManyRuns,
    Shape::Mixed,
    Shape::Compacted,
    Shape::Reopened,
    Shape::Replayed,
];

/// An operation on a key: a value, or none to remove it.
type Step<'a> = (&'a str, Option<&'a str>);

/// A database in which `steps` were done in order and lie as `shape` says.
struct Shaped {
    _folder: TempDir,
    db: Db,
    c: Collection,
}

impl Shaped {
    fn new(shape: Shape, steps: &[Step<'_>]) -> Self {
        let folder = folder();
        let options = small().background_compaction(false);
        let db = options.open(folder.path()).unwrap();
        let c = db.collection("c").unwrap();
        // Neighbours, which no range of `c` may ever show.
        db.collection("b").unwrap().insert("b", "not mine").unwrap();
        db.collection("d").unwrap().insert("d", "not mine").unwrap();
        if shape == Shape::OneBatch {
            let mut batch = db.batch();
            for (key, value) in steps {
                match value {
                    Some(value) => batch.insert(&c, key, value).unwrap(),
                    None => batch.remove(&c, key).unwrap(),
                }
            }
            batch.commit().unwrap();
        } else {
            for (index, (key, value)) in steps.iter().enumerate() {
                match value {
                    Some(value) => c.insert(key, value).unwrap(),
                    None => c.remove(key).unwrap(),
                }
                let half = index < steps.len() / 2;
                if shape == Shape::ManyRuns || shape == Shape::Mixed && half {
                    db.flush().unwrap();
                }
            }
        }
        match shape {
            Shape::Flushed => db.flush().unwrap(),
            Shape::Compacted => {
                db.flush().unwrap();
                db.compact().unwrap();
            }
            Shape::Reopened => {
                db.flush().unwrap();
                return Self::reopen(folder, db, c);
            }
            Shape::Replayed => return Self::reopen(folder, db, c),
            _ => {}
        }
        Self { _folder: folder, db, c }
    }

    fn reopen(folder: TempDir, db: Db, c: Collection) -> Self {
        drop(c);
        db.close().unwrap();
        let (db, c) = open(folder.path());
        Self { _folder: folder, db, c }
    }
}

/// Runs `check` on the same steps in every shape.
fn in_every_shape(steps: &[Step<'_>], check: impl Fn(&Db, &Collection, Shape)) {
    for shape in SHAPES {
        let shaped = Shaped::new(shape, steps);
        check(&shaped.db, &shaped.c, shape);
    }
}
