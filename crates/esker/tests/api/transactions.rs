//! Serializable transactions: every anomaly of the Hermitage list as a schedule (F-46), what a
//! transaction sees of its own writes, savepoints, and keys that are read and written as one step.
//!
//! The schedules are those of Martin Kleppmann's Hermitage, over keys in the place of rows: `1` is 10
//! and `2` is 20; "where value …" is a walk over all keys.

use super::{folder, small};
use esker::{Collection, Db, ErrorKind, MergeOperator, Result, Settings, Transaction};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tempfile::TempDir;

/// Where what others commit lies when it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    InMemory,
    Flushed,
    Compacted,
}

struct World {
    db: Db,
    c: Collection,
    lie: Lie,
    _folder: TempDir,
}

impl World {
    fn new(lie: Lie) -> Self {
        let folder = folder();
        let db = small().background_compaction(false).open(folder.path()).unwrap();
        let c = db.collection("test").unwrap();
        c.insert("1", "10").unwrap();
        c.insert("2", "20").unwrap();
        let world = Self { db, c, lie, _folder: folder };
        world.settle();
        world
    }

    fn settle(&self) {
        match self.lie {
            Lie::InMemory => {}
            Lie::Flushed => self.db.flush().unwrap(),
            Lie::Compacted => self.db.compact().unwrap(),
        }
    }

    fn begin(&self) -> Transaction {
        self.db.begin()
    }

    fn commits(&self, txn: Transaction) {
        txn.commit().unwrap();
        self.settle();
    }

    fn conflicts(&self, txn: Transaction) {
        assert_eq!(txn.commit().unwrap_err().kind(), ErrorKind::Conflict, "{:?}", self.lie);
    }

    fn put(&self, txn: &mut Transaction, key: &str, value: u64) {
        txn.insert(&self.c, key, value.to_string()).unwrap();
    }

    fn get(&self, txn: &Transaction, key: &str) -> u64 {
        number(&txn.get(&self.c, key).unwrap().unwrap())
    }

    /// The keys whose values are as `wanted`.
    fn select(&self, txn: &Transaction, wanted: impl Fn(u64) -> bool) -> Vec<(String, u64)> {
        let rows = txn.iter(&self.c).unwrap().map(|pair| {
            let (key, value) = pair.unwrap();
            (String::from_utf8(key.to_vec()).unwrap(), number(&value))
        });
        rows.filter(|row| wanted(row.1)).collect()
    }

    /// All that is committed.
    fn rows(&self) -> String {
        super::pairs(self.c.iter())
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn wherever_it_lies(schedule: impl Fn(&World)) {
    for lie in [Lie::InMemory, Lie::Flushed, Lie::Compacted] {
        schedule(&World::new(lie));
    }
}

/// G0: write cycles. Writes of two transactions do not mix.
#[test]
fn writes_of_two_transactions_do_not_mix() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        world.put(&mut t1, "1", 11);
        world.put(&mut t2, "1", 12);
        world.put(&mut t1, "2", 21);
        world.commits(t1);
        assert_eq!(world.rows(), "1=11 2=21 ");
        world.put(&mut t2, "2", 22);
        world.commits(t2);
        assert_eq!(world.rows(), "1=12 2=22 ");
    });
}

/// G1a: what is given up is never read.
#[test]
fn what_is_given_up_is_never_read() {
    wherever_it_lies(|world| {
        let (mut t1, t2) = (world.begin(), world.begin());
        world.put(&mut t1, "1", 101);
        assert_eq!(world.get(&t2, "1"), 10);
        drop(t1);
        assert_eq!(world.get(&t2, "1"), 10);
        world.commits(t2);
        assert_eq!(world.rows(), "1=10 2=20 ");
    });
}

/// G1b: a value that was overwritten before the commit is never read.
#[test]
fn a_value_between_is_never_read() {
    wherever_it_lies(|world| {
        let (mut t1, t2) = (world.begin(), world.begin());
        world.put(&mut t1, "1", 101);
        assert_eq!(world.get(&t2, "1"), 10);
        world.put(&mut t1, "1", 11);
        world.commits(t1);
        assert_eq!(world.get(&t2, "1"), 10);
        world.commits(t2);
        assert_eq!(world.rows(), "1=11 2=20 ");
    });
}

/// G1c: two transactions that each read what the other overwrites do not both commit.
#[test]
fn information_does_not_flow_in_a_circle() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        world.put(&mut t1, "1", 11);
        world.put(&mut t2, "2", 22);
        assert_eq!(world.get(&t1, "2"), 20);
        assert_eq!(world.get(&t2, "1"), 10);
        world.commits(t1);
        world.conflicts(t2);
        assert_eq!(world.rows(), "1=11 2=20 ");
    });
}

/// OTV: an observed transaction does not vanish.
#[test]
fn a_transaction_that_was_seen_stays_seen() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        world.put(&mut t1, "1", 11);
        world.put(&mut t1, "2", 19);
        world.put(&mut t2, "1", 12);
        world.commits(t1);
        let t3 = world.begin();
        assert_eq!(world.get(&t3, "1"), 11);
        world.put(&mut t2, "2", 18);
        assert_eq!(world.get(&t3, "2"), 19);
        world.commits(t2);
        assert_eq!((world.get(&t3, "2"), world.get(&t3, "1")), (19, 11));
        world.commits(t3);
        assert_eq!(world.rows(), "1=12 2=18 ");
    });
}

/// PMP: what a predicate finds stays as it is.
#[test]
fn a_predicate_finds_the_same_twice() {
    wherever_it_lies(|world| {
        let (t1, mut t2) = (world.begin(), world.begin());
        assert_eq!(world.select(&t1, |value| value == 30), []);
        world.put(&mut t2, "3", 30);
        world.commits(t2);
        assert_eq!(world.select(&t1, |value| value % 3 == 0), []);
        world.commits(t1);
    });
}

/// PMP with writes: a predicate that was written under another's feet.
#[test]
fn a_predicate_that_was_written_meanwhile_conflicts() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        for (key, value) in world.select(&t1, |_| true) {
            world.put(&mut t1, &key, value + 10);
        }
        for (key, _) in world.select(&t2, |value| value == 20) {
            t2.remove(&world.c, key).unwrap();
        }
        world.commits(t1);
        world.conflicts(t2);
        assert_eq!(world.rows(), "1=20 2=30 ");
    });
}

/// P4: no update is lost.
#[test]
fn no_update_is_lost() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        let (one, two) = (world.get(&t1, "1"), world.get(&t2, "1"));
        world.put(&mut t1, "1", one + 1);
        world.put(&mut t2, "1", two + 1);
        world.commits(t1);
        world.conflicts(t2);
        assert_eq!(world.rows(), "1=11 2=20 ");
    });
}

/// G-single: read skew.
#[test]
fn reads_are_of_one_moment() {
    wherever_it_lies(|world| {
        let (t1, mut t2) = (world.begin(), world.begin());
        assert_eq!(world.get(&t1, "1"), 10);
        assert_eq!((world.get(&t2, "1"), world.get(&t2, "2")), (10, 20));
        world.put(&mut t2, "1", 12);
        world.put(&mut t2, "2", 18);
        world.commits(t2);
        assert_eq!(world.get(&t1, "2"), 20);
        world.commits(t1);
    });
}

/// G-single, over a predicate.
#[test]
fn predicates_are_of_one_moment() {
    wherever_it_lies(|world| {
        let (t1, mut t2) = (world.begin(), world.begin());
        assert_eq!(world.select(&t1, |value| value % 5 == 0).len(), 2);
        for (key, _) in world.select(&t2, |value| value == 10) {
            world.put(&mut t2, &key, 12);
        }
        world.commits(t2);
        assert_eq!(world.select(&t1, |value| value % 3 == 0), []);
        world.commits(t1);
    });
}

/// G-single, with a write that rests on the skew.
#[test]
fn a_write_upon_skewed_reads_conflicts() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        assert_eq!(world.get(&t1, "1"), 10);
        assert_eq!(world.select(&t2, |_| true).len(), 2);
        world.put(&mut t2, "1", 12);
        world.put(&mut t2, "2", 18);
        world.commits(t2);
        for (key, _) in world.select(&t1, |value| value == 20) {
            t1.remove(&world.c, key).unwrap();
        }
        world.conflicts(t1);
        assert_eq!(world.rows(), "1=12 2=18 ");
    });
}

/// G-single, where the one in the way gives up.
#[test]
fn who_gives_up_stands_in_nobodys_way() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        assert_eq!(world.get(&t1, "1"), 10);
        assert_eq!(world.select(&t2, |_| true).len(), 2);
        world.put(&mut t2, "1", 12);
        for (key, _) in world.select(&t1, |value| value == 20) {
            t1.remove(&world.c, key).unwrap();
        }
        world.put(&mut t2, "2", 18);
        drop(t1);
        world.commits(t2);
        assert_eq!(world.rows(), "1=12 2=18 ");
    });
}

/// G2-item: write skew on keys.
#[test]
fn write_skew_on_keys_conflicts() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        for txn in [&t1, &t2] {
            assert_eq!((world.get(txn, "1"), world.get(txn, "2")), (10, 20));
        }
        world.put(&mut t1, "1", 11);
        world.put(&mut t2, "2", 21);
        world.commits(t1);
        world.conflicts(t2);
        assert_eq!(world.rows(), "1=11 2=20 ");
    });
}

/// G2: write skew on a predicate.
#[test]
fn write_skew_on_a_predicate_conflicts() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        for txn in [&t1, &t2] {
            assert_eq!(world.select(txn, |value| value % 3 == 0), []);
        }
        world.put(&mut t1, "3", 30);
        world.put(&mut t2, "4", 42);
        world.commits(t1);
        world.conflicts(t2);
        assert_eq!(world.rows(), "1=10 2=20 3=30 ");
    });
}

/// G2 with two edges: what a reader has seen rules out the order that the writer would need.
#[test]
fn a_reader_rules_out_what_it_has_not_seen() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        assert_eq!(world.select(&t1, |_| true).len(), 2);
        let two = world.get(&t2, "2");
        world.put(&mut t2, "2", two + 5);
        world.commits(t2);
        let t3 = world.begin();
        assert_eq!(world.select(&t3, |_| true), [("1".into(), 10), ("2".into(), 25)]);
        world.commits(t3);
        world.put(&mut t1, "1", 0);
        world.conflicts(t1);
    });
}

/// Plain writes, batches, removals of ranges and ingests take part.
#[test]
fn whatever_writes_a_key_that_was_read_conflicts() {
    type Write = fn(&World);
    let writes: [Write; 7] = [
        |world| world.c.insert("1", "11").unwrap(),
        |world| world.c.remove("1").unwrap(),
        |world| world.c.remove_range("0".."2").unwrap(),
        |world| world.c.remove_prefix("1").unwrap(),
        |world| world.c.clear().unwrap(),
        |world| {
            let mut batch = world.db.batch();
            batch.insert(&world.c, "0", "0").unwrap();
            batch.insert(&world.c, "1", "11").unwrap();
            batch.commit().unwrap();
        },
        |world| assert_eq!(world.c.ingest([("1", "11")]).unwrap(), 1),
    ];
    wherever_it_lies(|world| {
        for (place, write) in writes.iter().enumerate() {
            world.c.insert("1", "10").unwrap();
            let (mut by_key, mut by_range) = (world.begin(), world.begin());
            world.get(&by_key, "1");
            assert_eq!(by_range.range(&world.c, "1".."2").unwrap().count(), 1);
            world.put(&mut by_key, "9", 1);
            world.put(&mut by_range, "9", 1);
            write(world);
            world.settle();
            for txn in [by_key, by_range] {
                let error = txn.commit().map_err(|error| error.kind());
                assert_eq!(error, Err(ErrorKind::Conflict), "write {place}, {:?}", world.lie);
            }
        }
    });
}

/// What a conflict names was read and written, also where a range delete begins elsewhere.
#[test]
fn a_conflict_names_a_key_that_was_read() {
    wherever_it_lies(|world| {
        let (mut t1, mut t2) = (world.begin(), world.begin());
        assert_eq!(t1.range(&world.c, "12".."3").unwrap().count(), 1);
        assert_eq!(t2.range(&world.c, "0".."3").unwrap().count(), 2);
        world.put(&mut t1, "9", 1);
        world.put(&mut t2, "9", 1);
        world.c.remove_range("11".."8").unwrap();
        world.settle();
        for (txn, key) in [(t1, "\"12\""), (t2, "\"11\"")] {
            let error = txn.commit().unwrap_err();
            assert!(error.message().contains(key), "{error}, {:?}", world.lie);
        }
    });
}

/// What lies beside what was read stands in nobody's way.
#[test]
fn writes_beside_what_was_read_do_not_conflict() {
    wherever_it_lies(|world| {
        let other = world.db.collection("other").unwrap();
        for key in ["a", "c", "e"] {
            world.c.insert(key, "0").unwrap();
        }
        let mut txn = world.begin();
        world.get(&txn, "a");
        assert!(!txn.contains_key(&world.c, "b").unwrap());
        assert_eq!(txn.range(&world.c, "c".."e").unwrap().count(), 1);
        // Of all from `x` on it looks at none.
        assert!(txn.range(&world.c, "x"..).unwrap().size_hint().1.is_none());
        world.put(&mut txn, "z", 1);
        for key in ["aa", "bb", "e", "f", "y", "z"] {
            world.c.insert(key, "1").unwrap();
        }
        world.c.remove_range("e".."g").unwrap();
        other.insert("a", "1").unwrap();
        world.settle();
        world.commits(txn);
        assert_eq!(world.c.get("z").unwrap().unwrap(), b"1");
    });
}

/// A walk that stops half-way has read half of the range.
#[test]
fn a_range_is_read_as_far_as_it_was_walked() {
    let walk = |back: bool, touch: &str| {
        let world = World::new(Lie::InMemory);
        for key in ["a", "b", "c", "d", "e"] {
            world.c.insert(key, "0").unwrap();
        }
        let mut txn = world.begin();
        let mut range = txn.range(&world.c, "a"..="e").unwrap();
        let seen = if back { range.nth_back(1) } else { range.nth(1) };
        assert_eq!(seen.unwrap().unwrap().0, if back { b"d" } else { b"b" });
        drop(range);
        world.put(&mut txn, "z", 1);
        world.c.insert(touch, "1").unwrap();
        txn.commit().map_err(|error| error.kind())
    };
    for touch in ["a", "aa", "b"] {
        assert_eq!(walk(false, touch), Err(ErrorKind::Conflict), "{touch}");
        assert_eq!(walk(true, touch), Ok(()), "{touch}");
    }
    assert_eq!(walk(false, "c"), Ok(()));
    for touch in ["d", "dd", "e"] {
        assert_eq!(walk(true, touch), Err(ErrorKind::Conflict), "{touch}");
        assert_eq!(walk(false, touch), Ok(()), "{touch}");
    }
}

/// A walk that is never dropped cannot say how far it went: it has read all of its range.
#[test]
fn a_walk_that_is_forgotten_has_read_its_whole_range() {
    for touch in ["a", "e", "f"] {
        let world = World::new(Lie::InMemory);
        for key in ["a", "b", "c", "d", "e"] {
            world.c.insert(key, "0").unwrap();
        }
        let mut txn = world.begin();
        let mut range = txn.range(&world.c, "a"..="e").unwrap();
        drop(txn.range(&world.c, "x"..).unwrap());
        range.next().unwrap().unwrap();
        std::mem::forget(range);
        world.put(&mut txn, "z", 1);
        world.c.insert(touch, "1").unwrap();
        let committed = txn.commit().map_err(|error| error.kind());
        assert_eq!(committed, if touch == "f" { Ok(()) } else { Err(ErrorKind::Conflict) });
    }
}

/// Own writes lie over the snapshot, in gets and in walks from both ends (MOSS-14's keys).
#[test]
fn a_transaction_reads_its_own_writes() {
    wherever_it_lies(|world| {
        let c = world.db.collection("own").unwrap();
        for key in ["b", "d", "f", "h"] {
            c.insert(key, "old").unwrap();
        }
        world.settle();
        let mut txn = world.begin();
        for key in ["a", "d", "g", "z"] {
            txn.insert(&c, key, "new").unwrap();
        }
        txn.remove(&c, "b").unwrap();
        txn.remove(&c, "y").unwrap();
        txn.remove_range(&c, "g"..="h").unwrap();
        txn.insert(&c, "h", "again").unwrap();
        let text = |pair: Result<(esker::Key, esker::Value)>| {
            let (key, value) = pair.unwrap();
            format!("{}={} ", key.escape_ascii(), value.escape_ascii())
        };
        let want = ["a=new ", "d=new ", "f=old ", "h=again ", "z=new "];
        let forward: Vec<_> = txn.iter(&c).unwrap().map(text).collect();
        assert_eq!(forward, want);
        let mut backward: Vec<_> = txn.iter(&c).unwrap().rev().map(text).collect();
        backward.reverse();
        assert_eq!(backward, want);
        for front in 0..=want.len() {
            let mut range = txn.iter(&c).unwrap();
            let mut met: Vec<_> = range.by_ref().take(front).map(text).collect();
            let mut back: Vec<_> = range.by_ref().rev().map(text).collect();
            back.reverse();
            met.extend(back);
            assert_eq!(met, want, "{front} from the front");
            assert!(range.next().is_none() && range.next_back().is_none());
        }
        let get = |key| txn.get(&c, key).unwrap().map(|value| value.to_vec());
        assert_eq!(get("a").unwrap(), b"new");
        assert_eq!(get("b"), None);
        assert_eq!(get("f").unwrap(), b"old");
        assert_eq!(get("g"), None);
        assert!(txn.contains_key(&c, "h").unwrap() && !txn.contains_key(&c, "y").unwrap());
        assert_eq!(txn.prefix(&c, "h").unwrap().count(), 1);
        // Nobody else sees it before it commits.
        assert_eq!(super::keys(c.iter()), "b d f h ");
        world.commits(txn);
        assert_eq!(super::pairs(c.iter()), want.concat());
    });
}

#[test]
fn savepoints_nest() {
    let world = World::new(Lie::InMemory);
    let mut txn = world.begin();
    assert!(!txn.roll_back() && !txn.release());
    world.put(&mut txn, "1", 1);
    txn.save();
    world.put(&mut txn, "1", 2);
    world.put(&mut txn, "3", 3);
    txn.save();
    txn.remove_range(&world.c, "1".."4").unwrap();
    world.put(&mut txn, "2", 9);
    assert_eq!(world.select(&txn, |_| true), [("2".into(), 9)]);
    assert!(txn.roll_back());
    let all = |txn: &Transaction| world.select(txn, |_| true);
    assert_eq!(all(&txn), [("1".into(), 2), ("2".into(), 20), ("3".into(), 3)]);
    txn.save();
    txn.remove(&world.c, "3").unwrap();
    assert!(txn.release());
    assert_eq!(all(&txn), [("1".into(), 2), ("2".into(), 20)]);
    assert!(txn.roll_back());
    assert_eq!(all(&txn), [("1".into(), 1), ("2".into(), 20)]);
    world.commits(txn);
    assert_eq!(world.rows(), "1=1 2=20 ");
}

#[test]
fn a_transaction_that_writes_nothing_cannot_fail() {
    let world = World::new(Lie::InMemory);
    let txn = world.begin();
    assert_eq!(world.select(&txn, |_| true).len(), 2);
    world.c.clear().unwrap();
    txn.commit().unwrap();
    let stats = world.db.stats();
    assert_eq!((stats.transactions, stats.conflicts), (0, 0));
}

#[test]
fn what_a_transaction_may_not_write_changes_nothing() {
    let (world, other) = (World::new(Lie::InMemory), World::new(Lie::InMemory));
    let mut txn = world.begin();
    let kind = |result: Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(txn.insert(&other.c, "1", "")), ErrorKind::InvalidArgument);
    assert_eq!(kind(txn.remove_range(&other.c, "2".."1")), ErrorKind::InvalidArgument);
    assert_eq!(txn.get(&other.c, "1").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(kind(txn.insert(&world.c, vec![0; 70_000], "")), ErrorKind::InvalidArgument);
    txn.remove_range(&world.c, "2".."1").unwrap();
    world.commits(txn);
    assert_eq!(world.rows(), "1=10 2=20 ");
    assert_eq!(world.db.stats().transactions, 0);
}

/// `transact` runs again after a conflict, and not after another error.
#[test]
fn transact_runs_until_it_wins() {
    let world = World::new(Lie::InMemory);
    let mut turns = 0;
    let sum = world.db.transact(|txn| {
        turns += 1;
        let one = world.get(txn, "1");
        if turns < 3 {
            world.c.insert("1", (one + 1).to_string()).unwrap();
        }
        world.put(txn, "2", one);
        Ok(one)
    });
    assert_eq!((sum.unwrap(), turns), (12, 3));
    assert_eq!(world.rows(), "1=12 2=12 ");
    assert_eq!(world.db.stats().conflicts, 2);
    let lost = world.db.transact(|txn| {
        world.put(txn, "1", 0);
        txn.insert(&world.c, vec![0; 70_000], "")
    });
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(world.rows(), "1=12 2=12 ");
}

/// Eight threads move money; nobody ever sees, and nothing ever is, another sum.
#[test]
fn transfers_between_threads_keep_the_sum() {
    const ACCOUNTS: u64 = 10;
    let world = World::new(Lie::InMemory);
    let bank = world.db.collection("bank").unwrap();
    for account in 0..ACCOUNTS {
        bank.insert(account.to_string(), "100").unwrap();
    }
    let running = AtomicU64::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (bank, running, db) = (&bank, &running, &world.db);
            scope.spawn(move || {
                for turn in 0..200u64 {
                    let (from, to) = ((thread * 7 + turn * 3) % 10, (thread + turn * 7 + 1) % 10);
                    let (from, to) = (from.to_string(), to.to_string());
                    let moved = db.transact(|txn| {
                        let have = number(&txn.get(bank, &from)?.unwrap());
                        txn.insert(bank, &from, have.saturating_sub(5).to_string())?;
                        let other = number(&txn.get(bank, &to)?.unwrap());
                        txn.insert(bank, &to, (other + have.min(5)).to_string())
                    });
                    moved.unwrap();
                }
                running.fetch_sub(1, SeqCst);
            });
        }
        scope.spawn(|| {
            while running.load(SeqCst) > 0 {
                let sum: u64 = bank.iter().map(|pair| number(&pair.unwrap().1)).sum();
                assert_eq!(sum, 100 * ACCOUNTS);
            }
        });
    });
    assert_eq!(world.db.stats().transactions, 1600);
}

#[test]
fn a_key_is_compared_and_swapped_as_one_step() {
    let world = World::new(Lie::InMemory);
    let c = &world.c;
    let none = None::<&str>;
    assert_eq!(c.compare_and_swap("1", Some("10"), Some("11")).unwrap(), Ok(()));
    let lost = c.compare_and_swap("1", Some("10"), Some("12")).unwrap();
    assert_eq!(lost.unwrap_err().unwrap(), b"11");
    assert_eq!(c.compare_and_swap("1", Some("11"), none).unwrap(), Ok(()));
    assert_eq!(c.compare_and_swap("1", Some("11"), none).unwrap(), Err(None));
    assert_eq!(c.insert_if_absent("1", "5").unwrap(), None);
    assert_eq!(c.insert_if_absent("1", "6").unwrap().unwrap(), b"5");
    assert_eq!(world.rows(), "1=5 2=20 ");
    let before = c.fetch_update("2", |value| value.map(|value| [value, b"0"].concat()));
    assert_eq!(before.unwrap().unwrap(), b"20");
    assert_eq!(c.fetch_update("1", |_| None::<&str>).unwrap().unwrap(), b"5");
    assert_eq!(c.fetch_update("3", |value| value.map_or(Some("new"), |_| None)).unwrap(), None);
    assert_eq!(world.rows(), "2=200 3=new ");
}

/// Eight threads empty a queue from both ends: each pair comes to one of them.
#[test]
fn a_pair_is_popped_once() {
    let world = World::new(Lie::InMemory);
    let queue = world.db.collection("queue").unwrap();
    for n in 0..400 {
        queue.insert(format!("{n:03}"), "").unwrap();
    }
    let popped: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let queue = &queue;
                scope.spawn(move || {
                    let pop = || {
                        let pair = if worker < 4 { queue.pop_first() } else { queue.pop_last() };
                        pair.unwrap().map(|pair| pair.0.to_vec())
                    };
                    std::iter::from_fn(pop).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(popped.len(), 400);
    assert_eq!(popped.into_iter().collect::<std::collections::BTreeSet<_>>().len(), 400);
    assert!(queue.pop_first().unwrap().is_none() && queue.pop_last().unwrap().is_none());
}

/// MOSS-20's vectors in a transaction: operands upon the snapshot, upon own values, upon nothing.
#[test]
fn operands_of_a_transaction_fold_upon_what_it_sees() {
    let folder = folder();
    let append = esker::operators::Append::new(":");
    let settings = Settings::default().merge_operator(append.name());
    let db = small().merge_operator(append).open(folder.path()).unwrap();
    let c = db.collection_with("c", &settings).unwrap();
    for key in ["d", "k", "z"] {
        c.insert(key, "x").unwrap();
    }
    let mut txn = db.begin();
    for (key, operand) in [("a", "a"), ("a", "b"), ("d", "c"), ("z", "1")] {
        txn.merge(&c, key, operand).unwrap();
    }
    txn.remove(&c, "k").unwrap();
    txn.merge(&c, "k", "d").unwrap();
    txn.insert(&c, "m", "x").unwrap();
    txn.merge(&c, "m", "c").unwrap();
    txn.save();
    txn.remove_range(&c, "z"..).unwrap();
    txn.merge(&c, "z", "2").unwrap();
    let want = ["a=:a:b ", "d=x:c ", "k=:d ", "m=x:c ", "z=:2 "];
    let text = |pair: Result<(esker::Key, esker::Value)>| {
        let (key, value) = pair.unwrap();
        format!("{}={} ", key.escape_ascii(), value.escape_ascii())
    };
    let seen = |txn: &Transaction| {
        let forward: Vec<_> = txn.iter(&c).unwrap().map(text).collect();
        let mut backward: Vec<_> = txn.iter(&c).unwrap().rev().map(text).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        for pair in &forward {
            let (key, value) = pair.trim_end().split_once('=').unwrap();
            assert_eq!(txn.get(&c, key).unwrap().unwrap(), value);
            assert!(txn.contains_key(&c, key).unwrap());
        }
        forward.concat()
    };
    assert_eq!(seen(&txn), want.concat());
    assert!(txn.roll_back());
    assert_eq!(seen(&txn), "a=:a:b d=x:c k=:d m=x:c z=x:1 ");
    txn.commit().unwrap();
    assert_eq!(super::pairs(c.iter()), "a=:a:b d=x:c k=:d m=x:c z=x:1 ");
    // Who only merges has read nothing; who looks at what it comes to has.
    let (mut blind, mut seeing) = (db.begin(), db.begin());
    blind.merge(&c, "a", "c").unwrap();
    seeing.merge(&c, "a", "d").unwrap();
    assert_eq!(seeing.get(&c, "a").unwrap().unwrap(), b":a:b:d");
    c.merge("a", "e").unwrap();
    blind.commit().unwrap();
    assert_eq!(seeing.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(c.get("a").unwrap().unwrap(), b":a:b:e:c");
    let mut none = db.begin();
    let plain = World::new(Lie::InMemory);
    assert_eq!(none.merge(&plain.c, "1", "2").unwrap_err().kind(), ErrorKind::InvalidArgument);
}
