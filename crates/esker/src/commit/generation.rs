//! A generation: one memtable and the log that carries the same operations.
//!
//! ```text
//!   prepared ─ rotate ─▶ written ─ seal ─▶ sealed ─ flush ─▶ gone
//!   (ahead of time)      (Front)           (Queue)           (its log is removed)
//! ```
//!
//! 1. A write fixes its places in memtable and log of one generation under one short lock, so a
//!    file border is a generation border by construction (law 1; BLOB-1, BLOB-17, MACE-5).
//! 2. A sealed generation is flushed when everything in it is visible, oldest first: what is in
//!    segments is always a prefix of all operations.

use crate::base::error::Result;
use crate::base::id::{FileId, SeqNo};
use crate::env::{Env, File, Gate};
use crate::log::writer::LogFile;
use crate::manifest::Closed;
use crate::memtable::Memtable;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// The generation that is written, or one prepared to be.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The number of its log.
    pub log_id: FileId,
    /// Its log.
    pub log: Arc<LogFile>,
    /// The same file, to read large values from.
    pub file: Arc<dyn File>,
    /// Its memtable.
    pub memtable: Arc<Memtable>,
    /// Bytes of it that were replayed: no writer was admitted with them.
    pub replayed_bytes: u64,
}

/// A log that was created, empty.
#[derive(Clone, Debug)]
pub struct NewLog {
    /// Its number.
    pub id: FileId,
    /// Where it is written.
    pub log: Arc<LogFile>,
    /// Where it is read.
    pub file: Arc<dyn File>,
}

impl Generation {
    /// A generation of `memtable` and `new`, which carries its large values from now on.
    pub fn new(new: NewLog, memtable: Arc<Memtable>) -> Self {
        let NewLog { id: log_id, log, file } = new;
        memtable.add_log(log_id, &file);
        Self { log_id, log, file, memtable, replayed_bytes: 0 }
    }

    /// Its log, for another memtable.
    pub fn new_log(&self) -> NewLog {
        NewLog { id: self.log_id, log: self.log.clone(), file: self.file.clone() }
    }
}

/// A generation that takes no more writes, on its way to a segment.
#[derive(Debug)]
pub struct Sealed {
    /// What is flushed.
    pub memtable: Arc<Memtable>,
    /// The highest number in it.
    pub last: SeqNo,
    /// The log to sync if durability is wanted before the flush; none if it was replayed, because
    /// then it was synced at open.
    pub log: Option<Arc<LogFile>>,
    /// The number of the first log that is still needed once this is flushed.
    pub logs_from: FileId,
    /// Whether its log was cut to its length and synced.
    synced: AtomicBool,
    /// Where the log ends.
    pub log_bytes: u64,
    /// Bytes that writers were admitted with, and have not been given back.
    owed: AtomicU64,
}

impl Sealed {
    /// A generation closed to new reservations at `log_bytes` and `last`.
    pub fn new(generation: &Generation, last: SeqNo, log_bytes: u64, logs_from: FileId) -> Self {
        Self {
            memtable: generation.memtable.clone(),
            last,
            log: Some(generation.log.clone()),
            logs_from,
            synced: AtomicBool::new(false),
            log_bytes,
            owed: AtomicU64::new(
                generation.memtable.used_bytes() as u64 - generation.replayed_bytes,
            ),
        }
    }

    /// A generation made from logs at open.
    pub fn replayed(memtable: Arc<Memtable>, last: SeqNo, logs_from: FileId) -> Self {
        let synced = AtomicBool::new(true);
        let owed = AtomicU64::new(0);
        Self { memtable, last, log: None, logs_from, synced, log_bytes: 0, owed }
    }

    /// How its log ended, if it has one and that has anything in it.
    pub fn closed(&self) -> Option<Closed> {
        let log = self.log.as_ref().filter(|_| self.log_bytes > 0)?;
        Some(Closed { log: log.name().id, length: self.log_bytes, last: self.last })
    }

    /// What is to be given back when all but `left` of it is flushed; told once.
    pub fn repaid_down_to(&self, left: u64) -> u64 {
        let before = self.owed.fetch_min(left, SeqCst);
        before.saturating_sub(left)
    }

    /// What has not been given back.
    pub fn owed(&self) -> u64 {
        self.owed.load(SeqCst)
    }

    /// Cuts the log behind its last frame and makes it durable, once. Everything in it must be
    /// visible.
    pub fn sync(&self) -> Result<()> {
        if self.synced.load(SeqCst) {
            return Ok(());
        }
        if let Some(log) = &self.log {
            log.finish(self.log_bytes)?;
            log.sync()?;
        }
        self.synced.store(true, SeqCst);
        Ok(())
    }
}

/// Sealed generations, oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    sealed: Mutex<VecDeque<Arc<Sealed>>>,
    count: AtomicUsize,
    /// Opened whenever a generation leaves, or can not.
    pub moved: Gate,
}

impl Queue {
    /// Puts in a generation newer than all before.
    pub fn push(&self, sealed: Arc<Sealed>) {
        let mut queue = self.sealed.lock();
        queue.push_back(sealed);
        self.count.store(queue.len(), SeqCst);
    }

    /// The next to flush.
    pub fn oldest(&self) -> Option<Arc<Sealed>> {
        self.sealed.lock().front().cloned()
    }

    /// All, oldest first.
    pub fn all(&self) -> Vec<Arc<Sealed>> {
        self.sealed.lock().iter().cloned().collect()
    }

    /// Takes out the oldest, which is flushed.
    pub fn pop(&self) {
        let mut queue = self.sealed.lock();
        queue.pop_front();
        self.count.store(queue.len(), SeqCst);
        drop(queue);
        self.moved.open();
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `done`, looked at whenever a generation leaves.
    pub fn wait_until(&self, env: &dyn Env, done: impl FnMut() -> bool) {
        self.moved.wait_until(env, done);
    }
}
