//! Second databases of the same contents: checkpoints.

use super::{folder, open, small};
use esker::{Checksum, Collection, Db, ErrorKind};
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
