//! Large values are values: whatever their size, and wherever they lie.

use super::{folder, small};
use esker::{Collection, Db};
use std::path::Path;

const THRESHOLD: usize = 1000;

fn open(folder: &Path) -> (Db, Collection) {
    let db = small().blob_threshold(THRESHOLD).open(folder).unwrap();
    let collection = db.collection("c").unwrap();
    (db, collection)
}

/// The value of pair `n` in its turn `turn`: no two are equal.
fn value(n: usize, turn: usize, len: usize) -> Vec<u8> {
    let mut word = (n as u64) << 32 | turn as u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        word = (word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(1);
        bytes.extend(word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn names(folder: &Path, front: &str) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with(front)).count()
}

fn folder_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// MACE-7: sizes around the threshold, a value that crosses it both ways, and one above every slab.
#[test]
fn values_of_any_size_are_what_was_written_in_memory_in_files_and_after_replay() {
    let sizes = [0, 1, 255, 256, THRESHOLD - 1, THRESHOLD, THRESHOLD + 1, 70_000, 3 << 20];
    for fate in ["memory", "flushed", "compacted", "reopened", "replayed"] {
        let folder = folder();
        let (mut db, mut c) = open(folder.path());
        for turn in 0..3 {
            for (n, _) in sizes.iter().enumerate() {
                let len = sizes[(n + turn) % sizes.len()];
                c.insert([n as u8], value(n, turn, len)).unwrap();
            }
        }
        let sum = db.checksum().unwrap();
        match fate {
            "memory" => {}
            "flushed" => db.flush().unwrap(),
            "compacted" => db.compact().unwrap(),
            _ => {
                if fate == "replayed" {
                    // The process dies: nothing is closed.
                    std::mem::forget((db.clone(), c.clone()));
                    let copy = super::folder();
                    for entry in std::fs::read_dir(folder.path()).unwrap() {
                        let entry = entry.unwrap();
                        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
                    }
                    let (db, c) = open(copy.path());
                    check(&db, &c, &sizes);
                    continue;
                }
                db.close().unwrap();
                drop(c);
                (db, c) = open(folder.path());
            }
        }
        check(&db, &c, &sizes);
        assert_eq!(db.checksum().unwrap(), sum, "{fate}");
    }
}

fn check(db: &Db, c: &Collection, sizes: &[usize]) {
    let want = |n: usize| value(n, 2, sizes[(n + 2) % sizes.len()]);
    for n in 0..sizes.len() {
        assert_eq!(c.get([n as u8]).unwrap().unwrap(), want(n), "value {n}");
        assert!(c.contains_key([n as u8]).unwrap());
    }
    let keys: Vec<[u8; 1]> = (0..sizes.len()).map(|n| [n as u8]).collect();
    let many = c.multi_get(&keys).unwrap();
    for (n, value) in many.into_iter().enumerate() {
        assert_eq!(value.unwrap(), want(n));
    }
    for (n, pair) in c.iter().enumerate() {
        assert_eq!(pair.unwrap().1, want(n));
    }
    for (n, pair) in c.iter().rev().enumerate() {
        assert_eq!(pair.unwrap().1, want(sizes.len() - 1 - n));
    }
    let mut lent = c.iter();
    for n in 0..sizes.len() {
        let (key, value) = lent.next_lent().unwrap().unwrap();
        assert_eq!((key, value), (&[n as u8][..], &want(n)[..]));
    }
    assert!(db.verify().unwrap().is_whole(), "{:?}", db.verify());
}

/// BLOB-12, MACE-4: a log of large values becomes the file that keeps them; nothing is written again.
#[test]
fn a_large_value_is_written_once() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let (count, len) = (400, 10_000);
    for n in 0..count {
        c.insert((n as u32).to_be_bytes(), value(n, 0, len)).unwrap();
    }
    db.flush().unwrap();
    let stats = db.stats();
    let user = (count * len) as u64;
    let written = stats.bytes_logged + stats.bytes_flushed + stats.bytes_compacted;
    assert!(written + stats.bytes_cleaned < user + user / 10, "{written} for {user}");
    assert_eq!((stats.blob_values, stats.blob_live_bytes), (count as u64, user));
    assert!(stats.blobs > 3 && names(folder.path(), "blob-") as u64 == stats.blobs);
    for n in (0..count).rev() {
        assert_eq!(c.get((n as u32).to_be_bytes()).unwrap().unwrap(), value(n, 0, len));
    }
}

/// Only what lives is kept where a log holds mostly other things.
#[test]
fn a_log_of_small_or_dead_values_is_not_kept() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for turn in 0..50 {
        c.insert("a", value(1, turn, 5000)).unwrap();
    }
    db.flush().unwrap();
    let stats = db.stats();
    assert_eq!((stats.blobs, stats.blob_values, stats.blob_live_bytes), (1, 1, 5000));
    assert!(stats.blob_bytes < 6000, "{stats}");
    assert_eq!(c.get("a").unwrap().unwrap(), value(1, 49, 5000));
}

/// MACE-15, MACE-17: garbage goes, what lives stays, and the figures agree after every reopen.
#[test]
fn space_comes_back_and_what_lives_stays_whole() {
    let folder = folder();
    let (mut db, mut c) = open(folder.path());
    let (count, len) = (300, 5000);
    for turn in 0..12 {
        for n in 0..count {
            if turn == 0 || n % 3 != 0 {
                c.insert((n as u32).to_be_bytes(), value(n, turn, len)).unwrap();
            }
        }
        if turn == 0 {
            // Now what will stay lies between what will die.
            db.flush().unwrap();
        }
        if turn % 4 == 3 {
            let before = db.stats();
            db.close().unwrap();
            drop(c);
            (db, c) = open(folder.path());
            let after = db.stats();
            assert!(after.blob_values <= before.blob_values + count as u64);
        }
    }
    db.compact().unwrap();
    let stats = db.stats();
    let user = (count * len) as u64;
    assert_eq!((stats.blob_values, stats.blob_live_bytes), (count as u64, user), "{stats}");
    assert!(folder_bytes(folder.path()) < user * 13 / 10 + (1 << 20), "{stats}");
    for n in 0..count {
        let turn = if n % 3 == 0 { 0 } else { 11 };
        assert_eq!(c.get((n as u32).to_be_bytes()).unwrap().unwrap(), value(n, turn, len));
    }
    assert!(db.verify().unwrap().is_whole());
}

/// The table of a file of values of the least length is a seventh of it. Once that was taken for
/// garbage, and such files were cleaned over and over: `compact` never returned.
#[test]
fn cleaning_comes_to_an_end_where_values_are_hardly_longer_than_what_a_table_says_of_them() {
    for len in [256, 300, 359] {
        let folder = folder();
        let db = small().blob_threshold(256).open(folder.path()).unwrap();
        let c = db.collection("c").unwrap();
        for turn in 0..3 {
            for n in (0..900).step_by(1 + turn) {
                c.insert((n as u32).to_be_bytes(), value(n, turn, len)).unwrap();
            }
            db.compact().unwrap();
        }
        let once = db.stats();
        assert!(once.cleanings > 0, "{once}");
        db.compact().unwrap();
        assert_eq!(db.stats().cleanings, once.cleanings);
        assert_eq!((once.blob_values, once.blob_live_bytes), (900, 900 * len as u64), "{once}");
    }
}

/// Several that flush and clean at once. Once one chose a file that another had just done with, and
/// called that damage; a flush waited for a cleaning that had ended, for ever; and `flush` said that
/// it had failed when somebody had sealed more meanwhile.
#[test]
fn cleanings_side_by_side_do_not_mistake_each_other_for_damage() {
    let folder = folder();
    let options = small().blob_threshold(256).compaction_threads(2);
    let db = options.open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    let len = 2000;
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| (0..60).try_for_each(|_| db.compact()))).collect();
        for turn in 0..40 {
            for n in 0..60 {
                c.insert([n as u8], value(n, turn, len)).unwrap();
            }
            db.flush().unwrap();
        }
        for worker in workers {
            worker.join().unwrap().unwrap();
        }
    });
    db.compact().unwrap();
    for n in 0..60 {
        assert_eq!(c.get([n as u8]).unwrap().unwrap(), value(n, 39, len));
    }
    assert!(db.verify().unwrap().is_whole());
}

/// MACE-16, MACE-20: snapshots, iterators and values see what they saw, across flush and cleaning.
#[test]
fn snapshots_and_values_are_undisturbed_by_cleaning() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let (count, len) = (100, 5000);
    for n in 0..count {
        c.insert((n as u32).to_be_bytes(), value(n, 0, len)).unwrap();
    }
    let snapshot = db.snapshot();
    let mut iterator = c.iter();
    let held = c.get(7_u32.to_be_bytes()).unwrap().unwrap();
    for turn in 1..6 {
        for n in 0..count {
            c.insert((n as u32).to_be_bytes(), value(n, turn, len)).unwrap();
        }
        db.compact().unwrap();
    }
    let old = c.at(&snapshot);
    for n in 0..count {
        assert_eq!(old.get((n as u32).to_be_bytes()).unwrap().unwrap(), value(n, 0, len));
        assert_eq!(iterator.next().unwrap().unwrap().1, value(n, 0, len));
        assert_eq!(c.get((n as u32).to_be_bytes()).unwrap().unwrap(), value(n, 5, len));
    }
    assert_eq!(db.stats().blob_values, 2 * count as u64);
    drop((snapshot, old, iterator));
    db.compact().unwrap();
    let stats = db.stats();
    assert_eq!((stats.blob_values, stats.blob_live_bytes), (count as u64, (count * len) as u64));
    db.close().unwrap();
    drop(c);
    assert_eq!(held, value(7, 0, len));
}

#[test]
fn a_range_delete_and_a_removal_kill_large_values() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for n in 0..200 {
        c.insert((n as u32).to_be_bytes(), value(n, 0, 5000)).unwrap();
    }
    db.flush().unwrap();
    c.remove(3_u32.to_be_bytes()).unwrap();
    c.remove_range(100_u32.to_be_bytes()..).unwrap();
    db.compact().unwrap();
    let stats = db.stats();
    assert_eq!((stats.blob_values, stats.blob_live_bytes), (99, 99 * 5000), "{stats}");
    c.clear().unwrap();
    db.compact().unwrap();
    let stats = db.stats();
    assert_eq!((stats.blobs, stats.blob_values), (0, 0), "{stats}");
    assert_eq!(names(folder.path(), "blob-"), 0);
}

#[test]
fn large_values_are_ingested_past_the_log() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let len = |n: usize| if n.is_multiple_of(3) { 10 } else { 3000 };
    let pairs = (0..500).map(|n| ((n as u32).to_be_bytes(), value(n, 0, len(n))));
    let logged = db.stats().bytes_logged;
    assert_eq!(c.ingest(pairs).unwrap(), 500);
    assert!(db.stats().bytes_logged < logged + 5000);
    let (mut db, mut c) = (db, c);
    for _ in 0..2 {
        for n in 0..500 {
            assert_eq!(c.get((n as u32).to_be_bytes()).unwrap().unwrap(), value(n, 0, len(n)));
        }
        assert!(db.verify().unwrap().is_whole());
        db.compact().unwrap();
        db.close().unwrap();
        drop(c);
        (db, c) = open(folder.path());
    }
}

/// F-33, F-44: a bit that flipped in a blob file is an error of that value alone, and of `verify`.
#[test]
fn a_flipped_bit_is_noticed_and_other_values_are_unharmed() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for n in 0..20 {
        c.insert([n], value(n.into(), 0, 2000)).unwrap();
    }
    db.flush().unwrap();
    db.close().unwrap();
    drop(c);
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let blob = files.filter(|path| path.to_str().unwrap().contains("blob-")).last().unwrap();
    let good = std::fs::read(&blob).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&blob, &bad).unwrap();
        let (db, c) = open(folder.path());
        let wrong = (0..20_u8).filter(|n| match c.get([*n]) {
            Ok(found) => {
                assert_eq!(found.unwrap(), value((*n).into(), 0, 2000));
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), esker::ErrorKind::Corruption);
                assert!(error.message().contains("blob-"), "{error}");
                true
            }
        });
        assert!(wrong.count() <= 1);
        let report = db.verify().unwrap();
        assert!(!report.is_whole(), "byte {at}");
        drop((db, c));
    }
    std::fs::write(&blob, &good).unwrap();
    let (db, c) = open(folder.path());
    assert!(db.verify().unwrap().is_whole());
    drop((db, c));
}
