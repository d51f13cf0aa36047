//! Batch to log to memtable to visible.
//!
//! ```text
//!   admit ─▶ claim (one short lock: number, log place, slab place, ticket)
//!         ─▶ log (in parallel) ─▶ memtable (in parallel) ─▶ visible (in order) ─▶ [sync, shared]
//! ```
//!
//! 1. Reserve first (law 1): generation and both positions are fixed under one lock, before a byte
//!    is written: see [`claim`]. A generation is sealed by taking it out of that lock, see [`rotate`];
//!    it is flushed when all its reservations are visible.
//! 2. A write is admitted before it takes any lock: see [`pace`].
//! 3. The first failure of a write or sync is final (law 9): see [`poison`].
//!
//! Lock order: `Group`'s state, then `front`. Nothing waits while holding `front`.

pub mod ahead;
pub mod checked;
mod claim;
pub mod durability;
pub mod fill;
pub mod generation;
pub mod group;
pub mod line;
pub mod outline;
pub mod pace;
pub mod poison;
pub mod replay;
mod rotate;
pub mod tail;
pub mod watch;

use crate::base::batch::{Batch, Ops};
use crate::base::entry::OpsLen;
use crate::base::error::{Error, Result};
use crate::base::id::{FileId, SeqNo};
use crate::env::{Env, Gate};
use crate::log::frame::Layout;
use crate::log::marks::Previous;
use crate::log::writer::{LogFile, LogTail, Reservation};
use crate::memtable::Memtable;
use crate::tree::view::Views;
use claim::{Places, Wanted};
pub use durability::Durability;
use generation::{Generation, NewLog, Queue};
use group::{Group, Stage};
use line::Line;
use outline::{Outline, Outlined};
use pace::Pace;
use parking_lot::Mutex;
use poison::Poison;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use watch::Watches;

/// What the commit path needs from the database around it.
pub trait Host: Send + Sync {
    /// Creates an empty log, whose name is durable and known to the manifest. Slow: it syncs.
    fn new_log(&self) -> Result<NewLog>;
    /// A generation was sealed, or the one that is written is half full: there is work.
    fn wake(&self);
    /// Why background work is stuck, if it is.
    fn stuck(&self) -> Option<Error>;
}

/// Where a commit path starts.
pub struct Start {
    /// The outside world.
    pub env: Arc<dyn Env>,
    /// What readers see.
    pub views: Arc<Views>,
    /// The database around it.
    pub host: Box<dyn Host>,
    /// The first failure.
    pub poison: Arc<Poison>,
    /// Sealed generations, replayed ones among them.
    pub queue: Arc<Queue>,
    /// The first generation to write.
    pub generation: Generation,
    /// The log before its, for the chain of logs.
    pub previous: Option<Previous>,
    /// The last number that was recovered, all of it durable.
    pub visible: SeqNo,
    /// The first number to give out.
    pub next: SeqNo,
    /// How fast writers may go.
    pub pace: Arc<Pace>,
    /// How many sealed generations may wait for the flush before writers do, however they were
    /// admitted.
    pub sealed_max: usize,
    /// Bytes of a memtable.
    pub slab_bytes: usize,
    /// Bytes of a log from which on its generation is sealed, however little its memtable holds.
    pub log_bytes: u64,
    /// What becomes of large values.
    pub outline: Outline,
}

/// The commit path of one database.
pub struct Committer {
    env: Arc<dyn Env>,
    views: Arc<Views>,
    host: Box<dyn Host>,
    poison: Arc<Poison>,
    queue: Arc<Queue>,
    line: Line,
    group: Group,
    front: Mutex<Front>,
    /// What the sync under way will have made durable: a log, and an offset in it.
    fixed: Mutex<Option<(Arc<LogFile>, u64)>>,
    /// One thread prepares at a time. Held during I/O, never together with `front` by a waiter.
    preparing: Mutex<()>,
    /// Opened when the order is let go.
    released: Gate,
    watches: Arc<Watches>,
    /// A number of the present length: where payloads are measured, see [`OpsLen`].
    near: AtomicU64,
    /// Whether nothing was written since the last turn of the background sync.
    idle: AtomicBool,
    sealed_max: usize,
    slab_bytes: usize,
    log_bytes: u64,
    outline: Outline,
    pace: Arc<Pace>,
}

/// Where writes go: guarded by one short lock.
struct Front {
    generation: Generation,
    tail: LogTail,
    /// The newest log before this one that has anything in it.
    previous: Option<Previous>,
    /// The first number not yet given out.
    next: SeqNo,
    tickets: u64,
    /// Bytes of the logs of sealed generations.
    sealed_log_bytes: u64,
    prepared: Option<Generation>,
    /// Whether the host was told that the next generation will be needed.
    asked: bool,
    /// Whether somebody holds the order: no other write gets a number.
    held: bool,
    closed: bool,
}

thread_local! {
    /// The frame that a thread is encoding; kept from commit to commit.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A thread keeps its buffer up to this size.
const SCRATCH_BYTES_MAX: usize = 1 << 20;

impl Committer {
    /// Starts writing into `start.generation`, whose memtable must already be in the view.
    pub fn new(start: Start) -> Self {
        let tail = start.generation.log.begin(start.previous);
        let generation = start.generation;
        let front = Front {
            generation,
            tail,
            previous: start.previous,
            next: start.next,
            tickets: 0,
            sealed_log_bytes: 0,
            prepared: None,
            asked: false,
            held: false,
            closed: false,
        };
        Self {
            env: start.env,
            views: start.views,
            host: start.host,
            poison: start.poison,
            queue: start.queue,
            line: Line::new(start.visible),
            group: Group::new(start.visible),
            front: Mutex::new(front),
            fixed: Mutex::new(None),
            preparing: Mutex::new(()),
            released: Gate::default(),
            watches: Arc::default(),
            near: AtomicU64::new(start.next.0),
            idle: AtomicBool::new(true),
            sealed_max: start.sealed_max,
            slab_bytes: start.slab_bytes,
            log_bytes: start.log_bytes,
            outline: start.outline,
            pace: start.pace,
        }
    }

    /// The highest number that readers may see.
    #[inline]
    pub fn visible(&self) -> SeqNo {
        self.line.visible()
    }

    /// Everything up to here is on disk.
    pub fn durable(&self) -> SeqNo {
        self.group.durable()
    }

    /// How many syncs commits have shared.
    pub fn syncs(&self) -> u64 {
        self.group.syncs()
    }

    /// Bytes that were written to logs.
    pub fn bytes_logged(&self) -> u64 {
        let front = self.front.lock();
        front.sealed_log_bytes + front.tail.position()
    }

    /// How fast writers may go.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The first failure, if any.
    pub fn poison(&self) -> &Poison {
        &self.poison
    }

    /// Commits `ops` as one: on return they are visible, whole, and as durable as asked.
    ///
    /// Cost: one copy into the log and one into the memtable; no system call for a buffered commit
    /// into a mapped log. Large values are hashed, and packed if they are to be, before any lock. Errors: `ReadOnly` after an earlier failure; `Io` if this one fails (then
    /// it is absent or whole after reopening); `InvalidArgument` on a closed database.
    pub fn commit(&self, ops: &impl Ops, durability: Durability) -> Result<()> {
        self.poison.refuse()?;
        if ops.count() == 0 {
            // Nothing is on disk then, and still every write before it.
            return if durability == Durability::Sync { self.sync() } else { Ok(()) };
        }
        self.commit_by(ops, durability, |wanted| self.claim(wanted))
    }

    /// Commits `ops`, which are some, into the places that `claim` takes for them once they were
    /// admitted.
    fn commit_by<'a>(
        &'a self,
        ops: &impl Ops,
        durability: Durability,
        claim: impl FnOnce(&Wanted<'_>) -> Result<Places<'a>>,
    ) -> Result<()> {
        match Outlined::of(ops, &self.outline) {
            None => {
                let (bytes, layout) = (Memtable::need(ops), Layout::Blocks);
                let places = self.enter(&Wanted { ops, bytes, layout }, claim)?;
                self.write(ops, ops, places, durability)
            }
            Some(mut large) => {
                let (bytes, layout) = (Memtable::need(&large), large.layout());
                let wanted = Wanted { ops: &large.stored(), bytes, layout };
                let places = self.enter(&wanted, claim)?;
                let Places { log_id, log, first, .. } = &places;
                large.place(*log_id, log.payload_at(), *first);
                self.write(&large.stored(), &large, places, durability)
            }
        }
    }

    /// Admits a write and claims its places.
    fn enter<'a>(
        &'a self,
        wanted: &Wanted<'_>,
        claim: impl FnOnce(&Wanted<'_>) -> Result<Places<'a>>,
    ) -> Result<Places<'a>> {
        // With nothing to flush there is nothing to wait for.
        let ended = || self.queue.is_empty() || self.host.stuck().is_some();
        let bytes = wanted.bytes as u64;
        self.pace.admit(&*self.env, bytes, &self.poison, ended)?;
        claim(wanted).inspect_err(|_| self.pace.cancel(bytes))
    }

    /// Fills the places: `ops` go to the log, `records` into the memtable.
    fn write(
        &self,
        ops: &impl Ops,
        records: &impl Ops,
        places: Places<'_>,
        durability: Durability,
    ) -> Result<()> {
        let Places { claim, log, memtable, slot, first, .. } = places;
        self.fill(ops, log).inspect_err(|error| self.fail(error))?;
        memtable.fill(slot, records, first);
        let last = claim.finish();
        if self.idle.load(Relaxed) && self.idle.swap(false, SeqCst) {
            self.host.wake();
        }
        let waited = match durability {
            Durability::Buffered => self.line.wait_visible(&*self.env, last, &self.poison),
            Durability::Sync => self.group.wait_durable(last, self, &self.poison),
        };
        self.watches.note(ops);
        waited
    }

    /// Who wants to know of writes.
    pub fn watches(&self) -> &Arc<Watches> {
        &self.watches
    }

    fn fill(&self, ops: &impl Ops, log: Reservation) -> Result<()> {
        SCRATCH.with_borrow_mut(|scratch| {
            let result = log.fill(ops, scratch);
            if scratch.capacity() > SCRATCH_BYTES_MAX {
                *scratch = Vec::new();
            }
            result
        })
    }

    /// Whether nothing was written since this last said so; the next write wakes the host.
    pub fn rest(&self) -> bool {
        self.idle.swap(true, SeqCst)
    }

    /// Whether nothing was written since [`Committer::rest`].
    pub fn is_resting(&self) -> bool {
        self.idle.load(SeqCst)
    }

    /// Makes every write that has returned durable.
    pub fn sync(&self) -> Result<()> {
        self.group.wait_durable(self.visible(), self, &self.poison)
    }

    /// Writes a mark of what is durable if no frame has carried one: an idle database calls it.
    pub fn mark(&self) -> Result<()> {
        self.poison.refuse()?;
        let mut front = self.front.lock();
        if front.closed || front.held || !front.tail.owes_mark() {
            return Ok(());
        }
        let Some(ticket) = self.line.ticket(front.tickets) else { return Ok(()) };
        let first = front.next;
        let log = front.tail.reserve(&OpsLen::EMPTY, first, Layout::Blocks)?;
        let claim = self.step_in(&mut front, ticket, log.last());
        drop(front);
        self.fill(&Batch::default(), log).inspect_err(|error| self.fail(error))?;
        claim.finish();
        Ok(())
    }

    /// Says that all generations up to number `last` are in segments, which are durable.
    pub fn note_flushed(&self, last: SeqNo) {
        self.group.note_durable(last);
    }

    /// Waits until everything up to `seq` is visible: the stragglers of a sealed generation.
    pub fn wait_visible(&self, seq: SeqNo) -> Result<()> {
        self.line.wait_visible(&*self.env, seq, &self.poison)
    }

    /// Makes `error` final and wakes all who wait.
    pub fn fail(&self, error: &Error) {
        self.poison.set(error);
        self.line.wake_all();
        self.group.wake_all();
        self.queue.moved.open();
        self.released.open();
        self.pace.wake_all();
    }

    /// Wakes all who wait if `error` has poisoned the database, as one of the manifest does.
    pub fn fail_if_poisoned(&self, error: &Error) {
        if self.poison.is_set() {
            self.fail(error);
        }
    }

    /// Refuses writes from here on, and makes durable what was written. Answers where the log ends,
    /// if the last generation has anything in its log.
    pub fn close(&self) -> Result<Closed> {
        let (generation, length, last) = {
            let mut front = self.front.lock();
            front.closed = true;
            (front.generation.clone(), front.tail.position(), SeqNo(front.next.0 - 1))
        };
        generation.log.end_at(length, last);
        self.wait_visible(last)?;
        self.group.wait_durable(last, self, &self.poison)?;
        // One that was sealed when all of it was durable already was not cut yet.
        self.queue.all().iter().try_for_each(|sealed| sealed.sync())?;
        generation.log.finish(length)?;
        generation.log.sync()?;
        Ok(Closed { log: generation.log_id, length, last })
    }

    /// Whether nothing was written since the last generation was sealed.
    pub fn memtable_is_empty(&self) -> bool {
        self.front.lock().generation.memtable.is_empty()
    }
}

/// How a commit path ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The last log.
    pub log: FileId,
    /// Where it ends; 0 if nothing was ever written into it.
    pub length: u64,
    /// The last number that was given out.
    pub last: SeqNo,
}

impl Stage for Committer {
    fn fix(&self) -> SeqNo {
        let front = self.front.lock();
        *self.fixed.lock() = Some((front.generation.log.clone(), front.tail.position()));
        SeqNo(front.next.0 - 1)
    }

    fn sync(&self, target: SeqNo) -> Result<()> {
        self.line.wait_visible(&*self.env, target, &self.poison)?;
        let fixed = self.fixed.lock().take();
        // Oldest first, so that what is durable is always a prefix. A generation that is sealed
        // after `fix` is the fixed one, or newer than the target; one that is gone is flushed.
        for sealed in self.queue.all().iter().take_while(|sealed| sealed.last <= target) {
            sealed.sync().inspect_err(|error| self.fail(error))?;
        }
        if let Some((log, offset)) = fixed {
            log.sync().inspect_err(|error| self.fail(error))?;
            log.note_durable(offset);
        }
        Ok(())
    }
}

fn closed() -> Error {
    Error::invalid("the database is closed")
}
