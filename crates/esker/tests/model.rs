//! The model: random programs against a map that remembers every version, over 64 sets of options.
//!
//! Reads, walks from both ends, snapshots and iterators held over flushes and compactions, clean
//! ends, killed processes, read-only handles; at the end of each program what is live, what is
//! replayed, and their checksums are compared (F-14 in the simulator, F-24, F-25, F-42, F-43, F-45).
//!
//! A failure prints its seed and the shortest program found that still fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod support;

use esker::env::sim::{Loss, Sim};
use esker::{ErrorKind, Range, Snapshot};
use std::collections::VecDeque;
use std::sync::Arc;
use support::program::{Author, Diet, Setup, Step, Walk, dir};
use support::reference::{KeyBytes, Reference, Val, Which};
use support::session::{self, Session, begin, begin_view, same_parts, same_value, wanted};
use support::{Dice, LARGE, Tally, for_seeds, guarded, listed, shrink, wanted_seed};

static TALLY: Tally = Tally::new();

const SETS: u64 = 64;
const PROGRAMS: u64 = 36 * SETS;
const STEPS: usize = 260;
const SLABS: [usize; 4] = [16 << 10, 64 << 10, 96 << 10, 256 << 10];

type Checked<T = ()> = Result<T, String>;

fn text(error: esker::Error) -> String {
    format!("unexpected error: {error}")
}

/// A program under way.
struct Run {
    setup: Setup,
    dice: Dice,
    world: Arc<Sim>,
    session: Session,
    reference: Reference,
    snapshots: Vec<(Snapshot, usize)>,
    walks: Vec<(Range, VecDeque<(KeyBytes, Val)>)>,
}

impl Run {
    fn start(setup: Setup, seed: u64) -> Checked<Self> {
        let world = setup.world(seed);
        let session = Session::open(&world, &setup).map_err(text)?;
        Ok(Self {
            setup,
            dice: Dice::new(seed),
            world,
            session,
            reference: Reference::default(),
            snapshots: Vec::new(),
            walks: Vec::new(),
        })
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Write { changes, how, batch } => {
                for change in changes {
                    self.create(change.which)?;
                }
                self.session.write(changes, *how, *batch).map_err(text)?;
                self.reference.commit(changes);
                TALLY.add("operations", changes.len() as u64 - 1);
            }
            Step::Ingest(changes) => {
                for change in changes {
                    self.create(change.which)?;
                }
                self.session.ingest(changes).map_err(text)?;
                self.reference.commit(changes);
                TALLY.add("ingests", 1);
            }
            Step::Create(which) => self.create(*which)?,
            Step::Get(which, key) => self.get(*which, key)?,
            Step::Ends(which) => self.ends(*which)?,
            Step::Walk(walk) => {
                if self.reference.has(walk.which) {
                    let collection = self.session.collection(walk.which).map_err(text)?;
                    let mut want = wanted(&self.reference, walk, self.reference.version());
                    take(&mut begin(&collection, walk), &mut want, walk)?;
                }
            }
            Step::Begin(walk) => {
                if self.reference.has(walk.which) && self.walks.len() < 6 {
                    let collection = self.session.collection(walk.which).map_err(text)?;
                    let want = wanted(&self.reference, walk, self.reference.version());
                    self.walks.push((begin(&collection, walk), want));
                }
            }
            Step::Take(index, most) => self.take_some(*index, *most)?,
            Step::Snapshot => {
                if self.snapshots.len() < 6 {
                    let version = self.reference.version();
                    self.snapshots.push((self.session.db.snapshot(), version));
                }
            }
            Step::Look(index, walk, key) => self.look(*index, walk, key)?,
            Step::Release(index) => {
                if !self.snapshots.is_empty() {
                    self.snapshots.swap_remove(index % self.snapshots.len());
                }
            }
            Step::Help(units) => (0..*units).for_each(|_| _ = self.world_help()),
            Step::Settle => self.world.settle(),
            Step::Advance(ms) => self.world.advance(std::time::Duration::from_millis(*ms)),
            _ => return self.care(step),
        }
        Ok(())
    }

    fn care(&mut self, step: &Step) -> Checked {
        let db = &self.session.db;
        match step {
            Step::Flush => db.flush().map_err(text)?,
            Step::Compact => db.compact().map_err(text)?,
            Step::Sync => db.sync().map_err(text)?,
            Step::Verify => {
                let report = db.verify().map_err(text)?;
                if !report.is_whole() {
                    return Err(format!("verify found {:?}", report.damages));
                }
            }
            Step::Checksum => drop(db.checksum().map_err(text)?),
            Step::Reopen => {
                self.end()?;
                self.begin_again(true)?;
            }
            Step::Kill => {
                self.session.count_large(&TALLY);
                self.walks.clear();
                self.snapshots.clear();
                self.world = self.world.crash(Loss::None);
                self.begin_again(false)?;
                TALLY.add("kills", 1);
            }
            Step::ReadOnly => self.read_only()?,
            _ => unreachable!("a step of another kind"),
        }
        Ok(())
    }

    fn world_help(&self) -> bool {
        use esker::env::Env as _;
        self.world.help()
    }

    fn create(&mut self, which: Which) -> Checked {
        if !self.reference.has(which) {
            let absent = self.session.db.existing_collection(which.name()).map_err(text)?;
            if absent.is_some() {
                return Err(format!("{which:?} is there before it was created"));
            }
            self.session.collection(which).map_err(text)?;
            self.reference.create(which);
        }
        Ok(())
    }

    fn get(&mut self, which: Which, key: &KeyBytes) -> Checked {
        if !self.reference.has(which) {
            return Ok(());
        }
        let collection = self.session.collection(which).map_err(text)?;
        let want = self.reference.get(which, key, self.reference.version());
        let found = collection.get(&key.0).map_err(text)?;
        same_value(found.as_deref(), want)?;
        if self.dice.one_in(4) {
            let reader = collection.reader(&key.0).map_err(text)?;
            same_parts(|range| collection.get_range(&key.0, range), reader, want, &mut self.dice)?;
        }
        if collection.contains_key(&key.0).map_err(text)? != want.is_some() {
            return Err(format!("contains_key is wrong, want {want:?}"));
        }
        Ok(())
    }

    fn ends(&mut self, which: Which) -> Checked {
        if !self.reference.has(which) {
            return Ok(());
        }
        let collection = self.session.collection(which).map_err(text)?;
        let pairs: Vec<_> = self.reference.pairs(which, self.reference.version()).collect();
        let ends = [
            (collection.first().map_err(text)?, pairs.first()),
            (collection.last().map_err(text)?, pairs.last()),
        ];
        for (found, want) in ends {
            same_pair(found, want.map(|(key, val)| ((*key).clone(), *val)))?;
        }
        Ok(())
    }

    fn take_some(&mut self, index: usize, most: usize) -> Checked {
        if self.walks.is_empty() {
            return Ok(());
        }
        let index = index % self.walks.len();
        let (range, want) = &mut self.walks[index];
        let done = want.len() < most;
        let any = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let backward = self.dice.next();
        let walk = Walk { which: Which(0), bounds: any, prefix: false, backward, most };
        take(range, want, &walk)?;
        if done {
            drop(self.walks.swap_remove(index));
        }
        Ok(())
    }

    /// F-43: a snapshot sees its version until it is released.
    fn look(&mut self, index: usize, walk: &Walk, key: &KeyBytes) -> Checked {
        if self.snapshots.is_empty() || !self.reference.has(walk.which) {
            return Ok(());
        }
        let (snapshot, version) = &self.snapshots[index % self.snapshots.len()];
        let collection = self.session.collection(walk.which).map_err(text)?;
        let view = collection.at(snapshot);
        let mut want = wanted(&self.reference, walk, *version);
        take(&mut begin_view(&view, walk), &mut want, walk)?;
        let found = view.get(&key.0).map_err(text)?;
        let want = self.reference.get(walk.which, key, *version);
        same_value(found.as_deref(), want)?;
        let reader = view.reader(&key.0).map_err(text)?;
        same_parts(|range| view.get_range(&key.0, range), reader, want, &mut self.dice)
    }

    /// Closes. Iterators that were open stay usable; the handle does not.
    fn end(&mut self) -> Checked {
        self.snapshots.clear();
        self.session.count_large(&TALLY);
        let db = self.session.db.clone();
        db.close().map_err(text)?;
        while !self.walks.is_empty() {
            self.take_some(0, usize::MAX)?;
        }
        let refused = self.session.db.sync().unwrap_err();
        if refused.kind() != ErrorKind::InvalidArgument {
            return Err(format!("a closed database says {refused}"));
        }
        Ok(())
    }

    fn begin_again(&mut self, clean: bool) -> Checked {
        self.setup.prepare(&self.world);
        self.session = Session::open(&self.world, &self.setup).map_err(text)?;
        let report = self.session.db.recovery();
        if report.clean != clean || !report.torn.is_empty() || report.created {
            return Err(format!("the report of an open (clean: {clean}) says: {report:?}"));
        }
        self.compare()
    }

    fn compare(&self) -> Checked {
        let want = self.reference.sum();
        let names: Vec<String> = self.reference.names().into_iter().collect();
        let found = self.session.db.collections().map_err(text)?;
        if found != names {
            return Err(format!("collections {found:?}, want {names:?}"));
        }
        if self.session.fingerprint().map_err(text)? != want {
            return Err(self.difference("forward"));
        }
        if self.session.fingerprint_backward().map_err(text)? != want {
            return Err(self.difference("backward"));
        }
        Ok(())
    }

    /// What differs, pair by pair.
    fn difference(&self, how: &str) -> String {
        for which in Which::all().filter(|which| self.reference.has(*which)) {
            let mut want = self.reference.pairs(which, self.reference.version());
            let Ok(collection) = self.session.collection(which) else { continue };
            for pair in collection.iter() {
                let found = match pair {
                    Ok(found) => found,
                    Err(error) => return text(error),
                };
                let want = want.next().map(|(key, val)| (key.clone(), val));
                if let Err(difference) = same_pair(Some(found), want) {
                    return format!("{how}, in {which:?}: {difference}");
                }
            }
            if let Some((key, val)) = want.next() {
                return format!("{how}, in {which:?}: {key:?} = {val:?} is missing");
            }
        }
        format!("the dump {how} differs from itself forward")
    }

    /// F-42: a read-only handle sees all, writes nothing, and says so.
    fn read_only(&mut self) -> Checked {
        self.end()?;
        let before = (self.world.calls(), self.world.fingerprint());
        let options = self.setup.options(&self.world).read_only(true);
        let db = options.open(dir()).map_err(text)?;
        let reader = Session { world: self.world.clone(), db };
        if reader.fingerprint().map_err(text)? != self.reference.sum() {
            return Err("a read-only handle sees something else".into());
        }
        let refused = reader.db.sync().unwrap_err();
        if refused.kind() != ErrorKind::ReadOnly {
            return Err(format!("a read-only handle says {refused}"));
        }
        let busy = self.setup.options(&self.world).open(dir()).err();
        if busy.as_ref().map(esker::Error::kind) != Some(ErrorKind::Busy) {
            return Err(format!("a second opener is told {busy:?}"));
        }
        drop(reader);
        let lock_calls = 1;
        if self.world.calls() > before.0 + 2 * lock_calls || self.world.fingerprint() != before.1 {
            return Err("a read-only handle changed the disk".into());
        }
        TALLY.add("read-only opens", 1);
        self.begin_again(true)
    }

    fn finish(&mut self) -> Checked {
        self.compare()?;
        let live = self.session.db.checksum().map_err(text)?;
        for clean in [true, false] {
            if clean {
                self.end()?;
            } else {
                self.walks.clear();
                self.world = self.world.crash(Loss::None);
            }
            self.begin_again(clean)?;
            let replayed = self.session.db.checksum().map_err(text)?;
            if live != replayed {
                return Err(format!("live checksum {live}, replayed {replayed}, clean: {clean}"));
            }
        }
        self.world.settle();
        self.care(&Step::Verify)?;
        session::check_files(&self.world)?;
        if self.world.panics() > 0 {
            return Err("a worker panicked".into());
        }
        let stats = self.session.db.stats();
        TALLY.add("segments at the end", stats.segments);
        Ok(())
    }
}

/// Takes what a walk asks for, and compares each pair.
fn take(range: &mut Range, want: &mut VecDeque<(KeyBytes, Val)>, walk: &Walk) -> Checked {
    for turn in 0..walk.most {
        let back = walk.backward >> (turn % 64) & 1 == 1;
        let (found, want) = if back {
            (range.next_back(), want.pop_back())
        } else {
            (range.next(), want.pop_front())
        };
        let ended = want.is_none();
        same_pair(found.transpose().map_err(text)?, want)?;
        if ended {
            let rest = (range.next(), range.next_back());
            return match rest {
                (None, None) => Ok(()),
                rest => Err(format!("a walk goes on after its end: {rest:?}")),
            };
        }
    }
    Ok(())
}

fn same_pair(found: Option<(esker::Key, esker::Value)>, want: Option<(KeyBytes, Val)>) -> Checked {
    let found_key = found.as_ref().map(|(key, _)| key.to_vec());
    let want_key = want.as_ref().map(|(key, _)| key.0.to_vec());
    if found_key != want_key {
        return Err(format!("found the pair of {found_key:?}, want {want:?}"));
    }
    same_value(found.as_ref().map(|(_, value)| &**value), want.map(|(_, val)| val))
}

fn run(setup: Setup, seed: u64, program: &[Step]) -> Checked {
    let mut run = Run::start(setup, seed)?;
    let mut parts = 0;
    for (index, step) in program.iter().enumerate() {
        run.step(step).map_err(|failure| format!("at step {index}, {step:?}: {failure}"))?;
        if run.dice.one_in(4) {
            run.world_help();
        }
        // A count of the open: it begins again with the next.
        let parts_now = run.session.db.stats().compaction_parts;
        TALLY.add("parts of compactions", parts_now.saturating_sub(parts));
        parts = parts_now;
    }
    run.finish()
}

fn diet(dice: &mut Dice) -> Diet {
    let plain = Diet {
        write: 45,
        read: 35,
        snapshot: 8,
        maintain: 4,
        help: 6,
        reopen: 1,
        batch: 12,
        huge: 2,
        large: 40,
    };
    match dice.below(5) {
        0 => Diet { write: 80, read: 15, maintain: 2, huge: 20, batch: 40, ..plain },
        1 => Diet { write: 30, read: 30, maintain: 15, snapshot: 20, large: 300, ..plain },
        2 => Diet { write: 30, read: 20, reopen: 8, large: 200, ..plain },
        // Hardly anything but large values, which come, are overwritten, and go.
        3 => Diet { write: 50, read: 10, maintain: 12, reopen: 3, large: 850, ..plain },
        _ => plain,
    }
}

fn one(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::numbered(dice.below(SETS), &SLABS);
    let diet = diet(&mut dice);
    let program = Author::new(&mut dice, diet, setup.slab).program(STEPS);
    TALLY.add("operations", program.len() as u64);
    TALLY.add("programs", 1);
    let failure = match guarded(|| run(setup, seed, &program)) {
        Ok(()) => return Ok(()),
        Err(failure) => failure,
    };
    let shortest = shrink(&program, |part| guarded(|| run(setup, seed, part)).is_err());
    let last = guarded(|| run(setup, seed, &shortest)).err().unwrap_or(failure);
    Err(format!("{last}\n  {setup:?}\n  shrunk to {} steps:{}", shortest.len(), listed(&shortest)))
}

/// F-14, F-24, F-43, F-45: whatever is done, and however the database is opened, reads answer as a
/// map would, and what is replayed is what was live.
#[test]
fn a_database_behaves_as_a_map_that_remembers_every_version() {
    for_seeds("model", PROGRAMS, one);
    TALLY.print("model");
    if wanted_seed().is_none() {
        TALLY.must_have_seen(&[
            "kills",
            "ingests",
            "read-only opens",
            "segments at the end",
            "parts of compactions",
            "operands folded",
        ]);
        TALLY.must_have_seen(&LARGE);
    }
}

/// F-45: a clock that went back ten years while the database was closed changes nothing.
#[test]
fn a_clock_that_goes_back_between_two_opens_changes_nothing() {
    let setup = Setup::numbered(32, &SLABS);
    let world = setup.world(1);
    world.advance(std::time::Duration::from_secs(10 * 365 * 86_400));
    let session = Session::open(&world, &setup).unwrap();
    let users = session.collection(Which(1)).unwrap();
    for index in 0..500_u32 {
        users.insert(format!("key {}", index % 50), index.to_le_bytes()).unwrap();
        world.settle();
    }
    session.db.flush().unwrap();
    users.insert("key 7", "last").unwrap();
    users.remove("key 8").unwrap();
    let sum = session.fingerprint().unwrap();
    session.db.close().unwrap();
    let earlier = setup.world(2);
    for (path, _) in world.list_all() {
        earlier.write_file(&path, world.read_file(&path).unwrap()).unwrap();
    }
    let session = Session::open(&earlier, &setup).unwrap();
    assert_eq!(session.fingerprint().unwrap(), sum);
    session.db.compact().unwrap();
    assert_eq!(session.fingerprint().unwrap(), sum);
    let users = session.collection(Which(1)).unwrap();
    assert_eq!(users.get("key 7").unwrap().as_deref(), Some(&b"last"[..]));
    assert_eq!(users.get("key 8").unwrap().as_deref(), None);
}

/// The same seed twice ends in the same world, byte for byte.
#[test]
fn the_same_seed_twice_ends_in_the_same_world() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let setup = Setup::any(&mut dice, &SLABS);
        let diet = diet(&mut dice);
        let program = Author::new(&mut dice, diet, setup.slab).program(60);
        let worlds = [(); 2].map(|()| {
            let mut run = Run::start(setup, seed).unwrap();
            program.iter().for_each(|step| run.step(step).unwrap());
            run.world.fingerprint()
        });
        assert_eq!(worlds[0], worlds[1], "seed {seed}");
    }
}
