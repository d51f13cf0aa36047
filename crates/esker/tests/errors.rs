//! The n-th call of every kind fails in every way, and the engine is used on after it.
//!
//! ```text
//!   program ─▶ for each class of calls, for each n: one fault, once or from there on
//!      each step ok: acknowledged │ refused: absent │ failed and read-only from now on: whole or absent
//!      ─▶ reads agree all the time ─▶ heal ─▶ close, kill or power loss ─▶ open: exactly that ─▶ on
//! ```
//!
//! 1. No panic, no hang: the simulator's gates panic when nobody can end a wait.
//! 2. Nothing is acknowledged once the database has said that a write failed for good (law 9).
//! 3. An error of the system is never called damage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod support;

use esker::env::Env as _;
use esker::env::names::FileKind;
use esker::env::sim::{Calls, Errno, Fault, Loss, Sim, Trouble};
use esker::{Durability, Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use support::program::{Author, Diet, Setup, Step, dir};
use support::reference::{Change, KeyBytes, Reference, Val, Which};
use support::session::{Session, check_files, files};
use support::{Dice, LARGE, Tally, for_seeds, guarded, listed, shrink};

static TALLY: Tally = Tally::new();

const PROGRAMS: u64 = 480;
const SLABS: [usize; 3] = [4 << 10, 8 << 10, 16 << 10];

type Checked<T = ()> = Result<T, String>;

/// Every class of calls, with the name under which its injections are counted.
const CLASSES: [(Calls, &str); 14] = [
    (Calls::CREATE, "create"),
    (Calls::OPEN, "open"),
    (Calls::READ, "read"),
    (Calls::WRITE, "write"),
    (Calls::TRUNCATE, "truncate"),
    (Calls::SYNC, "sync"),
    (Calls::SYNC_DIR, "sync_dir"),
    (Calls::LINK, "link"),
    (Calls::REMOVE, "remove"),
    (Calls::CREATE_DIR, "create_dir"),
    (Calls::LIST, "list"),
    (Calls::LOOK, "look"),
    (Calls::MAP, "map"),
    (Calls::LOCK, "lock"),
];

/// What the system says; not that a file is missing, which is damage if it should be there.
const ERRNOS: [Errno; 7] = [
    Errno::Io,
    Errno::NoSpace,
    Errno::TooManyFiles,
    Errno::ReadOnly,
    Errno::Access,
    Errno::Quota,
    Errno::FileTooBig,
];

fn trouble(dice: &mut Dice, on: Calls) -> Trouble {
    let plain = Trouble::Refuse(dice.pick(&ERRNOS));
    let stall = Trouble::Stall(Duration::from_secs(5));
    if on == Calls::READ {
        return dice.pick(&[
            plain,
            plain,
            Trouble::Short,
            Trouble::Refuse(Errno::Interrupted),
            stall,
        ]);
    }
    if on == Calls::WRITE {
        let interrupted = Trouble::Refuse(Errno::Interrupted);
        return dice.pick(&[
            plain,
            plain,
            Trouble::Full,
            Trouble::Short,
            Trouble::Zero,
            interrupted,
        ]);
    }
    if on == Calls::SYNC {
        return dice.pick(&[plain, plain, Trouble::DropPages, stall]);
    }
    if dice.one_in(12) { stall } else { plain }
}

/// A database in use.
struct Use {
    setup: Setup,
    world: Arc<Sim>,
    session: Option<Session>,
    reference: Reference,
    /// The newest version that is durable.
    durable: usize,
    /// The newest version that was acknowledged; the reference may have one more, in doubt.
    acknowledged: usize,
}

impl Use {
    fn new(setup: Setup, seed: u64) -> Self {
        let world = setup.world(seed);
        let reference = Reference::default();
        Self { setup, world, session: None, reference, durable: 0, acknowledged: 0 }
    }

    fn run(&mut self, program: &[Step]) -> Checked {
        self.open()?;
        for (index, step) in program.iter().enumerate() {
            let done = if self.session.is_none() { self.open() } else { self.step(step) };
            done.map_err(|failure| format!("at step {index}, {step:?}: {failure}"))?;
            let stats = self.session.as_ref().map(|session| session.db.stats());
            let in_parts = stats.is_some_and(|stats| stats.compaction_parts > 0);
            TALLY.add("steps after a compaction in parts", u64::from(in_parts));
        }
        Ok(())
    }

    fn open(&mut self) -> Checked {
        match Session::open(&self.world, &self.setup) {
            Ok(session) => match session.fingerprint() {
                Ok(sum) => {
                    self.session = Some(session);
                    self.agree()?;
                    // Whatever was in doubt is settled.
                    let version = self.reference.versions_of(sum).next();
                    let version = version.ok_or("what was read twice differs")?;
                    self.reference.rewind(version);
                    self.acknowledged = version;
                    Ok(())
                }
                // It is opened again by the next step.
                Err(error) => fair(&error),
            },
            Err(error) => fair(&error),
        }
    }

    fn session(&self) -> Checked<&Session> {
        self.session.as_ref().ok_or_else(|| "no session".into())
    }

    fn is_final(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.db.stats().read_only)
    }

    /// What is live must be what was acknowledged, or that and the batch in doubt.
    fn agree(&mut self) -> Checked {
        let sum = match self.session()?.fingerprint() {
            Ok(sum) => sum,
            Err(error) => return fair(&error),
        };
        let mut versions = self.reference.versions_of(sum);
        if !versions.any(|version| version >= self.acknowledged) {
            let (known, newest) = (self.acknowledged, self.reference.version());
            let found: Vec<_> = self.reference.versions_of(sum).collect();
            let names = self.session()?.db.collections();
            let said = self.session()?.db.recovery();
            return Err(format!(
                "live is {found:?}, acknowledged {known}, newest {newest}; {names:?}, {said}"
            ));
        }
        Ok(())
    }

    /// Judges the end of a write, which the reference has already.
    fn judge(&mut self, was_final: bool, result: Result<(), Error>, durable: bool) -> Checked {
        match result {
            Ok(()) if was_final => Err("acknowledged after a final failure".into()),
            Ok(()) => {
                self.acknowledged = self.reference.version();
                if durable {
                    self.durable = self.acknowledged;
                }
                Ok(())
            }
            Err(error) => {
                fair(&error)?;
                let refused = error.kind() == ErrorKind::ReadOnly;
                if was_final && !refused {
                    return Err(format!("a write after a final failure is told {error}"));
                }
                if refused || !self.is_final() {
                    let before = self.reference.version() - 1;
                    self.reference.rewind(before);
                } else {
                    TALLY.add("batches in doubt", 1);
                }
                self.agree()
            }
        }
    }

    /// Answers whether the collection is there.
    fn create(&mut self, which: Which) -> Checked<bool> {
        if self.reference.has(which) {
            return Ok(true);
        }
        let was_final = self.is_final();
        self.reference.create(which);
        let result = self.session()?.collection(which).map(drop);
        let done = result.is_ok();
        self.judge(was_final, result, self.setup.sync)?;
        Ok(done)
    }

    /// Does what a step that writes says.
    fn write(&self, step: &Step) -> Result<(), Error> {
        match (&self.session, step) {
            (Some(session), Step::Write { changes, how, batch }) => {
                session.write(changes, *how, *batch)
            }
            (Some(session), Step::Ingest(changes)) => session.ingest(changes),
            _ => unreachable!("a step that writes, in a session"),
        }
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Write { changes, .. } | Step::Ingest(changes) => {
                for change in changes {
                    if !self.create(change.which)? {
                        return Ok(());
                    }
                }
                let was_final = self.is_final();
                if was_final && self.reference.version() > self.acknowledged {
                    // One batch is in doubt: nothing may come behind it.
                    return match self.write(step) {
                        Ok(()) => Err("acknowledged after a final failure".into()),
                        Err(error) => fair(&error),
                    };
                }
                self.reference.commit(changes);
                let result = self.write(step);
                let durable = match step {
                    Step::Write { how: Some(how), .. } => *how == Durability::Sync,
                    Step::Ingest(_) => true,
                    _ => self.setup.sync,
                };
                if let (Step::Ingest(_), Err(_)) = (step, &result) {
                    TALLY.add("ingests that failed", 1);
                }
                self.judge(was_final, result, durable)
            }
            Step::Create(which) => self.create(*which).map(drop),
            Step::Get(which, key) => self.get(*which, key),
            Step::Walk(_) => self.agree(),
            Step::Flush => self.promise(|session| session.db.flush()),
            Step::Compact => self.promise(|session| session.db.compact()),
            Step::Sync => self.promise(|session| session.db.sync()),
            Step::Help(units) => {
                (0..*units).for_each(|_| _ = self.world.help());
                Ok(())
            }
            Step::Settle => {
                self.world.settle();
                Ok(())
            }
            Step::Advance(ms) => {
                self.world.advance(Duration::from_millis(*ms));
                self.world.settle();
                Ok(())
            }
            Step::Reopen => {
                self.close()?;
                self.open()
            }
        }
    }

    fn get(&mut self, which: Which, key: &KeyBytes) -> Checked {
        if !self.reference.has(which) {
            return Ok(());
        }
        let found = match self.session()?.db.existing_collection(which.name()) {
            Ok(Some(collection)) => collection.get(&key.0),
            // Its creation is in doubt.
            Ok(None) => return Ok(()),
            Err(error) => return fair(&error),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => return fair(&error),
        };
        let versions = self.acknowledged..=self.reference.version();
        let mut wanted = versions.map(|version| self.reference.get(which, key, version));
        let is = |want: Option<Val>| want.map(Val::bytes).as_deref() == found.as_deref();
        if wanted.any(is) { Ok(()) } else { Err(format!("get found {:?}", found.as_deref())) }
    }

    fn promise(&mut self, act: impl Fn(&Session) -> Result<(), Error>) -> Checked {
        match act(self.session()?) {
            Ok(()) => self.durable = self.acknowledged,
            Err(error) => fair(&error)?,
        }
        Ok(())
    }

    fn close(&mut self) -> Checked {
        let Some(session) = self.session.take() else { return Ok(()) };
        session.count_large(&TALLY);
        match session.db.close() {
            Ok(()) => self.durable = self.acknowledged,
            Err(error) => fair(&error)?,
        }
        Ok(())
    }

    /// The trouble is over: reads work again; then an end, an open, and all is as it must be.
    fn recover(&mut self, dice: &mut Dice) -> Checked {
        self.world.heal();
        if let Some(session) = &self.session {
            session.count_large(&TALLY);
            session.fingerprint().map_err(|error| format!("no reads after healing: {error}"))?;
            self.agree()?;
        }
        if self.world.panics() > 0 {
            return Err("a worker panicked".into());
        }
        let loss = match dice.below(6) {
            0 | 1 => Loss::None,
            2 => Loss::All,
            3 => Loss::Pieces,
            4 => Loss::Torn,
            _ => {
                self.close()?;
                Loss::None
            }
        };
        let floor = if loss == Loss::None { self.acknowledged } else { self.durable };
        self.reopen(loss, floor, dice).map_err(|failure| format!("{loss:?} lost: {failure}"))?;
        self.go_on(dice)
    }

    fn reopen(&mut self, loss: Loss, floor: usize, dice: &mut Dice) -> Checked {
        let world = self.world.crash_with(loss, dice.next());
        self.session = None;
        self.world = world;
        self.setup.prepare(&self.world);
        let session = Session::open(&self.world, &self.setup).map_err(|error| error.to_string())?;
        let sum = session.fingerprint().map_err(|error| error.to_string())?;
        let newest = self.reference.version();
        let Some(version) = self.reference.versions_of(sum).find(|version| *version >= floor)
        else {
            let found: Vec<_> = self.reference.versions_of(sum).collect();
            let said = session.db.recovery();
            return Err(format!("found versions {found:?}, want {floor} to {newest}: {said}"));
        };
        if check_files(&self.world).is_err() {
            // The open may have begun a compaction of which some parts are done and others not.
            self.world.settle();
            check_files(&self.world)?;
        }
        self.reference.rewind(version);
        self.acknowledged = version;
        self.durable = version;
        self.session = Some(session);
        Ok(())
    }

    /// Work goes on, and is there after another loss of power.
    fn go_on(&mut self, dice: &mut Dice) -> Checked {
        let key = KeyBytes((*b"after").into());
        for tag in 0..3 {
            let val = Some(Val { tag: (1 << 20) + tag, len: 30 });
            let change =
                Change { which: Which(0), key: key.clone(), val, merges: false, many: None };
            let step = Step::Write { changes: vec![change], how: None, batch: false };
            let before = self.acknowledged;
            self.step(&step)?;
            if self.acknowledged == before {
                return Err("a write fails after the trouble is over".into());
            }
        }
        let session = self.session()?;
        let done = if dice.coin() { session.db.flush() } else { session.db.sync() };
        done.map_err(|error| format!("after the trouble is over: {error}"))?;
        self.durable = self.acknowledged;
        let loss = dice.pick(&[Loss::All, Loss::Pieces]);
        self.reopen(loss, self.durable, dice)
            .map_err(|failure| format!("gone on, then {loss:?} lost: {failure}"))
    }
}

/// Whether an error may be told when the system fails.
fn fair(error: &Error) -> Checked {
    let fair = matches!(error.kind(), ErrorKind::Io | ErrorKind::ReadOnly | ErrorKind::Busy);
    if fair && !error.to_string().contains("panicked") {
        return Ok(());
    }
    Err(format!("an error of the system is told as {:?}: {error}", error.kind()))
}

/// One injection.
#[derive(Clone, Copy, Debug)]
struct Injection {
    fault: Fault,
    n: u64,
    lasting: bool,
}

fn inject(setup: Setup, seed: u64, program: &[Step], injection: Injection) -> Checked {
    let mut used = Use::new(setup, seed);
    let Injection { fault, n, lasting } = injection;
    if lasting {
        used.world.fail_from(n, fault);
    } else {
        used.world.fail_at(n, fault);
    }
    used.run(program)?;
    used.recover(&mut Dice::new(seed ^ n))
}

/// All injections into one program.
fn explore(
    setup: Setup,
    seed: u64,
    program: &[Step],
    only: Option<Injection>,
) -> Result<(), (Injection, String)> {
    let run = |injection: Injection| {
        guarded(|| inject(setup, seed, program, injection)).map_err(|failure| (injection, failure))
    };
    if let Some(injection) = only {
        return run(injection);
    }
    let calm = Use::new(setup, seed);
    let mut pilot = calm;
    let none = Fault::refuse(Errno::Io, Calls::RENAME);
    let nothing = Injection { fault: none, n: u64::MAX, lasting: false };
    pilot.run(program).map_err(|failure| (nothing, failure))?;
    let mut dice = Dice::new(seed);
    for (on, name) in CLASSES {
        let count = pilot.world.count(on);
        // A lot of reads and looks: each of a sample of them.
        let stride = count.div_ceil(60).max(1);
        for n in (1..=count).step_by(stride as usize) {
            for _ in 0..2 {
                let fault = Fault { trouble: trouble(&mut dice, on), on };
                // An interruption that lasts would be tried again for ever, and rightly so.
                let ends = fault.trouble == Trouble::Refuse(Errno::Interrupted);
                let lasting = !ends && dice.one_in(3);
                TALLY.add("injections", 1);
                TALLY.add(name, 1);
                run(Injection { fault, n, lasting })?;
            }
        }
    }
    Ok(())
}

fn one(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::any(&mut dice, &SLABS);
    let diet = Diet {
        write: 50,
        read: 15,
        maintain: 20,
        help: 12,
        reopen: 6,
        batch: 5,
        huge: 20,
        large: dice.pick(&[50, 900]),
    };
    let len = 5 + dice.index(25);
    let program = Author::new(&mut dice, diet, setup.slab).program(len);
    TALLY.add("programs", 1);
    let (injection, failure) = match explore(setup, seed, &program, None) {
        Ok(()) => return Ok(()),
        Err(failed) => failed,
    };
    let fails = |part: &[Step]| explore(setup, seed, part, Some(injection)).is_err();
    let shortest = shrink(&program, fails);
    let last = explore(setup, seed, &shortest, Some(injection)).err().map(|(_, last)| last);
    let last = last.unwrap_or(failure);
    Err(format!(
        "{last}\n  {injection:?}\n  {setup:?}\n  shrunk to {} steps:{}",
        shortest.len(),
        listed(&shortest)
    ))
}

/// F-17, F-18, F-19, F-20, F-21, F-22, F-23, F-24, F-26, F-27, F-28, F-29, F-30, F-32: whichever call
/// fails, in whichever way, the engine says so, reads on, and loses nothing it acknowledged.
#[test]
fn any_call_may_fail_in_any_way_and_nothing_acknowledged_is_lost() {
    for_seeds("errors", PROGRAMS, one);
    TALLY.print("errors");
    TALLY.must_have_seen(&[
        "batches in doubt",
        "ingests that failed",
        "steps after a compaction in parts",
    ]);
    TALLY.must_have_seen(&LARGE);
}

fn plain() -> Setup {
    Setup { slab: 8 << 10, interval: None, ..Setup::numbered(8, &SLABS) }
}

/// F-21, F-22, F-23: a disk that is full at any byte refuses writes; what is there can be read and,
/// after reopening with space again, written on.
#[test]
fn a_full_disk_refuses_and_work_goes_on_when_there_is_space() {
    for capacity in (0..150).map(|step| step * 700) {
        let setup = Setup::numbered(capacity / 700, &SLABS);
        let mut used = Use::new(setup, capacity);
        used.world.set_capacity(Some(capacity));
        let diet = Diet {
            write: 80,
            read: 5,
            maintain: 6,
            help: 8,
            reopen: 1,
            batch: 8,
            huge: 5,
            large: 100,
        };
        let program = Author::new(&mut Dice::new(capacity), diet, setup.slab).program(80);
        used.run(&program).unwrap();
        used.world.set_capacity(None);
        used.recover(&mut Dice::new(capacity)).unwrap();
    }
}

/// F-28: who reads a broken place is told, an iterator stays failed, a compaction stops and keeps
/// what it read; all other places can be read.
#[test]
fn a_place_that_cannot_be_read_is_told_and_never_skipped() {
    for index in 0..16 {
        let setup = Setup {
            background: false,
            weather: Default::default(),
            ..Setup::numbered(index, &SLABS)
        };
        let world = setup.world(index);
        let session = Session::open(&world, &setup).unwrap();
        let users = session.collection(Which(1)).unwrap();
        for key in 0..600_u32 {
            users.insert(key.to_be_bytes(), vec![key as u8; 60]).unwrap();
        }
        session.db.flush().unwrap();
        session.db.compact().unwrap();
        session.db.close().unwrap();
        drop(users);
        let session = Session::open(&world, &setup).unwrap();
        let users = session.collection(Which(1)).unwrap();
        let segment =
            files(&world).into_iter().rfind(|name| name.kind == FileKind::Segment).unwrap();
        let before = files(&world);
        world.break_reads(&dir().join(segment.to_string()), 9000..9001).unwrap();
        let mut walk = users.iter();
        let mut whole = 0_u32;
        let error = loop {
            match walk.next() {
                Some(Ok((key, _))) => {
                    assert_eq!(*key, whole.to_be_bytes(), "nothing is skipped");
                    whole += 1;
                }
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        if let Some(error) = error {
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            for _ in 0..3 {
                assert!(walk.next().is_none_or(|again| again.is_err()), "it stays failed");
            }
            let failed = (0..600_u32).filter(|key| users.get(key.to_be_bytes()).is_err()).count();
            assert!(failed > 0, "a get of that place fails too");
            assert_eq!(session.db.compact().unwrap_err().kind(), ErrorKind::Io);
            assert_eq!(files(&world), before, "the inputs are kept, and nothing half-made");
        } else {
            assert_eq!(whole, 600, "the broken place was not needed: it was mapped before");
        }
        drop(walk);
        world.heal();
        for key in 0..600_u32 {
            assert_eq!(
                users.get(key.to_be_bytes()).unwrap().as_deref(),
                Some(&[key as u8; 60][..])
            );
        }
    }
}

/// F-29: a file that cannot be removed is removed later.
#[test]
fn a_removal_that_fails_is_tried_again() {
    let setup = plain();
    let world = setup.world(4);
    let session = Session::open(&world, &setup).unwrap();
    let users = session.collection(Which(1)).unwrap();
    world.fail_from(world.count(Calls::REMOVE) + 1, Fault::refuse(Errno::Io, Calls::REMOVE));
    for key in 0..900_u32 {
        users.insert(key.to_be_bytes(), [7; 100]).unwrap();
    }
    session.db.flush().unwrap();
    session.db.compact().unwrap();
    assert!(check_files(&world).is_err(), "something is left");
    world.heal();
    session.db.compact().unwrap();
    world.advance(Duration::from_secs(60));
    world.settle();
    check_files(&world).unwrap();
}

/// F-27, F-32: where nothing can be written, nothing is changed, and the caller is told.
#[test]
fn a_read_only_file_system_is_told_and_left_alone() {
    let setup = plain();
    for errno in ERRNOS {
        let world = setup.world(5);
        world.fail_from(1, Fault::refuse(errno, Calls::CHANGES));
        let before = world.fingerprint();
        let error = Session::open(&world, &setup).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert_eq!(world.fingerprint(), before);
        world.heal();
        let session = Session::open(&world, &setup).unwrap();
        session.collection(Which(0)).unwrap().insert("a", "b").unwrap();
    }
}

/// F-31: while flushes fail, writers are told why once there is no more room, flush and close
/// return, and when the trouble is over the work is done.
#[test]
fn a_flush_that_fails_is_told_to_writers_and_tried_again() {
    let setup = plain();
    let world = setup.world(6);
    let session = Session::open(&world, &setup).unwrap();
    let users = session.collection(Which(1)).unwrap();
    users.insert("first", "1").unwrap();
    let full = Fault::refuse(Errno::NoSpace, Calls::CREATE);
    world.fail_from(world.count(Calls::CREATE) + 1, full);
    let told = (0..5000_u32).find_map(|key| users.insert(key.to_be_bytes(), [1; 200]).err());
    let told = told.expect("a writer is told");
    assert_eq!(told.kind(), ErrorKind::Io, "{told}");
    assert!(session.db.flush().is_err());
    assert_eq!(users.get("first").unwrap().as_deref(), Some(&b"1"[..]));
    world.heal();
    world.advance(Duration::from_secs(2));
    session.db.flush().unwrap();
    users.insert("last", "2").unwrap();
    let sum = session.fingerprint().unwrap();
    session.db.close().unwrap();
    let session = Session::open(&world, &setup).unwrap();
    assert_eq!(session.fingerprint().unwrap(), sum);
}
