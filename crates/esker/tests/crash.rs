//! Power loss at every file-system call, under every loss model; recover, check, go on, crash again.
//!
//! ```text
//!   program ─▶ for each call n: run, die at n ─▶ images (none, all, pieces, torn lost)
//!                 image ─▶ open ─▶ a prefix of the batches, at least the promised ones?
//!                            ├─▶ die during the open, open again: the same?
//!                            ├─▶ die right after it: the same?
//!                            └─▶ write on, die again … three deep
//! ```
//!
//! 1. What is found is one version of the reference: whole batches, over all collections (F-15).
//! 2. It is not older than the last promise: a synced commit, `sync`, `flush`, a clean end; after a
//!    killed process, anything acknowledged (F-14).
//! 3. Values are unique in a lineage of worlds, so what comes back from a dropped tail is seen (F-4).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod support;

use esker::env::names::{FileKind, FileName};
use esker::env::sim::{Loss, Sim};
use esker::env::{Env, Listed};
use esker::manifest::{State, Store};
use esker::{Durability, Error, ErrorKind};
use std::sync::Arc;
use support::program::{Author, Diet, Setup, Step, dir};
use support::reference::{Reference, Which};
use support::session::{Session, check_files, files};
use support::{Dice, LARGE, Tally, for_seeds, guarded, listed, shrink};

static TALLY: Tally = Tally::new();

const PROGRAMS: u64 = 160;
const SLABS: [usize; 4] = [4 << 10, 8 << 10, 16 << 10, 64 << 10];
const DEEPEST: usize = 3;

type Checked<T = ()> = Result<T, String>;

fn text(error: Error) -> String {
    format!("unexpected error: {error}")
}

/// What was done so far, and what of it was promised.
#[derive(Clone)]
struct Story {
    setup: Setup,
    reference: Reference,
    /// The newest version that no loss may take.
    durable: usize,
    /// The newest version that was acknowledged.
    acknowledged: usize,
    /// No sequence number up to here may be given out again.
    numbers: u64,
    /// Tags up to here were used.
    tags: u32,
}

impl Story {
    fn new(setup: Setup) -> Self {
        let reference = Reference::default();
        Self { setup, reference, durable: 0, acknowledged: 0, numbers: 0, tags: 0 }
    }

    fn floor(&self, loss: Loss) -> usize {
        if loss == Loss::None { self.acknowledged } else { self.durable }
    }

    /// Goes on from a version that was found.
    fn rewind(&mut self, version: usize) {
        self.reference.rewind(version);
        self.durable = version;
        self.acknowledged = version;
    }

    /// Notes the numbers that a session has given out: those that are visible, those of a batch
    /// under way, and of its mark.
    fn given_out(&mut self, session: &Session, batch: usize) {
        let under_way = if batch > 0 { batch as u64 + 1 } else { 0 };
        self.numbers = self.numbers.max(session.db.stats().sequence + under_way);
    }

    fn promised(&mut self) {
        self.durable = self.reference.version();
    }

    fn acknowledge(&mut self, how: Option<Durability>) {
        self.acknowledged = self.reference.version();
        if how == Some(Durability::Sync) || how.is_none() && self.setup.sync {
            self.promised();
        }
    }
}

/// A story being told in a world, until that dies.
struct Play<'a> {
    story: &'a mut Story,
    world: Arc<Sim>,
    session: Option<Session>,
}

/// Whether a call went well; an error is fine only in a world that is dead.
fn survived(world: &Sim, result: Result<(), Error>) -> Checked<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(_) if world.is_dead() => Ok(false),
        Err(error) => Err(text(error)),
    }
}

impl Play<'_> {
    /// Plays all of it, unless the world dies. Answers whether it lives.
    fn run(&mut self, program: &[Step]) -> Checked<bool> {
        if self.session.is_none() && !self.open()? {
            return Ok(false);
        }
        for step in program {
            let lives = self.step(step).map_err(|failure| format!("at {step:?}: {failure}"))?;
            if !lives {
                return Ok(false);
            }
            if let Some(session) = &self.session {
                self.story.given_out(session, 0);
                let in_parts = session.db.stats().compaction_parts > 0;
                TALLY.add("steps after a compaction in parts", u64::from(in_parts));
            }
        }
        Ok(true)
    }

    fn open(&mut self) -> Checked<bool> {
        match Session::open(&self.world, &self.story.setup) {
            Ok(session) => {
                self.session = Some(session);
                Ok(true)
            }
            Err(error) => survived(&self.world, Err(error)),
        }
    }

    fn create(&mut self, which: Which) -> Checked<bool> {
        if self.story.reference.has(which) {
            return Ok(true);
        }
        let session = self.session.as_ref().ok_or("no session")?;
        self.story.reference.create(which);
        let lives = survived(&self.world, session.collection(which).map(drop))?;
        if lives {
            self.story.acknowledge(None);
        } else {
            self.story.given_out(session, 2);
        }
        Ok(lives)
    }

    fn step(&mut self, step: &Step) -> Checked<bool> {
        if let Step::Write { changes, .. } | Step::Ingest(changes) = step {
            for change in changes {
                if !self.create(change.which)? {
                    return Ok(false);
                }
            }
        }
        let session = self.session.as_ref().ok_or("no session")?;
        match step {
            Step::Write { changes, how, batch } => {
                self.story.reference.commit(changes);
                let lives = survived(&self.world, session.write(changes, *how, *batch))?;
                if lives {
                    self.story.acknowledge(*how);
                } else {
                    self.story.given_out(session, changes.len());
                }
                return Ok(lives);
            }
            Step::Ingest(changes) => {
                self.story.reference.commit(changes);
                let lives = survived(&self.world, session.ingest(changes))?;
                TALLY.add(if lives { "ingests" } else { "crashes in an ingest" }, 1);
                if lives {
                    self.story.acknowledged = self.story.reference.version();
                    self.story.promised();
                } else {
                    self.story.given_out(session, 0);
                }
                return Ok(lives);
            }
            Step::Create(which) => return self.create(*which),
            Step::Flush | Step::Compact | Step::Sync => {
                let result = match step {
                    Step::Flush => session.db.flush(),
                    Step::Compact => session.db.compact(),
                    _ => session.db.sync(),
                };
                let lives = survived(&self.world, result)?;
                if lives {
                    self.story.promised();
                }
                return Ok(lives);
            }
            Step::Help(units) => (0..*units).for_each(|_| _ = self.world.help()),
            Step::Settle => self.world.settle(),
            Step::Advance(ms) => {
                self.world.advance(std::time::Duration::from_millis(*ms));
                self.world.settle();
            }
            Step::Reopen => {
                session.count_large(&TALLY);
                let closed = self.session.take().map_or(Ok(()), |session| session.db.close());
                if !survived(&self.world, closed)? {
                    return Ok(false);
                }
                self.story.promised();
                return self.open();
            }
            Step::Get(..) | Step::Walk(_) => {}
        }
        Ok(!self.world.is_dead())
    }
}

/// What lies on a disk before it is opened.
struct Found {
    state: Option<State>,
    manifests: usize,
    files: std::collections::BTreeSet<FileName>,
}

impl Found {
    fn in_world(world: &Arc<Sim>) -> Checked<Self> {
        let env: Arc<dyn Env> = world.snapshot();
        let names: Vec<Listed> = env.list(dir()).unwrap_or_default();
        let state = Store::read(&env, dir(), &names).map_err(text)?.map(|(state, _)| state);
        let files = files(world);
        let manifests = files.iter().filter(|name| name.kind == FileKind::Manifest).count();
        Ok(Self { state, manifests, files })
    }

    fn highest(&self) -> u64 {
        self.files.iter().map(|name| name.id.0).max().unwrap_or_default()
    }
}

/// Opens an image, checks everything there is to check, and answers the version found.
fn recover(world: &Arc<Sim>, story: &Story, floor: usize) -> Checked<(Session, usize)> {
    TALLY.add("states", 1);
    let found = Found::in_world(world)?;
    let session = Session::open(world, &story.setup).map_err(text)?;
    let sum = session.fingerprint().map_err(text)?;
    let Some(version) = story.reference.versions_of(sum).next() else {
        return Err(format!("no prefix of the batches: {}", what_is_there(&session)));
    };
    if version < floor {
        let newest = story.reference.version();
        return Err(format!("version {version} of {newest} came back, {floor} was promised"));
    }
    if check_files(world).is_err() {
        // The open may have begun a compaction of which some parts are done and others not.
        world.settle();
        check_files(world)?;
    }
    check_report(world, &session, &found)?;
    let blobs = files(world).into_iter().filter(|name| name.kind == FileKind::Blob).count();
    if blobs > 0 && found.highest().is_multiple_of(4) {
        let damages = session.db.verify().map_err(text)?.damages;
        if !damages.is_empty() {
            return Err(format!("verify found {damages:?}"));
        }
        TALLY.add("blob files verified", blobs as u64);
    }
    let after = files(world);
    if let Some(again) = after.difference(&found.files).find(|new| new.id.0 <= found.highest()) {
        return Err(format!("{again} has a number that was used before (F-11)"));
    }
    Ok((session, version))
}

fn what_is_there(session: &Session) -> String {
    let mut text = format!("recovery said: {}", session.db.recovery());
    for which in Which::all() {
        let Ok(Some(collection)) = session.db.existing_collection(which.name()) else { continue };
        for pair in collection.iter() {
            text += &match pair {
                Ok((key, value)) => {
                    let (key, start) = (key.escape_ascii(), value.get(..8).unwrap_or(&value));
                    format!("\n    {}[\"{key}\"] = {} bytes {start:x?}", which.0, value.len())
                }
                Err(error) => format!("\n    {error}"),
            };
        }
    }
    text
}

/// What was dropped must be told, and what was told must be so.
fn check_report(world: &Arc<Sim>, session: &Session, found: &Found) -> Checked {
    let report = session.db.recovery();
    let logs = found.state.as_ref().map_or(0, |state| state.logs.len() as u64);
    TALLY.add("torn tails", report.torn.len() as u64);
    TALLY.add("holes between logs", u64::from(report.logs_read < logs));
    TALLY.add("orphans removed", report.orphans_removed.len() as u64);
    TALLY.add("torn manifests", u64::from(report.manifest_torn_bytes > 0));
    TALLY.add("two manifests", u64::from(found.manifests > 1));
    TALLY.add("creations cut short", u64::from(report.created && !found.files.is_empty()));
    TALLY.add("memtables sealed at open", u64::from(report.logs_read >= 8));
    TALLY.add("clean opens", u64::from(report.clean && !report.created));
    if report.created != found.state.is_none() {
        return Err(format!("created: {}, but a manifest was there or not", report.created));
    }
    let state = Found::in_world(world)?.state.ok_or("no manifest after the open")?;
    let Some(closed) = state.closed else { return Ok(()) };
    let name = FileKind::Log.name(closed.log).to_string();
    let bytes = world.read_file(&dir().join(&name)).map_err(|error| error.to_string())?;
    let tail = bytes.get(closed.length as usize..).unwrap_or_default();
    let told = report.torn.iter().any(|torn| torn.file == name && torn.at == closed.length);
    let is_torn = tail.iter().any(|byte| *byte != 0);
    if told != is_torn {
        return Err(format!(
            "{name} torn at {}: {is_torn}, told: {:?}",
            closed.length, report.torn
        ));
    }
    Ok(())
}

/// An image must be recovered, and everything after it; `loss` made it.
fn survive(image: &Arc<Sim>, story: &Story, loss: Loss, dice: &mut Dice, depth: usize) -> Checked {
    story.setup.prepare(image);
    if depth < DEEPEST && dice.one_in(5) {
        return interrupt(image, story, loss, dice, depth);
    }
    let (session, version) = recover(image, story, story.floor(loss))?;
    if depth >= DEEPEST {
        return Ok(());
    }
    let mut story = story.clone();
    story.rewind(version);
    match dice.below(5) {
        0 => go_on(image, story, session, dice, depth),
        // What one open showed, no later loss takes back (F-4, F-6).
        1 => {
            let loss = dice.pick(&Loss::MODELS);
            let again = image.crash_with(loss, dice.next());
            drop(session);
            let (_, same) = recover(&again, &story, version)?;
            if same == version { Ok(()) } else { Err("a second open found something else".into()) }
        }
        _ => Ok(()),
    }
}

/// F-6: a crash during recovery, and then another recovery: the same as without.
fn interrupt(
    image: &Arc<Sim>,
    story: &Story,
    loss: Loss,
    dice: &mut Dice,
    depth: usize,
) -> Checked {
    let copy = image.snapshot();
    let (session, version) = recover(&copy, story, story.floor(loss))?;
    let calls = copy.calls();
    drop((session, copy));
    let victim = image.snapshot();
    victim.crash_at(1 + dice.below(calls.max(1)));
    let opened = Session::open(&victim, &story.setup);
    if let Err(error) = opened.map(drop)
        && !victim.is_dead()
    {
        return Err(text(error));
    }
    victim.kill();
    TALLY.add("crashes in a recovery", 1);
    let mut story = story.clone();
    if loss == Loss::None {
        // Nothing was lost yet, so what was not synced still can be.
        story.reference.rewind(version);
        story.acknowledged = story.acknowledged.min(version);
    } else {
        story.rewind(version);
    }
    let again = dice.pick(&Loss::MODELS);
    survive(&victim.crash_with(again, dice.next()), &story, again, dice, depth + 1)
        .map_err(|failure| format!("after a crash in the recovery, {again:?} lost: {failure}"))
}

/// Writes on in a recovered world, and crashes that.
fn go_on(
    world: &Arc<Sim>,
    mut story: Story,
    session: Session,
    dice: &mut Dice,
    depth: usize,
) -> Checked {
    TALLY.add("worlds gone on with", 1);
    let (diet, setup) = (diet(dice), story.setup);
    let mut author = Author::new(dice, diet, setup.slab);
    author.tags_from(story.tags);
    let len = 3 + dice.index(8);
    let program = author.program(len);
    story.tags = author.tags();
    check_numbers(&session, &mut story)?;
    if dice.coin() {
        world.crash_at(world.calls() + 1 + dice.below(40));
    }
    let mut play = Play { story: &mut story, world: world.clone(), session: Some(session) };
    play.run(&program).map_err(|failure| format!("going on: {failure}"))?;
    drop(play);
    world.kill();
    let loss = dice.pick(&Loss::MODELS);
    survive(&world.crash_with(loss, dice.next()), &story, loss, dice, depth + 1).map_err(
        |failure| format!("going on with {}\n  then {loss:?} lost: {failure}", listed(&program)),
    )
}

/// F-12: the next number is above any that was ever given out.
fn check_numbers(session: &Session, story: &mut Story) -> Checked {
    let which = Which(0);
    let how = Some(Durability::Buffered);
    if !story.reference.has(which) {
        story.reference.create(which);
        session.collection(which).map_err(text)?;
        story.acknowledge(None);
    }
    let before = story.numbers;
    let key = support::reference::KeyBytes((*b"number").into());
    story.tags += 1;
    let val = Some(support::reference::Val { tag: story.tags, len: 9 });
    let change = support::reference::Change { which, key, val, merges: false, many: None };
    story.reference.commit(std::slice::from_ref(&change));
    session.write(&[change], how, false).map_err(text)?;
    story.acknowledge(how);
    let sequence = session.db.stats().sequence;
    if sequence <= before {
        return Err(format!("number {sequence} was given out, {before} had been (F-12)"));
    }
    story.numbers = sequence;
    Ok(())
}

fn diet(dice: &mut Dice) -> Diet {
    let plain = Diet {
        write: 60,
        read: 0,
        maintain: 18,
        help: 12,
        reopen: 6,
        batch: 5,
        huge: 8,
        large: 60,
    };
    match dice.below(5) {
        // Many short lives without a flush: many logs.
        0 => Diet { write: 45, maintain: 2, help: 2, reopen: 50, huge: 0, ..plain },
        // Larger values: logs, flushes and segments come and go.
        1 => Diet { huge: 60, batch: 12, ..plain },
        2 => Diet { write: 50, maintain: 40, large: 300, ..plain },
        // Large values alone: logs are taken over, files of them cleaned and forgotten.
        3 => Diet { write: 50, maintain: 35, large: 1000, huge: 4, ..plain },
        _ => plain,
    }
}

/// Every call of one program, and the images of each.
fn explore(setup: Setup, seed: u64, program: &[Step]) -> Checked {
    let world = setup.world(seed);
    let mut story = Story::new(setup);
    let mut play = Play { story: &mut story, world: world.clone(), session: None };
    if !play.run(program)? {
        return Err("the world died by itself".into());
    }
    play.session.iter().for_each(|session| session.count_large(&TALLY));
    drop(play);
    let calls = world.calls();
    TALLY.add("calls crashed at", calls);
    for call in 1..=calls {
        crash_at(setup, seed, program, call)
            .map_err(|failure| format!("crash at call {call} of {calls}: {failure}"))?;
    }
    Ok(())
}

fn crash_at(setup: Setup, seed: u64, program: &[Step], call: u64) -> Checked {
    let world = setup.world(seed);
    world.crash_at(call);
    let mut story = Story::new(setup);
    story.tags = 1 << 16;
    let mut play = Play { story: &mut story, world: world.clone(), session: None };
    play.run(program)?;
    drop(play);
    if !world.is_dead() {
        return Err("the same program made fewer calls the second time".into());
    }
    let mut dice = Dice::new(seed ^ call);
    use Loss::{All, Pieces, Torn};
    for loss in [Loss::None, All, Pieces, Pieces, Pieces, Torn, Torn] {
        let image = world.crash_with(loss, dice.next());
        survive(&image, &story, loss, &mut dice, 0)
            .map_err(|failure| format!("{loss:?} lost: {failure}"))?;
    }
    if world.panics() > 0 {
        return Err("a worker panicked".into());
    }
    Ok(())
}

fn one(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::any(&mut dice, &SLABS);
    let diet = diet(&mut dice);
    let len = 4 + dice.index(20);
    let program = Author::new(&mut dice, diet, setup.slab).program(len);
    TALLY.add("programs", 1);
    let failure = match guarded(|| explore(setup, seed, &program)) {
        Ok(()) => return Ok(()),
        Err(failure) => failure,
    };
    let shortest = shrink(&program, |part| guarded(|| explore(setup, seed, part)).is_err());
    let last = guarded(|| explore(setup, seed, &shortest)).err().unwrap_or(failure);
    Err(format!("{last}\n  {setup:?}\n  shrunk to {} steps:{}", shortest.len(), listed(&shortest)))
}

/// F-1, F-2, F-4, F-6, F-7, F-8, F-9, F-10, F-11, F-12, F-13, F-14, F-15: at whatever call the world
/// ends, and whatever it loses, a whole prefix comes back that has all that was promised; three
/// crashes deep.
#[test]
fn a_crash_at_any_call_leaves_a_prefix_with_all_that_was_promised() {
    for_seeds("crash", PROGRAMS, one);
    TALLY.print("crash");
    TALLY.must_have_seen(&[
        "torn tails",
        "holes between logs",
        "orphans removed",
        "torn manifests",
        "two manifests",
        "creations cut short",
        "memtables sealed at open",
        "crashes in a recovery",
        "crashes in an ingest",
        "worlds gone on with",
        "clean opens",
        "steps after a compaction in parts",
    ]);
    TALLY.must_have_seen(&LARGE);
}

/// A database of a few batches that was not closed, and the fingerprint after each.
fn unclosed(setup: &Setup, batches: u32) -> (Arc<Sim>, Vec<u64>) {
    let world = setup.world(3);
    let session = Session::open(&world, setup).unwrap();
    let mut sums = vec![session.fingerprint().unwrap()];
    let users = session.collection(Which(1)).unwrap();
    sums.push(session.fingerprint().unwrap());
    for index in 0..batches {
        let mut batch = session.db.batch();
        batch.insert(&users, format!("key {index}"), index.to_be_bytes()).unwrap();
        batch.insert(&users, "last", index.to_be_bytes()).unwrap();
        batch.commit_with(Durability::Buffered).unwrap();
        sums.push(session.fingerprint().unwrap());
    }
    let image = world.crash(Loss::None);
    (image, sums)
}

fn plain() -> Setup {
    Setup { slab: 16 << 10, interval: None, ..Setup::numbered(8, &SLABS) }
}

/// The newest log of a world.
fn newest_log(world: &Sim) -> std::path::PathBuf {
    let name = files(world).into_iter().rfind(|name| name.kind == FileKind::Log);
    dir().join(name.expect("a log").to_string())
}

/// F-3: whatever is cut off the end of a log that nobody promised, whole batches are left, and what
/// was dropped is told.
#[test]
fn a_log_cut_at_every_byte_drops_the_torn_batch_whole_and_says_so() {
    let setup = plain();
    let (world, sums) = unclosed(&setup, 6);
    let log = newest_log(&world);
    let bytes = world.read_file(&log).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut seen = std::collections::BTreeSet::new();
    for cut in 0..=end {
        let image = world.snapshot();
        image.write_file(&log, &bytes[..cut]).unwrap();
        let session = Session::open(&image, &setup).unwrap();
        let sum = session.fingerprint().unwrap();
        let version = sums.iter().position(|found| *found == sum).expect("a prefix");
        seen.insert(version);
        let torn: u64 = session.db.recovery().torn.iter().map(|torn| torn.bytes).sum();
        let kept = session.db.recovery().bytes_replayed as usize;
        let tail = bytes[kept..cut].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        assert_eq!(torn, tail as u64, "cut at {cut}: what was dropped is told");
    }
    assert_eq!(seen.len(), sums.len(), "every version was seen");
}

/// F-5: bytes behind the tail that were never written there (of an allocated or reused file) are
/// not replayed, and nothing valid is dropped.
#[test]
fn foreign_bytes_behind_the_tail_are_never_replayed() {
    let setup = plain();
    let (world, sums) = unclosed(&setup, 6);
    let log = newest_log(&world);
    let bytes = world.read_file(&log).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut dice = Dice::new(5);
    for round in 0..400 {
        let mut foreign = bytes.clone();
        let at = end + if round % 2 == 0 { 0 } else { dice.index(64) };
        let stale = match round % 4 {
            // Its own earlier frames, from anywhere: as a reused file would have them.
            0 | 1 => bytes[dice.index(end)..end].to_vec(),
            2 => vec![0xff; 1 + dice.index(40)],
            _ => (0..dice.index(600)).map(|_| dice.next() as u8).collect(),
        };
        foreign.truncate(at);
        foreign.resize(at, 0);
        foreign.extend(stale);
        let image = world.snapshot();
        image.write_file(&log, foreign).unwrap();
        let session = Session::open(&image, &setup).unwrap();
        assert_eq!(session.fingerprint().unwrap(), sums[sums.len() - 1], "round {round}");
    }
}

/// F-16: after a clean end the length of the log and of the manifest is promised: any cut is damage.
#[test]
fn after_a_clean_end_any_cut_is_damage() {
    let setup = plain();
    let world = setup.world(3);
    let session = Session::open(&world, &setup).unwrap();
    let users = session.collection(Which(1)).unwrap();
    (0..6_u32).for_each(|key| users.insert(key.to_be_bytes(), key.to_be_bytes()).unwrap());
    session.db.close().unwrap();
    let sum = {
        let copy = world.snapshot();
        let session = Session::open(&copy, &setup).unwrap();
        assert!(session.db.recovery().clean);
        session.fingerprint().unwrap()
    };
    for name in files(&world) {
        let path = dir().join(name.to_string());
        let bytes = world.read_file(&path).unwrap();
        for cut in 0..bytes.len() {
            let image = world.snapshot();
            image.write_file(&path, &bytes[..cut]).unwrap();
            match Session::open(&image, &setup) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corruption, "{name} cut at {cut}: {error}");
                    assert!(error.to_string().contains(&name.to_string()), "{error}");
                }
                Ok(session) => {
                    let found = session.fingerprint().unwrap();
                    panic!("{name} cut at {cut} opens, the same: {}", found == sum);
                }
            }
        }
    }
}

/// F-10: an older log that lost its tail while the newer one is whole: if nobody promised the tail,
/// the newer log is dropped and told; never is there a replay across the hole.
#[test]
fn a_hole_between_two_logs_is_never_replayed_across() {
    let setup = Setup { slab: 4 << 10, background: false, ..plain() };
    let world = setup.world(7);
    let session = Session::open(&world, &setup).unwrap();
    let users = session.collection(Which(1)).unwrap();
    let mut sums = vec![session.fingerprint().unwrap()];
    let mut newest = files(&world);
    let mut both = false;
    for index in 0..2000_u32 {
        users.insert(format!("key {index}"), vec![index as u8; 40]).unwrap();
        sums.push(session.fingerprint().unwrap());
        newest = files(&world);
        let logs = newest.iter().filter(|name| name.kind == FileKind::Log).count();
        both = logs > 1 && session.db.stats().memtables > 1;
        if both && index % 3 == 0 {
            break;
        }
    }
    assert!(both, "two logs hold what is not flushed");
    let image = world.crash(Loss::None);
    let logs: Vec<_> = newest.iter().filter(|name| name.kind == FileKind::Log).collect();
    let older = dir().join(logs[0].to_string());
    let bytes = image.read_file(&older).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in (0..end).step_by(7) {
        let copy = image.snapshot();
        copy.write_file(&older, &bytes[..cut]).unwrap();
        let session = Session::open(&copy, &setup).unwrap();
        let sum = session.fingerprint().unwrap();
        let names = session.db.collections().unwrap();
        assert!(sums.contains(&sum) || names.is_empty(), "cut at {cut}: a prefix");
        assert_ne!(sum, sums[sums.len() - 1], "cut at {cut}: what lies behind the hole is gone");
        let told = session.db.recovery().torn.iter().any(|t| t.file == logs[1].to_string());
        assert!(told, "cut at {cut}: the newer log is told to be dropped");
    }
}

/// F-32: a creation that the world ends at any call is opened later, or begun again.
#[test]
fn a_creation_that_was_cut_short_is_begun_again() {
    let setup = plain();
    let world = setup.world(9);
    drop(Session::open(&world, &setup).unwrap());
    for call in 1..=world.calls() {
        let world = setup.world(9);
        world.crash_at(call);
        drop(Session::open(&world, &setup));
        for seed in 0..40 {
            for loss in Loss::MODELS {
                let image = world.crash_with(loss, seed);
                let session = Session::open(&image, &setup).unwrap();
                assert_eq!(session.fingerprint().unwrap(), 0);
                session.collection(Which(0)).unwrap().insert("a", "b").unwrap();
                check_files(&image).unwrap();
            }
        }
    }
}

/// F-12: an open after a crash jumps over numbers; when the next crash takes all that was written
/// behind the jump, the open after that once jumped to the same place, and gave the same numbers out
/// again. The jump itself must be durable.
#[test]
fn a_jump_over_numbers_is_durable_before_a_number_behind_it_is_given_out() {
    let setup = plain();
    for flushed in [false, true] {
        let (mut world, _) = unclosed(&setup, 3);
        let mut highest = 0;
        for _ in 0..3 {
            let session = Session::open(&world, &setup).unwrap();
            if flushed {
                session.db.flush().unwrap();
            }
            session.collection(Which(1)).unwrap().insert("lost", "each time").unwrap();
            let sequence = session.db.stats().sequence;
            assert!(sequence > highest, "{sequence} after {highest}");
            highest = sequence;
            world = world.crash(Loss::All);
        }
    }
}

/// An open after a crash that writes nothing once waited at its end, or at a flush, for numbers that
/// it had jumped over and nobody would ever write.
#[test]
fn an_open_after_a_crash_that_writes_nothing_can_flush_and_close() {
    let setup = plain();
    for flush in [false, true] {
        let (world, sums) = unclosed(&setup, 3);
        let session = Session::open(&world, &setup).unwrap();
        if flush {
            session.db.flush().unwrap();
        }
        session.db.close().unwrap();
        let session = Session::open(&world, &setup).unwrap();
        assert_eq!(session.fingerprint().unwrap(), sums[sums.len() - 1]);
    }
}

/// A batch larger than the memtable seals a generation into whose log nothing was written. The log
/// behind it once named that one as its predecessor, with a last number that nobody could find there.
#[test]
fn a_log_into_which_nothing_was_written_is_no_link_of_the_chain() {
    let setup = Setup { background: false, ..plain() };
    let world = setup.world(11);
    let session = Session::open(&world, &setup).unwrap();
    let users = session.collection(Which(1)).unwrap();
    users.insert("first", "1").unwrap();
    session.db.flush().unwrap();
    users.insert("large", vec![7; 40 << 10]).unwrap();
    users.insert_with("last", "2", Durability::Sync).unwrap();
    let sum = session.fingerprint().unwrap();
    for loss in Loss::MODELS {
        let session = Session::open(&world.crash(loss), &setup).unwrap();
        assert_eq!(session.fingerprint().unwrap(), sum, "{loss:?}");
    }
}

/// An ingest makes durable what was written before it. One of nothing once did not.
#[test]
fn an_ingest_of_nothing_makes_durable_what_came_before() {
    let setup = plain();
    let world = setup.world(13);
    let session = Session::open(&world, &setup).unwrap();
    let users = session.collection(Which(1)).unwrap();
    users.insert_with("a", "1", Durability::Buffered).unwrap();
    assert_eq!(users.ingest(std::iter::empty::<(&str, &str)>()).unwrap(), 0);
    let sum = session.fingerprint().unwrap();
    let session = Session::open(&world.crash(Loss::All), &setup).unwrap();
    assert_eq!(session.fingerprint().unwrap(), sum);
}

/// F-7: the name of a new database's folder, and of those above it, is durable before anything in it
/// is acknowledged.
#[test]
fn the_folder_of_a_new_database_does_not_vanish() {
    let setup = plain();
    let world = setup.world(12);
    let path = std::path::Path::new("/far/away/db");
    let db = setup.options(&world).open(path).unwrap();
    db.collection("a").unwrap().insert_with("b", "c", Durability::Sync).unwrap();
    let image = world.crash(Loss::All);
    let db = setup.options(&image).open(path).unwrap();
    let found = db.existing_collection("a").unwrap().expect("the collection");
    assert_eq!(found.get("b").unwrap().as_deref(), Some(&b"c"[..]));
}
