//! The workers: one flushes, some compact, one takes care of the rest.
//!
//! ```text
//!   flush    woken when a generation is sealed
//!   compact  woken when a run was added, when a step ended or was cut into parts, and when writes
//!            come to rest, and when enough has expired: a unit is one part
//!   care     woken when the generation is half full, at the first write after a rest, and when
//!            the last user of a file is gone: prepares the next generation, syncs the log each
//!            interval, removes files
//! ```
//!
//! 1. A worker holds the database only during one unit of work; none keeps it alive.
//! 2. A job that fails is tried again after a pause; until then `stuck` says why. A job that panics
//!    poisons the database: the next write says so (F-31). After a compaction that failed no worker
//!    begins another in that time: parts of it that went well would else begin it again at once.
//! 3. With nothing to do all of them sleep: an idle database uses no processor (MACE-W10). One in which
//!    something expires wakes when that is worth it.

use super::steps::Want;
use crate::base::error::{Error, ErrorKind, Result};
use crate::db::core::{Core, Writing};
use crate::env::names::FileName;
use crate::env::{Next, Worker};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a failed job waits before it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The workers' shared state.
#[derive(Debug, Default)]
pub struct Background {
    workers: Mutex<Option<Workers>>,
    stuck: Mutex<Option<Error>>,
    stopping: AtomicBool,
    /// Files that could not be removed. Held while that is tried again; no other lock is taken then.
    late: Mutex<Vec<FileName>>,
    /// No worker begins a compaction before: one has failed.
    compact_after: Mutex<Duration>,
    /// When the care worker noticed the first write after a rest.
    busy_since: Mutex<Option<Duration>>,
}

#[derive(Debug)]
struct Workers {
    flush: Worker,
    compact: Vec<Worker>,
    care: Worker,
}

impl Background {
    /// Starts the workers of `core`.
    pub fn start(&self, core: &Arc<Core>) -> Result<()> {
        let spawn = |name: &str, unit: fn(&Core, &Writing) -> Result<Next>| {
            let weak = Arc::downgrade(core);
            core.env
                .spawn(name, Box::new(move || run(&weak, unit)))
                .map_err(|error| Error::io(format!("start the worker {name}"), error))
        };
        let workers = Workers {
            flush: spawn("esker-flush", flush)?,
            compact: (1..=core.options.compaction_threads)
                .map(|number| {
                    let unit = if number % 2 == 0 { clean } else { compact };
                    spawn(&format!("esker-compact-{number}"), unit)
                })
                .collect::<Result<_>>()?,
            care: spawn("esker-care", care)?,
        };
        *self.workers.lock() = Some(workers);
        Ok(())
    }

    /// Wakes the flush and the care worker.
    pub fn wake(&self) {
        if let Some(workers) = &*self.workers.lock() {
            workers.flush.wake();
            workers.care.wake();
        }
    }

    /// Wakes the care worker.
    pub fn wake_care(&self) {
        if let Some(workers) = &*self.workers.lock() {
            workers.care.wake();
        }
    }

    /// Wakes the compaction workers.
    pub fn wake_compaction(&self) {
        if let Some(workers) = &*self.workers.lock() {
            workers.compact.iter().for_each(Worker::wake);
        }
    }

    /// Stops all workers and waits for their current units.
    pub fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.set_stuck(Some(Error::invalid("the database is closed")));
        // Taken out of the lock first: a unit that is still running may want to wake another.
        let workers = self.workers.lock().take();
        drop(workers);
    }

    /// Whether jobs should end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// Why the flush does not succeed, if it does not.
    pub fn stuck(&self) -> Option<Error> {
        self.stuck.lock().clone()
    }

    /// Forgets an earlier failure: the flush is tried again now.
    pub fn clear_stuck(&self) {
        self.set_stuck(None);
    }

    fn set_stuck(&self, error: Option<Error>) {
        *self.stuck.lock() = error;
    }

    /// Remembers a file that could not be removed.
    pub fn remove_later(&self, name: FileName) {
        self.late.lock().push(name);
    }

    /// Lets `remove` try again to remove the files that could not be removed before; those for which
    /// it says no stay noted.
    pub fn remove_late(&self, mut remove: impl FnMut(FileName) -> bool) {
        // Held meanwhile: once a name is forgotten, no removal of it is on its way any more.
        self.late.lock().retain(|name| !remove(*name));
    }

    /// Forgets that `name` should have been removed: it is about to be given again.
    pub fn forget_late(&self, name: FileName) {
        self.late.lock().retain(|late| *late != name);
    }
}

/// One unit of a worker's work.
fn run(core: &Weak<Core>, unit: fn(&Core, &Writing) -> Result<Next>) -> Next {
    let Some(core) = core.upgrade() else { return Next::Wait(None) };
    let Some(writing) = &core.writing else { return Next::Wait(None) };
    if writing.background.is_stopping() {
        return Next::Wait(None);
    }
    match catch_unwind(AssertUnwindSafe(|| unit(&core, writing))) {
        Ok(Ok(next)) => next,
        Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => Next::Wait(None),
        Ok(Err(error)) => {
            tracing::warn!("background work failed: {error}");
            Next::Wait(Some(RETRY))
        }
        Err(_) => {
            writing.committer.fail(&Error::new(ErrorKind::Io, "a background job panicked"));
            Next::Wait(None)
        }
    }
}

fn flush(core: &Core, writing: &Writing) -> Result<Next> {
    if writing.committer.poison().is_set() {
        return Ok(Next::Wait(None));
    }
    let result = core.flush_one(writing);
    if !writing.background.is_stopping() {
        writing.background.set_stuck(result.as_ref().err().cloned());
    }
    // Whoever waits for room must see the error, or the room.
    writing.queue.moved.open();
    writing.committer.pace().wake_all();
    if result? {
        writing.background.wake_compaction();
        return Ok(Next::Again);
    }
    Ok(Next::Wait(None))
}

/// Carries out one job, if one is wanted.
type Step = fn(&Core, &Writing, Want) -> Result<bool>;

/// A worker that merges, and cleans blob files when there is nothing to merge.
fn compact(core: &Core, writing: &Writing) -> Result<Next> {
    reclaim(core, writing, [Core::compact_step, Core::clean_step])
}

/// A worker that does the same the other way round: so neither waits for all of the other.
fn clean(core: &Core, writing: &Writing) -> Result<Next> {
    reclaim(core, writing, [Core::clean_step, Core::compact_step])
}

fn reclaim(core: &Core, writing: &Writing, [first, second]: [Step; 2]) -> Result<Next> {
    if !core.options.background || writing.committer.poison().is_set() {
        return Ok(Next::Wait(None));
    }
    let (now, after) = (core.env.now(), *writing.background.compact_after.lock());
    if now < after && !writing.steps.has_untaken() {
        return Ok(Next::Wait(Some(after - now)));
    }
    let is_alone = core.options.compaction_threads < 2;
    let result = first(core, writing, Want::Due).and_then(|done| match done && !is_alone {
        true => Ok(true),
        false => Ok(second(core, writing, Want::Due)? || done),
    });
    if result.is_err() {
        *writing.background.compact_after.lock() = now + RETRY;
    }
    if result? {
        // What this step has freed or made may be another's work.
        writing.background.wake_compaction();
        return Ok(Next::Again);
    }
    Ok(Next::Wait(core.until_due()))
}

fn care(core: &Core, writing: &Writing) -> Result<Next> {
    if writing.committer.poison().is_set() {
        return Ok(Next::Wait(None));
    }
    core.empty_trash();
    writing.committer.prepare_ahead()?;
    let Some(interval) = core.options.sync_interval else { return Ok(Next::Wait(None)) };
    if writing.committer.is_resting() {
        return Ok(Next::Wait(None));
    }
    let now = core.env.now();
    let due = *writing.background.busy_since.lock().get_or_insert(now) + interval;
    if now < due {
        return Ok(Next::Wait(Some(due - now)));
    }
    *writing.background.busy_since.lock() = None;
    writing.committer.rest();
    writing.committer.sync()?;
    writing.committer.mark()?;
    writing.background.wake_compaction();
    Ok(Next::Wait(None))
}
