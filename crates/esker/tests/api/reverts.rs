//! Going back to a named snapshot: what comes back, what stays, and what others see of it.

use super::{folder, keys, open, pairs, small};
use esker::operators::U64Add;
use esker::{Db, ErrorKind, Settings};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

/// MOSS-24: revert, reopen, keep writing; revert of a revert.
#[test]
fn a_revert_is_a_write_that_can_be_reverted() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for key in ["a", "b", "c", "d"] {
        c.insert(key, "1").unwrap();
    }
    c.insert("large", [7; 5000]).unwrap();
    db.name_snapshot("one").unwrap();
    let held = db.snapshot();
    c.insert("a", "2").unwrap();
    c.remove("b").unwrap();
    c.remove_range("c".."d").unwrap();
    c.insert("e", "2").unwrap();
    c.insert("large", [8; 5000]).unwrap();
    c.insert("d", "1").unwrap();
    db.name_snapshot("two").unwrap();
    let now = db.stats().sequence;
    assert_eq!(db.revert("one").unwrap(), 5, "d has the value that it had");
    assert!(db.stats().sequence > now, "numbers rise");
    let one = "a=1 b=1 c=1 d=1 ";
    assert_eq!(pairs(c.range(.."e")), one);
    assert_eq!(c.get("large").unwrap().unwrap(), [7; 5000]);
    assert_eq!(db.revert("one").unwrap(), 0, "it is there already");
    drop(c);
    db.close().unwrap();
    let (db, c) = open(folder.path());
    assert_eq!(pairs(c.range(.."e")), one, "reopened");
    c.insert("b", "3").unwrap();
    db.revert("two").unwrap();
    let two = "a=2 d=1 e=2 ";
    assert_eq!(pairs(c.range(.."large")), two);
    assert_eq!(c.get("large").unwrap().unwrap(), [8; 5000]);
    db.compact().unwrap();
    assert_eq!(pairs(c.range(.."large")), two);
    db.revert("one").unwrap();
    assert_eq!(pairs(c.range(.."e")), one);
    assert!(db.verify().unwrap().damages.is_empty());
    drop(held);
}

/// The operator once went with the deleted collection, and a snapshot could not fold its operands.
#[test]
fn a_collection_that_comes_back_keeps_the_operator_that_snapshots_need() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("k", U64Add::encode(1)).unwrap();
    db.name_snapshot("before").unwrap();
    c.configure(&Settings::default().merge_operator("u64-add")).unwrap();
    c.merge("k", U64Add::encode(2)).unwrap();
    let held = db.snapshot();
    db.delete_collection(&c).unwrap();
    db.revert("before").unwrap();
    let sum = c.at(&held).get("k").unwrap();
    assert_eq!(sum.as_deref().and_then(U64Add::decode), Some(3));
    let back = db.existing_collection(c.name()).unwrap().unwrap();
    assert_eq!(back.settings().merge_operator.as_deref(), Some("u64-add"));
}

/// A value that lay in line then, and out of line now, was once written again.
#[test]
fn a_revert_writes_nothing_again_that_only_lies_elsewhere() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let thresholds = [usize::MAX, 256, usize::MAX];
    for (threshold, name) in thresholds.into_iter().zip(["in", "out", "in again"]) {
        c.configure(&Settings::default().blob_threshold(threshold)).unwrap();
        c.insert("large", [7; 600]).unwrap();
        db.name_snapshot(name).unwrap();
    }
    let records = 1;
    assert_eq!(db.revert("out").unwrap(), records, "the settings alone");
    assert_eq!(db.revert("in").unwrap(), records, "the settings alone");
    assert_eq!(c.get("large").unwrap().unwrap(), [7; 600]);
}

#[test]
fn snapshots_see_what_they_saw_before_a_revert() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    db.name_snapshot("one").unwrap();
    c.insert("a", "2").unwrap();
    let (held, walk) = (db.snapshot(), c.iter());
    db.name_snapshot("two").unwrap();
    db.revert("one").unwrap();
    db.compact().unwrap();
    assert_eq!(pairs(c.at(&held).iter()), "a=2 ");
    assert_eq!(pairs(walk), "a=2 ");
    let two = db.named_snapshot("two").unwrap().unwrap();
    assert_eq!(pairs(c.at(&two).iter()), "a=2 ");
    assert_eq!(pairs(c.iter()), "a=1 ");
}

#[test]
fn collections_come_back_go_and_have_the_names_and_settings_that_they_had() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let set = db.collection_with("set", &Settings::default().filter(12)).unwrap();
    let gone = db.collection("gone").unwrap();
    gone.insert("k", "1").unwrap();
    db.name_snapshot("one").unwrap();
    db.rename_collection(&c, "moved").unwrap();
    db.delete_collection(&gone).unwrap();
    set.configure(&Settings::default().filter(8)).unwrap();
    let late = db.collection("late").unwrap();
    late.insert("k", "1").unwrap();
    db.revert("one").unwrap();
    assert_eq!(db.collections().unwrap(), ["c", "gone", "set"]);
    assert_eq!(c.path().as_deref(), Some("c"), "its handles go on");
    c.insert("a", "1").unwrap();
    assert_eq!(set.settings().filter, Some(12));
    let error = late.insert("k", "2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(gone.insert("k", "2").unwrap_err().kind(), ErrorKind::NotFound, "an old handle");
    let gone = db.existing_collection("gone").unwrap().unwrap();
    assert_eq!(pairs(gone.iter()), "k=1 ");
    gone.insert("l", "2").unwrap();
    let again = db.collection("late").unwrap();
    assert!(again.iter().next().is_none(), "another of the same name is empty");
    again.insert("k", "3").unwrap();
    drop((c, set, gone, late, again));
    db.close().unwrap();
    let db = small().open(folder.path()).unwrap();
    assert_eq!(db.collections().unwrap(), ["c", "gone", "late", "set"]);
    let at = |path: &str| pairs(db.existing_collection(path).unwrap().unwrap().iter());
    assert_eq!(
        (at("c"), at("gone"), at("late")),
        ("a=1 ".into(), "k=1 l=2 ".into(), "k=3 ".into())
    );
}

#[test]
fn what_was_read_before_a_revert_conflicts_and_fast_walks_end() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    c.insert("b", "1").unwrap();
    db.name_snapshot("one").unwrap();
    c.insert("a", "2").unwrap();
    let (mut stale, mut fresh) = (db.begin(), db.begin());
    stale.get(&c, "a").unwrap();
    stale.insert(&c, "x", "").unwrap();
    fresh.get(&c, "b").unwrap();
    fresh.insert(&c, "y", "").unwrap();
    let mut walk = c.fail_fast().iter();
    db.revert("one").unwrap();
    assert_eq!(walk.next().unwrap().unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(stale.commit().unwrap_err().kind(), ErrorKind::Conflict);
    fresh.commit().unwrap();
    assert_eq!(keys(c.iter()), "a b y ");
}

/// Each thread writes its number to its key in two collections, in one batch; a revert takes both
/// back, or neither.
#[test]
fn no_write_of_others_is_reverted_by_half() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let d = db.collection("d").unwrap();
    db.name_snapshot("one").unwrap();
    let done = AtomicBool::new(false);
    let both = |db: &Db, key: &[u8]| {
        let snapshot = db.snapshot();
        (c.at(&snapshot).get(key).unwrap(), d.at(&snapshot).get(key).unwrap())
    };
    thread::scope(|scope| {
        for writer in 0..3u8 {
            let (db, c, d, done, both) = (&db, &c, &d, &done, &both);
            scope.spawn(move || {
                for round in 0u64.. {
                    let mut batch = db.batch();
                    batch.insert(c, [writer], round.to_le_bytes()).unwrap();
                    batch.insert(d, [writer], round.to_le_bytes()).unwrap();
                    batch.commit().unwrap();
                    let (left, right) = both(db, &[writer]);
                    assert_eq!(left, right);
                    assert!(left.is_none_or(|value| *value == round.to_le_bytes()));
                    if done.load(SeqCst) {
                        break;
                    }
                }
            });
        }
        for _ in 0..20 {
            db.revert("one").unwrap();
        }
        done.store(true, SeqCst);
    });
    db.revert("one").unwrap();
    assert_eq!(keys(c.iter()) + &keys(d.iter()), "");
}

#[test]
fn a_revert_to_no_snapshot_or_in_what_is_only_read_is_refused() {
    let folder = folder();
    let (db, c) = open(folder.path());
    db.name_snapshot("one").unwrap();
    assert_eq!(db.revert("two").unwrap_err().kind(), ErrorKind::NotFound);
    drop(c);
    db.close().unwrap();
    let db = small().read_only(true).open(folder.path()).unwrap();
    assert_eq!(db.revert("one").unwrap_err().kind(), ErrorKind::ReadOnly);
}
