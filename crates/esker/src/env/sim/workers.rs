//! Workers without threads: one unit of one woken worker at a time, chosen by the seed.
//!
//! 1. A unit runs in whoever calls `help`, with no lock of the simulator held.
//! 2. A worker whose unit is running is not chosen again by a `help` inside that unit.
//! 3. A worker that panicked never runs again; its panic is counted (F-31).
//! 4. Time passes only by `advance`, never because everybody waits: a wait that only a timer can end
//!    would be a stall on a real system, and is a deadlock here.

use super::super::{Job, Next, Worker, WorkerHandle};
use super::chance::Chance;
use parking_lot::Mutex;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

struct Slot {
    id: u64,
    name: String,
    /// Taken out while a unit of it runs, and for good once it panicked.
    job: Option<Job>,
    woken: bool,
    due: Option<Duration>,
}

#[derive(Default)]
struct Inner {
    slots: Vec<Slot>,
    last_id: u64,
    now: Duration,
    panics: usize,
}

/// All workers of one world, and its clock.
pub(super) struct Workers {
    inner: Mutex<Inner>,
    chance: Mutex<Chance>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.lock();
        let woken = inner.slots.iter().filter(|slot| slot.woken).map(|slot| &slot.name);
        f.debug_struct("Workers")
            .field("now", &inner.now)
            .field("woken", &woken.collect::<Vec<_>>())
            .finish()
    }
}

impl Workers {
    pub(super) fn new(chance: Chance, now: Duration) -> Self {
        let inner = Inner { now, ..Inner::default() };
        Self { inner: Mutex::new(inner), chance: Mutex::new(chance) }
    }

    pub(super) fn now(&self) -> Duration {
        self.inner.lock().now
    }

    pub(super) fn panics(&self) -> usize {
        self.inner.lock().panics
    }

    pub(super) fn advance(&self, time: Duration) {
        let mut inner = self.inner.lock();
        inner.now += time;
        let now = inner.now;
        for slot in &mut inner.slots {
            if slot.due.is_some_and(|due| due <= now) {
                slot.due = None;
                slot.woken = true;
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.inner.lock().slots.iter().filter_map(|slot| slot.due).min()
    }

    pub(super) fn spawn(self: &Arc<Self>, name: &str, job: Job) -> Worker {
        let mut inner = self.inner.lock();
        inner.last_id += 1;
        let id = inner.last_id;
        let name = name.to_owned();
        inner.slots.push(Slot { id, name, job: Some(job), woken: true, due: None });
        Worker::new(Box::new(Handle { id, workers: Arc::clone(self) }))
    }

    /// Runs one unit of a woken worker; false if none is.
    pub(super) fn help(&self) -> bool {
        let Some((id, mut job)) = self.choose() else { return false };
        let next = catch_unwind(AssertUnwindSafe(&mut job));
        let mut inner = self.inner.lock();
        let now = inner.now;
        if next.is_err() {
            inner.panics += 1;
        }
        if let Some(slot) = inner.slots.iter_mut().find(|slot| slot.id == id) {
            match next {
                Ok(next) => {
                    match next {
                        Next::Again => slot.woken = true,
                        Next::Wait(limit) => slot.due = limit.map(|limit| now + limit),
                    }
                    slot.job = Some(job);
                    return true;
                }
                Err(_) => {
                    tracing::error!(worker = slot.name, "a background worker panicked");
                }
            }
        }
        // Stopped meanwhile, or panicked. What the job owns may stop other workers: no lock held.
        drop(inner);
        drop(job);
        true
    }

    fn choose(&self) -> Option<(u64, Job)> {
        let mut inner = self.inner.lock();
        let ready = |slot: &&mut Slot| slot.woken && slot.job.is_some();
        let count = inner.slots.iter_mut().filter(ready).count();
        if count == 0 {
            return None;
        }
        let chosen = self.chance.lock().index(count);
        let slot = inner.slots.iter_mut().filter(ready).nth(chosen)?;
        slot.woken = false;
        slot.due = None;
        Some((slot.id, slot.job.take()?))
    }
}

#[derive(Debug)]
struct Handle {
    id: u64,
    workers: Arc<Workers>,
}

impl WorkerHandle for Handle {
    fn wake(&self) {
        let mut inner = self.workers.inner.lock();
        if let Some(slot) = inner.slots.iter_mut().find(|slot| slot.id == self.id) {
            slot.woken = true;
        }
    }

    fn stop(&self) {
        let mut inner = self.workers.inner.lock();
        let place = inner.slots.iter().position(|slot| slot.id == self.id);
        let stopped = place.map(|place| inner.slots.remove(place));
        drop(inner);
        // Its job goes here, without the lock; one that is running goes when its unit ends.
        drop(stopped);
    }
}
