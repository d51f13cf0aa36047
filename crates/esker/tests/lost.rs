//! What a kill leaves, without its manifest: what a repair must find, and what must not come back.
//!
//! ```text
//!   program ─▶ dies at some call ─▶ manifest lost, or a file that it names ─▶ repair ─▶ what is there?
//!                                                                     reference ───────────┘
//! ```
//!
//! 1. Every key has the newest value that was durable; the write that was under way is there or not.
//! 2. A key whose newest write is a removal is absent, or has a value that it once had: a merge has dropped
//!    the tombstone, and what that hid lies in one of its inputs that is still there
//!    (`docs/guarantees.md`, Repair). Then operands that were written since come upon that.
//! 3. No other value is there that the key never had: no operand counts twice, and none is left out.
//! 4. No collection gets a name: the records of all of them lie somewhere.
//!
//! `ESKER_LONG=n` and `ESKER_SEED` work as in the other harnesses.

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

mod support;

use esker::env::Env;
use esker::env::names::FileKind;
use esker::env::sim::{Loss, Sim};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use support::program::{Author, Diet, Setup, Step, dir};
use support::reference::{KeyBytes, Reference, Val, Which};
use support::session::{Session, paths};
use support::{Dice, Tally, for_seeds};

const SLABS: [usize; 3] = [4 << 10, 8 << 10, 32 << 10];
const DIET: Diet =
    Diet { write: 60, read: 0, maintain: 25, help: 20, reopen: 5, batch: 5, huge: 8, large: 100 };

type Checked<T = ()> = Result<T, String>;

fn text(error: impl ToString) -> String {
    error.to_string()
}

static TALLY: Tally = Tally::new();

/// What may be there.
struct Story {
    /// All that was acknowledged.
    now: Reference,
    /// What the write makes of it that was under way.
    next: Option<Reference>,
    /// Whether parts of that write may be there: an ingest writes files that are like others.
    parts: bool,
    /// Whether there are operands.
    merges: bool,
}

/// Runs a program until it ends or the world dies.
fn play(world: &Arc<Sim>, setup: &Setup, program: &[Step]) -> Checked<Story> {
    let mut story = Story { now: Reference::default(), next: None, parts: false, merges: false };
    let done = try_play(world, setup, program, &mut story);
    match done {
        Ok(()) => Ok(story),
        Err(_) if world.is_dead() => Ok(story),
        Err(error) => Err(text(error)),
    }
}

fn try_play(
    world: &Arc<Sim>,
    setup: &Setup,
    program: &[Step],
    story: &mut Story,
) -> esker::Result<()> {
    let mut session = Session::open(world, setup)?;
    for which in Which::all() {
        story.write(|reference| reference.create(which), || session.collection(which).map(drop))?;
    }
    for step in program {
        match step {
            Step::Write { changes, how, batch } => {
                story.parts = false;
                story.merges |= changes.iter().any(|change| change.merges);
                let how = how.filter(|_| !setup.sync);
                let write = || session.write(changes, how, *batch);
                story.write(|reference| reference.commit(changes), write)?;
            }
            Step::Ingest(changes) => {
                story.parts = true;
                story.write(|reference| reference.commit(changes), || session.ingest(changes))?;
            }
            Step::Flush => session.db.flush()?,
            Step::Compact => session.db.compact()?,
            Step::Sync => session.db.sync()?,
            Step::Help(units) => (0..*units).for_each(|_| _ = world.help()),
            Step::Settle => world.settle(),
            Step::Reopen => {
                session.db.close()?;
                session = Session::open(world, setup)?;
            }
            Step::Create(_) | Step::Get(..) | Step::Walk(_) | Step::Advance(_) => {}
        }
        session.count_large(&TALLY);
    }
    Ok(())
}

impl Story {
    fn write(
        &mut self,
        change: impl FnOnce(&mut Reference),
        write: impl FnOnce() -> esker::Result<()>,
    ) -> esker::Result<()> {
        let mut next = self.now.clone();
        change(&mut next);
        self.next = Some(next);
        write()?;
        self.now = self.next.take().unwrap_or_default();
        Ok(())
    }

    /// How many values came back that had been removed, if all else is as it must be.
    fn check(&self, session: &Session) -> Checked<u64> {
        let now = self.look(&[&self.now], session);
        let Some(next) = &self.next else { return now };
        let both: &[&Reference] = if self.parts { &[&self.now, next] } else { &[next] };
        now.or_else(|was| {
            self.look(both, session).map_err(|is| format!("{was}; with the last write: {is}"))
        })
    }

    /// Whether each pair is as one of these has it.
    fn look(&self, either: &[&Reference], session: &Session) -> Checked<u64> {
        let names = session.db.collections().map_err(text)?;
        if !either.iter().any(|reference| names.iter().eq(reference.names().iter())) {
            return Err(format!("found collections {names:?}, want {:?}", either[0].names()));
        }
        let mut back = 0;
        for which in names.iter().filter_map(|name| Which::named(name)) {
            let collection = session.collection(which).map_err(text)?;
            let mut found = BTreeMap::new();
            for pair in collection.iter() {
                let (key, value) = pair.map_err(text)?;
                found.insert(KeyBytes(key[..].into()), value.to_vec());
            }
            let pairs = either.iter().flat_map(|it| it.pairs(which, it.version()));
            let keys: BTreeSet<&KeyBytes> = pairs.map(|(key, _)| key).chain(found.keys()).collect();
            for key in keys {
                let value = found.get(key);
                let of = |it: &&Reference, version| it.get(which, key, version).map(Val::bytes);
                if either.iter().any(|it| of(it, it.version()).as_ref() == value) {
                    continue;
                }
                let may_come_back = |it: &&Reference| {
                    let mut all = (0..=it.version()).map(|at| of(it, at));
                    let was_removed =
                        all.clone().skip_while(Option::is_none).any(|val| val.is_none());
                    let had = all.any(|val| val.as_ref() == value);
                    was_removed && (self.merges || had && of(it, it.version()).is_none())
                };
                if !either.iter().any(may_come_back) {
                    let want: Vec<_> =
                        either.iter().map(|it| it.get(which, key, it.version())).collect();
                    let len = value.map(Vec::len);
                    return Err(format!("{which:?} {key:?}: found {len:?} bytes, want {want:?}"));
                }
                back += 1;
            }
        }
        Ok(back)
    }
}

/// Takes the manifest away, or what makes it one.
fn lose(world: &Sim, dice: &mut Dice) {
    let how = dice.below(4);
    for path in paths(world, FileKind::Manifest) {
        let mut bytes = world.read_file(&path).unwrap();
        match how {
            0 if !bytes.is_empty() => {
                let at = dice.index(bytes.len());
                bytes[at] ^= 1 << dice.below(7);
                world.write_file(&path, bytes).unwrap();
            }
            _ => world.remove_file(&path).unwrap(),
        }
    }
}

fn killed(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::any(&mut dice, &SLABS);
    let len = 10 + dice.index(100);
    let program = Author::new(&mut dice, DIET, setup.slab).program(len);
    let seed = dice.next();
    let whole = setup.world(seed);
    play(&whole, &setup, &program)?;
    let calls = whole.calls();
    for _ in 0..6 {
        let world = setup.world(seed);
        world.crash_at(1 + dice.below(calls));
        let story = play(&world, &setup, &program)?;
        let loss = if setup.sync && dice.coin() { Loss::All } else { Loss::None };
        let image = world.crash_with(loss, dice.next());
        setup.prepare(&image);
        lose(&image, &mut dice);
        let report = match setup.options(&image).repair(dir()) {
            Ok(report) => report,
            // Nothing lies there yet.
            Err(error) if error.kind() == esker::ErrorKind::NotFound => continue,
            Err(error) => return Err(text(error)),
        };
        if !report.lost_keys.is_empty() || !report.named.is_empty() {
            return Err(format!("nothing was lost: {report:?}"));
        }
        TALLY.add("repaired", u64::from(report.repaired));
        let session = Session::open(&image, &setup).map_err(text)?;
        let back = story.check(&session).map_err(|told| format!("{told}; {report:?}"))?;
        TALLY.add("came back", back);
    }
    Ok(())
}

/// SST-21, F-12: a kill and the loss of the manifest take nothing along that was durable, and make
/// nothing that never was.
#[test]
fn a_kill_and_a_lost_manifest_take_nothing_along() {
    for_seeds("lost", 40, killed);
    TALLY.print("lost");
    TALLY.must_have_seen(&["repaired", "operands folded", "logs adopted", "logs copied"]);
}
