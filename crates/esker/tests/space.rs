//! Space comes back by itself: what nobody can see any more leaves the disk without being asked to.
//!
//! ```text
//!   overwrite, remove, remove_range ─▶ flush ─▶ the clock goes on, workers run ─▶ at rest
//!                       segment_bytes ≤ 1.15 × what only the live pairs take in a fresh database
//! ```
//!
//! 1. All of it in the simulator: workers run when `settle` lets them, time passes when told to.
//! 2. Nobody calls `compact`, but where it is what the test is about, or to build what it starts from.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod support;

use esker::env::Env;
use esker::env::names::{FileKind, FileName};
use esker::env::path_in;
use esker::env::sim::{Calls, Sim};
use esker::manifest::Store;
use esker::segment::SegmentMeta;
use esker::{Access, Collection, Compaction, Db, Options, Range, Stats};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::Dice;
use support::program::dir;
use support::reference::Val;

const INTERVAL: Duration = Duration::from_secs(1);
const KEYS: u32 = 20_000;

/// A database alone in its world, with one collection.
struct Place {
    world: Arc<Sim>,
    db: Db,
    c: Collection,
}

fn key(n: u32) -> String {
    format!("{n:08}")
}

/// Differs between rounds; half of the values repeat themselves, half do not.
fn value(n: u32, round: u32) -> Vec<u8> {
    Val { tag: round * 1_000_000 + n, len: 60 + n % 80 }.bytes()
}

impl Place {
    fn new(options: impl FnOnce(Options) -> Options) -> Self {
        let world = Sim::new(1);
        let plain = Db::options().memory_budget(1 << 20).sync_interval(Some(INTERVAL));
        let db = options(plain).env(world.clone()).open(dir()).unwrap();
        let c = db.collection("c").unwrap();
        Self { world, db, c }
    }

    /// Writes each of `keys`; the workers keep up.
    fn fill(&self, keys: impl Iterator<Item = u32>, round: u32) {
        for (count, n) in keys.enumerate() {
            self.c.insert(key(n), value(n, round)).unwrap();
            if count % 200 == 0 {
                self.world.help();
            }
        }
    }

    fn wait(&self) {
        for _ in 0..3 {
            self.world.settle();
            self.world.advance(INTERVAL);
        }
        self.world.settle();
        assert_eq!(self.world.panics(), 0);
    }

    /// Nobody writes any more, and everything is in segments.
    fn rest(&self) {
        self.db.flush().unwrap();
        self.wait();
    }

    fn stats(&self) -> Stats {
        self.db.stats()
    }

    /// The last level, in order of keys.
    fn last_level(&self) -> Vec<SegmentMeta> {
        let env: Arc<dyn Env> = self.world.snapshot();
        let listed = env.list(dir()).unwrap();
        let (state, _) = Store::read(&env, dir(), &listed).unwrap().unwrap();
        let last = state.runs.iter().max_by_key(|run| run.level).unwrap();
        last.segments.clone()
    }
}

/// What `pairs` take in a fresh database that comes to rest.
fn fresh_bytes(
    pairs: impl Iterator<Item = (u32, u32)>,
    options: impl FnOnce(Options) -> Options,
) -> u64 {
    let place = Place::new(options);
    for (n, round) in pairs {
        place.fill(std::iter::once(n), round);
    }
    place.rest();
    place.stats().segment_bytes
}

#[track_caller]
fn assert_is_tight(what: &str, stats: &Stats, fresh: u64) {
    let taken = stats.segment_bytes;
    assert!(taken * 100 <= fresh * 115, "{what}: {taken} bytes, {fresh} in a fresh database");
}

/// The keys 0 to `KEYS`, each once, in an order by chance.
fn shuffled(dice: &mut Dice) -> Vec<u32> {
    let mut keys: Vec<u32> = (0..KEYS).collect();
    for at in (1..keys.len()).rev() {
        keys.swap(at, dice.index(at + 1));
    }
    keys
}

/// A walk must find exactly the pairs `want`, given as keys with their rounds.
#[track_caller]
fn assert_finds(walk: Range, want: impl Iterator<Item = (u32, u32)>) {
    let mut walk = walk;
    for (n, round) in want {
        let (found, bytes) = walk.next().expect("another pair").unwrap();
        assert_eq!(found, key(n).as_bytes());
        assert_eq!(bytes, value(n, round), "the value of {n}");
    }
    assert!(walk.next().is_none());
}

/// Every kind of compaction settles, at rest, at about what the live pairs take.
#[test]
fn what_was_overwritten_or_removed_gives_its_space_back() {
    for compaction in [Compaction::Balanced, Compaction::WriteHeavy, Compaction::ReadHeavy] {
        let options = |options: Options| options.compaction(compaction);
        let (place, mut dice) = (Place::new(options), Dice::new(7));
        for round in 0..5 {
            place.fill(shuffled(&mut dice).into_iter(), round);
        }
        place.rest();
        let fresh = fresh_bytes((0..KEYS).map(|n| (n, 4)), options);
        assert_is_tight(&format!("{compaction:?}, overwritten"), &place.stats(), fresh);
        assert_finds(place.c.iter(), (0..KEYS).map(|n| (n, 4)));

        for n in shuffled(&mut dice).into_iter().filter(|n| n % 10 != 3) {
            place.c.remove(key(n)).unwrap();
        }
        place.rest();
        let left = || (0..KEYS).filter(|n| n % 10 == 3).map(|n| (n, 4));
        let fresh = fresh_bytes(left(), options);
        assert_is_tight(&format!("{compaction:?}, nine tenths gone"), &place.stats(), fresh);
        assert_finds(place.c.iter(), left());
    }
}

/// Files that a range delete covers wholly leave without a look into them: here each of them is
/// unreadable, and only the two pieces at the borders are written again.
#[test]
fn files_that_a_range_delete_covers_leave_unread() {
    let options = |options: Options| options.access(Access::Positioned).slab_bytes(64 << 10);
    let place = Place::new(options);
    place.fill(0..KEYS, 1);
    place.rest();
    place.db.compact().unwrap();
    let (from, to) = (key(KEYS / 20), key(KEYS / 20 * 19));
    let before = place.stats();
    let level = place.last_level();
    assert!(level.len() >= 15 && before.runs == 1, "{} files, {before}", level.len());
    // Full keys end in the user's.
    let user = |key: &[u8]| key[key.len() - 8..].to_vec();
    let is_in = |key: &[u8]| *from.as_bytes() <= *user(key) && *user(key) < *to.as_bytes();
    let covered = |meta: &&SegmentMeta| is_in(&meta.smallest) && is_in(&meta.largest);
    let is_border = |meta: &&SegmentMeta| is_in(&meta.smallest) != is_in(&meta.largest);
    let paths: Vec<_> = level.iter().filter(covered).collect();
    let paths: Vec<_> =
        paths.into_iter().map(|meta| path_in(dir(), FileKind::Segment.name(meta.id))).collect();
    let borders: u64 = level.iter().filter(is_border).map(|meta| meta.bytes).sum();
    assert!(paths.len() * 10 >= level.len() * 8, "{} of {}", paths.len(), level.len());
    for path in &paths {
        place.world.break_reads(path, 0..u64::MAX).unwrap();
    }
    let reads = place.world.count(Calls::READ);

    place.c.remove_range(from.as_str()..to.as_str()).unwrap();
    place.rest();

    let after = place.stats();
    assert!(after.segments + paths.len() as u64 <= before.segments, "{before}\n{after}");
    let left: Vec<_> = place.world.list_all().into_iter().map(|(path, _)| path).collect();
    let stays: Vec<_> = paths.iter().filter(|path| left.contains(path)).collect();
    assert!(stays.is_empty(), "still there: {stays:?}");
    let written = after.bytes_compacted - before.bytes_compacted;
    assert!(written <= borders, "{written} bytes were written, {borders} lay at the borders");
    let reads = place.world.count(Calls::READ) - reads;
    assert!(reads <= 100, "{reads} reads");
    let ends = || (0..KEYS / 20).chain(KEYS / 20 * 19..KEYS).map(|n| (n, 1));
    assert_finds(place.c.iter(), ends());
    assert_is_tight("the ends", &after, fresh_bytes(ends(), options));
}

/// F-43: whoever looks at the past keeps it, whatever happens meanwhile; the moment that nobody does
/// it goes, though nobody writes.
#[test]
fn what_a_reader_kept_leaves_when_the_reader_does() {
    for by_range in [false, true] {
        for by_iterator in [false, true] {
            let what = format!("by_range: {by_range}, by_iterator: {by_iterator}");
            let place = Place::new(|options| options);
            place.fill(0..KEYS, 1);
            place.rest();
            let all = place.stats().segment_bytes;
            let snapshot = (!by_iterator).then(|| place.db.snapshot());
            let walk = by_iterator.then(|| place.c.iter());

            let is_left = |n: &u32| n % 10 == 3 && !by_range || *n < KEYS / 10 && by_range;
            if by_range {
                place.c.remove_range(key(KEYS / 10).as_str()..).unwrap();
            } else {
                for n in (0..KEYS).filter(|n| !is_left(n)) {
                    place.c.remove(key(n)).unwrap();
                }
            }
            for round in 2..4 {
                place.fill((0..KEYS).filter(is_left), round);
            }
            place.rest();
            let left = || (0..KEYS).filter(is_left).map(|n| (n, 3));
            assert_finds(place.c.iter(), left());
            let held = place.stats().segment_bytes;
            assert!(held >= all, "{what}: {held} bytes of {all} are left under a reader");
            if let Some(snapshot) = &snapshot {
                assert_finds(place.c.at(snapshot).iter(), (0..KEYS).map(|n| (n, 1)));
            }
            if let Some(walk) = walk {
                // Takes every pair, and thereby ends.
                assert_finds(walk, (0..KEYS).map(|n| (n, 1)));
            }
            drop(snapshot);
            let sequence = place.stats().sequence;
            place.wait();
            let stats = place.stats();
            assert_eq!((stats.snapshots, stats.sequence), (0, sequence), "{what}");
            assert_is_tight(&what, &stats, fresh_bytes(left(), |options| options));
            assert_finds(place.c.iter(), left());
        }
    }
}

/// An iterator keeps the files that it reads. When it went while nothing was to be compacted, they
/// once stayed until somebody wrote again.
#[test]
fn files_that_only_an_iterator_used_leave_with_it() {
    let place = Place::new(|options| options);
    place.fill(shuffled(&mut Dice::new(2)).into_iter(), 1);
    place.rest();
    place.fill(0..KEYS / 100, 2);
    place.db.flush().unwrap();
    let walk = place.c.iter();
    place.db.compact().unwrap();
    place.wait();
    let on_disk = || {
        let name = |path: &Path| FileName::parse(path.file_name()?.to_str()?);
        let is_segment = |path: &Path| name(path).is_some_and(|n| n.kind == FileKind::Segment);
        let files = place.world.list_all().into_iter();
        files.filter(|(path, _)| is_segment(path)).map(|(_, bytes)| bytes).sum::<u64>()
    };
    let live = place.stats().segment_bytes;
    assert!(on_disk() > live, "the iterator keeps what it reads");
    drop(walk);
    place.wait();
    assert_eq!(on_disk(), live);
}

/// MACE-W10: at rest nothing is read or written, and no worker waits for a time to come; nor does
/// a reader that is held, or a memtable that is not flushed, keep anybody busy.
#[test]
fn an_idle_database_does_nothing() {
    for held in [false, true] {
        let (place, mut dice) = (Place::new(|options| options), Dice::new(3));
        place.fill(shuffled(&mut dice).into_iter(), 1);
        let snapshot = held.then(|| place.db.snapshot());
        place.c.remove_range(key(100).as_str()..key(900).as_str()).unwrap();
        place.fill(shuffled(&mut dice).into_iter().take(5_000), 2);
        place.c.remove(key(950)).unwrap();
        place.wait();
        assert!(place.stats().memtable_bytes > 0);
        let quiet = || (place.stats(), place.world.count(Calls::ALL), place.world.fingerprint());
        let before = quiet();
        assert_eq!(place.world.next_due(), None, "held: {held}");
        for _ in 0..60 {
            place.world.advance(Duration::from_secs(60));
            place.world.settle();
        }
        assert_eq!(quiet(), before, "held: {held}");
        drop(snapshot);
    }
}

/// With no reader of the past there is one run, of live pairs and nothing else.
#[test]
fn compact_leaves_one_run_without_tombstones() {
    // The names of the collections are pairs, too.
    let catalog = {
        let place = Place::new(|options| options);
        place.db.compact().unwrap();
        place.stats().segment_entries
    };
    for background in [false, true] {
        let place = Place::new(|options| options.background_compaction(background));
        let mut dice = Dice::new(5);
        for round in 1..4 {
            place.fill(shuffled(&mut dice).into_iter(), round);
            for _ in 0..40 {
                let from = dice.below(u64::from(KEYS)) as u32;
                let to = from + dice.below(300) as u32;
                place.c.remove_range(key(from).as_str()..key(to).as_str()).unwrap();
                place.c.remove(key(dice.below(u64::from(KEYS)) as u32)).unwrap();
            }
        }
        let count = |place: &Place| place.c.iter().map(Result::unwrap).count() as u64;
        let live = count(&place);
        assert!((1..u64::from(KEYS)).contains(&live));
        place.db.compact().unwrap();
        let stats = place.stats();
        assert_eq!((stats.runs, stats.segment_tombstones), (1, 0), "{stats}");
        let entries = stats.segment_entries - catalog;
        assert_eq!(entries, live, "neither range deletes nor old versions are left");
        assert_eq!(count(&place), live);
        place.c.clear().unwrap();
        place.db.compact().unwrap();
        let stats = place.stats();
        assert_eq!((stats.runs, stats.segment_entries), (1, catalog), "{stats}");
        assert_eq!(count(&place), 0);
    }
}

/// A small budget bounds memory and nothing else: what is there may be many times as much.
#[test]
fn far_more_than_the_budget_can_be_written_and_read_back() {
    for (budget, bytes) in [(1 << 20, 500), (16 << 20, 4000)] {
        let options = |options: Options| options.memory_budget(budget).access(Access::Positioned);
        let (place, mut dice) = (Place::new(options), Dice::new(9));
        let value = |n: u32| Val { tag: n, len: bytes + n % 100 }.bytes();
        let within = |what: &str| {
            let stats = place.stats();
            let memory = stats.memtable_bytes + stats.cache_bytes;
            assert!(memory <= budget, "{what}: {memory} bytes in memory, the budget is {budget}");
        };
        for (count, n) in shuffled(&mut dice).into_iter().enumerate() {
            place.c.insert(key(n), value(n)).unwrap();
            if count % 1000 == 0 {
                within("writing");
            }
        }
        let all = u64::from(KEYS) * u64::from(bytes);
        assert!(all > 4 * budget, "{all} bytes are far more than {budget}");
        let mut walk = place.c.iter();
        for n in 0..KEYS {
            let (found, bytes) = walk.next().unwrap().unwrap();
            assert!(found == key(n).as_bytes() && bytes == value(n), "the pair of {n}");
        }
        assert!(walk.next().is_none());
        within("walking");
        for n in shuffled(&mut dice).into_iter().take(4000) {
            assert_eq!(place.c.get(key(n)).unwrap().as_deref(), Some(&value(n)[..]));
        }
        within("reading");
    }
}

/// Bytes of all files, as their lengths say.
fn folder_bytes(world: &Sim) -> u64 {
    world.list_all().iter().map(|(_, bytes)| bytes).sum()
}

/// BLOB-12, MACE-14: large values are written once, and what overwrites them by a skewed choice never
/// makes the folder half as large again as what lives in it.
#[test]
fn large_values_are_written_once_and_their_garbage_stays_small() {
    const LARGE: u32 = 4000;
    const BYTES: u32 = 4096;
    let place = Place::new(|options| options.slab_bytes(16 << 10));
    let value = |n: u32, round: u32| Val { tag: round * LARGE + n, len: BYTES }.bytes();
    let mut dice = Dice::new(12);
    for n in shuffled(&mut dice).into_iter().filter(|n| *n < LARGE) {
        place.c.insert(key(n), value(n, 0)).unwrap();
        if n % 8 == 0 {
            place.world.help();
        }
    }
    place.rest();
    let stats = place.stats();
    let user = u64::from(LARGE) * u64::from(8 + BYTES);
    let written =
        stats.bytes_logged + stats.bytes_flushed + stats.bytes_compacted + stats.bytes_cleaned;
    let amplified = written * 100 / user;
    assert!(amplified <= 110, "{written} bytes for {user}: {stats}");

    let mut rounds = vec![0; LARGE as usize];
    let mut most = 0;
    for count in 0..3 * LARGE {
        let below = 1 + dice.below(u64::from(LARGE));
        let n = dice.below(below) as u32;
        rounds[n as usize] += 1;
        place.c.insert(key(n), value(n, rounds[n as usize])).unwrap();
        if count % 8 == 0 {
            place.world.help();
        }
        if count % 100 == 0 && count > LARGE {
            most = most.max(folder_bytes(&place.world));
        }
    }
    place.rest();
    let (rest, live) = (folder_bytes(&place.world), u64::from(LARGE) * u64::from(BYTES));
    let stats = place.stats();
    let (most_percent, rest_percent) = (most * 100 / live, rest * 100 / live);
    eprintln!("written {amplified} %; space {most_percent} % at most, {rest_percent} % at rest");
    assert!(most_percent <= 150, "{most} bytes for {live}: {stats}");
    assert!(rest_percent <= 130, "{rest} bytes for {live}: {stats}");
    for n in (0..LARGE).step_by(7) {
        assert_eq!(place.c.get(key(n)).unwrap().unwrap(), value(n, rounds[n as usize]));
    }
    assert!(place.db.verify().unwrap().is_whole());
}
