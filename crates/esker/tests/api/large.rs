//! Large values are values: whatever their size, and wherever they lie.

use super::{folder, small};
use esker::{Collection, Db};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

const THRESHOLD: usize = 1000;

fn open(folder: &Path) -> (Db, Collection) {
    let db = small().blob_threshold(THRESHOLD).open(folder).unwrap();
    let collection = db.collection("c").unwrap();
    (db, collection)
}

/// The same with room for all that a test writes in memory and in one log.
fn open_large(folder: &Path) -> (Db, Collection) {
    let options = Db::options().blob_threshold(THRESHOLD).sync_interval(None);
    let db = options.open(folder).unwrap();
    let collection = db.collection("c").unwrap();
    (db, collection)
}

/// The value of pair `n` in its turn `turn`: no two are equal.
pub(super) fn value(n: usize, turn: usize, len: usize) -> Vec<u8> {
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
        let (mut db, mut c) = match fate {
            // Nothing is flushed: what is copied below stays as it is meanwhile.
            "replayed" => open_large(folder.path()),
            _ => open(folder.path()),
        };
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
                    let (db, c) = open_large(copy.path());
                    assert!(db.recovery().operations_replayed > 0);
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
    check_parts(c, sizes.len(), want);
    assert!(db.verify().unwrap().is_whole(), "{:?}", db.verify());
}

/// Ranges and readers give what whole values give, wherever those lie.
pub(super) fn check_parts(c: &Collection, count: usize, want: impl Fn(usize) -> Vec<u8>) {
    for n in 0..count {
        let (key, value) = ([n as u8], want(n));
        let len = value.len();
        let cuts = [0, 1, len / 3, len.saturating_sub(1), len, len + 1, len + 5000];
        for (start, end) in cuts.iter().flat_map(|start| cuts.iter().map(move |end| (*start, *end)))
        {
            let part = c.get_range(key, start as u64..end as u64).unwrap().unwrap();
            assert_eq!(part, value.get(start..end.min(len)).unwrap_or_default(), "{start}..{end}");
        }
        assert_eq!(c.get_range(key, ..).unwrap().unwrap(), value);
        assert_eq!(c.get_range(key, ..=u64::MAX).unwrap().unwrap(), value);
        assert_eq!(c.get_range(key, u64::MAX..).unwrap().unwrap(), b"");
        let mut reader = c.reader(key).unwrap().unwrap();
        assert_eq!((reader.len(), reader.is_empty()), (len as u64, len == 0));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == value, "value {n}");
        for (step, start) in [(1000, len / 2), (300_000, 0), (7, len.saturating_sub(20))] {
            reader.seek(SeekFrom::Start(start as u64)).unwrap();
            let mut piece = vec![0; step.min(len - start)];
            reader.read_exact(&mut piece).unwrap();
            assert!(piece == value[start..start + piece.len()], "value {n} from {start}");
            assert_eq!(reader.stream_position().unwrap(), (start + piece.len()) as u64);
        }
        assert_eq!(reader.seek(SeekFrom::End(9)).unwrap(), len as u64 + 9);
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0);
        let error = reader.seek(SeekFrom::Current(-(len as i64) - 10)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    let read = |(_, mut reader): (esker::Key, esker::ValueReader)| {
        let mut value = Vec::new();
        reader.read_to_end(&mut value).unwrap();
        value
    };
    for (n, pair) in c.iter().readers().enumerate() {
        assert!(read(pair.unwrap()) == want(n));
    }
    for (n, pair) in c.iter().readers().rev().enumerate() {
        assert!(read(pair.unwrap()) == want(count - 1 - n));
    }
    assert_eq!(c.get_range("absent", ..).unwrap(), None);
    assert!(c.reader("absent").unwrap().is_none());
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
    assert!(stats.blobs > 3 && names(folder.path(), "blob-") as u64 >= stats.blobs);
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
    // What is not needed any more is gone when the database is closed, if not before.
    db.close().unwrap();
    drop(c);
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

/// MACE-16: a reader goes on reading what it was opened on: from a log, from a file, in another
/// thread, after the database was closed.
#[test]
fn a_reader_is_undisturbed_by_flush_cleaning_and_close() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let old = value(1, 0, 1 << 20);
    c.insert("a", &old).unwrap();
    let mut readers = vec![c.reader("a").unwrap().unwrap()];
    db.flush().unwrap();
    readers.push(c.reader("a").unwrap().unwrap());
    let snapshot = db.snapshot();
    c.insert("a", value(1, 1, 5000)).unwrap();
    readers.push(c.at(&snapshot).reader("a").unwrap().unwrap());
    assert_eq!(c.at(&snapshot).get_range("a", 5..9).unwrap().unwrap(), &old[5..9]);
    assert_eq!(c.at(&snapshot).get_range("b", 5..9).unwrap(), None);
    for reader in &mut readers {
        let mut half = vec![0; old.len() / 2];
        reader.read_exact(&mut half).unwrap();
        assert!(half == old[..half.len()]);
    }
    drop(snapshot);
    db.compact().unwrap();
    db.close().unwrap();
    drop(c);
    let threads: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            let want = old[old.len() / 2..].to_vec();
            std::thread::spawn(move || {
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest).unwrap();
                assert!(rest == want);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn many_threads_read_parts_of_what_others_write_and_clean_away() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let len = 400_000;
    c.insert("a", value(1, 0, len)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..60 {
                    let mut reader = c.reader("a").unwrap().unwrap();
                    let mut read = Vec::new();
                    reader.read_to_end(&mut read).unwrap();
                    let snapshot = db.snapshot();
                    let all = c.at(&snapshot).get("a").unwrap().unwrap();
                    let part = c.at(&snapshot).get_range("a", 777..300_000).unwrap().unwrap();
                    assert!(part == all[777..300_000]);
                }
            });
        }
        scope.spawn(|| {
            for turn in 1..40 {
                let mut writer = c.writer("a").with_len(len as u64).unwrap();
                let value = value(1, turn, len);
                value.chunks(70_000).for_each(|piece| writer.write_all(piece).unwrap());
                assert_eq!(writer.len(), len as u64);
                writer.finish().unwrap();
                if turn % 8 == 0 {
                    db.compact().unwrap();
                }
            }
        });
    });
    assert_eq!(c.get("a").unwrap().unwrap(), value(1, 39, len));
    assert!(db.verify().unwrap().is_whole());
}

/// F-33: the last piece of a value that is not what was written is never given.
#[test]
fn a_reader_of_a_damaged_value_ends_in_an_error_and_stays_there() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let good = value(1, 0, 900_000);
    c.insert("a", &good).unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    drop(c);
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let blob = files.filter(|path| path.to_str().unwrap().contains("blob-")).last().unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 4;
    std::fs::write(&blob, &bytes).unwrap();
    let (_db, c) = open(folder.path());
    let mut reader = c.reader("a").unwrap().unwrap();
    let mut read = Vec::new();
    let error = reader.read_to_end(&mut read).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("blob-") && error.to_string().contains("digest"), "{error}");
    let inside = error.into_inner().unwrap().downcast::<esker::Error>().unwrap();
    assert_eq!(inside.kind(), esker::ErrorKind::Corruption);
    assert!(read.len() >= 900_000 - (256 << 10) - 1 && read.len() < good.len());
    for _ in 0..2 {
        reader.rewind().unwrap();
        assert!(reader.read(&mut [0; 9]).is_err());
    }
    // Parts of it are what the disk gives; the whole is an error.
    assert_eq!(c.get_range("a", ..100).unwrap().unwrap(), &good[..100]);
    assert!(c.get("a").is_err());
}

#[test]
fn a_writer_writes_nothing_before_its_finish_and_nothing_if_it_is_dropped() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let before = db.checksum().unwrap();
    let mut dropped = c.writer("a");
    dropped.write_all(&[7; 100_000]).unwrap();
    assert!(c.writer("a").is_empty() && dropped.len() == 100_000);
    drop(dropped);
    assert_eq!((c.get("a").unwrap(), db.checksum().unwrap()), (None, before));
    for len in [0, 1, THRESHOLD - 1, THRESHOLD, 70_000, 3 << 20] {
        for told in [0, len / 2, len, len + 9] {
            let want = value(len, told, len);
            let mut writer = c.writer("a").with_len(told as u64).unwrap();
            want.chunks(50_001).for_each(|piece| writer.write_all(piece).unwrap());
            writer.flush().unwrap();
            writer.finish_with(esker::Durability::Sync).unwrap();
            assert_eq!(c.get("a").unwrap().unwrap(), want);
        }
    }
    let writer = c.writer("a");
    db.close().unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), esker::ErrorKind::InvalidArgument);
}

#[test]
fn a_writer_refuses_what_is_over_a_limit_at_once_and_for_good() {
    let folder = folder();
    let (_db, c) = open(folder.path());
    let error = c.writer("a").with_len((1 << 30) + 1).unwrap_err();
    assert_eq!(error.kind(), esker::ErrorKind::InvalidArgument);
    let mut writer = c.writer(vec![1; (64 << 10) + 1]);
    assert_eq!(writer.write(b"a").unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(writer.finish().unwrap_err().kind(), esker::ErrorKind::InvalidArgument);
    // Zeros that nobody has touched cost no memory.
    let much = vec![0; (1 << 30) + 1];
    let mut writer = c.writer("a");
    writer.write_all(b"fine").unwrap();
    for bytes in [&much[4..], &b"short"[..]] {
        let error = writer.write(bytes).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("want at most"), "{error}");
    }
    assert_eq!(writer.finish().unwrap_err().kind(), esker::ErrorKind::InvalidArgument);
    assert_eq!(c.get("a").unwrap(), None);
}
