//! Named snapshots: kept over everything, by name, as of collections that went.

use super::{folder, open, pairs, small};
use esker::{Db, ErrorKind};

/// What every named snapshot has of the collection that was called `path` then.
fn all_at(db: &Db, path: &str) -> String {
    let named = db.named_snapshots().unwrap();
    let text = |(name, snapshot)| match db.view_at(path, &snapshot).unwrap() {
        Some(view) => format!("{name}: {}| ", pairs(view.iter())),
        None => format!("{name}: none | "),
    };
    named.into_iter().map(text).collect()
}

/// MOSS-24: history under explicit names is kept, whatever is merged.
#[test]
fn a_named_snapshot_is_kept_over_flushes_compactions_and_reopenings() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    c.insert("b", "1").unwrap();
    db.name_snapshot("one").unwrap();
    c.insert("a", "2").unwrap();
    c.remove("b").unwrap();
    db.name_snapshot("two").unwrap();
    c.clear().unwrap();
    c.ingest([("a", "3"), ("c", "3")]).unwrap();
    let want = "one: a=1 b=1 | two: a=2 | ";
    assert_eq!(all_at(&db, "c"), want);
    db.compact().unwrap();
    assert_eq!(all_at(&db, "c"), want, "compacted");
    drop(c);
    db.close().unwrap();
    for round in 0..3 {
        let (db, c) = open(folder.path());
        assert_eq!(all_at(&db, "c"), want, "reopened {round} times");
        c.insert("a", "4").unwrap();
        db.compact().unwrap();
        assert_eq!(all_at(&db, "c"), want, "and compacted");
        assert_eq!(pairs(c.iter()), "a=4 c=3 ");
        assert!(db.verify().unwrap().damages.is_empty());
    }
}

#[test]
fn what_a_key_was_is_told_by_name_the_oldest_first() {
    let folder = folder();
    let (db, c) = open(folder.path());
    db.name_snapshot("zero").unwrap();
    c.insert("a", "1").unwrap();
    db.name_snapshot("one").unwrap();
    c.insert("a", "2").unwrap();
    let snapshot = db.name_snapshot("a second one").unwrap();
    c.remove("a").unwrap();
    let said = |(name, value): (String, Option<esker::Value>)| {
        format!("{name}: {} | ", value.map_or("none".into(), |v| v.escape_ascii().to_string()))
    };
    let versions: String = c.versions("a").unwrap().into_iter().map(said).collect();
    assert_eq!(versions, "zero: none | one: 1 | a second one: 2 | ");
    assert_eq!(c.at(&snapshot).get("a").unwrap().unwrap(), *b"2");
}

#[test]
fn a_name_is_given_once_and_forgotten_once() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    db.name_snapshot("one").unwrap();
    c.insert("a", "2").unwrap();
    let error = db.name_snapshot("one").unwrap_err();
    assert_eq!(error.to_string(), "invalid argument: snapshot \"one\" exists");
    for bad in ["", "a\nb", &"x".repeat(256)] {
        assert_eq!(db.name_snapshot(bad).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(all_at(&db, "c"), "one: a=1 | ");
    assert!(db.named_snapshot("two").unwrap().is_none());
    let held = db.named_snapshot("one").unwrap().unwrap();
    db.forget_snapshot("one").unwrap();
    assert_eq!(db.forget_snapshot("one").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(db.named_snapshots().unwrap().is_empty());
    db.compact().unwrap();
    assert_eq!(pairs(c.at(&held).iter()), "a=1 ", "who holds it goes on");
    db.name_snapshot("one").unwrap();
    assert_eq!(all_at(&db, "c"), "one: a=2 | ", "the name is free again");
}

#[test]
fn what_only_a_forgotten_snapshot_saw_is_dropped() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for value in ["1", "2"] {
        (0..100).for_each(|n| c.insert(format!("{n:03}"), value).unwrap());
        if value == "1" {
            db.name_snapshot("one").unwrap();
        }
    }
    db.compact().unwrap();
    let held = db.verify().unwrap().entries;
    assert!(held >= 200, "{held}");
    db.forget_snapshot("one").unwrap();
    db.compact().unwrap();
    let left = db.verify().unwrap().entries;
    assert!(left < 110, "{left} of {held} are left");
}

#[test]
fn a_collection_is_found_under_the_name_that_it_had() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    db.collection("gone/below").unwrap().insert("b", "1").unwrap();
    let snapshot = db.name_snapshot("one").unwrap();
    db.rename_collection(&c, "moved").unwrap();
    db.delete_collection(&db.collection("gone").unwrap()).unwrap();
    db.collection("c").unwrap().insert("a", "another").unwrap();
    drop((c, snapshot));
    db.compact().unwrap();
    db.close().unwrap();
    let db = small().open(folder.path()).unwrap();
    assert_eq!(all_at(&db, "c"), "one: a=1 | ");
    assert_eq!(all_at(&db, "gone/below"), "one: b=1 | ");
    assert_eq!(all_at(&db, "moved"), "one: none | ");
    let snapshot = db.named_snapshot("one").unwrap().unwrap();
    assert_eq!(db.collections_at(&snapshot).unwrap(), ["c", "gone", "gone/below"]);
    assert_eq!(db.collections().unwrap(), ["c", "moved"]);
}

#[test]
fn copies_have_the_named_snapshots() {
    let (folder, copies) = (folder(), folder());
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    db.name_snapshot("one").unwrap();
    c.insert("a", "2").unwrap();
    db.name_snapshot("forgotten").unwrap();
    db.forget_snapshot("forgotten").unwrap();
    db.compact().unwrap();
    db.checkpoint(copies.path().join("checkpoint")).unwrap();
    db.backup(copies.path().join("backups")).unwrap();
    small().restore(copies.path().join("backups"), copies.path().join("restored")).unwrap();
    for copy in ["checkpoint", "restored"] {
        let db = small().open(copies.path().join(copy)).unwrap();
        db.compact().unwrap();
        assert_eq!(all_at(&db, "c"), "one: a=1 | ", "{copy}");
    }
}

#[test]
fn names_are_read_and_not_given_in_a_database_that_is_only_read() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    db.name_snapshot("one").unwrap();
    c.insert("a", "2").unwrap();
    drop(c);
    db.close().unwrap();
    let db = small().read_only(true).open(folder.path()).unwrap();
    assert_eq!(all_at(&db, "c"), "one: a=1 | ");
    assert_eq!(db.name_snapshot("two").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(db.forget_snapshot("one").unwrap_err().kind(), ErrorKind::ReadOnly);
}
