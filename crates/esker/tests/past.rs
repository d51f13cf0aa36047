//! Named snapshots and reverts in a simulated world, and the power lost at every call. Random programs
//! of them are the model's.
//!
//! 1. A revert is there whole or not at all, whatever call the power is lost at (MOSS-24), and takes
//!    nothing from any named snapshot.
//! 2. A name that is found stands for all that it ever stood for.

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

use esker::env::sim::{Calls, Errno, Fault, Loss, Sim};
use esker::operators::Append;
use esker::{Collection, Db, MergeOperator, Options, Range, Settings, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
/// The pairs of all collections, by path.
type State = BTreeMap<String, Pairs>;

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
