//! Crashes at every call, every call failing, full disks, cuts after a clean close.

use super::super::state::tests::{compaction, flush, meta, placed, three_runs};
use super::*;
use crate::base::id::SeqNo;
use crate::base::setsum::Setsum;
use crate::env::sim::{Calls, Errno, Fault, Loss, Sim, Trouble};

fn dir() -> &'static Path {
    Path::new("db")
}

fn world(seed: u64) -> (Arc<Sim>, Arc<dyn Env>) {
    let sim = Sim::new(seed);
    let env: Arc<dyn Env> = sim.clone();
    env.create_dir(dir()).unwrap();
    env.sync_dir(Path::new("")).unwrap();
    (sim, env)
}

fn read(env: &Arc<dyn Env>) -> Result<Option<(State, ReadReport)>> {
    Store::read(env, dir(), &env.list(dir()).unwrap_or_default())
}

fn edits() -> Vec<Edit> {
    let mut state = three_runs();
    let big = |id: u64, seqs| placed(0, id, meta(id, (&"k".repeat(300), &"l".repeat(300)), seqs));
    let mut edits = Vec::new();
    let mut push = |state: &mut State, edit: Edit| {
        state.apply(&edit).unwrap();
        edits.push(edit);
    };
    push(&mut state, flush(vec![big(20, (31, 40))], 3));
    let merged = vec![placed(1, 21, meta(21, ("a", "z"), (1, 30)))];
    let edit = compaction(&state, &[3, 4, 5, 7], merged);
    push(&mut state, edit);
    push(
        &mut state,
        flush(vec![big(22, (41, 50)), placed(0, 22, meta(23, ("m", "n"), (41, 50)))], 0),
    );
    edits
}

fn start() -> State {
    State { next_file: FileId(12), ..three_runs() }
}

/// What a program that creates, appends, rolls over, appends and cleans up got acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// The states that were durable, in order.
    states: Vec<State>,
    /// What was under way when it stopped: it may be there or not.
    pending: Option<State>,
}

fn run(env: &Arc<dyn Env>, acknowledged: &mut Acknowledged) -> Result<()> {
    acknowledged.pending = Some(start());
    let mut store = Store::create(env, dir(), FileId(10), &start())?;
    acknowledged.states.push(start());
    for (i, edit) in edits().iter().enumerate() {
        let mut next = store.state().clone();
        next.apply(edit).unwrap();
        acknowledged.pending = Some(next.clone());
        store.append(edit)?;
        acknowledged.states.push(next);
        if i == 1 {
            store.roll_over(env, dir(), FileId(11))?;
            let old = path_in(dir(), FileKind::Manifest.name(FileId(10)));
            env.remove(&old).map_err(|error| Error::io("remove", error))?;
        }
    }
    Ok(())
}

fn same_but_numbers(a: &State, b: &State) -> bool {
    // Reading raises `next_file` above every file present.
    *a == State { next_file: a.next_file, ..b.clone() }
}

/// What is read must be the last acknowledged state, or the one under way.
/// Says whether a torn tail was dropped, and whether an incomplete manifest was passed over.
fn check(env: &Arc<dyn Env>, acknowledged: &Acknowledged, what: &str) -> (bool, bool) {
    let read = read(env).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (found, report) = read.unzip();
    let last = acknowledged.states.last();
    let is = |want: Option<&State>| match (&found, want) {
        (Some(found), Some(want)) => same_but_numbers(found, want),
        (None, None) => true,
        _ => false,
    };
    assert!(
        is(last) || is(acknowledged.pending.as_ref()),
        "{what}: neither acknowledged nor under way"
    );
    report.map_or((false, false), |report| {
        (report.torn_bytes > 0, report.others.iter().any(|other| *other > report.file))
    })
}

/// F-1, F-2, F-8, F-32, SST-K5, SST-K9: a crash at every call, all loss models, several outcomes.
#[test]
fn after_a_crash_at_any_call_the_last_acknowledged_edit_is_there() {
    let (sim, env) = world(1);
    run(&env, &mut Acknowledged::default()).unwrap();
    let calls = sim.calls();
    let (mut cases, mut torn, mut passed_over) = (0, 0, 0);
    for n in 0..=calls {
        for seed in 0..8 {
            let (sim, env) = world(seed);
            sim.crash_at(n);
            let mut acknowledged = Acknowledged::default();
            let _ = run(&env, &mut acknowledged);
            for loss in Loss::MODELS {
                let after: Arc<dyn Env> = sim.crash(loss);
                let what = format!("call {n} of {calls}, seed {seed}, {loss:?}");
                let met = check(&after, &acknowledged, &what);
                torn += u32::from(met.0);
                passed_over += u32::from(met.1);
                cases += 1;
            }
        }
    }
    println!("{cases} crash states, {torn} torn tails, {passed_over} incomplete roll-overs");
    assert!(torn > 0 && passed_over > 0, "a branch of recovery was never taken");
}

/// F-17, F-18, F-19, F-21, F-22, F-24, F-26, F-27: each call fails in each way; nothing
/// acknowledged is lost, nothing is appended behind a remnant, also after a crash.
#[test]
fn after_any_failed_call_the_manifest_refuses_edits_and_can_be_read() {
    let (sim, env) = world(1);
    run(&env, &mut Acknowledged::default()).unwrap();
    let calls = sim.count(Calls::CHANGES);
    let refused = Errno::ALL.map(Trouble::Refuse);
    let troubles = [Trouble::DropPages, Trouble::Full, Trouble::Short, Trouble::Zero];
    for n in 0..=calls {
        for trouble in refused.iter().chain(&troubles) {
            let (sim, env) = world(n);
            sim.fail_at(n, Fault { trouble: *trouble, on: Calls::CHANGES });
            let mut acknowledged = Acknowledged::default();
            let _ = run(&env, &mut acknowledged);
            sim.heal();
            let what = format!("call {n} of {calls}, {trouble:?}");
            check(&env, &acknowledged, &what);
            for loss in Loss::MODELS {
                let after: Arc<dyn Env> = sim.crash(loss);
                check(&after, &acknowledged, &format!("{what}, {loss:?}"));
            }
        }
    }
}

/// Law 9, F-18, F-22.
#[test]
fn a_failed_append_is_final() {
    for trouble in [Trouble::Refuse(Errno::ALL[0]), Trouble::Full, Trouble::Zero] {
        for on in [Calls::WRITE, Calls::SYNC] {
            let (sim, env) = world(3);
            let mut store = Store::create(&env, dir(), FileId(10), &start()).unwrap();
            let [first, second, third] = <[Edit; 3]>::try_from(edits()).unwrap();
            store.append(&first).unwrap();
            let before = store.state().clone();
            sim.fail_at(sim.count(on) + 1, Fault { trouble, on });
            let Err(error) = store.append(&second) else { continue };
            assert_eq!(error.kind(), ErrorKind::Io);
            sim.heal();
            let bytes = sim.read_file(&path_in(dir(), store.name())).unwrap();
            for edit in [&second, &third] {
                let again = store.append(edit).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::ReadOnly, "{again}");
                assert!(again.message().contains("manifest-000010 failed before"), "{again}");
            }
            assert!(store.roll_over(&env, dir(), FileId(11)).is_err());
            assert_eq!(*store.state(), before);
            assert_eq!(sim.read_file(&path_in(dir(), store.name())).unwrap(), bytes);
        }
    }
}

#[test]
fn a_refused_edit_writes_nothing_and_leaves_the_manifest_usable() {
    let (sim, env) = world(3);
    let mut store = Store::create(&env, dir(), FileId(10), &start()).unwrap();
    let bytes = sim.read_file(&path_in(dir(), store.name())).unwrap();
    let bad = Edit { flushed: Some(SeqNo(1)), ..Edit::default() };
    assert_eq!(store.append(&bad).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(sim.read_file(&path_in(dir(), store.name())).unwrap(), bytes);
    store.append(&edits()[0]).unwrap();
    let state = State { present: Setsum(1), ..start() };
    let error = Store::create(&env, dir(), FileId(11), &state).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = Store::create(&env, dir(), FileId(12), &start()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

/// F-16: everything is in one transaction, so no cut leaves a manifest that could be believed.
#[test]
fn after_a_clean_close_any_cut_is_damage() {
    let (sim, env) = world(3);
    let state = State { clean: true, logs: vec![FileId(11)], ..start() };
    let store = Store::create(&env, dir(), FileId(10), &state).unwrap();
    let log = path_in(dir(), FileKind::Log.name(FileId(11)));
    sim.write_file(&log, b"x").unwrap();
    let path = path_in(dir(), store.name());
    let bytes = sim.read_file(&path).unwrap();
    assert!(same_but_numbers(&read(&env).unwrap().unwrap().0, &state));
    for cut in 0..bytes.len() {
        sim.write_file(&path, &bytes[..cut]).unwrap();
        let error = read(&env).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "cut at {cut}: {error}");
    }
}

/// A full disk during a roll-over: the old manifest goes on, and it can be tried again.
#[test]
fn a_roll_over_that_finds_no_space_can_be_tried_again() {
    let (sim, env) = world(3);
    let mut store = Store::create(&env, dir(), FileId(8), &start()).unwrap();
    let [first, second, _] = <[Edit; 3]>::try_from(edits()).unwrap();
    let fault = Fault { trouble: Trouble::Full, on: Calls::WRITE };
    sim.fail_at(sim.count(Calls::WRITE) + 1, fault);
    let error = store.roll_over(&env, dir(), FileId(9)).unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::StorageFull));
    sim.heal();
    store.append(&first).unwrap();
    let (state, report) = read(&env).unwrap().unwrap();
    assert_eq!((report.file, report.others), (FileId(8), vec![FileId(9)]));
    assert!(same_but_numbers(&state, store.state()));
    store.roll_over(&env, dir(), FileId(10)).unwrap();
    store.append(&second).unwrap();
    assert_eq!(read(&env).unwrap().unwrap().1.file, FileId(10));
    // A sync that failed may have left a complete file: appending to the old one could be lost.
    sim.fail_at(sim.count(Calls::SYNC) + 1, Fault::refuse(Errno::ALL[0], Calls::SYNC));
    assert_eq!(store.roll_over(&env, dir(), FileId(11)).unwrap_err().kind(), ErrorKind::Io);
    let error = store.append(&edits()[2]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[test]
fn a_manifest_wants_a_roll_over_when_its_edits_outgrow_its_state() {
    let (_, env) = world(3);
    let mut store = Store::create(&env, dir(), FileId(8), &start()).unwrap();
    let mut appended = 0;
    while !store.needs_rollover() {
        let seq = 31 + appended;
        let id = 20 + appended;
        store.append(&flush(vec![placed(0, id, meta(id, ("a", "b"), (seq, seq)))], 0)).unwrap();
        let next = FileId(id + 1);
        let edit = compaction(store.state(), &[id], vec![]);
        store.append(&Edit { next_file: Some(next), ..edit }).unwrap();
        appended += 1;
    }
    assert!(store.byte_count() > ROLLOVER_BYTES, "{}", store.byte_count());
    assert!(store.byte_count() < 2 * ROLLOVER_BYTES, "{}", store.byte_count());
    let state = store.state().clone();
    store.roll_over(&env, dir(), FileId(9)).unwrap();
    assert!(!store.needs_rollover());
    assert_eq!((store.id(), store.state()), (FileId(9), &state));
}
