//! Pairs that are written in place: a batch lends the bytes of a key and a value, and takes them in.

use super::batch::WriteBatch;
use crate::base::batch::{Room, Slot};
use crate::base::error::Result;
use crate::base::key::Kind;
use crate::db::collections::collection::Collection;

impl WriteBatch {
    /// Lends room for a pair, to be written where it will lie: for who serialises keys and values and
    /// would copy them once more. The slot is part of the batch once it is committed; until then
    /// nothing else can be done with the batch, and a slot that is dropped leaves nothing.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let users = db.collection("users")?;
    /// let mut batch = db.batch();
    /// let mut slot = batch.reserve(&users, 8, 100)?;
    /// slot.key_mut().copy_from_slice(&7_u64.to_be_bytes());
    /// slot.value_mut()[..5].copy_from_slice(b"alice");
    /// slot.truncate(5); // it is shorter than it might have been
    /// slot.commit();
    /// batch.commit()?;
    /// assert_eq!(users.get(7_u64.to_be_bytes())?.unwrap(), b"alice");
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// A batch cannot be committed with a slot open, and a slot cannot be used twice (MOSS-7):
    ///
    /// ```compile_fail
    /// # fn misuse(mut batch: esker::WriteBatch, users: esker::Collection) -> esker::Result<()> {
    /// let slot = batch.reserve(&users, 8, 100)?;
    /// batch.commit()?;
    /// slot.commit();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// ```compile_fail
    /// # fn misuse(mut batch: esker::WriteBatch, users: esker::Collection) -> esker::Result<()> {
    /// let mut slot = batch.reserve(&users, 8, 100)?;
    /// slot.commit();
    /// slot.key_mut().fill(1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cost: the bytes are zeros at first. Errors: `InvalidArgument` over the limits of key, value or
    /// batch, or for a collection of another database; the batch stays as it was.
    pub fn reserve(
        &mut self,
        collection: &Collection,
        key_len: usize,
        value_len: usize,
    ) -> Result<Slot<'_>> {
        collection.check_owner(&self.handle)?;
        let (kind, collection_id, expires) = (Kind::Put, collection.id, None);
        let room = Room { kind, collection: collection_id, key_len, value_len, expires };
        let slot = self.batch.reserve(room)?;
        // A slot that is dropped is none of the operations that are asked about it.
        self.to.note(&collection.identity);
        Ok(slot)
    }
}
