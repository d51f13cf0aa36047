//! The one interface of everything that walks entries in order: memtable, block, segment, merge.
//!
//! 1. Order is that of [`Entry::order`]: full key ascending, then newest first.
//! 2. A cursor is on an entry or off an end. A new one is off; `next` and `prev` on one that is off
//!    leave it off. Stepping off the end and back again is legal through `seek…`.
//! 3. After an error a cursor is off and stays so until it is moved by a `seek…` that succeeds.
//! 4. `entry` borrows until the next move; `value` is pinned and outlives the cursor.

#[cfg(test)]
pub(crate) mod reference;

use super::error::Result;
use super::id::SeqNo;
use super::key::Entry;
use super::value::Value;

/// Walks sorted entries in both directions.
pub trait Cursor: Send {
    /// To the first entry.
    fn seek_first(&mut self) -> Result<()>;
    /// To the last entry.
    fn seek_last(&mut self) -> Result<()>;
    /// To the first entry at or after (`key`, `seq`): the newest version at or below `seq` of
    /// `key`, or the first entry of the next key.
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()>;
    /// To the last entry whose full key is below `key`.
    fn seek_before(&mut self, key: &[u8]) -> Result<()>;
    /// To the entry after this one.
    fn next(&mut self) -> Result<()>;
    /// To the entry before this one.
    fn prev(&mut self) -> Result<()>;
    /// The entry it is on; none off the ends.
    fn entry(&self) -> Option<Entry<'_>>;
    /// The value of the entry it is on, pinned; empty off the ends.
    fn value(&self) -> Value;
}

impl<C: Cursor + ?Sized> Cursor for Box<C> {
    fn seek_first(&mut self) -> Result<()> {
        (**self).seek_first()
    }
    fn seek_last(&mut self) -> Result<()> {
        (**self).seek_last()
    }
    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        (**self).seek(key, seq)
    }
    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        (**self).seek_before(key)
    }
    fn next(&mut self) -> Result<()> {
        (**self).next()
    }
    fn prev(&mut self) -> Result<()> {
        (**self).prev()
    }
    fn entry(&self) -> Option<Entry<'_>> {
        (**self).entry()
    }
    fn value(&self) -> Value {
        (**self).value()
    }
}
