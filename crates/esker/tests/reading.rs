//! What reads cost and what they may lean on: bounded files, shared work, caches that forget.

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

use esker::env::Env;
use esker::env::sim::{Calls, Errno, Fault, Sim};
use esker::{Access, Collection, Db, ErrorKind, Options};
use std::sync::Arc;

const ACCESSES: [Access; 2] = [Access::Mapped, Access::Positioned];
const RUNS: u32 = 60;

fn options(world: &Arc<Sim>) -> Options {
    let env: Arc<dyn Env> = world.clone();
    Db::options().env(env).slab_bytes(64 << 10).memory_budget(4 << 20).background_compaction(false)
}

/// A key of run `run` alone.
fn key(run: u32) -> Vec<u8> {
    format!("k{run:04}").into_bytes()
}

/// `RUNS` runs, all of which may hold any key.
fn fill(db: &Db) -> Collection {
    let c = db.collection("c").unwrap();
    for run in 0..RUNS {
        for key in [b"a".to_vec(), key(run), b"z".to_vec()] {
            c.insert(key, run.to_be_bytes()).unwrap();
        }
        db.flush().unwrap();
    }
    c
}

fn assert_all_there(c: &Collection) {
    for run in 0..RUNS {
        assert_eq!(c.get(key(run)).unwrap().as_deref(), Some(&run.to_be_bytes()[..]));
        assert_eq!(c.get([&key(run)[..], b"-"].concat()).unwrap(), None);
    }
}

#[test]
fn reads_keep_at_most_so_many_files_open() {
    for access in ACCESSES {
        let world = Sim::new(7);
        let db = options(&world).access(access).max_open_files(16).open("db").unwrap();
        let c = fill(&db);
        let others = world.open_handles() - db.stats().open_files as usize;
        for _ in 0..3 {
            assert_all_there(&c);
            assert_eq!(db.stats().open_files, 16);
            assert_eq!(world.open_handles(), others + 16, "{access:?}");
        }
        let mut walk = c.iter();
        walk.next().unwrap().unwrap();
        assert_eq!(db.stats().open_files, u64::from(RUNS), "one a run, while it walks");
        drop(walk);
        assert_eq!(db.stats().open_files, 16);
        assert!(db.verify().unwrap().is_whole());
        db.compact().unwrap();
        assert_all_there(&c);
        assert_eq!(db.stats().open_files, 1, "files that are gone are closed");
        assert_eq!(world.open_handles(), others + 1);
    }
}

#[test]
fn a_value_outlives_the_reader_it_came_from() {
    for access in ACCESSES {
        let world = Sim::new(7);
        let db = options(&world).access(access).max_open_files(16).open("db").unwrap();
        let c = fill(&db);
        let values: Vec<_> = (0..RUNS).map(|run| c.get(key(run)).unwrap().unwrap()).collect();
        db.compact().unwrap();
        assert!(values.iter().zip(0..).all(|(value, run)| **value == u32::to_be_bytes(run)));
    }
}

/// F-26: without descriptors a read fails and says so; with descriptors the next one works.
#[test]
fn a_read_without_descriptors_fails_and_the_next_one_works() {
    for access in ACCESSES {
        let world = Sim::new(7);
        let db = options(&world).access(access).max_open_files(16).open("db").unwrap();
        let c = fill(&db);
        assert_all_there(&c);
        let none_left = Fault::refuse(Errno::TooManyFiles, Calls::OPEN);
        world.fail_from(world.count(Calls::OPEN) + 1, none_left);
        let told = (0..RUNS).filter_map(|run| c.get(key(run)).err()).collect::<Vec<_>>();
        assert!(!told.is_empty() && told.iter().all(|error| error.kind() == ErrorKind::Io));
        world.heal();
        assert_all_there(&c);
        assert!(db.stats().open_files <= 16);
    }
}

#[test]
fn fewer_than_sixteen_files_are_refused() {
    let error = options(&Sim::new(1)).max_open_files(15).open("db").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

#[test]
fn threads_may_open_and_close_the_same_files() {
    for access in ACCESSES {
        let folder = tempfile::tempdir().unwrap();
        let options = Db::options().slab_bytes(64 << 10).background_compaction(false);
        let db = options.access(access).max_open_files(16).open(folder.path()).unwrap();
        let c = fill(&db);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| assert_all_there(&c)));
            }
        });
        assert!(db.stats().open_files <= 16);
    }
}
