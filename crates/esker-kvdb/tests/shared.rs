//! All of `kvdb-shared-tests`, the tests that every implementation of `kvdb` is to pass, in three
//! lives of a database.
//!
//! ```text
//!  fresh       pairs are read from memory
//!  settled     everything is compacted into one run after each write, and read from segments
//!  reopened    the database is closed and opened after each write
//! ```

use esker_kvdb::{Database, KeyValueDB};
use kvdb::{DBKeyValue, DBTransaction, DBValue, IoStats, IoStatsKind};
use kvdb_shared_tests as kit;
use std::io;
use std::sync::{Mutex, MutexGuard};
use tempfile::TempDir;

type Pairs<'a> = Box<dyn Iterator<Item = io::Result<DBKeyValue>> + 'a>;

/// Each test begins with a database that it alone has.
fn in_each_life(columns: u32, test: impl Fn(&dyn KeyValueDB) -> io::Result<()>) -> io::Result<()> {
    in_one_life(columns, &test)?;
    let folder = tempfile::tempdir()?;
    let db = Mutex::new(Some(Database::open(&folder, columns)?));
    test(&Reopened { folder, columns, db })
}

/// As above, but without those who forget their figures when they are opened.
fn in_one_life(columns: u32, test: impl Fn(&dyn KeyValueDB) -> io::Result<()>) -> io::Result<()> {
    let (fresh, settled) = (tempfile::tempdir()?, tempfile::tempdir()?);
    test(&Database::open(&fresh, columns)?)?;
    test(&Settled(Database::open(&settled, columns)?))
}

/// Compacts after every write.
struct Settled(Database);

impl KeyValueDB for Settled {
    fn get(&self, col: u32, key: &[u8]) -> io::Result<Option<DBValue>> {
        self.0.get(col, key)
    }

    fn get_by_prefix(&self, col: u32, prefix: &[u8]) -> io::Result<Option<DBValue>> {
        self.0.get_by_prefix(col, prefix)
    }

    fn write(&self, transaction: DBTransaction) -> io::Result<()> {
        self.0.write(transaction)?;
        Ok(self.0.db().compact()?)
    }

    fn iter<'a>(&'a self, col: u32) -> Pairs<'a> {
        self.0.iter(col)
    }

    fn iter_with_prefix<'a>(&'a self, col: u32, prefix: &'a [u8]) -> Pairs<'a> {
        self.0.iter_with_prefix(col, prefix)
    }

    fn io_stats(&self, kind: IoStatsKind) -> IoStats {
        self.0.io_stats(kind)
    }
}

/// Closes and opens after every write.
struct Reopened {
    folder: TempDir,
    columns: u32,
    /// None only while it is opened.
    db: Mutex<Option<Database>>,
}

impl Reopened {
    fn with<T>(&self, read: impl FnOnce(&Database) -> T) -> T {
        read(self.lock().as_ref().expect("a database that could be opened"))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.db.lock().expect("no test goes on after a panic")
    }
}

impl KeyValueDB for Reopened {
    fn get(&self, col: u32, key: &[u8]) -> io::Result<Option<DBValue>> {
        self.with(|db| db.get(col, key))
    }

    fn get_by_prefix(&self, col: u32, prefix: &[u8]) -> io::Result<Option<DBValue>> {
        self.with(|db| db.get_by_prefix(col, prefix))
    }

    fn write(&self, transaction: DBTransaction) -> io::Result<()> {
        self.with(|db| db.write(transaction))?;
        let mut db = self.lock();
        drop(db.take());
        *db = Some(Database::open(&self.folder, self.columns)?);
        Ok(())
    }

    fn iter<'a>(&'a self, col: u32) -> Pairs<'a> {
        self.with(|db| Box::new(db.iter(col).collect::<Vec<_>>().into_iter()))
    }

    fn iter_with_prefix<'a>(&'a self, col: u32, prefix: &'a [u8]) -> Pairs<'a> {
        let pairs = self.with(|db| db.iter_with_prefix(col, prefix).collect::<Vec<_>>());
        Box::new(pairs.into_iter())
    }
}

#[test]
fn what_was_put_is_got() -> io::Result<()> {
    in_each_life(1, kit::test_put_and_get)
}

#[test]
fn what_was_deleted_is_gone() -> io::Result<()> {
    in_each_life(1, kit::test_delete_and_get)
}

#[test]
fn a_column_that_is_not_there_is_an_error() -> io::Result<()> {
    in_each_life(1, kit::test_get_fails_with_non_existing_column)
}

#[test]
fn a_transaction_replaces_what_the_one_before_wrote() -> io::Result<()> {
    in_each_life(1, kit::test_write_clears_buffered_ops)
}

#[test]
fn a_column_is_walked_in_order() -> io::Result<()> {
    in_each_life(1, kit::test_iter)
}

#[test]
fn a_prefix_is_walked_in_order() -> io::Result<()> {
    in_each_life(1, kit::test_iter_with_prefix)
}

#[test]
fn reads_and_writes_are_counted() -> io::Result<()> {
    in_one_life(kit::IO_STATS_NUM_COLUMNS, kit::test_io_stats)
}

#[test]
fn a_prefix_is_deleted_up_to_the_last_key_there_can_be() -> io::Result<()> {
    in_each_life(kit::DELETE_PREFIX_NUM_COLUMNS, kit::test_delete_prefix)
}

#[test]
fn a_story_of_writes_reads_as_it_should() -> io::Result<()> {
    in_each_life(1, kit::test_complex)
}
