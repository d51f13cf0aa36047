//! Nested collections: created, renamed and deleted in batches, together with data.

use crate::{folder, open, small};
use esker::{Collection, Compression, Db, ErrorKind, Settings};

fn kind<T>(result: esker::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn pairs(collection: &Collection) -> Vec<String> {
    crate::pairs(collection.iter()).split_whitespace().map(str::to_owned).collect()
}

/// MOSS-8: children lie below their parents at any depth; parents that are missing come along.
#[test]
fn a_collection_brings_its_parents() {
    let folder = folder();
    let (db, _) = open(folder.path());
    db.collection("a/b/c").unwrap().insert("k", "deep").unwrap();
    db.collection("a-b").unwrap();
    let all = ["a", "a-b", "a/b", "a/b/c", "c"];
    assert_eq!(db.collections().unwrap(), all);
    assert_eq!(db.collections_in("a").unwrap(), ["a/b", "a/b/c"]);
    let a = db.existing_collection("a").unwrap().unwrap();
    assert_eq!(a.children().unwrap(), ["a/b"]);
    assert!(pairs(&a).is_empty(), "a parent has none of its child's pairs");
    a.insert("k", "above").unwrap();
    drop(a);
    db.close().unwrap();
    let (db, _) = open(folder.path());
    assert_eq!(db.collections().unwrap(), all);
    assert_eq!(pairs(&db.collection("a/b/c").unwrap()), ["k=deep"]);
    assert_eq!(pairs(&db.collection("a").unwrap()), ["k=above"]);
    for bad in ["", "/", "a/", "/a", "a//b", "a/\n"] {
        assert_eq!(kind(db.collection(bad)), ErrorKind::InvalidArgument, "{bad:?}");
        assert_eq!(kind(db.batch().create_collection(bad)), ErrorKind::InvalidArgument);
    }
}

/// MOSS-4, MOSS-5: a batch that only creates is not empty, and its collections come with its data.
#[test]
fn a_batch_creates_collections_together_with_its_data() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let mut batch = db.batch();
    let made = batch.create_collection("x/y").unwrap();
    assert!(!batch.is_empty());
    assert_eq!(kind(made.insert("k", "early")), ErrorKind::NotFound);
    assert_eq!(made.path(), None);
    batch.insert(&made, "k", "1").unwrap();
    batch.insert(&c, "k", "2").unwrap();
    assert_eq!(db.collections().unwrap(), ["c"]);
    batch.commit().unwrap();
    assert_eq!(db.collections().unwrap(), ["c", "x", "x/y"]);
    made.insert("l", "3").unwrap();
    let mut empty_child = db.batch();
    empty_child.create_collection("x/z").unwrap();
    empty_child.commit().unwrap();
    drop((made, c));
    db.close().unwrap();
    let (db, c) = open(folder.path());
    assert_eq!(db.collections().unwrap(), ["c", "x", "x/y", "x/z"]);
    assert_eq!(pairs(&db.collection("x/y").unwrap()), ["k=1", "l=3"]);
    assert_eq!(pairs(&c), ["k=2"]);
}

/// A batch that is dropped leaves nothing, and its handles stay without a collection.
#[test]
fn a_batch_that_is_not_committed_creates_nothing() {
    let folder = folder();
    let (db, _) = open(folder.path());
    let mut batch = db.batch();
    let lost = batch.create_collection("lost").unwrap();
    drop(batch);
    let other = db.collection("other").unwrap();
    other.insert("k", "v").unwrap();
    assert_eq!(kind(lost.insert("k", "v")), ErrorKind::NotFound);
    assert_eq!(kind(lost.ingest([("k", "v")])), ErrorKind::NotFound);
    assert_eq!(lost.get("k").unwrap(), None);
    assert_eq!(kind(db.delete_collection(&lost)), ErrorKind::NotFound);
    assert_eq!(db.collections().unwrap(), ["c", "other"]);
}

/// MOSS-9, MOSS-D10: the recreated one is empty, an older snapshot still reads the old contents;
/// over flush, compaction and reopening.
#[test]
fn a_recreated_collection_is_empty_and_snapshots_see_the_old_one() {
    for turn in 0..3 {
        let folder = folder();
        let (db, _) = open(folder.path());
        let settle = |db: &Db| match turn {
            0 => {}
            1 => db.flush().unwrap(),
            _ => db.compact().unwrap(),
        };
        let old = db.collection("users").unwrap();
        let below = db.collection("users/archive").unwrap();
        old.insert("k", "old").unwrap();
        below.insert("k", vec![7; 5000]).unwrap();
        settle(&db);
        let snapshot = db.snapshot();
        let mut batch = db.batch();
        batch.delete_collection(&old).unwrap();
        let new = batch.create_collection("users").unwrap();
        batch.insert(&new, "l", "new").unwrap();
        batch.commit().unwrap();
        settle(&db);
        assert_eq!(db.collections().unwrap(), ["c", "users"]);
        assert_eq!(pairs(&new), ["l=new"]);
        assert_eq!(old.at(&snapshot).get("k").unwrap().unwrap(), "old");
        assert_eq!(db.collections_at(&snapshot).unwrap(), ["c", "users", "users/archive"]);
        let then = db.view_at("users/archive", &snapshot).unwrap().unwrap();
        assert_eq!(then.get("k").unwrap().unwrap(), [7; 5000]);
        assert!(db.view_at("users/absent", &snapshot).unwrap().is_none());
        assert_eq!(below.at(&snapshot).get("k").unwrap().unwrap(), [7; 5000]);
        assert!(new.at(&snapshot).iter().next().is_none());
        assert_eq!((pairs(&old), old.path()), (vec![], None));
        for gone in [&old, &below] {
            assert_eq!(kind(gone.insert("k", "late")), ErrorKind::NotFound);
            assert_eq!(kind(gone.clear()), ErrorKind::NotFound);
            let written = db.transact(|txn| txn.insert(gone, "k", "late"));
            assert_eq!(kind(written), ErrorKind::NotFound);
            assert_eq!(kind(gone.ingest([("k", "late")])), ErrorKind::NotFound);
            assert_eq!(kind(gone.children()), ErrorKind::NotFound);
        }
        assert!(pairs(&db.collection("users/archive").unwrap()).is_empty());
        drop((old, below, new, snapshot));
        db.close().unwrap();
        let (db, _) = open(folder.path());
        assert_eq!(db.collections().unwrap(), ["c", "users", "users/archive"]);
        assert_eq!(pairs(&db.collection("users").unwrap()), ["l=new"]);
        assert!(pairs(&db.collection("users/archive").unwrap()).is_empty());
    }
}

/// MOSS-D18: create after delete, delete after create, delete after create after delete, each in one
/// batch, with writes before and between.
#[test]
fn the_order_of_a_batch_counts() {
    let folder = folder();
    let (db, _) = open(folder.path());
    let first = db.collection("x").unwrap();
    first.insert("k", "0").unwrap();
    let mut batch = db.batch();
    batch.insert(&first, "k", "1").unwrap();
    batch.delete_collection(&first).unwrap();
    let second = batch.create_collection("x").unwrap();
    batch.insert(&second, "l", "2").unwrap();
    let below = batch.create_collection("x/y").unwrap();
    batch.insert(&below, "m", "3").unwrap();
    batch.commit().unwrap();
    assert_eq!(pairs(&second), ["l=2"]);
    assert_eq!(pairs(&below), ["m=3"]);

    let mut batch = db.batch();
    batch.delete_collection(&second).unwrap();
    let third = batch.create_collection("x").unwrap();
    batch.insert(&third, "k", "4").unwrap();
    batch.delete_collection(&third).unwrap();
    batch.commit().unwrap();
    assert_eq!(db.collections().unwrap(), ["c"]);
    for gone in [first, second, third, below] {
        assert!(pairs(&gone).is_empty());
        assert_eq!(kind(gone.remove("k")), ErrorKind::NotFound);
    }
}

/// What cannot be is an error before anything is written, and the whole batch stays away.
#[test]
fn a_batch_with_a_change_that_cannot_be_changes_nothing() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let x = db.collection("x").unwrap();
    let before = db.stats().sequence;
    let attempt = |change: &dyn Fn(&mut esker::WriteBatch)| {
        let mut batch = db.batch();
        batch.insert(&c, "k", "v").unwrap();
        batch.create_collection("new/child").unwrap();
        change(&mut batch);
        let error = batch.commit().unwrap_err();
        assert_eq!(db.collections().unwrap(), ["c", "x"], "{error}");
        assert_eq!(db.stats().sequence, before);
        error.kind()
    };
    let exists = attempt(&|batch| drop(batch.create_collection("x").unwrap()));
    assert_eq!(exists, ErrorKind::InvalidArgument);
    let twice = attempt(&|batch| drop(batch.create_collection("new").unwrap()));
    assert_eq!(twice, ErrorKind::InvalidArgument);
    let taken = attempt(&|batch| batch.rename_collection(&c, "x").unwrap());
    assert_eq!(taken, ErrorKind::InvalidArgument);
    let inside = attempt(&|batch| batch.rename_collection(&c, "c/d").unwrap());
    assert_eq!(inside, ErrorKind::InvalidArgument);
    let gone = attempt(&|batch| {
        batch.delete_collection(&x).unwrap();
        batch.delete_collection(&x).unwrap();
    });
    assert_eq!(gone, ErrorKind::NotFound);
    let late = attempt(&|batch| {
        batch.delete_collection(&x).unwrap();
        batch.insert(&x, "k", "late").unwrap();
    });
    assert_eq!(late, ErrorKind::NotFound);
    x.insert("k", "alive").unwrap();
    assert_eq!(pairs(&c), Vec::<String>::new());
}

/// MOSS-4: a copy of a committed batch that creates is refused: its ids are used.
#[test]
fn a_batch_that_creates_is_committed_once() {
    let folder = folder();
    let (db, _) = open(folder.path());
    let mut batch = db.batch();
    let x = batch.create_collection("x").unwrap();
    let again = batch.clone();
    batch.commit().unwrap();
    db.delete_collection(&x).unwrap();
    assert_eq!(kind(again.commit()), ErrorKind::InvalidArgument);
    assert_eq!(db.collections().unwrap(), ["c"]);
}

/// MOSS-8: a rename moves all that lies below, and no handle notices.
#[test]
fn a_renamed_collection_takes_its_children_along() {
    let folder = folder();
    let (db, _) = open(folder.path());
    let users = db.collection("users").unwrap();
    let deep = db.collection("users/a/b").unwrap();
    let namesake = db.collection("users-old").unwrap();
    users.insert("k", "1").unwrap();
    deep.insert("k", "2").unwrap();
    db.flush().unwrap();
    db.rename_collection(&users, "people/all").unwrap();
    users.insert("l", "3").unwrap();
    deep.insert("l", "4").unwrap();
    let want = ["c", "people", "people/all", "people/all/a", "people/all/a/b", "users-old"];
    assert_eq!(db.collections().unwrap(), want);
    assert_eq!(users.path().as_deref(), Some("people/all"));
    assert_eq!(deep.path().as_deref(), Some("people/all/a/b"));
    assert_eq!(namesake.name(), "users-old");
    assert!(db.existing_collection("users").unwrap().is_none());
    assert!(pairs(&db.collection("users").unwrap()).is_empty());
    let long = "y".repeat(253);
    assert_eq!(kind(db.rename_collection(&users, &long)), ErrorKind::InvalidArgument);
    drop((users, deep, namesake));
    db.close().unwrap();
    let (db, _) = open(folder.path());
    assert_eq!(pairs(&db.collection("people/all").unwrap()), ["k=1", "l=3"]);
    assert_eq!(pairs(&db.collection("people/all/a/b").unwrap()), ["k=2", "l=4"]);
}

/// MOSS-D11: with all data in children, memory, flush, replay and space work as ever.
#[test]
fn data_only_in_children_is_flushed_replayed_and_deleted() {
    let folder = folder();
    let options = small().background_compaction(false);
    let db = options.open(folder.path()).unwrap();
    let leaves: Vec<_> = (0..20).map(|n| db.collection(&format!("a/b{n}/c")).unwrap()).collect();
    for round in 0..40_u32 {
        for leaf in &leaves {
            leaf.insert(round.to_be_bytes(), vec![round as u8; 300]).unwrap();
        }
    }
    let stats = db.stats();
    assert!(stats.flushes > 0, "{stats:?}");
    drop(leaves);
    db.close().unwrap();
    let db = options.open(folder.path()).unwrap();
    assert_eq!(db.collections().unwrap().len(), 41);
    for leaf in db.collections_in("a").unwrap().iter().filter(|path| path.ends_with("/c")) {
        assert_eq!(db.existing_collection(leaf).unwrap().unwrap().iter().count(), 40);
    }
    // A batch that only deletes is persistent, and its space comes back.
    let top = db.existing_collection("a").unwrap().unwrap();
    db.compact().unwrap();
    let before = db.stats().segment_bytes;
    db.delete_collection(&top).unwrap();
    db.compact().unwrap();
    let after = db.stats().segment_bytes;
    assert!(after * 20 < before, "{before} bytes became {after}");
    drop(top);
    db.close().unwrap();
    let db = small().open(folder.path()).unwrap();
    assert_eq!(db.collections().unwrap(), Vec::<String>::new());
}

/// Whoever writes while a collection is deleted is refused, or is deleted with it: nothing of a write
/// that came too late is ever seen or kept.
#[test]
fn writes_that_race_with_a_deletion_leave_nothing() {
    let folder = folder();
    let db = small().open(folder.path()).unwrap();
    for round in 0..20 {
        let doomed = db.collection("doomed").unwrap();
        std::thread::scope(|scope| {
            for writer in 0..3_u32 {
                let (doomed, db) = (&doomed, &db);
                scope.spawn(move || {
                    for n in 0_u32.. {
                        let result = match n % 3 {
                            0 => doomed.insert([writer, n].map(u32::to_be_bytes).concat(), "late"),
                            _ => {
                                let mut batch = db.batch();
                                batch.insert(doomed, n.to_be_bytes(), "late").unwrap();
                                batch.commit()
                            }
                        };
                        if let Err(error) = result {
                            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                            return;
                        }
                    }
                });
            }
            (0..round).for_each(|_| std::thread::yield_now());
            db.delete_collection(&doomed).unwrap();
        });
        assert!(pairs(&doomed).is_empty());
    }
    db.compact().unwrap();
    assert_eq!(db.stats().segment_entries, 1, "the counter of ids is all that is left");
}

/// Ten thousand collections with a pair each, half of them with settings of their own, are a file and
/// less than a KiB each, records and pairs together.
#[test]
fn ten_thousand_collections_share_what_they_are_stored_in() {
    const COUNT: u64 = 10_000;
    let folder = folder();
    let options = Db::options().memory_budget(64 << 20);
    let db = options.open(folder.path()).unwrap();
    let own = [Settings::default(), Settings::default().compression(Compression::Lz4).filter(14)];
    let mut batch = db.batch();
    for n in 0..COUNT {
        let path = format!("tenants/{:03}/{n:05}", n % 100);
        let made = batch.create_collection_with(&path, &own[(n % 2) as usize]).unwrap();
        batch.insert(&made, "name", format!("tenant-{n}")).unwrap();
    }
    batch.commit().unwrap();
    db.compact().unwrap();
    let stats = db.stats();
    assert_eq!(stats.collections, COUNT + 101);
    assert!(stats.segment_bytes < COUNT * 1024, "{} bytes", stats.segment_bytes);
    assert_eq!(stats.segments, 1, "small neighbours lie together, whatever is set for them");
    db.close().unwrap();
    let bytes: u64 = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < COUNT * 1024, "{bytes} bytes");
    let db = options.open(folder.path()).unwrap();
    assert_eq!(db.collections_in("tenants/007").unwrap().len(), 100);
    let last = db.collection("tenants/099/09999").unwrap();
    assert_eq!((last.settings(), pairs(&last).len()), (own[1].clone(), 1));
    // All go at once: ten thousand range deletes, each judged where it lies.
    db.delete_collection(&db.collection("tenants").unwrap()).unwrap();
    db.compact().unwrap();
    assert_eq!((db.stats().collections, pairs(&last).len()), (0, 0));
    assert!(db.verify().unwrap().is_whole());
}
