//! Logs that are kept: how many, how well, and what others do with them.

use super::{DIR, MANY, all_words, from, open, options, pairs};
use esker::env::sim::{Calls, Errno, Fault, Sim};
use esker::operators::Append;
use esker::{Db, ErrorKind, MergeOperator, Settings};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The logs that are kept have at most so many bytes, the oldest go first, and a number that is said to
/// be held is.
#[test]
fn what_is_kept_stays_within_its_bounds() {
    const KEEP: u64 = 50 << 10;
    let world = Sim::new(7);
    let db = open(&world, KEEP);
    let c = db.collection("c").unwrap();
    let mut starts = vec![db.changes_held().unwrap().start];
    for n in 0..400u32 {
        c.insert(n.to_be_bytes(), vec![n as u8; 300]).unwrap();
        if n % 25 == 0 {
            db.flush().unwrap();
            let (stats, held) = (db.stats(), db.changes_held().unwrap());
            assert!(stats.kept_log_bytes <= KEEP, "{stats}");
            starts.push(held.start);
            let found = from(&db, held.start);
            assert_eq!(found.last().unwrap().last(), held.end - 1);
        }
    }
    assert!(starts.is_sorted() && starts.last() > starts.first(), "{starts:?}");
    let kept = db.stats().kept_log_bytes;
    assert!(kept > KEEP / 2, "{kept}");
    drop((c, db));
    let held = |db: &Db| (db.stats().kept_logs, db.changes_held().unwrap().start);
    let before = held(&options(&world).read_only(true).keep_logs(0).open(DIR).unwrap());
    assert_eq!(held(&open(&world, KEEP)), before, "what only reads has changed nothing");
    let less = held(&open(&world, KEEP / 3));
    assert!(less.0 < before.0 && less.1 > before.1, "{less:?}, {before:?}");
    let none = held(&open(&world, 0));
    assert!(none.0 == 0 && none.1 > less.1, "{none:?}");
    let files = world.list_all();
    assert!(!files.iter().any(|(path, _)| path.to_string_lossy().contains("kept-")));
    let db = open(&world, 1);
    db.collection("c").unwrap().insert("a", "1").unwrap();
    db.flush().unwrap();
    assert_eq!(db.stats().kept_logs, 0, "one that is too large alone is not kept");
    assert_eq!(db.changes_held().unwrap().start, db.stats().durable + 1);
}

/// F-33, F-37: damage in a kept log is an error in its place, and in `verify`; the database goes on, and
/// without kept logs it is whole.
#[test]
fn damage_in_a_kept_log_is_told_and_harms_nothing_else() {
    let whole = Sim::new(9);
    let db = open(&whole, MANY);
    let c = db.collection("c").unwrap();
    for n in 0..20u8 {
        c.insert([n], [n; 40]).unwrap();
        if n == 9 {
            db.flush().unwrap();
        }
    }
    db.flush().unwrap();
    let all = from(&db, 1);
    drop((c, db));
    let kept = |(path, _): &(PathBuf, u64)| path.to_string_lossy().contains("kept-");
    let (path, bytes) = whole.list_all().into_iter().find(kept).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let content = whole.read_file(&path).unwrap();
    assert_eq!(content.len() as u64, bytes, "cut behind its last frame");
    type Harm = fn(&Sim, &Path, Vec<u8>) -> std::io::Result<()>;
    let harms: [Harm; 5] = [
        |world, path, _| world.remove_file(path),
        |world, path, bytes| world.flip(path, bytes.len() as u64 / 2, 2),
        |world, path, bytes| world.flip(path, bytes.len() as u64 - 1, 2),
        |world, path, bytes| world.write_file(path, &bytes[..bytes.len() - 1]),
        |world, path, _| world.write_file(path, []),
    ];
    for harm in harms {
        let world = whole.snapshot();
        harm(&world, &path, content.clone()).unwrap();
        let db = open(&world, MANY);
        let mut changes = db.changes(1).unwrap();
        let mut given = 0;
        let error = loop {
            match changes.try_next() {
                Ok(Some(change)) => assert_eq!(change, all[given]),
                Ok(None) => panic!("nothing is told of the damage"),
                Err(error) => break error,
            }
            given += 1;
        };
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert!(error.message().contains(&name), "{error}");
        let damages = db.verify().unwrap().damages;
        assert_eq!(damages.len(), 1, "{damages:?}");
        assert_eq!(damages[0].file, name);
        db.collection("c").unwrap().insert("more", "1").unwrap();
        drop(db);
        let db = open(&world, 0);
        assert!(db.verify().unwrap().is_whole());
        assert_eq!(db.collection("c").unwrap().iter().count(), 21);
    }
}

/// A file system that gives no file two names: logs are copied.
#[test]
fn logs_are_kept_where_a_file_has_one_name() {
    let world = Sim::new(11);
    let db = open(&world, MANY);
    let c = db.collection("c").unwrap();
    world.fail_from(world.count(Calls::LINK) + 1, Fault::refuse(Errno::Io, Calls::LINK));
    c.insert("a", vec![1; 5000]).unwrap();
    db.flush().unwrap();
    c.insert("b", "1").unwrap();
    db.sync().unwrap();
    assert_eq!(all_words(&from(&db, 1))[1..], ["c:a=5000 bytes", "c:b=1"]);
    assert_eq!(db.stats().kept_logs, 1);
    assert!(db.verify().unwrap().is_whole());
}

/// A flush that fails and is tried again keeps each log once.
#[test]
fn a_flush_that_fails_keeps_nothing_and_the_next_one_does() {
    for calls in [Calls::CREATE, Calls::SYNC_DIR, Calls::LINK] {
        let world = Sim::new(12);
        let db = open(&world, MANY);
        let c = db.collection("c").unwrap();
        c.insert("a", "1").unwrap();
        db.sync().unwrap();
        world.fail_at(world.count(calls) + 1, Fault::refuse(Errno::Io, calls));
        let _ = db.flush();
        world.heal();
        world.advance(Duration::from_secs(1));
        db.flush().unwrap();
        assert_eq!(db.stats().kept_logs, 1, "{calls:?}");
        assert_eq!(all_words(&from(&db, 1))[1..], ["c:a=1"]);
        drop((c, db));
        let db = open(&world, MANY);
        let orphans = &db.recovery().orphans_removed;
        assert!(!orphans.iter().any(|name| name.starts_with("kept-")), "{orphans:?}");
        assert_eq!(all_words(&from(&db, 1))[1..], ["c:a=1"]);
    }
}

/// What a merge has folded, and what a revert has removed, does not come back from a kept log, whatever
/// else is lost.
#[test]
fn a_repair_takes_nothing_from_kept_logs() {
    for without_manifest in [false, true] {
        let world = Sim::new(13);
        let db = open(&world, MANY);
        let settings = Settings::default().merge_operator(Append::new(":").name());
        let c = db.collection_with("c", &settings).unwrap();
        db.name_snapshot("x").unwrap();
        c.insert("gone", "1").unwrap();
        db.flush().unwrap();
        db.revert("x").unwrap();
        c.configure(&settings).unwrap();
        for value in ["1", "2", "3"] {
            c.merge("k", value).unwrap();
            db.flush().unwrap();
        }
        c.insert("large", vec![7; 9000]).unwrap();
        db.forget_snapshot("x").unwrap();
        db.compact().unwrap();
        c.merge("k", "4").unwrap();
        let want = pairs(c.iter());
        drop((c, db));
        let files = world.list_all().into_iter().map(|(path, _)| path);
        let is = |path: &Path, kind: &str| path.to_string_lossy().contains(kind);
        let harmed: Vec<_> = match without_manifest {
            true => files.filter(|path| is(path, "manifest-")).collect(),
            // Its log is kept and has the same bytes.
            false => files.filter(|path| is(path, "blob-")).collect(),
        };
        assert!(!harmed.is_empty());
        harmed.iter().for_each(|path| world.remove_file(path).unwrap());
        let report = options(&world).repair(DIR).unwrap();
        assert!(report.repaired && report.lost_keys.is_empty(), "{report:?}");
        let db = open(&world, MANY);
        assert_eq!(pairs(db.collection("c").unwrap().iter()), want, "{without_manifest}");
        assert_eq!(db.stats().kept_logs, 0);
        let held = db.changes_held().unwrap();
        assert_eq!(db.changes(held.start - 1).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(db.verify().unwrap().is_whole());
    }
}

/// Copies have nothing to follow of what was before them, and are followed from there on.
#[test]
fn copies_begin_a_feed_of_their_own() {
    let world = Sim::new(14);
    let db = open(&world, MANY);
    let c = db.collection("c").unwrap();
    c.insert("a", "1").unwrap();
    db.flush().unwrap();
    c.ingest([("b", "1")]).unwrap();
    let copied = db.checkpoint("/copy").unwrap().sequence;
    let backup = db.backup("/backups").unwrap();
    c.insert("a", "2").unwrap();
    db.sync().unwrap();
    assert_eq!(all_words(&from(&db, copied + 1)), ["c:a=2"]);
    options(&world).restore("/backups", "/restored").unwrap();
    drop(backup);
    for folder in ["/copy", "/restored"] {
        let db = options(&world).keep_logs(MANY).open(folder).unwrap();
        assert_eq!(db.changes_held().unwrap(), copied + 1..copied + 1);
        assert_eq!(db.changes(copied).unwrap_err().kind(), ErrorKind::NotFound);
        db.collection("c").unwrap().insert("a", "3").unwrap();
        db.sync().unwrap();
        assert_eq!(all_words(&from(&db, copied + 1)), ["c:a=3"]);
    }
}
