//! Reading a key and writing it as one step.
//!
//! Each is a transaction of its own, run again until no other writer comes between: what they answer
//! and what they write belong to one moment.

use super::transaction::Transaction;
use crate::base::error::Result;
use crate::base::value::{Key, Value};
use crate::db::collections::collection::Collection;

impl Collection {
    /// Sets a key to `new`, or removes it if that is none, provided that its value is `expected`, none
    /// if it must be absent. Otherwise nothing is written, and the inner error is what it has.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let jobs = db.collection("jobs")?;
    /// assert_eq!(jobs.compare_and_swap("7", None::<&str>, Some("mine"))?, Ok(()));
    /// let lost = jobs.compare_and_swap("7", None::<&str>, Some("no, mine"))?.unwrap_err();
    /// assert_eq!(lost.unwrap(), b"mine");
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Cost: a get, and an insert or a remove. Errors as of [`Collection::get`] and
    /// [`Collection::insert`].
    pub fn compare_and_swap(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<impl AsRef<[u8]>>,
        new: Option<impl AsRef<[u8]>>,
    ) -> Result<std::result::Result<(), Option<Value>>> {
        let (key, expected) = (key.as_ref(), expected.as_ref().map(AsRef::as_ref));
        self.transact(|txn| {
            let found = txn.get(self, key)?;
            if found.as_deref() != expected {
                return Ok(Err(found));
            }
            txn.set(self, key, new.as_ref().map(AsRef::as_ref)).map(Ok)
        })
    }

    /// Sets the value of a key that is absent; if it is present it stays, and is answered. Cost and
    /// errors as of [`Collection::compare_and_swap`].
    pub fn insert_if_absent(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Option<Value>> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.transact(|txn| {
            let found = txn.get(self, key)?;
            if found.is_none() {
                txn.insert(self, key, value)?;
            }
            Ok(found)
        })
    }

    /// Sets a key to what `update` makes of its value, or removes it if that is none; answers the value
    /// before. `update` may run several times.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let users = db.collection("users")?;
    /// let upper = |name: Option<&[u8]>| name.map(<[u8]>::to_ascii_uppercase);
    /// users.insert("1", "alice")?;
    /// assert_eq!(users.fetch_update("1", upper)?.unwrap(), b"alice");
    /// assert_eq!(users.get("1")?.unwrap(), b"ALICE");
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Cost and errors as of [`Collection::compare_and_swap`].
    pub fn fetch_update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        mut update: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Value>> {
        let key = key.as_ref();
        self.transact(|txn| {
            let found = txn.get(self, key)?;
            let new = update(found.as_deref());
            txn.set(self, key, new.as_ref().map(AsRef::as_ref))?;
            Ok(found)
        })
    }

    /// Takes out the pair with the smallest key; none if there is none. Two callers never get the same
    /// pair. Cost: that of [`Collection::first`] and of a remove; callers side by side get in each
    /// other's way. Errors as of [`Collection::compare_and_swap`].
    pub fn pop_first(&self) -> Result<Option<(Key, Value)>> {
        self.transact(|txn| {
            let first = txn.iter(self)?.next().transpose()?;
            first.map_or(Ok(None), |pair| txn.remove(self, &pair.0).map(|()| Some(pair)))
        })
    }

    /// Takes out the pair with the largest key; see [`Collection::pop_first`].
    pub fn pop_last(&self) -> Result<Option<(Key, Value)>> {
        self.transact(|txn| {
            let last = txn.iter(self)?.next_back().transpose()?;
            last.map_or(Ok(None), |pair| txn.remove(self, &pair.0).map(|()| Some(pair)))
        })
    }

    fn transact<T>(&self, body: impl FnMut(&mut Transaction) -> Result<T>) -> Result<T> {
        self.handle.transact(self.default_durability(), body)
    }
}

impl Transaction {
    /// The value of a key, or none.
    fn set(&mut self, collection: &Collection, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        match value {
            Some(value) => self.insert(collection, key, value),
            None => self.remove(collection, key),
        }
    }
}
