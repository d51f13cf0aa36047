//! What makes a collection the one it is, whatever it is called: shared by all its handles.
//!
//! ```text
//!   expected ─ its batch is numbered ─▶ alive ─ its deletion is numbered ─▶ gone
//! ```
//!
//! 1. A life changes only under the lock that numbers operations, in the moment in which the batch
//!    that changes it gets its numbers; and whether it is alive is asked there, too. So whatever is
//!    written to a collection is numbered below its deletion, and lies under its range delete.
//! 2. A life, a path and settings change only while the catalog's lock is held for writing.
//!
//! Why not before or after that lock: `docs/decisions/0015-writes-to-a-deleted-collection.md`.

use super::settings::Settings;
use crate::base::batch::{Op, Ops};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::CollectionId;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Acquire, Ordering::Release};

/// How far a collection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Life {
    /// The batch that creates it is not committed.
    Expected = 0,
    /// It is there.
    Alive = 1,
    /// It was deleted: its id is never used again.
    Gone = 2,
}

/// See the module.
#[derive(Debug)]
pub struct Identity {
    /// Its number.
    pub id: CollectionId,
    life: AtomicU8,
    /// Its present path, or its last one.
    path: Mutex<Arc<str>>,
    /// What it has of its own; none if that is nothing, as most have it.
    settings: Mutex<Option<Box<Settings>>>,
}

impl Identity {
    /// The identity of collection `id`, called `path`.
    pub fn new(id: CollectionId, path: Arc<str>, life: Life) -> Arc<Self> {
        let (life, path) = (AtomicU8::new(life as u8), Mutex::new(path));
        Arc::new(Self { id, life, path, settings: Mutex::default() })
    }

    /// What it has of its own.
    pub fn settings(&self) -> Settings {
        self.settings.lock().as_deref().cloned().unwrap_or_default()
    }

    /// Gives it these.
    pub fn set(&self, settings: &Settings) {
        let own = (!settings.is_empty()).then(|| Box::new(settings.clone()));
        *self.settings.lock() = own;
    }

    /// How far it is.
    #[inline]
    pub fn life(&self) -> Life {
        match self.life.load(Acquire) {
            0 => Life::Expected,
            1 => Life::Alive,
            _ => Life::Gone,
        }
    }

    /// Says how far it is from now on.
    pub fn turn(&self, life: Life) {
        self.life.store(life as u8, Release);
    }

    /// What it is called, or was last.
    pub fn path(&self) -> Arc<str> {
        self.path.lock().clone()
    }

    /// Calls it otherwise.
    pub fn call(&self, path: Arc<str>) {
        *self.path.lock() = path;
    }

    /// Errors: `NotFound` unless it is alive.
    #[inline]
    pub fn check_alive(&self) -> Result<()> {
        if self.life() == Life::Alive { Ok(()) } else { Err(self.refused()) }
    }

    /// Errors: `NotFound` unless it is alive, or none of `ops` is for it after all. Cost: a load; a walk
    /// over `ops` if it is not alive.
    #[inline]
    pub fn check_written(&self, ops: &impl Ops) -> Result<()> {
        self.check_alive().or_else(|error| {
            let is_written = ops.iter().any(|op| op.collection == self.id);
            if is_written { Err(error) } else { Ok(()) }
        })
    }

    #[cold]
    fn refused(&self) -> Error {
        let why = match self.life() {
            Life::Expected => "is not there: the batch that creates it is not committed",
            _ => "was deleted",
        };
        Error::new(ErrorKind::NotFound, format!("collection {:?} {why}", self.path()))
    }
}

/// The collections to which some operations go: each at least once.
#[derive(Clone, Debug, Default)]
pub struct Targets(Vec<Arc<Identity>>);

/// So many are looked at for one that is known already: batches go to few.
const RECENT: usize = 8;

impl Targets {
    /// Takes in whose collection is written to.
    pub fn note(&mut self, to: &Arc<Identity>) {
        if !self.0.iter().rev().take(RECENT).any(|known| Arc::ptr_eq(known, to)) {
            self.0.push(to.clone());
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Identity>] {
        &self.0
    }

    /// `ops`, which are refused if one of them is gone.
    pub fn guard<'a, O>(&'a self, ops: &'a O) -> Guarded<'a, O> {
        Guarded { ops, to: &self.0 }
    }
}

/// Operations on collections that must be alive.
pub struct Guarded<'a, O> {
    /// The operations.
    pub ops: &'a O,
    /// Whose they are.
    pub to: &'a [Arc<Identity>],
}

impl<O: Ops> Ops for Guarded<'_, O> {
    fn count(&self) -> usize {
        self.ops.count()
    }

    fn iter(&self) -> impl Iterator<Item = Op<'_>> {
        self.ops.iter()
    }

    fn admit(&self) -> Result<()> {
        self.to.iter().try_for_each(|identity| identity.check_written(self.ops))
    }
}
