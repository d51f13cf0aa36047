//! Open, close, reopen, read-only, busy; what is refused and left untouched.

use super::{folder, keys, open, pairs, small};
use esker::{Access, Compression, Db, ErrorKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Names and bytes of everything in a folder.
fn image(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let read = |entry: std::fs::DirEntry| {
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        (entry.file_name().to_string_lossy().into_owned(), bytes)
    };
    entries.map(read).collect()
}

/// The one file of a folder whose name begins so.
fn only(dir: &Path, prefix: &str) -> std::path::PathBuf {
    let mut names = image(dir).into_keys().filter(|name| name.starts_with(prefix));
    let found = names.next().unwrap();
    assert_eq!(names.next(), None);
    dir.join(found)
}

#[test]
fn what_was_written_is_there_when_the_database_is_opened_again() {
    let folder = folder();
    let (db, c) = open(folder.path());
    assert!(db.recovery().created);
    c.insert("flushed", "1").unwrap();
    db.flush().unwrap();
    c.insert("logged", "2").unwrap();
    drop(c);
    db.close().unwrap();
    for access in [Access::Positioned, Access::Mapped, Access::Positioned] {
        for compression in [Compression::Lz4, Compression::None] {
            let options = small().access(access).compression(compression);
            let db = options.open(folder.path()).unwrap();
            assert!(db.recovery().clean && !db.recovery().created, "{}", db.recovery());
            assert_eq!(db.recovery().torn, []);
            let c = db.existing_collection("c").unwrap().unwrap();
            assert_eq!(pairs(c.iter()), "flushed=1 logged=2 ");
            c.insert("flushed", "1").unwrap();
            db.flush().unwrap();
        }
    }
}

#[test]
fn a_closed_database_refuses_everything() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    let (other, snapshot, mut batch) = (db.clone(), db.snapshot(), db.batch());
    batch.insert(&c, "b", "1").unwrap();
    db.close().unwrap();
    let errors = [
        c.insert("a", "2").err(),
        c.remove("a").err(),
        c.get("a").err(),
        c.at(&snapshot).get("a").err(),
        batch.commit().err(),
        other.collection("d").err(),
        other.existing_collection("c").err(),
        other.collections().err(),
        other.flush().err(),
        other.compact().err(),
        other.sync().err(),
        other.verify().err(),
        other.checksum().err(),
    ];
    for (index, error) in errors.into_iter().enumerate() {
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::InvalidArgument), "{index}");
    }
    other.close().unwrap();
    let (_db, c) = open(folder.path());
    assert_eq!(pairs(c.iter()), "a=1 ");
}

/// F-42.
#[test]
fn a_second_open_in_the_same_process_is_busy() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    for options in [small(), small().read_only(true)] {
        let error = options.open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    }
    c.insert("b", "1").unwrap();
    drop(c);
    db.close().unwrap();
    let (_db, c) = open(folder.path());
    assert_eq!(keys(c.iter()), "a b ");
}

const OPEN_THIS: &str = "ESKER_TEST_OPEN_THIS";

/// The other process of the next test; by itself it does nothing.
#[test]
fn another_process_opens_what_it_is_told() {
    let Ok(path) = std::env::var(OPEN_THIS) else { return };
    match Db::open(path) {
        Ok(_) => std::process::exit(10),
        Err(error) if error.kind() == ErrorKind::Busy => std::process::exit(20),
        Err(error) => panic!("{error}"),
    }
}

/// F-42.
#[test]
fn a_second_process_is_told_that_the_database_is_busy() {
    let folder = folder();
    let (db, _) = open(folder.path());
    let open_there = || {
        let mut other = Command::new(std::env::current_exe().unwrap());
        other.args(["--exact", "folders::another_process_opens_what_it_is_told"]);
        other.env(OPEN_THIS, folder.path()).output().unwrap().status.code()
    };
    assert_eq!(open_there(), Some(20));
    db.close().unwrap();
    assert_eq!(open_there(), Some(10));
    assert_eq!(open_there(), Some(10));
}

/// F-42: several readers at once, and not a byte is written.
#[test]
fn a_read_only_database_reads_everything_and_changes_nothing() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    db.flush().unwrap();
    c.insert("b", "2").unwrap();
    drop(c);
    db.close().unwrap();
    let before = image(folder.path());
    let reader = small().read_only(true).open(folder.path()).unwrap();
    let second = small().read_only(true).open(folder.path()).unwrap();
    assert_eq!(small().open(folder.path()).unwrap_err().kind(), ErrorKind::Busy);
    for db in [reader, second] {
        let c = db.collection("c").unwrap();
        assert_eq!(pairs(c.iter()), "a=1 b=2 ");
        assert_eq!(c.get("b").unwrap().unwrap(), *b"2");
        let mut batch = db.batch();
        batch.insert(&c, "x", "1").unwrap();
        let errors = [
            c.insert("x", "1").err(),
            c.remove("a").err(),
            batch.commit().err(),
            db.collection("new").err(),
            db.flush().err(),
            db.compact().err(),
            db.sync().err(),
        ];
        for error in errors {
            assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::ReadOnly));
        }
        assert!(db.verify().unwrap().is_whole());
        drop(c);
        db.close().unwrap();
    }
    assert_eq!(image(folder.path()), before);
}

#[test]
fn a_database_that_is_missing_is_created_only_if_wanted() {
    let folder = folder();
    let inner = folder.path().join("a/b");
    for options in [small().create_if_missing(false), small().read_only(true)] {
        let error = options.open(&inner).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!inner.exists(), "{error}");
        assert_eq!(options.open(folder.path()).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(image(folder.path()).len(), 0);
    }
    let db = small().open(&inner).unwrap();
    assert!(db.recovery().created);
    db.close().unwrap();
    assert!(!small().create_if_missing(false).open(&inner).unwrap().recovery().created);
}

/// F-41: nothing is created in a folder that holds something else.
#[test]
fn a_folder_that_is_no_database_is_refused_and_left_untouched() {
    let folder = folder();
    std::fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    std::fs::create_dir(folder.path().join("photos")).unwrap();
    let before = image(folder.path());
    let error = Db::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("letter.txt"), "{error}");
    assert_eq!(image(folder.path()), before);
}

/// F-37: the data files are there, and no manifest says which of them count.
#[test]
fn a_folder_without_its_manifest_is_refused_and_left_untouched() {
    for flushed in [true, false] {
        let folder = folder();
        let (db, c) = open(folder.path());
        c.insert("a", "1").unwrap();
        if flushed {
            db.flush().unwrap();
        }
        drop(c);
        db.close().unwrap();
        std::fs::remove_file(only(folder.path(), "manifest-")).unwrap();
        let before = image(folder.path());
        let error = Db::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert_eq!(image(folder.path()), before);
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_an_error() {
    let folder = folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "text").unwrap();
    for options in [small(), small().read_only(true)] {
        options.open(&file).unwrap_err();
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"text");
}

/// F-16, F-36: every file of a closed database, cut short or replaced by foreign bytes.
#[test]
fn a_truncated_or_foreign_file_is_damage() {
    for prefix in ["log-", "seg-", "manifest-"] {
        for cut in [true, false] {
            let folder = folder();
            let (db, c) = open(folder.path());
            for n in 0..50 {
                c.insert(format!("{n:04}"), "flushed").unwrap();
            }
            db.flush().unwrap();
            c.insert("logged", "1").unwrap();
            drop(c);
            db.close().unwrap();
            let path = only(folder.path(), prefix);
            let mut bytes = std::fs::read(&path).unwrap();
            if cut {
                bytes.truncate(bytes.len() - 1);
            } else {
                bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(7).wrapping_add(3));
            }
            std::fs::write(&path, bytes).unwrap();
            let before = image(folder.path());
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let opened = Db::open(folder.path()).and_then(|db| {
                assert_eq!(prefix, "seg-", "{path:?} must not open");
                let c = db.collection("c")?;
                c.get("0007")?;
                c.iter().try_for_each(|pair| pair.map(drop))
            });
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
            assert!(error.to_string().contains(&name), "{error}");
            if prefix != "seg-" {
                assert_eq!(image(folder.path()), before);
            }
        }
    }
}

#[test]
fn names_of_collections_are_sorted_and_survive() {
    let folder = folder();
    let db = small().open(folder.path()).unwrap();
    let longest = "ä".repeat(127) + "x";
    let names = ["users", "a", "orders archive", "Ünï", ".hidden", &longest];
    for name in names {
        assert_eq!(db.collection(name).unwrap().name(), name);
    }
    let mut want: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    want.sort();
    assert_eq!(db.collections().unwrap(), want);
    db.flush().unwrap();
    db.collection("later").unwrap().insert("k", "v").unwrap();
    db.close().unwrap();
    want.push("later".into());
    want.sort();
    let db = small().open(folder.path()).unwrap();
    assert_eq!(db.collections().unwrap(), want);
    assert!(db.existing_collection("missing").unwrap().is_none());
    assert_eq!(db.collections().unwrap(), want);
}

/// MOSS-8.
#[test]
fn bad_names_of_collections_are_refused() {
    let folder = folder();
    let db = small().open(folder.path()).unwrap();
    for name in ["", "a//b", "/", "a\nb", "\0", "\u{7f}", &"x".repeat(256)] {
        let error = db.collection(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name:?}");
        assert!(db.existing_collection(name).unwrap().is_none());
    }
    assert_eq!(db.collections().unwrap(), Vec::<String>::new());
}

#[test]
fn a_budget_that_is_too_small_is_refused() {
    let folder = folder();
    let error = Db::options().memory_budget(1000).open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// F-41: a file of a database's by its name, with a number that no log can have: the open is refused
/// before numbers go on from there, which none could take back.
#[test]
fn a_stray_file_with_a_number_beyond_all_is_refused_and_does_no_harm() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    drop(c);
    db.close().unwrap();
    for stray in ["seg-18446744073709551614", "log-18446744073709551613", "blob-1073741823"] {
        let path = folder.path().join(stray);
        std::fs::write(&path, "").unwrap();
        let before = image(folder.path());
        let error = small().open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains(stray), "{error}");
        let names = |image: BTreeMap<String, Vec<u8>>| image.into_keys().collect::<Vec<_>>();
        assert_eq!(names(image(folder.path())), names(before));
        std::fs::remove_file(&path).unwrap();
        let (db, c) = open(folder.path());
        c.insert("b", "2").unwrap();
        assert_eq!(pairs(c.iter()), "a=1 b=2 ");
        drop(c);
        db.close().unwrap();
    }
}
