//! Open, recover, run the workers, verify; the handles users hold.
//!
//! ```text
//!   hall   Db ─▶ Handle ─▶ Core       open · found · close · options · folder · report · stats
//!  ══════════════════════════════════════════════════════════════════════════════════
//!    8     care/         verify, back up, repair, look into files
//!    7     feed/         what was committed, batch by batch
//!    6     past/         moments that have names: kept, and come back to
//!    5     transact/     reads and writes as one step
//!    4     write/        operations on their way in
//!    3     upkeep/       what is done while nobody asks: flush, compact, clean, remove
//!    2     read/         what one moment shows      │ files/   how files become part of it
//!    1     collections/  which there are, and the handles on them
//! ```
//!
//! 1. A room imports only from rooms on a lower floor, and from the hall.
//! 2. The hall is the database as a whole. What a room keeps of an open database it names, and the
//!    hall holds: so each room says in `impl Core` what it does with that. What users do, rooms say in
//!    `impl Db` and `impl Collection`.

// Hall: what every room opens onto.
mod close;
mod core;
mod folder;
mod found;
mod handle;
mod open;
pub(crate) mod options;
pub(crate) mod report;
pub(crate) mod stats;
// Floor 1: which collections there are, and the handles on them.
pub(crate) mod collections;
// Floor 2: how files become part of the database; what one moment shows.
mod files;
pub(crate) mod read;
// Floor 3: what is done while nobody asks.
mod upkeep;
// Floor 4: operations on their way in.
pub(crate) mod write;
// Floor 5: reads and writes as one step.
pub(crate) mod transact;
// Floor 6: moments that have names.
mod past;
// Floor 7: what was committed.
pub(crate) mod feed;
// Floor 8: looking after databases.
pub mod care;

use self::core::Core;
use crate::base::error::Result;
use crate::commit::Durability;
use collections::collection::Snapshot;
use handle::Handle;
use options::Options;
use report::{Checksum, RecoveryReport, VerifyReport};
use stats::Stats;
use std::path::Path;
use std::sync::Arc;
use write::batch::WriteBatch;

/// An open database. Cheap to clone, may be used from any thread; the last handle that is dropped
/// closes it.
#[derive(Clone)]
pub struct Db {
    handle: Arc<Handle>,
}

impl Db {
    /// Opens the database in the folder `path` with default options; creates it if it is missing.
    ///
    /// Errors: as of [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::default().open(path)
    }

    /// Options to open with.
    pub fn options() -> Options {
        Options::default()
    }

    fn open_with(options: &Options, path: &Path) -> Result<Self> {
        let core = open::open(options, path)?;
        Ok(Self { handle: Arc::new(Handle { core }) })
    }

    fn core(&self) -> &Core {
        &self.handle.core
    }

    /// An empty batch.
    pub fn batch(&self) -> WriteBatch {
        WriteBatch::new(self.handle.clone())
    }

    /// A snapshot of all collections as of now. Cost: a short lock.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { pin: self.handle.pin() }
    }

    /// Makes every write that has returned durable.
    ///
    /// Errors: `Io` is final: the database is read-only from then on.
    pub fn sync(&self) -> Result<()> {
        self.core().writing()?.committer.sync()
    }

    /// Writes everything in memory into segments, and returns when that is durable.
    ///
    /// Errors: why the flush failed; nothing is lost, and it is tried again in the background.
    pub fn flush(&self) -> Result<()> {
        let writing = self.core().writing()?;
        writing.committer.seal()?;
        // Not what others seal meanwhile: they may never stop.
        match writing.queue.all().last() {
            Some(newest) => self.core().wait_flushed(writing, newest.last.next()),
            None => Ok(()),
        }
    }

    /// Flushes, then brings everything into one run, piece by piece: old versions and tombstones that
    /// no snapshot needs are gone afterwards, and their space is free.
    ///
    /// Cost: writes at most what there is; reads and writes go on meanwhile. Errors: why a step
    /// failed; nothing is lost, and what was done stays done.
    pub fn compact(&self) -> Result<()> {
        self.flush()?;
        let writing = self.core().writing()?;
        self.core().compact_all(writing)
    }

    /// Reads every byte of every live file and checks it, and the balance of all edits.
    ///
    /// Beside the bytes it looks at what is named: every segment refers to live large values alone,
    /// and every live one has one that refers to it. Memory: a few bytes for each.
    ///
    /// Damage is reported, not returned as an error. Errors: `Io` if the check itself cannot go on.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(&mut |_, _| {})
    }

    /// [`Db::verify`], telling `progress` how many bytes of how many were read.
    pub fn verify_with(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> {
        self.core().verify(progress)
    }

    /// Figures of this moment. A closed database has none.
    pub fn stats(&self) -> Stats {
        Stats::of(self.core()).unwrap_or_default()
    }

    /// What the open found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.core().recovery
    }

    /// The checksum of every operation ever committed, whatever was flushed, merged or dropped since:
    /// a database and its copy agree until their operations differ. Numbers are part of it, and the
    /// log's own marks take numbers, so two databases that were merely fed alike need not agree.
    /// Cost: a walk of the memtables.
    pub fn checksum(&self) -> Result<Checksum> {
        self.core().checksum()
    }

    /// The durability of commits that do not ask for one.
    pub fn durability(&self) -> Durability {
        self.core().options.durability
    }

    /// Closes the database: makes every write durable, notes the log's final length, releases the
    /// lock. Other handles refuse everything afterwards; iterators and values stay usable.
    ///
    /// Errors: `Io` if the end could not be made durable; the next open recovers.
    pub fn close(self) -> Result<()> {
        self.handle.core.close()
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.core().dir).finish_non_exhaustive()
    }
}
