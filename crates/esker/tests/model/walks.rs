//! Walks: from both ends, with seeks, in every form; at once, or held over whatever comes.
//!
//! 1. What one end has given the other does not give.
//! 2. A walk that fails fast ends with `Interrupted` once its collection was written to.

use super::reads::Eye;
use super::run::{Done, Run};
use super::state::{Number, Pairs, Span};
use super::steps::{Author, Path};
use crate::TALLY;
use crate::support::reference::{KeyBytes, Many, Val};
use crate::support::session::{same_pair, slice, text};
use esker::{ErrorKind, Range};
use std::collections::{BTreeSet, VecDeque};
use std::io::Read as _;
use std::ops;

/// A walk that is done at once.
#[derive(Clone, Debug)]
pub struct Walk {
    pub keys: Many,
    pub form: Form,
    pub pace: Pace,
    /// Where the front is placed on the way.
    pub seek: Option<KeyBytes>,
}

/// How far, and from which ends.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bit n is whether step n (modulo 64) takes from the back.
    pub backward: u64,
    pub most: usize,
}

impl Pace {
    pub fn is_back(self, turn: usize) -> bool {
        self.backward >> (turn % 64) & 1 == 1
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Form {
    Pairs,
    /// Forward alone.
    Lent,
    Keys,
    Readers,
    /// With what was removed, of a snapshot.
    Entries,
}

/// Walks that stay.
#[derive(Clone, Debug)]
pub enum Held {
    Begin(Path, Many),
    FailFast(Path, Many),
    Take(usize, Pace),
    Seek(usize, KeyBytes),
    Drop(usize),
}

impl Author {
    fn pace(&mut self) -> Pace {
        let backward = match self.dice.below(3) {
            0 => 0,
            1 => u64::MAX,
            _ => self.dice.next(),
        };
        let most = if self.dice.one_in(3) { self.dice.index(8) } else { usize::MAX };
        Pace { backward, most }
    }

    pub fn walk(&mut self) -> Walk {
        let forms =
            [Form::Pairs, Form::Pairs, Form::Lent, Form::Keys, Form::Readers, Form::Entries];
        let form = self.dice.pick(&forms);
        let (keys, pace) = (self.many(), self.pace());
        let seek = self.dice.one_in(4).then(|| self.key());
        Walk { keys, form, pace, seek }
    }

    pub fn held(&mut self) -> Held {
        match self.dice.below(8) {
            0 | 1 => Held::Begin(self.path(), self.many()),
            2 | 3 => Held::FailFast(self.path(), self.many()),
            4 | 5 => {
                let pace = Pace { most: self.dice.index(20), ..self.pace() };
                Held::Take(self.dice.index(8), pace)
            }
            6 => Held::Seek(self.dice.index(8), self.key()),
            _ => Held::Drop(self.dice.index(8)),
        }
    }
}

/// A walk, and what it must give.
pub struct Walker {
    range: Range,
    want: Vec<(KeyBytes, Val)>,
    /// What of that is left.
    left: ops::Range<usize>,
    /// It has said that there is no more.
    has_ended: bool,
    /// Of one that fails fast: its collection, and from which version on a write ends it.
    watch: Option<(Number, usize)>,
}

impl Walker {
    pub fn new(range: Range, pairs: &Pairs, keys: &Many) -> Self {
        let span = Span::of(keys);
        let inside = pairs.iter().filter(|(key, _)| span.has(key));
        let want: Vec<_> = inside.map(|(key, val)| (key.clone(), *val)).collect();
        let left = 0..want.len();
        Self { range, want, left, has_ended: false, watch: None }
    }

    pub fn fails_fast(&self) -> bool {
        self.watch.is_some()
    }

    /// All that a walk asks for.
    pub fn all(mut self, walk: &Walk, eye: &Eye<'_>) -> Result<(), String> {
        match (walk.form, eye) {
            (Form::Keys, _) => {
                let want = self.want.clone().into();
                ends(self.range.keys(), want, walk.pace, |key, want| {
                    let is_same = *key == *want.0.0;
                    if is_same { Ok(()) } else { Err(format!("key {key:?}, want {want:?}")) }
                })
            }
            (Form::Readers, _) => {
                let want = self.want.clone().into();
                ends(self.range.readers(), want, walk.pace, |(key, mut reader), want| {
                    let mut value = Vec::new();
                    reader.read_to_end(&mut value).map_err(|error| error.to_string())?;
                    same_pair(Some((&key, &value)), Some((&want.0, want.1)))
                })
            }
            (Form::Entries, Eye::Then(view)) => {
                let bounds = Span::of(&walk.keys).bounds();
                let bounds = (slice(&bounds.0), slice(&bounds.1));
                self.entries(view.entries::<&[u8]>(bounds).collect())
            }
            (Form::Lent, _) => self.lent(),
            _ => match &walk.seek {
                None => self.take(walk.pace),
                Some(key) => {
                    self.take(Pace { most: walk.pace.most.min(3), ..walk.pace })?;
                    self.seek(key)?;
                    self.take(walk.pace)
                }
            },
        }
    }

    fn lent(&mut self) -> Result<(), String> {
        for (key, val) in &self.want[self.left.clone()] {
            same_pair(self.range.next_lent().map_err(text)?, Some((key, *val)))?;
        }
        same_pair(self.range.next_lent().map_err(text)?, None)
    }

    /// What was removed is not there; all else is.
    fn entries(
        &self,
        found: Vec<esker::Result<(esker::Key, Option<esker::Value>)>>,
    ) -> Result<(), String> {
        let (mut want, mut removed) = (self.want.iter(), BTreeSet::new());
        for entry in found {
            let (key, value) = entry.map_err(text)?;
            let Some(value) = value else {
                removed.insert(KeyBytes((*key).into()));
                continue;
            };
            let want = want.next().map(|(key, val)| (key, *val));
            same_pair(Some((&key, &value)), want)?;
        }
        same_pair(None, want.next().map(|(key, val)| (key, *val)))?;
        match self.want.iter().find(|(key, _)| removed.contains(key)) {
            Some((key, _)) => Err(format!("{key:?} is there, and among what was removed")),
            None => Ok(()),
        }
    }

    pub fn take(&mut self, pace: Pace) -> Result<(), String> {
        for turn in 0..pace.most {
            let is_back = pace.is_back(turn);
            let found = if is_back { self.range.next_back() } else { self.range.next() };
            let place = if is_back { self.left.next_back() } else { self.left.next() };
            let found = found.transpose().map_err(text)?;
            let found = found.as_ref().map(|(key, value)| (&**key, &**value));
            same_pair(found, place.map(|place| (&self.want[place].0, self.want[place].1)))?;
            if place.is_none() {
                self.has_ended = true;
                return match (self.range.next(), self.range.next_back()) {
                    (None, None) => Ok(()),
                    rest => Err(format!("a walk goes on after its end: {rest:?}")),
                };
            }
        }
        Ok(())
    }

    fn seek(&mut self, key: &KeyBytes) -> Result<(), String> {
        self.range.seek(&key.0).map_err(text)?;
        let first = self.want.partition_point(|(other, _)| other < key);
        self.left.start = first.min(self.left.end);
        self.has_ended = false;
        Ok(())
    }

    /// That it is interrupted: unless it has ended, or gave all and had only to say so.
    fn is_interrupted(&mut self) -> Result<(), String> {
        let told = self.range.next();
        match told {
            Some(Err(error)) if error.kind() == ErrorKind::Interrupted && !self.has_ended => {
                let again = self.range.next_back().map(|again| again.map_err(|e| e.kind()));
                let sought = self.range.seek([]).map_err(|error| error.kind());
                let is_final = matches!(again, Some(Err(ErrorKind::Interrupted)));
                TALLY.add("walks interrupted", 1);
                match sought {
                    Err(ErrorKind::Interrupted) if is_final => Ok(()),
                    sought => Err(format!("interrupted, and then {again:?} and {sought:?}")),
                }
            }
            None if self.left.is_empty() => Ok(()),
            told => Err(format!("a walk over what was written since gave {told:?}")),
        }
    }
}

/// Takes from the ends of a walk of any form.
fn ends<T>(
    mut walk: impl DoubleEndedIterator<Item = esker::Result<T>>,
    mut want: VecDeque<(KeyBytes, Val)>,
    pace: Pace,
    same: impl Fn(T, (KeyBytes, Val)) -> Result<(), String>,
) -> Result<(), String> {
    for turn in 0..pace.most {
        let (found, want) = match pace.is_back(turn) {
            true => (walk.next_back(), want.pop_back()),
            false => (walk.next(), want.pop_front()),
        };
        match (found.transpose().map_err(text)?, want) {
            (Some(found), Some(want)) => same(found, want)?,
            (None, None) => return Ok(()),
            (None, Some(want)) => return Err(format!("{want:?} is missing")),
            (Some(_), None) => return Err("a walk goes on after its end".into()),
        }
    }
    Ok(())
}

impl Run {
    pub fn held(&mut self, step: &Held) -> Done {
        match step {
            Held::Begin(path, keys) if self.walkers.len() < 6 => {
                let Some((number, collection)) = self.existing(path)? else { return Ok(()) };
                let range = Eye::Now(&collection).walk(keys);
                let walker = Walker::new(range, &self.now().now.pairs(number), keys);
                self.walkers.push(walker);
            }
            Held::FailFast(path, keys) if self.walkers.len() < 6 => {
                let Some((number, collection)) = self.existing(path)? else { return Ok(()) };
                let it = collection.fail_fast();
                let range = match keys {
                    Many::All => it.iter(),
                    Many::Prefix(prefix) => it.prefix(&prefix.0),
                    Many::Range(start, end) => it.range::<&[u8]>((slice(start), slice(end))),
                };
                let walker = Walker::new(range, &self.now().now.pairs(number), keys);
                let watch = Some((number, self.history.version()));
                self.walkers.push(Walker { watch, ..walker });
            }
            Held::Begin(..) | Held::FailFast(..) => {}
            Held::Take(index, pace) => self.with_walker(*index, |walker| walker.take(*pace))?,
            Held::Seek(index, key) => self.with_walker(*index, |walker| walker.seek(key))?,
            Held::Drop(index) if !self.walkers.is_empty() => {
                drop(self.walkers.swap_remove(index % self.walkers.len()));
            }
            Held::Drop(_) => {}
        }
        Ok(())
    }

    fn with_walker(
        &mut self,
        index: usize,
        go_on: impl FnOnce(&mut Walker) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.walkers.is_empty() {
            return Ok(());
        }
        let index = index % self.walkers.len();
        let walker = &mut self.walkers[index];
        let history = &self.history;
        let is_over = |(number, since)| history.touched(since, number).next().is_some();
        if walker.watch.is_some_and(is_over) {
            walker.is_interrupted()?;
            drop(self.walkers.swap_remove(index));
            return Ok(());
        }
        go_on(walker)
    }

    /// What is left of all walks, of a database that is closed.
    pub fn end_walks(&mut self) -> Result<(), String> {
        let all = Pace { backward: 0, most: usize::MAX };
        self.walkers.drain(..).try_for_each(|mut walker| walker.take(all))
    }
}
