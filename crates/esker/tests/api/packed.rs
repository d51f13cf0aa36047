//! Large values that are stored packed are the values that were written.

use super::large::{check_parts, value};
use super::{folder, small};
use esker::{Collection, Compression, Db, ErrorKind, Options};
use std::path::Path;

const THRESHOLD: usize = 1000;
/// Of value `n` and its turn: some around the threshold, some that pack to far below it.
const SIZES: [usize; 9] =
    [0, 255, THRESHOLD - 1, THRESHOLD, THRESHOLD + 1, 5000, 20_000, 70_000, 1 << 20];

/// Those compressions that this build has.
fn compressions() -> impl Iterator<Item = Compression> {
    let zstd = cfg!(feature = "zstd").then_some(Compression::Zstd);
    [Compression::None, Compression::Lz4].into_iter().chain(zstd)
}

fn options(compression: Compression) -> Options {
    small().blob_threshold(THRESHOLD).blob_compression(compression).sync_interval(None)
}

fn open(folder: &Path, options: &Options) -> (Db, Collection) {
    let db = options.open(folder).unwrap();
    let collection = db.collection("c").unwrap();
    (db, collection)
}

/// Every third value is noise; of the others a part is.
fn mixed(n: usize, turn: usize) -> Vec<u8> {
    let len = SIZES[(n + turn) % SIZES.len()];
    let mut bytes = value(n, turn, len);
    if !(n + turn).is_multiple_of(3) {
        let from = len.min(16 + n);
        bytes[from..].fill(turn as u8);
    }
    bytes
}

fn write(c: &Collection, turn: usize) {
    for n in 0..SIZES.len() {
        c.insert([n as u8], mixed(n, turn)).unwrap();
    }
}

fn check(db: &Db, c: &Collection, turn: usize) {
    for (n, pair) in c.iter().enumerate() {
        assert_eq!(pair.unwrap().1, mixed(n, turn), "value {n}");
        assert_eq!(c.get([n as u8]).unwrap().unwrap(), mixed(n, turn), "value {n}");
    }
    check_parts(c, SIZES.len(), |n| mixed(n, turn));
    let report = db.verify().unwrap();
    assert!(report.is_whole(), "{report:?}");
}

/// A copy of the folder of a database that is not closed, as if its process had died.
fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = super::folder();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// BLOB-15, MACE-7: whatever threshold and compression the next open has, what was large is large.
#[test]
fn what_is_replayed_is_what_was_live_whatever_the_next_open_says() {
    let mut sums = Vec::new();
    for compression in compressions() {
        let folder = folder();
        // Nothing is flushed: what is copied stays as it is meanwhile.
        let (db, c) = open(folder.path(), &options(compression).slab_bytes(8 << 20));
        (0..3).for_each(|turn| write(&c, turn));
        check(&db, &c, 2);
        sums.push(db.checksum().unwrap());
        for (least, next) in [
            (THRESHOLD, compression),
            (256, Compression::None),
            (30_000, Compression::Lz4),
            (usize::MAX, Compression::None),
        ] {
            let copy = copy(folder.path());
            let next = options(next).blob_threshold(least);
            let (db, c) = open(copy.path(), &next);
            assert!(db.recovery().operations_replayed > 0);
            check(&db, &c, 2);
            assert_eq!(db.checksum().unwrap(), sums[0], "{compression:?}, then {least}");
            db.compact().unwrap();
            check(&db, &c, 2);
            db.close().unwrap();
        }
    }
    // The sum is of what the user gave, however it is stored.
    assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "{sums:?}");
}

#[test]
fn packed_values_survive_flush_cleaning_and_reopening() {
    for compression in compressions() {
        let folder = folder();
        let options = options(compression);
        let (mut db, mut c) = open(folder.path(), &options);
        for turn in 0..8 {
            write(&c, turn);
            match turn % 4 {
                0 => db.flush().unwrap(),
                2 => db.compact().unwrap(),
                3 => {
                    db.close().unwrap();
                    drop(c);
                    (db, c) = open(folder.path(), &options);
                }
                _ => {}
            }
            check(&db, &c, turn);
        }
        db.compact().unwrap();
        check(&db, &c, 7);
    }
}

/// BLOB-11: what saves an eighth takes less room, what does not takes what it is long.
#[test]
fn what_packs_takes_less_room_and_noise_no_more() {
    for compression in compressions() {
        let folder = folder();
        let (db, c) = open(folder.path(), &options(compression));
        let (count, len) = (100, 20_000);
        for n in 0..count {
            c.insert(format!("noise {n:03}"), value(n, 0, len)).unwrap();
        }
        db.compact().unwrap();
        let noise = db.stats();
        assert_eq!(noise.blob_live_bytes, (count * len) as u64, "{noise}");
        let logged = noise.bytes_logged;
        for n in 0..count {
            c.insert(format!("text {n:03}"), vec![n as u8; len]).unwrap();
        }
        db.compact().unwrap();
        let both = db.stats();
        let (stored, logged) =
            (both.blob_live_bytes - noise.blob_live_bytes, both.bytes_logged - logged);
        assert_eq!(both.blob_values, 2 * count as u64);
        match compression {
            Compression::None => assert_eq!(stored, (count * len) as u64),
            _ => assert!(stored < (count * len / 20) as u64 && logged < 2 * stored, "{both}"),
        }
        assert!(db.verify().unwrap().is_whole());
    }
}

#[test]
fn values_stored_in_different_ways_live_and_are_cleaned_together() {
    let folder = folder();
    for (turn, compression) in compressions().chain(compressions()).enumerate() {
        let (db, c) = open(folder.path(), &options(compression));
        for n in 0..SIZES.len() {
            if turn == 0 || !n.is_multiple_of(turn + 1) {
                c.insert([n as u8, turn as u8], mixed(n, turn)).unwrap();
                c.insert([n as u8, 255], mixed(n, turn)).unwrap();
            }
        }
        db.compact().unwrap();
        for pair in c.iter() {
            let (key, value) = pair.unwrap();
            if key[1] < 255 {
                assert_eq!(value, mixed(key[0].into(), key[1].into()), "{key:?}");
            }
        }
        assert!(db.verify().unwrap().is_whole());
        db.close().unwrap();
    }
}

#[test]
fn packed_values_are_ingested_past_the_log() {
    for compression in compressions() {
        let folder = folder();
        let options = options(compression);
        let (db, c) = open(folder.path(), &options);
        let pairs = (0..SIZES.len()).map(|n| ([n as u8], mixed(n, 4)));
        c.ingest(pairs).unwrap();
        check(&db, &c, 4);
        let stats = db.stats();
        let user: u64 = SIZES.iter().filter(|len| **len >= THRESHOLD).map(|len| *len as u64).sum();
        assert_eq!(stats.blob_live_bytes < user, compression != Compression::None, "{stats}");
        write(&c, 5);
        db.compact().unwrap();
        db.close().unwrap();
        drop(c);
        let (db, c) = open(folder.path(), &options);
        check(&db, &c, 5);
    }
}

#[test]
fn a_compression_that_the_build_lacks_is_refused_before_anything_is_made() {
    if cfg!(feature = "zstd") {
        return;
    }
    let folder = folder();
    let path = folder.path().join("db");
    let options = [
        Db::options().compression(Compression::Zstd),
        Db::options().blob_compression(Compression::Zstd),
    ];
    for options in options {
        let error = options.open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("feature `zstd`"), "{error}");
        assert!(!path.exists());
    }
}
