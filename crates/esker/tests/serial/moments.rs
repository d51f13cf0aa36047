//! Everything that writes, beside transactions that take turns with it, against a map.
//!
//! ```text
//!   put · delete · merge · range delete · batch · ingest · flush · compact ─┐
//!   begin · get · walk · own writes · savepoints · commit                   ┴─ one after the other
//! ```
//!
//! What a transaction reads is its snapshot with its own writes over it. One that commits would have read
//! the same in that moment; one that loses has read what was written meanwhile.

use crate::support::{Dice, Tally, for_seeds};
use esker::env::sim::Sim;
use esker::operators::Append;
use esker::{Collection, Db, ErrorKind, MergeOperator as _, Settings, Transaction};
use std::collections::BTreeMap;
use std::ops::Range;

const KEYS: u64 = 8;

type State = BTreeMap<u8, String>;

#[derive(Clone, Debug)]
enum Write {
    Put(u8, String),
    Delete(u8),
    Merge(u8, String),
    Remove(Range<u8>),
}

impl Write {
    fn roll(dice: &mut Dice, count: u64) -> Self {
        let key = dice.below(KEYS) as u8;
        // Some lie out of line.
        let long = if dice.below(8) == 0 { 300 } else { 0 };
        let value = format!("{count}{}", "v".repeat(long));
        match dice.below(10) {
            0..3 => Self::Put(key, value),
            3..5 => Self::Delete(key),
            5..8 => Self::Merge(key, value),
            _ => Self::Remove(key..key + 1 + dice.below(3) as u8),
        }
    }

    fn keys(&self) -> Range<u8> {
        match self {
            Self::Put(key, _) | Self::Delete(key) | Self::Merge(key, _) => *key..*key + 1,
            Self::Remove(keys) => keys.clone(),
        }
    }

    fn apply(&self, state: &mut State) {
        match self {
            Self::Put(key, value) => _ = state.insert(*key, value.clone()),
            Self::Delete(key) => _ = state.remove(key),
            Self::Merge(key, operand) => *state.entry(*key).or_default() += &format!(":{operand}"),
            Self::Remove(keys) => state.retain(|key, _| !keys.contains(key)),
        }
    }
}

/// What was read, as which own writes had come before, and what it gave.
struct Read {
    keys: Range<u8>,
    /// So many steps from the front and from the back; none: a get.
    steps: Option<(usize, usize)>,
    own: Vec<Write>,
    found: Vec<(u8, String)>,
}

impl Read {
    /// What it gives of `state`.
    fn of(&self, state: &State) -> Vec<(u8, String)> {
        let mut state = state.clone();
        self.own.iter().for_each(|write| write.apply(&mut state));
        let mut pairs = state.into_iter().filter(|(key, _)| self.keys.contains(key));
        let (front, back) = self.steps.unwrap_or((1, 0));
        let mut found: Vec<_> = pairs.by_ref().take(front).collect();
        let rest: Vec<_> = pairs.collect();
        found.extend(rest.into_iter().rev().take(back));
        found
    }
}

struct Client {
    txn: Transaction,
    began: usize,
    snapshot: State,
    own: Vec<Write>,
    saved: Vec<usize>,
    reads: Vec<Read>,
}

fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}

impl Client {
    fn read(&mut self, c: &Collection, dice: &mut Dice) -> Result<(), String> {
        let key = dice.below(KEYS) as u8;
        let own = self.own.clone();
        let mut read = if dice.below(2) == 0 {
            let found = self.txn.get(c, [key]).unwrap().map(|value| (key, text(&value)));
            Read { keys: key..key + 1, steps: None, own, found: found.into_iter().collect() }
        } else {
            let keys = key..key + 1 + dice.below(4) as u8;
            let (front, back) = (dice.below(3) as usize, dice.below(3) as usize);
            let mut range = self.txn.range(c, [keys.start]..[keys.end]).unwrap();
            let mut found: Vec<_> = range.by_ref().take(front).collect();
            found.extend(range.by_ref().rev().take(back));
            let found = found.into_iter().map(|pair| pair.unwrap());
            let found = found.map(|(key, value)| (key[0], text(&value))).collect();
            Read { keys, steps: Some((front, back)), own, found }
        };
        if read.steps == Some((0, 0)) {
            // It has read nothing.
            read.keys = 0..0;
        }
        let want = read.of(&self.snapshot);
        if read.found != want {
            return Err(format!("read {:?}, want {want:?}", read.found));
        }
        self.reads.push(read);
        Ok(())
    }

    fn write(&mut self, c: &Collection, write: Write) {
        match &write {
            Write::Put(key, value) => self.txn.insert(c, [*key], value),
            Write::Delete(key) => self.txn.remove(c, [*key]),
            Write::Merge(key, operand) => self.txn.merge(c, [*key], operand),
            Write::Remove(keys) => self.txn.remove_range(c, [keys.start]..[keys.end]),
        }
        .unwrap();
        self.own.push(write);
    }
}

struct World {
    db: Db,
    c: Collection,
    state: State,
    /// The keys that each write concerned.
    touched: Vec<Range<u8>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let options = Db::options().env(Sim::new(seed)).slab_bytes(16 << 10).blob_threshold(256);
        let append = Append::new(":");
        let settings = Settings::default().merge_operator(append.name());
        let db = options.merge_operator(append).open("/db").unwrap();
        let c = db.collection_with("c", &settings).unwrap();
        let (state, touched) = Default::default();
        Self { db, c, state, touched }
    }

    fn note(&mut self, write: &Write) {
        write.apply(&mut self.state);
        self.touched.push(write.keys());
    }

    fn write(&mut self, write: &Write) {
        let c = &self.c;
        match write {
            Write::Put(key, value) => c.insert([*key], value),
            Write::Delete(key) => c.remove([*key]),
            Write::Merge(key, operand) => c.merge([*key], operand),
            Write::Remove(keys) => c.remove_range([keys.start]..[keys.end]),
        }
        .unwrap();
        self.note(write);
    }

    fn ingest(&mut self, dice: &mut Dice, count: u64) {
        let start = dice.below(KEYS) as u8;
        let keys = start..start + 1 + dice.below(3) as u8;
        self.c.ingest(keys.clone().map(|key| ([key], count.to_string()))).unwrap();
        keys.for_each(|key| self.note(&Write::Put(key, count.to_string())));
    }

    fn begin(&self) -> Client {
        let (own, saved, reads) = Default::default();
        let (began, snapshot) = (self.touched.len(), self.state.clone());
        Client { txn: self.db.begin(), began, snapshot, own, saved, reads }
    }

    fn commit(&mut self, client: Client) -> Result<&'static str, String> {
        let Client { txn, began, own, reads, .. } = client;
        match txn.commit() {
            Ok(()) if own.is_empty() => return Ok("read only"),
            Ok(()) => {
                for read in &reads {
                    let now = read.of(&self.state);
                    if read.found != now {
                        return Err(format!("committed upon {:?}, found {now:?}", read.found));
                    }
                }
                own.iter().for_each(|write| self.note(write));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                let since = &self.touched[began..];
                let meet = |a: &Range<u8>, b: &Range<u8>| a.start < b.end && b.start < a.end;
                if !reads.iter().any(|read| since.iter().any(|keys| meet(keys, &read.keys))) {
                    return Err(format!("a spurious conflict: {error}"));
                }
                return Ok("lost");
            }
        }
        self.check()?;
        Ok("committed")
    }

    fn check(&self) -> Result<(), String> {
        let pairs = self.c.iter().map(|pair| pair.unwrap());
        let found: State = pairs.map(|(key, value)| (key[0], text(&value))).collect();
        if found == self.state { Ok(()) } else { Err(format!("{found:?}, want {:?}", self.state)) }
    }
}

fn run(seed: u64, tally: &Tally) -> Result<(), String> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(seed);
    let mut open: Vec<Client> = Vec::new();
    for count in 0..400 {
        let place = dice.below(open.len().max(1) as u64) as usize;
        match dice.below(40) {
            0..4 if open.len() < 4 => open.push(world.begin()),
            4..8 if !open.is_empty() => {
                let client = open.swap_remove(place);
                tally.add(world.commit(client)?, 1);
            }
            8..10 => world.db.flush().unwrap(),
            10 => world.db.compact().unwrap(),
            11 => world.ingest(&mut dice, count),
            12..15 => {
                let write = Write::roll(&mut dice, count);
                world.write(&write);
            }
            _ if open.is_empty() => {}
            15..29 => open[place].read(&world.c, &mut dice)?,
            29..36 => open[place].write(&world.c, Write::roll(&mut dice, count)),
            36..38 => {
                let client = &mut open[place];
                client.txn.save();
                client.saved.push(client.own.len());
            }
            _ => {
                let client = &mut open[place];
                let at = client.saved.pop();
                assert_eq!(client.txn.roll_back(), at.is_some());
                client.own.truncate(at.unwrap_or(client.own.len()));
            }
        }
    }
    drop(open);
    world.db.compact().unwrap();
    world.check()
}

/// F-46, MOSS-19, MOSS-20.
#[test]
fn a_commit_is_one_moment_whatever_else_writes() {
    static TALLY: Tally = Tally::new();
    for_seeds("moments", 150, |seed| run(seed, &TALLY));
    TALLY.print("transactions beside all that writes");
    TALLY.must_have_seen(&["committed", "lost", "read only"]);
}
