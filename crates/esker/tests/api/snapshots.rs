//! Snapshots hold; iterators and values outlive the database.

use super::{folder, keys, open, pairs, small};
use esker::{Db, Range, Snapshot, Value};

/// MOSS-21, F-43.
#[test]
fn a_snapshot_holds_over_writes_flushes_and_compactions() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    c.insert("b", "1").unwrap();
    let old = db.snapshot();
    c.insert("a", "2").unwrap();
    c.remove("b").unwrap();
    c.insert("c", "2").unwrap();
    let middle = db.snapshot();
    let check = |what: &str| {
        assert_eq!(pairs(c.at(&old).iter()), "a=1 b=1 ", "{what}");
        assert_eq!(c.at(&old).get("b").unwrap().as_deref(), Some(&b"1"[..]), "{what}");
        assert_eq!(c.at(&old).get("c").unwrap(), None, "{what}");
        assert_eq!(pairs(c.at(&middle).iter()), "a=2 c=2 ", "{what}");
        assert!(!c.at(&middle).contains_key("b").unwrap(), "{what}");
        assert_eq!(c.at(&middle).last().unwrap().unwrap().0, *b"c");
        assert_eq!(c.at(&old).last().unwrap().unwrap().0, *b"b");
    };
    check("in memory");
    db.flush().unwrap();
    check("flushed");
    c.insert("a", "3").unwrap();
    c.remove("c").unwrap();
    db.compact().unwrap();
    check("compacted");
    for n in 0..2000 {
        c.insert(format!("filler {n}"), [0; 100]).unwrap();
    }
    db.compact().unwrap();
    check("compacted again");
    assert_eq!(c.get("a").unwrap().unwrap(), *b"3");
    assert_eq!(c.get("b").unwrap(), None);
    drop((old, middle));
    db.compact().unwrap();
    assert_eq!(keys(c.range("a".."d")), "a ");
    assert_eq!(db.stats().snapshots, 0);
}

/// MOSS-21: old versions and tombstones go when nobody needs them.
#[test]
fn space_returns_when_a_snapshot_is_released() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    let snapshot = db.snapshot();
    c.insert("a", "2").unwrap();
    c.insert("b", "2").unwrap();
    c.remove("b").unwrap();
    db.compact().unwrap();
    let held = db.stats().segment_entries;
    drop(snapshot);
    // Something new, so that there is something to merge.
    c.insert("z", "1").unwrap();
    db.compact().unwrap();
    assert!(db.stats().segment_entries <= held, "{held}: {}", db.stats());
    assert_eq!(db.stats().segment_tombstones, 0);
    assert_eq!(pairs(c.iter()), "a=2 z=1 ");
}

#[test]
fn a_snapshot_is_of_all_collections() {
    let folder = folder();
    let (db, one) = open(folder.path());
    let two = db.collection("two").unwrap();
    let mut batch = db.batch();
    batch.insert(&one, "k", "1").unwrap();
    batch.insert(&two, "k", "1").unwrap();
    batch.commit().unwrap();
    let snapshot = db.snapshot();
    two.insert("k", "2").unwrap();
    one.remove("k").unwrap();
    assert_eq!(pairs(one.at(&snapshot).iter()), pairs(two.at(&snapshot).iter()));
}

#[test]
fn an_iterator_sees_the_moment_it_was_made() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for n in 0..1000 {
        c.insert(format!("{n:04}"), "old").unwrap();
    }
    let mut range = c.iter();
    assert_eq!(range.next().unwrap().unwrap().0, *b"0000");
    for n in 0..1000 {
        c.insert(format!("{n:04}x"), "new").unwrap();
        c.remove(format!("{n:04}")).unwrap();
    }
    db.compact().unwrap();
    let rest: Vec<_> = range.map(|pair| pair.unwrap()).collect();
    assert_eq!(rest.len(), 999);
    assert!(rest.iter().all(|(key, value)| key.len() == 4 && *value == *b"old"));
}

fn is_send<T: Send + 'static>(_: &T) {}
fn is_shared<T: Send + Sync + Clone + 'static>(_: &T) {}

/// Iterators go to other threads, and stay usable when every handle is gone and the folder too.
#[test]
fn iterators_and_values_outlive_the_database() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for n in 0..500 {
        c.insert(format!("{n:04}"), format!("flushed {n}")).unwrap();
    }
    db.flush().unwrap();
    for n in 500..1000 {
        c.insert(format!("{n:04}"), format!("in memory {n}")).unwrap();
    }
    let values: [Value; 2] = ["0001", "0999"].map(|key| c.get(key).unwrap().unwrap());
    let mut range: Range = c.iter();
    range.next().unwrap().unwrap();
    is_send(&range);
    is_shared(&db);
    is_shared(&c);
    is_shared::<Snapshot>(&db.snapshot());
    drop(c);
    db.close().unwrap();
    // A successor may flush, compact and remove what the iterator still reads.
    let (db, c) = open(folder.path());
    c.remove("0001").unwrap();
    db.compact().unwrap();
    drop((db, c));
    let walked = std::thread::spawn(move || range.map(|pair| pair.unwrap().1.len()).sum::<usize>());
    let want: usize = (1..1000)
        .map(
            |n| if n < 500 { format!("flushed {n}").len() } else { format!("in memory {n}").len() },
        )
        .sum();
    assert_eq!(walked.join().unwrap(), want);
    assert_eq!(values[0], *b"flushed 1");
    assert_eq!(values[1], *b"in memory 999");
}

/// The last handle that goes, of whatever kind, closes the database.
#[test]
fn dropping_the_last_handle_closes_and_releases_the_lock() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    drop(db);
    c.insert("b", "2").unwrap();
    assert_eq!(Db::open(folder.path()).unwrap_err().kind(), esker::ErrorKind::Busy);
    let range = c.iter();
    drop(c);
    let db = small().open(folder.path()).unwrap();
    assert!(db.recovery().clean, "{}", db.recovery());
    assert_eq!(keys(range), "a b ");
    assert_eq!(keys(db.collection("c").unwrap().iter()), "a b ");
}
