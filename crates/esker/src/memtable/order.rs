//! Deferred order: the sorted index is brought up to date only when somebody needs it.
//!
//! ```text
//! item    first 12 bytes of the full key, big-endian, zeros behind a shorter one | address
//! run     items, sorted by full key, then newest first; never changed again
//! order   runs, oldest first, each more than four times as long as the next
//! ```
//!
//! 1. The lock is ticket and latch in one (MOSS-10): who takes it sorts what was appended since the
//!    last time and publishes the runs; the others wait on it. A sorter that panics publishes
//!    nothing and lets go of the lock, so the next one sorts instead.
//! 2. Nothing is sorted for puts and gets, nor twice for readers of what is sorted already.
//! 3. A new run is merged into its neighbour while that is at most four times as long, so there are
//!    at most [`RUNS_MAX`] runs and a record is moved O(log n) times. Readers keep the runs they have.
//! 4. What is sorted is a prefix of the slab: every record in front of the first unfinished one.
//!    Numbers rise along the slab, so whoever wants no newer ones than were sorted need not look.
//!
//! After moss's deferred sort; sorting eight bytes of key at a time after multikey quicksort.

use super::slab::{At, Slab};
use crate::base::id::SeqNo;
use parking_lot::Mutex;
use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A run is merged into one that is at most this many times as long.
const RATIO: usize = 4;
/// More runs than this would need more records than addresses.
pub(super) const RUNS_MAX: usize = 17;
/// Bytes of the full key in an item.
const PREFIX_BYTES: usize = 12;
/// Up to this many items of equal prefix are sorted by their keys in the slab.
const FEW: usize = 12;
/// Beyond this many bytes that all keys of a group share, they are compared as a whole.
const SHARED_BYTES_MAX: usize = 1 << 10;

/// Where keys are found, and what was appended. The slab, or a model of it.
pub(super) trait Source {
    fn key(&self, at: At) -> &[u8];
    fn seq(&self, at: At) -> SeqNo;
    /// Gives every finished record from `unit` on to `take`; returns where to go on next time.
    fn appended(&self, unit: u32, take: &mut dyn FnMut(At)) -> u32;
}

impl Source for Slab {
    #[inline]
    fn key(&self, at: At) -> &[u8] {
        Slab::key(self, at)
    }

    #[inline]
    fn seq(&self, at: At) -> SeqNo {
        Slab::seq(self, at)
    }

    fn appended(&self, unit: u32, take: &mut dyn FnMut(At)) -> u32 {
        let mut walk = self.walk(unit);
        walk.by_ref().for_each(take);
        walk.unit
    }
}

/// One record of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// Bytes 4 to 12 of the full key.
    word: u64,
    /// Bytes 0 to 4 of it: the collection.
    id: u32,
    pub(super) at: At,
}

/// Eight bytes of `bytes` from `start` on as a number that sorts as they do.
#[inline]
fn word_at(bytes: &[u8], start: usize) -> u64 {
    let rest = bytes.get(start..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_be_bytes(*word);
    }
    let mut padded = [0; 8];
    padded[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(padded)
}

/// The first twelve bytes of a key as a number that sorts as they do.
#[inline]
pub(super) fn rank_of(full: &[u8]) -> u128 {
    if let Some(id) = full.first_chunk() {
        return u128::from(u32::from_be_bytes(*id)) << 64 | u128::from(word_at(full, 4));
    }
    u128::from(word_at(full, 0)) << 32
}

impl Item {
    fn new(at: At, full: &[u8]) -> Self {
        let rank = rank_of(full);
        Self { word: rank as u64, id: (rank >> 64) as u32, at }
    }

    #[inline]
    pub(super) fn rank(&self) -> u128 {
        u128::from(self.id) << 64 | u128::from(self.word)
    }

    /// By full key, then newest first.
    #[inline]
    pub(super) fn compare(&self, other: &Self, source: &impl Source) -> Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.compare_whole(other, source))
    }

    #[cold]
    fn compare_whole(&self, other: &Self, source: &impl Source) -> Ordering {
        let keys = source.key(self.at).cmp(source.key(other.at));
        keys.then_with(|| source.seq(other.at).cmp(&source.seq(self.at)))
    }
}

/// Sorts items whose prefixes are those of `depth - 8` to `depth` bytes of their keys.
fn sort(items: &mut [Item], source: &impl Source, depth: usize) {
    items.sort_unstable_by_key(Item::rank);
    for group in items.chunk_by_mut(|a, b| a.rank() == b.rank()) {
        if group.len() > 1 {
            refine(group, source, depth);
        }
    }
}

/// Sorts items whose keys agree in the first `depth` bytes, zeros behind shorter ones included.
fn refine(group: &mut [Item], source: &impl Source, depth: usize) {
    if group.len() <= FEW || depth > SHARED_BYTES_MAX {
        group.sort_unstable_by(|a, b| a.compare_whole(b, source));
        return;
    }
    let Some(&Item { word, id, .. }) = group.first() else { return };
    for item in group.iter_mut() {
        let key = source.key(item.at);
        // Keys that end within these bytes differ in length alone, and are below all others. At
        // each depth at most twelve lengths are left; with the number, turned, they are unique.
        (item.id, item.word) = if key.len() > depth {
            (1, word_at(key, depth))
        } else {
            let tail = key.len() + PREFIX_BYTES - depth;
            (0, (tail as u64) << 56 | (SeqNo::MAX.0 - source.seq(item.at).0))
        };
    }
    sort(group, source, depth + 8);
    for item in group {
        (item.word, item.id) = (word, id);
    }
}

/// Sorted items that never change.
pub(super) struct Sequence {
    items: Vec<Item>,
    /// The highest number of them.
    pub(super) newest: SeqNo,
}

impl Deref for Sequence {
    type Target = [Item];

    #[inline]
    fn deref(&self) -> &[Item] {
        &self.items
    }
}

/// One run, shared by the readers who have it.
pub(super) type Run = Arc<Sequence>;
/// The runs of an order, oldest first.
pub(super) type Runs = Arc<[Run]>;

fn merge(older: &[Item], newer: &[Item], source: &impl Source) -> Vec<Item> {
    let mut merged = Vec::with_capacity(older.len() + newer.len());
    let (mut left, mut right) = (older, newer);
    while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right) {
        if a.compare(b, source).is_lt() {
            merged.push(*a);
            left = left_rest;
        } else {
            merged.push(*b);
            right = right_rest;
        }
    }
    merged.extend_from_slice(left);
    merged.extend_from_slice(right);
    merged
}

/// What the lock guards.
pub(super) struct Sorted {
    /// Where to go on sorting.
    unit: u32,
    /// The newest number that is sorted.
    newest: SeqNo,
    runs: Runs,
}

/// A lock around `T` that a panic of its holder opens.
pub(super) trait Latch<T> {
    fn new(value: T) -> Self;
    /// Waits for the lock.
    fn hold<R>(&self, work: impl FnOnce(&mut T) -> R) -> R;
    /// Does nothing if somebody has the lock.
    fn try_hold<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R>;
}

impl<T> Latch<T> for Mutex<T> {
    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn hold<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut self.lock())
    }

    fn try_hold<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.try_lock().map(|mut value| work(&mut value))
    }
}

/// The ordered index of one slab.
pub(super) struct Order<L = Mutex<Sorted>> {
    sorted: L,
    sorts: AtomicU64,
    items_moved: AtomicU64,
    byte_count: AtomicUsize,
}

/// Figures of an order.
pub(super) struct Counts {
    /// How often something was sorted.
    pub(super) sorts: u64,
    /// Items that sorting and merging moved.
    pub(super) items_moved: u64,
    /// Bytes of the runs.
    pub(super) byte_count: usize,
}

impl<L: Latch<Sorted>> Order<L> {
    pub(super) fn new() -> Self {
        let sorted = L::new(Sorted { unit: 0, newest: SeqNo::ZERO, runs: Arc::new([]) });
        let (sorts, items_moved) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { sorted, sorts, items_moved, byte_count: AtomicUsize::new(0) }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            sorts: self.sorts.load(Relaxed),
            items_moved: self.items_moved.load(Relaxed),
            byte_count: self.byte_count.load(Relaxed),
        }
    }

    /// The runs, with every finished record up to `up_to` in them, and perhaps newer ones.
    ///
    /// Cost: nothing if they are; else it sorts, or waits for who does.
    pub(super) fn runs(&self, source: &impl Source, up_to: SeqNo) -> Runs {
        self.sorted.hold(|sorted| {
            self.advance(sorted, source, up_to);
            sorted.runs.clone()
        })
    }

    /// Sorts, unless another is at it already.
    pub(super) fn sort_ahead(&self, source: &impl Source, up_to: SeqNo) {
        self.sorted.try_hold(|sorted| self.advance(sorted, source, up_to));
    }

    fn advance(&self, sorted: &mut Sorted, source: &impl Source, up_to: SeqNo) {
        if sorted.newest >= up_to {
            return;
        }
        let (mut items, mut newest) = (Vec::new(), sorted.newest);
        let unit = source.appended(sorted.unit, &mut |at| {
            let seq = source.seq(at);
            assert!(newest < seq, "{seq} was reserved behind {newest}");
            newest = seq;
            items.push(Item::new(at, source.key(at)));
        });
        if items.is_empty() {
            sorted.unit = unit;
            return;
        }
        sort(&mut items, source, PREFIX_BYTES);
        let (fresh, mut moved) = (items.len(), items.len());
        let mut runs = sorted.runs.to_vec();
        while let Some(older) = runs.pop_if(|older| older.len() <= items.len() * RATIO) {
            items = merge(&older, &items, source);
            moved += items.len();
        }
        runs.push(Arc::new(Sequence { items, newest }));
        assert!(runs.len() <= RUNS_MAX, "more runs than their lengths allow");
        *sorted = Sorted { unit, newest, runs: runs.into() };
        self.sorts.fetch_add(1, Relaxed);
        self.items_moved.fetch_add(moved as u64, Relaxed);
        self.byte_count.fetch_add(fresh * size_of::<Item>(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shuttle::sync::atomic::{AtomicBool, AtomicU32};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    struct Explored<T>(shuttle::sync::Mutex<T>);

    impl<T> Latch<T> for Explored<T> {
        fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }
        fn hold<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
            work(&mut self.0.lock().unwrap_or_else(|poison| poison.into_inner()))
        }
        fn try_hold<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
            use shuttle::sync::TryLockError;
            match self.0.try_lock() {
                Ok(mut value) => Some(work(&mut value)),
                Err(TryLockError::Poisoned(poison)) => Some(work(&mut poison.into_inner())),
                Err(TryLockError::WouldBlock) => None,
            }
        }
    }

    /// Record `n` has number `n` and one of five keys.
    struct Model {
        finished: AtomicU32,
        will_panic: AtomicBool,
    }

    const KEYS: [&[u8]; 5] = [b"\0\0\0\x01c", b"\0\0\0\x01a", b"\0\0\0\x02", b"", b"\0\0\0\x01b"];

    impl Source for Model {
        fn key(&self, at: At) -> &[u8] {
            KEYS[at.units() as usize % KEYS.len()]
        }
        fn seq(&self, at: At) -> SeqNo {
            SeqNo(u64::from(at.units()))
        }
        fn appended(&self, unit: u32, take: &mut dyn FnMut(At)) -> u32 {
            let finished = self.finished.load(std::sync::atomic::Ordering::Acquire);
            (unit + 1..=finished).filter_map(At::from_link).for_each(take);
            // A panic amid the sort, as if a comparison had failed.
            if self.will_panic.swap(false, std::sync::atomic::Ordering::AcqRel) {
                resume_unwind(Box::new("sorter"));
            }
            finished
        }
    }

    type ExploredOrder = Order<Explored<Sorted>>;

    fn world(finished: u32, will_panic: bool) -> Arc<(Model, ExploredOrder)> {
        let finished = AtomicU32::new(finished);
        Arc::new((Model { finished, will_panic: AtomicBool::new(will_panic) }, Order::new()))
    }

    /// All numbers in the runs, each of which must be sorted.
    fn numbers(source: &Model, runs: &Runs) -> Vec<u32> {
        for run in runs.iter() {
            assert!(run.is_sorted_by(|a, b| a.compare(b, source).is_lt()));
        }
        let mut all: Vec<_> =
            runs.iter().flat_map(|run| run.iter()).map(|i| i.at.units()).collect();
        all.sort_unstable();
        all
    }

    /// MOSS-10: whoever asks gets all that was finished when it asked, once each.
    #[test]
    fn every_reader_gets_what_was_finished_whoever_sorts() {
        let test = || {
            let world = world(3, false);
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let world = world.clone();
                    shuttle::thread::spawn(move || {
                        let (source, order) = &*world;
                        let finished =
                            source.finished.fetch_add(2, std::sync::atomic::Ordering::AcqRel) + 2;
                        order.sort_ahead(source, SeqNo(u64::from(finished)));
                        let runs = order.runs(source, SeqNo(u64::from(finished)));
                        let all = numbers(source, &runs);
                        assert!(all.len() >= finished as usize);
                        assert!(all.into_iter().eq(1..=runs.iter().map(|r| r.len() as u32).sum()));
                    })
                })
                .collect();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            assert!(world.1.counts().sorts <= 3);
        };
        shuttle::check_random(test, 2000);
    }

    /// MOSS-10: a sorter that panics lets go of the latch, and the next one sorts.
    #[test]
    fn a_sorter_that_panics_releases_those_who_wait() {
        let test = || {
            let world = world(7, true);
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let world = world.clone();
                    shuttle::thread::spawn(move || {
                        let (source, order) = &*world;
                        let ask = AssertUnwindSafe(|| order.runs(source, SeqNo(7)));
                        match catch_unwind(ask) {
                            Ok(runs) => {
                                assert!(numbers(source, &runs).into_iter().eq(1..=7));
                                1
                            }
                            Err(_) => 0,
                        }
                    })
                })
                .collect();
            let served: u32 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
            assert_eq!((served, world.1.counts().sorts), (2, 1));
        };
        shuttle::check_random(test, 2000);
    }

    #[test]
    fn ranks_sort_as_keys_do_as_far_as_they_reach() {
        let keys: [&[u8]; 9] = [
            b"",
            b"\0",
            b"\0\0\0",
            b"\0\0\0\x01",
            b"\0\0\0\x01\0",
            b"\0\0\0\x01a",
            b"\0\0\0\x02",
            b"\0\0\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ];
        assert!(keys.is_sorted());
        assert!(keys.is_sorted_by_key(|key| rank_of(key)));
    }
}
