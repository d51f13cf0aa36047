//! Second databases of the same contents: checkpoints, and what is restored from backups.

use super::{folder, open, small};
use esker::{Checksum, Collection, Compression, Db, ErrorKind};
use std::path::Path;

/// Pairs of every size, some removed: in memory, in files, out of line.
fn fill(c: &Collection, turns: std::ops::Range<u32>) {
    for turn in turns {
        let bytes = if turn % 9 == 0 { 3000 } else { 20 + turn as usize % 100 };
        c.insert(format!("{:04}", turn % 400), vec![turn as u8; bytes]).unwrap();
        if turn % 50 == 49 {
            c.remove_range(format!("{:04}", turn % 400 - 9)..format!("{:04}", turn % 400)).unwrap();
        }
    }
}

/// All pairs of collection `c`.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn contents(db: &Db) -> Pairs {
    let c = db.existing_collection("c").unwrap().unwrap();
    let pairs = c.iter().map(|pair| pair.unwrap());
    pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// What a copy holds, which must be a whole database that was closed.
fn opened(path: &Path) -> (Pairs, Checksum) {
    let db = small().create_if_missing(false).open(path).unwrap();
    assert!(db.recovery().clean, "{}", db.recovery());
    assert_eq!(db.verify().unwrap().damages, []);
    (contents(&db), db.checksum().unwrap())
}

#[test]
fn a_checkpoint_is_a_database_with_the_same_contents_and_checksum() {
    let (source, copies) = (folder(), folder());
    let (db, c) = open(source.path());
    for round in 0..4 {
        fill(&c, round * 700..(round + 1) * 700);
        let copy = copies.path().join(format!("far/{round}"));
        let report = db.checkpoint(&copy).unwrap();
        assert!(report.files > 0 && report.bytes_copied == 0, "{report:?}");
        assert_eq!(opened(&copy), (contents(&db), report.checksum));
        // What is done with the one does nothing to the other.
        let before = contents(&db);
        let other = small().open(&copy).unwrap();
        other.collection("c").unwrap().clear().unwrap();
        other.compact().unwrap();
        other.close().unwrap();
        assert_eq!(contents(&db), before);
        assert_eq!(db.verify().unwrap().damages, []);
        if round == 2 {
            db.compact().unwrap();
        }
    }
}

#[test]
fn what_is_written_while_a_checkpoint_is_made_is_not_in_it_and_files_stay_until_it_has_them() {
    let (source, copies) = (folder(), folder());
    let (db, c) = open(source.path());
    fill(&c, 0..2000);
    let (copy, before) = (copies.path().join("copy"), contents(&db));
    let mut calls = 0;
    let report = db
        .checkpoint_with(&copy, &mut |done, total| {
            assert!(done <= total);
            c.insert("later", vec![calls; 5000]).unwrap();
            c.remove_prefix("00").unwrap();
            // Takes every file of the moment out of the manifest.
            db.compact().unwrap();
            calls += 1;
        })
        .unwrap();
    assert!(calls > 0);
    assert_eq!(opened(&copy), (before, report.checksum));
    assert!(c.contains_key("later").unwrap() && !c.contains_key("0012").unwrap());
}

#[test]
fn a_checkpoint_goes_into_an_empty_folder_or_nowhere() {
    let (source, copies) = (folder(), folder());
    let (db, c) = open(source.path());
    c.insert("a", "1").unwrap();
    let foreign = copies.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("letter"), "dear").unwrap();
    let copy = copies.path().join("copy");
    db.checkpoint(&copy).unwrap();
    for taken in [&foreign, &copy, &source.path().to_path_buf()] {
        let error = db.checkpoint(taken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.message().contains("is not empty"), "{error}");
    }
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);
    let reader = folder();
    drop(small().open(reader.path()).unwrap());
    let reader = small().read_only(true).open(reader.path()).unwrap();
    let refused = reader.checkpoint(copies.path().join("none")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
    assert!(!copies.path().join("none").exists());
}

#[test]
fn a_checkpoint_of_an_empty_database_is_one() {
    let (source, copies) = (folder(), folder());
    let db = small().open(source.path()).unwrap();
    let copy = copies.path().join("copy");
    let report = db.checkpoint(&copy).unwrap();
    assert_eq!((report.files, report.checksum), (0, db.checksum().unwrap()));
    let db = small().create_if_missing(false).open(&copy).unwrap();
    assert!(db.collections().unwrap().is_empty() && !db.recovery().created);
}

/// The names in a folder that begin so.
fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

#[test]
fn each_backup_is_restored_as_it_was_and_copies_only_what_is_new() {
    let (source, backups, copies) = (folder(), folder(), folder());
    let db = small().background_compaction(false).open(source.path()).unwrap();
    let c = db.collection("c").unwrap();
    let mut made = Vec::new();
    for round in 0..4 {
        fill(&c, round * 500..(round + 1) * 500);
        let mut last = 0;
        let report = db
            .backup_with(backups.path(), &mut |done, total| {
                assert!(last < done && done <= total);
                last = done;
            })
            .unwrap();
        assert_eq!((report.number, report.bytes_copied), (u64::from(round) + 1, last));
        assert!(report.files_copied < report.files || round == 0, "{report:?}");
        made.push((contents(&db), report.checksum));
    }
    let again = db.backup(backups.path()).unwrap();
    assert_eq!((again.files_copied, again.damages), (0, vec![]));
    db.compact().unwrap();
    let listed = small().backups(backups.path()).unwrap();
    assert_eq!(listed.iter().map(|backup| backup.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for (index, want) in made.iter().enumerate() {
        let copy = copies.path().join(index.to_string());
        let number = Some(index as u64 + 1);
        let restored = small().restore_with(backups.path(), number, &copy, &mut |_, _| {});
        assert_eq!(restored.unwrap(), listed[index]);
        assert_eq!(opened(&copy), *want, "backup {index}");
    }
    let newest = copies.path().join("newest");
    assert_eq!(small().restore(backups.path(), &newest).unwrap().number, 5);
    assert_eq!(opened(&newest), made[3]);
}

/// A database that goes on from an older backup writes other files under numbers that newer backups
/// have; neither may be taken for the other.
#[test]
fn two_histories_from_one_backup_do_not_mix() {
    let (source, backups, copies) = (folder(), folder(), folder());
    let options = small().background_compaction(false);
    let db = options.open(source.path()).unwrap();
    let c = db.collection("c").unwrap();
    fill(&c, 0..300);
    db.backup(backups.path()).unwrap();
    let forks = ["a", "b"].map(|name| {
        let fork = copies.path().join(name);
        options.restore(backups.path(), &fork).unwrap();
        options.open(&fork).unwrap()
    });
    let mut want = Vec::new();
    for (db, byte) in [(&forks[0], 1), (&forks[1], 2), (&forks[0], 3)] {
        // As many bytes each time.
        let c = db.collection("c").unwrap();
        (0..40_u8).for_each(|key| c.insert([key], vec![byte; 2500]).unwrap());
        let report = db.backup(backups.path()).unwrap();
        want.push((contents(db), report.checksum));
    }
    let numbers: Vec<_> =
        names(backups.path(), "seg-").iter().map(|n| n[..10].to_owned()).collect();
    assert!(numbers.windows(2).any(|pair| pair[0] == pair[1]), "the numbers collide: {numbers:?}");
    for (index, want) in want.iter().enumerate() {
        let copy = copies.path().join(index.to_string());
        let number = Some(index as u64 + 2);
        options.restore_with(backups.path(), number, &copy, &mut |_, _| {}).unwrap();
        assert_eq!(opened(&copy), *want, "backup {index}");
    }
}

/// The same pairs with the same numbers, once in writes of their own and once in a batch, or packed:
/// segments of one number, length and sum, whose large values lie elsewhere.
#[test]
fn two_histories_that_differ_only_in_where_large_values_lie_do_not_mix() {
    let (source, backups, copies) = (folder(), folder(), folder());
    let options = small().background_compaction(false).sync_interval(None);
    let db = options.open(source.path()).unwrap();
    let c = db.collection("c").unwrap();
    fill(&c, 0..100);
    db.backup(backups.path()).unwrap();
    let mut want = Vec::new();
    for (name, is_batch, compression) in [
        ("single", false, Compression::None),
        ("batch", true, Compression::None),
        ("packed", false, Compression::Lz4),
    ] {
        let fork = copies.path().join(name);
        options.restore_with(backups.path(), Some(1), &fork, &mut |_, _| {}).unwrap();
        let db = options.clone().blob_compression(compression).open(&fork).unwrap();
        let c = db.collection("c").unwrap();
        // The mark of a log rides in its first frame.
        c.insert("first", "1").unwrap();
        let mut batch = db.batch();
        for key in 0..10_u8 {
            let value = vec![key; 5000];
            if is_batch {
                batch.insert(&c, [key], value).unwrap();
            } else {
                c.insert([key], value).unwrap();
            }
        }
        batch.commit().unwrap();
        let report = db.backup(backups.path()).unwrap();
        want.push((contents(&db), report.checksum));
    }
    assert!(want.windows(2).all(|pair| pair[0] == pair[1]), "the same operations");
    for (index, want) in want.iter().enumerate() {
        let copy = copies.path().join(index.to_string());
        let number = Some(index as u64 + 2);
        options.restore_with(backups.path(), number, &copy, &mut |_, _| {}).unwrap();
        assert_eq!(opened(&copy), *want, "backup {index}");
    }
}

#[test]
fn backups_that_are_not_kept_take_no_space_and_the_others_are_whole() {
    let (source, backups, copies) = (folder(), folder(), folder());
    let (db, c) = open(source.path());
    for round in 0..5 {
        fill(&c, round * 200..(round + 1) * 200);
        db.backup(backups.path()).unwrap();
        db.compact().unwrap();
    }
    let before = names(backups.path(), "seg-").len();
    assert_eq!(small().keep_backups(backups.path(), 9).unwrap(), 5);
    assert_eq!(small().keep_backups(backups.path(), 2).unwrap(), 2);
    assert_eq!(names(backups.path(), "backup-"), ["backup-000004", "backup-000005"]);
    assert!(names(backups.path(), "seg-").len() < before);
    let error = small().keep_backups(backups.path(), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for number in [4, 5] {
        let copy = copies.path().join(number.to_string());
        small().restore_with(backups.path(), Some(number), &copy, &mut |_, _| {}).unwrap();
        opened(&copy);
    }
    let gone = small().restore_with(backups.path(), Some(1), copies.path(), &mut |_, _| {});
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Every kind of file of a backup, with any byte changed, or cut, or away.
#[test]
fn a_damaged_backup_is_refused_by_name_and_the_next_one_is_whole() {
    let (source, backups, copies) = (folder(), folder(), folder());
    let (db, c) = open(source.path());
    fill(&c, 0..400);
    db.backup(backups.path()).unwrap();
    let kinds = ["backup-", "seg-", "blob-"].map(|kind| names(backups.path(), kind));
    for name in kinds.iter().filter_map(|names| names.first()) {
        let path = backups.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        for damaged in [Some(&flipped[..]), Some(&bytes[..bytes.len() / 2]), None] {
            std::fs::remove_file(&path).unwrap();
            if let Some(damaged) = damaged {
                std::fs::write(&path, damaged).unwrap();
            }
            let copy = copies.path().join("damaged");
            let error = small().restore(backups.path(), &copy).unwrap_err();
            if damaged.is_some() || !name.starts_with("backup-") {
                assert_eq!(error.kind(), ErrorKind::Corruption, "{name}: {error}");
                assert!(error.message().contains(name), "{error}");
                assert!(small().open(&copy).is_err() || names(&copy, "seg-").is_empty());
            }
            let _ = std::fs::remove_dir_all(&copy);
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    let text = backups.path().join(&kinds[0][0]);
    std::fs::write(&text, "no text").unwrap();
    let segment = backups.path().join(&kinds[1][0]);
    std::fs::remove_file(segment).unwrap();
    let report = db.backup(backups.path()).unwrap();
    assert_eq!(report.damages.len(), 1, "{report:?}");
    let copy = copies.path().join("copy");
    assert_eq!(small().restore(backups.path(), &copy).unwrap().number, 2);
    assert_eq!(opened(&copy), (contents(&db), report.checksum));
}

#[test]
fn a_backup_of_a_damaged_database_fails_and_leaves_those_before() {
    let (source, backups, copies) = (folder(), folder(), folder());
    // The file that is damaged must stay the database's.
    let db = small().background_compaction(false).open(source.path()).unwrap();
    let c = db.collection("c").unwrap();
    fill(&c, 0..100);
    let first = db.backup(backups.path()).unwrap();
    fill(&c, 100..500);
    db.flush().unwrap();
    let before = names(source.path(), "seg-");
    let newest = source.path().join(before.last().unwrap());
    // In place: the file is mapped, and must not be cut.
    let byte = [std::fs::read(&newest).unwrap()[20] ^ 1];
    let file = std::fs::File::options().write(true).open(&newest).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &byte, 20).unwrap();
    let error = db.backup(backups.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    let copy = copies.path().join("copy");
    assert_eq!(small().restore(backups.path(), &copy).unwrap().checksum, first.checksum);
    opened(&copy);
}

#[test]
fn backups_go_into_their_own_folder_and_restores_into_an_empty_one() {
    let (source, backups, foreign) = (folder(), folder(), folder());
    let (db, _) = open(source.path());
    std::fs::write(foreign.path().join("letter"), "dear").unwrap();
    for taken in [foreign.path(), source.path()] {
        let error = db.backup(taken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    let none = small().restore(backups.path(), backups.path().join("none"));
    assert_eq!(none.unwrap_err().kind(), ErrorKind::NotFound);
    db.backup(backups.path()).unwrap();
    for taken in [foreign.path(), backups.path(), source.path()] {
        let error = small().restore(backups.path(), taken).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::Busy), "{error}");
    }
    assert_eq!(std::fs::read_dir(foreign.path()).unwrap().count(), 1);
}
