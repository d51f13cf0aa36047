//! All that a reader can see at one moment: memtables and runs.
//!
//! 1. Loading the current view costs one wait-free load; nothing is locked on the way of a read.
//! 2. A flush puts the run in and takes the memtable out in one swap (law 5): a reader finds the
//!    memtable or the run, never neither (MACE-12).
//! 3. Every number in a memtable is above those of the older memtables, and those above all numbers
//!    in runs: so a range delete that covers a key in one of them covers all that lies behind.
//! 4. Swaps are serialised by `swapping`; no I/O happens under it.
//! 5. The clock is asked after the view was loaded: what a rewrite has dropped from it because it had
//!    expired has expired for whoever reads it.

use super::gaps::Gaps;
use super::large::{Large, Place};
use super::version::Version;
use crate::base::blob::BlobRef;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Kind, Lookup};
use crate::base::span::Cover;
use crate::base::time::{Time, expiry_of, is_absence, user_value};
use crate::base::value::Value;
use crate::env::clock::{Clock, Glance};
use crate::memtable::Memtable;
use crate::merge::fold::Backing;
use crate::merge::rules::{Rule, Rules};
use crate::merge::run::{get_all_in_run, get_in_run, segment_for};
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct View {
    /// Newest first; the first is being written.
    pub memtables: Vec<Arc<Memtable>>,
    /// The runs on disk.
    pub version: Arc<Version>,
    /// What scans have found to be empty, shared by all views.
    pub gaps: Arc<Gaps>,
    /// What holds for each collection, shared by all views.
    pub rules: Arc<Rules>,
    /// The time of day: asked where something expires.
    pub clock: Clock,
}

impl View {
    /// The value of a key as of `at`; none if it is absent or deleted.
    ///
    /// Cost: one hash probe a memtable, one filter probe a run until the key is found; of merge
    /// operands all of them, and what they came upon.
    /// Errors: `Corruption`, `Io`, those of a merge operator; an error is never reported as absence.
    #[inline]
    pub fn get(&self, key: &Lookup, at: SeqNo) -> Result<Option<Value>> {
        let time = self.clock.glance();
        match self.find(key, at, &time)? {
            Some(said) => self.answer(said, key, at, &time),
            None => Ok(None),
        }
    }

    /// Whether a key has a value as of `at`. Cost and errors as of [`View::get`], but a value out of
    /// line is not read.
    pub fn contains(&self, key: &Lookup, at: SeqNo) -> Result<bool> {
        let time = self.clock.glance();
        match self.find(key, at, &time)? {
            Some(Said::Outside(_)) => Ok(true),
            Some(said) => Ok(self.answer(said, key, at, &time)?.is_some()),
            None => Ok(false),
        }
    }

    #[inline]
    fn find(&self, key: &Lookup, at: SeqNo, time: &Glance<'_>) -> Result<Option<Said>> {
        match self.get_in_memtables(key, at, time) {
            Some(found) => Ok(Some(found)),
            None => self.get_in_runs(key, at, time),
        }
    }

    /// What a key has as of `at`, without reading a value that lies out of line. Cost and errors as
    /// of [`View::get`].
    pub fn look(&self, key: &Lookup, at: SeqNo) -> Result<Option<Found>> {
        Ok(self.look_closely(key, at)?.map(|(found, _)| found))
    }

    /// The same, and when it expires.
    pub fn look_closely(&self, key: &Lookup, at: SeqNo) -> Result<Option<(Found, Option<Time>)>> {
        let time = self.clock.glance();
        let Some(mut found) = self.find(key, at, &time)? else { return Ok(None) };
        if matches!(found, Said::Operand) {
            let (kind, value) = self.fold(key, at, &time)?;
            found = said(kind, value, &time);
        }
        let expiry = match &found {
            Said::Outside(value) => expiry_of(Kind::Blob, value),
            Said::Expiring(value) => expiry_of(Kind::Expiring, value),
            _ => None,
        };
        let found = match found {
            Said::Outside(bytes) => Some(Found::Large(self.find_large(&bytes)?)),
            found => self.answer(found, key, at, &time)?.map(Found::Value),
        };
        Ok(found.map(|found| (found, expiry)))
    }

    /// The value that lies out of line where `bytes` say, which are those of a ref; not read yet. No
    /// I/O. [`Backing::large`] reads it: one positioned read and its digest.
    pub fn find_large(&self, bytes: &[u8]) -> Result<Large> {
        let damaged = |want: &str| {
            let message = format!("want {want}, found \"{}\"", bytes.escape_ascii());
            Error::new(ErrorKind::Corruption, message)
        };
        let blob = BlobRef::decode(bytes).ok_or_else(|| damaged("a ref of a large value"))?;
        if let Some(file) = self.version.blobs.find(blob.address) {
            return Ok(Large::new(blob, Place::File(file.clone())));
        }
        let log = blob.address.file();
        let file = self.memtables.iter().find_map(|memtable| memtable.log(log));
        let file = file.ok_or_else(|| damaged("the ref of a value that is there"))?;
        Ok(Large::new(blob, Place::Log(file)))
    }

    fn fold_for_user(&self, key: &Lookup, at: SeqNo, time: &Glance<'_>) -> Result<Value> {
        let (kind, value) = self.fold(key, at, time)?;
        user_value(kind, value)
    }

    #[inline]
    fn answer(
        &self,
        said: Said,
        key: &Lookup,
        at: SeqNo,
        time: &Glance<'_>,
    ) -> Result<Option<Value>> {
        match said {
            Said::Value(value) => Ok(Some(value)),
            Said::Expiring(value) => user_value(Kind::Expiring, value).map(Some),
            Said::Gone => Ok(None),
            Said::Outside(blob) => self.large(&blob).map(Some),
            Said::Operand => self.fold_for_user(key, at, time).map(Some),
        }
    }

    /// What memtables say of a key; none if they know nothing of it.
    #[inline]
    fn get_in_memtables(&self, key: &Lookup, at: SeqNo, time: &Glance<'_>) -> Option<Said> {
        for memtable in &self.memtables {
            let found = memtable.get_value(key, at);
            let newest = memtable.newest_range_delete();
            if newest > found.as_ref().map_or(SeqNo::ZERO, |(seq, ..)| *seq) {
                // Numbers of older sources are all lower: what covers the key here covers it there.
                let cover = memtable.cover(key.full(), at);
                if cover > found.as_ref().map_or(SeqNo::ZERO, |(seq, ..)| *seq) {
                    return Some(Said::Gone);
                }
            }
            if let Some((_, kind, value)) = found {
                return Some(said(kind, value, time));
            }
        }
        None
    }

    /// The values of `keys`, which ascend: what [`View::get`] gives for each, in one pass a source.
    ///
    /// Cost: as that many gets, but neighbours share index partitions and blocks. Errors as of
    /// [`View::get`]; there is no answer then, not even to the other keys.
    pub fn get_all(&self, keys: &[Lookup], at: SeqNo) -> Result<Vec<Option<Value>>> {
        let mut answers: Vec<Option<Value>> = keys.iter().map(|_| None).collect();
        // The keys of which nothing is known yet.
        let mut open: Vec<usize> = Vec::with_capacity(keys.len());
        // Those that have operands.
        let mut chains: Vec<usize> = Vec::new();
        let time = self.clock.glance();
        for (place, key) in keys.iter().enumerate() {
            match self.get_in_memtables(key, at, &time) {
                Some(said) => answers[place] = self.answer(said, key, at, &time)?,
                None => open.push(place),
            }
        }
        let spans = &self.version.spans;
        let mut covers = Vec::new();
        if !spans.is_empty() && !open.is_empty() {
            let skyline = spans.skyline(at);
            covers = keys.iter().map(|key| skyline.at(key.full()).seq).collect();
        }
        for run in &self.version.runs {
            let mut known = vec![false; open.len()];
            let wanted = open.iter().map(|&place| &keys[place]);
            get_all_in_run(&run.segments, wanted, at, |index, (seq, kind, value)| {
                known[index] = true;
                let place = open[index];
                if covers.get(place).is_none_or(|cover| *cover < seq) {
                    match said(kind, value, &time) {
                        Said::Operand => chains.push(place),
                        said => answers[place] = self.answer(said, &keys[place], at, &time)?,
                    }
                }
                Ok(())
            })?;
            let mut known = known.into_iter();
            open.retain(|_| !known.next().unwrap_or_default());
        }
        for place in chains {
            answers[place] = self.fold_for_user(&keys[place], at, &time).map(Some)?;
        }
        Ok(answers)
    }

    fn get_in_runs(&self, key: &Lookup, at: SeqNo, time: &Glance<'_>) -> Result<Option<Said>> {
        let cover = self.version.spans.cover(key.full(), at);
        for run in &self.version.runs {
            // A segment all of which is covered is not looked into.
            let is_covered = cover > SeqNo::ZERO
                && segment_for(&run.segments, key.full())
                    .is_none_or(|segment| segment.meta().seq_max <= cover);
            if is_covered {
                continue;
            }
            if let Some((seq, kind, value)) = get_in_run(&run.segments, key, at)? {
                return Ok((seq >= cover).then(|| said(kind, value, time)));
            }
        }
        Ok(None)
    }

    /// What range deletes cover for a scan at `at`, at the time `now`, and where scans before it found
    /// nothing.
    pub fn cover(&self, at: SeqNo, now: Time) -> Cover {
        let memtables = self.memtables.iter().flat_map(|memtable| memtable.skylines(at));
        Cover::of(memtables.chain([self.version.spans.skyline(at), self.gaps.skyline(at, now)]))
    }
}

impl Backing for View {
    fn rule(&self, collection: CollectionId) -> Arc<Rule> {
        self.rules.of(collection)
    }

    fn large(&self, blob: &[u8]) -> Result<Value> {
        self.find_large(blob)?.read()
    }
}

/// What [`View::look`] finds.
#[derive(Debug)]
pub enum Found {
    /// A value that lies in line.
    Value(Value),
    /// One that lies out of line, and was not read.
    Large(Large),
}

/// What a source says of a key.
enum Said {
    Value(Value),
    /// One with its expiry behind it, which has not come yet.
    Expiring(Value),
    /// A value that lies out of line: its ref, perhaps with an expiry behind it.
    Outside(Value),
    /// Deleted: by a tombstone, or with a range; or expired.
    Gone,
    Operand,
}

/// What the newest version of a key says. A range delete met at its own start deletes that key.
#[inline]
fn said(kind: Kind, value: Value, time: &Glance<'_>) -> Said {
    match kind {
        Kind::Put => Said::Value(value),
        Kind::Blob if value.len() == BlobRef::BYTES => Said::Outside(value),
        Kind::Blob | Kind::Expiring => said_in_time(kind, value, time),
        Kind::Delete | Kind::RangeDelete => Said::Gone,
        Kind::Merge => Said::Operand,
    }
}

/// What one says that expires.
#[cold]
fn said_in_time(kind: Kind, value: Value, time: &Glance<'_>) -> Said {
    match kind {
        _ if is_absence(kind, &value, time.now()) => Said::Gone,
        Kind::Blob => Said::Outside(value),
        _ => Said::Expiring(value),
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
            View { memtables, ..view.clone() }
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
            ..view.clone()
        });
    }

    fn swap(&self, change: impl FnOnce(&View) -> View) {
        let _one_at_a_time = self.swapping.lock();
        let next = change(&self.current.load());
        self.current.store(Arc::new(next));
    }
}
