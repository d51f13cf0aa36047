//! Names of collections and their pairs after power loss at every call of one story: batches that
//! create, rename, delete and write (MOSS-4, MOSS-9). What happens otherwise the model drives.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use esker::env::sim::{Loss, Sim};
use esker::{Db, Durability, Options, Result, Settings};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(world: &Arc<Sim>) -> Options {
    let options =
        Options::default().memory_budget(1 << 20).slab_bytes(16 << 10).blob_threshold(1000);
    options.env(world.clone())
}

fn dir() -> &'static Path {
    Path::new("/db")
}

/// What each collection has.
fn shown(db: &Db) -> BTreeMap<String, Pairs> {
    let paths = db.collections().unwrap().into_iter();
    let pairs = |path: &str| {
        let pairs = db.existing_collection(path).unwrap().unwrap().iter();
        pairs.map(Result::unwrap).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    paths.map(|path| (path.clone(), pairs(&path))).collect()
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
