//! Verify, checksum, stats.

use super::{folder, open, small};
use esker::Db;

fn fill(db: &Db, turns: std::ops::Range<u32>) {
    let one = db.collection("one").unwrap();
    let two = db.collection("two").unwrap();
    for turn in turns {
        let mut batch = db.batch();
        batch.insert(&one, format!("{:04}", turn % 300), turn.to_be_bytes()).unwrap();
        batch.insert(&two, format!("{turn:06}"), vec![turn as u8; turn as usize % 200]).unwrap();
        if turn % 5 == 0 {
            batch.remove(&one, format!("{:04}", turn % 70)).unwrap();
        }
        batch.commit().unwrap();
    }
}

#[test]
fn a_whole_database_verifies_whole() {
    let folder = folder();
    // Merges would drop entries that are counted below.
    let db = small().background_compaction(false).open(folder.path()).unwrap();
    assert_eq!(db.verify().unwrap().damages, []);
    fill(&db, 0..1000);
    assert_eq!(db.verify().unwrap().damages, []);
    db.flush().unwrap();
    fill(&db, 1000..1100);
    let (mut last, mut total) = (0, 0);
    let report = db
        .verify_with(&mut |done, all| {
            assert!(done >= last && done <= all, "{last} {done} {all}");
            (last, total) = (done, all);
        })
        .unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert!(report.entries >= 1300 && report.files >= 3 && report.bytes >= total);
    assert_eq!(last, total);
    db.compact().unwrap();
    assert_eq!(db.verify().unwrap().damages, []);
}

/// The sum covers key, value, number and kind of every operation, wherever it lies by now.
#[test]
fn two_copies_have_the_same_checksum_whatever_each_has_rewritten() {
    let folders = [folder(), folder()];
    let db = small().open(folders[0].path()).unwrap();
    fill(&db, 0..700);
    db.close().unwrap();
    for file in std::fs::read_dir(folders[0].path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folders[1].path().join(file.file_name())).unwrap();
    }
    let sums = [0, 1].map(|copy| {
        let db = small().open(folders[copy].path()).unwrap();
        if copy == 1 {
            db.compact().unwrap();
        }
        db.checksum().unwrap()
    });
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn the_checksum_survives_flush_compaction_and_reopening() {
    let folder = folder();
    let options = small().sync_interval(None);
    let db = options.open(folder.path()).unwrap();
    fill(&db, 0..500);
    let sum = db.checksum().unwrap();
    db.flush().unwrap();
    assert_eq!(db.checksum().unwrap(), sum);
    db.compact().unwrap();
    assert_eq!(db.checksum().unwrap(), sum);
    db.close().unwrap();
    let db = options.open(folder.path()).unwrap();
    assert_eq!(db.checksum().unwrap(), sum);
    fill(&db, 500..501);
    let more = db.checksum().unwrap();
    assert_ne!(more, sum);
    db.close().unwrap();
    let db = options.open(folder.path()).unwrap();
    assert_eq!(db.checksum().unwrap(), more);
}

#[test]
fn stats_count_what_was_done() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let empty = db.stats();
    assert_eq!((empty.collections, empty.runs, empty.segments), (1, 0, 0));
    c.insert("a", "1").unwrap();
    c.insert("b", "1").unwrap();
    c.remove("a").unwrap();
    let written = db.stats();
    assert!(written.sequence >= empty.sequence + 3);
    assert!(written.memtable_bytes > empty.memtable_bytes);
    let snapshot = db.snapshot();
    assert_eq!(db.stats().snapshots, 1);
    drop(snapshot);
    db.flush().unwrap();
    let flushed = db.stats();
    assert_eq!((flushed.flushes, flushed.runs, flushed.segments), (1, 1, 1));
    assert!(flushed.segment_bytes > 0 && flushed.bytes_flushed >= flushed.segment_bytes);
    c.insert("c", "1").unwrap();
    db.compact().unwrap();
    let compacted = db.stats();
    assert_eq!((compacted.runs, compacted.segment_tombstones), (1, 0));
    assert!(compacted.compactions >= 1 && !compacted.read_only);
    let shown = compacted.to_string();
    for (name, value) in compacted.fields() {
        assert!(shown.contains(name) && shown.contains(&value.to_string()), "{name}");
    }
}

#[test]
fn flush_and_compact_of_nothing_change_nothing() {
    let folder = folder();
    let db = small().open(folder.path()).unwrap();
    for _ in 0..3 {
        db.flush().unwrap();
        db.compact().unwrap();
    }
    assert_eq!((db.stats().runs, db.stats().flushes), (0, 0));
}
