//! Esker: an embedded, ordered, log-structured key-value engine.
//!
//! ```
//! # fn main() -> esker::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let db = esker::Db::open(folder.path())?;
//! let users = db.collection("users")?;
//! users.insert("alice", "1")?;
//! assert_eq!(users.get("alice")?.as_deref(), Some(&b"1"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! A write is a copy into a mapped log and a copy into a slab: it survives the end of the process
//! without a system call, and power loss once [`Durability::Sync`] was asked for. Reading starts at
//! [`Collection`], looking after a database at [`Db::verify`] and [`inspect`].
//!
//! The house: each floor imports only from lower ones, which `tests/house.rs` checks.

// Floor 0: values only.
#[doc(hidden)]
pub mod base;
// Floor 1: the operating system, real or simulated.
#[doc(hidden)]
pub mod env;
// Floor 2: framed appends and replay; bytes kept under a budget.
#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod log;
// Floor 3: newest writes; sorted files; large values.
#[doc(hidden)]
pub mod blob;
#[doc(hidden)]
pub mod memtable;
#[doc(hidden)]
pub mod segment;
// Floor 4: which files are live; sorted cursors in, files out.
#[doc(hidden)]
pub mod manifest;
#[doc(hidden)]
pub mod merge;
// Floor 5: the levels; choosing and rewriting.
#[doc(hidden)]
pub mod compaction;
#[doc(hidden)]
pub mod tree;
// Floor 6: batch to log to memtable to visible.
#[doc(hidden)]
pub mod commit;
// Floor 7: snapshots and serializable transactions.
#[doc(hidden)]
pub mod txn;
// Floor 8: open, recover, run the workers; the handles users hold.
#[doc(hidden)]
pub mod db;

pub use base::batch::Slot;
pub use base::codec::Compression;
pub use base::error::{Error, ErrorKind, Result};
pub use base::value::{Key, Value};
pub use commit::Durability;
pub use db::Db;
pub use db::care::backup::{Backup, BackupReport};
pub use db::care::checkpoint::CheckpointReport;
pub use db::care::inspect;
pub use db::care::repair::{LostKey, RepairReport};
pub use db::collections::collection::{Collection, Snapshot, View};
pub use db::collections::settings::Settings;
pub use db::feed::change::{Action, Change, Operation};
pub use db::feed::changes::Changes;
pub use db::options::{Compaction, Options};
pub use db::read::range::Range;
pub use db::read::reader::ValueReader;
pub use db::read::scans::{Entries, FailFast, Keys, Readers};
pub use db::report::{Checksum, Damage, RecoveryReport, TornTail, VerifyReport};
pub use db::stats::Stats;
pub use db::transact::overlay::TransactionRange;
pub use db::transact::transaction::Transaction;
pub use db::write::batch::WriteBatch;
pub use db::write::writer::ValueWriter;
pub use env::Access;
pub use merge::{MergeOperator, operators};
pub use tree::estimate::Estimate;

/// The example in `README.md` is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
