//! Random transactions from many clients, checked for serializability after the fact.
//!
//! ```text
//!   client   begin · read k₁ · append to k₂ · walk k₃…k₇ · commit ─▶ history ─▶ checker
//! ```
//!
//! Lists are values: to append is to read, and to insert what was read with one element more. In one
//! thread the clients take turns by a seed (`ESKER_SEED` replays it); in many they run as they will,
//! beside flushes and compactions. The same clients without the check at commit must be found out.

#![expect(clippy::unwrap_used, reason = "a test stops where an answer is not what it wants")]

mod checker;
#[path = "../support/mod.rs"]
mod support;

use checker::{Element, Key, Op, Txn, check};
use esker::{Collection, Db, ErrorKind, Snapshot, Transaction};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use support::{Dice, Tally};
use tempfile::TempDir;

/// How a client reads and commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As a transaction.
    Checked,
    /// Reads of a snapshot, then a plain batch: nobody checks anything.
    Unchecked,
}

/// What clients work on.
struct World {
    db: Db,
    lists: Collection,
    keys: u64,
    clock: AtomicU64,
    elements: AtomicU64,
    _folder: TempDir,
}

impl World {
    fn new(keys: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Db::options().slab_bytes(64 << 10).memory_budget(4 << 20);
        let db = options.open(folder.path()).unwrap();
        let lists = db.collection("lists").unwrap();
        let (clock, elements) = Default::default();
        Self { db, lists, keys, clock, elements, _folder: folder }
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    /// The history with a last transaction that reads every key.
    fn finish(&self, mut history: Vec<Txn>) -> Vec<Txn> {
        let mut last = Client::begin(self, Mode::Checked);
        (0..self.keys).for_each(|key| last.read(key as Key));
        history.push(last.commit());
        history
    }
}

fn name(key: Key) -> [u8; 4] {
    key.to_be_bytes()
}

fn decode(value: Option<&[u8]>) -> Vec<Element> {
    let elements = value.unwrap_or_default().chunks_exact(8);
    elements.map(|bytes| Element::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// One transaction on its way.
struct Client<'a> {
    world: &'a World,
    how: How,
    ops: Vec<Op>,
    began: u64,
}

enum How {
    Checked(Box<Transaction>),
    Unchecked(Snapshot, Vec<(Key, Vec<Element>)>),
}

impl<'a> Client<'a> {
    fn begin(world: &'a World, mode: Mode) -> Self {
        let began = world.now();
        let how = match mode {
            Mode::Checked => How::Checked(Box::new(world.db.begin())),
            Mode::Unchecked => How::Unchecked(world.db.snapshot(), Vec::new()),
        };
        Self { world, how, ops: Vec::new(), began }
    }

    fn look(&self, key: Key) -> Vec<Element> {
        let lists = &self.world.lists;
        match &self.how {
            How::Checked(txn) => decode(txn.get(lists, name(key)).unwrap().as_deref()),
            How::Unchecked(snapshot, own) => match own.iter().rfind(|(other, _)| *other == key) {
                Some((_, list)) => list.clone(),
                None => decode(lists.at(snapshot).get(name(key)).unwrap().as_deref()),
            },
        }
    }

    fn read(&mut self, key: Key) {
        let list = self.look(key);
        self.ops.push(Op::Read(key, list));
    }

    /// Reads the keys of a range, those that are absent too.
    fn walk(&mut self, keys: std::ops::Range<Key>, backward: bool) {
        let How::Checked(txn) = &self.how else { return keys.for_each(|key| self.read(key)) };
        let range = txn.range(&self.world.lists, name(keys.start)..name(keys.end)).unwrap();
        let pairs: Vec<_> = match backward {
            true => range.rev().map(Result::unwrap).collect(),
            false => range.map(Result::unwrap).collect(),
        };
        for key in keys {
            let found = pairs.iter().find(|(other, _)| *other == name(key));
            self.ops.push(Op::Read(key, decode(found.map(|(_, value)| &**value))));
        }
    }

    /// A list whose reading counts: the value that is written rests on it.
    fn append(&mut self, key: Key) {
        let mut list = self.look(key);
        self.ops.push(Op::Read(key, list.clone()));
        let element = self.world.elements.fetch_add(1, SeqCst);
        list.push(element);
        let value: Vec<u8> = list.iter().flat_map(|element| element.to_le_bytes()).collect();
        match &mut self.how {
            How::Checked(txn) => txn.insert(&self.world.lists, name(key), value).unwrap(),
            How::Unchecked(_, own) => own.push((key, list)),
        }
        self.ops.push(Op::Append(key, element));
    }

    fn step(&mut self, dice: &mut Dice) {
        let key = dice.below(self.world.keys) as Key;
        match dice.below(10) {
            0..4 => self.read(key),
            4..8 => self.append(key),
            turn => {
                let end = (u64::from(key) + 1 + dice.below(3)).min(self.world.keys);
                self.walk(key..end as Key, turn == 8);
            }
        }
    }

    fn commit(self) -> Txn {
        let Self { world, how, ops, began } = self;
        let is_committed = match how {
            How::Checked(txn) => match txn.commit() {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    false
                }
            },
            How::Unchecked(_, own) => {
                let mut batch = world.db.batch();
                for (key, list) in own {
                    let value: Vec<u8> = list.iter().flat_map(|e| e.to_le_bytes()).collect();
                    batch.insert(&world.lists, name(key), value).unwrap();
                }
                batch.commit().unwrap();
                true
            }
        };
        Txn { ops, is_committed, began, ended: world.now() }
    }

    fn give_up(self) -> Txn {
        let Self { world, ops, began, .. } = self;
        Txn { ops, is_committed: false, began, ended: world.now() }
    }
}

/// Clients that take turns in one thread, as `seed` has it.
fn interleaved(seed: u64, mode: Mode) -> Vec<Txn> {
    let mut dice = Dice::new(seed);
    let world = World::new(1 + dice.below(6));
    let (mut history, mut open) = (Vec::new(), Vec::<Client<'_>>::new());
    for _ in 0..300 {
        match dice.below(12) {
            0..3 if open.len() < 5 => open.push(Client::begin(&world, mode)),
            3..5 if !open.is_empty() => {
                let place = dice.below(open.len() as u64) as usize;
                history.push(open.swap_remove(place).commit());
            }
            5 if dice.below(10) == 0 && !open.is_empty() => history.push(open.remove(0).give_up()),
            6 if dice.below(8) == 0 => world.db.flush().unwrap(),
            7 if dice.below(16) == 0 => world.db.compact().unwrap(),
            _ if !open.is_empty() => {
                let place = dice.below(open.len() as u64) as usize;
                open[place].step(&mut dice);
            }
            _ => {}
        }
    }
    history.extend(open.into_iter().map(Client::commit));
    world.finish(history)
}

/// Clients in threads of their own.
fn threaded(seed: u64, mode: Mode, keys: u64) -> Vec<Txn> {
    const THREADS: u64 = 8;
    let (world, done) = (World::new(keys), AtomicBool::new(false));
    let history = std::thread::scope(|scope| {
        let (world, done) = (&world, &done);
        let clients: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut dice = Dice::new(seed ^ thread << 32);
                    let run = |_| {
                        let mut client = Client::begin(world, mode);
                        (0..=dice.below(4)).for_each(|_| client.step(&mut dice));
                        client.commit()
                    };
                    (0..60).map(run).collect::<Vec<_>>()
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.load(SeqCst) {
                world.db.flush().unwrap();
                world.db.compact().unwrap();
            }
        });
        let history = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        done.store(true, SeqCst);
        history
    });
    world.finish(history)
}

fn note(tally: &Tally, history: &[Txn]) -> Result<(), String> {
    let won = history.iter().filter(|txn| txn.is_committed).count();
    tally.add("committed", won as u64);
    tally.add("lost or given up", (history.len() - won) as u64);
    check(history).map_err(|anomaly| format!("{anomaly:?}"))
}

#[test]
fn transactions_that_take_turns_are_serializable() {
    static TALLY: Tally = Tally::new();
    support::for_seeds("turns", 100, |seed| note(&TALLY, &interleaved(seed, Mode::Checked)));
    TALLY.print("transactions that take turns");
    TALLY.must_have_seen(&["committed", "lost or given up"]);
}

#[test]
fn transactions_in_threads_are_serializable() {
    static TALLY: Tally = Tally::new();
    let keys = AtomicU64::new(0);
    support::for_seeds("threads", 4, |seed| {
        let keys = [3, 8, 30, 200][keys.fetch_add(1, SeqCst) as usize % 4];
        note(&TALLY, &threaded(seed, Mode::Checked, keys))
    });
    TALLY.print("transactions in threads");
    TALLY.must_have_seen(&["committed", "lost or given up"]);
}

/// The checker sees what the engine would be without its check.
#[test]
fn without_the_check_the_history_is_found_out() {
    let found = (0..20).filter(|seed| check(&interleaved(*seed, Mode::Unchecked)).is_err());
    let found = found.count();
    assert!(found >= 15, "found {found} of 20");
}
