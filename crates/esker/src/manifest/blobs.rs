//! The live blob files: which addresses each answers for, and which of them are dead.
//!
//! ```text
//!  blob-41  [41:0 ………………………… 41:67108863]                a log that was taken over
//!  blob-57  [40:0 … 40:9000] [42:77 … 42:5000]             from a cleaning of blob-40 and blob-42
//!            dead: 40:512, 42:77       live = all − dead, in values and in stored bytes
//!
//!  tick     one a manifest's edit       up1, up2: the last ticks, but one, at which values died
//! ```
//!
//! 1. No two files answer for the same address. An address that is not dead is live: some segment
//!    refers to it.
//! 2. Dead addresses are kept exactly, each with the edit that killed it; none dies twice, and none
//!    comes back (MACE-17).
//! 3. A file starts with `up1 = up2 =` its first tick. The first death in a tick sets `up2 = up1`
//!    and `up1` to the tick. One that a cleaning wrote starts with the mean of its sources' `up2`,
//!    weighted by their live bytes (MACE-14).
//! 4. A file leaves when nothing in it is live, or in a cleaning: then as many values, of as many
//!    bytes, are live in the files that come as in those that go.
//! 5. All of it is the same live, read back, and after a roll-over.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::edit::{Dead, Edit, Reason, Ticks};
use super::state::refused;
use crate::base::blob::Address;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::blob::BlobMeta;
use crate::env::names::FileKind;
use roaring::RoaringTreemap;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

/// A live blob file, and what is known of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveBlob {
    /// The file.
    pub meta: BlobMeta,
    /// Addresses of values that nothing refers to any more.
    pub dead: RoaringTreemap,
    /// How many.
    pub dead_values: u64,
    /// Their bytes, as stored.
    pub dead_bytes: u64,
    /// The last tick at which values died.
    pub up1: u64,
    /// The last but one.
    pub up2: u64,
}

impl Eq for LiveBlob {}

/// Addresses that one file answers for, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: Address,
    last: Address,
    file: FileId,
}

/// The live blob files. Cloning costs one count a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blobs {
    /// Ascending by number.
    files: Vec<Arc<LiveBlob>>,
    /// All their intervals, ascending, disjoint.
    spans: Arc<Vec<Span>>,
}

impl LiveBlob {
    fn new(meta: BlobMeta, tick: u64) -> Self {
        let dead = RoaringTreemap::new();
        Self { meta, dead, dead_values: 0, dead_bytes: 0, up1: tick, up2: tick }
    }

    /// Values that segments refer to.
    pub fn live_values(&self) -> u64 {
        self.meta.values.saturating_sub(self.dead_values)
    }

    /// Their bytes, as stored.
    pub fn live_bytes(&self) -> u64 {
        self.meta.stored_bytes.saturating_sub(self.dead_bytes)
    }

    /// Whether it answers for `address`.
    pub fn covers(&self, address: Address) -> bool {
        let at = self.meta.intervals.partition_point(|(_, last)| *last < address);
        self.meta.intervals.get(at).is_some_and(|(first, _)| *first <= address)
    }

    /// Its dead addresses, as a first transaction lists them; none if all is live.
    pub(super) fn dead(&self) -> Option<Dead> {
        let addresses: Vec<_> = self.dead.iter().map(Address).collect();
        let dead = Dead { file: self.meta.id, bytes: self.dead_bytes, addresses };
        (!dead.addresses.is_empty()).then_some(dead)
    }

    fn name(&self) -> impl Display {
        FileKind::Blob.name(self.meta.id)
    }

    /// Errors: those of invariants 2 and 4. It may then have changed.
    fn kill(&mut self, dead: &Dead, tick: u64) -> Result<()> {
        if dead.addresses.is_empty() {
            return Err(refused("dead", self.name(), "an address", "none"));
        }
        for &address in &dead.addresses {
            if !self.covers(address) {
                return Err(refused("dead", self.name(), "an address in its intervals", address));
            }
            if !self.dead.insert(address.0) {
                let found = format!("{address}, which is dead");
                return Err(refused("dead", self.name(), "a live address", found));
            }
            self.dead_values = self.dead_values.saturating_add(1);
        }
        let bytes = self.dead_bytes.checked_add(dead.bytes);
        let left = bytes.and_then(|bytes| self.meta.stored_bytes.checked_sub(bytes));
        let values = self.meta.values.checked_sub(self.dead_values);
        match (values, left) {
            // Whatever is left has at least a byte a value, and none without values.
            (Some(values), Some(left)) if values <= left && (values == 0) == (left == 0) => {}
            _ => {
                let BlobMeta { values, stored_bytes, .. } = self.meta;
                let want = format!("figures within {values} values, {stored_bytes} bytes");
                let (before, more) = (self.dead_bytes, dead.bytes);
                let found = format!("{} values, {before} + {more} bytes", self.dead_values);
                return Err(refused("dead", self.name(), want, found));
            }
        }
        self.dead_bytes = bytes.unwrap_or(u64::MAX);
        if self.up1 != tick {
            (self.up2, self.up1) = (self.up1, tick);
        }
        Ok(())
    }
}

impl Blobs {
    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LiveBlob>> {
        self.files.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The one of this number.
    pub fn get(&self, id: FileId) -> Option<&Arc<LiveBlob>> {
        let at = self.position(id).ok()?;
        self.files.get(at)
    }

    /// The one that answers for `address`, whether it is dead there or not.
    pub fn of(&self, address: Address) -> Option<&Arc<LiveBlob>> {
        self.get(self.file_of(address)?)
    }

    fn position(&self, id: FileId) -> Result<usize, usize> {
        self.files.binary_search_by_key(&id, |blob| blob.meta.id)
    }

    fn file_of(&self, address: Address) -> Option<FileId> {
        let at = self.spans.partition_point(|span| span.last < address);
        self.spans.get(at).filter(|span| span.first <= address).map(|span| span.file)
    }

    /// See [`State::resolve_dead`](super::State::resolve_dead).
    pub(super) fn resolve(&self, killed: &[(Address, u32)]) -> Result<Vec<Dead>> {
        let mut files: BTreeMap<FileId, Vec<(Address, u32)>> = BTreeMap::new();
        for &(address, stored) in killed {
            let Some(file) = self.file_of(address) else {
                let message = format!("dead value {address}: want a live blob file, found none");
                return Err(Error::new(ErrorKind::Corruption, message));
            };
            files.entry(file).or_default().push((address, stored));
        }
        Ok(files.into_iter().filter_map(|(file, killed)| Dead::of(file, killed)).collect())
    }

    /// Makes the changes of `edit` to blob files, at `tick`. Cost: what changes; all intervals if
    /// files come or go.
    ///
    /// Errors: `Corruption` if it breaks an invariant; `self` may then have changed.
    pub(super) fn apply(&mut self, edit: &Edit, next_file: FileId, tick: u64) -> Result<()> {
        let Edit { add_blobs, remove_blobs, dead, balance, .. } = edit;
        let reason = balance.map(|balance| balance.reason);
        let (old, new): (Vec<_>, Vec<_>) =
            dead.iter().partition(|dead| self.get(dead.file).is_some());
        old.into_iter().try_for_each(|dead| self.kill(dead, tick))?;
        let removed = self.take_out(remove_blobs)?;
        let cleaned = reason == Some(Reason::Clean);
        if !cleaned && let Some(odd) = removed.iter().find(|blob| blob.live_values() > 0) {
            let found = format!("{} live values", odd.live_values());
            return Err(refused("remove-blob", odd.name(), "none, or a cleaning", found));
        }
        let bears = matches!(reason, Some(Reason::Flush | Reason::Ingest | Reason::Repair));
        if !cleaned && !bears && !add_blobs.is_empty() {
            let want = "a balance of a flush, an ingest, a repair or a cleaning";
            return Err(refused("add-blob", "edit", want, "none"));
        }
        let birth = if cleaned { mean_up2(&removed).unwrap_or(tick) } else { tick };
        for meta in add_blobs {
            check_blob(meta, next_file)?;
            if removed.iter().any(|blob| blob.meta.id == meta.id) {
                let name = FileKind::Blob.name(meta.id);
                return Err(refused("add-blob", name, "a new file", "one that it removes"));
            }
            self.put_in(LiveBlob::new(meta.clone(), birth))?;
        }
        new.into_iter().try_for_each(|dead| self.kill(dead, tick))?;
        if cleaned {
            self.check_cleaning(&removed, add_blobs)?;
        }
        if !add_blobs.is_empty() || !remove_blobs.is_empty() {
            self.index()?;
        }
        Ok(())
    }

    /// Takes in what the first transaction of a manifest says.
    pub(super) fn restore(edit: &Edit, ticks: &[Ticks], next_file: FileId) -> Result<Self> {
        let mut blobs = Self::default();
        for meta in &edit.add_blobs {
            check_blob(meta, next_file)?;
            blobs.put_in(LiveBlob::new(meta.clone(), 0))?;
        }
        edit.dead.iter().try_for_each(|dead| blobs.kill(dead, 0))?;
        let mut of: BTreeMap<_, _> = ticks.iter().map(|ticks| (ticks.file, ticks)).collect();
        for blob in &mut blobs.files {
            let Some(ticks) = of.remove(&blob.meta.id) else {
                return Err(refused("ticks", blob.name(), "one line", "none"));
            };
            let blob = Arc::make_mut(blob);
            (blob.up1, blob.up2) = (ticks.up1, ticks.up2);
        }
        if ticks.len() != blobs.len() {
            return Err(refused("ticks", "live blob files", blobs.len(), ticks.len()));
        }
        blobs.index()?;
        Ok(blobs)
    }

    fn kill(&mut self, dead: &Dead, tick: u64) -> Result<()> {
        let blob = self.position(dead.file).ok().and_then(|at| self.files.get_mut(at));
        match blob {
            Some(blob) => Arc::make_mut(blob).kill(dead, tick),
            None => {
                Err(refused("dead", FileKind::Blob.name(dead.file), "a live file", "no such one"))
            }
        }
    }

    fn take_out(&mut self, remove: &[FileId]) -> Result<Vec<Arc<LiveBlob>>> {
        let take = |id: &FileId| match self.position(*id) {
            Ok(at) => Ok(self.files.remove(at)),
            Err(_) => {
                Err(refused("remove-blob", FileKind::Blob.name(*id), "a live file", "no such one"))
            }
        };
        remove.iter().map(take).collect()
    }

    fn put_in(&mut self, blob: LiveBlob) -> Result<()> {
        match self.position(blob.meta.id) {
            Ok(_) => Err(refused("add-blob", blob.name(), "a new file", "a live one")),
            Err(at) => {
                self.files.insert(at, Arc::new(blob));
                Ok(())
            }
        }
    }

    /// Invariant 4: what was live lies in what came.
    fn check_cleaning(&self, removed: &[Arc<LiveBlob>], add: &[BlobMeta]) -> Result<()> {
        let added: Vec<_> = add.iter().filter_map(|meta| self.get(meta.id)).collect();
        let figures = |blobs: &mut dyn Iterator<Item = &Arc<LiveBlob>>| {
            blobs.fold((0_u64, 0_u64), |(values, bytes), blob| {
                let live = (blob.live_values(), blob.live_bytes());
                (values.saturating_add(live.0), bytes.saturating_add(live.1))
            })
        };
        let (before, after) = (figures(&mut removed.iter()), figures(&mut added.iter().copied()));
        if before != after {
            let show = |(values, bytes)| format!("{values} live values of {bytes} bytes");
            return Err(refused("cleaning", "what it adds", show(before), show(after)));
        }
        for blob in removed.iter().filter(|blob| blob.live_values() > 0) {
            let touched = |(first, last): &(Address, Address)| {
                added
                    .iter()
                    .flat_map(|blob| &blob.meta.intervals)
                    .any(|(a, b)| a <= last && first <= b)
            };
            if !blob.meta.intervals.iter().any(touched) {
                let want = "its live intervals taken over";
                return Err(refused("cleaning", blob.name(), want, "none of them"));
            }
        }
        Ok(())
    }

    /// Builds `spans`. Errors: `Corruption` if two files answer for an address.
    fn index(&mut self) -> Result<()> {
        let mut spans: Vec<_> = Vec::new();
        for blob in &self.files {
            let file = blob.meta.id;
            spans.extend(blob.meta.intervals.iter().map(|&(first, last)| Span {
                first,
                last,
                file,
            }));
        }
        spans.sort_unstable_by_key(|span| span.first);
        for (left, right) in spans.iter().zip(spans.iter().skip(1)) {
            if left.last >= right.first {
                let [a, b] = [left, right].map(|span| FileKind::Blob.name(span.file));
                let found = format!("{} in both", right.first);
                return Err(refused("intervals", format!("{a} and {b}"), "disjoint", found));
            }
        }
        self.spans = Arc::new(spans);
        Ok(())
    }
}

/// The sums of blob files that an edit removes from `blobs`.
pub(super) fn sum_removed(blobs: &Blobs, remove: &[FileId]) -> Setsum {
    let removed = remove.iter().filter_map(|id| blobs.get(*id));
    removed.fold(Setsum::ZERO, |sum, blob| sum + blob.meta.setsum)
}

/// What a file that is made from `sources` starts with; none if nothing in them is live.
fn mean_up2(sources: &[Arc<LiveBlob>]) -> Option<u64> {
    let (mut sum, mut weight) = (0_u128, 0_u128);
    for blob in sources {
        let live = u128::from(blob.live_bytes());
        sum = sum.saturating_add(live.saturating_mul(blob.up2.into()));
        weight = weight.saturating_add(live);
    }
    u64::try_from(sum.checked_div(weight)?).ok()
}

/// What a file says of itself.
fn check_blob(meta: &BlobMeta, next_file: FileId) -> Result<()> {
    let refuse =
        |what, want: &str| Err(refused(what, FileKind::Blob.name(meta.id), want, "another"));
    if meta.id >= next_file {
        return refuse("number", "one below next-file");
    }
    if meta.values == 0 || meta.values > meta.stored_bytes || meta.stored_bytes > meta.bytes {
        return refuse(
            "figures",
            "values, each of a byte or more, and no more bytes than the file",
        );
    }
    let ordered = meta.intervals.iter().all(|(first, last)| first <= last);
    let mut pairs = meta.intervals.iter().zip(meta.intervals.iter().skip(1));
    if meta.intervals.is_empty() || !ordered || !pairs.all(|(left, right)| left.1 < right.0) {
        return refuse("intervals", "some, ascending and disjoint");
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
