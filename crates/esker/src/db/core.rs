//! What one open database consists of, and what every room asks of it.
//!
//! ```text
//!   Db, Collection, … ─▶ Handle ─▶ Core ◀─ workers (weakly)
//! ```
//!
//! 1. An open puts it together, once. What changes afterwards has a lock of its own.
//! 2. A database that is only read has no part that writes.
//! 3. Only the rooms of *db* start threads and remove files.
//!
//! Lock order: the ledger, then the view's swap. The lock of [`Steps`] is held alone.

use super::collections::catalog::Catalog;
use super::feed::changes::Still;
use super::files::ledger::Ledger;
use super::options::Options;
use super::past::named::Named;
use super::report::RecoveryReport;
use super::stats::Counters;
use super::upkeep::background::Background;
use super::upkeep::steps::Steps;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::setsum::Setsum;
use crate::base::time::Time;
use crate::commit::Committer;
use crate::commit::generation::Queue;
use crate::env::{Env, Lock};
use crate::manifest::{Blobs, Closed};
use crate::merge::Rules;
use crate::tree::version::Shelves;
use crate::tree::view::Views;
use crate::txn::snapshot::Registry;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// See the module.
pub struct Core {
    pub(super) env: Arc<dyn Env>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) views: Arc<Views>,
    pub(super) rules: Arc<Rules>,
    pub(super) shelves: Shelves,
    pub(super) snapshots: Arc<Registry>,
    pub(super) catalog: RwLock<Catalog>,
    /// Held while a name is written.
    pub(super) named: Mutex<Named>,
    pub(super) recovery: RecoveryReport,
    /// The last number there is, in a database that is only read.
    pub(super) last: SeqNo,
    /// The files of large values, in a database that is only read.
    pub(super) blobs: Blobs,
    /// What a feed can be given, in a database that is only read.
    pub(super) still: Still,
    /// The sum of what was flushed before the open.
    pub(super) flushed: Setsum,
    /// The parts that write; none in a database that is only read.
    pub(super) writing: Option<Writing>,
    pub(super) counters: Counters,
    pub(super) closed: AtomicBool,
    /// It is closed, and nothing more becomes durable.
    pub(super) ended: AtomicBool,
    pub(super) lock: Mutex<Option<Box<dyn Lock>>>,
}

/// The parts of a database that can be written to.
pub struct Writing {
    pub(super) committer: Committer,
    pub(super) ledger: Arc<Ledger>,
    pub(super) queue: Arc<Queue>,
    pub(super) background: Arc<Background>,
    /// How the logs ended that were live at the open.
    pub(super) earlier: Vec<Closed>,
    pub(super) steps: Arc<Steps>,
    /// One ingest at a time: two would choose the same number. Held while a caller's pairs are read.
    pub(super) ingesting: Mutex<()>,
}

impl Core {
    /// The highest number that readers may see.
    #[inline]
    pub fn visible(&self) -> SeqNo {
        self.writing.as_ref().map_or(self.last, |writing| writing.committer.visible())
    }

    /// What time it is.
    pub(super) fn now(&self) -> Time {
        self.views.load().clock.now()
    }

    /// When what is written now with this time to live expires.
    pub(super) fn expiry_after(&self, time_to_live: Duration) -> Time {
        self.now().after(time_to_live)
    }

    /// Errors: `InvalidArgument` once the database is closed.
    #[inline]
    pub fn check_open(&self) -> Result<()> {
        if !self.closed.load(SeqCst) {
            return Ok(());
        }
        Err(Error::invalid("the database is closed"))
    }

    /// The parts that write. Errors: `ReadOnly` in a database opened so.
    pub fn writing(&self) -> Result<&Writing> {
        self.check_open()?;
        self.writing
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::ReadOnly, "the database was opened read-only"))
    }

    /// Errors: what a job ends with that need not go on: the first failure, or `Interrupted`.
    pub(super) fn refuse_if_stopping(&self, writing: &Writing) -> Result<()> {
        writing.committer.poison().refuse()?;
        if writing.background.is_stopping() {
            return Err(Error::new(ErrorKind::Interrupted, "the database is closing"));
        }
        Ok(())
    }

    /// Whether no job is on its way that a flush could wait for.
    pub(super) fn has_no_job(&self, writing: &Writing) -> bool {
        let stopped = writing.background.is_stopping() || writing.committer.poison().is_set();
        stopped || !writing.steps.is_running()
    }

    /// The sum of every operation ever committed: those present and those dropped.
    pub fn checksum(&self) -> Result<Setsum> {
        self.check_open()?;
        // Under the ledger's lock no flush can move entries from a memtable into the total.
        let ledger = self.writing.as_ref().map(|writing| writing.ledger.lock());
        let view = self.views.load_full();
        let flushed = ledger.as_ref().map_or(self.flushed, |ledger| ledger.state().total());
        let in_memory = view.memtables.iter().flat_map(|memtable| memtable.entries());
        Ok(in_memory.fold(flushed, |sum, entry| sum + Setsum::of(&entry)))
    }
}
