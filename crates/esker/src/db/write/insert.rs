//! Single writes to a collection.
//!
//! Each is a commit of its own: checked against the limits, numbered while the collection is there,
//! visible when the call returns.

use crate::base::batch::{Batch, Op};
use crate::base::error::Result;
use crate::base::key::{Kind, check_key, check_value};
use crate::commit::Durability;
use crate::db::collections::collection::Collection;
use crate::db::collections::identity::Guarded;
use crate::db::read::range::{removal_of, removal_of_prefix};
use std::ops::RangeBounds;
use std::time::Duration;

impl Collection {
    /// Sets the value of a key, as durable as the database's default says.
    ///
    /// Cost: one copy into the log and one into memory; no system call unless synced. Errors:
    /// `InvalidArgument` over the limits (64 KiB, 1 GiB); `NotFound` if the collection was deleted;
    /// `ReadOnly` after a failed write; `Io`.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.insert_with(key, value, self.handle.core.options.durability)
    }

    /// [`Collection::insert`] with a durability of its own.
    pub fn insert_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<()> {
        self.write(Kind::Put, key.as_ref(), value.as_ref(), durability)
    }

    /// Sets the value of a key until `time_to_live` from now on has passed, whatever the collection's
    /// [time to live](crate::Settings::time_to_live) is; as durable as the database's default says.
    /// Then it is exactly as if it had been removed, for every reader, also with a snapshot or under a
    /// name from before; what it had replaced does not come back.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let sessions = db.collection("sessions")?;
    /// use std::time::Duration;
    /// sessions.insert_with_ttl("alice", "here", Duration::from_secs(3600))?;
    /// assert!(sessions.expires_at("alice")?.is_some());
    /// sessions.insert("alice", "stays")?; // which does not expire
    /// assert!(sessions.expires_at("alice")?.is_none());
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// It is a matter of the [clock](crate::Options::clock), to the millisecond and never too early: a
    /// time of zero is over at once, one that no number of milliseconds can hold, as `Duration::MAX`,
    /// never. A transaction that has read it conflicts once it has expired. Its space is freed
    /// by compactions, which come for a file of the last level when half of it has expired, also where
    /// nobody writes.
    ///
    /// Operands that are merged upon it fold upon it as long as it lives, and stand alone from then on;
    /// what they come to until then expires with it, also where an export or a revert copies it.
    ///
    /// Cost: that of an insert, 8 bytes, and a look at the clock. Errors as of [`Collection::insert`].
    pub fn insert_with_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time_to_live: Duration,
    ) -> Result<()> {
        let expires = Some(self.handle.core.expiry_after(time_to_live));
        let (key, value) = (key.as_ref(), value.as_ref());
        let op = Op { kind: Kind::Put, collection: self.id, key, value, expires };
        self.write_op(op, self.handle.core.options.durability)
    }

    /// Removes a key; nothing happens if it is absent. Cost and errors as of
    /// [`Collection::insert`]; it does not read.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.remove_with(key, self.handle.core.options.durability)
    }

    /// [`Collection::remove`] with a durability of its own.
    pub fn remove_with(&self, key: impl AsRef<[u8]>, durability: Durability) -> Result<()> {
        self.write(Kind::Delete, key.as_ref(), &[], durability)
    }

    /// Removes all keys of a range that are there now: those that come later stay. A range that is
    /// empty, or ends before it begins, writes nothing (MOSS-14).
    ///
    /// Cost: that of one insert, however many keys there are; it does not read. Space is freed as
    /// compactions come by, sooner where whole files are covered. Errors as of
    /// [`Collection::insert`]; a bound over the limit of a key is `InvalidArgument`.
    pub fn remove_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        self.remove_range_with(range, self.handle.core.options.durability)
    }

    /// [`Collection::remove_range`] with a durability of its own.
    pub fn remove_range_with<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        durability: Durability,
    ) -> Result<()> {
        self.remove_span(removal_of(&range)?, durability)
    }

    /// Removes all keys that begin with `prefix`. Cost and errors as of
    /// [`Collection::remove_range`].
    pub fn remove_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.remove_prefix_with(prefix, self.handle.core.options.durability)
    }

    /// [`Collection::remove_prefix`] with a durability of its own.
    pub fn remove_prefix_with(
        &self,
        prefix: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<()> {
        self.remove_span(Some(removal_of_prefix(prefix.as_ref())), durability)
    }

    /// Removes all keys; the collection stays. Cost and errors as of [`Collection::remove_range`].
    pub fn clear(&self) -> Result<()> {
        self.clear_with(self.handle.core.options.durability)
    }

    /// [`Collection::clear`] with a durability of its own.
    pub fn clear_with(&self, durability: Durability) -> Result<()> {
        self.remove_prefix_with("", durability)
    }

    /// One that is empty is refused where any other would be, and writes nothing; synced, it makes
    /// durable what came before it as any other does.
    fn remove_span(&self, span: Option<(Vec<u8>, Vec<u8>)>, durability: Durability) -> Result<()> {
        match span {
            Some((start, end)) => self.write(Kind::RangeDelete, &start, &end, durability),
            None => self.handle.core.writing()?.committer.commit(&Batch::default(), durability),
        }
    }

    pub(in crate::db) fn write(
        &self,
        kind: Kind,
        key: &[u8],
        value: &[u8],
        durability: Durability,
    ) -> Result<()> {
        self.write_op(Op { kind, collection: self.id, key, value, expires: None }, durability)
    }

    pub(super) fn write_op(&self, op: Op<'_>, durability: Durability) -> Result<()> {
        check_key(op.key)?;
        check_value(op.value)?;
        let ops = Guarded { ops: &op, to: std::slice::from_ref(&self.identity) };
        self.handle.core.writing()?.committer.commit(&ops, durability)
    }
}
