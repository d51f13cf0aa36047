//! Cleanings, and what happens meanwhile.

use crate::base::blob::BlobRef;
use crate::base::error::Result;
use crate::db::Db;
use crate::db::collections::collection::Collection;
use crate::db::upkeep::steps::Want;
use crate::env::sim::Sim;
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
