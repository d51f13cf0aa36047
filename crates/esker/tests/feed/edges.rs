//! Where a feed could tell what is not so: names of long ago, numbers not reached yet, ends that were
//! never cut, an open that ends in the middle.

use super::{Copy, DIR, Follower, MANY, Met, all_words, drain, from, open, options};
use esker::Change;
use esker::env::sim::{Calls, Errno, Fault, Loss, Sim};

/// A name is that of the moment, or it is not told: what a compaction has left of the records of then may
/// be older than then.
#[test]
fn a_name_that_was_written_over_is_not_told() {
    let world = Sim::new(31);
    let db = options(&world).keep_logs(MANY).background_compaction(false).open(DIR).unwrap();
    let c = db.collection("b").unwrap();
    let still = db.collection("still").unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    db.rename_collection(&c, "a").unwrap();
    let seen = db.stats().sequence;
    c.insert("k", "1").unwrap();
    still.insert("k", "1").unwrap();
    db.collection("b").unwrap().insert("k", "2").unwrap();
    db.flush().unwrap();
    let found = all_words(&from(&db, seen + 1));
    assert_eq!(found, ["a:k=1", "still:k=1", "named b filter None", "b:k=2"]);
}

/// A number above the present: names are those of the moment that is reached, not of the call.
#[test]
fn names_are_those_of_when_a_number_is_reached() {
    let world = Sim::new(32);
    let db = open(&world, MANY);
    let c = db.collection("a").unwrap();
    db.sync().unwrap();
    let mut ahead = db.changes(db.stats().sequence + 5).unwrap();
    db.rename_collection(&c, "b").unwrap();
    let new = db.collection("new").unwrap();
    for value in 0..5 {
        c.insert("k", value.to_string()).unwrap();
        new.insert("k", value.to_string()).unwrap();
    }
    db.sync().unwrap();
    let found = drain(&mut ahead);
    assert!(found.len() > 4);
    for change in &found {
        let Change::Batch { operations, .. } = change else { panic!("{change:?}") };
        for operation in operations {
            let want = if operation.collection == Some(c.id()) { "b" } else { "new" };
            assert_eq!(operation.path.as_deref(), Some(want), "{change:?}");
        }
    }
}

/// A log that was sealed after its last sync, and not flushed before the close, ends where it says too.
#[test]
fn a_log_that_a_close_has_not_flushed_is_kept_cut() {
    for n in 1..=2 {
        let world = Sim::new(33);
        let db = open(&world, 0);
        let c = db.collection("c").unwrap();
        c.insert("a", "1").unwrap();
        db.sync().unwrap();
        world.fail_from(
            world.count(Calls::CREATE) + n,
            Fault::refuse(Errno::NoSpace, Calls::CREATE),
        );
        db.flush().unwrap_err();
        world.heal();
        drop(c);
        db.close().unwrap();
        let db = open(&world, MANY);
        db.flush().unwrap();
        let report = db.verify().unwrap();
        assert!(report.is_whole(), "{n}: {:?}", report.damages);
        assert_eq!(all_words(&from(&db, 1))[1..], ["c:a=1"]);
    }
}

/// What is only read, and was not closed well: whoever goes on from the end of what is held misses nothing.
#[test]
fn what_is_held_of_an_unclean_end_ends_with_what_is_durable() {
    let world = Sim::new(34);
    let db = open(&world, MANY);
    let c = db.collection("c").unwrap();
    c.insert("a", "1").unwrap();
    db.flush().unwrap();
    c.insert("a", "2").unwrap();
    let killed = world.crash(Loss::None);
    let held = options(&killed).read_only(true).open(DIR).unwrap().changes_held().unwrap();
    let db = open(&killed, MANY);
    assert_eq!(all_words(&from(&db, held.end)), ["c:a=2"]);
}

/// F-6, F-15: a process is killed with much that is not flushed, and the power fails at any call of the
/// open that recovers it, which may have flushed a part of a log: nothing that comes back is missing in
/// the feed, or it says so.
#[test]
fn an_open_that_is_cut_short_hides_nothing() {
    let world = Sim::new(35);
    let large = options(&world).slab_bytes(64 << 10).keep_logs(MANY).sync_interval(None);
    let db = large.open(DIR).unwrap();
    let c = db.collection("c").unwrap();
    db.flush().unwrap();
    (0..60u8).for_each(|n| c.insert([n], vec![n; 550]).unwrap());
    let killed = world.crash(Loss::None);
    drop((c, db));
    let began = Follower { copy: Copy::default(), next: 1 };
    for keep in [0, 20 << 10, MANY] {
        let whole = killed.snapshot();
        let first = whole.calls();
        drop(open(&whole, keep));
        let calls = whole.calls() - first;
        assert!(calls > 30, "{calls}");
        for (call, loss) in (1..=calls).flat_map(|call| Loss::MODELS.map(|loss| (call, loss))) {
            let world = killed.snapshot();
            world.crash_at(world.calls() + call);
            let _ = options(&world).keep_logs(keep).open(DIR);
            let world = world.crash(loss);
            let read = options(&world).read_only(true).open(DIR).unwrap().changes_held().unwrap();
            let db = open(&world, keep);
            assert!(read.start <= read.end && read.start <= db.changes_held().unwrap().start);
            let mut follower = began.clone();
            let met = follower.follow(&db);
            assert!(keep < MANY || met == Met::All, "call {call} of {calls}, {loss:?}");
            assert_eq!(follower.copy, Copy::of(&db), "{keep}: call {call} of {calls}, {loss:?}");
            assert!(db.stats().kept_log_bytes <= keep);
            assert!(db.verify().unwrap().is_whole());
        }
    }
}
