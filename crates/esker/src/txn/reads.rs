//! What a transaction has read, and whether that still holds.
//!
//! 1. A read is a key, present or not, or all keys of a stretch: whoever has seen that nothing is
//!    there has read it.
//! 2. What a transaction reads of its own writes it has not read.
//! 3. A value holds until it expires: one that has, with what others wrote over it, may be forgotten by
//!    then, so that nothing would tell of them.
//! 4. A walk counts as having read all of its stretch until it says what it has read: one that is
//!    forgotten and never dropped hides nothing.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::key::{Lookup, split_full_key};
use crate::base::keyset::{KeySet, Stretch};
use crate::base::time::Time;
use crate::tree::view::View;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct Reads {
    /// By full key.
    keys: BTreeMap<Box<[u8]>, Lookup>,
    stretches: KeySet,
    /// When the first of the values that were read expires.
    until: Option<Time>,
    /// Where walks go that have not ended, by their number.
    walks: Vec<Option<Stretch>>,
}

impl Reads {
    /// A key was read.
    pub fn key(&mut self, key: Lookup) {
        if !self.keys.contains_key(key.full()) {
            self.keys.insert(key.full().into(), key);
        }
    }

    /// A value was read that expires then.
    pub fn expiring(&mut self, expiry: Option<Time>) {
        self.until = self.until.into_iter().chain(expiry).min();
    }

    /// All full keys from `start` up to `end`, excluded, were read.
    pub fn stretch(&mut self, start: &[u8], end: &[u8]) {
        self.stretches.insert(start, end);
    }

    /// A walk begins, over the full keys of `stretch`. Gives its number.
    pub fn begin(&mut self, stretch: Stretch) -> usize {
        self.walks.push(Some(stretch));
        self.walks.len() - 1
    }

    /// The walk of that number has ended: what it has read is told apart.
    pub fn end(&mut self, walk: usize) -> Option<Stretch> {
        let stretch = self.walks.get_mut(walk).and_then(Option::take);
        while self.walks.pop_if(|walk| walk.is_none()).is_some() {}
        stretch
    }

    /// Agrees if nothing that was read was written after `since`, as far as `view` shows, or has expired.
    ///
    /// Cost: at most a get a key, mostly less, and a walk over each stretch in what has anything
    /// newer. Errors: `Conflict`, which names the key that was written; `Corruption`, `Io`.
    pub fn check(&self, view: &View, since: SeqNo) -> Result<()> {
        if self.until.is_some_and(|expiry| expiry <= view.clock.now()) {
            let message = "a value that the transaction has read has expired: begin again";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        for key in self.keys.values() {
            if view.is_newer(key, since)? {
                return Err(conflict(key.full(), since));
            }
        }
        let walks = self.walks.iter().flatten().map(|(start, end)| (&**start, &**end));
        for (start, end) in self.stretches.iter().chain(walks) {
            if let Some(key) = view.newer_among(start, end, since)? {
                return Err(conflict(&key, since));
            }
        }
        Ok(())
    }
}

fn conflict(full: &[u8], since: SeqNo) -> Error {
    let (collection, key) = split_full_key(full).unwrap_or_default();
    let key = key.escape_ascii();
    let message = format!(
        "key \"{key}\" of collection {collection}, which the transaction has read, was written \
         after number {since}: begin again"
    );
    Error::new(ErrorKind::Conflict, message)
}
