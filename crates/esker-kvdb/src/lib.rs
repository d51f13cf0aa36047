//! The `kvdb` crate's [`KeyValueDB`] over Esker.
//!
//! ```
//! use kvdb::KeyValueDB;
//! # fn main() -> std::io::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! let db = esker_kvdb::Database::open(folder.path(), 2)?;
//! let mut transaction = db.transaction();
//! transaction.put(0, b"alice", b"1");
//! transaction.delete_prefix(1, b"old/");
//! db.write(transaction)?;
//! assert_eq!(db.get(0, b"alice")?, Some(b"1".to_vec()));
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!  column 0, 1, 2 …     collection col0, col1, col2 …
//!  DBTransaction        WriteBatch: Insert, Delete, DeletePrefix, in order     one commit
//!  iter                 Collection::iter        one moment, whatever is written meanwhile
//!  iter_with_prefix     Collection::prefix
//!  io_stats             counted here            gets and transactions, not walks
//! ```
//!
//! 1. A transaction is seen whole or not at all, by readers and after a crash; one that names a
//!    column that is not there, or is over a limit of Esker's, changes nothing.
//! 2. Nothing is kept here but handles and figures: what Esker guarantees, this guarantees.

mod database;
mod pairs;
mod tally;

pub use database::Database;
#[doc(no_inline)]
pub use kvdb::KeyValueDB;

/// The examples in `README.md` are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
