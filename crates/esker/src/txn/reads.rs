//! What a transaction has read, and whether that still holds.
//!
//! 1. A read is a key, present or not, or all keys of a stretch: whoever has seen that nothing is
//!    there has read it.
//! 2. What a transaction reads of its own writes it has not read.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::key::{Lookup, split_full_key};
use crate::base::keyset::KeySet;
use crate::tree::view::View;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub struct Reads {
    /// By full key.
    keys: BTreeMap<Box<[u8]>, Lookup>,
    stretches: KeySet,
}

impl Reads {
    /// A key was read.
    pub fn key(&mut self, key: Lookup) {
        if !self.keys.contains_key(key.full()) {
            self.keys.insert(key.full().into(), key);
        }
    }

    /// All full keys from `start` up to `end`, excluded, were read.
    pub fn stretch(&mut self, start: &[u8], end: &[u8]) {
        self.stretches.insert(start, end);
    }

    /// Agrees if nothing that was read was written after `since`, as far as `view` shows.
    ///
    /// Cost: at most a get a key, mostly less, and a walk over each interval in what has anything
    /// newer. Errors: `Conflict`, which names the key; `Corruption`, `Io`.
    pub fn check(&self, view: &View, since: SeqNo) -> Result<()> {
        for key in self.keys.values() {
            if view.is_newer(key, since)? {
                return Err(conflict(key.full(), since));
            }
        }
        for (start, end) in self.stretches.iter() {
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
