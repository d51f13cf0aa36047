//! Large values through flushes, cleanings and failures.

use crate::base::blob::BlobRef;
use crate::base::error::Result;
use crate::db::Db;
use crate::db::collections::collection::Collection;
use crate::db::work::steps::Want;
use crate::env::sim::{Calls, Errno, Fault, Sim};
use crate::merge::rewrite::Plant;
use parking_lot::Mutex;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What is done while a cleaning copies its first value.
#[derive(Default)]
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Plant for Meanwhile {
    fn copy(
        &self,
        blob: &BlobRef,
        stored: &[u8],
        write: &mut dyn FnMut(&BlobRef, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let act = self.0.lock().take();
        act.into_iter().for_each(|act| act());
        write(blob, stored)
    }
}

fn kill_some(c: &Collection) {
    (1..7).step_by(2).for_each(|key| c.remove([key]).unwrap());
}

fn kill_a_range(c: &Collection) {
    c.remove_range([10]..[30]).unwrap();
}

fn kill_all(c: &Collection) {
    c.clear().unwrap();
}

/// MACE-15: what a compaction drops between the choice of a cleaning and its edit is dead in the
/// new file, then and after a reopening.
#[test]
fn what_dies_while_its_file_is_cleaned_is_not_lost_sight_of() {
    let value = |key: u8| vec![key; 3000];
    type Kill = fn(&Collection);
    let kills: [Kill; 3] = [kill_some, kill_a_range, kill_all];
    for (kill, left) in kills.into_iter().zip([17, 10, 0]) {
        let (world, plant) = (Sim::new(10), Arc::new(Meanwhile::default()));
        let options = Db::options().env(world.clone()).blob_threshold(256);
        let options = options.background_compaction(false).plant(plant.clone());
        let db = options.open(Path::new("/db")).unwrap();
        let c = db.collection("c").unwrap();
        (0..40).for_each(|key| c.insert([key], value(key)).unwrap());
        db.flush().unwrap();
        (0..40).step_by(2).for_each(|key| c.remove([key]).unwrap());
        let (to, other) = (c.clone(), db.clone());
        *plant.0.lock() = Some(Box::new(move || {
            assert_eq!(other.stats().blob_values, 20, "what was dead when it was chosen");
            kill(&to);
            other.flush().unwrap();
            let (core, writing) = (other.core(), other.core().writing().unwrap());
            while core.compact_step(writing, Want::All(core.now())).unwrap() {}
            assert!(other.stats().blob_values < 20);
        }));
        db.compact().unwrap();
        assert!(plant.0.lock().is_none());
        let check = |db: &Db| {
            let c = db.collection("c").unwrap();
            let pairs: Vec<_> = c.iter().map(|pair| pair.unwrap()).collect();
            assert!(pairs.iter().all(|(key, found)| *found == value(key[0])));
            assert_eq!(pairs.len() as u64, left);
            let report = db.verify().unwrap();
            assert!(report.is_whole(), "{:?}", report.damages);
            assert_eq!(db.stats().blob_values, left, "{}", db.stats());
        };
        check(&db);
        db.close().unwrap();
        drop(c);
        let db = options.open(Path::new("/db")).unwrap();
        check(&db);
        db.compact().unwrap();
        check(&db);
    }
}

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
