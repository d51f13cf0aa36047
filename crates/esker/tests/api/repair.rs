//! Repair: whatever is lost or damaged, what can be read is a whole database again.

use super::{folder, small};
use esker::operators::Append;
use esker::{Access, Checksum, Compression, Db, ErrorKind, Options, RepairReport, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A collection and a key in it.
type Place = (String, Vec<u8>);
type Pairs = BTreeMap<Place, Vec<u8>>;

fn options() -> Options {
    small().background_compaction(false).blob_threshold(1000)
}

fn pairs(db: &Db) -> Pairs {
    let mut found = Pairs::new();
    for name in db.collections().unwrap() {
        for pair in db.collection(&name).unwrap().iter() {
            let (key, value) = pair.unwrap();
            found.insert((name.clone(), key.to_vec()), value.to_vec());
        }
    }
    found
}

/// A closed database in several segments, files of large values and logs, and all it ever held.
struct Bed {
    folder: TempDir,
    whole: Pairs,
    checksum: Checksum,
    /// Every value that a key ever had.
    ever: BTreeSet<(Place, Vec<u8>)>,
}

impl Bed {
    fn new() -> Self {
        let folder = folder();
        let mut ever = BTreeSet::new();
        let db = options().open(folder.path().join("db")).unwrap();
        for round in 0..4_u32 {
            for name in ["a", "b/c"] {
                let c = db.collection(name).unwrap();
                for turn in 0..300_u32 {
                    let key = format!("{:03}", (turn * 7 + round * 31) % 400);
                    let len = if turn % 11 == 0 { 3000 } else { 60 };
                    let value = format!("{key} {round} {turn} ").repeat(len / 12).into_bytes();
                    c.insert(&key, &value).unwrap();
                    ever.insert(((name.to_owned(), key.into_bytes()), value));
                }
                c.remove_range(format!("{:03}", round * 40)..format!("{:03}", round * 40 + 5))
                    .unwrap();
                c.remove(format!("{:03}", round * 50 + 20)).unwrap();
            }
            // The last round stays in the log.
            if round < 3 {
                db.flush().unwrap();
            }
            if round == 1 {
                db.compact().unwrap();
            }
        }
        let (whole, checksum) = (pairs(&db), db.checksum().unwrap());
        db.close().unwrap();
        Self { folder, whole, checksum, ever }
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path().join("db")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    /// A copy of it, to be damaged.
    fn copy(&self) -> (TempDir, PathBuf) {
        let copy = folder();
        let path = copy.path().join("db");
        std::fs::create_dir(&path).unwrap();
        for name in self.names("") {
            std::fs::copy(self.folder.path().join("db").join(&name), path.join(&name)).unwrap();
        }
        (copy, path)
    }

    /// Repairs, opens and checks all that must hold whatever was damaged. Answers what is left.
    fn repaired(&self, path: &Path) -> (RepairReport, Pairs) {
        let report = options().repair(path).unwrap();
        assert!(report.repaired, "{report:?}");
        let db = options().create_if_missing(false).open(path).unwrap();
        assert_eq!(db.verify().unwrap().damages, [], "{report:?}");
        assert_eq!(db.checksum().unwrap(), report.checksum);
        let left = pairs(&db);
        let left: Pairs = left.into_iter().map(known_as).collect();
        for pair in &left {
            let (place, value) = pair;
            assert!(
                self.ever.contains(&(place.clone(), value.clone())),
                "never written: {place:?}"
            );
        }
        // It is a database like any other.
        let c = db.collection("new").unwrap();
        (0..50_u8).for_each(|key| c.insert([key, 0], vec![key; 1500]).unwrap());
        db.compact().unwrap();
        assert_eq!(db.verify().unwrap().damages, []);
        (0..50_u8).for_each(|key| c.remove([key, 0]).unwrap());
        assert_eq!(pairs(&db).into_iter().map(known_as).collect::<Pairs>(), left);
        db.close().unwrap();
        let again = options().repair(path).unwrap();
        assert!(!again.repaired && again.damages.is_empty(), "{again:?}");
        (report, left)
    }

    /// The keys that have another value now, or none.
    fn changed(&self, left: &Pairs) -> BTreeSet<Place> {
        let changed = self.whole.iter().filter(|(place, value)| left.get(place) != Some(value));
        let more = left.keys().filter(|place| !self.whole.contains_key(place));
        changed.map(|(place, _)| place).chain(more).cloned().collect()
    }
}

/// A pair under the name that its collection had.
fn known_as(pair: (Place, Vec<u8>)) -> (Place, Vec<u8>) {
    let ((name, key), value) = pair;
    let name = match &*name {
        "lost-1" => "a".to_owned(),
        "lost-2" => "b/c".to_owned(),
        _ => name,
    };
    ((name, key), value)
}

/// Every byte of the folder that is repaired, by name.
fn image(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).unwrap_or_default())
    };
    entries.map(read).collect()
}

/// HEST-17: repair twice changes nothing more; and what is whole it does not touch at all.
#[test]
fn a_whole_database_is_left_as_it_is() {
    let bed = Bed::new();
    let (_folder, path) = bed.copy();
    let before = image(&path);
    let report = options().repair(&path).unwrap();
    assert_eq!((report.repaired, report.checksum), (false, bed.checksum));
    assert_eq!(image(&path), before);
    let none = options().repair(path.join("none")).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound, "{none}");
    let open = options().open(&path).unwrap();
    assert_eq!(options().repair(&path).unwrap_err().kind(), ErrorKind::Busy);
    drop(open);
}

/// SST-21: lose the manifest: the same contents from the bag.
#[test]
fn without_a_manifest_all_is_there_again() {
    let bed = Bed::new();
    for damage in ["lost", "flipped", "cut"] {
        let (_folder, path) = bed.copy();
        let [manifest] = &bed.names("manifest-")[..] else { panic!("one manifest") };
        let manifest = path.join(manifest);
        let bytes = std::fs::read(&manifest).unwrap();
        match damage {
            "lost" => std::fs::remove_file(&manifest).unwrap(),
            "flipped" => {
                let mut flipped = bytes.clone();
                flipped[bytes.len() / 3] ^= 4;
                std::fs::write(&manifest, flipped).unwrap();
            }
            _ => std::fs::write(&manifest, &bytes[..bytes.len() / 2]).unwrap(),
        }
        let (report, left) = bed.repaired(&path);
        assert_eq!(left, bed.whole, "{damage}");
        assert_eq!(report.damages.len(), 1, "{report:?}");
        assert!(report.lost_keys.is_empty());
        assert_eq!(report.moved.len(), usize::from(damage != "lost"), "{report:?}");
    }
}

/// What the repairer wants of files says nothing about those that are there.
#[test]
fn a_repair_with_other_options_finds_the_same() {
    let bed = Bed::new();
    let others = [
        options().blob_threshold(usize::MAX).compression(Compression::None),
        options().blob_threshold(1).blob_compression(Compression::None),
        options().slab_bytes(4 << 10).access(Access::Positioned).keep_logs(1 << 20),
    ];
    for other in others {
        let (_folder, path) = bed.copy();
        std::fs::remove_file(path.join(&bed.names("manifest-")[0])).unwrap();
        let report = other.repair(&path).unwrap();
        assert!(report.lost_keys.is_empty() && report.named.is_empty(), "{report:?}");
        let db = options().open(&path).unwrap();
        assert!(pairs(&db) == bed.whole && db.verify().unwrap().is_whole());
    }
}

/// A file of no bytes is damaged as any other; nothing of the others is lost by it.
#[test]
fn an_empty_file_in_the_place_of_any_is_told() {
    let bed = Bed::new();
    let names = bed.names("").into_iter().filter(|name| name != "LOCK");
    for (turn, name) in names.enumerate() {
        let (_folder, path) = bed.copy();
        let is_manifest = name.starts_with("manifest-");
        if turn % 2 == 0 && !is_manifest {
            std::fs::remove_file(path.join(&bed.names("manifest-")[0])).unwrap();
        }
        let bytes = std::fs::metadata(path.join(&name)).unwrap().len();
        std::fs::write(path.join(&name), "").unwrap();
        if bytes == 0 {
            continue;
        }
        let (report, left) = bed.repaired(&path);
        assert!(is_manifest || !report.damages.is_empty(), "{name}: {report:?}");
        assert!(!is_manifest || left == bed.whole, "{name}");
    }
}

/// A kill between a flush and the end of its log, and no manifest: the segment has as one operand what
/// the log has as three, and what they came upon lies in neither.
#[test]
fn operands_that_a_flush_has_folded_beside_their_log_count_once() {
    let folder = folder();
    let path = folder.path().join("db");
    let options = options().access(Access::Positioned).merge_operator(Append::new(","));
    let db = options.open(&path).unwrap();
    let settings = Settings::default().merge_operator("append:,");
    let c = db.collection_with("c", &settings).unwrap();
    c.insert("k", "0").unwrap();
    db.flush().unwrap();
    (1..4_u8).for_each(|n| c.merge("k", n.to_string()).unwrap());
    let logs = |path: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let paths = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let logs = paths.filter(|path| path.to_string_lossy().contains("/log-"));
        logs.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    let before = logs(&path);
    db.flush().unwrap();
    assert_eq!(db.stats().operands_folded, 3);
    drop(c);
    db.close().unwrap();
    for (log, bytes) in before {
        std::fs::write(log, bytes).unwrap();
    }
    let paths = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let manifests = paths.filter(|path| path.to_string_lossy().contains("/manifest-"));
    manifests.for_each(|path| std::fs::remove_file(path).unwrap());
    options.repair(&path).unwrap();
    let db = options.open(&path).unwrap();
    let value = db.collection_with("c", &settings).unwrap().get("k").unwrap();
    assert_eq!(value.as_deref(), Some(&b"0,1,2,3"[..]));
}

/// What a revert took away does not come back, though a named snapshot still sees it.
#[test]
fn a_collection_that_a_revert_took_away_does_not_come_back_without_a_manifest() {
    let folder = folder();
    let path = folder.path().join("db");
    let db = options().open(&path).unwrap();
    db.collection("stays").unwrap().insert("a", "1").unwrap();
    db.name_snapshot("before").unwrap();
    let goes = db.collection("goes").unwrap();
    goes.insert("b", "2").unwrap();
    goes.insert_with_ttl("c", "3", Duration::ZERO).unwrap();
    (0..20_u8).for_each(|key| goes.insert([b'x', key], "4").unwrap());
    goes.remove_prefix("x").unwrap();
    db.name_snapshot("between").unwrap();
    db.revert("before").unwrap();
    let whole = pairs(&db);
    db.close().unwrap();
    let is_manifest = |path: &PathBuf| path.to_string_lossy().contains("manifest-");
    let paths = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(is_manifest).for_each(|path| std::fs::remove_file(path).unwrap());
    let report = options().repair(&path).unwrap();
    assert!(report.repaired && report.named.is_empty(), "{report:?}");
    let db = options().open(&path).unwrap();
    assert_eq!((db.collections().unwrap(), pairs(&db)), (vec!["stays".to_owned()], whole));
    let between = db.named_snapshot("between").unwrap().unwrap();
    let view = db.view_at("goes", &between).unwrap().unwrap();
    assert_eq!(view.get("b").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!((view.get("c").unwrap(), view.get([b'x', 3]).unwrap()), (None, None));
}

/// A flipped byte anywhere in a segment takes one block at most, with the manifest or without.
#[test]
fn a_damaged_segment_loses_its_damaged_block_alone() {
    let bed = Bed::new();
    let segments = bed.names("seg-");
    assert!(segments.len() > 1, "{segments:?}");
    for (index, name) in segments.iter().enumerate() {
        let bytes = std::fs::read(bed.folder.path().join("db").join(name)).unwrap();
        for step in 0..8 {
            let (_folder, path) = bed.copy();
            if (index + step) % 2 == 0 {
                std::fs::remove_file(path.join(&bed.names("manifest-")[0])).unwrap();
            }
            // The last one is in the footer: blocks are found without any index.
            let at = if step == 7 { bytes.len() - 20 } else { bytes.len() * step / 7 + 9 };
            let mut damaged = bytes.clone();
            damaged[at.min(bytes.len() - 1)] ^= 0x10;
            std::fs::write(path.join(name), damaged).unwrap();
            let (report, left) = bed.repaired(&path);
            let changed = bed.changed(&left);
            assert!(changed.len() < 120, "{name} at {at}: {} keys", changed.len());
            assert!(report.damages.iter().any(|damage| damage.file == *name), "{report:?}");
            assert!(report.moved.contains(&format!("lost/{name}")), "{report:?}");
            assert_eq!(std::fs::read(path.join("lost").join(name)).unwrap().len(), bytes.len());
            if step == 7 {
                assert!(changed.is_empty(), "the footer has no entries: {changed:?}");
            }
        }
    }
}

#[test]
fn a_segment_that_is_missing_is_told_and_the_others_are_there() {
    let bed = Bed::new();
    for name in bed.names("seg-") {
        let (_folder, path) = bed.copy();
        std::fs::remove_file(path.join(&name)).unwrap();
        let (report, _) = bed.repaired(&path);
        assert!(report.damages.iter().any(|damage| damage.file == name), "{report:?}");
    }
}

/// A value that cannot be read makes its key absent, never old; and every such key is told.
#[test]
fn large_values_that_cannot_be_read_are_told_by_key_and_all_others_stay() {
    let bed = Bed::new();
    let blobs = bed.names("blob-");
    assert!(!blobs.is_empty());
    for name in &blobs {
        let bytes = std::fs::read(bed.folder.path().join("db").join(name)).unwrap();
        for step in 0..5 {
            let (_folder, path) = bed.copy();
            let mut damaged = bytes.clone();
            match step {
                0 => std::fs::remove_file(path.join(name)).unwrap(),
                _ => {
                    damaged[bytes.len() * (step - 1) / 4 + 30] ^= 1;
                    std::fs::write(path.join(name), &damaged).unwrap();
                }
            }
            let (report, left) = bed.repaired(&path);
            let lost: BTreeSet<Vec<u8>> =
                report.lost_keys.iter().map(|lost| lost.key.clone()).collect();
            for (collection, key) in bed.changed(&left) {
                assert!(lost.contains(&key), "{name} {step}: {key:?} changed and is not told");
                assert!(!left.contains_key(&(collection, key)), "an old value in its place");
            }
            assert!(step == 0 || lost.len() <= 1, "{name} {step}: {lost:?}");
            // Whoever knows more may still read what we cannot.
            let is_kept = report.moved.contains(&format!("lost/{name}"));
            assert!(is_kept || step == 0 || lost.is_empty(), "{name} {step}: {report:?}");
        }
    }
}

/// Frames behind a damaged one are found again; what is no frame is told.
#[test]
fn a_damaged_log_loses_its_damaged_frame_alone() {
    let bed = Bed::new();
    let logs = bed.names("log-");
    let name = logs.iter().max_by_key(|name| {
        std::fs::metadata(bed.folder.path().join("db").join(name)).unwrap().len()
    });
    let name = name.unwrap();
    let bytes = std::fs::read(bed.folder.path().join("db").join(name)).unwrap();
    for step in 1..12 {
        let (_folder, path) = bed.copy();
        let at = bytes.len() * step / 12;
        let mut damaged = bytes.clone();
        damaged[at] ^= 2;
        std::fs::write(path.join(name), damaged).unwrap();
        let (report, left) = bed.repaired(&path);
        // A range delete has five.
        assert!(bed.changed(&left).len() <= 5, "byte {at}: {:?}", bed.changed(&left));
        assert!(report.damages.iter().any(|damage| damage.file == *name), "{report:?}");
        assert!(report.moved.contains(&format!("lost/{name}")), "{report:?}");
    }
}

/// Everything at once: a byte in every file, and no manifest.
#[test]
fn a_folder_in_which_every_file_is_damaged_gives_most_of_it_back() {
    let bed = Bed::new();
    let (_folder, path) = bed.copy();
    for name in bed.names("") {
        let path = path.join(&name);
        let mut bytes = std::fs::read(&path).unwrap();
        if name.starts_with("manifest-") {
            std::fs::remove_file(&path).unwrap();
        } else if !bytes.is_empty() && name != "LOCK" {
            let at = bytes.len() / 2;
            bytes[at] ^= 0x40;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let (report, left) = bed.repaired(&path);
    assert!(left.len() * 10 > bed.whole.len() * 7, "{} of {}", left.len(), bed.whole.len());
    assert!(report.damages.len() > 3 && !report.moved.is_empty(), "{report:?}");
}
