//! From one generation to the next: prepared ahead, taken when the present one is full.
//!
//! ```text
//!   half full ─▶ prepare: a log, a memtable        slow, outside the lock
//!   full      ─▶ rotate: the prepared one is written, the other is sealed ─▶ the flush
//!             └─ none prepared, or too many sealed ─▶ the writer prepares, or waits
//! ```
//!
//! 1. Readers find the new memtable before anything in it is visible.
//! 2. A generation is sealed by taking it out of the lock under which places are claimed.
//! 3. A log is made once for each generation: a memtable that is too small for a batch gives its log
//!    to a larger one.

use super::generation::{Generation, Sealed};
use super::{Committer, Front, closed};
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::log::marks::Previous;
use crate::memtable::Memtable;
use std::sync::Arc;

impl Committer {
    /// Waits, without any lock, until the flush has taken a generation away.
    pub(super) fn wait_for_room(&self) -> Result<()> {
        let has_room = || self.queue.len() < self.sealed_max;
        let ended = || self.poison.is_set() || self.host.stuck().is_some();
        // What a blocked writer can do meanwhile is what the flush needs next (MOSS-11).
        self.views.load_full().memtables.iter().take(1).for_each(|m| m.sort_ahead(self.visible()));
        self.queue.wait_until(&*self.env, || has_room() || ended());
        self.poison.refuse()?;
        match self.host.stuck() {
            Some(error) if !has_room() => Err(error.context("no room until a flush succeeds")),
            _ => Ok(()),
        }
    }

    /// Prepares the next generation, whose memtable has at least `bytes`, if there is none. Called
    /// ahead of time by a worker, and by a writer that finds none or one too small.
    ///
    /// Errors: `Io`, and nothing has changed: the write may be tried again when there is space.
    pub fn prepare(&self, bytes: usize) -> Result<()> {
        self.prepare_with(bytes, |_| {})
    }

    /// Prepares the next generation if the present one is half full, in a worker: its memory is
    /// touched, so that writers do not pay for its pages.
    pub fn prepare_ahead(&self) -> Result<()> {
        let due = {
            let front = self.front.lock();
            front.asked && front.prepared.is_none()
        };
        if due { self.prepare_with(0, Memtable::touch) } else { Ok(()) }
    }

    fn prepare_with(&self, bytes: usize, ready: impl FnOnce(&mut Memtable)) -> Result<()> {
        let _one_at_a_time = self.preparing.lock();
        let before = {
            let front = self.front.lock();
            if front.closed {
                return Ok(());
            }
            front.prepared.clone()
        };
        if before.as_ref().is_some_and(|ready| ready.memtable.capacity() >= bytes) {
            return Ok(());
        }
        let mut memtable = Memtable::with_capacity(self.slab_bytes.max(bytes))?;
        ready(&mut memtable);
        // A log takes a batch of any size: only the memtable was too small for this one.
        let before = before.map(|small| small.new_log());
        let log = match before.clone() {
            Some(small) => small,
            None => self.host.new_log().inspect_err(|error| self.fail_if_poisoned(error))?,
        };
        let prepared = Generation::new(log, Arc::new(memtable));
        let mut front = self.front.lock();
        let is_there = front.prepared.as_ref().map(|ready| ready.log_id);
        if is_there != before.map(|log| log.id) {
            // Another writer has rotated into the small one meanwhile: its log is taken.
            return Ok(());
        }
        front.prepared = Some(prepared);
        Ok(())
    }

    /// Seals the generation that is written and goes on in the prepared one, if it is large enough.
    pub(super) fn rotate(&self, front: &mut Front, bytes: usize) -> bool {
        let Some(next) = front.prepared.take_if(|g| g.memtable.capacity() >= bytes) else {
            return false;
        };
        // Readers must find the new memtable before anything in it is visible.
        self.views.rotate(next.memtable.clone());
        let last = SeqNo(front.next.0 - 1);
        let length = front.tail.position();
        front.sealed_log_bytes += length;
        front.generation.log.end_at(length, last);
        let sealed = Sealed::new(&front.generation, last, length, next.log_id);
        if length > 0 {
            front.previous = Some(Previous { log: front.generation.log_id, length, last });
        }
        front.tail = next.log.begin(front.previous);
        front.generation = next;
        front.asked = false;
        self.queue.push(Arc::new(sealed));
        true
    }

    /// Seals what was written so far, if anything was: the flush will take it.
    pub fn seal(&self) -> Result<()> {
        loop {
            self.poison.refuse()?;
            let mut front = self.front.lock();
            if front.closed {
                return Err(closed());
            }
            if front.generation.memtable.is_empty() || self.rotate(&mut front, 0) {
                drop(front);
                self.host.wake();
                return Ok(());
            }
            drop(front);
            self.prepare(1)?;
        }
    }
}
