//! The model: random programs of every public operation, on a database in a simulated world and on
//! maps beside it, over 64 sets of options, with clean ends and crashes anywhere.
//!
//! ```text
//!   writes · batches · tree · atomic · reads · held walks · past · transactions · copies · feed · care
//!        └────────── each in its file: what it is, how it comes by chance, what it must give
//!   state      one moment: paths, pairs, settings, named snapshots
//!   history    a state after each write, which of them a crash may leave, who wrote where
//! ```
//!
//! 1. Every answer is compared at once; after each open all there is: every collection, every named
//!    snapshot, from both ends (F-14, F-24, F-25, F-42, F-43, F-45).
//! 2. A crash, between two steps or at any call of one, under every loss model, leaves one of the
//!    states since the last promise (F-4, F-15), also when the recovery is cut short (F-6).
//! 3. At its end what is live, what is replayed, and their checksums are compared.
//!
//! A failure prints its seed and the shortest program found that still fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod atomic;
mod batches;
mod care;
mod copies;
mod feed;
mod history;
mod json;
mod past;
mod reads;
mod repair;
mod run;
mod shown;
mod state;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod tree;
mod txns;
mod walks;
mod writes;

use run::Run;
use steps::{Author, Diet, Turn};
use support::program::Setup;
use support::reference::Which;
use support::session::Session;
use support::{Dice, LARGE, Tally, for_seeds, guarded, listed, shrink, wanted_seed};

static TALLY: Tally = Tally::new();

const SETS: u64 = 64;
const PROGRAMS: u64 = 12 * SETS;
const STEPS: usize = 260;
const SLABS: [usize; 4] = [16 << 10, 64 << 10, 96 << 10, 256 << 10];

type Checked<T = ()> = Result<T, String>;

fn run(setup: Setup, seed: u64, program: &[Turn]) -> Checked {
    let mut run = Run::start(setup, seed)?;
    for (index, turn) in program.iter().enumerate() {
        run.turn(turn).map_err(|failure| format!("at step {index}, {turn:?}: {failure}"))?;
    }
    run.finish()
}

fn one(seed: u64) -> Checked {
    let mut dice = Dice::new(seed);
    let setup = Setup::numbered(dice.below(SETS), &SLABS);
    let diet = Diet::any(&mut dice);
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

/// F-4, F-6, F-14, F-15, F-24, F-43, F-45, F-46: whatever is done, and however the database is opened
/// or ends, it answers as maps would that remember every version.
#[test]
fn a_database_behaves_as_maps_that_remember_every_version() {
    for_seeds("model", PROGRAMS, one);
    TALLY.print("model");
    if wanted_seed().is_none() {
        TALLY.must_have_seen(&[
            "backups restored",
            "batches",
            "batches refused",
            "changes followed",
            "checkpoints opened",
            "crashes",
            "crashes in a recovery",
            "followers that were too slow",
            "ingests",
            "kills",
            "operands folded",
            "pairs exported",
            "pairs imported",
            "parts of compactions",
            "read-only opens",
            "reopens",
            "repairs",
            "repairs cut short",
            "repairs of nothing",
            "reverts",
            "segments at the end",
            "swaps",
            "transactions begun again",
            "transactions committed",
            "transactions that lost",
            "transactions that only read",
            "values expired",
            "walks interrupted",
            "worlds that died in a step",
            "writes refused",
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
        let diet = Diet::any(&mut dice);
        let program = Author::new(&mut dice, diet, setup.slab).program(60);
        let worlds = [(); 2].map(|()| {
            let mut run = Run::start(setup, seed).unwrap();
            program.iter().for_each(|turn| run.turn(turn).unwrap());
            run.world.fingerprint()
        });
        assert_eq!(worlds[0], worlds[1], "seed {seed}");
    }
}
