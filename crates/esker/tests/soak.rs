//! A day in the life of a database, in simulated time: loads change, things fail, it is restarted.
//!
//! ```text
//!   phase = 10 minutes: a load × (no trouble │ faults │ no space │ dies) ─▶ healed ─▶ checked
//!           ─▶ goes on │ closed │ dropped │ crash × loss ─▶ opened with other options ─▶ checked ─▶ …
//! ```
//!
//! 1. What a phase does comes from the seed and its number alone; so any choice of phases is a run,
//!    and a failure is told with the fewest last phases that still fail.
//! 2. What is acknowledged is there until the process ends; what was promised is there for good; and
//!    what is there is always one version of the reference. At most one batch is in doubt.
//! 3. Once a trouble is over writes go on, unless the database has said that it is read-only now.
//! 4. Snapshots and iterators are held over phases, and see what they saw.
//!
//! `ESKER_LONG=n` is n days, each of another seed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod support;

use esker::env::Env as _;
use esker::env::sim::{Calls, Errno, Fault, Loss, Sim, Trouble};
use esker::{Durability, Error, ErrorKind, Key, Range, Snapshot, Value};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use support::program::Setup;
use support::reference::{Change, KeyBytes, Reference, Val, Which};
use support::session::{Session, begin, begin_view, check_files, same_value, wanted};
use support::traffic::{LOADS, Load, Traffic, any_walk};
use support::{Dice, Tally, for_seeds, guarded, listed, long, wanted_seed};

static TALLY: Tally = Tally::new();

const PHASES: u64 = 144;
const TICKS: u64 = 30;
const TICK: Duration = Duration::from_secs(20);
const OPERATIONS: u64 = 100;
const SLABS: [usize; 3] = [16 << 10, 32 << 10, 64 << 10];

type Checked<T = ()> = Result<T, String>;

fn text(error: Error) -> String {
    format!("unexpected error: {error}")
}

/// Whether an error may be told when the system fails.
fn fair(error: &Error) -> Checked {
    let fair = matches!(error.kind(), ErrorKind::Io | ErrorKind::ReadOnly | ErrorKind::Busy);
    if fair && !error.to_string().contains("panicked") {
        return Ok(());
    }
    Err(format!("an error of the system is told as {:?}: {error}", error.kind()))
}

/// What goes wrong in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bad {
    Nothing,
    /// Some calls of a class fail, each once.
    Faults(&'static str, Calls),
    /// All calls of a class fail, for a while.
    Outage(&'static str, Calls),
    NoSpace,
    /// The power fails in the middle of a call.
    Dies,
}

const CLASSES: [(&str, Calls); 6] = [
    ("writes that failed", Calls::WRITE),
    ("syncs that failed", Calls::SYNC),
    ("reads that failed", Calls::READ),
    ("opens that failed", Calls::OPEN),
    ("removals that failed", Calls::REMOVE),
    ("creations that failed", Calls::CREATE),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    None,
    Close,
    Drop,
    Crash(Loss),
}

/// A database during its day.
struct Day {
    setup: Setup,
    world: Arc<Sim>,
    session: Option<Session>,
    reference: Reference,
    /// The newest version that no loss may take.
    durable: usize,
    /// The newest version that was acknowledged; the reference may have one more, in doubt.
    acknowledged: usize,
    snapshots: Vec<(Snapshot, usize)>,
    walks: Vec<(Range, VecDeque<(KeyBytes, Val)>)>,
    /// Planned faults: their name, their calls, the number of the one that fails.
    planned: Vec<(&'static str, Calls, u64)>,
    /// Whether calls may fail now.
    trouble: bool,
    /// Whether there was trouble since the open.
    blamed: bool,
    /// Whether a call was refused since the trouble began.
    hit: bool,
    /// Whether the disk is bounded now.
    bounded: bool,
    /// Whether what a failed sync lost was evicted since the open.
    evicted: bool,
    traffic: Traffic,
    /// The number of the last write of the last tick. The log's marks have numbers above it.
    written: u64,
    dice: Dice,
}

impl Day {
    fn begin(seed: u64) -> Checked<Self> {
        let mut dice = Dice::new(seed);
        let setup = any_setup(&mut dice);
        let world = setup.world(seed);
        let mut day = Self {
            setup,
            session: Some(Session::open(&world, &setup).map_err(text)?),
            world,
            reference: Reference::default(),
            durable: 0,
            acknowledged: 0,
            snapshots: Vec::new(),
            walks: Vec::new(),
            planned: Vec::new(),
            trouble: false,
            blamed: false,
            hit: false,
            bounded: false,
            evicted: false,
            traffic: Traffic::default(),
            written: 0,
            dice,
        };
        for which in Which::all() {
            day.session()?.collection(which).map_err(text)?;
            day.reference.create(which);
        }
        day.session()?.db.sync().map_err(text)?;
        day.settled();
        Ok(day)
    }

    fn session(&self) -> Checked<&Session> {
        self.session.as_ref().ok_or_else(|| "no session".into())
    }

    /// Everything acknowledged is promised, and nobody needs what was before.
    fn settled(&mut self) {
        self.acknowledged = self.reference.version();
        self.durable = self.acknowledged;
        if self.snapshots.is_empty() {
            self.reference.forget_history();
            (self.acknowledged, self.durable) = (0, 0);
        }
    }

    fn is_in_doubt(&self) -> bool {
        self.reference.version() > self.acknowledged
    }

    fn is_final(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.db.stats().read_only)
    }

    /// Whether nothing can be written until a restart.
    fn is_over(&self) -> bool {
        self.world.is_dead() || self.is_in_doubt() || self.is_final()
    }

    /// An error is fair while there is trouble, or after one that was final; else it is a failure.
    fn told(&mut self, error: Error) -> Checked {
        let is_fair = self.trouble || self.world.is_dead() || self.blamed && self.is_final();
        if !is_fair {
            return Err(text(error));
        }
        self.hit = true;
        fair(&error)
    }

    fn phase(&mut self, seed: u64, number: u64, trace: &mut Vec<String>) -> Checked {
        self.dice = Dice::new(seed ^ Dice::new(number).next());
        let load = if self.dice.one_in(4) { Load::Mixed } else { self.dice.pick(&LOADS) };
        let bad = self.any_bad();
        let end = self.any_end(bad);
        let from = self.dice.below(TICKS);
        let until = from + 1 + self.dice.below(8);
        let Setup { slab, access, sync, interval, background, .. } = self.setup;
        trace.push(format!(
            "phase {number}: {load:?}, {bad:?} from {from} to {until}, then {end:?}; {slab} \
             {access:?} sync: {sync} {interval:?} background: {background}"
        ));
        for tick in 0..TICKS {
            if tick == from {
                self.begin_trouble(bad);
            }
            if tick == until {
                self.end_trouble()?;
            }
            if self.session.is_some() && !self.is_over() {
                self.tick(load)?;
            }
            let is_calm = !self.dice.one_in(4) && !self.world.is_dead();
            if is_calm {
                self.world.settle();
            }
            self.world.advance(TICK);
            if is_calm {
                self.world.settle();
                self.is_synced()?;
            }
        }
        // An end may come amid the trouble.
        if until < TICKS || !self.dice.one_in(3) || end == End::None {
            self.end_trouble()?;
        }
        if !self.world.is_dead() {
            self.check()?;
        }
        self.end(end)
    }

    fn any_bad(&mut self) -> Bad {
        let (name, calls) = self.dice.pick(&CLASSES);
        match self.dice.below(16) {
            0..=5 => Bad::Nothing,
            6..=10 => Bad::Faults(name, calls),
            11 => Bad::Outage(name, calls),
            12..=14 => Bad::NoSpace,
            _ => Bad::Dies,
        }
    }

    fn any_end(&mut self, bad: Bad) -> End {
        let losses = [Loss::None, Loss::All, Loss::Pieces, Loss::Torn];
        match self.dice.below(12) {
            _ if bad == Bad::Dies => End::Crash(self.dice.pick(&losses[1..])),
            0..=4 => End::None,
            5 | 6 => End::Close,
            7 => End::Drop,
            _ => End::Crash(self.dice.pick(&losses)),
        }
    }

    fn begin_trouble(&mut self, bad: Bad) {
        self.hit = false;
        self.trouble = bad != Bad::Nothing;
        self.blamed |= self.trouble;
        let world = self.world.clone();
        match bad {
            Bad::Nothing => {}
            Bad::Faults(name, on) => {
                for _ in 0..=self.dice.below(3) {
                    let n = world.count(on) + 1 + self.dice.below(30);
                    let trouble = self.any_trouble(on);
                    world.fail_at(n, Fault { trouble, on });
                    self.planned.push((name, on, n));
                }
            }
            Bad::Outage(name, on) => {
                let n = world.count(on) + 1 + self.dice.below(10);
                let errno = self.dice.pick(&[Errno::Io, Errno::NoSpace, Errno::TooManyFiles]);
                world.fail_from(n, Fault::refuse(errno, on));
                self.planned.push((name, on, n));
            }
            Bad::NoSpace => {
                let used: u64 = world.list_all().iter().map(|(_, bytes)| bytes).sum();
                world.set_capacity(Some(used + self.dice.below(1 << 16)));
                self.bounded = true;
            }
            Bad::Dies => world.crash_at(world.calls() + 1 + self.dice.below(200)),
        }
    }

    fn any_trouble(&mut self, on: Calls) -> Trouble {
        let errnos = [Errno::Io, Errno::NoSpace, Errno::Quota, Errno::TooManyFiles];
        let plain = Trouble::Refuse(self.dice.pick(&errnos));
        let stall = Trouble::Stall(Duration::from_secs(5));
        let odd = match on {
            Calls::WRITE => [Trouble::Full, Trouble::Short, Trouble::Zero],
            Calls::SYNC => [Trouble::DropPages, Trouble::DropPages, stall],
            Calls::READ => [Trouble::Short, Trouble::Refuse(Errno::Interrupted), stall],
            _ => [plain, plain, stall],
        };
        if self.dice.coin() { plain } else { self.dice.pick(&odd) }
    }

    /// The trouble is over; if nothing has become final, all works again.
    fn end_trouble(&mut self) -> Checked {
        if self.world.is_dead() || !self.trouble {
            return Ok(());
        }
        if self.bounded && self.session.is_some() {
            self.promise(|session| session.db.flush())?;
            TALLY.add("times without space", u64::from(self.hit));
        }
        self.heal();
        if self.session.is_none() || self.is_over() {
            return Ok(());
        }
        // A failed job is tried again after a pause.
        self.world.advance(Duration::from_secs(1));
        self.world.settle();
        if !self.is_over() {
            let changes = self.changes(Load::Uniform);
            self.write(changes, None)?;
            self.promise(|session| session.db.flush())?;
        }
        Ok(())
    }

    fn heal(&mut self) {
        for (name, on, n) in std::mem::take(&mut self.planned) {
            let was_hit = self.world.count(on) >= n;
            TALLY.add(name, u64::from(was_hit));
            TALLY.add("faults that hit", u64::from(was_hit));
            if on == Calls::SYNC {
                self.world.evict();
                self.evicted = true;
            }
        }
        self.trouble = false;
        self.bounded = false;
        self.world.heal();
        self.world.set_capacity(None);
        self.setup.prepare(&self.world);
    }

    /// What the interval promises: all that was written by then is on disk (F-14).
    fn is_synced(&mut self) -> Checked {
        if self.session.is_none() || self.is_over() {
            return Ok(());
        }
        let stats = self.session()?.db.stats();
        if stats.durable >= self.written {
            self.durable = self.acknowledged;
        } else if self.setup.interval.is_some() && !self.trouble {
            return Err(format!("at rest {} of {} is durable", stats.durable, self.written));
        }
        Ok(())
    }

    fn tick(&mut self, load: Load) -> Checked {
        for _ in 0..OPERATIONS {
            if self.is_in_doubt() || self.world.is_dead() {
                return Ok(());
            }
            let load = if load == Load::Mixed { self.dice.pick(&LOADS) } else { load };
            TALLY.add("operations", 1);
            if self.dice.below(10) < 3 {
                self.get(load)?;
            } else {
                let changes = self.changes(load);
                let how = match self.dice.below(16) {
                    0 => Some(Durability::Sync),
                    1 => Some(Durability::Buffered),
                    _ => None,
                };
                if !self.write(changes, how)? && !self.dice.one_in(4) {
                    break;
                }
            }
            if self.dice.one_in(10) {
                self.world.help();
            }
        }
        if self.is_over() {
            return Ok(());
        }
        let changes = self.changes(load);
        if self.write(changes, None)? {
            self.written = self.session()?.db.stats().sequence;
        }
        if self.is_over() {
            return Ok(());
        }
        self.hold()?;
        match self.dice.below(100) {
            0..=4 => self.promise(|session| session.db.flush()),
            5..=8 => self.promise(|session| session.db.sync()),
            9 => self.promise(|session| session.db.compact()),
            _ => Ok(()),
        }
    }

    fn changes(&mut self, load: Load) -> Vec<Change> {
        self.traffic.changes(load, self.setup.slab, &mut self.dice)
    }

    /// Answers whether it was acknowledged.
    fn write(&mut self, changes: Vec<Change>, how: Option<Durability>) -> Checked<bool> {
        let batch = changes.len() > 1;
        self.reference.commit(&changes);
        let error = match self.session()?.write(&changes, how, batch) {
            Ok(()) => {
                self.acknowledged = self.reference.version();
                if how.map_or(self.setup.sync, |how| how == Durability::Sync) {
                    self.durable = self.acknowledged;
                }
                return Ok(true);
            }
            Err(error) => error,
        };
        let is_refused = error.kind() == ErrorKind::ReadOnly || !self.is_final();
        if is_refused && !self.world.is_dead() {
            let before = self.reference.version() - 1;
            self.reference.rewind(before);
            TALLY.add("writes refused", 1);
        } else {
            TALLY.add("batches in doubt", 1);
        }
        self.told(error)?;
        Ok(false)
    }

    fn promise(&mut self, act: impl Fn(&Session) -> Result<(), Error>) -> Checked {
        match act(self.session()?) {
            Ok(()) => self.durable = self.acknowledged,
            Err(error) => self.told(error)?,
        }
        Ok(())
    }

    fn get(&mut self, load: Load) -> Checked {
        let (which, key) = self.traffic.any_key(load, &mut self.dice);
        let collection = self.session()?.collection(which).map_err(text)?;
        match collection.get(&key.0) {
            Ok(found) => {
                let want = self.reference.get(which, &key, self.acknowledged);
                same_value(found.as_deref(), want).map_err(|odd| format!("get {key:?}: {odd}"))
            }
            Err(error) => self.told(error),
        }
    }

    /// Takes, uses and lets go of snapshots and iterators.
    fn hold(&mut self) -> Checked {
        if self.dice.one_in(12) && self.snapshots.len() < 3 {
            self.snapshots.push((self.session()?.db.snapshot(), self.acknowledged));
            TALLY.add("snapshots", 1);
        }
        if self.dice.one_in(30) && !self.snapshots.is_empty() {
            let index = self.dice.index(self.snapshots.len());
            drop(self.snapshots.swap_remove(index));
        }
        if self.dice.one_in(12) && self.walks.len() < 4 {
            let walk = any_walk(&mut self.dice);
            let collection = self.session()?.collection(walk.which).map_err(text)?;
            let want = wanted(&self.reference, &walk, self.acknowledged);
            self.walks.push((begin(&collection, &walk), want));
            TALLY.add("iterators", 1);
        }
        if self.dice.one_in(3) && !self.walks.is_empty() {
            let (index, most) = (self.dice.index(self.walks.len()), self.dice.index(400));
            self.walk_on(index, most)?;
        }
        Ok(())
    }

    fn walk_on(&mut self, index: usize, most: usize) -> Checked {
        let (range, want) = &mut self.walks[index];
        match take(range, want, most, &mut self.dice) {
            Ok(Ok(false)) => Ok(()),
            Ok(Ok(true)) => {
                drop(self.walks.swap_remove(index));
                Ok(())
            }
            Ok(Err(odd)) => Err(format!("an iterator: {odd}")),
            Err(error) => {
                drop(self.walks.swap_remove(index));
                self.told(error)
            }
        }
    }

    /// Time passes until the database has come to rest.
    fn wait(&self) {
        for _ in 0..2 {
            self.world.settle();
            self.world.advance(Duration::from_secs(10));
        }
        self.world.settle();
    }

    /// Everything there is, from every point of view.
    fn check(&mut self) -> Checked {
        if self.world.panics() > 0 {
            return Err("a worker panicked".into());
        }
        if self.trouble {
            return Ok(());
        }
        let both = self.dice.one_in(4);
        let session = self.session()?;
        let mut sums = vec![session.fingerprint()];
        if both {
            sums.push(session.fingerprint_backward());
        }
        for sum in sums {
            let sum = sum.map_err(|error| format!("no reads after healing: {error}"))?;
            if !self.reference.versions_of(sum).any(|version| version >= self.acknowledged) {
                let found: Vec<_> = self.reference.versions_of(sum).collect();
                let newest = self.reference.version();
                return Err(format!("live is {found:?} of {newest}, want {}", self.acknowledged));
            }
        }
        for index in 0..self.snapshots.len() {
            let walk = any_walk(&mut self.dice);
            let (snapshot, version) = &self.snapshots[index];
            let view = self.session()?.collection(walk.which).map_err(text)?.at(snapshot);
            let mut want = wanted(&self.reference, &walk, *version);
            let mut range = begin_view(&view, &walk);
            take(&mut range, &mut want, usize::MAX, &mut self.dice)
                .map_err(text)?
                .map_err(|odd| format!("a snapshot of version {version}: {odd}"))?;
        }
        if self.is_over() {
            return Ok(());
        }
        if self.dice.one_in(6) {
            let report = self.session()?.db.verify().map_err(text)?;
            if !report.is_whole() {
                return Err(format!("verify found {:?}", report.damages));
            }
        }
        if self.durable == self.acknowledged {
            self.settled();
        }
        self.rest()
    }

    /// When the last reader of the past goes, what it kept goes too, though nobody writes (F-43).
    fn rest(&mut self) -> Checked {
        if !self.setup.background || self.dice.below(3) > 0 {
            return Ok(());
        }
        self.promise(|session| session.db.flush())?;
        for _ in 0..2 {
            self.wait();
            self.snapshots.clear();
            self.walks.clear();
        }
        self.wait();
        if self.is_over() {
            return Ok(());
        }
        if !self.blamed {
            check_files(&self.world)?;
        }
        let count = |which| self.reference.pairs(which, self.acknowledged).count() as u64;
        let pairs: u64 = Which::all().map(count).sum();
        let stats = self.session()?.db.stats();
        TALLY.add("rests", 1);
        // Not by bytes: that a small value hides a large one is seen only when the two meet.
        if stats.segment_entries > pairs * 3 / 2 + 300 {
            return Err(format!("at rest there is too much for {pairs} pairs:\n{stats}"));
        }
        Ok(())
    }

    fn end(&mut self, end: End) -> Checked {
        let losses = [Loss::All, Loss::Pieces, Loss::Torn];
        let end = match end {
            _ if self.world.is_dead() => End::Crash(self.dice.pick(&losses)),
            End::None if self.is_over() => End::Drop,
            end => end,
        };
        if end == End::None {
            return Ok(());
        }
        TALLY.add("restarts", 1);
        self.harvest()?;
        self.snapshots.clear();
        let (was_final, was_over) = (self.is_final(), self.is_over());
        // Pages that a failed sync dropped were never promised.
        let drops_now = self.planned.iter().any(|(_, on, _)| *on == Calls::SYNC);
        let may_drop = self.evicted && was_final || drops_now;
        let seen = if may_drop { self.durable } else { self.acknowledged };
        let floor = match end {
            End::None => return Ok(()),
            End::Close => {
                let closed = self.session()?.db.clone().close();
                let is_closed = closed.is_ok();
                if let Err(error) = closed {
                    fair(&error)?;
                    if !was_over && !self.trouble {
                        return Err(text(error));
                    }
                }
                while !self.walks.is_empty() {
                    self.walk_on(0, usize::MAX)?;
                }
                if is_closed { self.acknowledged } else { seen }
            }
            End::Drop => seen,
            End::Crash(loss) => {
                let image = self.world.crash_with(loss, self.dice.next());
                TALLY.add("crashes", 1);
                self.walks.clear();
                self.session = None;
                self.heal();
                self.world = image;
                if loss == Loss::None { seen } else { self.durable }
            }
        };
        self.walks.clear();
        self.session = None;
        self.heal();
        self.open(floor).map_err(|failure| format!("after {end:?}: {failure}"))
    }

    /// Counts what the session has done.
    fn harvest(&mut self) -> Checked {
        let Some(session) = &self.session else { return Ok(()) };
        let stats = session.db.stats();
        TALLY.add("steps of compaction", stats.compactions);
        TALLY.add("flushes", stats.flushes);
        TALLY
            .add("bytes written", stats.bytes_logged + stats.bytes_flushed + stats.bytes_compacted);
        Ok(())
    }

    fn open(&mut self, floor: usize) -> Checked {
        self.setup = any_setup(&mut self.dice);
        self.setup.prepare(&self.world);
        (self.blamed, self.evicted) = (false, false);
        let mut was_hit = false;
        if self.dice.one_in(4) {
            // One call of the open may fail; then it is opened again.
            let on = self.dice.pick(&[Calls::ALL, Calls::WRITE, Calls::SYNC, Calls::OPEN]);
            let n = self.world.count(on) + 1 + self.dice.below(12);
            self.world.fail_at(n, Fault::refuse(Errno::Io, on));
            if let Err(error) = Session::open(&self.world, &self.setup) {
                fair(&error)?;
                TALLY.add("opens tried again", 1);
            }
            was_hit = true;
            self.heal();
        }
        let session = Session::open(&self.world, &self.setup).map_err(text)?;
        let sum = session.fingerprint().map_err(text)?;
        let newest = self.reference.version();
        let Some(version) = self.reference.versions_of(sum).find(|version| *version >= floor)
        else {
            let found: Vec<_> = self.reference.versions_of(sum).collect();
            let said = session.db.recovery();
            return Err(format!("found versions {found:?}, want {floor} to {newest}: {said}"));
        };
        TALLY.add("batches lost unpromised", (newest - version) as u64);
        if !was_hit {
            check_files(&self.world)?;
        }
        self.reference.rewind(version);
        self.session = Some(session);
        self.settled();
        Ok(())
    }
}

fn any_setup(dice: &mut Dice) -> Setup {
    let times = [None, Some(100), Some(1000), Some(10_000)];
    let interval = dice.pick(&times).map(Duration::from_millis);
    Setup { interval, sync: dice.one_in(5), ..Setup::any(dice, &SLABS) }
}

type Pair = (Key, Value);

/// Takes up to `most` pairs from either end; answers whether there are no more.
fn take(
    range: &mut Range,
    want: &mut VecDeque<(KeyBytes, Val)>,
    most: usize,
    dice: &mut Dice,
) -> Result<Checked<bool>, Error> {
    let same = |found: Option<Pair>, want: Option<(KeyBytes, Val)>| {
        let keys = (found.as_ref().map(|(key, _)| &**key), want.as_ref().map(|(key, _)| &*key.0));
        if keys.0 != keys.1 {
            return Err(format!("found the pair of {:?}, want {want:?}", keys.0));
        }
        same_value(found.as_ref().map(|(_, value)| &**value), want.map(|(_, val)| val))
    };
    let mut turns = dice.next();
    for turn in 0..most {
        if turn % 64 == 0 {
            turns = dice.pick(&[0, u64::MAX, turns]);
        }
        let (found, want) = if turns >> (turn % 64) & 1 == 1 {
            (range.next_back(), want.pop_back())
        } else {
            (range.next(), want.pop_front())
        };
        let is_end = want.is_none();
        match same(found.transpose()?, want) {
            Ok(()) if is_end => return Ok(Ok(true)),
            Ok(()) => {}
            Err(odd) => return Ok(Err(odd)),
        }
    }
    Ok(Ok(false))
}

/// These phases one after the other; answers how many were done, beside how it went.
fn live(seed: u64, phases: &[u64], trace: &mut Vec<String>) -> (usize, Checked) {
    let mut done = 0;
    let result = guarded(|| {
        let mut day = Day::begin(seed)?;
        for number in phases {
            day.phase(seed, *number, trace)?;
            TALLY.add("phases", 1);
            done += 1;
        }
        let time = TICK * (TICKS as u32) * phases.len() as u32;
        if day.world.now() < time {
            return Err(format!("only {:?} of {time:?} have passed", day.world.now()));
        }
        day.end(End::Close)
    });
    (done, result)
}

fn day(seed: u64) -> Checked {
    let phases: Vec<u64> = (0..PHASES).collect();
    let mut trace = Vec::new();
    let (done, result) = live(seed, &phases, &mut trace);
    let Err(mut failure) = result else { return Ok(()) };
    let failed = done.min(phases.len() - 1);
    let mut last = 1;
    while last <= failed {
        let mut shorter = Vec::new();
        let part = &phases[failed + 1 - last..=failed];
        if let (_, Err(again)) = live(seed, part, &mut shorter) {
            (failure, trace) = (again, shorter);
            break;
        }
        last *= 2;
    }
    Err(format!("{failure}\n  in {} phases:{}", trace.len(), listed(&trace)))
}

/// F-14, F-17, F-18, F-20, F-21, F-28, F-29, F-43, F-45: a day of changing loads, faults, full disks,
/// clean and other ends, with readers that stay: nothing acknowledged is missing at any end of a phase,
/// nothing promised after any restart.
#[test]
fn a_day_of_loads_and_troubles_loses_nothing() {
    for_seeds("soak", 1, day);
    TALLY.print("soak");
    if wanted_seed().is_some() {
        return;
    }
    for (name, least) in FLOORS {
        let count = TALLY.get(name);
        assert!(count >= least * long(), "{count} {name}, want at least {}", least * long());
    }
}

/// What a day must at least have seen.
const FLOORS: [(&str, u64); 14] = [
    ("phases", PHASES),
    ("operations", 200_000),
    ("restarts", 60),
    ("crashes", 30),
    ("faults that hit", 20),
    ("writes that failed", 1),
    ("syncs that failed", 1),
    ("reads that failed", 1),
    ("removals that failed", 1),
    ("times without space", 5),
    ("batches in doubt", 5),
    ("rests", 10),
    ("steps of compaction", 1000),
    ("bytes written", 200 << 20),
];
