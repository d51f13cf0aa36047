//! Random programs, and the power lost at every call: copies that follow against the database.

use super::{Copy, DIR, Follower, MANY, Met, from, open, options};
use esker::env::sim::{Calls, Errno, Fault, Loss, Sim, Trouble};
use esker::operators::Append;
use esker::{Collection, Compression, Db, MergeOperator, Settings};
use proptest::prelude::*;
use std::sync::Arc;

const PATHS: [&str; 4] = ["a", "b", "b/c", "d"];
const KEEPS: [u64; 4] = [0, 6 << 10, 60 << 10, MANY];

#[derive(Clone, Debug)]
enum Step {
    Put { path: usize, key: u8, bytes: usize },
    Merge { path: usize, key: u8 },
    Remove { path: usize, key: u8 },
    RemoveRange { path: usize, from: u8, to: u8 },
    Transact { path: usize, key: u8 },
    Ingest { path: usize },
    Delete { path: usize },
    Replace { path: usize, key: u8 },
    Swap { path: usize, with: usize },
    Rename { path: usize, to: usize },
    Name,
    Revert,
    Follow,
    Copy,
    Flush,
    Compact,
    Reopen { keep: usize },
    Crash { loss: usize, keep: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (path, key) = (|| 0..PATHS.len(), || 0..12u8);
    let keep = || prop_oneof![1 => 0..3usize, 2 => Just(3usize)];
    let bytes = prop_oneof![6 => 0..40usize, 2 => 500..900usize, 1 => 2000..9000usize];
    let step = prop_oneof![
        14 => (path(), key(), bytes).prop_map(|(path, key, bytes)| Step::Put { path, key, bytes }),
        3 => (path(), key()).prop_map(|(path, key)| Step::Merge { path, key }),
        3 => (path(), key()).prop_map(|(path, key)| Step::Remove { path, key }),
        2 => (path(), key(), key())
            .prop_map(|(path, from, to)| Step::RemoveRange { path, from, to }),
        2 => (path(), key()).prop_map(|(path, key)| Step::Transact { path, key }),
        1 => path().prop_map(|path| Step::Ingest { path }),
        1 => path().prop_map(|path| Step::Delete { path }),
        1 => (path(), key()).prop_map(|(path, key)| Step::Replace { path, key }),
        1 => (path(), path()).prop_map(|(path, with)| Step::Swap { path, with }),
        2 => (path(), path()).prop_map(|(path, to)| Step::Rename { path, to }),
        1 => Just(Step::Name),
        1 => Just(Step::Revert),
        3 => Just(Step::Follow),
        2 => Just(Step::Copy),
        3 => Just(Step::Flush),
        1 => Just(Step::Compact),
        2 => keep().prop_map(|keep| Step::Reopen { keep }),
        2 => (0..Loss::MODELS.len(), keep()).prop_map(|(loss, keep)| Step::Crash { loss, keep }),
    ];
    prop::collection::vec(step, 1..80)
}

/// A database, and some who follow it.
struct Play {
    world: Arc<Sim>,
    db: Option<Db>,
    keep: u64,
    followers: Vec<Follower>,
    values: u32,
}

impl Play {
    fn new(seed: u64) -> Self {
        let world = Sim::new(seed);
        let db = Some(open(&world, MANY));
        Self { world, db, keep: MANY, followers: Vec::new(), values: 0 }
    }

    /// Noise, or what packs.
    fn value(&mut self, bytes: usize) -> Vec<u8> {
        self.values += 1;
        let text = self.values.to_string().into_bytes();
        if self.values.is_multiple_of(2) {
            return text.into_iter().cycle().take(bytes).collect();
        }
        let mut word = u64::from(self.values);
        let noise = std::iter::repeat_with(|| {
            word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ 0x5bd1;
            (word >> 32) as u8
        });
        noise.take(bytes).collect()
    }

    fn collection(&self, path: usize) -> Collection {
        let c = self.db.as_ref().unwrap().collection(PATHS[path]).unwrap();
        if c.settings().merge_operator.is_none() {
            let settings = Settings::default().merge_operator(Append::new(":").name());
            let packed = if path == 1 { Compression::Lz4 } else { Compression::None };
            c.configure(&settings.blob_compression(packed)).unwrap();
        }
        c
    }

    fn reopen(&mut self, keep: usize) {
        self.keep = KEEPS[keep];
        self.db = None;
        self.db = Some(open(&self.world, self.keep));
    }

    fn step(&mut self, step: &Step) {
        let db = self.db.clone().unwrap();
        match *step {
            Step::Put { path, key, bytes } => {
                let value = self.value(bytes);
                self.collection(path).insert([key], value).unwrap();
            }
            Step::Merge { path, key } => {
                let value = self.value(3);
                self.collection(path).merge([key], value).unwrap();
            }
            Step::Remove { path, key } => self.collection(path).remove([key]).unwrap(),
            Step::RemoveRange { path, from, to } => {
                self.collection(path).remove_range([from]..[to]).unwrap();
            }
            Step::Transact { path, key } => {
                let (c, other) = (self.collection(path), self.collection(0));
                let value = self.value(9);
                db.transact(|txn| {
                    txn.insert(&c, [key], &value)?;
                    txn.insert(&other, [key], &value)
                })
                .unwrap();
            }
            Step::Ingest { path } => {
                let value = self.value(30);
                let all: Vec<_> = (0..12u8).step_by(3).map(|key| ([key], &value)).collect();
                self.collection(path).ingest(all).unwrap();
            }
            Step::Delete { .. }
            | Step::Replace { .. }
            | Step::Swap { .. }
            | Step::Rename { .. } => {
                self.step_of_collections(step);
            }
            Step::Name => {
                // Refused the second time.
                let _ = db.name_snapshot("x");
            }
            Step::Revert => {
                let _ = db.revert("x");
            }
            Step::Follow => self.follow(),
            Step::Copy => self.followers.push(Follower::of(&db)),
            Step::Flush => db.flush().unwrap(),
            Step::Compact => db.compact().unwrap(),
            Step::Reopen { keep } => {
                self.db = None;
                db.close().unwrap();
                self.reopen(keep);
            }
            Step::Crash { loss, keep } => {
                // Those that follow have nothing that a crash takes, whatever it takes.
                self.followers.retain(|follower| follower.next <= db.stats().durable + 1);
                self.followers.iter_mut().for_each(|follower| _ = follower.follow(&db));
                // But one that had to copy anew has what it saw.
                self.followers.retain(|follower| follower.next <= db.stats().durable + 1);
                drop(db);
                self.world = self.world.crash(Loss::MODELS[loss]);
                self.reopen(keep);
            }
        }
    }

    /// Collections come, go and move.
    fn step_of_collections(&mut self, step: &Step) {
        let db = self.db.clone().unwrap();
        match *step {
            Step::Delete { path } => {
                if let Some(c) = db.existing_collection(PATHS[path]).unwrap() {
                    db.delete_collection(&c).unwrap();
                }
            }
            Step::Replace { path, key } => {
                let (old, value) = (self.collection(path), self.value(5));
                let mut batch = db.batch();
                batch.insert(&old, [key], "never seen").unwrap();
                batch.delete_collection(&old).unwrap();
                let new = batch.create_collection(PATHS[path]).unwrap();
                batch.insert(&new, [key], value).unwrap();
                batch.commit().unwrap();
            }
            Step::Swap { path, with } => {
                let (one, other) = (self.collection(path), self.collection(with));
                let mut batch = db.batch();
                let paths = [(&one, "aside"), (&other, PATHS[path]), (&one, PATHS[with])];
                let moved =
                    paths.into_iter().try_for_each(|(c, to)| batch.rename_collection(c, to));
                // Refused if one lies below the other.
                let _ = moved.and_then(|()| batch.commit());
            }
            Step::Rename { path, to } => {
                if let Some(c) = db.existing_collection(PATHS[path]).unwrap() {
                    // Refused if it is taken.
                    let _ = db.rename_collection(&c, PATHS[to]);
                }
            }
            _ => {}
        }
    }

    fn follow(&mut self) {
        let db = self.db.as_ref().unwrap();
        let told = from(db, db.changes_held().unwrap().start);
        assert!(told.last().is_none_or(|change| change.last() <= db.stats().durable));
        db.sync().unwrap();
        let held = db.changes_held().unwrap();
        for follower in &mut self.followers {
            let before = follower.next;
            let met = follower.follow(db);
            assert_eq!(met == Met::Gone, before < held.start, "{before}, {held:?}");
            assert_eq!(follower.copy, Copy::of(db), "from {before}, {held:?}");
            assert!(follower.next <= db.changes_held().unwrap().end, "{before}");
        }
        let stats = db.stats();
        assert!(stats.kept_log_bytes <= self.keep, "{stats}");
        let kept = |name: &&(std::path::PathBuf, u64)| name.0.to_string_lossy().contains("/kept-");
        let files = self.world.list_all();
        assert_eq!(files.iter().filter(kept).count() as u64, stats.kept_logs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// F-15: whoever follows has what the database has.
    #[test]
    fn a_copy_of_any_moment_and_the_changes_since_are_the_present(
        (seed, steps) in (0..1000u64, steps())
    ) {
        let mut play = Play::new(seed);
        play.followers.push(Follower::of(play.db.as_ref().unwrap()));
        for step in &steps {
            play.step(step);
        }
        play.follow();
        let db = play.db.as_ref().unwrap();
        prop_assert!(db.verify().unwrap().is_whole());
        drop(play.db.take().unwrap());
        // The same from what is only read, after a clean end.
        let db = options(&play.world).read_only(true).open(DIR).unwrap();
        play.db = Some(db.clone());
        for follower in &mut play.followers {
            prop_assert_eq!(follower.clone().follow(&db), Met::All);
        }
        let start = db.changes_held().unwrap().start;
        let whole: Vec<_> = db.changes(start).unwrap().map(|change| change.unwrap()).collect();
        prop_assert!(whole.is_sorted_by(|a, b| a.last() < b.first()));
    }
}

/// Writes of every kind, while somebody follows; answers whether all of it was done.
fn busy(db: &Db, follower: &mut Follower) -> esker::Result<()> {
    let c = db.collection("c")?;
    for n in 0..6u8 {
        c.insert([n], vec![n; 100 + 300 * usize::from(n % 3)])?;
        if n % 3 == 1 {
            db.sync()?;
            follower.try_follow(db)?;
        }
        if n == 2 {
            db.flush()?;
            c.ingest([("x", "1"), ("y", "1")])?;
            db.rename_collection(&c, "d")?;
        }
        if n == 4 {
            c.remove_range([0]..[2])?;
            db.flush()?;
        }
    }
    Ok(())
}

/// A database with something in it that is durable, and one who follows from there.
fn begin(seed: u64) -> (Arc<Sim>, Db, Follower) {
    let world = Sim::new(seed);
    let db = open(&world, MANY);
    db.collection("c").unwrap().insert("a", "1").unwrap();
    db.sync().unwrap();
    let follower = Follower::of(&db);
    (world, db, follower)
}

/// F-4, F-11, F-15: after a power loss at any call whoever has followed goes on, and has what is there;
/// all that was kept is kept, and no file is there that nobody knows.
#[test]
fn who_follows_has_what_is_there_whenever_the_power_is_lost() {
    let (world, db, mut follower) = begin(10);
    let first = world.calls();
    busy(&db, &mut follower).unwrap();
    let calls = world.calls() - first;
    drop(db);
    let mut crashes = 0;
    for call in 1..=calls {
        let (world, db, mut follower) = begin(10);
        let began = follower.clone();
        world.crash_at(first + call);
        let _ = busy(&db, &mut follower);
        drop(db);
        for loss in Loss::MODELS {
            let world = world.crash(loss);
            let db = open(&world, MANY);
            for follower in [&began, &follower] {
                let mut follower = follower.clone();
                let met = follower.follow(&db);
                assert_ne!(met, Met::Gone, "call {call} of {calls}, {loss:?}");
                assert_eq!(follower.copy, Copy::of(&db), "call {call} of {calls}, {loss:?}");
            }
            // What was copied at the open is durable, what the process before had synced or not.
            let held = from(&db, began.next);
            drop(db);
            let world = world.crash(Loss::All);
            let db = open(&world, MANY);
            assert_eq!(from(&db, began.next), held, "call {call} of {calls}, {loss:?}");
            assert!(db.verify().unwrap().is_whole(), "call {call} of {calls}, {loss:?}");
            crashes += 1;
        }
    }
    assert!(crashes > 200, "{crashes}");
}

/// F-18, F-19, F-21: any call may fail in any way; whoever has followed goes on after the next open, and
/// has what is there, also if the power is lost right behind it.
#[test]
fn who_follows_has_what_is_there_whatever_call_has_failed() {
    let on = Calls::CHANGES;
    let (world, db, mut follower) = begin(18);
    let first = world.count(on);
    busy(&db, &mut follower).unwrap();
    let calls = world.count(on) - first;
    drop(db);
    let mut failed = 0;
    for trouble in [Trouble::Refuse(Errno::Io), Trouble::DropPages, Trouble::Full] {
        for call in 1..=calls {
            let (world, db, mut follower) = begin(18);
            let began = follower.clone();
            world.fail_at(first + call, Fault { trouble, on });
            failed += u64::from(busy(&db, &mut follower).is_err());
            drop(db);
            world.heal();
            let check = |world: &Arc<Sim>| {
                let db = open(world, MANY);
                for follower in [&began, &follower] {
                    let mut follower = follower.clone();
                    assert_ne!(follower.follow(&db), Met::Gone, "{trouble:?} at {call} of {calls}");
                    let is_same = follower.copy == Copy::of(&db);
                    assert!(is_same, "{trouble:?} at {call} of {calls}");
                }
                assert!(db.verify().unwrap().is_whole(), "{trouble:?} at {call} of {calls}");
            };
            check(&world);
            check(&world.crash(Loss::All));
        }
    }
    assert!(failed > 20, "{failed}");
}
