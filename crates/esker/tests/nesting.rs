//! Nested collections against a nested map: random trees of create, delete, rename and write, in
//! batches and alone, with snapshots, clean ends and power loss (MOSS-8, MOSS-9, MOSS-D10, D11, D18).
//!
//! 1. A batch that the map refuses is refused, and changes nothing.
//! 2. Handles are kept, also of collections that are gone or never came: what is written through them
//!    is refused, what a snapshot from before reads through them is what was there then.
//! 3. After power loss the database is one of the maps since the last sync, names and pairs together.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod support;

use esker::env::sim::{Loss, Sim};
use esker::{Collection, Compression, Db, Durability, Options, Range, Result, Settings, Snapshot};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::{Dice, Tally, for_seeds};

static TALLY: Tally = Tally::new();

const SEEDS: u64 = 200;
const STEPS: usize = 60;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
/// Each with the number of its collection.
type Handles = Vec<(Collection, u64)>;

/// What there is: paths, and what each has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Map {
    /// Collections by path; the number is of one collection alone.
    paths: BTreeMap<String, u64>,
    pairs: BTreeMap<u64, Pairs>,
}

impl Map {
    fn path(&self, id: u64) -> Option<String> {
        self.paths.iter().find(|(_, it)| **it == id).map(|(path, _)| path.clone())
    }

    /// The paths of a collection and of all below it.
    fn tree(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let is_in = |it: &&String| **it == path || it.starts_with(&below);
        self.paths.keys().filter(is_in).cloned().collect()
    }

    fn create(&mut self, path: &str, id: u64, next: &mut u64) -> bool {
        if self.paths.contains_key(path) {
            return false;
        }
        for (at, _) in path.match_indices('/') {
            self.paths.entry(path[..at].to_owned()).or_insert_with(|| {
                *next += 1;
                *next
            });
        }
        self.paths.insert(path.to_owned(), id);
        true
    }

    fn delete(&mut self, id: u64) -> bool {
        let Some(path) = self.path(id) else { return false };
        for path in self.tree(&path) {
            let id = self.paths.remove(&path).unwrap();
            self.pairs.remove(&id);
        }
        true
    }

    fn rename(&mut self, id: u64, to: &str, next: &mut u64) -> bool {
        let Some(from) = self.path(id) else { return false };
        if self.paths.contains_key(to) || to.starts_with(&format!("{from}/")) {
            return false;
        }
        let moved = self.tree(&from);
        let ids: Vec<u64> = moved.iter().map(|path| self.paths.remove(path).unwrap()).collect();
        for (path, id) in moved.iter().zip(ids) {
            assert!(self.create(&[to, &path[from.len()..]].concat(), id, next));
        }
        true
    }

    fn write(&mut self, id: u64, key: &[u8], value: Option<&[u8]>) -> bool {
        if self.path(id).is_none() {
            return false;
        }
        let pairs = self.pairs.entry(id).or_default();
        match value {
            Some(value) => pairs.insert(key.to_vec(), value.to_vec()),
            None => pairs.remove(key),
        };
        true
    }

    fn pairs(&self, id: u64) -> Pairs {
        self.pairs.get(&id).cloned().unwrap_or_default()
    }

    /// The same with what each has beside its path: how a database looks from outside.
    fn shown(&self) -> BTreeMap<String, Pairs> {
        self.paths.iter().map(|(path, id)| (path.clone(), self.pairs(*id))).collect()
    }
}

struct Run {
    dice: Dice,
    world: Arc<Sim>,
    db: Db,
    map: Map,
    /// The maps since the last sync, the newest last.
    history: Vec<Map>,
    handles: Handles,
    snapshots: Vec<(Snapshot, Map, Handles)>,
    next: u64,
}

fn options(world: &Arc<Sim>) -> Options {
    let options =
        Options::default().memory_budget(1 << 20).slab_bytes(16 << 10).blob_threshold(1000);
    options.env(world.clone())
}

fn dir() -> &'static Path {
    Path::new("/db")
}

fn found(range: Range) -> Pairs {
    let pairs = range.map(|pair| pair.unwrap());
    pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn shown(db: &Db) -> BTreeMap<String, Pairs> {
    let paths = db.collections().unwrap().into_iter();
    let open = |path: &String| db.existing_collection(path).unwrap().unwrap();
    paths.map(|path| (path.clone(), found(open(&path).iter()))).collect()
}

impl Run {
    fn path(&mut self) -> String {
        let dice = &mut self.dice;
        let parts = (0..1 + dice.index(3)).map(|_| dice.pick(&["a", "b", "a-", "c", "d", "e"]));
        parts.collect::<Vec<_>>().join("/")
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn handle(&mut self) -> Option<(Collection, u64)> {
        // Of late ones: those before are gone, most of them; and of those mostly one that is there.
        let late = self.handles.len().saturating_sub(12);
        let mut late = self.handles.get(late..).unwrap_or_default().to_vec();
        if !self.dice.one_in(12) {
            late.retain(|(_, id)| self.map.path(*id).is_some());
        }
        (!late.is_empty()).then(|| late.swap_remove(self.dice.index(late.len())))
    }

    fn settings(&mut self) -> Settings {
        match self.dice.below(5) {
            3 => Settings::default().blob_threshold(256),
            4 => Settings::default().blob_threshold(usize::MAX),
            0 => Settings::default().compression(Compression::Lz4),
            1 => Settings::default().filter(3).prefix_filter(1),
            _ => Settings::default(),
        }
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        let len = self.dice.pick(&[0, 3, 300, 3000]);
        (!self.dice.one_in(4)).then(|| vec![self.dice.next() as u8; len])
    }

    fn batch(&mut self) {
        let mut batch = self.db.batch();
        let mut map = self.map.clone();
        let mut is_good = true;
        for _ in 0..1 + self.dice.index(6) {
            let handle = self.handle();
            match (self.dice.below(8), handle) {
                (0 | 1, _) | (_, None) => {
                    let (path, id, settings) = (self.path(), self.fresh(), self.settings());
                    let made = batch.create_collection_with(&path, &settings).unwrap();
                    is_good &= map.create(&path, id, &mut self.next);
                    self.handles.push((made, id));
                }
                (2, Some((it, id))) => {
                    batch.delete_collection(&it).unwrap();
                    is_good &= map.delete(id);
                }
                (3, Some((it, id))) => {
                    let path = self.path();
                    batch.rename_collection(&it, &path).unwrap();
                    is_good &= map.rename(id, &path, &mut self.next);
                }
                (_, Some((it, id))) => {
                    let (key, value) = ([self.dice.below(4) as u8], self.value());
                    match &value {
                        Some(value) => batch.insert(&it, key, value).unwrap(),
                        None => batch.remove(&it, key).unwrap(),
                    }
                    is_good &= map.write(id, &key, value.as_deref());
                }
            }
        }
        let durability = self.dice.pick(&[Durability::Buffered, Durability::Sync]);
        let done = batch.commit_with(durability);
        assert_eq!(done.is_ok(), is_good, "{done:?}");
        TALLY.add(if is_good { "batches" } else { "batches refused" }, 1);
        if is_good {
            self.commit(map, durability);
        }
    }

    fn commit(&mut self, map: Map, durability: Durability) {
        if durability == Durability::Sync {
            self.history.clear();
        }
        self.history.push(map.clone());
        self.map = map;
    }

    fn alone(&mut self) {
        let mut map = self.map.clone();
        let handle = self.handle();
        let done = match (self.dice.below(5), handle) {
            (0, _) | (_, None) => {
                let (path, id) = (self.path(), self.fresh());
                map.create(&path, id, &mut self.next);
                let id = map.paths[&path];
                self.handles.push((self.db.collection(&path).unwrap(), id));
                true
            }
            (1, Some((it, id))) => {
                let is_good = map.delete(id);
                assert_eq!(self.db.delete_collection(&it).is_ok(), is_good);
                is_good
            }
            (2, Some((it, id))) => {
                let settings = self.settings();
                assert_eq!(it.configure(&settings).is_ok(), map.path(id).is_some());
                false
            }
            (_, Some((it, id))) => {
                let is_good = map.write(id, b"alone", Some(b"value"));
                assert_eq!(it.insert("alone", "value").is_ok(), is_good);
                is_good
            }
        };
        if done {
            self.commit(map, Durability::Buffered);
        }
    }

    fn look(&mut self) {
        for (handle, id) in &self.handles {
            assert_eq!(found(handle.iter()), self.map.pairs(*id), "{handle:?}");
            assert_eq!(handle.path(), self.map.path(*id));
        }
        for (snapshot, map, handles) in &self.snapshots {
            let paths: Vec<String> = map.paths.keys().cloned().collect();
            assert_eq!(self.db.collections_at(snapshot).unwrap(), paths);
            for (path, id) in &map.paths {
                let view = self.db.view_at(path, snapshot).unwrap().unwrap();
                assert_eq!(found(view.iter()), map.pairs(*id), "{path:?} at {snapshot:?}");
            }
            assert!(self.db.view_at("absent", snapshot).unwrap().is_none());
            for (handle, id) in handles {
                let pairs = found(handle.at(snapshot).iter());
                assert_eq!(pairs, map.pairs(*id), "{handle:?} at {snapshot:?}");
            }
        }
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0..=9 => self.batch(),
            10..=12 => self.alone(),
            13 => self.look(),
            14 if self.snapshots.len() < 3 => {
                let snapshot = self.db.snapshot();
                self.snapshots.push((snapshot, self.map.clone(), self.handles.clone()));
            }
            14 | 15 => drop(self.snapshots.pop()),
            16 => self.db.flush().unwrap(),
            17 => self.db.compact().unwrap(),
            18 => self.reopen(),
            _ if self.dice.one_in(2) => self.crash(),
            _ => self.world.settle(),
        }
    }

    fn begin_again(&mut self) {
        self.db = options(&self.world).open(dir()).unwrap();
        let found = shown(&self.db);
        let map = self.history.iter().rev().find(|map| map.shown() == found);
        self.map = map.unwrap_or_else(|| panic!("want {:?}, found {found:?}", self.map)).clone();
        self.history = vec![self.map.clone()];
        let open = |(path, id): (&String, &u64)| (self.db.collection(path).unwrap(), *id);
        self.handles = self.map.paths.iter().map(open).collect();
        for (handle, _) in &self.handles {
            let below = self.db.collections_in(handle.name()).unwrap();
            let children = handle.children().unwrap();
            assert!(children.iter().all(|child| below.contains(child)));
        }
    }

    fn reopen(&mut self) {
        self.snapshots.clear();
        self.handles.clear();
        self.db.clone().close().unwrap();
        self.history = vec![self.map.clone()];
        self.begin_again();
        TALLY.add("reopens", 1);
    }

    fn crash(&mut self) {
        self.snapshots.clear();
        self.handles.clear();
        self.world = self.world.crash(self.dice.pick(&Loss::MODELS));
        self.begin_again();
        TALLY.add("crashes", 1);
    }
}

#[test]
fn nested_collections_behave_as_a_nested_map() {
    for_seeds("nesting", SEEDS, |seed| {
        let world = Sim::new(seed);
        let db = options(&world).open(dir()).unwrap();
        let (map, dice) = (Map::default(), Dice::new(seed));
        let history = vec![map.clone()];
        let (handles, snapshots, next) = Default::default();
        let mut run = Run { dice, world, db, map, history, handles, snapshots, next };
        (0..STEPS).for_each(|_| run.step());
        run.look();
        run.reopen();
        run.db.compact().unwrap();
        assert!(run.db.verify().unwrap().is_whole());
        assert_eq!(shown(&run.db), run.map.shown());
        Ok(())
    });
    TALLY.print("nesting");
    TALLY.must_have_seen(&["batches", "batches refused", "reopens", "crashes"]);
}

/// A step of a story, and how durable it is when it returns.
type Step = (Durability, fn(&Db) -> Result<()>);

const STORY: [Step; 9] = [
    (Durability::Sync, |db| {
        let mut batch = db.batch();
        let b = batch.create_collection_with("a/b", &Settings::default().blob_threshold(256))?;
        let x = batch.create_collection("x")?;
        batch.insert(&b, "k", vec![1; 300])?;
        batch.insert(&x, "k", vec![2; 3000])?;
        batch.commit_with(Durability::Sync)
    }),
    (Durability::Buffered, |db| {
        let (a, x) = (db.collection("a")?, db.collection("x")?);
        let mut batch = db.batch();
        batch.rename_collection(&a, "c/d")?;
        batch.insert(&a, "k", "moved")?;
        batch.remove(&x, "k")?;
        batch.commit()
    }),
    (Durability::Sync, |db| db.flush()),
    (Durability::Buffered, |db| db.collection("c/d/b")?.insert("l", "late")),
    (Durability::Sync, |db| {
        let old = db.collection("c")?;
        let mut batch = db.batch();
        batch.delete_collection(&old)?;
        let new = batch.create_collection("c/d")?;
        batch.insert(&new, "k", "new")?;
        batch.commit_with(Durability::Sync)
    }),
    (Durability::Buffered, |db| db.collection("x")?.configure(&Settings::default().filter(3))),
    (Durability::Sync, |db| db.compact()),
    (Durability::Buffered, |db| db.delete_collection(&db.collection("c")?)),
    (Durability::Buffered, |db| db.collection("c/d").map(drop)),
];

/// MOSS-4, MOSS-9: power loss at every call, under every loss model: names and pairs are those after
/// one of the steps, none that was synced is missing, and what was deleted stays so.
#[test]
fn power_loss_at_any_call_leaves_whole_batches_of_names_and_pairs() {
    let world = Sim::new(7);
    let db = options(&world).open(dir()).unwrap();
    let mut states = vec![shown(&db)];
    for (_, step) in STORY {
        step(&db).unwrap();
        states.push(shown(&db));
    }
    let calls = world.calls();
    drop(db);
    for call in 1..=calls {
        let world = Sim::new(7);
        world.crash_at(call);
        let (mut done, mut durable) = (0, 0);
        if let Ok(db) = options(&world).open(dir()) {
            for (durability, step) in STORY {
                if step(&db).is_err() {
                    break;
                }
                done += 1;
                durable = if durability == Durability::Sync { done } else { durable };
            }
        }
        for loss in Loss::MODELS {
            let db = options(&world.crash(loss)).open(dir()).unwrap();
            let found = shown(&db);
            let may_be = &states[durable..states.len().min(done + 2)];
            assert!(may_be.contains(&found), "call {call}, {loss:?}: {found:?}");
        }
    }
    assert!(calls > 50, "{calls} calls");
}
