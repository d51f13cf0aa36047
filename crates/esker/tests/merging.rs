//! Merge operators: whatever lies where, a key reads as if all its operations were applied one after
//! the other, before and after each flush, compaction and reopening.
//!
//! ```text
//!   put · delete · merge · range delete     ─▶ database in a Sim ─┐
//!   flush · compact · reopen · snapshot        a map, step by step ┴─ every way of reading agrees
//! ```

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

use esker::env::sim::Sim;
use esker::operators::{Append, U64Add};
use esker::{Collection, Db, ErrorKind, MergeOperator, Options, Range, Settings, Snapshot, View};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Appends, as [`Append`] does, and is told apart by what it cannot do.
#[derive(Debug)]
enum Odd {
    /// Combines no neighbours.
    Whole,
    /// Refuses an operand that is "!".
    Refusing,
    /// Panics at an operand that is "!".
    Panicking,
}

impl MergeOperator for Odd {
    fn name(&self) -> &str {
        "odd"
    }

    fn full(&self, key: &[u8], old: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        if all.contains(&&b"!"[..]) {
            match self {
                Self::Whole => {}
                Self::Refusing => return Err("an operand is !".into()),
                Self::Panicking => panic!("at !"),
            }
        }
        Append::new(":").full(key, old, all)
    }

    fn partial(&self, key: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Panicking if right == b"!" => panic!("at !"),
            Self::Refusing if left != b"!" && right != b"!" => {
                Append::new(":").partial(key, left, right)
            }
            _ => None,
        }
    }
}

fn append() -> Arc<dyn MergeOperator> {
    Arc::new(Append::new(":"))
}

fn options(sim: &Arc<Sim>, operator: &Arc<dyn MergeOperator>) -> Options {
    let options = Db::options().env(sim.clone()).slab_bytes(64 << 10).blob_threshold(256);
    options.merge_operator(operator.clone()).background_compaction(false)
}

/// The database, and its collection with this operator.
fn open(sim: &Arc<Sim>, operator: &Arc<dyn MergeOperator>) -> (Db, Collection) {
    let db = options(sim, operator).open("/db").unwrap();
    let settings = Settings::default().merge_operator(operator.name());
    let c = db.collection_with("c", &settings).unwrap();
    if c.settings() != settings {
        c.configure(&settings).unwrap();
    }
    (db, c)
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Delete(u8),
    Merge(u8, bool),
    RemoveRange(u8, u8),
    /// The operations of a batch.
    Batch(Vec<Step>),
    Flush,
    Compact,
    Reopen,
    Snapshot,
    Release(usize),
}

fn key(id: u8) -> [u8; 1] {
    [b'a' + id]
}

const KEYS: u8 = 6;

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    let point = prop_oneof![
        3 => (key.clone(), 0..6_usize).prop_map(|(key, len)| Step::Put(key, len * len * len * 3)),
        2 => key.clone().prop_map(Step::Delete),
        12 => (key.clone(), prop::bool::weighted(0.03)).prop_map(|(key, odd)| Step::Merge(key, odd)),
        1 => (key.clone(), key).prop_map(|(from, to)| Step::RemoveRange(from, to + 1)),
    ]
    .boxed();
    prop_oneof![
        18 => point.clone(),
        2 => prop::collection::vec(point, 1..6).prop_map(Step::Batch),
        3 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
        2 => Just(Step::Snapshot),
        2 => any::<usize>().prop_map(Step::Release),
    ]
}

/// What a key has: a value, or operands that come to none.
type State = BTreeMap<Vec<u8>, Result<Vec<u8>, ()>>;

struct World {
    sim: Arc<Sim>,
    operator: Arc<dyn MergeOperator>,
    /// Whether the operator takes no "!".
    refuses: bool,
    db: Db,
    c: Collection,
    state: State,
    snapshots: Vec<(Snapshot, State)>,
    count: usize,
}

impl World {
    fn new(seed: u64, operator: Arc<dyn MergeOperator>, refuses: bool) -> Self {
        let sim = Sim::new(seed);
        let (db, c) = open(&sim, &operator);
        let (state, snapshots) = Default::default();
        Self { sim, operator, refuses, db, c, state, snapshots, count: 0 }
    }

    /// Does an operation, in a batch if there is one, and the same to the map.
    fn operate(&mut self, step: &Step, batch: Option<&mut esker::WriteBatch>) {
        self.count += 1;
        let c = self.c.clone();
        match step {
            Step::Put(id, len) => {
                let value = format!("{}{}", self.count, "v".repeat(*len)).into_bytes();
                match batch {
                    Some(batch) => batch.insert(&c, key(*id), &value).unwrap(),
                    None => c.insert(key(*id), &value).unwrap(),
                }
                self.state.insert(key(*id).into(), Ok(value));
            }
            Step::Delete(id) => {
                match batch {
                    Some(batch) => batch.remove(&c, key(*id)).unwrap(),
                    None => c.remove(key(*id)).unwrap(),
                }
                self.state.remove(&key(*id)[..]);
            }
            Step::Merge(id, odd) => {
                let long = "o".repeat(if self.count.is_multiple_of(17) { 400 } else { 0 });
                let operand = if *odd { "!".to_owned() } else { format!("{}{long}", self.count) };
                match batch {
                    Some(batch) => batch.merge(&c, key(*id), &operand).unwrap(),
                    None => c.merge(key(*id), &operand).unwrap(),
                }
                let old = self.state.entry(key(*id).into()).or_insert_with(|| Ok(Vec::new()));
                match old {
                    Ok(_) if *odd && self.refuses => *old = Err(()),
                    Ok(value) => value.extend(format!(":{operand}").into_bytes()),
                    Err(()) => {}
                }
            }
            Step::RemoveRange(from, to) => {
                let (from, to) = (key(*from), key(*to));
                match batch {
                    Some(batch) => batch.remove_range(&c, from..to).unwrap(),
                    None => c.remove_range(from..to).unwrap(),
                }
                self.state.retain(|key, _| !(from[..] <= key[..] && key[..] < to[..]));
            }
            _ => unreachable!("no operation"),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Batch(steps) => {
                let mut batch = self.db.batch();
                steps.iter().for_each(|step| self.operate(step, Some(&mut batch)));
                batch.commit().unwrap();
            }
            Step::Flush | Step::Compact => {
                let sum = self.db.checksum().unwrap();
                match step {
                    Step::Flush => self.db.flush().unwrap(),
                    _ => self.db.compact().unwrap(),
                }
                assert_eq!(self.db.checksum().unwrap(), sum, "{step:?}");
                self.check();
            }
            Step::Reopen => {
                let sum = self.db.checksum().unwrap();
                self.snapshots.clear();
                self.db.clone().close().unwrap();
                (self.db, self.c) = open(&self.sim, &self.operator);
                assert_eq!(self.db.checksum().unwrap(), sum);
                self.check();
            }
            Step::Snapshot => self.snapshots.push((self.db.snapshot(), self.state.clone())),
            Step::Release(at) if !self.snapshots.is_empty() => {
                drop(self.snapshots.swap_remove(at % self.snapshots.len()));
            }
            Step::Release(_) => {}
            operation => self.operate(operation, None),
        }
    }

    /// Reads all there is in every way, now and at every snapshot.
    fn check(&self) {
        check(&self.c.at(&self.db.snapshot()), &self.state);
        for id in 0..KEYS {
            let want = wanted(self.state.get(&key(id)[..]));
            assert_eq!(shown(self.c.get(key(id)).map(|v| v.map(|v| v.to_vec()))), want);
        }
        for (snapshot, state) in &self.snapshots {
            check(&self.c.at(snapshot), state);
        }
        let report = self.db.verify().unwrap();
        assert!(report.is_whole(), "{:?}", report.damages);
    }
}

const FAILED: &str = "failed";

/// A read as text; of an error only that it is the operator's.
fn shown(read: esker::Result<Option<Vec<u8>>>) -> Option<String> {
    match read {
        Ok(value) => value.map(|value| String::from_utf8(value).unwrap()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            Some(FAILED.into())
        }
    }
}

fn wanted(state: Option<&Result<Vec<u8>, ()>>) -> Option<String> {
    state.map(|value| match value {
        Ok(value) => String::from_utf8(value.clone()).unwrap(),
        Err(()) => FAILED.into(),
    })
}

fn check(view: &View, state: &State) {
    for id in 0..KEYS {
        let want = wanted(state.get(&key(id)[..]));
        assert_eq!(shown(view.get(key(id)).map(|v| v.map(|v| v.to_vec()))), want);
        assert_eq!(view.contains_key(key(id)).unwrap_or(true), want.is_some());
        let part =
            want.clone().filter(|want| want != FAILED).map(|want| want[..2.min(want.len())].into());
        let found = shown(view.get_range(key(id), ..2).map(|v| v.map(|v| v.to_vec())));
        assert_eq!(found.filter(|found| found != FAILED), part);
        let read = view.reader(key(id)).map(|reader| {
            reader.map(|mut reader| {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap();
                bytes
            })
        });
        assert_eq!(shown(read), want);
    }
    let fails = state.values().any(Result::is_err);
    let all = view.multi_get((0..KEYS).map(key));
    assert_eq!(all.is_err(), fails);
    if let Ok(all) = all {
        for (id, value) in (0..KEYS).zip(all) {
            assert_eq!(shown(Ok(value.map(|v| v.to_vec()))), wanted(state.get(&key(id)[..])));
        }
    }
    // Up to the first key that cannot be read, from either end; then from both in turn.
    let pairs: Vec<_> = state.iter().collect();
    let until = |mut range: Range, back: bool| {
        let next = |range: &mut Range| if back { range.next_back() } else { range.next() };
        let mut found = Vec::new();
        while let Some(Ok((key, value))) = next(&mut range) {
            found.push((key.to_vec(), value.to_vec()));
        }
        found
    };
    let readable = |(key, value): &&(&Vec<u8>, &Result<Vec<u8>, ()>)| {
        value.as_ref().ok().map(|value| ((*key).clone(), value.clone()))
    };
    let want: Vec<_> = pairs.iter().map_while(|pair| readable(&pair)).collect();
    assert_eq!(until(view.iter(), false), want);
    let mut lent = view.iter();
    let mut found = Vec::new();
    while let Ok(Some((key, value))) = lent.next_lent() {
        found.push((key.to_vec(), value.to_vec()));
    }
    assert_eq!(found, want);
    let want: Vec<_> = pairs.iter().rev().map_while(|pair| readable(&pair)).collect();
    assert_eq!(until(view.iter(), true), want);
    if !fails {
        let mut range = view.iter();
        let mut count = 0;
        while let Some(pair) = if count % 2 == 0 { range.next() } else { range.next_back() } {
            let (key, value) = pair.unwrap();
            assert_eq!(state[&key[..]].as_ref().unwrap(), &value[..]);
            count += 1;
        }
        assert_eq!(count, state.len());
        let keys: Vec<_> = view.iter().readers().map(|pair| pair.unwrap().0.to_vec()).collect();
        assert!(keys.iter().eq(state.keys()));
    }
}

fn run(seed: u64, operator: Arc<dyn MergeOperator>, refuses: bool, steps: &[Step]) {
    let mut world = World::new(seed, operator, refuses);
    steps.iter().for_each(|step| world.step(step));
    world.check();
    world.snapshots.clear();
    world.step(&Step::Flush);
    world.step(&Step::Compact);
    world.step(&Step::Reopen);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// MOSS-19, MOSS-20, MOSS-D1, MOSS-6.
    #[test]
    fn a_key_reads_as_if_its_operations_were_applied_one_by_one(
        steps in prop::collection::vec(step(), 1..80),
        seed in any::<u64>(),
        operator in 0..4,
    ) {
        match operator {
            0 => run(seed, append(), false, &steps),
            1 => run(seed, Arc::new(Odd::Whole), false, &steps),
            2 => run(seed, Arc::new(Odd::Refusing), true, &steps),
            _ => run(seed, Arc::new(Odd::Panicking), true, &steps),
        }
    }
}

/// How operations may lie when they are read.
const FATES: [&str; 6] =
    ["in memory", "flushed", "runs", "compacted", "reopened", "after a snapshot"];

/// What a key has after `steps`, however they lie: a put `=x`, a removal `-`, an operand `+x`.
fn after(steps: &[&str]) -> Option<String> {
    let answers = FATES.map(|fate| {
        let sim = Sim::new(6);
        let (mut db, mut c) = open(&sim, &append());
        let mut snapshots = Vec::new();
        for step in steps {
            let (what, value) = step.split_at(1);
            match what {
                "=" => c.insert("k", value).unwrap(),
                "+" => c.merge("k", value).unwrap(),
                _ => c.remove("k").unwrap(),
            }
            match fate {
                "runs" => db.flush().unwrap(),
                "after a snapshot" => snapshots.push(db.snapshot()),
                _ => {}
            }
        }
        match fate {
            "in memory" => {}
            "reopened" => {
                db.close().unwrap();
                (db, c) = open(&sim, &append());
            }
            "flushed" => db.flush().unwrap(),
            _ => {
                db.flush().unwrap();
                db.compact().unwrap();
            }
        }
        let value = c.get("k").unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap());
        drop(db);
        value
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{steps:?}: {answers:?}");
    answers[0].clone()
}

/// MOSS-20, MOSS-D1, its vectors.
#[test]
fn operands_come_upon_a_value_a_removal_or_nothing() {
    assert_eq!(after(&["+a", "+b"]).unwrap(), ":a:b");
    assert_eq!(after(&["=x", "+c"]).unwrap(), "x:c");
    assert_eq!(after(&["-", "+d"]).unwrap(), ":d");
    assert_eq!(after(&["=x", "-", "+d", "+e"]).unwrap(), ":d:e");
    assert_eq!(after(&["+a", "=x", "+b"]).unwrap(), "x:b");
    assert_eq!(after(&["+a", "=x"]).unwrap(), "x");
    assert_eq!(after(&["=x", "+a", "-"]), None);
}

/// MOSS-6: in a batch the operations on one key come in its order.
#[test]
fn operands_of_one_key_chain_in_the_order_of_their_batch() {
    let sim = Sim::new(6);
    let (db, c) = open(&sim, &append());
    let mut batch = db.batch();
    batch.merge(&c, "k", "lost").unwrap();
    batch.insert(&c, "k", "x").unwrap();
    batch.merge(&c, "k", "a").unwrap();
    batch.merge(&c, "other", "b").unwrap();
    batch.merge(&c, "k", "c").unwrap();
    batch.commit().unwrap();
    for _ in 0..2 {
        assert_eq!(c.get("k").unwrap().unwrap(), b"x:a:c");
        assert_eq!(c.get("other").unwrap().unwrap(), b":b");
        db.flush().unwrap();
    }
    db.close().unwrap();
    let (_db, c) = open(&sim, &append());
    assert_eq!(c.get("k").unwrap().unwrap(), b"x:a:c");
}

/// Adds, and counts how often it is asked to.
#[derive(Debug, Default)]
struct Counting {
    full: AtomicU64,
    partial: AtomicU64,
}

impl MergeOperator for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn full(&self, key: &[u8], old: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        self.full.fetch_add(1, Relaxed);
        U64Add.full(key, old, all)
    }

    fn partial(&self, key: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        self.partial.fetch_add(1, Relaxed);
        U64Add.partial(key, left, right)
    }
}

/// MOSS-D12: counting blindly reads nothing, neither when it writes nor when a flush folds: what the
/// operands come upon is nobody's business before somebody reads.
#[test]
fn a_blind_load_of_counters_reads_nothing() {
    let counting = Arc::new(Counting::default());
    let operator: Arc<dyn MergeOperator> = counting.clone();
    let (db, c) = open(&Sim::new(12), &operator);
    for name in ["a", "b", "c"] {
        c.insert(name, U64Add::encode(1000)).unwrap();
    }
    db.flush().unwrap();
    for _ in 0..4 {
        for i in 0..300 {
            c.merge(["a", "b", "c"][i % 3], U64Add::encode(1)).unwrap();
        }
        db.flush().unwrap();
    }
    let stats = db.stats();
    assert_eq!(counting.full.load(Relaxed), 0);
    assert!(counting.partial.load(Relaxed) >= 4 * 3 * 99);
    assert_eq!((stats.cache_hits, stats.cache_misses, stats.filter_probes), (0, 0, 0));
    // Three operands of each flush are all that is left.
    assert_eq!((stats.operands_folded, stats.segment_entries), (1200, 3 + 4 * 3 + 2));
    assert_eq!(c.get("b").unwrap().as_deref().and_then(U64Add::decode), Some(1400));
    assert_eq!(counting.full.load(Relaxed), 1);
    db.compact().unwrap();
    assert_eq!(db.stats().segment_entries, 3 + 2);
    assert_eq!(c.get("c").unwrap().as_deref().and_then(U64Add::decode), Some(1400));
}

/// A collection whose operator is gone: what is written says so before it is, and nothing is lost.
#[test]
fn without_an_operator_nothing_is_merged_and_nothing_lost() {
    let sim = Sim::new(7);
    let operator: Arc<dyn MergeOperator> = Arc::new(Odd::Whole);
    let (db, c) = open(&sim, &operator);
    c.insert("k", "x").unwrap();
    c.merge("k", "a").unwrap();
    c.insert("plain", "1").unwrap();
    let none = db.collection("none").unwrap();
    let error = none.merge("k", "b").unwrap_err();
    assert!(error.message().contains("no merge operator"), "{error}");
    db.close().unwrap();
    let options = Db::options().env(sim.clone()).background_compaction(false);
    let db = options.open("/db").unwrap();
    let c = db.collection("c").unwrap();
    let sequence = db.stats().sequence;
    let error = c.merge("k", "b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for word in ["\"c\"", "\"odd\"", "not registered"] {
        assert!(error.message().contains(word), "{error}");
    }
    let mut batch = db.batch();
    assert_eq!(batch.merge(&c, "k", "b").unwrap_err().message(), error.message());
    assert!(batch.is_empty());
    assert_eq!(db.stats().sequence, sequence);
    let error = c.get("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("\"k\""), "{error}");
    assert_eq!(c.get("plain").unwrap().unwrap(), b"1");
    let sum = db.checksum().unwrap();
    c.insert("later", "2").unwrap();
    c.remove("later").unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    assert!(db.stats().operands_kept > 0);
    assert_ne!(db.checksum().unwrap(), sum);
    db.close().unwrap();
    let (db, c) = open(&sim, &operator);
    assert_eq!(c.get("k").unwrap().unwrap(), b"x:a");
    db.compact().unwrap();
    assert_eq!(c.get("k").unwrap().unwrap(), b"x:a");
    assert!(db.verify().unwrap().is_whole());
}

/// What an operator refuses, or panics at, is kept by every rewrite; the database goes on, and the
/// error has the key, the operator and its own words.
#[test]
fn an_operator_that_fails_loses_no_operand_and_stops_no_flush() {
    for (operator, words) in [(Odd::Refusing, "an operand is !"), (Odd::Panicking, "at !")] {
        let sim = Sim::new(8);
        let operator: Arc<dyn MergeOperator> = Arc::new(operator);
        let (db, c) = open(&sim, &operator);
        for round in 0..3 {
            c.merge("bad", ["a", "!", "b"][round]).unwrap();
            c.merge("good", "a").unwrap();
            db.flush().unwrap();
        }
        db.compact().unwrap();
        let error = c.get("bad").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        for word in ["\"bad\"", "\"odd\"", words] {
            assert!(error.message().contains(word), "{error}");
        }
        assert_eq!(c.get("good").unwrap().unwrap(), b":a:a:a");
        assert_eq!(db.stats().operands_kept, 3);
        assert!(!db.stats().read_only);
        // Its operands are all there for one that takes them.
        db.close().unwrap();
        let (db, c) = open(&sim, &append());
        assert_eq!(c.get("bad").unwrap().unwrap(), b":a:!:b");
        assert!(db.verify().unwrap().is_whole());
    }
}
