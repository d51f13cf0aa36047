//! From a folder to an open database.
//!
//! ```text
//!   lock → list → manifest → every named file is there → logs → catalog
//!        → make durable what was replayed → new log → new manifest → remove the rest → workers
//! ```
//!
//! 1. Nothing in the folder is changed before everything in it was understood: a folder that is not
//!    a database, a newer format or damage leaves it untouched (F-32, F-38, F-41).
//! 2. After an end that was not clean, what was replayed is flushed before the open returns, and
//!    nothing is promised of the logs it came from: they may have been read from memory that a
//!    failed sync has left without a copy on the disk (F-19). So what one open shows no later crash
//!    takes back (F-4, F-6).
//! 3. After an end that was not clean, numbers go on far above any that may have been given out; and
//!    that they do is durable before the first of them is given out, so that no later loss can lead
//!    back (F-12).
//! 4. Files that the manifest does not name are unfinished work. They are removed when the new
//!    manifest is durable, and its counter is above their numbers (F-11). Names that are not of a
//!    database are left alone.

use super::collections::catalog::Catalog;
use super::collections::records::each_record;
use super::core::{Core, Writing};
use super::feed::changes::Still;
use super::files::keep::names_of;
use super::files::large::no_addresses;
use super::files::ledger::Ledger;
use super::folder;
use super::found::Found;
use super::options::Options;
use super::past::named::{self, Named};
use super::report::{RecoveryReport, TornTail};
use super::upkeep::background::Background;
use super::upkeep::host::DbHost;
use crate::base::blob::Address;
use crate::base::error::Result;
use crate::base::id::{CollectionId, FileId, SeqNo};
use crate::blob::BlobShelf;
use crate::cache::BlockCache;
use crate::cache::open::{Places, Trash};
use crate::commit::generation::{Generation, Queue, Sealed};
use crate::commit::outline::Outline;
use crate::commit::pace::Pace;
use crate::commit::poison::Poison;
use crate::commit::replay::{Replay, Replayed};
use crate::commit::{Committer, Host, Start};
use crate::env::names::{FileKind, FileName, LOCK};
use crate::env::{Env, Lock, path_in};
use crate::log::marks::Previous;
use crate::manifest::{Blobs, Closed, ReadReport, State};
use crate::memtable::Memtable;
use crate::merge::{Rule, Rules};
use crate::segment::handle::{Readers, Shelf};
use crate::tree::version::{Shelves, Version};
use crate::tree::view::{View, Views};
use crate::txn::snapshot::Registry;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// More numbers than unflushed logs can hold operations: what numbers skip after a crash.
const SEQ_JUMP: u64 = 1 << 28;
/// With so many replayed logs the memtable is flushed instead of written on.
const LOGS_MAX: usize = 8;
/// Sealed generations that may wait for their flush before writers wait.
const SEALED_MAX: usize = 4;

/// Opens the database in `dir`.
pub(super) fn open(options: &Options, dir: &Path) -> Result<Arc<Core>> {
    let env = options.world();
    let options = &options.clone().within(env.memory_limit());
    let locked_before = env.exists(&path_in(dir, LOCK)).unwrap_or(false);
    if !locked_before {
        // A folder that is no database must stay as it is, without even a lock file.
        Found::look(&env, dir, options)?;
    }
    let missing = folder::missing_folders(&*env, dir);
    let lock = take_lock(&*env, dir, options)?;
    let found = Found::look(&env, dir, options)?;
    if found.manifest.is_none() {
        folder::sync_made(&*env, dir, &missing)?;
    }
    let (state, read) = match found.manifest {
        Some((ref state, ref read)) => (state.clone(), Some(read.clone())),
        None => (State::default(), None),
    };
    found.check_files(&state)?;
    let replay = Replay {
        env: &*env,
        dir,
        access: options.access,
        logs: &state.logs,
        promised: state.closed.map(|c| Previous { log: c.log, length: c.length, last: c.last }),
        flushed: state.flushed,
        slab_bytes: options.slab(),
        blob_threshold: options.blob_threshold,
    };
    let replayed = replay.run()?;
    found.check_unnamed_logs(&replay, state.log_min)?;
    let opening = Opening { options, env, dir: dir.to_path_buf(), found, state, read, replayed };
    opening.finish(lock)
}

fn take_lock(env: &dyn Env, dir: &Path, options: &Options) -> Result<Option<Box<dyn Lock>>> {
    if options.read_only { folder::lock_shared(env, dir) } else { folder::lock(env, dir).map(Some) }
}

/// Everything that is known once the logs are read, and not yet done.
struct Opening<'a> {
    options: &'a Options,
    env: Arc<dyn Env>,
    dir: PathBuf,
    found: Found,
    state: State,
    read: Option<ReadReport>,
    replayed: Replayed,
}

impl Opening<'_> {
    fn finish(self, lock: Option<Box<dyn Lock>>) -> Result<Arc<Core>> {
        let shelves = self.shelves();
        let version = Arc::new(Version::of(&self.state, &Version::default(), &[], &shelves)?);
        let mut memtables: Vec<Arc<Memtable>> = self.replayed.memtable.iter().cloned().collect();
        memtables.extend(self.replayed.full.iter().rev().map(|full| full.memtable.clone()));
        let rules = Arc::new(Rules::default());
        let clock = self.options.clock_of(&self.env);
        let (gaps, rules_of) = (Arc::default(), rules.clone());
        let view = Arc::new(View { memtables, version, gaps, rules: rules_of, clock });
        let snapshots = Arc::new(Registry::default());
        let (catalog, named) = load_system(&view, SeqNo::MAX, &snapshots)?;
        rules.set_all(self.own_rules(&view, &catalog, &named)?);
        let mut recovery = self.report();
        let last = self.replayed.last;
        let clean = self.is_clean();
        let flushed = self.state.total();
        let blobs = match self.options.read_only {
            true => self.state.blobs.clone(),
            false => Blobs::default(),
        };
        let still = self.still();
        let (views, writing) = if self.options.read_only {
            (Arc::new(Views::of(view)), None)
        } else {
            let (views, writing, removed) = self.start_writing(view)?;
            recovery.orphans_removed = removed;
            (views, Some(writing))
        };
        let core = Arc::new(Core {
            env: self.env,
            dir: self.dir,
            options: self.options.clone(),
            views,
            rules,
            shelves,
            snapshots,
            catalog: RwLock::new(catalog),
            named: Mutex::new(named),
            recovery,
            last,
            blobs,
            flushed,
            still,
            writing,
            counters: Default::default(),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lock: Mutex::new(lock),
        });
        if let Some(writing) = &core.writing {
            if !clean {
                core.harden_logs(writing)?;
                while core.flush_one(writing)? {}
            }
            let background = writing.background.clone();
            core.snapshots.on_release(move || background.wake_compaction());
            let background = writing.background.clone();
            core.shelves.segments.trash.on_filled(move || background.wake_care());
            let background = writing.background.clone();
            core.shelves.blobs.trash.on_filled(move || background.wake_care());
            writing.background.start(&core)?;
        }
        Ok(core)
    }

    /// The rules of all collections that have their own; and of those that only named snapshots have,
    /// where operands are to be folded.
    fn own_rules(
        &self,
        view: &Arc<View>,
        catalog: &Catalog,
        named: &Named,
    ) -> Result<BTreeMap<CollectionId, Rule>> {
        let mut own = BTreeMap::new();
        for pin in named.values() {
            let (then, _) = load_system(view, pin.seq(), &Arc::default())?;
            let folding = then.all().filter(|it| it.settings().merge_operator.is_some());
            own.extend(folding.map(|it| (it.id, it.settings().rule(self.options))));
        }
        for identity in catalog.all() {
            own.remove(&identity.id);
            let settings = identity.settings();
            if !settings.is_empty() {
                own.insert(identity.id, settings.rule(self.options));
            }
        }
        Ok(own)
    }

    /// What a feed can be given if nothing is written.
    fn still(&self) -> Still {
        if !self.options.read_only {
            return Still::default();
        }
        let held = self.state.held.clone();
        match self.is_clean() {
            true => Still { held, earlier: self.ends(), durable: self.replayed.last },
            // What nobody has synced, the next crash may take.
            false => Still { held, earlier: Vec::new(), durable: self.state.flushed },
        }
    }

    /// How each of the logs ended that hold anything.
    fn ends(&self) -> Vec<Closed> {
        let ends = self.replayed.ends.iter();
        ends.map(|&Previous { log, length, last }| Closed { log, length, last }).collect()
    }

    fn shelves(&self) -> Shelves {
        let (env, dir, access) = (&self.env, &self.dir, self.options.access);
        let places = Arc::new(Places::at_most(self.options.max_open_files));
        let segments = Shelf {
            env: env.clone(),
            dir: dir.clone(),
            access,
            cache: Arc::new(BlockCache::new(self.options.cache_bytes())),
            readers: Readers::sharing(places.clone()),
            trash: Trash::default(),
        };
        let trash = Trash::default();
        let blobs = BlobShelf { env: env.clone(), dir: dir.clone(), access, places, trash };
        Shelves { segments: Arc::new(segments), blobs: Arc::new(blobs) }
    }

    fn report(&self) -> RecoveryReport {
        let torn = |dropped: &crate::commit::replay::Dropped| TornTail {
            file: FileKind::Log.name(dropped.log).to_string(),
            at: dropped.at,
            bytes: dropped.bytes,
        };
        RecoveryReport {
            created: self.read.is_none(),
            clean: self.is_clean(),
            logs_read: self.replayed.logs_read,
            operations_replayed: self.replayed.operations,
            bytes_replayed: self.replayed.bytes,
            torn: self.replayed.dropped.iter().map(torn).collect(),
            manifest_torn_bytes: self.read.as_ref().map_or(0, |read| read.torn_bytes),
            orphans_removed: Vec::new(),
        }
    }

    /// Whether the last process closed the database, so that no number can be unaccounted for.
    fn is_clean(&self) -> bool {
        self.read.is_none() || self.state.clean
    }

    /// Makes the replayed logs durable, starts a new manifest and a new log, removes the rest.
    fn start_writing(&self, view: Arc<View>) -> Result<(Arc<Views>, Writing, Vec<String>)> {
        let Self { env, dir, options, .. } = self;
        let rules = view.rules.clone();
        let poison = Arc::new(Poison::default());
        let state = self.next_state();
        self.check_numbers(&state)?;
        let ledger = Ledger::start(env.clone(), dir.clone(), state, poison.clone())?;
        let background = Arc::new(Background::default());
        let host = DbHost {
            env: env.clone(),
            dir: dir.clone(),
            ledger: Arc::new(ledger),
            background: background.clone(),
            options: (*options).clone(),
        };
        let ledger = host.ledger.clone();
        let log = host.new_log()?;
        let (queue, memtable) = self.queue(log.id)?;
        let views = Arc::new(Views::of(view));
        if !views.load().memtables.first().is_some_and(|newest| Arc::ptr_eq(newest, &memtable)) {
            views.rotate(memtable.clone());
        }
        let last = self.replayed.last;
        let jump = self.jump();
        let replayed_bytes = memtable.used_bytes() as u64;
        let committer = Committer::new(Start {
            env: env.clone(),
            views: views.clone(),
            host: Box::new(host),
            poison,
            queue: queue.clone(),
            generation: Generation { replayed_bytes, ..Generation::new(log, memtable) },
            previous: self.replayed.ends.last().copied(),
            // What is jumped over will never be written: nobody waits for it.
            visible: SeqNo(last.0 + jump),
            next: SeqNo(last.0 + 1 + jump),
            pace: Arc::new(Pace::new(options.slab() as u64 * (SEALED_MAX as u64 - 1))),
            sealed_max: SEALED_MAX,
            slab_bytes: options.slab(),
            log_bytes: options.log_bytes(),
            outline: Outline {
                least: options.blob_threshold,
                compression: options.blob_compression,
                rules,
                clock: views.load().clock.clone(),
            },
        });
        let removed = self.remove_orphans(&ledger);
        let (steps, ingesting) = Default::default();
        let earlier = self.ends();
        let writing = Writing { committer, ledger, queue, background, earlier, steps, ingesting };
        Ok((views, writing, removed))
    }

    /// Errors: `Unsupported` if no log can have the number behind that of the new manifest. Whoever
    /// has put a file of such a name there can take it away again: nothing was written yet (F-41).
    fn check_numbers(&self, state: &State) -> Result<()> {
        let log = state.next_file.0.checked_add(1).map(FileId);
        if log.and_then(|log| Address::new(log, 0)).is_some() {
            return Ok(());
        }
        let highest = self.found.files.keys().max_by_key(|name| name.id);
        let highest = highest.map(|name| format!("the highest is {name}")).unwrap_or_default();
        Err(no_addresses().context(highest))
    }

    /// How many numbers may have been given out beyond the last one that was found.
    fn jump(&self) -> u64 {
        if self.is_clean() { 0 } else { SEQ_JUMP }
    }

    /// Whether no log has an operation that is not in a segment.
    fn is_all_flushed(&self) -> bool {
        self.replayed.full.is_empty() && self.replayed.memtable.is_none()
    }

    /// What the new manifest says: the old state, the logs that are still needed, where they end.
    fn next_state(&self) -> State {
        let mut state = self.state.clone();
        state.next_file = self.found.next_file(&self.state);
        if self.is_all_flushed() {
            // No log is needed any more, and the jump is as good as flushed (F-12).
            state.logs.clear();
            state.log_min = state.next_file;
            state.closed = None;
            state.flushed = SeqNo(self.replayed.last.0 + self.jump());
        } else if self.is_clean() {
            state.logs = self.replayed.ends.iter().map(|end| end.log).collect();
            state.closed = self.ends().pop();
        }
        // What will be flushed before the open returns is kept then, or forgotten now: a part of a log
        // may be flushed, and the rest of it be lost with the power before the next part is.
        let ends = if self.is_clean() { Vec::new() } else { self.ends() };
        state.held.shrink_to(self.options.keep_logs, &ends);
        state.clean = false;
        state
    }

    /// The generations that wait for their flush, and the memtable that is written on.
    ///
    /// After a clean close the last replayed one is written on, unless too many logs have gathered
    /// behind it. After any other end all are flushed, and the jump in numbers with them.
    fn queue(&self, logs_from: FileId) -> Result<(Arc<Queue>, Arc<Memtable>)> {
        let queue = Arc::new(Queue::default());
        for full in &self.replayed.full {
            let sealed = Sealed::replayed(full.memtable.clone(), full.last, full.logs_from);
            queue.push(Arc::new(sealed));
        }
        if let Some(memtable) = &self.replayed.memtable {
            if self.is_clean() && self.replayed.ends.len() < LOGS_MAX {
                return Ok((queue, memtable.clone()));
            }
            let last = SeqNo(self.replayed.last.0 + self.jump());
            queue.push(Arc::new(Sealed::replayed(memtable.clone(), last, logs_from)));
        }
        Ok((queue, Arc::new(Memtable::with_capacity(self.options.slab())?)))
    }

    /// Removes every file of a database that the new manifest does not name.
    fn remove_orphans(&self, ledger: &Ledger) -> Vec<String> {
        let manifest = ledger.file();
        let entry = ledger.lock();
        let state = entry.state();
        let is_live = |name: &FileName| match name.kind {
            FileKind::Log => state.logs.contains(&name.id),
            FileKind::Manifest => name.id == manifest,
            FileKind::Segment => {
                state.runs.iter().any(|run| run.segments.iter().any(|meta| meta.id == name.id))
            }
            FileKind::Blob => state.blobs.get(name.id).is_some(),
            FileKind::Kept => names_of(&state.held).any(|kept| kept == *name),
        };
        let mut removed = Vec::new();
        for name in self.found.files.keys().filter(|name| !is_live(name)) {
            match self.env.remove(&path_in(&self.dir, name)) {
                Ok(()) => removed.push(name.to_string()),
                // It stays an orphan, and the next open tries again (F-29).
                Err(error) => tracing::warn!("remove {name}: {error}"),
            }
        }
        removed
    }
}

/// Reads the system collection as of `at`, and pins the named snapshots in `registry`.
fn load_system(view: &Arc<View>, at: SeqNo, registry: &Arc<Registry>) -> Result<(Catalog, Named)> {
    let (mut catalog, mut named) = (Catalog::default(), Named::default());
    each_record(view, at, |key, value, seq| {
        catalog.load(key, value)?;
        named::load(&mut named, registry, (key, value, seq))
    })?;
    Ok((catalog, named))
}
