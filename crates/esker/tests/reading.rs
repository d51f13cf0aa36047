//! What reads cost and what they may lean on: bounded files, shared work, caches that forget.

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

mod support;

use esker::env::Env;
use esker::env::sim::{Calls, Errno, Fault, Sim};
use esker::{Access, Collection, Compression, Db, ErrorKind, Options, Snapshot};
use std::sync::Arc;
use support::Dice;

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

/// Versions, tombstones and absent keys over memtables, runs and levels, and snapshots on the way.
struct Written {
    db: Db,
    c: Collection,
    snapshots: Vec<Snapshot>,
}

/// One key in three has a long prefix, so that blocks and partitions border on each other anywhere.
fn any_key(dice: &mut Dice) -> Vec<u8> {
    let number = dice.below(900);
    match number % 3 {
        0 => format!("users/archive/of-a-long-name/{number:06}").into_bytes(),
        1 => number.to_be_bytes()[6..].to_vec(),
        _ => format!("{number}").into_bytes(),
    }
}

fn written(options: &Options, dice: &mut Dice) -> Written {
    let db = options.open("db").unwrap();
    let c = db.collection("c").unwrap();
    let mut snapshots = Vec::new();
    for _ in 0..3000 {
        let key = any_key(dice);
        match dice.below(400) {
            0..100 => c.remove(key).unwrap(),
            100..104 => db.flush().unwrap(),
            104 => db.compact().unwrap(),
            105..110 => snapshots.push(db.snapshot()),
            110..112 => {
                let (one, two) = (key, any_key(dice));
                c.remove_range(one.clone().min(two.clone())..one.max(two)).unwrap();
            }
            _ => c.insert(key, vec![dice.next() as u8; dice.index(120)]).unwrap(),
        }
    }
    Written { db, c, snapshots }
}

/// The ways in which segments are read.
fn ways(world: &Arc<Sim>) -> Vec<Options> {
    let mut ways = Vec::new();
    for access in ACCESSES {
        for compression in [Compression::None, Compression::Lz4] {
            ways.push(options(world).access(access).compression(compression));
        }
    }
    ways
}

#[test]
fn many_keys_at_once_give_what_one_by_one_would() {
    for seed in 0..3 {
        for way in 0..4 {
            let (world, mut dice) = (Sim::new(seed), Dice::new(seed * 100 + way));
            let Written { db: _db, c, snapshots } = written(&ways(&world)[way as usize], &mut dice);
            assert_eq!(c.multi_get([[0; 0]; 0]).unwrap(), []);
            for _ in 0..60 {
                let count = dice.pick(&[1, 2, 10, 500]);
                let keys: Vec<_> = (0..count).map(|_| any_key(&mut dice)).collect();
                let one_by_one: Vec<_> = keys.iter().map(|key| c.get(key).unwrap()).collect();
                assert_eq!(c.multi_get(&keys).unwrap(), one_by_one);
                if snapshots.is_empty() {
                    continue;
                }
                let then = c.at(&snapshots[dice.index(snapshots.len())]);
                let one_by_one: Vec<_> = keys.iter().map(|key| then.get(key).unwrap()).collect();
                assert_eq!(then.multi_get(&keys).unwrap(), one_by_one);
            }
        }
    }
}

/// Neighbours read each block once: far fewer reads than one by one.
#[test]
fn neighbours_share_what_they_read() {
    let world = Sim::new(3);
    let db = options(&world).access(Access::Positioned).memory_budget(1 << 20);
    let db = db.open("db").unwrap();
    let c = db.collection("c").unwrap();
    let keys: Vec<_> = (0..20_000_u32).map(u32::to_be_bytes).collect();
    keys.iter().for_each(|key| c.insert(key, [7; 100]).unwrap());
    db.flush().unwrap();
    db.compact().unwrap();
    let before = world.count(Calls::READ);
    let found = c.multi_get(&keys).unwrap();
    assert!(found.iter().all(|value| value.as_deref() == Some(&[7; 100][..])));
    let reads = world.count(Calls::READ) - before;
    let pieces = db.stats().segment_bytes / 4000;
    assert!(reads < pieces * 3, "{reads} reads of a file of about {pieces} pieces");
}

#[test]
fn one_error_is_the_answer_to_all_keys() {
    let world = Sim::new(7);
    let db = options(&world).access(Access::Positioned).open("db").unwrap();
    let c = fill(&db);
    world.fail_from(world.count(Calls::READ) + 1, Fault::refuse(Errno::Io, Calls::READ));
    assert_eq!(c.multi_get((0..RUNS).map(key)).unwrap_err().kind(), ErrorKind::Io);
    world.heal();
    assert!(c.multi_get((0..RUNS).map(key)).unwrap().iter().all(Option::is_some));
    db.close().unwrap();
    assert_eq!(c.multi_get(["a"]).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn what_filters_let_pass_is_counted() {
    for access in ACCESSES {
        let world = Sim::new(7);
        let db = options(&world).access(access).open("db").unwrap();
        let c = fill(&db);
        let before = db.stats();
        assert_eq!((before.filter_probes, before.filter_passes, before.filter_false), (0, 0, 0));
        for run in 0..RUNS {
            c.get(key(run)).unwrap().unwrap();
        }
        let present = db.stats();
        let runs = u64::from(RUNS);
        assert_eq!(present.filter_probes, runs * (runs + 1) / 2, "newest first, up to the key");
        assert_eq!(present.filter_passes - present.filter_false, runs);
        c.multi_get((0..1000_u32).map(|i| format!("m{i}"))).unwrap();
        let absent = db.stats();
        assert_eq!(absent.filter_probes, present.filter_probes + 1000 * runs);
        let passes = absent.filter_passes - present.filter_passes;
        assert_eq!(passes, absent.filter_false - present.filter_false);
        assert!(passes < 20 * runs, "{passes} of {}", 1000 * runs);
    }
}

/// Runs with and without prefixes in their filters, tombstones, snapshots: a walk over a prefix shows
/// what a walk over all would, from both ends.
#[test]
fn a_walk_over_a_prefix_skips_no_key_of_it() {
    for seed in 0..2 {
        for way in 0..4 {
            let (world, mut dice) = (Sim::new(seed), Dice::new(seed * 100 + way));
            let options = &ways(&world)[way as usize];
            drop(written(&options.clone().prefix_filter(2), &mut dice));
            drop(written(&options.clone().prefix_filter(0), &mut dice));
            let Written { db: _db, c, snapshots } =
                written(&options.clone().prefix_filter(5), &mut dice);
            for _ in 0..150 {
                let mut prefix = any_key(&mut dice);
                prefix.truncate(dice.index(12));
                let then = c.at(&snapshots[dice.index(snapshots.len())]);
                let walks = [(c.iter(), c.prefix(&prefix)), (then.iter(), then.prefix(&prefix))];
                for (all, some) in walks {
                    let all = all.map(Result::unwrap);
                    let want: Vec<_> = all.filter(|(key, _)| key.starts_with(&prefix)).collect();
                    assert_eq!(some.map(Result::unwrap).collect::<Vec<_>>(), want);
                }
                let back = then.prefix(&prefix).rev().map(|pair| pair.unwrap().0);
                let mut back: Vec<_> = back.collect();
                back.reverse();
                let forth: Vec<_> = then.prefix(&prefix).map(|pair| pair.unwrap().0).collect();
                assert_eq!(back, forth);
            }
        }
    }
}

#[test]
fn a_walk_over_an_absent_prefix_reads_no_block() {
    let reads = |prefix_filter: usize| {
        let world = Sim::new(7);
        let options = options(&world).access(Access::Positioned).prefix_filter(prefix_filter);
        let db = options.memory_budget(1 << 20).open("db").unwrap();
        let c = fill(&db);
        // Opens all, and loads their filters.
        c.get("m").unwrap();
        let before = world.count(Calls::READ);
        for i in 0..100 {
            assert_eq!(c.prefix(format!("m{i:03}-")).count(), 0);
        }
        world.count(Calls::READ) - before
    };
    let (with, without) = (reads(4), reads(0));
    assert!(with * 10 < without, "{with} reads with prefixes in the filter, {without} without");
}

/// A walk, a check and a compaction fetch many blocks with one read; a seek fetches one.
#[test]
fn what_goes_forward_reads_ahead() {
    for compression in [Compression::None, Compression::Lz4] {
        let world = Sim::new(3);
        let options = options(&world).access(Access::Positioned).compression(compression);
        let options = options.memory_budget(1 << 20).slab_bytes(16 << 20);
        let db = options.open("db").unwrap();
        let c = db.collection("c").unwrap();
        let value = |key: u32| -> Vec<u8> {
            let mut dice = Dice::new(key.into());
            (0..100).map(|_| dice.next() as u8).collect()
        };
        let fill = || {
            (0..40_000_u32).for_each(|key| c.insert(key.to_be_bytes(), value(key)).unwrap());
            db.flush().unwrap();
        };
        fill();
        let count = |work: &dyn Fn()| {
            let before = world.count(Calls::READ);
            work();
            world.count(Calls::READ) - before
        };
        let blocks = db.stats().segment_bytes / 4096;
        assert!(blocks > 1000, "{blocks}");
        let walk = count(&|| assert_eq!(c.iter().map(Result::unwrap).count(), 40_000));
        assert!(walk < blocks / 20, "{walk} reads of {blocks} blocks");
        let check = count(&|| assert!(db.verify().unwrap().is_whole()));
        assert!(check < blocks / 5, "{check} reads of {blocks} blocks, filter and index");
        fill();
        let merge = count(&|| db.compact().unwrap());
        assert!(merge < blocks / 5, "{merge} reads of twice {blocks} blocks");
        let seek = count(&|| drop(c.range(&20_000_u32.to_be_bytes()[..]..).next().unwrap()));
        assert!(seek <= 6, "{seek}");
    }
}
