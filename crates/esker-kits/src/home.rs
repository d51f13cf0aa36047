//! A database in a folder of its own, and the life that it leads while a kit writes to it.
//!
//! ```text
//!  Fresh       what is read comes from memory
//!  Settled     everything is compacted into one run after each write, and read from segments
//!  Reopened    the database is closed and opened after each write
//! ```

use esker::{Db, Result};
use std::sync::{PoisonError, RwLock};
use tempfile::TempDir;

/// What happens after each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nothing.
    Fresh,
    /// All is compacted.
    Settled,
    /// The database is closed and opened.
    Reopened,
}

impl Life {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Settled, Self::Reopened];
}

/// A database, and the folder that goes with it.
#[derive(Debug)]
pub struct Home {
    /// None only while it is opened.
    db: RwLock<Option<Db>>,
    life: Life,
    folder: TempDir,
}

impl Home {
    /// A new database. Errors: those of [`Db::open`].
    pub fn new(life: Life) -> Result<Self> {
        let folder =
            tempfile::tempdir().map_err(|error| esker::Error::io("make a folder", error))?;
        Ok(Self { db: RwLock::new(Some(open(&folder)?)), life, folder })
    }

    /// Reads.
    pub fn read<T>(&self, read: impl FnOnce(&Db) -> Result<T>) -> Result<T> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        read(db.as_ref().expect("a database that could be opened"))
    }

    /// Writes, and leads its life.
    pub fn write<T>(&self, write: impl FnOnce(&Db) -> Result<T>) -> Result<T> {
        let written = self.read(write)?;
        match self.life {
            Life::Fresh => {}
            Life::Settled => self.read(Db::compact)?,
            Life::Reopened => {
                let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
                db.take().map_or(Ok(()), Db::close)?;
                *db = Some(open(&self.folder)?);
            }
        }
        Ok(written)
    }

    /// Whether every byte is what was written, and the whole proof holds.
    pub fn is_whole(&self) -> Result<bool> {
        self.read(|db| Ok(db.verify()?.is_whole()))
    }
}

/// With little memory, so that kits fill more than one memtable.
fn open(folder: &TempDir) -> Result<Db> {
    Db::options().memory_budget(8 << 20).open(folder)
}
