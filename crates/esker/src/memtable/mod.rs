//! The newest writes, in memory: a slab of records, a hash index, and an order made when needed.
//!
//! ```text
//! reserve → fill → visible        slab     records, in the order of their sequence numbers
//!                    │            chains   hash → newest record: get
//!                    ▼            order    sorted runs, made for cursors only: scan, flush
//!             get · cursor
//! ```
//!
//! 1. Places are reserved in the order of sequence numbers, under the lock that draws them, so that
//!    addresses rise with numbers (whoever sorts asserts it); they are filled in parallel, without a
//!    lock (BLOB-1). What to rotate, and when, is the caller's.
//! 2. A record is written once and never moved or changed, so what was read stays pinned in place.
//! 3. Neither a put nor a get ever sorts (MOSS-10).
//! 4. Found, deleted and absent are three answers (MOSS-3): a tombstone is [`Found`].
//! 5. A range delete is one record at its start, and is found through what it covers: no get and no
//!    put pays for those that are not there.
//! 6. A batch that does not fit an ordinary memtable gets one of its own size (BLOB-9): there is no
//!    value that a generation cannot take.
//!
//! 7. A large value lies in the log alone: its record holds a ref, and the memtable keeps the file.
//!
//! Limits: 32 GiB. A snapshot that is older than many versions of one key walks past all of those
//! in a get; a cursor finds it by binary search.

mod chains;
mod cursor;
mod order;
mod slab;
mod spans;

#[cfg(test)]
mod tests;

pub use cursor::MemCursor;
pub use slab::Slot;

use crate::base::batch::Ops;
use crate::base::error::Result;
use crate::base::id::{CollectionId, FileId, SeqNo};
use crate::base::key::{Entry, Kind, Lookup};
use crate::base::span::{Skyline, Span};
use crate::base::value::Value;
use crate::env::File;
use chains::Chains;
use order::Order;
use parking_lot::RwLock;
use slab::Slab;
use spans::RangeDeletes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The newest version of a key, as [`Memtable::get`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its place in the order of all operations.
    pub seq: SeqNo,
    /// A put, a delete or a merge operand; never a range delete.
    pub kind: Kind,
    /// Value or operand, where it lies in the slab.
    pub value: &'a [u8],
}

/// Figures of one memtable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemStats {
    /// Records written.
    pub records: usize,
    /// Bytes reserved for them, holes included.
    pub used_bytes: usize,
    /// Bytes of the hash table.
    pub index_bytes: usize,
    /// Bytes of the sorted runs.
    pub order_bytes: usize,
    /// How often the order was brought up to date.
    pub sorts: u64,
    /// Items that sorting and merging runs moved.
    pub items_moved: u64,
}

/// One generation of writes.
///
/// Made for an `Arc`: cursors and values keep its bytes alive, and stall nobody.
pub struct Memtable {
    slab: Arc<Slab>,
    chains: Chains,
    order: Order,
    range_deletes: RangeDeletes,
    records: AtomicUsize,
    /// The logs that carry its large values.
    logs: RwLock<Vec<(FileId, Arc<dyn File>)>>,
}

impl Memtable {
    /// An empty memtable with room for `bytes` of records, and a hash table of 3 % to 6 % of that.
    ///
    /// The system hands the memory out as it is touched.
    ///
    /// Errors: `InvalidArgument` over 32 GiB; `Io` if the system refuses the memory.
    pub fn with_capacity(bytes: usize) -> Result<Self> {
        let slab = Slab::new(bytes)?;
        Ok(Self {
            chains: Chains::new(&slab)?,
            slab: Arc::new(slab),
            order: Order::new(),
            range_deletes: RangeDeletes::new(),
            records: AtomicUsize::new(0),
            logs: RwLock::default(),
        })
    }

    /// Makes the system hand out all memory now, so that no writer waits for a page: for whoever
    /// prepares a generation ahead of its time. Cost: a page fault for each 4 KiB. Does nothing once
    /// slots or cursors are out.
    pub fn touch(&mut self) {
        if let Some(slab) = Arc::get_mut(&mut self.slab) {
            slab.touch();
            self.chains.touch();
        }
    }

    /// Bytes that the record of an operation takes at most: a multiple of 8. `key_len` is that of
    /// the user key. Four too many, but for a range delete; [`Memtable::need`] is exact.
    #[inline]
    pub const fn footprint(key_len: usize, value_len: usize) -> usize {
        slab::record_bytes(CollectionId::BYTES + key_len, CollectionId::BYTES + value_len)
    }

    /// Bytes that the records of `ops` take: a multiple of 8.
    #[inline]
    pub fn need(ops: &impl Ops) -> usize {
        ops.iter().map(|op| slab::need(&op)).sum()
    }

    /// Claims room for consecutive records; none if it is not there, and then another memtable is
    /// needed. Call it under the lock that draws sequence numbers.
    #[inline]
    pub fn reserve(&self, bytes: usize) -> Option<Slot> {
        self.slab.reserve(bytes)
    }

    /// Writes the records of `ops`, numbered from `first` on, and lets readers find them. Nobody
    /// should look for them before the caller says that those numbers are visible.
    ///
    /// Panics if `slot` is of another memtable or too small for `ops`; the records in front of the
    /// one that did not fit stay.
    pub fn fill(&self, mut slot: Slot, ops: &impl Ops, first: SeqNo) {
        assert!(slot.is_of(&self.slab), "a slot of another memtable");
        let mut seq = first;
        for op in ops.iter() {
            let (at, hash) = slot.push(&op, seq);
            // A get asks for points; what covers them with ranges is `cover`.
            if op.kind == Kind::RangeDelete {
                self.range_deletes.push(at, seq);
            } else {
                self.chains.link(&self.slab, hash, at);
            }
            seq = seq.next();
        }
        let count = usize::try_from(seq.0 - first.0).unwrap_or(usize::MAX);
        self.records.fetch_add(count, Ordering::Relaxed);
    }

    /// Says that large values of its are in `file`, which is log `log`: once each, before the first
    /// of them comes.
    pub fn add_log(&self, log: FileId, file: &Arc<dyn File>) {
        if self.log(log).is_none() {
            self.logs.write().push((log, file.clone()));
        }
    }

    /// The file of log `log`, if large values of its are there.
    pub fn log(&self, log: FileId) -> Option<Arc<dyn File>> {
        let logs = self.logs.read();
        logs.iter().find(|(id, _)| *id == log).map(|(_, file)| file.clone())
    }

    /// How many logs carry its large values.
    pub fn log_count(&self) -> usize {
        self.logs.read().len()
    }

    #[inline]
    fn find(&self, key: &Lookup, up_to: SeqNo) -> Option<Entry<'_>> {
        self.chains.find(&self.slab, key, up_to).map(|at| self.slab.entry(at))
    }

    /// The newest version of a key with a number at or below `up_to`; none if no operation on this
    /// key is here. Range deletes are not looked at.
    #[inline]
    pub fn get(&self, key: &Lookup, up_to: SeqNo) -> Option<Found<'_>> {
        let Entry { seq, kind, value, .. } = self.find(key, up_to)?;
        Some(Found { seq, kind, value })
    }

    /// As [`Memtable::get`], with a value that outlives the memtable: no copy.
    #[inline]
    pub fn get_value(&self, key: &Lookup, up_to: SeqNo) -> Option<(SeqNo, Kind, Value)> {
        let at = self.chains.find(&self.slab, key, up_to)?;
        let Entry { seq, kind, .. } = self.slab.entry(at);
        Some((seq, kind, self.slab.pin(at)))
    }

    /// Shows the versions of a key with numbers at or below `up_to` to `is_last`, newest first, until
    /// it says that one is the last it wants: whether it did. Range deletes are not shown.
    ///
    /// Cost: a step for each record of the key's hash chain, however many versions there are.
    pub fn versions(
        &self,
        key: &Lookup,
        up_to: SeqNo,
        mut is_last: impl FnMut(SeqNo, Kind, Value) -> bool,
    ) -> bool {
        let shown = |at| {
            let Entry { seq, kind, .. } = self.slab.entry(at);
            is_last(seq, kind, self.slab.pin(at))
        };
        self.chains.find_if(&self.slab, key, up_to, shown).is_some()
    }

    /// A cursor over every entry, range deletes included, with a number at or below `up_to`.
    ///
    /// Cost: sorts what was written since the last time, or waits for who does; some 30 ms for a
    /// full memtable of 64 MiB that was never sorted.
    pub fn cursor(&self, up_to: SeqNo) -> MemCursor {
        MemCursor::new(self.slab.clone(), self.order.runs(&*self.slab, up_to), up_to)
    }

    /// Brings the order up to date for whoever needs it later, unless another is doing so: for an
    /// idle worker, or a writer that must wait anyway (MOSS-11).
    pub fn sort_ahead(&self, up_to: SeqNo) {
        self.order.sort_ahead(&*self.slab, up_to);
    }

    /// Every record in the order of sequence numbers, up to the first that is not yet written.
    /// Independent of the hash index and the order: what a flush must balance against.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.slab.walk(0).map(|at| self.slab.entry(at))
    }

    /// Whether a range delete is here.
    pub fn has_range_deletes(&self) -> bool {
        self.newest_range_delete() > SeqNo::ZERO
    }

    /// The highest number of a range delete; zero without any. Cost: one load.
    #[inline]
    pub fn newest_range_delete(&self) -> SeqNo {
        self.range_deletes.newest()
    }

    /// The highest number up to `up_to` of a range delete that covers `key`, a full key; zero if
    /// none does.
    ///
    /// Cost: nothing without range deletes; else some binary searches, and at times the making of
    /// what is searched. A reader older than range deletes that were made since looks at each.
    pub fn cover(&self, key: &[u8], up_to: SeqNo) -> SeqNo {
        if !self.has_range_deletes() {
            return SeqNo::ZERO;
        }
        self.range_deletes.cover(key, up_to, |at| Span::of(&self.slab.entry(at)))
    }

    /// What the range deletes with a number at or below `up_to` cover, for a scan. Cost as of
    /// [`Memtable::cover`].
    pub fn skylines(&self, up_to: SeqNo) -> Vec<Arc<Skyline>> {
        if !self.has_range_deletes() {
            return Vec::new();
        }
        self.range_deletes.skylines(up_to, |at| Span::of(&self.slab.entry(at)))
    }

    /// The range deletes with a number at or below `up_to`, in the order of arrival.
    pub fn range_deletes(&self, up_to: SeqNo) -> Vec<Entry<'_>> {
        let entries = self.range_deletes.all().into_iter().map(|at| self.slab.entry(at));
        entries.filter(|entry| entry.seq <= up_to).collect()
    }

    /// What its range deletes cover: for a flush, which drops it.
    pub fn spans(&self) -> Arc<[Span]> {
        if !self.has_range_deletes() {
            return Arc::new([]);
        }
        self.range_deletes(SeqNo::MAX).iter().filter_map(Span::of).collect()
    }

    /// Bytes reserved so far.
    pub fn used_bytes(&self) -> usize {
        self.slab.used()
    }

    /// Bytes that can be reserved in all.
    pub fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    /// Whether nothing was ever reserved.
    pub fn is_empty(&self) -> bool {
        self.used_bytes() == 0
    }

    /// Its figures now.
    pub fn stats(&self) -> MemStats {
        let counts = self.order.counts();
        MemStats {
            records: self.records.load(Ordering::Relaxed),
            used_bytes: self.used_bytes(),
            index_bytes: self.chains.byte_count(),
            order_bytes: counts.byte_count,
            sorts: counts.sorts,
            items_moved: counts.items_moved,
        }
    }
}

impl fmt::Debug for Memtable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memtable").field(&self.stats()).finish()
    }
}
