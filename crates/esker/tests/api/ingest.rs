//! Sorted pairs go in at once, past log and memory, and lie in order with all other writes.

use super::{folder, keys, open, pairs, small};
use esker::{Db, ErrorKind};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = ([u8; 4], Vec<u8>)> {
    range.map(|n| (n.to_be_bytes(), n.to_string().into_bytes()))
}

fn segments(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.contains("seg")).collect()
}

/// F-7, F-11.
#[test]
fn what_was_ingested_is_there_at_once_and_after_every_end() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("before", "1").unwrap();
    assert_eq!(c.ingest(numbers(0..20_000)).unwrap(), 20_000);
    let check = |db: &Db| {
        let c = db.collection("c").unwrap();
        assert_eq!(c.iter().count(), 20_001);
        assert_eq!(c.get(7_777_u32.to_be_bytes()).unwrap().unwrap(), *b"7777");
        assert_eq!(c.get("before").unwrap().unwrap(), *b"1");
        assert!(db.verify().unwrap().is_whole());
    };
    check(&db);
    let sum = db.checksum().unwrap();
    db.close().unwrap();
    drop(c);
    let (db, c) = open(folder.path());
    assert!(db.recovery().clean);
    assert_eq!(db.checksum().unwrap(), sum);
    check(&db);
    db.compact().unwrap();
    check(&db);
    assert_eq!(db.checksum().unwrap(), sum);
    drop((db, c));
}

#[test]
fn pairs_that_do_not_ascend_are_refused_and_nothing_changes() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "old").unwrap();
    db.compact().unwrap();
    let files = segments(folder.path());
    let sequence = db.stats().sequence;
    let long = vec![b'z'; (64 << 10) + 1];
    for wrong in [["b", "a"], ["b", "b"], ["a", ""], ["b", std::str::from_utf8(&long).unwrap()]] {
        let error = c.ingest(wrong.map(|key| (key, "new"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    // Far behind in many.
    let error = c.ingest(numbers(0..50_000).chain(numbers(3..4))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("pair 50000"), "{error}");
    assert_eq!(pairs(c.iter()), "a=old ");
    // What a merge has replaced may go meanwhile; nothing comes.
    assert!(segments(folder.path()).is_subset(&files));
    assert_eq!(db.stats().sequence, sequence);
    c.insert("b", "new").unwrap();
    assert_eq!(c.ingest([("c", "last")]).unwrap(), 1);
    assert_eq!(pairs(c.iter()), "a=old b=new c=last ");
}

#[test]
fn an_empty_ingest_does_nothing() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let sequence = db.stats().sequence;
    assert_eq!(c.ingest(std::iter::empty::<(&str, &str)>()).unwrap(), 0);
    assert_eq!((db.stats().sequence, segments(folder.path())), (sequence, BTreeSet::new()));
}

#[test]
fn the_empty_key_and_empty_values_are_pairs_like_any_other() {
    let folder = folder();
    let (_db, c) = open(folder.path());
    assert_eq!(c.ingest([("", ""), ("a", "")]).unwrap(), 2);
    assert_eq!(pairs(c.iter()), "= a= ");
}

#[test]
fn it_is_newer_than_writes_before_it_and_older_than_those_after_it() {
    for flush in [false, true] {
        let folder = folder();
        let (db, c) = open(folder.path());
        let settle = || {
            if flush {
                db.flush().unwrap()
            }
        };
        for key in ["a", "b", "c", "d"] {
            c.insert(key, "1").unwrap();
        }
        c.remove("d").unwrap();
        settle();
        c.ingest([("b", "2"), ("c", "2"), ("d", "2"), ("e", "2")]).unwrap();
        c.insert("c", "3").unwrap();
        c.remove("e").unwrap();
        settle();
        c.ingest([("e", "4"), ("f", "4")]).unwrap();
        let want = "a=1 b=2 c=3 d=2 e=4 f=4 ";
        assert_eq!(pairs(c.iter()), want);
        db.compact().unwrap();
        assert_eq!(pairs(c.iter()), want);
        drop(c);
        db.close().unwrap();
        let (db, c) = open(folder.path());
        assert_eq!(pairs(c.iter()), want);
        assert_eq!(db.stats().segment_tombstones, 0);
    }
}

#[test]
fn an_older_range_delete_spares_it_and_a_newer_one_covers_it() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    c.insert("b", "1").unwrap();
    c.remove_range("a".."z").unwrap();
    c.ingest([("b", "2"), ("c", "2"), ("d", "2")]).unwrap();
    assert_eq!(pairs(c.iter()), "b=2 c=2 d=2 ");
    c.remove_range("c".."d").unwrap();
    assert_eq!(keys(c.iter()), "b d ");
    db.flush().unwrap();
    assert_eq!(keys(c.iter()), "b d ");
    c.ingest([("c", "3")]).unwrap();
    db.compact().unwrap();
    assert_eq!(pairs(c.iter()), "b=2 c=3 d=2 ");
}

/// F-43.
#[test]
fn a_snapshot_taken_before_never_sees_it() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    c.insert("b", "1").unwrap();
    let (snapshot, walk) = (db.snapshot(), c.iter());
    c.ingest([("b", "2"), ("c", "2")]).unwrap();
    let after = db.snapshot();
    c.ingest([("a", "3"), ("c", "3")]).unwrap();
    db.compact().unwrap();
    assert_eq!(pairs(walk), "a=1 b=1 ");
    assert_eq!(pairs(c.at(&snapshot).iter()), "a=1 b=1 ");
    assert_eq!(c.at(&snapshot).get("c").unwrap(), None);
    assert_eq!(pairs(c.at(&after).iter()), "a=1 b=2 c=2 ");
    assert_eq!(pairs(c.iter()), "a=3 b=2 c=3 ");
}

/// Law 2, F-43: each ingest writes one number to all keys; no reader sees two of them, none goes
/// back, and a snapshot does not change. Meanwhile others write, flush and compact.
#[test]
fn among_threads_an_ingest_is_seen_whole_and_in_order() {
    let folder = folder();
    let db = small().open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    let other = db.collection("other").unwrap();
    let all = |turn: u64| (0..200_u32).map(move |n| (n.to_be_bytes(), turn.to_be_bytes()));
    c.ingest(all(0)).unwrap();
    let (done, looks, written) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (other, done, written) = (&other, &done, &written);
            scope.spawn(move || {
                for turn in 0_u64.. {
                    other.insert(format!("{writer} {turn:08}"), [7; 200]).unwrap();
                    written.fetch_add(1, SeqCst);
                    if done.load(SeqCst) {
                        break;
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut last = 0;
            while !done.load(SeqCst) {
                let snapshot = db.snapshot();
                let look = || {
                    let turns: Vec<u64> = c
                        .at(&snapshot)
                        .iter()
                        .map(|pair| u64::from_be_bytes((*pair.unwrap().1).try_into().unwrap()))
                        .collect();
                    assert_eq!(turns.len(), 200);
                    assert!(turns.iter().all(|turn| *turn == turns[0]), "{turns:?}");
                    turns[0]
                };
                let turn = look();
                assert!(turn >= last, "{turn} after {last}");
                last = turn;
                assert_eq!(look(), turn);
                looks.fetch_add(1, SeqCst);
            }
        });
        for turn in 1..=60 {
            assert_eq!(c.ingest(all(turn)).unwrap(), 200);
            assert_eq!(c.get(100_u32.to_be_bytes()).unwrap().unwrap(), turn.to_be_bytes());
        }
        done.store(true, SeqCst);
    });
    assert!(looks.load(SeqCst) > 0);
    assert_eq!(other.iter().count() as u64, written.load(SeqCst));
    drop((c, other));
    db.close().unwrap();
    let (db, c) = open(folder.path());
    assert_eq!(c.get(0_u32.to_be_bytes()).unwrap().unwrap(), 60_u64.to_be_bytes());
    assert_eq!(db.collection("other").unwrap().iter().count() as u64, written.load(SeqCst));
    assert!(db.verify().unwrap().is_whole());
}

/// Ingests from several threads wait for each other.
#[test]
fn two_ingests_at_one_time_both_come_in() {
    let folder = folder();
    let (_db, c) = open(folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let c = &c;
            scope.spawn(move || {
                for turn in 0..10 {
                    let from = thread * 10_000 + turn * 100;
                    assert_eq!(c.ingest(numbers(from..from + 100)).unwrap(), 100);
                }
            });
        }
    });
    assert_eq!(c.iter().count(), 4000);
}
