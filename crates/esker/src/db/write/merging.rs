//! Merge operands on their way in.
//!
//! 1. An operand is written blind: nothing is read, and what it comes to is found out by whoever reads
//!    its key, or by the flush or compaction that folds it.
//! 2. A collection without an operator takes none: it could not be read.

use super::batch::WriteBatch;
use crate::base::error::Result;
use crate::base::key::Kind;
use crate::commit::Durability;
use crate::db::collections::collection::Collection;
use crate::merge::fold::operator_of;

impl Collection {
    /// Hands an operand for a key to the collection's merge operator, as durable as the database's
    /// default says. What the key then has is what the operator makes of all operands since the last
    /// insert or removal, and of what that left: see [`MergeOperator`](crate::MergeOperator).
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// use esker::{Settings, operators::U64Add};
    /// let visits = db.collection_with("visits", &Settings::default().merge_operator("u64-add"))?;
    /// visits.merge("/index", U64Add::encode(1))?;
    /// visits.merge("/index", U64Add::encode(2))?;
    /// assert_eq!(visits.get("/index")?.as_deref().and_then(U64Add::decode), Some(3));
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Cost: that of an insert; it does not read. Reading a key costs a step for each operand that no
    /// flush or compaction has folded yet. Operands count as values in line, whatever their length,
    /// and so does what a flush or compaction folds.
    ///
    /// Errors: `InvalidArgument` if the collection's [settings](crate::Settings::merge_operator) name
    /// no operator, or one that is not [registered](crate::Options::merge_operator): nothing is written; else as of
    /// [`Collection::insert`]. Whether the operator takes the operand shows when the key is read.
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> Result<()> {
        self.merge_with(key, operand, self.default_durability())
    }

    /// [`Collection::merge`] with a durability of its own.
    pub fn merge_with(
        &self,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<()> {
        self.check_operator()?;
        self.write(Kind::Merge, key.as_ref(), operand.as_ref(), durability)
    }

    /// Errors: `InvalidArgument` if operands could not be read.
    pub(in crate::db) fn check_operator(&self) -> Result<()> {
        let rule = self.handle.core.rules.of(self.id);
        let name = &self.name;
        operator_of(&rule, self.id).map(drop).map_err(|error| error.context(format!("{name:?}")))
    }
}

impl WriteBatch {
    /// Hands an operand for a key to the collection's merge operator; several for one key come in the
    /// order of the batch (MOSS-6). Cost: one copy of both. Errors as of [`WriteBatch::insert`], and
    /// those of [`Collection::merge`]; the batch stays as it was.
    pub fn merge(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
    ) -> Result<()> {
        collection.check_owner(&self.handle)?;
        collection.check_operator()?;
        self.push(Kind::Merge, collection, key.as_ref(), operand.as_ref())
    }
}
