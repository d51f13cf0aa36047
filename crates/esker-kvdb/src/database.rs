//! A database with numbered columns.

use crate::pairs::Pairs;
use crate::tally::Tally;
use esker::{Collection, Db};
use kvdb::{DBKeyValue, DBOp, DBTransaction, DBValue, IoStats, IoStatsKind, KeyValueDB};
use std::io;
use std::path::Path;

/// An Esker database as the `kvdb` trait wants it: a fixed number of columns, each a sorted map from
/// bytes to bytes.
///
/// Errors are `io::Error`s with Esker's own inside: damage is `InvalidData`, another process
/// `ResourceBusy`, a database that a failed write has turned read-only `ReadOnlyFilesystem`; a column
/// that is not there, and what is over a limit (keys 64 KiB, values and transactions 1 GiB), are
/// `InvalidInput`.
pub struct Database {
    db: Db,
    columns: Vec<Collection>,
    tally: Tally,
}

impl Database {
    /// Opens the database in the folder `path` with default options and columns `0..columns`; it and
    /// they are created if they are missing.
    ///
    /// Columns that are there beyond `columns` stay as they are, out of reach. Errors: those of
    /// [`esker::Options::open`].
    pub fn open(path: impl AsRef<Path>, columns: u32) -> io::Result<Self> {
        Self::with_db(Db::open(path)?, columns)
    }

    /// The same over a database that is open already: with options of your own, or with collections
    /// of other names beside the columns.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # let folder = tempfile::tempdir()?;
    /// let options = esker::Db::options().memory_budget(64 << 20).sync(true);
    /// let db = esker_kvdb::Database::with_db(options.open(folder.path())?, 3)?;
    /// assert_eq!(db.num_columns(), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cost: one commit if columns are missing. Errors: `ReadOnlyFilesystem` if they are and nothing
    /// may be written; `Io`.
    pub fn with_db(db: Db, columns: u32) -> io::Result<Self> {
        let mut batch = db.batch();
        let mut found = Vec::new();
        for column in 0..columns {
            let name = name_of(column);
            found.push(match db.existing_collection(&name)? {
                Some(collection) => collection,
                None => batch.create_collection(&name)?,
            });
        }
        if !batch.is_empty() {
            batch.commit()?;
        }
        Ok(Self { db, columns: found, tally: Tally::new() })
    }

    /// How many columns there are.
    pub fn num_columns(&self) -> u32 {
        // As many as `with_db` was given, and one more for each `add_column`.
        self.columns.len() as u32
    }

    /// Adds an empty column behind the last. Cost: one commit.
    ///
    /// Errors: `InvalidInput` if there is such a collection already, left by an open with more
    /// columns; `ReadOnlyFilesystem`; `Io`.
    pub fn add_column(&mut self) -> io::Result<()> {
        let mut batch = self.db.batch();
        let column = batch.create_collection(&name_of(self.num_columns()))?;
        batch.commit()?;
        self.columns.push(column);
        Ok(())
    }

    /// Removes the last column with all its pairs, if there is one. Cost: one small write, however
    /// many pairs. Errors: `ReadOnlyFilesystem`; `Io`.
    pub fn remove_last_column(&mut self) -> io::Result<()> {
        if let Some(last) = self.columns.last() {
            self.db.delete_collection(last)?;
            self.columns.pop();
        }
        Ok(())
    }

    /// The database below, for what the trait does not have: `sync`, `snapshot`, `checkpoint`,
    /// `verify`, `compact`, `stats`.
    pub fn db(&self) -> &Db {
        &self.db
    }

    fn column(&self, column: u32) -> io::Result<&Collection> {
        self.columns.get(column as usize).ok_or_else(|| {
            let message = format!("no column {column}: there are {}", self.columns.len());
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })
    }

    fn walk(
        &self,
        column: u32,
        range: impl FnOnce(&Collection) -> esker::Range,
    ) -> Box<dyn Iterator<Item = io::Result<DBKeyValue>>> {
        match self.column(column) {
            Ok(collection) => Box::new(Pairs::of(range(collection))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

fn name_of(column: u32) -> String {
    format!("col{column}")
}

impl KeyValueDB for Database {
    fn get(&self, col: u32, key: &[u8]) -> io::Result<Option<DBValue>> {
        let value = self.column(col)?.get(key)?;
        self.tally.read(key.len() + value.as_ref().map_or(0, |value| value.len()));
        Ok(value.map(|value| value.to_vec()))
    }

    /// The value is not read for it.
    fn has_key(&self, col: u32, key: &[u8]) -> io::Result<bool> {
        let is_there = self.column(col)?.contains_key(key)?;
        self.tally.read(key.len());
        Ok(is_there)
    }

    fn get_by_prefix(&self, col: u32, prefix: &[u8]) -> io::Result<Option<DBValue>> {
        let first = self.column(col)?.prefix(prefix).next().transpose()?;
        self.tally
            .read(first.as_ref().map_or(prefix.len(), |(key, value)| key.len() + value.len()));
        Ok(first.map(|(_, value)| value.to_vec()))
    }

    fn write(&self, transaction: DBTransaction) -> io::Result<()> {
        let mut batch = self.db.batch();
        for op in &transaction.ops {
            let column = self.column(op.col())?;
            match op {
                DBOp::Insert { key, value, .. } => batch.insert(column, key, value)?,
                DBOp::Delete { key, .. } => batch.remove(column, key)?,
                DBOp::DeletePrefix { prefix, .. } => batch.remove_prefix(column, prefix)?,
            }
        }
        let bytes = transaction.ops.iter().map(byte_count).sum();
        batch.commit()?;
        self.tally.transaction(transaction.ops.len(), bytes);
        Ok(())
    }

    fn iter<'a>(&'a self, col: u32) -> Box<dyn Iterator<Item = io::Result<DBKeyValue>> + 'a> {
        self.walk(col, Collection::iter)
    }

    fn iter_with_prefix<'a>(
        &'a self,
        col: u32,
        prefix: &'a [u8],
    ) -> Box<dyn Iterator<Item = io::Result<DBKeyValue>> + 'a> {
        self.walk(col, |column| column.prefix(prefix))
    }

    fn io_stats(&self, kind: IoStatsKind) -> IoStats {
        self.tally.report(kind)
    }
}

/// Bytes of the key and of the value, if it carries one.
fn byte_count(op: &DBOp) -> usize {
    match op {
        DBOp::Insert { key, value, .. } => key.len() + value.len(),
        DBOp::Delete { key, .. } | DBOp::DeletePrefix { prefix: key, .. } => key.len(),
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("db", &self.db).field("columns", &self.columns).finish()
    }
}
