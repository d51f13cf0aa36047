//! How a database is opened.

use super::Db;
use crate::base::blob::BLOB_BYTES_MIN;
use crate::base::codec::Compression;
use crate::base::error::{Error, Result};
use crate::commit::Durability;
use crate::compaction::policy::Policy;
use crate::env::clock::Clock;
use crate::env::real::Real;
use crate::env::{Access, Env};
use crate::merge::rewrite::Plant;
use crate::merge::{MergeOperator, Operators};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Bytes of one generation's slab unless the budget is small.
const SLAB_BYTES: u64 = 32 << 20;
const LOG_BYTES_MAX: u64 = 64 << 20;
const SLAB_BYTES_MIN: u64 = 64 << 10;
/// The least budget that leaves room for slabs, cache and jobs.
const BUDGET_BYTES_MIN: u64 = 1 << 20;
/// Fewer open files would make reads wait for one another's.
const OPEN_FILES_MIN: usize = 16;

/// What compaction saves on. The figures are of the policy's simulation, for new keys all over the
/// key space: bytes written for each byte of the user, log included, and runs that a read looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compaction {
    /// Writes 6, reads up to 30 runs under load.
    #[default]
    Balanced,
    /// Writes 5, reads up to 40 runs under load, and takes up to twice the space.
    WriteHeavy,
    /// Writes 15, reads up to 10 runs under load.
    ReadHeavy,
}

/// Options to open a database with; see [`Db::options`]. Each setter returns the changed options.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) memory_budget: u64,
    pub(super) slab_bytes: Option<usize>,
    pub(super) durability: Durability,
    pub(super) sync_interval: Option<Duration>,
    pub(super) create: bool,
    pub(super) read_only: bool,
    pub(super) access: Access,
    pub(super) compression: Compression,
    pub(super) max_open_files: usize,
    pub(super) keep_logs: u64,
    pub(super) blob_threshold: usize,
    pub(super) blob_compression: Compression,
    pub(super) prefix_filter: usize,
    pub(super) background: bool,
    pub(super) compaction: Policy,
    pub(super) compaction_threads: usize,
    pub(super) operators: Operators,
    pub(super) env: Option<Arc<dyn Env>>,
    pub(super) clock: Option<Clock>,
    pub(super) plant: Option<Arc<dyn Plant>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_budget: 256 << 20,
            slab_bytes: None,
            durability: Durability::Buffered,
            sync_interval: Some(Duration::from_secs(1)),
            create: true,
            read_only: false,
            access: Access::Mapped,
            compression: Compression::None,
            max_open_files: 1000,
            keep_logs: 0,
            blob_threshold: 2 << 10,
            blob_compression: Compression::None,
            prefix_filter: 0,
            background: true,
            compaction: Policy::BALANCED,
            compaction_threads: 2,
            operators: Operators::default(),
            env: None,
            clock: None,
            plant: None,
        }
    }
}

impl Options {
    /// Bytes of anonymous memory that the database may own: up to six slabs of an eighth each, an
    /// eighth for cached blocks, the rest for jobs. Default 256 MiB, at least 1 MiB; never more than
    /// a quarter of what the process's control group allows. Mapped files are the kernel's.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// Bytes of one generation's slab, of which there may be six. Default: an eighth of the budget, at most 32 MiB.
    #[must_use]
    pub fn slab_bytes(mut self, bytes: usize) -> Self {
        self.slab_bytes = Some(bytes);
        self
    }

    /// Whether every commit is on disk when it returns, unless it asks otherwise. Default: no.
    #[must_use]
    pub fn sync(mut self, every_commit: bool) -> Self {
        self.durability = if every_commit { Durability::Sync } else { Durability::Buffered };
        self
    }

    /// How long a buffered write may wait for the disk. Default 1 s; `None`: until the log is
    /// flushed, synced or closed.
    #[must_use]
    pub fn sync_interval(mut self, interval: Option<Duration>) -> Self {
        self.sync_interval = interval;
        self
    }

    /// Whether a database is created where there is none. Default: yes.
    #[must_use]
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether nothing in the folder may be changed: no byte is written and no file removed, and
    /// every write answers `ReadOnly`. Default: no.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// How files are read and logs written. Default `Mapped`. `Positioned` is for file systems on
    /// which a failing disk must give an error and not a signal.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How blocks of segments are compressed. Default: not at all, so that they are read in place.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Puts the first `bytes` bytes of each key into the filters of new files, beside the keys, so
    /// that a walk over a prefix of at least that length skips files that hold none of it. Default
    /// 0: no prefixes.
    ///
    /// Worth it where keys share such beginnings (an owner, a document) and many walks find little:
    /// the filter grows by a key for each different beginning. Files written before keep what they
    /// have.
    #[must_use]
    pub fn prefix_filter(mut self, bytes: usize) -> Self {
        self.prefix_filter = bytes;
        self
    }

    /// Keeps logs that are flushed, for the [change feed](crate::Db::changes), up to so many bytes in
    /// all: the oldest go first. Default 0: a log goes when it is flushed.
    ///
    /// What was written is held as long as its log is, over reopenings and crashes; an open with fewer
    /// bytes removes what is too much. Cost: the bytes, a sync of each log, and after a crash a copy of
    /// what was not flushed. A log that became a file of large values shares its bytes with it.
    #[must_use]
    pub fn keep_logs(mut self, bytes: u64) -> Self {
        self.keep_logs = bytes;
        self
    }

    /// Values of at least `bytes` bytes are kept out of line, in files of their own that merges do
    /// not rewrite. Default 2 KiB, at least 256; `usize::MAX` keeps all values in line.
    ///
    /// It holds for what is written from now on: values that are there stay where they are.
    #[must_use]
    pub fn blob_threshold(mut self, bytes: usize) -> Self {
        self.blob_threshold = bytes.max(BLOB_BYTES_MIN);
        self
    }

    /// How values out of line are stored: packed where that saves an eighth. Default: not at all, so
    /// that parts of them can be read without the rest.
    ///
    /// They are packed by the thread that writes them, before it takes any lock, and never again: the
    /// log carries what is stored. It holds for what is written from now on.
    #[must_use]
    pub fn blob_compression(mut self, compression: Compression) -> Self {
        self.blob_compression = compression;
        self
    }

    /// How many segment files stay open for later reads. Default 1000, at least 16.
    ///
    /// A mapped file costs an address range and no descriptor. Above the bound those that nobody
    /// read lately are closed; opening one again costs three system calls. What iterators, values
    /// and compactions use at the moment comes on top, and so do a few logs. Keep it below what the
    /// system lets the process open.
    #[must_use]
    pub fn max_open_files(mut self, files: usize) -> Self {
        self.max_open_files = files;
        self
    }

    /// Whether compaction runs by itself. Default: yes.
    #[must_use]
    pub fn background_compaction(mut self, background: bool) -> Self {
        self.background = background;
        self
    }

    /// What compaction saves on: [`Compaction::Balanced`] by default.
    #[must_use]
    pub fn compaction(mut self, compaction: Compaction) -> Self {
        self.compaction = match compaction {
            Compaction::Balanced => Policy::BALANCED,
            Compaction::WriteHeavy => Policy::WRITE_HEAVY,
            Compaction::ReadHeavy => Policy::READ_HEAVY,
        };
        self
    }

    /// How many threads compact: different pieces at once, or parts of a large one. Default 2, at
    /// least 1.
    #[must_use]
    pub fn compaction_threads(mut self, threads: usize) -> Self {
        self.compaction_threads = threads.max(1);
        self
    }

    /// Makes a merge operator known by its name, for the collections whose
    /// [settings](crate::Settings::merge_operator) name it. Those in [`operators`](crate::operators) are
    /// known without.
    ///
    /// A collection whose operator is not known can be opened, but its operands can be neither read
    /// nor written: they stay as they are until a process comes that knows it.
    #[must_use]
    pub fn merge_operator(mut self, operator: impl MergeOperator + 'static) -> Self {
        self.operators.register(Arc::new(operator));
        self
    }

    /// The world to run in; the operating system's by default, the simulator's in tests.
    #[must_use]
    pub fn env(mut self, env: Arc<dyn Env>) -> Self {
        self.env = Some(env);
        self
    }

    /// What says what time it is, for what [expires](crate::Collection::insert_with_ttl): the system's
    /// clock by default. Tests can let time pass with it.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    /// use std::{sync::Arc, time::{Duration, SystemTime}};
    /// let seconds = Arc::new(AtomicU64::new(1_700_000_000));
    /// let theirs = seconds.clone();
    /// let tell = move || SystemTime::UNIX_EPOCH + Duration::from_secs(theirs.load(SeqCst));
    /// let db = esker::Db::options().clock(tell).open(folder.path())?;
    /// let sessions = db.collection("sessions")?;
    /// sessions.insert_with_ttl("alice", "here", Duration::from_secs(60))?;
    /// assert!(sessions.contains_key("alice")?);
    /// seconds.fetch_add(60, SeqCst);
    /// assert!(!sessions.contains_key("alice")?);
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// It is asked by writes that expire, by reads that meet such, by each iterator once, and by flushes
    /// and compactions. It must not use the database. What had expired by its answer may be gone for
    /// good, whatever it says later.
    #[must_use]
    pub fn clock(mut self, tell: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Some(Clock::from_fn(tell));
        self
    }

    /// Plants a fault in every flush and compaction: for tests of the proof.
    #[doc(hidden)]
    #[must_use]
    pub fn plant(mut self, plant: Arc<dyn Plant>) -> Self {
        self.plant = Some(plant);
        self
    }

    /// Opens the database in the folder `path`, and recovers what the last process left.
    ///
    /// Time: in proportion to the bytes not yet flushed. Errors: `Busy` if another process has it
    /// open; `InvalidArgument` if the folder holds something else (it is left untouched);
    /// `Corruption` naming file and offset; `Unsupported` for a newer format, or for a compression
    /// that this build was made without; `Io`.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Db> {
        if self.memory_budget < BUDGET_BYTES_MIN {
            return Err(Error::invalid(format!(
                "memory budget of {} bytes: want at least {BUDGET_BYTES_MIN}",
                self.memory_budget
            )));
        }
        if self.max_open_files < OPEN_FILES_MIN {
            return Err(Error::invalid(format!(
                "at most {} open files: want at least {OPEN_FILES_MIN}",
                self.max_open_files
            )));
        }
        self.compression.check()?;
        self.blob_compression.check()?;
        Db::open_with(self, path.as_ref())
    }

    pub(super) fn world(&self) -> Arc<dyn Env> {
        self.env.clone().unwrap_or_else(|| Real::new())
    }

    /// The time of day, in the world `env`.
    pub(super) fn clock_of(&self, env: &Arc<dyn Env>) -> Clock {
        self.clock.clone().unwrap_or_else(|| Clock::of(env.clone()))
    }

    pub(super) fn slab(&self) -> usize {
        let by_budget = (self.memory_budget / 8).clamp(SLAB_BYTES_MIN, SLAB_BYTES);
        self.slab_bytes.unwrap_or(by_budget as usize)
    }

    /// A log of this length ends its generation, so that what an open must replay is bounded where
    /// large values leave the slab empty.
    pub(super) fn log_bytes(&self) -> u64 {
        let slab = self.slab() as u64;
        (8 * slab).min(LOG_BYTES_MAX).max(slab)
    }

    pub(super) fn cache_bytes(&self) -> u64 {
        self.memory_budget / 8
    }

    /// These options within what the system allows.
    pub(super) fn within(mut self, limit: Option<u64>) -> Self {
        let most = limit.map_or(u64::MAX, |limit| (limit / 4).max(BUDGET_BYTES_MIN));
        self.memory_budget = self.memory_budget.min(most);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_stays_within_a_quarter_of_what_the_system_allows() {
        let budget = |limit| Options::default().within(limit).memory_budget;
        assert_eq!(budget(None), 256 << 20);
        assert_eq!(budget(Some(8 << 30)), 256 << 20);
        assert_eq!(budget(Some(256 << 20)), 64 << 20);
        assert_eq!(budget(Some(0)), BUDGET_BYTES_MIN);
    }
}
