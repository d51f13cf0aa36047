//! Operations that become visible, and durable, together.

use super::collection::Collection;
use super::handle::Handle;
use super::range::{removal_of, removal_of_prefix};
use crate::base::batch::{Batch, Op, Ops};
use crate::base::error::Result;
use crate::base::key::Kind;
use crate::commit::Durability;
use std::ops::RangeBounds;
use std::sync::Arc;

/// A batch of operations over any collections of one database. Committing consumes it; dropping it
/// forgets it.
///
/// The same key may come several times: the later operation wins.
#[derive(Clone)]
pub struct WriteBatch {
    handle: Arc<Handle>,
    batch: Batch,
}

impl WriteBatch {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, batch: Batch::default() }
    }

    /// Sets the value of a key. Cost: one copy of both.
    ///
    /// Errors: `InvalidArgument` over the limits of key, value or batch (1 GiB), or for a collection
    /// of another database; the batch stays as it was.
    pub fn insert(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.push(Kind::Put, collection, key.as_ref(), value.as_ref())
    }

    /// Removes a key. Errors as of [`WriteBatch::insert`].
    pub fn remove(&mut self, collection: &Collection, key: impl AsRef<[u8]>) -> Result<()> {
        self.push(Kind::Delete, collection, key.as_ref(), &[])
    }

    /// Removes all keys of a range that are there before this operation, those of this batch
    /// included; what comes later stays. An empty range adds nothing. Cost: one copy of the bounds.
    /// Errors as of [`WriteBatch::insert`].
    pub fn remove_range<K: AsRef<[u8]>>(
        &mut self,
        collection: &Collection,
        range: impl RangeBounds<K>,
    ) -> Result<()> {
        match removal_of(&range)? {
            Some((start, end)) => self.push(Kind::RangeDelete, collection, &start, &end),
            None => collection.check_owner(&self.handle),
        }
    }

    /// Removes all keys that begin with `prefix`. Cost and errors as of
    /// [`WriteBatch::remove_range`].
    pub fn remove_prefix(
        &mut self,
        collection: &Collection,
        prefix: impl AsRef<[u8]>,
    ) -> Result<()> {
        let (start, end) = removal_of_prefix(prefix.as_ref());
        self.push(Kind::RangeDelete, collection, &start, &end)
    }

    /// Removes all keys; the collection stays. Cost and errors as of [`WriteBatch::remove_range`].
    pub fn clear(&mut self, collection: &Collection) -> Result<()> {
        self.remove_prefix(collection, "")
    }

    fn push(&mut self, kind: Kind, to: &Collection, key: &[u8], value: &[u8]) -> Result<()> {
        to.check_owner(&self.handle)?;
        self.batch.push(Op { kind, collection: to.id, key, value })
    }

    /// How many operations it holds.
    pub fn len(&self) -> usize {
        self.batch.count()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Bytes of keys and values that it holds.
    pub fn byte_count(&self) -> usize {
        self.batch.byte_count()
    }

    /// Commits all operations as one, as durable as the database's default says. An empty batch
    /// takes no number and changes nothing; synced, it makes durable what came before it. Errors as
    /// of [`Collection::insert`].
    pub fn commit(self) -> Result<()> {
        let durability = self.handle.core.options.durability;
        self.commit_with(durability)
    }

    /// [`WriteBatch::commit`] with a durability of its own.
    pub fn commit_with(self, durability: Durability) -> Result<()> {
        self.handle.core.writing()?.committer.commit(&self.batch, durability)
    }
}

impl std::fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBatch").field("len", &self.len()).finish()
    }
}
