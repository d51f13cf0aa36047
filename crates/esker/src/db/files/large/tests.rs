//! Large values through flushes and failures.

use crate::db::Db;
use crate::env::sim::{Calls, Errno, Fault, Sim};
use std::path::Path;

/// F-29: a log is taken over under its own number, so another try makes the same name again. A
/// removal that had failed after the first try was made up for after the second: live values
/// were gone.
#[test]
fn what_a_failed_flush_has_left_is_not_removed_once_it_is_live() {
    let world = Sim::new(8);
    let options = Db::options().env(world.clone()).blob_threshold(256).sync_interval(None);
    let db = options.background_compaction(false).open(Path::new("/db")).unwrap();
    let c = db.collection("c").unwrap();
    for key in 0..10_u8 {
        c.insert([key], vec![key; 3000]).unwrap();
    }
    let core = db.core();
    let writing = core.writing().unwrap();
    writing.committer.seal().unwrap();
    // The second sync of the folder is that of the new name.
    let refuse = |on| Fault::refuse(Errno::Io, on);
    world.fail_at(world.count(Calls::SYNC_DIR) + 2, refuse(Calls::SYNC_DIR));
    world.fail_from(world.count(Calls::REMOVE) + 1, refuse(Calls::REMOVE));
    core.flush_one(writing).unwrap_err();
    let blobs = || {
        let names = world.list_all().into_iter();
        names.filter(|(path, _)| path.to_string_lossy().contains("blob-")).count()
    };
    assert_eq!(blobs(), 1, "the name of the failed try is left");
    world.heal();
    assert!(core.flush_one(writing).unwrap());
    core.empty_trash();
    assert_eq!((blobs(), db.stats().logs_adopted), (1, 1));
    for key in 0..10_u8 {
        assert_eq!(c.get([key]).unwrap().unwrap(), vec![key; 3000]);
    }
    assert!(db.verify().unwrap().is_whole());
}

/// Not every file system gives a file two names.
#[test]
fn values_are_copied_where_a_log_cannot_have_a_second_name() {
    let world = Sim::new(9);
    let options = Db::options().env(world.clone()).blob_threshold(256).sync_interval(None);
    let db = options.background_compaction(false).open(Path::new("/db")).unwrap();
    let c = db.collection("c").unwrap();
    for key in 0..10_u8 {
        c.insert([key], vec![key; 3000]).unwrap();
    }
    world.fail_from(world.count(Calls::LINK) + 1, Fault::refuse(Errno::Io, Calls::LINK));
    db.flush().unwrap();
    let stats = db.stats();
    assert_eq!((stats.logs_adopted, stats.logs_copied, stats.blob_values), (0, 1, 10));
    for key in 0..10_u8 {
        assert_eq!(c.get([key]).unwrap().unwrap(), vec![key; 3000]);
    }
    assert!(db.verify().unwrap().is_whole());
}
