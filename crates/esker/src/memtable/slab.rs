//! The slab: one allocation into which records are written once, side by side, and never moved.
//!
//! ```text
//! slab      8 zero bytes ‖ slots, back to back, in the order of their reservation
//! slot      records, back to back ‖ at most one hole
//! record    tag: u64 | next: u32 | mark: u32 | value length: u32 | full key | value | to a multiple of 8
//! hole      tag: u64 | bytes that nobody reads
//!
//! tag       record: sequence number << 8 | kind      hole: its length in units << 8 | 0xff
//!           nothing yet: 0
//! mark      fingerprint of the hash << 17 | length of the full key
//! next      address of the next record in the hash chain, or 0
//! ```
//!
//! An address ([`At`]) counts units of 8 bytes from the start of the slab in 32 bits, so a slab
//! holds up to 32 GiB and every batch finds one that takes it (BLOB-9; BLOB-B2 cannot happen).
//!
//! 1. A slot belongs to one [`Slot`] until that is dropped; no two slots share a byte.
//! 2. The tag is stored last, with `Release`. After that no byte of the record changes but `next`,
//!    which is atomic. Before that nobody reads any byte but the tag, which is atomic.
//! 3. A dropped slot is whole: what it did not fill is a hole. So once no slot is open, a walk from
//!    the front meets every record.
//! 4. An address is made here alone, of a record whose tag is stored or about to be, and stays
//!    within the memtable that owns the slab: the unsafe code's border is this room, not this file.
//!
//! After blobcache's slab with bump reservation, without its holes that end a scan.

#![expect(unsafe_code, reason = "bytes are written in parallel through a shared allocation")]

use crate::base::batch::Op;
use crate::base::entry::range_end;
use crate::base::error::{Error, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Entry, KEY_BYTES_MAX, Kind, hash_full_key, pack_tag, unpack_tag};
use crate::base::time::Time;
use crate::base::value::Value;
use crate::env::mapped::Pages;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Records and slots begin and end at multiples of this.
pub(super) const UNIT: usize = 8;
/// The most bytes that 32-bit addresses reach.
const BYTES_MAX: usize = UNIT << 32;

/// No page is smaller.
const PAGE_BYTES: usize = 4096;

const NEXT: usize = 8;
const MARK: usize = NEXT + 4;
const VALUE_LEN: usize = MARK + 4;
const KEY: usize = VALUE_LEN + 4;
const KEY_LEN_BITS: u32 = 17;
const HOLE: u64 = 0xff;

const _: () = assert!(KEY_BYTES_MAX + CollectionId::BYTES < 1 << KEY_LEN_BITS);
const _: () = assert!(KEY + CollectionId::BYTES == 3 * UNIT);

/// Zeroed memory that the system hands out page by page, as it is touched.
struct Zeroed {
    start: NonNull<u8>,
    bytes: usize,
    source: Source,
}

/// Where the memory comes from, and goes back to.
enum Source {
    Heap(Layout),
    /// Large pages where the system has them: a hundredth of the faults, and fewer misses of the
    /// address cache on the way along a chain.
    Pages(#[expect(dead_code, reason = "held for its drop")] Pages),
}

/// From this size on memory comes as pages of its own.
const PAGES_FROM_BYTES: usize = 1 << 20;

// SAFETY: plain memory without an owner among threads; `Slab` and `Heads` say who may touch which
// bytes when.
unsafe impl Send for Zeroed {}
// SAFETY: as above.
unsafe impl Sync for Zeroed {}

impl Zeroed {
    /// Errors: `Io` (out of memory) if the system has not that much, where others abort.
    fn new(bytes: usize) -> Result<Self> {
        let bytes = bytes.max(UNIT);
        let refused =
            |source| Error::io(format_args!("allocate {bytes} bytes for a memtable"), source);
        if bytes >= PAGES_FROM_BYTES {
            let mut pages = Pages::zeroed(bytes).map_err(refused)?;
            return Ok(Self { start: pages.start(), bytes, source: Source::Pages(pages) });
        }
        let none = || refused(io::Error::from(io::ErrorKind::OutOfMemory));
        let layout = Layout::from_size_align(bytes, UNIT).map_err(|_| none())?;
        // SAFETY: `layout` is not empty: `max` above.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(none)?;
        Ok(Self { start, bytes, source: Source::Heap(layout) })
    }

    /// Makes the system hand out every page now. Call it before anything is written.
    fn touch(&mut self) {
        for offset in (0..self.bytes).step_by(PAGE_BYTES) {
            // SAFETY: in bounds; `&mut self` says that nobody else has these bytes, and they are
            // zero still. Not read first: that would map the shared page of zeros, only to copy it.
            unsafe { self.start.add(offset).write_volatile(0) }
        }
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        if let Source::Heap(layout) = self.source {
            // SAFETY: `start` came from `alloc_zeroed` with this very layout, and is freed once.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

/// The heads of hash chains: zeroed words, a power of two of them.
pub(super) struct Heads(Zeroed);

impl Heads {
    pub(super) fn new(count: usize) -> Result<Self> {
        Zeroed::new(count * size_of::<AtomicU32>()).map(Self)
    }

    pub(super) fn touch(&mut self) {
        self.0.touch();
    }

    #[inline]
    pub(super) fn words(&self) -> &[AtomicU32] {
        let count = self.0.bytes / size_of::<AtomicU32>();
        // SAFETY: the allocation is that long, aligned to 8, zeroed (a valid `AtomicU32`), lives as
        // long as `self`, and is never touched in another way.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr().cast(), count) }
    }
}

/// The address of a record, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(NonZeroU32);

impl At {
    /// The address that a chain link holds, if any.
    #[inline]
    pub(super) fn from_link(link: u32) -> Option<Self> {
        NonZeroU32::new(link).map(Self)
    }

    #[inline]
    pub(super) fn units(self) -> u32 {
        self.0.get()
    }

    #[inline]
    fn offset(self) -> usize {
        self.units() as usize * UNIT
    }
}

/// What a record stores beside the length of its key, so that most others are told apart unread.
#[inline]
pub(super) fn mark_of(hash: u64, full_key_len: usize) -> u32 {
    (hash >> 32) as u32 >> KEY_LEN_BITS << KEY_LEN_BITS | full_key_len as u32
}

/// One allocation full of records.
pub(super) struct Slab {
    memory: Zeroed,
    used: AtomicUsize,
}

impl Slab {
    /// A slab that takes `capacity` bytes of slots, rounded up to a unit.
    pub(super) fn new(capacity: usize) -> Result<Self> {
        let bytes = capacity.checked_next_multiple_of(UNIT).and_then(|b| b.checked_add(UNIT));
        match bytes {
            Some(bytes) if bytes <= BYTES_MAX => {
                Ok(Self { memory: Zeroed::new(bytes)?, used: AtomicUsize::new(UNIT) })
            }
            _ => Err(Error::invalid(format!(
                "memtable of {capacity} bytes: want at most {}",
                BYTES_MAX - UNIT
            ))),
        }
    }

    pub(super) fn touch(&mut self) {
        self.memory.touch();
    }

    /// Bytes that slots may take in all.
    pub(super) fn capacity(&self) -> usize {
        self.memory.bytes - UNIT
    }

    /// Bytes that slots have taken.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire) - UNIT
    }

    /// The highest address plus one.
    pub(super) fn units(&self) -> u32 {
        u32::try_from(self.memory.bytes / UNIT).unwrap_or(u32::MAX)
    }

    /// Takes `bytes`, rounded up to a unit, off the free end; none if they do not fit.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Slot> {
        let bytes = bytes.checked_next_multiple_of(UNIT)?;
        let limit = self.memory.bytes;
        let take = |used: usize| used.checked_add(bytes).filter(|&end| end <= limit);
        let start = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        Some(Slot { slab: self.clone(), start, end: start + bytes })
    }

    /// # Safety
    /// `offset + size_of::<T>()` lies in the slab, `offset` is aligned for `T`, and those bytes are
    /// only ever used as this atomic while they are shared.
    #[inline]
    unsafe fn atomic<T>(&self, offset: usize) -> &T {
        // SAFETY: the caller's promise; the memory is initialised (zeroed) and lives with `self`.
        unsafe { self.memory.start.add(offset).cast().as_ref() }
    }

    #[inline]
    fn tag_word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(UNIT) && offset + UNIT <= self.memory.bytes);
        // SAFETY: in bounds and aligned by the assertion. Callers pass the start of a record, hole
        // or slot, or of bytes that no slot has; the word there is used in no other way (law 2).
        unsafe { self.atomic(offset) }
    }

    /// The link to the next record of the chain.
    #[inline]
    pub(super) fn next(&self, at: At) -> &AtomicU32 {
        // SAFETY: an address is that of a record (law 4), whose `next` is in bounds, aligned to 4
        // and only used as an atomic (law 2).
        unsafe { self.atomic(at.offset() + NEXT) }
    }

    /// # Safety
    /// The record's tag must have been seen, or its slot be the caller's.
    #[inline]
    unsafe fn word(&self, at: At, field: usize) -> u32 {
        // SAFETY: `at` is a record (law 4), `field` one of its header's words, aligned to 4, final
        // once the tag is stored (law 2).
        unsafe { self.memory.start.add(at.offset() + field).cast().read() }
    }

    #[inline]
    fn tag(&self, at: At) -> (SeqNo, Kind) {
        // SAFETY: an address is that of a record (law 4), so its tag is in bounds, aligned, atomic.
        let tag = unsafe { self.atomic::<AtomicU64>(at.offset()) }.load(Ordering::Acquire);
        let Some(parts) = unpack_tag(tag) else { unreachable!("an address of no record") };
        parts
    }

    /// The record's sequence number.
    #[inline]
    pub(super) fn seq(&self, at: At) -> SeqNo {
        self.tag(at).0
    }

    /// The record's full key.
    #[inline]
    pub(super) fn key(&self, at: At) -> &[u8] {
        self.tag(at);
        // SAFETY: the tag was seen, so the header and `len` bytes of key are final (law 2).
        unsafe {
            let len = self.word(at, MARK) as usize & ((1 << KEY_LEN_BITS) - 1);
            std::slice::from_raw_parts(self.memory.start.add(at.offset() + KEY).as_ptr(), len)
        }
    }

    /// Whether the record has this key; `mark` is [`mark_of`] it.
    #[inline]
    pub(super) fn is_key(&self, at: At, mark: u32, full: &[u8]) -> bool {
        self.tag(at);
        // SAFETY: the tag was seen.
        let found = unsafe { self.word(at, MARK) };
        found == mark && self.key(at) == full
    }

    /// The whole record.
    #[inline]
    pub(super) fn entry(&self, at: At) -> Entry<'_> {
        let (seq, kind) = self.tag(at);
        let key = self.key(at);
        // SAFETY: the tag was seen, so the header and the value behind the key are final (law 2).
        let value = unsafe {
            let len = self.word(at, VALUE_LEN) as usize;
            let start = self.memory.start.add(at.offset() + KEY + key.len());
            std::slice::from_raw_parts(start.as_ptr(), len)
        };
        Entry { key, seq, kind, value }
    }

    /// The record's value, which keeps the slab alive: no copy.
    #[inline]
    pub(super) fn pin(self: &Arc<Self>, at: At) -> Value {
        let value = self.entry(at).value;
        // SAFETY: the bytes lie in the slab, which the owner is, and are final (law 2).
        unsafe { Value::pinned(self.clone(), value) }
    }

    /// Tells the processor that the record will be read soon.
    #[inline]
    pub(super) fn prefetch(&self, at: At) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: prefetching reads nothing, and SSE is part of the architecture.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.memory.start.add(at.offset()).as_ptr().cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }

    /// Walks the records in the order of their slots, from `unit` on (0: from the front).
    pub(super) fn walk(&self, unit: u32) -> Walk<'_> {
        Walk { slab: self, unit: unit.max(1) }
    }
}

/// The records from some place on, in the order of their slots, up to the first unfinished one.
pub(super) struct Walk<'a> {
    slab: &'a Slab,
    /// Where it stands: a record, a hole, or the first thing that is not finished.
    pub(super) unit: u32,
}

impl Iterator for Walk<'_> {
    type Item = At;

    fn next(&mut self) -> Option<At> {
        while self.unit < self.slab.units() {
            let at = At::from_link(self.unit)?;
            let tag = self.slab.tag_word(at.offset()).load(Ordering::Acquire);
            if tag == 0 {
                return None;
            }
            if tag & 0xff == HOLE {
                self.unit += u32::try_from(tag >> 8).unwrap_or(u32::MAX);
                continue;
            }
            let entry = self.slab.entry(at);
            self.unit += record_units(entry.key.len(), entry.value.len());
            return Some(at);
        }
        None
    }
}

pub(super) const fn record_bytes(full_key_len: usize, value_len: usize) -> usize {
    (KEY + full_key_len + value_len).next_multiple_of(UNIT)
}

fn record_units(full_key_len: usize, value_len: usize) -> u32 {
    u32::try_from(record_bytes(full_key_len, value_len) / UNIT).unwrap_or(u32::MAX)
}

/// Bytes of the value as it is stored: the end of a range is a full key, an expiry lies behind.
#[inline]
fn value_len(op: &Op<'_>) -> usize {
    let prefix = if op.kind == Kind::RangeDelete { CollectionId::BYTES } else { 0 };
    let suffix = if op.expiry().is_some() { Time::BYTES } else { 0 };
    prefix + op.value.len() + suffix
}

fn pointer(bytes: &[u8]) -> NonNull<u8> {
    NonNull::from(bytes).cast()
}

/// Bytes that the record of `op` takes.
#[inline]
pub(super) fn need(op: &Op<'_>) -> usize {
    record_bytes(CollectionId::BYTES + op.key.len(), value_len(op))
}

/// A place in the slab that nobody else writes to.
///
/// Dropping it closes it: what was not filled becomes a hole, which readers step over.
pub struct Slot {
    slab: Arc<Slab>,
    start: usize,
    end: usize,
}

impl Slot {
    pub(super) fn is_of(&self, slab: &Arc<Slab>) -> bool {
        Arc::ptr_eq(&self.slab, slab)
    }

    /// Writes a record; gives its address and the hash of its full key.
    ///
    /// Panics if the slot has no room left for it, or the key or value is over its limit: the
    /// caller's sum of footprints was wrong.
    #[inline]
    pub(super) fn push(&mut self, op: &Op<'_>, seq: SeqNo) -> (At, u64) {
        assert!(op.key.len() <= KEY_BYTES_MAX, "a key over the limit");
        let bytes = need(op);
        assert!(bytes <= self.end - self.start, "a slot too small for its operations");
        let value_len = u32::try_from(value_len(op));
        let Ok(value_len) = value_len else { unreachable!("a value over the limit") };
        let id = op.collection.0.to_be_bytes();
        let key_len = id.len() + op.key.len();
        let at = u32::try_from(self.start / UNIT).ok().and_then(At::from_link);
        let Some(at) = at else { unreachable!("a slot outside of its slab") };
        // SAFETY: `start..start + bytes` lies in the slot (asserted), which is ours alone (law 1),
        // in bounds (`reserve`) and read by nobody but for the tag (law 2). The writes end at
        // `KEY + key_len + value_len`, at most `bytes`; sources cannot overlap it, for they are
        // borrowed and no borrow of these bytes exists. `VALUE_LEN` is aligned to 4, `KEY` too.
        let key = unsafe {
            let start = self.slab.memory.start.add(self.start);
            start.add(VALUE_LEN).cast().write(value_len);
            start.add(KEY).cast().write(id);
            start.add(KEY + id.len()).copy_from_nonoverlapping(pointer(op.key), op.key.len());
            let mut value = start.add(KEY + key_len);
            if op.kind == Kind::RangeDelete {
                value.cast().write(range_end(op).0);
                value = value.add(CollectionId::BYTES);
            }
            value.copy_from_nonoverlapping(pointer(op.value), op.value.len());
            if let Some(Time(expiry)) = op.expiry() {
                value.add(op.value.len()).cast().write(expiry.to_le_bytes());
            }
            std::slice::from_raw_parts(start.add(KEY).as_ptr(), key_len)
        };
        let hash = hash_full_key(key);
        // SAFETY: as above; `key` is not overlapped, and `MARK` is aligned to 4.
        unsafe {
            self.slab.memory.start.add(self.start + MARK).cast().write(mark_of(hash, key_len));
        }
        self.slab.tag_word(self.start).store(pack_tag(seq, op.kind_at_rest()), Ordering::Release);
        self.start += bytes;
        (at, hash)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.start < self.end {
            let units = (self.end - self.start) / UNIT;
            let tag = (units as u64) << 8 | HOLE;
            self.slab.tag_word(self.start).store(tag, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;
