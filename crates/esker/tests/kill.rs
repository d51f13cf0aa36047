//! Kill -9 of a real process that writes, many times over the same database (F-14).
//!
//! ```text
//!   parent                                   child (this test binary again, told by ENV_DIR)
//!   ──────                                   ─────────────────────────────────────────────
//!   start ─────────────────────────────────▶ open: recovers what the last kill left
//!                                            each thread: turn n ─▶ acknowledged ─▶ log n ─▶ n + 1
//!   after so many acknowledgements, or
//!   after so much time: SIGKILL ───────────▶ ✝
//!   open, read everything, close or drop
//! ```
//!
//! 1. What turn `n` of a thread does follows from the seed, the thread and `n` alone ([`Turn`]), and
//!    each thread has keys of its own. So the parent knows what must be there after `n` turns.
//! 2. A turn is acknowledged by four bytes appended to a file with one `write`, after the call to
//!    the database has returned and before the next begins: the kernel owns them, a kill cannot take
//!    them back.
//! 3. After `n` acknowledgements the thread's keys are as after `n` turns or, if the kill fell between
//!    return and acknowledgement or into the call, as after `n + 1`: whole, or not at all (law 2).
//! 4. Slabs are tiny, so that kills fall into flushes, compactions, roll-overs and recovery too.
//!
//! `ESKER_LONG=1` kills twenty times as often.

#![expect(clippy::disallowed_methods, reason = "processes, files and time are what it is about")]
#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

use esker::operators::Max;
use esker::{Access, Collection, Compression, Db, Durability, MergeOperator, Options, Settings};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const THREADS: u32 = 3;
const COLLECTIONS: [&str; 3] = ["one", "two", "three"];
/// Values from this length on are out of line: every fourth.
const LARGE: usize = 300;
const ENV_DIR: &str = "ESKER_TEST_KILL_DIR";
const ENV_SEED: &str = "ESKER_TEST_KILL_SEED";

/// A small deterministic stream of numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// One operation: collection, key, and what is done to it.
type Step = (usize, String, What);

enum What {
    Put(Vec<u8>),
    /// The larger of it and what is there: a turn that is done once more makes no difference.
    Merge(Vec<u8>),
    Remove,
}

/// What one turn of one thread does.
struct Turn {
    steps: Vec<Step>,
    durability: Durability,
}

impl Turn {
    fn of(seed: u64, thread: u32, turn: u32) -> Self {
        let mut chance = Chance(seed ^ u64::from(thread) << 48 ^ u64::from(turn) << 8);
        let count = if chance.below(3) == 0 { 2 + chance.below(12) } else { 1 };
        let steps = (0..count).map(|_| Self::step(&mut chance, thread, turn)).collect();
        let sync = chance.below(10) == 0;
        let durability = if sync { Durability::Sync } else { Durability::Buffered };
        Self { steps, durability }
    }

    fn step(chance: &mut Chance, thread: u32, turn: u32) -> Step {
        let collection = chance.below(COLLECTIONS.len() as u64) as usize;
        let key = format!("{thread} {:02}", chance.below(50));
        match chance.below(10) {
            0 | 1 => return (collection, key, What::Remove),
            2 | 3 => {
                let operand = format!("turn {} of {turn}", chance.below(4000));
                return (collection, key, What::Merge(operand.into_bytes()));
            }
            _ => {}
        }
        let len = if chance.below(40) == 0 { chance.below(40_000) } else { chance.below(400) };
        let mut value = format!("turn {turn} ").into_bytes();
        // Every other value packs well.
        let packs = chance.below(2) == 0;
        value.extend((0..len).map(|_| if packs { turn as u8 } else { chance.below(256) as u8 }));
        (collection, key, What::Put(value))
    }

    fn run(&self, db: &Db, collections: &[Collection]) -> esker::Result<()> {
        if let [(collection, key, what)] = &self.steps[..] {
            let to = &collections[*collection];
            return match what {
                What::Put(value) => to.insert_with(key, value, self.durability),
                What::Merge(operand) => to.merge_with(key, operand, self.durability),
                What::Remove => to.remove_with(key, self.durability),
            };
        }
        let mut batch = db.batch();
        for (collection, key, what) in &self.steps {
            let to = &collections[*collection];
            match what {
                What::Put(value) => batch.insert(to, key, value)?,
                What::Merge(operand) => batch.merge(to, key, operand)?,
                What::Remove => batch.remove(to, key)?,
            }
        }
        batch.commit_with(self.durability)
    }
}

/// What a thread's keys hold: by collection and key.
type Model = BTreeMap<(usize, String), Vec<u8>>;

fn apply(model: &mut Model, turn: &Turn) {
    for (collection, key, what) in &turn.steps {
        let place = (*collection, key.clone());
        match what {
            What::Put(value) => drop(model.insert(place, value.clone())),
            What::Merge(operand) => {
                let value = model.entry(place).or_default();
                if *value < *operand {
                    value.clone_from(operand);
                }
            }
            What::Remove => drop(model.remove(&place)),
        }
    }
}

fn options(access: Access) -> Options {
    Db::options()
        .slab_bytes(64 << 10)
        .memory_budget(2 << 20)
        .sync_interval(Some(Duration::from_millis(20)))
        .blob_threshold(LARGE)
        .blob_compression(Compression::Lz4)
        .access(access)
}

fn acknowledgements(dir: &Path, thread: u32) -> PathBuf {
    dir.join(format!("acknowledged-{thread}"))
}

/// How many turns of a thread were acknowledged; half a number does not count.
fn acknowledged(dir: &Path, thread: u32) -> u32 {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(acknowledgements(dir, thread)) {
        file.read_to_end(&mut bytes).unwrap();
    }
    let (numbers, _) = bytes.as_chunks::<4>();
    for (index, number) in numbers.iter().enumerate() {
        assert_eq!(u32::from_le_bytes(*number) as usize, index + 1, "turns in order");
    }
    numbers.len() as u32
}

fn access(seed: u64) -> Access {
    if seed.is_multiple_of(2) { Access::Mapped } else { Access::Positioned }
}

/// The child: writes until it is killed. By itself, without being told a folder, it does nothing.
#[test]
fn a_writer_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(ENV_DIR) else { return };
    let seed = std::env::var(ENV_SEED).unwrap().parse().unwrap();
    let dir = PathBuf::from(dir);
    let db = options(access(seed)).open(dir.join("db")).unwrap();
    let settings = Settings::default().merge_operator(Max.name());
    let collections = COLLECTIONS.map(|name| db.collection_with(name, &settings).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, collections, dir) = (&db, &collections, &dir);
            scope.spawn(move || {
                let mut next = acknowledged(dir, thread) + 1;
                let path = acknowledgements(dir, thread);
                let mut log = OpenOptions::new().append(true).create(true).open(path).unwrap();
                loop {
                    Turn::of(seed, thread, next).run(db, collections).unwrap();
                    log.write_all(&next.to_le_bytes()).unwrap();
                    next += 1;
                }
            });
        }
    });
}

/// The parent's side of one database.
struct Lane {
    dir: tempfile::TempDir,
    seed: u64,
    chance: Chance,
    /// What each thread's keys held after its last turn that is known to be done.
    models: Vec<Model>,
    turns: Vec<u32>,
    in_flight: u64,
    replayed: u64,
    torn: u64,
    orphans: u64,
    /// Files of large values, at all looks together.
    blobs: u64,
}

impl Lane {
    fn new(seed: u64) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            seed,
            chance: Chance(seed),
            models: vec![Model::new(); THREADS as usize],
            turns: vec![0; THREADS as usize],
            in_flight: 0,
            replayed: 0,
            torn: 0,
            orphans: 0,
            blobs: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("db")
    }

    fn acknowledged_bytes(&self) -> u64 {
        let bytes = |thread| {
            std::fs::metadata(acknowledgements(self.dir.path(), thread)).map_or(0, |m| m.len())
        };
        (0..THREADS).map(bytes).sum()
    }

    /// Starts a child and kills it: after some time, often while it still recovers, or after some
    /// acknowledgements.
    fn kill_one(&mut self) {
        let before = self.acknowledged_bytes();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_writer_writes_until_it_is_killed", "--nocapture"])
            .env(ENV_DIR, self.dir.path())
            .env(ENV_SEED, self.seed.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        if self.chance.below(4) == 0 {
            let after = Duration::from_micros(self.chance.below(30_000));
            self.wait(&mut child, || started.elapsed() >= after);
        } else {
            let wanted = before + 4 * (1 + self.chance.below(600));
            let patience = Duration::from_secs(20);
            self.wait(&mut child, || {
                self.acknowledged_bytes() >= wanted || started.elapsed() > patience
            });
            assert!(self.acknowledged_bytes() > before, "{self}: it wrote nothing in 20 s");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn wait(&self, child: &mut Child, done: impl Fn() -> bool) {
        while !done() {
            if let Some(status) = child.try_wait().unwrap() {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("{self}: the writer ended by itself with {status}: {said}");
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// Opens what the kill left and compares it with what was acknowledged.
    fn check(&mut self, kill: u32) {
        // Reading changes nothing: the next child then recovers the same remains once more.
        let read_only = kill.is_multiple_of(3) && self.path().join("LOCK").exists() && kill > 3;
        let options = options(access(self.seed)).read_only(read_only);
        let db = match options.open(self.path()) {
            Ok(db) => db,
            Err(error) => panic!("{self}, kill {kill}, read-only {read_only}: {error}"),
        };
        self.replayed += db.recovery().operations_replayed;
        self.torn += db.recovery().torn.len() as u64;
        self.orphans += db.recovery().orphans_removed.len() as u64;
        self.blobs += db.stats().blobs;
        let found = Self::read(&db);
        for (thread, own) in found.iter().enumerate().take(THREADS as usize) {
            let turns = acknowledged(self.dir.path(), thread as u32);
            while self.turns[thread] < turns {
                self.turns[thread] += 1;
                let turn = Turn::of(self.seed, thread as u32, self.turns[thread]);
                apply(&mut self.models[thread], &turn);
            }
            if *own == self.models[thread] {
                continue;
            }
            let mut next = self.models[thread].clone();
            apply(&mut next, &Turn::of(self.seed, thread as u32, turns + 1));
            if *own != next {
                self.complain(kill, thread, own);
            }
            self.in_flight += 1;
        }
        let report = db.verify().unwrap();
        assert!(report.is_whole(), "{self}, kill {kill}: {report:?}");
        if self.chance.below(2) == 0 {
            db.close().unwrap();
        }
    }

    /// All pairs of each thread, by scanning forward; gets and backward scans must agree.
    fn read(db: &Db) -> Vec<Model> {
        let mut found = vec![Model::new(); THREADS as usize];
        for (index, name) in COLLECTIONS.iter().enumerate() {
            let Some(collection) = db.existing_collection(name).unwrap() else { continue };
            let mut keys = Vec::new();
            for pair in collection.iter() {
                let (key, value) = pair.unwrap();
                let text = String::from_utf8(key.to_vec()).unwrap();
                assert_eq!(collection.get(&text).unwrap().as_ref(), Some(&value), "{text}");
                let mut piecewise = Vec::new();
                collection.reader(&text).unwrap().unwrap().read_to_end(&mut piecewise).unwrap();
                assert!(value == piecewise, "{text}");
                let thread: usize = text.split(' ').next().unwrap().parse().unwrap();
                found[thread].insert((index, text), value.to_vec());
                keys.push(key);
            }
            let back: Vec<_> = collection.iter().rev().map(|pair| pair.unwrap().0).collect();
            assert!(back.iter().rev().eq(&keys), "a backward scan has the same keys");
        }
        found
    }

    fn complain(&self, kill: u32, thread: usize, own: &Model) {
        let model = &self.models[thread];
        let text = |value: Option<&Vec<u8>>| {
            value.map_or("nothing".into(), |value| value.escape_ascii().to_string())
        };
        for key in model.keys().chain(own.keys()) {
            let [want, found] = [model.get(key), own.get(key)].map(text);
            if want != found {
                let cut = |text: &str| text.chars().take(30).collect::<String>();
                println!("{key:?}: want {}, found {}", cut(&want), cut(&found));
            }
        }
        panic!(
            "{self}, kill {kill}: thread {thread} is neither as after its {} acknowledged turns \
             nor as after one more",
            self.turns[thread]
        );
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, {:?}, turns {:?}", self.seed, access(self.seed), self.turns)
    }
}

fn run_lane(seed: u64) {
    let long = std::env::var_os("ESKER_LONG").is_some();
    let kills = if long { 3000 } else { 150 };
    let started = Instant::now();
    let mut lane = Lane::new(seed);
    for kill in 1..=kills {
        lane.kill_one();
        lane.check(kill);
    }
    println!(
        "F-14 {lane}: {kills} kills in {:.1} s, {} of them with a write in flight that survived; \
         {} operations replayed, {} torn tails, {} orphans removed, {} files of large values seen",
        started.elapsed().as_secs_f32(),
        lane.in_flight,
        lane.replayed,
        lane.torn,
        lane.orphans,
        lane.blobs,
    );
    assert!(lane.blobs > u64::from(kills), "{lane}: too few large values to be a test");
    assert!(lane.turns.iter().sum::<u32>() > kills, "{lane}: too little was written to be a test");
}

/// F-14, with logs written through a map: no system call stands between a write and its survival.
#[test]
fn every_acknowledged_write_survives_kill_9_with_mapped_logs() {
    run_lane(14_000);
}

/// F-14, with logs written by positioned calls.
#[test]
fn every_acknowledged_write_survives_kill_9_with_positioned_logs() {
    run_lane(14_001);
}
