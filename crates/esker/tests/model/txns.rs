//! Transactions, one beside the other and beside all that writes.
//!
//! ```text
//!   begin · get · walk · own writes · savepoints · commit          own writes over the state of then
//! ```
//!
//! 1. One commits if nothing that it has read was written since it began, and conflicts if something
//!    was. Where it walked only a part of a range, or over keys of its own, or where what was written
//!    is gone again, or where something that it may have read has expired, either may be said.
//! 2. One that commits would have read the same in that moment.

use super::history::Draft;
use super::run::{Done, Run, Stop};
use super::state::{Change, Number, Pairs, Span, State};
use super::steps::{Author, Path, Style};
use super::walks::Pace;
use crate::TALLY;
use crate::support::reference::{KeyBytes, Many, Mix, Val};
use crate::support::session::{same_pair, same_value, slice, text};
use esker::{Collection, Durability, ErrorKind, Transaction};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Txn {
    Begin,
    Get(usize, Path, KeyBytes),
    Contains(usize, Path, KeyBytes),
    Walk(usize, Path, Many, Pace),
    Write(usize, Path, Style, Change),
    Save(usize),
    RollBack(usize),
    /// Forgets a savepoint.
    Keep(usize),
    Commit(usize, Option<Durability>),
    Drop(usize),
}

impl Author {
    pub fn txn(&mut self) -> Txn {
        let which = self.dice.index(8);
        match self.dice.below(40) {
            0..=3 => Txn::Begin,
            4..=8 => Txn::Get(which, self.path(), self.key()),
            9 => Txn::Contains(which, self.path(), self.key()),
            10..=14 => {
                let most = if self.dice.coin() { usize::MAX } else { self.dice.index(5) };
                let pace = Pace { backward: self.dice.next() & self.dice.next(), most };
                Txn::Walk(which, self.path(), self.many(), pace)
            }
            15 | 16 if self.has_ranges => {
                Txn::Write(which, self.path(), self.style(), Change::RemoveMany(self.many()))
            }
            15..=23 => Txn::Write(which, self.path(), self.style(), self.change()),
            24..=27 => Txn::Save(which),
            28..=31 => Txn::RollBack(which),
            32 => Txn::Keep(which),
            33 => Txn::Drop(which),
            _ => Txn::Commit(which, self.durability()),
        }
    }
}

/// An own write, and the version at which its handle was alive.
#[derive(Clone, Debug)]
struct Own {
    number: Number,
    change: Change,
    at: usize,
}

/// A transaction, and what it has seen and done.
pub struct Client {
    txn: Transaction,
    began: usize,
    state: Arc<State>,
    own: Vec<Own>,
    /// How many own writes there were at each savepoint.
    saved: Vec<usize>,
    reads: Vec<Seen>,
}

/// What was read, over which own writes, and what it gave.
struct Seen {
    number: Number,
    span: Span,
    /// Of a walk that did not end.
    part: Option<Pace>,
    own: Vec<Own>,
    /// The time of day.
    at: u64,
}

/// What is there with own writes over it.
fn over(state: &State, own: &[Own], number: Number) -> Pairs {
    let mut state = State::clone(state);
    for Own { number: to, change, .. } in own {
        // What is not there any more, or was not yet, is written to all the same.
        if *to == number && state.change(number, change).is_err() {
            let path = format!("late {number:?}");
            state.create(&path, number, &Style::default().settings()).expect("it is not there");
            state.change(number, change).expect("it is there");
        }
    }
    state.now.pairs(number)
}

/// The first and last of some pairs, as they are walked.
fn paced(pairs: &Pairs, span: &Span, pace: Pace) -> (Vec<(KeyBytes, Val)>, bool) {
    let mut pairs = pairs.iter().filter(|(key, _)| span.has(key));
    let mut found = Vec::new();
    for turn in 0..pace.most {
        let next = if pace.is_back(turn) { pairs.next_back() } else { pairs.next() };
        let Some((key, val)) = next else { return (found, true) };
        found.push((key.clone(), *val));
    }
    (found, false)
}

impl Seen {
    /// Whether one sees the same then and now: what has expired meanwhile is no difference. Whoever
    /// walked a part cannot know how far that would be without it.
    fn holds(&self, then: &State, now: &State) -> bool {
        let expires = |state: &State| state.now.expires(self.number, &self.span);
        if self.part.is_some() && (expires(then) || expires(now)) {
            return true;
        }
        let all = Pace { backward: 0, most: usize::MAX };
        let found = |state| {
            let pairs = over(state, &self.own, self.number);
            let (found, _) = paced(&pairs, &self.span, self.part.unwrap_or(all));
            found.iter().map(|(key, val)| (key.clone(), val.bytes())).collect::<Vec<_>>()
        };
        found(then) == found(now)
    }

    /// Whether a write stands against it: surely, or perhaps.
    fn meets(&self, touched: &Span, then: &State, now: &State) -> (bool, bool) {
        let may = touched.meets(&self.span);
        let mut own = self.own.iter().filter(|own| own.number == self.number);
        let is_own = match touched.is_one() {
            true => own.any(|own| own.change.span().meets(touched)),
            false => own.next().is_some(),
        };
        // What was absent then and is absent again may have left no trace.
        let there = [then, now].map(|state| state.now.pairs(self.number).into_keys());
        let is_there =
            there.into_iter().flatten().any(|key| touched.has(&key) && self.span.has(&key));
        (may && is_there && !is_own && self.part.is_none(), may)
    }
}

impl Client {
    /// Whether an own write decides what a key has.
    fn covers(&self, number: Number, key: &KeyBytes) -> bool {
        let own = self.own.iter().filter(|own| own.number == number);
        own.filter(|own| !matches!(own.change, Change::Merge(..)))
            .any(|own| own.change.span().has(key))
    }

    fn saw(&mut self, number: Number, span: Span, part: Option<Pace>) {
        let own = self.own.clone();
        self.reads.push(Seen { number, span, part, own, at: self.state.now.clock.now() });
    }

    fn get(&mut self, (number, to): &(Number, Collection), key: &KeyBytes) -> Result<(), String> {
        let want = over(&self.state, &self.own, *number).get(key).copied();
        let found = self.txn.get(to, &key.0).map_err(text)?;
        same_value(found.as_deref(), want)?;
        if !self.covers(*number, key) {
            // What its own operands come to rests on what they came upon.
            let is_other = |own: &Own| own.number != *number || !own.change.span().has(key);
            let own = self.own.iter().filter(|own| is_other(own)).cloned().collect();
            let (number, at) = (*number, self.state.now.clock.now());
            self.reads.push(Seen { number, span: Span::one(key), part: None, own, at });
        }
        Ok(())
    }

    fn contains(
        &mut self,
        (number, to): &(Number, Collection),
        key: &KeyBytes,
    ) -> Result<(), String> {
        let want = over(&self.state, &self.own, *number).get(key).copied();
        if self.txn.contains_key(to, &key.0).map_err(text)? != want.is_some() {
            return Err(format!("contains_key is wrong, want {want:?}"));
        }
        let mut own = self.own.iter().filter(|own| own.number == *number);
        if !own.any(|own| own.change.span().has(key)) {
            self.saw(*number, Span::one(key), None);
        }
        Ok(())
    }

    fn walk(
        &mut self,
        (number, to): &(Number, Collection),
        keys: &Many,
        pace: Pace,
    ) -> Result<(), String> {
        let pairs = over(&self.state, &self.own, *number);
        let (want, has_ended) = paced(&pairs, &Span::of(keys), pace);
        let walk = match keys {
            Many::All => self.txn.iter(to),
            Many::Prefix(prefix) => self.txn.prefix(to, &prefix.0),
            Many::Range(start, end) => self.txn.range::<&[u8]>(to, (slice(start), slice(end))),
        };
        let mut walk = walk.map_err(text)?;
        for (turn, (key, val)) in want.iter().enumerate() {
            let found = if pace.is_back(turn) { walk.next_back() } else { walk.next() };
            let found = found.transpose().map_err(text)?;
            let found = found.as_ref().map(|(key, value)| (&**key, &**value));
            same_pair(found, Some((key, *val)))?;
        }
        if has_ended && (walk.next().is_some() || walk.next_back().is_some()) {
            return Err("a walk goes on after its end".into());
        }
        drop(walk);
        if pace.most > 0 {
            let part = (!has_ended).then_some(pace);
            self.saw(*number, Span::of(keys), part);
        }
        Ok(())
    }

    fn write(&mut self, to: &Collection, mut own: Own) -> esker::Result<()> {
        match &own.change {
            Change::Put(key, val) => self.txn.insert(to, &key.0, val.bytes()),
            Change::PutFor(key, val, life) => {
                self.txn.insert_with_ttl(to, &key.0, val.bytes(), life.span())
            }
            Change::PutUntil(..) => unreachable!("it is counted from this call on"),
            Change::Merge(key, val) => self.txn.merge(to, &key.0, Mix::operand(*val)),
            Change::Remove(key) => self.txn.remove(to, &key.0),
            Change::RemoveMany(Many::All) => self.txn.remove_prefix(to, ""),
            Change::RemoveMany(Many::Prefix(prefix)) => self.txn.remove_prefix(to, &prefix.0),
            Change::RemoveMany(Many::Range(start, end)) => {
                self.txn.remove_range::<&[u8]>(to, (slice(start), slice(end)))
            }
        }?;
        if !own.change.span().is_empty() {
            own.change = own.change.begun(self.state.now.clock.now());
            self.own.push(own);
        }
        Ok(())
    }

    fn savepoint(&mut self, step: &Txn) -> Result<(), String> {
        let (told, is_there) = match step {
            Txn::Save(_) => {
                self.txn.save();
                self.saved.push(self.own.len());
                return Ok(());
            }
            Txn::RollBack(_) => {
                let at = self.saved.pop();
                self.own.truncate(at.unwrap_or(self.own.len()));
                (self.txn.roll_back(), at.is_some())
            }
            _ => (self.txn.release(), self.saved.pop().is_some()),
        };
        if told == is_there { Ok(()) } else { Err(format!("savepoint: {told}, want {is_there}")) }
    }
}

impl Run {
    pub fn txn(&mut self, step: &Txn) -> Done {
        match step {
            Txn::Begin if self.clients.len() < 4 => self.begin(),
            Txn::Begin => {}
            Txn::Get(which, path, key) => {
                let Some(to) = self.existing(path)? else { return Ok(()) };
                self.with_client(*which, |client| client.get(&to, key))?;
            }
            Txn::Contains(which, path, key) => {
                let Some(to) = self.existing(path)? else { return Ok(()) };
                self.with_client(*which, |client| client.contains(&to, key))?;
            }
            Txn::Walk(which, path, keys, pace) => {
                let Some(to) = self.existing(path)? else { return Ok(()) };
                self.with_client(*which, |client| client.walk(&to, keys, *pace))?;
            }
            Txn::Write(which, path, style, change) => {
                let to = self.collection(path, *style)?;
                let takes = self.takes(to.0, change);
                let own = Own { number: to.0, change: change.clone(), at: self.history.version() };
                self.with_client(*which, |client| match client.write(&to.1, own) {
                    Ok(()) if takes => Ok(()),
                    Err(error) if !takes && error.kind() == ErrorKind::InvalidArgument => Ok(()),
                    told => Err(format!("a write, taken: {takes}, gave {told:?}")),
                })?;
            }
            Txn::Save(which) | Txn::RollBack(which) | Txn::Keep(which) => {
                self.with_client(*which, |client| client.savepoint(step))?;
            }
            Txn::Commit(which, how) if !self.clients.is_empty() => {
                let client = self.clients.swap_remove(which % self.clients.len());
                self.commit_client(client, *how)?;
            }
            Txn::Drop(which) if !self.clients.is_empty() => {
                drop(self.clients.swap_remove(which % self.clients.len()));
            }
            Txn::Commit(..) | Txn::Drop(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self) {
        let (began, state) = (self.history.version(), self.now().clone());
        let (own, saved, reads) = Default::default();
        self.clients.push(Client { txn: self.db.begin(), began, state, own, saved, reads });
    }

    fn with_client(
        &mut self,
        which: usize,
        act: impl FnOnce(&mut Client) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.clients.is_empty() {
            self.begin();
        }
        let which = which % self.clients.len();
        act(&mut self.clients[which])
    }

    /// What there will be when it commits; refused if a collection that it writes to is gone.
    fn after(&self, client: &Client) -> Result<Draft, ErrorKind> {
        let mut draft = self.history.draft();
        for Own { number, change, at } in &client.own {
            if self.history.was_gone(*at, *number) {
                return Err(ErrorKind::NotFound);
            }
            draft.change(*number, change)?;
        }
        Ok(draft)
    }

    fn commit_client(&mut self, client: Client, how: Option<Durability>) -> Done {
        let durability = self.durability(how);
        if client.own.is_empty() {
            TALLY.add("transactions that only read", 1);
            return self.ok(client.txn.commit_with(durability));
        }
        let (mut must, mut may) = (false, false);
        for read in &client.reads {
            for touched in self.history.touched(client.began, read.number) {
                let (surely, perhaps) = read.meets(touched, &client.state, self.now());
                must |= surely;
                may |= perhaps;
            }
            may |= client.state.now.has_expired(read.number, &read.span, read.at);
        }
        let holds = client.reads.iter().all(|read| read.holds(&client.state, self.now()));
        let draft = self.after(&client);
        let wants_gone = draft.is_err();
        let proposed = draft.is_ok() && !must;
        draft.into_iter().filter(|_| proposed).for_each(|draft| self.history.propose(draft));
        match client.txn.commit_with(durability) {
            Ok(()) if proposed && holds => {
                TALLY.add("transactions committed", 1);
                self.history.acknowledge(durability);
                return Ok(());
            }
            Ok(()) => {
                let told = format!("it committed; must it conflict: {must}, holds: {holds}");
                return Err(told.into());
            }
            Err(_) if self.world.is_dead() => return Err(Stop::Died),
            Err(error) if error.kind() == ErrorKind::Conflict && may => {
                TALLY.add("transactions that lost", 1);
            }
            Err(error) if error.kind() == ErrorKind::NotFound && wants_gone && !must => {}
            Err(error) => {
                return Err(format!("must it conflict: {must}, may it: {may}; {error}").into());
            }
        }
        if proposed {
            self.history.withdraw();
        }
        Ok(())
    }
}
