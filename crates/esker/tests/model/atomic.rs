//! Reading a key and writing it as one step.

use super::run::{Done, Run};
use super::state::{Change, Number};
use super::steps::{Author, Path, Style};
use crate::TALLY;
use crate::support::reference::{KeyBytes, Val, mixed};
use crate::support::session::{same_pair, same_value};
use esker::{Collection, Db};

#[derive(Clone, Debug)]
pub struct Atomic {
    path: Path,
    style: Style,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Swap {
        key: KeyBytes,
        guess: Guess,
        new: Option<Val>,
    },
    IfAbsent {
        key: KeyBytes,
        val: Val,
    },
    Update {
        key: KeyBytes,
        with: Val,
    },
    /// The same in a transaction that is begun again while another write comes between.
    Transact {
        key: KeyBytes,
        with: Val,
        between: Vec<Val>,
    },
    PopFirst,
    PopLast,
}

/// What a caller takes a key to have.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Right,
    Absent,
    This(Val),
}

impl Author {
    pub fn atomic(&mut self) -> Atomic {
        let (path, style, key) = (self.path(), self.style(), self.key());
        let what = match self.dice.below(10) {
            0..=2 => {
                let guess = match self.dice.below(5) {
                    0..=2 => Guess::Right,
                    3 => Guess::Absent,
                    _ => Guess::This(self.val()),
                };
                let new = if self.dice.one_in(3) { None } else { Some(self.val()) };
                What::Swap { key, guess, new }
            }
            3 => What::IfAbsent { key, val: self.val() },
            4 | 5 => What::Update { key, with: self.val() },
            6 => What::PopFirst,
            7 | 8 => {
                let between = (0..self.dice.below(3)).map(|_| self.val()).collect();
                What::Transact { key, with: self.val(), between }
            }
            _ => What::PopLast,
        };
        Atomic { path, style, what }
    }
}

/// What an update makes of a value.
fn updated(old: Option<&[u8]>, with: Val) -> Option<Val> {
    (!with.tag.is_multiple_of(5)).then(|| mixed(old, &with.bytes()))
}

fn set(key: &KeyBytes, new: Option<Val>) -> Change {
    new.map_or_else(|| Change::Remove(key.clone()), |val| Change::Put(key.clone(), val))
}

impl Run {
    pub fn atomic(&mut self, Atomic { path, style, what }: &Atomic) -> Done {
        let at = self.collection(path, *style)?;
        match what {
            What::Swap { key, guess, new } => self.swap(at, key, *guess, *new),
            What::IfAbsent { key, val } => self.if_absent(at, key, *val),
            What::Update { key, with } => self.update(at, key, *with),
            What::Transact { key, with, between } => self.transact(at, key, *with, between),
            What::PopFirst => {
                let first = self.now().now.pairs(at.0).pop_first();
                self.pop(at.0, first, || at.1.pop_first())
            }
            What::PopLast => {
                let last = self.now().now.pairs(at.0).pop_last();
                self.pop(at.0, last, || at.1.pop_last())
            }
        }
    }

    fn has(&self, number: Number, key: &KeyBytes) -> Option<Val> {
        self.now().now.get(number, key)
    }

    fn swap(
        &mut self,
        (number, to): (Number, Collection),
        key: &KeyBytes,
        guess: Guess,
        new: Option<Val>,
    ) -> Done {
        let has = self.has(number, key);
        let guess = match guess {
            Guess::Right => has,
            Guess::Absent => None,
            Guess::This(val) => Some(val),
        };
        let (expected, bytes) = (guess.map(Val::bytes), new.map(Val::bytes));
        let call = || to.compare_and_swap(&key.0, expected.as_ref(), bytes.as_ref());
        if expected == has.map(Val::bytes) {
            let judged = self.changed(number, &[set(key, new)]);
            let told = self.commit(judged, None, |_| call())?;
            TALLY.add("swaps", 1);
            return match told {
                Some(Ok(())) => Ok(()),
                told => Err(format!("a swap of what it has gave {told:?}").into()),
            };
        }
        match self.ok(call())? {
            Err(found) => Ok(same_value(found.as_deref(), has)?),
            Ok(()) => Err(format!("a swap of {guess:?} went well, it has {has:?}").into()),
        }
    }

    fn if_absent(&mut self, (number, to): (Number, Collection), key: &KeyBytes, val: Val) -> Done {
        let (has, bytes) = (self.has(number, key), val.bytes());
        let call = || to.insert_if_absent(&key.0, &bytes);
        let found = if has.is_some() {
            self.ok(call())?
        } else {
            let judged = self.changed(number, &[Change::Put(key.clone(), val)]);
            self.commit(judged, None, |_| call())?.flatten()
        };
        Ok(same_value(found.as_deref(), has)?)
    }

    fn update(&mut self, (number, to): (Number, Collection), key: &KeyBytes, with: Val) -> Done {
        let has = self.has(number, key);
        let new = updated(has.map(Val::bytes).as_deref(), with);
        let judged = self.changed(number, &[set(key, new)]);
        let call = || to.fetch_update(&key.0, |old| updated(old, with).map(Val::bytes));
        let found = self.commit(judged, None, |_| call())?.flatten();
        Ok(same_value(found.as_deref(), has)?)
    }

    /// Each run of it meets one write of `between`; the run after the last of them is let through.
    fn transact(
        &mut self,
        (number, to): (Number, Collection),
        key: &KeyBytes,
        with: Val,
        between: &[Val],
    ) -> Done {
        let mut has = self.has(number, key);
        for val in between {
            let judged = self.changed(number, &[Change::Put(key.clone(), *val)]);
            let draft = judged.map_err(|kind| format!("a put is refused: {kind:?}"))?;
            self.history.propose(draft);
            has = self.has(number, key);
        }
        let new = updated(has.map(Val::bytes).as_deref(), with);
        let (judged, mut others) = (self.changed(number, &[set(key, new)]), between.iter());
        let call = |db: &Db| {
            db.transact(|txn| {
                let old = txn.get(&to, &key.0)?;
                if let Some(other) = others.next() {
                    to.insert(&key.0, other.bytes())?;
                }
                match updated(old.as_deref(), with) {
                    Some(new) => txn.insert(&to, &key.0, new.bytes())?,
                    None => txn.remove(&to, &key.0)?,
                }
                Ok(old)
            })
        };
        let found = self.commit(judged, None, call)?.flatten();
        TALLY.add("transactions begun again", between.len() as u64);
        Ok(same_value(found.as_deref(), has)?)
    }

    fn pop(
        &mut self,
        number: Number,
        want: Option<(KeyBytes, Val)>,
        call: impl FnOnce() -> esker::Result<Option<(esker::Key, esker::Value)>>,
    ) -> Done {
        let found = match &want {
            None => self.ok(call())?,
            Some((key, _)) => {
                let judged = self.changed(number, &[Change::Remove(key.clone())]);
                self.commit(judged, None, |_| call())?.flatten()
            }
        };
        let found = found.as_ref().map(|(key, value)| (&**key, &**value));
        Ok(same_pair(found, want.as_ref().map(|(key, val)| (key, *val)))?)
    }
}
