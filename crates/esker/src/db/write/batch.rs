//! Operations that become visible, and durable, together.

use crate::base::batch::{Batch, Op, Ops};
use crate::base::error::Result;
use crate::base::key::Kind;
use crate::commit::Durability;
use crate::db::collections::catalog::check_path;
use crate::db::collections::collection::Collection;
use crate::db::collections::draft::{Change, Changes};
use crate::db::collections::identity::Targets;
use crate::db::collections::settings::Settings;
use crate::db::handle::Handle;
use crate::db::read::range::{removal_of, removal_of_prefix};
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

/// A batch of operations over any collections of one database. Committing consumes it; dropping it
/// forgets it.
///
/// The same key may come several times: the later operation wins. Collections are created, deleted
/// and renamed by it too, in order, together with the rest.
#[derive(Clone)]
pub struct WriteBatch {
    pub(super) handle: Arc<Handle>,
    pub(super) batch: Batch,
    pub(super) to: Targets,
    changes: Changes,
}

impl WriteBatch {
    pub(in crate::db) fn new(handle: Arc<Handle>) -> Self {
        let (batch, to, changes) = Default::default();
        Self { handle, batch, to, changes }
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

    /// [`WriteBatch::insert`] of what expires: see [`Collection::insert_with_ttl`]. The time is counted
    /// from this call on, not from the commit.
    pub fn insert_with_ttl(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time_to_live: Duration,
    ) -> Result<()> {
        let expires = Some(self.handle.core.expiry_after(time_to_live));
        let (key, value) = (key.as_ref(), value.as_ref());
        let op = Op { kind: Kind::Put, collection: collection.id, key, value, expires };
        self.push_op(collection, op)
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

    /// Creates a collection, and its parents if they are missing, and answers a handle that this batch
    /// can write with at once, others once it is committed.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// let mut batch = db.batch();
    /// let archive = batch.create_collection("users/archive")?;
    /// batch.insert(&archive, "alice", "1")?;
    /// batch.commit()?;
    /// assert_eq!(db.collections()?, ["users", "users/archive"]);
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Errors: `InvalidArgument` for a bad path, and of the commit if there is one of that path then.
    pub fn create_collection(&mut self, path: &str) -> Result<Collection> {
        self.create_collection_with(path, &Settings::default())
    }

    /// [`WriteBatch::create_collection`], with settings of its own. Parents that are created have
    /// none. Errors beside those: `InvalidArgument` for a setting that cannot be.
    pub fn create_collection_with(
        &mut self,
        path: &str,
        settings: &Settings,
    ) -> Result<Collection> {
        let (core, path): (_, Arc<str>) = (&self.handle.core, path.into());
        let identity = core.expect(&mut core.catalog.write(), &path, settings)?;
        self.change(Change::Create(path, identity.clone()));
        Ok(Collection::new(self.handle.clone(), identity))
    }

    /// Deletes a collection, all that lies below it, and their pairs: one small write, however many
    /// there are. Snapshots from before still see them; a collection that is created under the same
    /// path later, in this batch even, is empty.
    ///
    /// Errors: `InvalidArgument` for a collection of another database; of the commit `NotFound` if
    /// it is not there then, or if this batch writes to it afterwards.
    pub fn delete_collection(&mut self, collection: &Collection) -> Result<()> {
        collection.check_owner(&self.handle)?;
        self.change(Change::Delete(collection.identity.clone()));
        Ok(())
    }

    /// Calls a collection `path`, and all that lies below it accordingly; handles go on working.
    /// Parents of `path` that are missing are created. Cost: a small record for each collection that
    /// moves; no pair does.
    ///
    /// Errors: `InvalidArgument` for a bad path, a collection of another database, and of the commit
    /// if there is one of that path then, or it lies below the collection; of the commit `NotFound`
    /// if the collection is not there then.
    pub fn rename_collection(&mut self, collection: &Collection, path: &str) -> Result<()> {
        collection.check_owner(&self.handle)?;
        check_path(path)?;
        self.change(Change::Rename(collection.identity.clone(), path.into()));
        Ok(())
    }

    fn change(&mut self, change: Change) {
        self.changes.push((self.batch.count(), change));
    }

    pub(super) fn push(
        &mut self,
        kind: Kind,
        to: &Collection,
        key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        self.push_op(to, Op { kind, collection: to.id, key, value, expires: None })
    }

    /// Takes in an operation on `to`.
    pub(in crate::db) fn push_op(&mut self, to: &Collection, op: Op<'_>) -> Result<()> {
        to.check_owner(&self.handle)?;
        self.batch.push(op)?;
        self.to.note(&to.identity);
        Ok(())
    }

    /// How many operations it holds: on pairs, and on collections.
    pub fn len(&self) -> usize {
        self.batch.count() + self.changes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of keys and values that it holds.
    pub fn byte_count(&self) -> usize {
        self.batch.byte_count()
    }

    /// Commits all operations as one, as durable as the database's default says. An empty batch
    /// takes no number and changes nothing; synced, it makes durable what came before it. Errors as
    /// of [`Collection::insert`], and those of the operations on collections; then nothing changes.
    pub fn commit(self) -> Result<()> {
        let durability = self.handle.core.options.durability;
        self.commit_with(durability)
    }

    /// [`WriteBatch::commit`] with a durability of its own.
    pub fn commit_with(self, durability: Durability) -> Result<()> {
        let core = &self.handle.core;
        if self.changes.is_empty() {
            return core.writing()?.committer.commit(&self.to.guard(&self.batch), durability);
        }
        let mut catalog = core.catalog.write();
        core.commit_changes(&mut catalog, &self.changes, (self.batch, &self.to), durability)
    }
}

impl std::fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBatch").field("len", &self.len()).finish()
    }
}
