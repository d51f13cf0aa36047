//! The steps of compaction that are going on: which files they hold, which ranges they claim.
//!
//! ```text
//!   choose ─ under a lock ─▶ busy files, claimed ranges ─▶ carried out, without it ─▶ let go
//!     ▲                                                                                 │
//!     └────────────────────────── the other workers look again ◀────────────────────────┘
//! ```
//!
//! 1. A file is an input of at most one step; outputs of two steps never share a range of a run.
//! 2. Whoever lets go tells those who wait: what could not be chosen before may be now.
//!
//! Steps are chosen in `choice.rs`, planned in `plan.rs`, carried out in `compact.rs`; cleanings, which
//! hold files too, in `clean.rs`.

use super::parts::Underway;
use crate::base::id::FileId;
use crate::base::time::Time;
use crate::compaction::policy::Policy;
use crate::env::Gate;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is going on: guards the choice, never held during I/O.
#[derive(Debug, Default)]
pub struct Steps {
    pub(super) running: Mutex<Running>,
    /// Opened whenever a step ends, and when there are parts to take.
    pub(super) ended: Gate,
}

#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) count: usize,
    /// How often files were let go: what could not be chosen before may be now.
    pub(super) freed: u64,
    pub(super) next_token: u64,
    pub(super) busy: HashSet<FileId>,
    /// Files of the last level in which versions were kept for a reader.
    pub(super) kept_for_pins: HashSet<FileId>,
    /// Those in which what had expired by this time was kept, because it hides such versions.
    pub(super) kept_expired: HashMap<FileId, Time>,
    pub(super) claims: Vec<Claimed>,
    /// Steps whose parts can be taken, or were.
    pub(super) underway: Vec<Underway>,
    pub(super) overwrites: Overwrites,
}

/// How many large values take the place of others, as flushes have found by samples. Older findings
/// count for half.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overwrites {
    asked: u64,
    known: u64,
}

impl Overwrites {
    /// In hundredths; a guess before anything was found.
    pub(super) fn percent(&self) -> u64 {
        match self.known.saturating_mul(100).checked_div(self.asked) {
            Some(percent) => percent.min(100),
            None => Policy::BALANCED.overwrites,
        }
    }
}

#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) token: u64,
    pub(super) level: u32,
    pub(super) run: Option<u64>,
    pub(super) keys: (Box<[u8]>, Box<[u8]>),
}

/// Inputs and claims of a step that runs: free again when this is dropped.
#[derive(Debug)]
pub(in crate::db) struct Busy {
    pub(super) steps: Arc<Steps>,
    pub(super) token: u64,
    pub(super) inputs: Vec<FileId>,
}

/// How a step is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// When it is due.
    Due,
    /// Whatever brings everything into the last level, and takes what expires by then out of it.
    All(Time),
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut running = self.steps.running.lock();
        running.count -= 1;
        running.freed += 1;
        for id in &self.inputs {
            running.busy.remove(id);
            // A step that failed keeps its inputs: at worst one of them is not cleaned up again.
            running.kept_for_pins.remove(id);
            running.kept_expired.remove(id);
        }
        running.claims.retain(|claim| claim.token != self.token);
        drop(running);
        self.steps.ended.open();
    }
}

/// Files that no step takes as long as this is held.
pub struct Held<'a> {
    steps: &'a Steps,
    files: Vec<FileId>,
    /// Whether a job is being carried out on them.
    is_job: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut running = self.steps.running.lock();
        self.files.iter().for_each(|id| _ = running.busy.remove(id));
        running.count -= usize::from(self.is_job);
        running.freed += 1;
        drop(running);
        self.steps.ended.open();
    }
}

impl Steps {
    /// Keeps `files` from being chosen, before a version has them.
    pub fn hold(&self, files: &[FileId]) -> Held<'_> {
        self.running.lock().busy.extend(files);
        Held { steps: self, files: files.to_vec(), is_job: false }
    }

    /// Lets `choose` choose files for a job, told which are busy, and keeps those that it names.
    pub fn choose_files<T>(
        &self,
        choose: impl FnOnce(&dyn Fn(FileId) -> bool) -> Option<(T, Vec<FileId>)>,
    ) -> Option<(T, Held<'_>)> {
        let mut running = self.running.lock();
        let (choice, files) = choose(&|id| running.busy.contains(&id))?;
        running.busy.extend(&files);
        running.count += 1;
        Some((choice, Held { steps: self, files, is_job: true }))
    }

    /// Notes that of so many large values that came, keys were `asked` for, and `known` were there.
    pub fn note_overwrites(&self, asked: u64, known: u64) {
        if asked > 0 {
            let overwrites = &mut self.running.lock().overwrites;
            overwrites.asked = overwrites.asked / 2 + asked;
            overwrites.known = overwrites.known / 2 + known;
        }
    }

    /// How often files were let go so far.
    pub(super) fn freed(&self) -> u64 {
        self.running.lock().freed
    }

    /// Whether a step is being carried out.
    pub fn is_running(&self) -> bool {
        self.running.lock().count > 0
    }
}
