//! Named snapshots and reverts in a simulated world: random programs against maps, and the power lost
//! at every call.
//!
//! ```text
//!   put · remove · merge · collections come, go, move    ─▶ database in a Sim ─┐
//!   name · forget · revert · flush · compact · crash        a map a moment     ┴─ all agree
//! ```
//!
//! 1. A revert is there whole or not at all, whatever call the power is lost at (MOSS-24), and takes
//!    nothing from any named snapshot.
//! 2. A name that is found stands for all that it ever stood for.

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

use esker::env::sim::{Calls, Errno, Fault, Loss, Sim};
use esker::operators::Append;
use esker::{Collection, Db, MergeOperator, Options, Range, Settings, Snapshot};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
/// The pairs of all collections, by path.
type State = BTreeMap<String, Pairs>;

const PATHS: [&str; 4] = ["a", "b", "b/c", "d"];
const NAMES: [&str; 3] = ["x", "y", "z"];

fn options(world: &Arc<Sim>) -> Options {
    let options = Db::options().slab_bytes(16 << 10).memory_budget(1 << 20);
    options.merge_operator(Arc::new(Append::new(":"))).env(world.clone())
}

fn open(world: &Arc<Sim>) -> Db {
    options(world).open("/db").unwrap()
}

/// The collection, made if it is missing, whose operands are appended.
fn collection(db: &Db, path: &str) -> Collection {
    let c = db.collection(path).unwrap();
    if c.settings().merge_operator.is_none() {
        c.configure(&Settings::default().merge_operator(Append::new(":").name())).unwrap();
    }
    c
}

fn all(range: Range) -> Pairs {
    range.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// What is there now.
fn now(db: &Db) -> State {
    let paths = db.collections().unwrap();
    let pairs = |path: &str| all(db.existing_collection(path).unwrap().unwrap().iter());
    paths.into_iter().map(|path| (path.clone(), pairs(&path))).collect()
}

/// What was there when `snapshot` was taken.
fn then(db: &Db, snapshot: &Snapshot) -> State {
    let paths = db.collections_at(snapshot).unwrap();
    let pairs = |path: &str| all(db.view_at(path, snapshot).unwrap().unwrap().iter());
    paths.into_iter().map(|path| (path.clone(), pairs(&path))).collect()
}

/// What every named snapshot sees.
fn named(db: &Db) -> BTreeMap<String, State> {
    let named = db.named_snapshots().unwrap().into_iter();
    named.map(|(name, snapshot)| (name, then(db, &snapshot))).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Put { path: usize, key: u8, large: bool },
    Merge { path: usize, key: u8 },
    Remove { path: usize, key: u8 },
    RemoveRange { path: usize, from: u8, to: u8 },
    Ingest { path: usize },
    Delete { path: usize },
    Rename { path: usize, to: usize },
    Name { name: usize },
    Forget { name: usize },
    Revert { name: usize },
    Flush,
    Compact,
    Reopen,
    Crash { loss: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (path, key, name) = (|| 0..PATHS.len(), || 0..12u8, || 0..NAMES.len());
    let step = prop_oneof![
        10 => (path(), key(), prop::bool::weighted(0.2))
            .prop_map(|(path, key, large)| Step::Put { path, key, large }),
        3 => (path(), key()).prop_map(|(path, key)| Step::Merge { path, key }),
        4 => (path(), key()).prop_map(|(path, key)| Step::Remove { path, key }),
        2 => (path(), key(), key())
            .prop_map(|(path, from, to)| Step::RemoveRange { path, from, to }),
        1 => path().prop_map(|path| Step::Ingest { path }),
        1 => path().prop_map(|path| Step::Delete { path }),
        1 => (path(), path()).prop_map(|(path, to)| Step::Rename { path, to }),
        2 => name().prop_map(|name| Step::Name { name }),
        1 => name().prop_map(|name| Step::Forget { name }),
        3 => name().prop_map(|name| Step::Revert { name }),
        2 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
        1 => (0..Loss::MODELS.len()).prop_map(|loss| Step::Crash { loss }),
    ];
    prop::collection::vec(step, 1..60)
}

/// A database, and what it should hold.
struct Play {
    world: Arc<Sim>,
    db: Option<Db>,
    now: State,
    named: BTreeMap<String, State>,
    values: u32,
}

impl Play {
    fn new() -> Self {
        let world = Sim::new(7);
        let db = Some(open(&world));
        Self { world, db, now: State::new(), named: BTreeMap::new(), values: 0 }
    }

    fn value(&mut self, large: bool) -> Vec<u8> {
        self.values += 1;
        let text = self.values.to_string().into_bytes();
        if large { text.repeat(3000) } else { text }
    }

    /// The collection, made if it is missing, with the pairs that it should have.
    fn collection(&mut self, path: usize) -> (Collection, &mut Pairs) {
        let collection = collection(self.db.as_ref().unwrap(), PATHS[path]);
        if let Some((parent, _)) = PATHS[path].split_once('/') {
            self.now.entry(parent.into()).or_default();
        }
        (collection, self.now.entry(PATHS[path].into()).or_default())
    }

    fn step(&mut self, step: &Step) {
        let db = self.db.clone().unwrap();
        match *step {
            Step::Put { path, key, large } => {
                let value = self.value(large);
                let (c, pairs) = self.collection(path);
                c.insert([key], &value).unwrap();
                pairs.insert(vec![key], value);
            }
            Step::Merge { path, key } => {
                let value = self.value(false);
                let (c, pairs) = self.collection(path);
                c.merge([key], &value).unwrap();
                pairs.entry(vec![key]).or_default().extend([b":", &*value].concat());
            }
            Step::Remove { path, key } => {
                let (c, pairs) = self.collection(path);
                c.remove([key]).unwrap();
                pairs.remove(&vec![key]);
            }
            Step::RemoveRange { path, from, to } => {
                let (c, pairs) = self.collection(path);
                c.remove_range([from]..[to]).unwrap();
                pairs.retain(|key, _| !(from..to).contains(&key[0]));
            }
            Step::Ingest { path } => {
                let value = self.value(false);
                let (c, pairs) = self.collection(path);
                let all: Vec<_> = (0..12u8).step_by(3).map(|key| ([key], &value)).collect();
                c.ingest(all).unwrap();
                pairs.extend((0..12u8).step_by(3).map(|key| (vec![key], value.clone())));
            }
            Step::Delete { path } => {
                if let Some(c) = db.existing_collection(PATHS[path]).unwrap() {
                    db.delete_collection(&c).unwrap();
                    self.now.retain(|at, _| !is_in(at, PATHS[path]));
                }
            }
            Step::Rename { path, to } => self.rename(PATHS[path], PATHS[to]),
            Step::Name { name } => {
                let is_free = !self.named.contains_key(NAMES[name]);
                assert_eq!(db.name_snapshot(NAMES[name]).is_ok(), is_free);
                self.named.entry(NAMES[name].into()).or_insert_with(|| self.now.clone());
            }
            Step::Forget { name } => {
                let is_there = self.named.remove(NAMES[name]).is_some();
                assert_eq!(db.forget_snapshot(NAMES[name]).is_ok(), is_there);
            }
            Step::Revert { name } => {
                let past = self.named.get(NAMES[name]);
                assert_eq!(db.revert(NAMES[name]).is_ok(), past.is_some());
                self.now = past.unwrap_or(&self.now).clone();
            }
            Step::Flush => db.flush().unwrap(),
            Step::Compact => db.compact().unwrap(),
            Step::Reopen => {
                self.db = None;
                db.close().unwrap();
                self.db = Some(open(&self.world));
            }
            Step::Crash { loss } => {
                db.sync().unwrap();
                self.world = self.world.crash(Loss::MODELS[loss]);
                self.db = Some(open(&self.world));
            }
        }
    }

    fn rename(&mut self, path: &str, to: &str) {
        let db = self.db.clone().unwrap();
        let Some(c) = db.existing_collection(path).unwrap() else { return };
        let may = !self.now.contains_key(to) && !is_in(to, path);
        assert_eq!(db.rename_collection(&c, to).is_ok(), may);
        if may {
            let moved: Vec<String> =
                self.now.keys().filter(|at| is_in(at, path)).cloned().collect();
            for at in moved {
                let pairs = self.now.remove(&at).unwrap();
                self.now.insert([to, &at[path.len()..]].concat(), pairs);
            }
            if let Some((parent, _)) = to.split_once('/') {
                self.now.entry(parent.into()).or_default();
            }
        }
    }

    fn check(&self) {
        let db = self.db.as_ref().unwrap();
        assert_eq!(now(db), self.now);
        assert_eq!(named(db), self.named);
    }
}

/// Whether `at` is `path` or lies below it.
fn is_in(at: &str, path: &str) -> bool {
    at.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// MOSS-21, MOSS-24.
    #[test]
    fn what_was_named_is_kept_and_gone_back_to(steps in steps()) {
        let mut play = Play::new();
        for step in &steps {
            play.step(step);
            if !matches!(step, Step::Put { .. } | Step::Merge { .. } | Step::Remove { .. }) {
                play.check();
            }
        }
        play.check();
        play.db.as_ref().unwrap().compact().unwrap();
        play.check();
        assert!(play.db.unwrap().verify().unwrap().damages.is_empty());
    }
}

/// A world in which much has changed since the snapshot "x", in files and in memory.
fn changed() -> (Arc<Sim>, Db) {
    let world = Sim::new(9);
    let db = open(&world);
    let (a, b) = (collection(&db, "a"), collection(&db, "b"));
    for key in 0..40u8 {
        a.insert([key], [key; 50]).unwrap();
        b.insert([key], [key; 3000]).unwrap();
    }
    db.collection("b/c").unwrap().insert("k", "1").unwrap();
    db.name_snapshot("x").unwrap();
    for key in 0..20u8 {
        a.insert([key * 2], b"changed").unwrap();
        b.insert([key], [7; 3000]).unwrap();
    }
    a.remove_range([30u8]..[35]).unwrap();
    db.flush().unwrap();
    db.name_snapshot("y").unwrap();
    db.delete_collection(&db.collection("b/c").unwrap()).unwrap();
    db.rename_collection(&b, "d").unwrap();
    db.collection("e").unwrap().insert("k", "1").unwrap();
    a.merge([1], b"more").unwrap();
    db.sync().unwrap();
    (world, db)
}

/// Loses the power at every call of `act`, under every loss model, and has `check` look at what an
/// open finds, told whether `act` had returned. Answers how often.
fn at_every_call(act: impl Fn(&Db) -> esker::Result<()>, check: impl Fn(&Db, bool)) -> u64 {
    let (world, db) = changed();
    let first = world.calls();
    act(&db).unwrap();
    let calls = world.calls() - first;
    drop(db);
    for call in 1..=calls {
        let (world, db) = changed();
        world.crash_at(first + call);
        let is_done = act(&db).is_ok();
        for loss in Loss::MODELS {
            let image = world.crash(loss);
            let found = open(&image);
            check(&found, is_done);
            assert!(found.verify().unwrap().damages.is_empty(), "at call {call}, {loss:?}");
        }
    }
    calls * Loss::MODELS.len() as u64
}

/// MOSS-24, F-11, F-15.
#[test]
fn a_revert_is_whole_or_absent_whenever_the_power_is_lost() {
    let (_world, db) = changed();
    let (before, names) = (now(&db), named(&db));
    drop(db);
    let crashes = at_every_call(
        |db| db.revert("x").map(|_| ()),
        |db, is_done| {
            let found = now(db);
            let is_whole = found == names["x"];
            assert!(is_whole || (found == before && !is_done));
            assert_eq!(named(db), names);
            assert_eq!(db.revert("x").unwrap() > 0, !is_whole);
            assert_eq!(now(db), names["x"], "and it can be done again");
        },
    );
    assert!(crashes >= 50, "{crashes}");
}

/// What is named is found as it was, or not at all; so is what is forgotten.
#[test]
fn a_name_stands_for_all_or_is_absent_whenever_the_power_is_lost() {
    let (_world, db) = changed();
    let (state, names) = (now(&db), named(&db));
    drop(db);
    let act = |db: &Db| {
        db.name_snapshot("z")?;
        db.collection("a")?.clear()?;
        db.compact()?;
        db.forget_snapshot("x")?;
        db.compact()
    };
    at_every_call(act, |db, is_done| {
        let found = named(db);
        for (name, seen) in &found {
            assert_eq!(seen, names.get(name).unwrap_or(&state), "{name}");
        }
        assert!(found.contains_key("y"));
        assert!(!is_done || found.keys().eq(["y", "z"]));
    });
}

/// Law 9: a revert that fails has changed nothing, and may be tried again unless that was final.
#[test]
fn a_revert_that_fails_leaves_all_as_it_was() {
    let (world, db) = changed();
    let first = world.count(Calls::CREATE | Calls::WRITE);
    db.revert("x").unwrap();
    let calls = world.count(Calls::CREATE | Calls::WRITE) - first;
    assert!(calls > 3, "{calls}");
    for call in 1..=calls {
        let (world, db) = changed();
        let (before, names) = (now(&db), named(&db));
        let full = Fault::refuse(Errno::NoSpace, Calls::CREATE | Calls::WRITE);
        world.fail_at(first + call, full);
        let result = db.revert("x");
        world.heal();
        match result {
            Ok(_) => assert_eq!(now(&db), names["x"]),
            Err(_) => {
                assert_eq!(now(&db), before, "call {call}");
                let again = db.collection("a").unwrap().insert("k", "1").and_then(|()| {
                    db.revert("x")?;
                    Ok(())
                });
                if again.is_ok() {
                    assert_eq!(now(&db), names["x"], "call {call}");
                }
            }
        }
        assert_eq!(named(&db), names);
        drop(db);
        let found = now(&open(&world.crash(Loss::All)));
        assert!(found == names["x"] || found == before, "call {call}");
    }
}
