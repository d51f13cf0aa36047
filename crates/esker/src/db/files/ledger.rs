//! The manifest and the counter of file numbers: all that an edit needs.
//!
//! 1. One edit at a time. An edit is durable when `record` returns, and only then published.
//! 2. Every edit carries the counter, so that no number is ever used again (F-11).
//! 3. A failed append is final: it poisons the database (law 9, F-22).

use crate::base::error::{ErrorKind, Result};
use crate::base::id::FileId;
use crate::commit::poison::Poison;
use crate::env::Env;
use crate::env::names::FileKind;
use crate::manifest::{Edit, State, Store};
use parking_lot::{Mutex, MutexGuard};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    env: Arc<dyn Env>,
    dir: PathBuf,
    store: Mutex<Store>,
    next_file: AtomicU64,
    poison: Arc<Poison>,
}

impl Ledger {
    /// Writes `state` as a complete new manifest and starts recording edits behind it.
    pub fn start(
        env: Arc<dyn Env>,
        dir: PathBuf,
        mut state: State,
        poison: Arc<Poison>,
    ) -> Result<Self> {
        let id = state.next_file;
        state.next_file = id.next();
        let store = Store::create(&env, &dir, id, &state)?;
        let next_file = AtomicU64::new(state.next_file.0);
        Ok(Self { env, dir, store: Mutex::new(store), next_file, poison })
    }

    /// A number for a new file.
    pub fn allocate(&self) -> FileId {
        FileId(self.next_file.fetch_add(1, SeqCst))
    }

    /// Opens the manifest for edits that must be published before the next one.
    pub fn lock(&self) -> Entry<'_> {
        Entry { ledger: self, store: self.store.lock() }
    }

    /// The manifest's own file.
    pub fn file(&self) -> FileId {
        self.store.lock().id()
    }
}

/// The manifest, locked.
pub struct Entry<'a> {
    ledger: &'a Ledger,
    store: MutexGuard<'a, Store>,
}

impl Entry<'_> {
    /// What the manifest says now.
    pub fn state(&self) -> &State {
        self.store.state()
    }

    /// Appends an edit and syncs it. Errors: `ReadOnly` after an earlier failure; `Corruption` if
    /// the edit does not balance (nothing is written, nothing is poisoned); `Io` is final.
    pub fn record(&mut self, mut edit: Edit) -> Result<()> {
        self.ledger.poison.refuse()?;
        edit.next_file = Some(FileId(self.ledger.next_file.load(SeqCst)));
        let result = self.store.append(&edit).and_then(|()| self.roll_over());
        if let Err(error) = &result
            && error.kind() != ErrorKind::Corruption
        {
            self.ledger.poison.set(error);
        }
        result
    }

    /// Writes the whole state into a new manifest when the edits have outgrown it.
    fn roll_over(&mut self) -> Result<()> {
        if self.store.needs_rollover() { self.rewrite(|_| {}) } else { Ok(()) }
    }

    /// Writes the state, changed by `change`, into a new manifest, and removes the old one.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut State)) -> Result<()> {
        let Ledger { env, dir, .. } = self.ledger;
        let before = FileKind::Manifest.name(self.store.id());
        let id = self.ledger.allocate();
        let mut state = self.store.state().clone();
        change(&mut state);
        state.next_file = FileId(self.ledger.next_file.load(SeqCst));
        *self.store = Store::create(env, dir, id, &state)?;
        // One that stays behind is older than the complete one above it: it is ignored, and the
        // next open tries again (F-29).
        if let Err(error) = env.remove(&dir.join(before.to_string())) {
            tracing::warn!("remove {before}: {error}");
        }
        Ok(())
    }
}
