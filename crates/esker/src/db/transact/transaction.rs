//! Serializable transactions over any number of collections.

use super::overlay::{TransactionRange, fold_own};
use crate::base::batch::Op;
use crate::base::error::{ErrorKind, Result};
use crate::base::key::{Kind, Lookup};
use crate::base::value::Value;
use crate::commit::Durability;
use crate::db::Db;
use crate::db::collections::collection::{Collection, Snapshot, View};
use crate::db::collections::identity::Targets;
use crate::db::handle::Handle;
use crate::db::read::range::{FullBounds, Range, bounds_of, removal_of, removal_of_prefix};
use crate::tree::view::Found;
use crate::txn::reads::Reads;
use crate::txn::writes::{Base, Own, Writes};
use std::cell::RefCell;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

impl Db {
    /// Begins a transaction: it sees everything that was written before, and nothing that others
    /// write after. Cost: that of a snapshot.
    pub fn begin(&self) -> Transaction {
        Transaction::new(&self.handle)
    }

    /// Runs `body` in a transaction and commits it; if it lost against another writer, runs it again
    /// in a new one, until it wins. So `body` may run several times: what it does outside of the
    /// transaction should bear that.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// let counters = db.collection("counters")?;
    /// let count = db.transact(|txn| {
    ///     let count = txn.get(&counters, "visits")?.map_or(0, |value| value[0]) + 1;
    ///     txn.insert(&counters, "visits", [count])?;
    ///     Ok(count)
    /// })?;
    /// assert_eq!(count, 1);
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Of transactions that stand in each other's way one wins each time; one that reads much of what
    /// others write all the time may run often. Errors: those of `body`, after which nothing was
    /// written; those of [`Transaction::commit`] but for `Conflict`.
    pub fn transact<T>(&self, body: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        self.transact_with(self.durability(), body)
    }

    /// [`Db::transact`] with a durability of its own.
    pub fn transact_with<T>(
        &self,
        durability: Durability,
        body: impl FnMut(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        self.handle.transact(durability, body)
    }
}

impl Handle {
    pub(super) fn transact<T>(
        self: &Arc<Self>,
        durability: Durability,
        mut body: impl FnMut(&mut Transaction) -> Result<T>,
    ) -> Result<T> {
        loop {
            let mut txn = Transaction::new(self);
            let done = body(&mut txn).and_then(|answer| {
                txn.commit_with(durability)?;
                Ok(answer)
            });
            match done {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }
}

/// A serializable transaction: see [`Db::begin`] and [`Db::transact`]. Dropping it forgets it.
///
/// It reads one moment of the whole database, and its own writes. When it commits, everything that it
/// has read (keys, present or not, and ranges as far as they were walked) must be as it was: then it
/// takes place at once, as if it were alone. Reads of others never wait for it, nor it for them; plain
/// writes and batches take part. One that has written nothing needs no check and cannot fail. A value that
/// it has read and that expires before the commit is a conflict.
///
/// While it lives it pins the versions that it sees, as a [`Snapshot`] does.
pub struct Transaction {
    handle: Arc<Handle>,
    snapshot: Snapshot,
    reads: RefCell<Reads>,
    writes: Writes,
    to: Targets,
    /// To whom it had written at each savepoint.
    saved: Vec<Targets>,
}

impl Transaction {
    fn new(handle: &Arc<Handle>) -> Self {
        let (reads, writes, to, saved) = Default::default();
        let snapshot = Snapshot { pin: handle.pin() };
        Self { handle: handle.clone(), snapshot, reads, writes, to, saved }
    }

    /// The moment that it reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The value of a key. Cost: that of [`Collection::get`], and a note of the key; a value that it
    /// has written itself is copied. Errors: `Corruption`, `Io`; `InvalidArgument` for a collection
    /// of another database.
    pub fn get(&self, collection: &Collection, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        collection.check_owner(&self.handle)?;
        let lookup = Lookup::new(collection.id, key.as_ref());
        let read = |lookup| match self.read(lookup)? {
            Some(Found::Large(large)) => large.read().map(Some),
            Some(Found::Value(value)) => Ok(Some(value)),
            None => Ok(None),
        };
        match self.writes.get(lookup.full(), || self.handle.core.now()) {
            None => read(lookup),
            Some(Own::Put(value)) => Ok(Some(Value::copied(value))),
            Some(Own::Gone) => Ok(None),
            Some(Own::Merged { base, operands }) => {
                let full = lookup.full().to_vec();
                let beneath = if base == Base::Snapshot { read(lookup)? } else { None };
                let backing = self.handle.core.views.load();
                fold_own(&full, (base, &operands), beneath, &**backing).map(Some)
            }
        }
    }

    /// Whether a key is present; a value out of line is not read for it. Errors as of
    /// [`Transaction::get`].
    pub fn contains_key(&self, collection: &Collection, key: impl AsRef<[u8]>) -> Result<bool> {
        collection.check_owner(&self.handle)?;
        let lookup = Lookup::new(collection.id, key.as_ref());
        match self.writes.get(lookup.full(), || self.handle.core.now()) {
            Some(own) => Ok(own != Own::Gone),
            None => Ok(self.read(lookup)?.is_some()),
        }
    }

    /// What the snapshot has of a key, which is noted.
    fn read(&self, key: Lookup) -> Result<Option<Found>> {
        let core = &self.handle.core;
        core.check_open()?;
        let found = core.views.load().look_closely(&key, self.snapshot.pin.seq())?;
        let (found, expiry) = found.unzip();
        let mut reads = self.reads.borrow_mut();
        reads.expiring(expiry.flatten());
        reads.key(key);
        Ok(found)
    }

    /// The pairs of a range of keys, its own writes among them. Errors as of [`Transaction::get`].
    pub fn range<K: AsRef<[u8]>>(
        &self,
        collection: &Collection,
        range: impl RangeBounds<K>,
    ) -> Result<TransactionRange<'_>> {
        let bounds = bounds_of(collection.id, &range);
        let pairs = self.view(collection)?.range(range);
        Ok(self.over(pairs, bounds))
    }

    /// The pairs whose keys begin with `prefix`. Errors as of [`Transaction::get`].
    pub fn prefix(
        &self,
        collection: &Collection,
        prefix: impl AsRef<[u8]>,
    ) -> Result<TransactionRange<'_>> {
        let prefix = prefix.as_ref();
        let (start, end) = removal_of_prefix(prefix);
        let end = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let bounds = bounds_of(collection.id, &(Bound::Included(start), end));
        let pairs = self.view(collection)?.prefix(prefix);
        Ok(self.over(pairs, bounds))
    }

    /// All pairs. Errors as of [`Transaction::get`].
    pub fn iter(&self, collection: &Collection) -> Result<TransactionRange<'_>> {
        self.range::<&[u8]>(collection, ..)
    }

    /// Sets the value of a key. Cost: one copy of both. Errors: `InvalidArgument` over the limits of
    /// key, value or batch (1 GiB), or for a collection of another database; nothing has changed.
    pub fn insert(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.push(Kind::Put, collection, key.as_ref(), value.as_ref())
    }

    /// [`Transaction::insert`] of what expires: see [`Collection::insert_with_ttl`]. The time is counted
    /// from this call on, for its own reads too.
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

    /// Hands an operand for a key to the collection's merge operator. The key is not read by that: two
    /// transactions that only merge do not conflict. Errors as of [`Transaction::insert`] and
    /// [`Collection::merge`].
    pub fn merge(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
    ) -> Result<()> {
        collection.check_operator()?;
        self.push(Kind::Merge, collection, key.as_ref(), operand.as_ref())
    }

    /// Removes a key. It is not read by that. Errors as of [`Transaction::insert`].
    pub fn remove(&mut self, collection: &Collection, key: impl AsRef<[u8]>) -> Result<()> {
        self.push(Kind::Delete, collection, key.as_ref(), &[])
    }

    /// Removes all keys of a range, those that others write before this commits among them. They are
    /// not read by that. Errors as of [`Transaction::insert`].
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

    /// Removes all keys that begin with `prefix`; see [`Transaction::remove_range`].
    pub fn remove_prefix(
        &mut self,
        collection: &Collection,
        prefix: impl AsRef<[u8]>,
    ) -> Result<()> {
        let (start, end) = removal_of_prefix(prefix.as_ref());
        self.push(Kind::RangeDelete, collection, &start, &end)
    }

    /// Makes a savepoint, to which [`Transaction::roll_back`] returns. They nest. What was read since
    /// counts as read all the same.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let users = db.collection("users")?;
    /// let mut txn = db.begin();
    /// txn.insert(&users, "alice", "1")?;
    /// txn.save();
    /// txn.insert(&users, "alice", "2")?;
    /// assert!(txn.roll_back());
    /// txn.commit()?;
    /// assert_eq!(users.get("alice")?.unwrap(), b"1");
    /// # Ok::<(), esker::Error>(())
    /// ```
    pub fn save(&mut self) {
        self.writes.save();
        self.saved.push(self.to.clone());
    }

    /// Forgets what was written since the newest savepoint, and that savepoint. False if there is
    /// none: then nothing has changed.
    pub fn roll_back(&mut self) -> bool {
        if let Some(to) = self.saved.pop() {
            self.to = to;
        }
        self.writes.roll_back()
    }

    /// Forgets the newest savepoint, and keeps what was written since. False if there is none.
    pub fn release(&mut self) -> bool {
        self.saved.pop();
        self.writes.release()
    }

    /// Commits, as durable as the database's default says: on return all its writes are visible as
    /// one, and what it has read is as it was.
    ///
    /// Cost: that of a batch, and of looking for what was written to its keys and ranges since it
    /// began: nothing is read of what is older. Errors: `Conflict` names a key: nothing was written,
    /// begin again, or use [`Db::transact`]; others as of [`Collection::insert`].
    pub fn commit(self) -> Result<()> {
        let durability = self.handle.core.options.durability;
        self.commit_with(durability)
    }

    /// [`Transaction::commit`] with a durability of its own.
    pub fn commit_with(self, durability: Durability) -> Result<()> {
        let core = &self.handle.core;
        let batch = self.writes.batch();
        if batch.is_empty() {
            return core.check_open();
        }
        let committer = &core.writing()?.committer;
        let reads = self.reads.borrow();
        let mut check = |since| reads.check(&core.views.load(), since);
        let batch = &self.to.guard(batch);
        let done = committer.commit_checked(batch, durability, self.snapshot.pin.seq(), &mut check);
        let counters = &core.counters;
        match &done {
            Ok(()) => counters.transactions.add(1),
            Err(error) if error.kind() == ErrorKind::Conflict => counters.conflicts.add(1),
            Err(_) => {}
        }
        done
    }

    fn over(&self, pairs: Range, bounds: FullBounds) -> TransactionRange<'_> {
        let backing = self.handle.core.views.load_full();
        TransactionRange::new((&self.writes, &self.reads), backing, pairs, bounds)
    }

    fn view(&self, collection: &Collection) -> Result<View> {
        collection.check_owner(&self.handle)?;
        Ok(collection.at(&self.snapshot))
    }

    fn push(&mut self, kind: Kind, to: &Collection, key: &[u8], value: &[u8]) -> Result<()> {
        self.push_op(to, Op { kind, collection: to.id, key, value, expires: None })
    }

    fn push_op(&mut self, to: &Collection, op: Op<'_>) -> Result<()> {
        to.check_owner(&self.handle)?;
        self.writes.push(op)?;
        self.to.note(&to.identity);
        Ok(())
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seq = self.snapshot.pin.seq();
        f.debug_struct("Transaction").field("seq", &seq).finish_non_exhaustive()
    }
}
