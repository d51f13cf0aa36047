//! Reads of the present, and what all reads of one moment have in common.

use super::json;
use super::run::{Done, Run};
use super::state::{Moment, Number, Span};
use super::steps::{Author, Path};
use super::walks::{Walk, Walker};
use crate::support::Dice;
use crate::support::reference::{KeyBytes, Many};
use crate::support::session::{same_pair, same_parts, same_value, slice, text};
use esker::{Collection, Range, View};
use std::ops::Bound;
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug)]
pub enum Read {
    At(Path, Glance),
    /// Through the handle of a collection that is gone.
    Gone(usize, Glance),
    Estimate(Path, Many),
}

/// A read of one collection at one moment.
#[derive(Clone, Debug)]
pub enum Glance {
    /// A value, parts of it, and whether it is there.
    Get(KeyBytes),
    Ends,
    All(Vec<KeyBytes>),
    Walk(Walk),
    /// As JSON Lines.
    Export,
}

impl Author {
    pub fn glance(&mut self) -> Glance {
        match self.dice.below(20) {
            0..=9 => Glance::Get(self.key()),
            10 | 11 => Glance::Ends,
            12 => Glance::Export,
            13 | 14 => Glance::All(self.some_keys()),
            _ => Glance::Walk(self.walk()),
        }
    }

    pub fn read(&mut self) -> Read {
        match self.dice.below(20) {
            0 => Read::Gone(self.dice.index(8), self.glance()),
            1 => Read::Estimate(self.path(), self.many()),
            _ => Read::At(self.path(), self.glance()),
        }
    }
}

/// Who looks: at what is there now, or was there then.
pub enum Eye<'a> {
    Now(&'a Collection),
    Then(&'a View),
}

/// The same call of either.
macro_rules! both {
    ($eye:expr, $it:ident => $call:expr) => {
        match $eye {
            Eye::Now($it) => $call,
            Eye::Then($it) => $call,
        }
    };
}

impl Eye<'_> {
    pub fn walk(&self, keys: &Many) -> Range {
        match keys {
            Many::All => both!(self, it => it.iter()),
            Many::Prefix(prefix) => both!(self, it => it.prefix(&prefix.0)),
            Many::Range(start, end) => {
                both!(self, it => it.range::<&[u8]>((slice(start), slice(end))))
            }
        }
    }

    /// Whether a glance shows `want`.
    pub fn check(
        &self,
        glance: &Glance,
        (moment, number): (&Moment, Number),
        dice: &mut Dice,
    ) -> Result<(), String> {
        let want = &moment.pairs(number);
        match glance {
            Glance::Get(key) => self.get(key, (moment, number), dice),
            Glance::Ends => {
                let (first, last) = (both!(self, it => it.first()), both!(self, it => it.last()));
                let ends = [(first, want.first_key_value()), (last, want.last_key_value())];
                ends.into_iter().try_for_each(|(found, want)| {
                    let found = found.map_err(text)?;
                    let found = found.as_ref().map(|(key, value)| (&**key, &**value));
                    same_pair(found, want.map(|(key, val)| (key, *val)))
                })
            }
            Glance::All(keys) => {
                let asked = keys.iter().map(|key| &*key.0);
                let found = both!(self, it => it.multi_get(asked)).map_err(text)?;
                if found.len() != keys.len() {
                    return Err(format!("{} values of {} keys", found.len(), keys.len()));
                }
                let mut found = keys.iter().zip(&found);
                found.try_for_each(|(key, value)| {
                    same_value(value.as_deref(), want.get(key).copied())
                })
            }
            Glance::Export => {
                json::check(|out| both!(self, it => it.export_json(out)), (moment, number))
            }
            Glance::Walk(walk) => {
                Walker::new(self.walk(&walk.keys), want, &walk.keys).all(walk, self)
            }
        }
    }

    fn get(
        &self,
        key: &KeyBytes,
        (moment, number): (&Moment, Number),
        dice: &mut Dice,
    ) -> Result<(), String> {
        let want = moment.get(number, key);
        let found = both!(self, it => it.get(&key.0)).map_err(text)?;
        same_value(found.as_deref(), want)?;
        if both!(self, it => it.contains_key(&key.0)).map_err(text)? != want.is_some() {
            return Err(format!("contains_key is wrong, want {want:?}"));
        }
        let expires = both!(self, it => it.expires_at(&key.0)).map_err(text)?;
        let expiry = want.and_then(|_| moment.expiry(number, key));
        let until = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        if expires != expiry.map(until) {
            return Err(format!("it expires at {expires:?}, want {expiry:?}"));
        }
        if dice.one_in(4) {
            let reader = both!(self, it => it.reader(&key.0)).map_err(text)?;
            let part = |range| both!(self, it => it.get_range(&key.0, range));
            same_parts(part, reader, want, dice)?;
        }
        Ok(())
    }
}

impl Run {
    pub fn read(&mut self, step: &Read) -> Done {
        match step {
            Read::At(path, glance) => {
                let Some((number, collection)) = self.existing(path)? else { return Ok(()) };
                let state = self.now().clone();
                Ok(Eye::Now(&collection).check(glance, (&state.now, number), &mut self.dice)?)
            }
            Read::Gone(index, glance) => {
                let state = self.now().clone();
                let gone = self.gone.get(index % self.gone.len().max(1));
                let Some((collection, number)) = gone else { return Ok(()) };
                Ok(Eye::Now(collection).check(glance, (&state.now, *number), &mut self.dice)?)
            }
            Read::Estimate(path, keys) => self.estimate(path, keys),
        }
    }

    /// An estimate may be wrong, but not above all that was ever written; of nothing it is nothing.
    fn estimate(&mut self, path: Path, keys: &Many) -> Done {
        let Some((number, collection)) = self.existing(path)? else { return Ok(()) };
        let (start, end) = Span::of(keys).bounds();
        let found = self.ok(collection.estimate::<&[u8]>((slice(&start), slice(&end))))?;
        let written = self.db.stats().sequence;
        let is_empty = Span::of(keys).is_empty();
        if found.keys > written || is_empty && found.keys > 0 {
            return Err(format!("{found:?} of {written} writes in {number:?}").into());
        }
        Ok(())
    }
}

/// A span of keys, as bounds.
impl Span {
    pub fn bounds(&self) -> (Bound<KeyBytes>, Bound<KeyBytes>) {
        let end = self.end().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(self.start()), end)
    }
}
