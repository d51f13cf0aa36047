//! The sentences of the model in [`super`], one test each; here those about whole worlds.

use super::*;
use crate::env::{Next, read_exact_at, write_all_at};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

mod contents;
mod names;
mod troubles;

const SECTOR: usize = crash::SECTOR_BYTES as usize;

/// The folder of the tests; it exists, durably.
fn db() -> &'static Path {
    Path::new("/db")
}

fn at(name: &str) -> PathBuf {
    db().join(name)
}

fn world() -> Arc<Sim> {
    let sim = Sim::new(7);
    sim.create_dir(db()).unwrap();
    sim.sync_dir(Path::new("/")).unwrap();
    sim
}

/// A new file with these bytes; neither they nor its name are durable.
fn put(sim: &Sim, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = sim.create(&at(name)).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file
}

fn put_durably(sim: &Sim, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = put(sim, name, bytes);
    file.sync().unwrap();
    sim.sync_dir(db()).unwrap();
    file
}

/// All that a loss leaves in many tries, as `look` sees it.
fn outcomes<T: Ord>(sim: &Sim, loss: Loss, look: impl Fn(&Sim) -> T) -> BTreeSet<T> {
    (0..400).map(|seed| look(&sim.crash_with(loss, seed))).collect()
}

fn content_after(sim: &Sim, loss: Loss, name: &str) -> BTreeSet<Vec<u8>> {
    outcomes(sim, loss, |after| after.read_file(&at(name)).unwrap())
}

fn file_names(sim: &Sim) -> Vec<String> {
    sim.list(db()).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_simulated_world_keeps_the_contract() {
    crate::env::contract::check(&*Sim::new(1), db());
}

#[test]
fn a_simulated_world_keeps_the_contract_in_bad_weather() {
    let sim = Sim::new(2);
    sim.set_weather(Weather { short_reads: 300, short_writes: 300, interrupts: 0 });
    sim.set_mapping(true);
    crate::env::contract::check(&*sim, db());
}

/// A program that does a bit of everything, with all kinds of chance on.
fn program(sim: &Sim) {
    sim.set_weather(Weather { short_reads: 200, short_writes: 200, interrupts: 200 });
    sim.create_dir(db()).unwrap();
    for round in 0..10_u8 {
        let name = format!("f{round}");
        let file = put(sim, &name, &[round; 3000]);
        if round % 3 == 0 {
            file.sync().unwrap();
        }
        file.truncate(u64::from(sim.random() as u16)).unwrap();
        if round % 2 == 0 {
            sim.rename(&at(&name), &at("same")).unwrap();
        }
    }
}

/// Invariant 15.
#[test]
fn the_same_seed_gives_the_same_world_and_the_same_crashes() {
    let run = |seed| {
        let sim = Sim::new(seed);
        program(&sim);
        let crashed = sim.crash(Loss::Pieces);
        let again = crashed.crash(Loss::Torn);
        [sim.fingerprint(), crashed.fingerprint(), again.fingerprint(), sim.random()]
    };
    assert_eq!(run(5), run(5));
    assert!(run(5).iter().zip(run(6)).all(|(a, b)| *a != b));
}

#[test]
fn a_world_prints_its_seed_and_where_it_comes_from() {
    let text = format!("{:?}", Sim::new(0xabc).crash(Loss::Torn));
    assert!(text.contains("0xabc: Torn after 0 changes"), "{text}");
}

/// Invariant 11: looking at what a crash would leave changes nothing.
#[test]
fn a_crash_does_not_disturb_the_old_world() {
    let sim = world();
    let file = put(&sim, "a", &[1; 5000]);
    let before = sim.fingerprint();
    for loss in Loss::MODELS {
        let after = sim.crash(loss);
        put(&after, "other", b"x");
        assert_eq!(sim.fingerprint(), before);
    }
    file.sync().unwrap();
    assert_eq!(sim.read_file(&at("a")).unwrap(), [1; 5000]);
}

#[test]
fn a_crash_asked_for_twice_has_two_outcomes() {
    let sim = world();
    let _file = put_durably(&sim, "a", b"");
    let file = put(&sim, "a2", &[1; 64 * SECTOR]);
    sim.sync_dir(db()).unwrap();
    drop(file);
    let seen: BTreeSet<_> = (0..20).map(|_| sim.crash(Loss::Pieces).fingerprint()).collect();
    assert!(seen.len() > 5);
}

#[test]
fn a_snapshot_is_a_world_of_its_own() {
    let sim = world();
    let _file = put(&sim, "a", b"one");
    let copy = sim.snapshot();
    sim.remove(&at("a")).unwrap();
    let _late = put(&copy, "b", b"two");
    assert_eq!(file_names(&sim), [""; 0]);
    assert_eq!(file_names(&copy), ["a", "b"]);
    // What was not synced is not synced in the copy either.
    assert_eq!(file_names(&copy.crash(Loss::All)), [""; 0]);
}

/// Invariant 4.
#[test]
fn a_killed_process_loses_nothing_but_what_it_wrote_can_still_be_lost() {
    let sim = world();
    let held = sim.lock(&at("LOCK"), "me").unwrap();
    let _file = put(&sim, "a", b"one");
    let after = sim.crash(Loss::None);
    assert_eq!(after.read_file(&at("a")).unwrap(), b"one");
    drop(after.lock(&at("LOCK"), "next").unwrap());
    assert_eq!(file_names(&after.crash(Loss::All)), [""; 0]);
    drop(held);
}

/// Invariant 11, and F-1: the n-th change is the last.
#[test]
fn a_crash_at_any_change_ends_the_world_there() {
    let run = |sim: &Sim| -> io::Result<()> {
        let file = sim.create(&at("a"))?;
        write_all_at(&*file, &[1; 100], 0)?;
        file.sync()?;
        sim.sync_dir(db())?;
        sim.rename(&at("a"), &at("b"))?;
        let append = sim.create_append(&at("c"), 1000, Access::Mapped)?;
        Arc::clone(&append).claim(0, 10).write(&[2; 10], 0)?;
        append.finish(10)?;
        sim.remove(&at("b"))
    };
    let whole = world();
    run(&whole).unwrap();
    let first = world().calls() + 1;
    assert_eq!(whole.calls() - first + 1, 9, "every change counts, a copy into a map too");
    for n in first..=whole.calls() {
        let sim = world();
        sim.crash_at(n);
        assert!(run(&sim).is_err());
        assert!(sim.is_dead());
        assert_eq!(sim.calls(), n, "nothing is counted after the crash");
        let error = sim.exists(&at("a")).unwrap_err();
        assert_eq!(error.to_string(), "simulated crash");
        assert!(sim.crash(Loss::None).exists(db()).unwrap());
    }
}

/// Invariant 11.
#[test]
fn an_interrupted_write_leaves_a_prefix() {
    let seen: BTreeSet<usize> = (0..200)
        .map(|seed| {
            let sim = Sim::new(seed);
            sim.write_file(&at("a"), b"").unwrap();
            let file = sim.create(&at("b")).unwrap();
            sim.crash_at(sim.calls() + 1);
            file.write_at(b"0123456789", 0).unwrap_err();
            let left = sim.crash(Loss::None).read_file(&at("b")).unwrap();
            assert!(b"0123456789".starts_with(&left));
            left.len()
        })
        .collect();
    assert_eq!(seen.len(), 11, "{seen:?}");
}

/// Invariant 11: a log may exist before it is allocated.
#[test]
fn an_interrupted_create_leaves_nothing_an_empty_file_or_all_of_it() {
    let seen: BTreeSet<_> = (0..100)
        .map(|seed| {
            let sim = Sim::new(seed);
            sim.create_dir(db()).unwrap();
            sim.crash_at(sim.calls() + 1);
            sim.create_append(&at("a"), 100, Access::Mapped).unwrap_err();
            sim.crash(Loss::None).read_file(&at("a")).map(|bytes| bytes.len()).ok()
        })
        .collect();
    assert_eq!(seen, [None, Some(0), Some(100)].into());
}

#[test]
fn what_tests_put_there_is_durable() {
    let sim = Sim::new(1);
    let deep = Path::new("/x/y/z");
    sim.write_file(deep, b"abc").unwrap();
    sim.flip(deep, 1, 0).unwrap();
    sim.copy(deep, &at("copy")).unwrap();
    assert_eq!(sim.flip(deep, 3, 0).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let after = sim.crash(Loss::All);
    assert_eq!(after.read_file(deep).unwrap(), b"acc");
    assert_eq!(after.list_all(), [(at("copy"), 3), (deep.to_owned(), 3)]);
    after.remove_file(deep).unwrap();
    assert_eq!(after.crash(Loss::All).list_all(), [(at("copy"), 3)]);
}

/// A file that is gone for good takes no memory, however long the world lives.
#[test]
fn files_that_nothing_can_bring_back_are_freed() {
    let sim = world();
    for round in 0..1000 {
        let file = put(&sim, "a", &[1; 100]);
        sim.remove(&at("a")).unwrap();
        sim.sync_dir(db()).unwrap();
        let mut bytes = [0; 100];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        assert_eq!(bytes, [1; 100], "an open file lives on, round {round}");
    }
    assert!(sim.shared.state.lock().disk.node_count() < 100);
}

fn count_job(runs: &Arc<AtomicUsize>, next: Next) -> Job {
    let runs = Arc::clone(runs);
    Box::new(move || {
        runs.fetch_add(1, Ordering::SeqCst);
        next
    })
}

#[test]
fn time_passes_only_when_told_and_wakes_whose_time_has_come() {
    let sim = Sim::new(1);
    let runs = Arc::new(AtomicUsize::new(0));
    let second = Duration::from_secs(1);
    let _worker = sim.spawn("timer", count_job(&runs, Next::Wait(Some(second)))).unwrap();
    sim.settle();
    sim.settle();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(sim.next_due(), Some(second));
    sim.advance(second / 2);
    sim.settle();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    sim.advance(second / 2);
    sim.settle();
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(sim.now(), second);
}

#[test]
fn the_seed_chooses_which_worker_runs() {
    let order = |seed| {
        let sim = Sim::new(seed);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let workers: Vec<_> = (0..6)
            .map(|number| {
                let seen = Arc::clone(&seen);
                let job = move || {
                    seen.lock().push(number);
                    Next::Wait(None)
                };
                sim.spawn("worker", Box::new(job)).unwrap()
            })
            .collect();
        sim.settle();
        drop(workers);
        Arc::try_unwrap(seen).unwrap().into_inner()
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

/// F-31: in the simulator a panic is counted, so that a harness can insist on none.
#[test]
fn a_worker_that_panics_is_counted_and_never_runs_again() {
    let sim = Sim::new(1);
    let job = || -> Next { std::panic::resume_unwind(Box::new("fails")) };
    let worker = sim.spawn("failing", Box::new(job)).unwrap();
    assert!(sim.help());
    worker.wake();
    assert!(!sim.help());
    assert_eq!(sim.panics(), 1);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_that_nothing_can_end_is_a_deadlock() {
    let sim = Sim::new(1);
    crate::env::Gate::default().wait_until(&*sim, || false);
}
