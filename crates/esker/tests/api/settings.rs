//! What is set for a collection: kept, changed, and used where it is written.

use crate::{folder, open, small};
use esker::operators::U64Add;
use esker::{Collection, Compression, Db, ErrorKind, Settings};

fn kind<T>(result: esker::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn settings_are_kept_and_can_be_changed() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let first = Settings::default().compression(Compression::Lz4).merge_operator("max");
    let x = db.collection_with("x/y", &first).unwrap();
    assert_eq!(x.settings(), first);
    let other = db.collection_with("x/y", &Settings::default().filter(3)).unwrap();
    assert_eq!(other.settings(), first, "one that exists keeps what it has");
    assert_eq!(db.collection("x").unwrap().settings(), Settings::default());
    let mut batch = db.batch();
    let z = batch.create_collection_with("z", &Settings::default().filter(20)).unwrap();
    batch.commit().unwrap();
    let second = Settings::default().blob_threshold(1000).prefix_filter(4);
    x.configure(&second).unwrap();
    z.configure(&Settings::default()).unwrap();
    c.configure(&first).unwrap();
    assert_eq!(other.settings(), second, "handles share them");
    db.rename_collection(&x, "moved").unwrap();
    let wrong = Settings::default().merge_operator("nobody knows it");
    assert_eq!(kind(x.configure(&wrong)), ErrorKind::InvalidArgument);
    assert_eq!(kind(db.collection_with("w", &wrong)), ErrorKind::InvalidArgument);
    drop((x, c, other, z));
    db.close().unwrap();
    let (db, c) = open(folder.path());
    assert_eq!(db.collection("moved").unwrap().settings(), second);
    assert_eq!(db.collection("z").unwrap().settings(), Settings::default());
    assert_eq!(c.settings(), first);
    assert_eq!(db.collections().unwrap(), ["c", "moved", "x", "z"]);
    db.delete_collection(&c).unwrap();
    assert_eq!(kind(c.configure(&second)), ErrorKind::NotFound);
    assert_eq!(db.collection("c").unwrap().settings(), Settings::default());
}

/// Compresses to nearly nothing, and takes 256 KiB.
fn fill(collection: &Collection) {
    for n in 0..256_u32 {
        collection.insert(n.to_be_bytes(), [7; 1024]).unwrap();
    }
}

fn segment_bytes(db: &Db) -> u64 {
    db.compact().unwrap();
    db.stats().segment_bytes
}

/// Each collection's blocks are written as it wants them, in the same flushes and compactions, from
/// when on it wants it.
#[test]
fn blocks_are_compressed_as_their_collection_says() {
    let folder = folder();
    let (db, plain) = open(folder.path());
    let packed =
        db.collection_with("packed", &Settings::default().compression(Compression::Lz4)).unwrap();
    fill(&packed);
    let small = segment_bytes(&db);
    assert!(small < 128 << 10, "{small} bytes are compressed, but for a beginning");
    fill(&plain);
    let both = segment_bytes(&db);
    assert!((256 << 10..400 << 10).contains(&both), "{both} bytes are not, beside them");
    plain.configure(&packed.settings()).unwrap();
    packed.configure(&Settings::default()).unwrap();
    assert_eq!(plain.iter().count() + packed.iter().count(), 512);
    // A compaction of what is one run already writes nothing: something new must come.
    fill(&plain);
    fill(&packed);
    let turned = segment_bytes(&db);
    assert!((190 << 10..400 << 10).contains(&turned), "{turned} bytes: the other way round");
    assert!(db.verify().unwrap().is_whole());
}

#[test]
fn a_filter_is_as_large_as_its_collection_says() {
    let bytes = [0, 10, 40].map(|bits| {
        let folder = folder();
        let db = small().open(folder.path()).unwrap();
        let c = db.collection_with("c", &Settings::default().filter(bits)).unwrap();
        (0..40_000_u32).for_each(|n| c.insert(n.to_be_bytes(), "").unwrap());
        segment_bytes(&db)
    });
    let [none, ten, forty] = bytes;
    assert!(ten > none + 45_000 && forty > ten + 140_000, "{bytes:?}");
}

/// MOSS-20: the operator of a collection is the one that its settings name, also after reopening.
#[test]
fn a_merge_operator_is_found_by_the_name_that_is_set() {
    let folder = folder();
    let (db, c) = open(folder.path());
    assert_eq!(kind(c.merge("k", U64Add::encode(1))), ErrorKind::InvalidArgument);
    let counts =
        db.collection_with("counts", &Settings::default().merge_operator("u64-add")).unwrap();
    counts.merge("k", U64Add::encode(1)).unwrap();
    counts.merge("k", U64Add::encode(2)).unwrap();
    db.flush().unwrap();
    counts.merge("k", U64Add::encode(3)).unwrap();
    let snapshot = db.snapshot();
    drop(c);
    db.delete_collection(&counts).unwrap();
    assert_eq!(counts.at(&snapshot).get("k").unwrap().unwrap(), U64Add::encode(6));
    let mut batch = db.batch();
    let again = batch.create_collection_with("counts", &counts.settings()).unwrap();
    batch.merge(&again, "k", U64Add::encode(9)).unwrap();
    batch.commit().unwrap();
    drop((snapshot, counts, again));
    db.close().unwrap();
    let (db, _) = open(folder.path());
    let counts = db.collection("counts").unwrap();
    counts.merge("k", U64Add::encode(1)).unwrap();
    db.compact().unwrap();
    assert_eq!(counts.get("k").unwrap().unwrap(), U64Add::encode(10));
}

/// The record of a collection is read when the database is opened: one that lay out of line could not
/// be. A name of any length is that of an operator, because a separator may be anything.
#[test]
fn a_name_that_would_make_a_record_a_large_value_is_refused() {
    let folder = folder();
    let options = small().blob_threshold(256);
    let db = options.open(folder.path()).unwrap();
    let with = |len: usize| {
        let all = Settings::default().compression(Compression::Lz4).blob_threshold(usize::MAX);
        let all = all.filter(64).prefix_filter(65536);
        all.merge_operator(format!("append:{}", "-".repeat(len - 7)))
    };
    for len in [129, 300, 5000] {
        assert_eq!(
            kind(db.collection_with("long", &with(len))),
            ErrorKind::InvalidArgument,
            "{len}"
        );
        let c = db.collection("c").unwrap();
        assert_eq!(kind(c.configure(&with(len))), ErrorKind::InvalidArgument, "{len}");
    }
    let longest = db.collection_with(&"x".repeat(255), &with(128)).unwrap();
    assert_eq!(db.stats().blob_values, 0);
    db.flush().unwrap();
    drop(longest);
    db.close().unwrap();
    let db = options.open(folder.path()).unwrap();
    assert_eq!(db.collection(&"x".repeat(255)).unwrap().settings(), with(128));
}

/// The fields are open: what is set without the methods holds within the same limits.
#[test]
fn a_threshold_below_the_least_is_the_least() {
    let folder = folder();
    let (db, _) = open(folder.path());
    let mut settings = Settings::default();
    settings.blob_threshold = Some(0);
    let c = db.collection_with("all", &settings).unwrap();
    c.ingest([("a", ""), ("b", ""), ("c", "short")]).unwrap();
    c.insert("d", "short").unwrap();
    db.compact().unwrap();
    assert_eq!(db.stats().blob_values, 0);
    assert!(db.verify().unwrap().is_whole());
    assert_eq!(c.iter().count(), 4);
}

#[test]
fn an_ingest_goes_by_the_threshold_of_its_collection() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let inline =
        db.collection_with("inline", &Settings::default().blob_threshold(usize::MAX)).unwrap();
    for collection in [&c, &inline] {
        collection.ingest([("k", [7; 5000])]).unwrap();
        assert_eq!(collection.get("k").unwrap().unwrap(), [7; 5000]);
    }
    assert_eq!(db.stats().blob_values, 1);
}

/// What lies out of line is told by the collection, in a log that is taken over too, and after a
/// replay by one who knows nothing of it.
#[test]
fn values_are_large_from_where_their_collection_says() {
    let folder = folder();
    let options = Db::options().background_compaction(false).memory_budget(8 << 20);
    let db = options.clone().open(folder.path()).unwrap();
    let with = |path: &str, bytes| {
        db.collection_with(path, &Settings::default().blob_threshold(bytes)).unwrap()
    };
    let all = [db.collection("c").unwrap(), with("low", 300), with("inline", usize::MAX)];
    let write = |all: &[Collection]| {
        for n in 0..40_u8 {
            for len in [1000, 299, 5000, 2047] {
                for c in all {
                    // Most of the log is large values, so that it is taken over.
                    if n < 5 || c.name() == "low" || (c.name(), len) == ("c", 5000) {
                        c.insert([n, (len >> 8) as u8], vec![n; len]).unwrap();
                    }
                }
            }
        }
    };
    write(&all);
    db.flush().unwrap();
    let stats = db.stats();
    assert_eq!((stats.logs_adopted, stats.blob_values), (1, 40 + 3 * 40));
    assert!(db.verify().unwrap().is_whole());
    write(&all);
    let sum = db.checksum().unwrap();
    drop(all);
    db.close().unwrap();
    let db = options.blob_threshold(256).open(folder.path()).unwrap();
    assert_eq!(db.checksum().unwrap(), sum);
    db.compact().unwrap();
    assert!(db.verify().unwrap().is_whole());
    for path in ["c", "low", "inline"] {
        for pair in db.collection(path).unwrap().iter() {
            let (key, value) = pair.unwrap();
            assert!(value.len() >= 299 && value.iter().all(|byte| *byte == key[0]));
        }
    }
}

/// Large values are packed as their collection says, written or ingested.
#[test]
fn large_values_are_packed_as_their_collection_says() {
    let folder = folder();
    let (db, plain) = open(folder.path());
    let settings = Settings::default().blob_compression(Compression::Lz4);
    let packed = db.collection_with("packed", &settings).unwrap();
    let blob_bytes = || {
        db.flush().unwrap();
        db.stats().blob_live_bytes
    };
    packed.insert("a", vec![7; 100_000]).unwrap();
    packed.ingest([("b", vec![7; 100_000])]).unwrap();
    let few = blob_bytes();
    assert!(few < 20_000, "{few} bytes");
    plain.insert("a", vec![7; 100_000]).unwrap();
    plain.ingest([("b", vec![7; 100_000])]).unwrap();
    let many = blob_bytes();
    assert!(many >= 200_000, "{many} bytes");
    for collection in [&plain, &packed] {
        assert_eq!(
            collection.iter().filter(|it| it.as_ref().unwrap().1 == [7; 100_000]).count(),
            2
        );
    }
}
