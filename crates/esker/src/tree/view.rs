//! All that a reader can see at one moment: memtables and runs.
//!
//! 1. Loading the current view costs one wait-free load; nothing is locked on the way of a read.
//! 2. A flush puts the run in and takes the memtable out in one swap (law 5): a reader finds the
//!    memtable or the run, never neither (MACE-12).
//! 3. Swaps are serialised by `swapping`; no I/O happens under it.

use super::version::Version;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::key::{Kind, Lookup};
use crate::base::value::Value;
use crate::memtable::Memtable;
use crate::merge::run::{get_all_in_run, get_in_run};
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct View {
    /// Newest first; the first is being written.
    pub memtables: Vec<Arc<Memtable>>,
    /// The runs on disk.
    pub version: Arc<Version>,
}

impl View {
    /// The value of a key as of `at`; none if it is absent or deleted.
    ///
    /// Cost: one hash probe a memtable, one filter probe a run until the key is found.
    /// Errors: `Corruption`, `Io`; an error is never reported as absence.
    #[inline]
    pub fn get(&self, key: &Lookup, at: SeqNo) -> Result<Option<Value>> {
        for memtable in &self.memtables {
            if let Some((_, kind, value)) = memtable.get_value(key, at) {
                return answer(kind, value);
            }
        }
        self.get_in_runs(key, at)
    }

    /// The values of `keys`, which ascend: what [`View::get`] gives for each, in one pass a source.
    ///
    /// Cost: as that many gets, but neighbours share index partitions and blocks. Errors as of
    /// [`View::get`]; there is no answer then, not even to the other keys.
    pub fn get_all(&self, keys: &[Lookup], at: SeqNo) -> Result<Vec<Option<Value>>> {
        let mut answers: Vec<Option<Value>> = keys.iter().map(|_| None).collect();
        // The keys of which nothing is known yet.
        let mut open: Vec<usize> = Vec::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            match self.memtables.iter().find_map(|memtable| memtable.get_value(key, at)) {
                Some((_, kind, value)) => answers[place] = answer(kind, value)?,
                None => open.push(place),
            }
        }
        for run in &self.version.runs {
            let mut known = vec![false; open.len()];
            let wanted = open.iter().map(|&place| &keys[place]);
            get_all_in_run(&run.segments, wanted, at, |index, (_, kind, value)| {
                known[index] = true;
                answers[open[index]] = answer(kind, value)?;
                Ok(())
            })?;
            let mut known = known.into_iter();
            open.retain(|_| !known.next().unwrap_or_default());
        }
        Ok(answers)
    }

    fn get_in_runs(&self, key: &Lookup, at: SeqNo) -> Result<Option<Value>> {
        for run in &self.version.runs {
            if let Some((_, kind, value)) = get_in_run(&run.segments, key, at)? {
                return answer(kind, value);
            }
        }
        Ok(None)
    }
}

/// What the newest version of a key says.
fn answer(kind: Kind, value: Value) -> Result<Option<Value>> {
    match kind {
        Kind::Put => Ok(Some(value)),
        Kind::Delete => Ok(None),
        Kind::Merge | Kind::RangeDelete => Err(Error::new(
            ErrorKind::Unsupported,
            "this build does not read merge operands and range tombstones",
        )),
    }
}

/// The current view, and how it is replaced.
#[derive(Debug)]
pub struct Views {
    current: ArcSwap<View>,
    /// Held while a new view is made from the current one.
    swapping: Mutex<()>,
}

impl Views {
    /// Starts with `view`.
    pub fn of(view: Arc<View>) -> Self {
        Self { current: ArcSwap::new(view), swapping: Mutex::new(()) }
    }

    /// The current view for one short read.
    #[inline]
    pub fn load(&self) -> Guard<Arc<View>> {
        self.current.load()
    }

    /// The current view to keep.
    pub fn load_full(&self) -> Arc<View> {
        self.current.load_full()
    }

    /// Puts a new memtable in front: writes go there from now on.
    pub fn rotate(&self, memtable: Arc<Memtable>) {
        self.swap(|view| {
            let mut memtables = vec![memtable];
            memtables.extend(view.memtables.iter().cloned());
            View { memtables, version: view.version.clone() }
        });
    }

    /// Publishes a version, and takes out `flushed`, which it replaces.
    pub fn publish(&self, version: Arc<Version>, flushed: Option<&Arc<Memtable>>) {
        self.swap(|view| View {
            memtables: view
                .memtables
                .iter()
                .filter(|memtable| flushed.is_none_or(|gone| !Arc::ptr_eq(memtable, gone)))
                .cloned()
                .collect(),
            version,
        });
    }

    fn swap(&self, change: impl FnOnce(&View) -> View) {
        let _one_at_a_time = self.swapping.lock();
        let next = change(&self.current.load());
        self.current.store(Arc::new(next));
    }
}
