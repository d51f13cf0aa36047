//! What a walk may be: of one moment or failing fast, of keys alone, with what was removed, and
//! from anywhere in it.

use super::{folder, open, pairs, small};
use esker::{Collection, Db, ErrorKind, Range};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tempfile::TempDir;

/// Where the changes to HEST-1's data lie.
#[derive(Clone, Copy, Debug)]
enum Delta {
    InMemory,
    OneRun,
    TwoRuns,
    Compacted,
}

const DELTAS: [Delta; 4] = [Delta::InMemory, Delta::OneRun, Delta::TwoRuns, Delta::Compacted];

/// HEST-1: a 20, b 30, c 40 beneath; above them a 25, e 28, and b removed.
fn worked_example(delta: Delta) -> (TempDir, Db, Collection) {
    let folder = folder();
    let db = small().background_compaction(false).open(folder.path()).unwrap();
    let c = db.collection("segment").unwrap();
    for (key, value) in [("a", "20"), ("b", "30"), ("c", "40")] {
        c.insert(key, value).unwrap();
    }
    db.flush().unwrap();
    c.insert("a", "25").unwrap();
    c.insert("e", "28").unwrap();
    if matches!(delta, Delta::TwoRuns) {
        db.flush().unwrap();
    }
    c.remove("b").unwrap();
    match delta {
        Delta::InMemory => {}
        Delta::OneRun | Delta::TwoRuns => db.flush().unwrap(),
        Delta::Compacted => db.compact().unwrap(),
    }
    (folder, db, c)
}

fn step(range: &mut Range) -> Result<String, ErrorKind> {
    match range.next() {
        Some(Ok((key, value))) => Ok(format!("{}={}", key.escape_ascii(), value.escape_ascii())),
        Some(Err(error)) => Err(error.kind()),
        None => Ok("end".into()),
    }
}

fn interrupted() -> Result<String, ErrorKind> {
    Err(ErrorKind::Interrupted)
}

/// HEST-2, the first worked example.
#[test]
fn what_is_above_hides_what_is_beneath() {
    for delta in DELTAS {
        let (_folder, _db, c) = worked_example(delta);
        assert_eq!(pairs(c.iter()), "a=25 c=40 e=28 ", "{delta:?}");
        assert_eq!(pairs(c.fail_fast().iter()), "a=25 c=40 e=28 ", "{delta:?}");
        let gets = ["a", "b", "c", "d", "e"].map(|key| c.get(key).unwrap());
        let gets =
            gets.map(|value| value.map_or("absent".into(), |v| v.escape_ascii().to_string()));
        assert_eq!(gets, ["25", "absent", "40", "absent", "28"]);
    }
}

/// HEST-3, the second worked example: it is consistent, or it stops; it never gives what is old, and
/// never a plain end.
#[test]
fn a_walk_that_fails_fast_stops_at_a_change() {
    for delta in DELTAS {
        let (_folder, _db, c) = worked_example(delta);
        let mut range = c.fail_fast().iter();
        assert_eq!(step(&mut range), Ok("a=25".into()));
        c.insert("c", "10").unwrap();
        assert_eq!(step(&mut range), interrupted(), "{delta:?}");
        assert_eq!(range.next_back().unwrap().unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!(range.seek("a").unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!(step(&mut range), interrupted(), "it stays at its error");
        assert_eq!(c.get("c").unwrap().unwrap(), b"10", "point reads stay exact");
    }
}

/// A walk that was complete stays so, whatever is written then; but it goes nowhere else.
#[test]
fn a_walk_that_has_ended_stays_ended() {
    let (_folder, _db, c) = worked_example(Delta::OneRun);
    let mut range = c.fail_fast().iter();
    assert_eq!(range.by_ref().map(Result::unwrap).count(), 3);
    c.insert("z", "1").unwrap();
    assert!(range.next().is_none() && range.next_back().is_none());
    assert_eq!(range.seek("a").unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(range.next().is_none());
}

/// HEST-4, the third worked example.
#[test]
fn a_walk_that_begins_after_the_change_shows_it() {
    for delta in DELTAS {
        let (_folder, _db, c) = worked_example(delta);
        let mut old = c.fail_fast().iter();
        assert_eq!(step(&mut old), Ok("a=25".into()));
        c.insert("c", "10").unwrap();
        assert_eq!(step(&mut old), interrupted());
        assert_eq!(pairs(c.fail_fast().iter()), "a=25 c=10 e=28 ");
    }
}

/// HEST-3: before, at and behind the position, a new key, a removal, the same value again, a range, a
/// batch, an ingest; not another collection, nor a flush or a compaction.
#[test]
fn any_write_to_the_collection_interrupts_and_nothing_else() {
    type Write = fn(&Db, &Collection);
    let writes: [Write; 10] = [
        |_, c| c.insert("0", "new").unwrap(),
        |_, c| c.insert("a", "10").unwrap(),
        |_, c| c.insert("c", "40").unwrap(),
        |_, c| c.insert("d", "new").unwrap(),
        |_, c| c.remove("e").unwrap(),
        |_, c| c.remove("never there").unwrap(),
        |_, c| c.remove_range("x".."y").unwrap(),
        |db, c| {
            let mut batch = db.batch();
            batch.insert(&db.collection("other").unwrap(), "k", "v").unwrap();
            batch.insert(c, "k", "v").unwrap();
            batch.commit().unwrap();
        },
        |db, c| db.transact(|txn| txn.insert(c, "k", "v")).unwrap(),
        |_, c| assert_eq!(c.ingest([("k", "v")]).unwrap(), 1),
    ];
    for write in writes {
        let (_folder, db, c) = worked_example(Delta::OneRun);
        let mut range = c.fail_fast().iter();
        assert_eq!(step(&mut range), Ok("a=25".into()));
        write(&db, &c);
        assert_eq!(step(&mut range), interrupted());
    }
    let (_folder, db, c) = worked_example(Delta::OneRun);
    let other = db.collection("other").unwrap();
    let mut range = c.fail_fast().iter();
    assert_eq!(step(&mut range), Ok("a=25".into()));
    other.insert("c", "10").unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    assert_eq!(step(&mut range), Ok("c=40".into()));
    assert_eq!(db.stats().snapshots, 0, "it pins nothing");
    assert_eq!(step(&mut range), Ok("e=28".into()));
    assert_eq!(step(&mut range), Ok("end".into()));
}

/// HEST-5: the same script in each mode. What needs to be alone takes a transaction.
#[test]
fn each_isolation_has_its_own_outcome() {
    let (_folder, db, c) = worked_example(Delta::OneRun);
    let (mut snapshot, mut fast) = (c.iter(), c.fail_fast().iter());
    let mut txn = db.begin();
    txn.insert(&c, "z", "1").unwrap();
    let mut alone = txn.iter(&c).unwrap();
    assert_eq!(step(&mut snapshot), Ok("a=25".into()));
    assert_eq!(step(&mut fast), Ok("a=25".into()));
    assert_eq!(alone.next().unwrap().unwrap().1, b"25");
    c.insert("a", "10").unwrap();
    assert_eq!(step(&mut snapshot), Ok("c=40".into()));
    assert_eq!(step(&mut fast), interrupted());
    assert_eq!(alone.next().unwrap().unwrap().1, b"40");
    drop(alone);
    assert_eq!(txn.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

/// HEST-H5: beside a writer each walk is complete, or says that it is not.
#[test]
fn beside_a_writer_a_walk_is_complete_or_interrupted() {
    let folder = folder();
    let (db, c) = open(folder.path());
    // All values are alike at any moment: a batch writes them anew.
    let write = |value: u64| {
        let mut batch = db.batch();
        (0..50).for_each(|key| batch.insert(&c, format!("{key}"), value.to_string()).unwrap());
        batch.commit().unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    let (mut whole, mut broken) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..400).for_each(write);
            done.store(true, SeqCst);
        });
        while !done.load(SeqCst) || whole == 0 {
            let first = c.get("0").unwrap().unwrap();
            let walked: Result<Vec<_>, _> = c.fail_fast().iter().collect();
            match walked {
                Ok(pairs) => {
                    assert_eq!(pairs.len(), 50);
                    assert!(pairs.iter().all(|pair| pair.1 == pairs[0].1));
                    let number = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
                    let [before, now] = [&first, &pairs[0].1].map(|value| number(value));
                    assert!(now.parse::<u64>().unwrap() >= before.parse().unwrap());
                    whole += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Interrupted);
                    broken += 1;
                }
            }
        }
    });
    assert!(whole > 0, "{broken} were broken");
}

/// MOSS-15.
#[test]
fn a_walk_goes_on_from_where_it_is_put() {
    let folder = folder();
    let (_db, c) = open(folder.path());
    for key in ["1", "3", "5", "7", "9"] {
        c.insert(key, "").unwrap();
    }
    let sought = |range: &mut Range, key: &str| {
        range.seek(key).unwrap();
        range
            .next()
            .transpose()
            .unwrap()
            .map_or("done".into(), |pair| pair.0.escape_ascii().to_string())
    };
    let mut all = c.iter();
    let wants = [("0", "1"), ("1", "1"), ("1", "1"), ("2", "3"), ("8", "9"), ("9", "9")];
    for (key, want) in wants.into_iter().chain([("999", "done"), ("999", "done"), ("2", "3")]) {
        assert_eq!(sought(&mut all, key), want, "{key}");
    }
    let mut some = c.range("3".."8");
    assert_eq!(sought(&mut some, "0"), "3");
    assert_eq!(sought(&mut some, "8"), "done");
    assert_eq!(some.next_back().map(|_| ()), None);
    assert_eq!(sought(&mut some, "6"), "7");
}

/// The back once walked on below the place where a seek had put the front.
#[test]
fn the_back_meets_the_front_where_that_was_put() {
    let folder = folder();
    let (_db, c) = open(folder.path());
    for key in ["1", "3", "5", "7", "9"] {
        c.insert(key, "").unwrap();
    }
    for (key, want) in [("", "97531"), ("3", "9753"), ("4", "975"), ("91", "")] {
        let mut range = c.iter();
        range.seek(key).unwrap();
        let found: Vec<_> = range.rev().map(|pair| pair.unwrap().0.to_vec()).collect();
        assert_eq!(found.concat(), want.as_bytes(), "from {key:?} on");
    }
}

#[test]
fn a_walk_may_be_of_keys_alone() {
    for delta in DELTAS {
        let (_folder, _db, c) = worked_example(delta);
        let keys: Vec<_> = c.iter().keys().map(|key| key.unwrap().to_vec()).collect();
        assert_eq!(keys, [b"a", b"c", b"e"]);
        let back: Vec<_> = c.range("b"..).keys().rev().map(|key| key.unwrap().to_vec()).collect();
        assert_eq!(back, [b"e", b"c"]);
        let few = c.iter().keys().take(2).count();
        assert_eq!(few, 2);
    }
}

/// MOSS-17.
#[test]
fn tools_see_what_was_removed() {
    let (_folder, db, c) = worked_example(Delta::TwoRuns);
    let text =
        |entries: &mut dyn Iterator<Item = esker::Result<(esker::Key, Option<esker::Value>)>>| {
            let text = |(key, value): (esker::Key, Option<esker::Value>)| match value {
                Some(value) => format!("{}={} ", key.escape_ascii(), value.escape_ascii()),
                None => format!("{} removed ", key.escape_ascii()),
            };
            entries.map(|entry| text(entry.unwrap())).collect::<String>()
        };
    let view = c.at(&db.snapshot());
    assert_eq!(text(&mut view.entries::<&str>(..)), "a=25 b removed c=40 e=28 ");
    assert_eq!(text(&mut view.entries("a".."c").rev()), "b removed a=25 ");
    drop(view);
    db.compact().unwrap();
    assert_eq!(text(&mut c.at(&db.snapshot()).entries::<&str>(..)), "a=25 c=40 e=28 ");
}
