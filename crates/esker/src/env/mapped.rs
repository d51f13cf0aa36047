//! Mapped files: reading without a copy, and appending without a system call.
//!
//! ```text
//! claims     |  span  |    span    | span |                      |
//!            0                            ^ end of last claim    ^ mapped = allocated
//! ```
//!
//! 1. Claims only rise: each begins at or above the end of every earlier one ([`Claims`]). A span is
//!    never cloned and writes only inside itself, so no two threads ever write the same byte.
//! 2. The map is as long as the file was allocated, and never changes. What lies beyond it, and what
//!    is large, goes through positioned writes, which the kernel keeps coherent with the map.
//! 3. After [`Append::finish`] nothing can be claimed any more, and every span that still lives
//!    ends at or below the new length: no write reaches a page that was cut off.
//! 4. Blocks are allocated before they are mapped, so a full disk is an error at creation and not a
//!    signal at a write. (A copy-on-write file system may break this; it gets `Positioned` by option.)
//! 5. The kernel owns the pages: a killed process loses nothing of what was copied.
//!
//! Cost of a 256-byte record into a fresh 64 MiB file on ext4 (Linux 6.18, processor time): 98 ns, of
//! which about 65 are its share of the page faults; 401 ns by `pwrite`. Faulting pages in ahead moves
//! those 65 ns to whoever does it and saves none of them (98 against 91 to 100 ns for chunks of
//! 64 KiB to 4 MiB, 93 for all at once, 167 when only for reading), and it dirties pages nobody has
//! written to: the first durable commit then took 67 ms instead of 4. So pages fault in where they
//! are written.

#![cfg_attr(unix, expect(unsafe_code, reason = "mapping files is not expressible in safe Rust"))]

#[cfg(unix)]
use super::{Access, Append, Claimed, File, Map, Span, write_all_at};
#[cfg(unix)]
use memmap2::{Advice, Mmap, MmapOptions, MmapRaw};
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(unix)]
use std::{io, os::fd::AsRawFd, sync::Arc};

/// So much at once is written by a system call: 23 us for 64 KiB into fresh pages, against 36 us for
/// the faults of a copy (2.6 against 2.0 us for 4 KiB).
pub(super) const WRITE_FROM: usize = 32 << 10;

/// The end of the last claim of a file.
#[derive(Debug, Default)]
pub(super) struct Claims(AtomicU64);

impl Claims {
    /// Claims `len` bytes at `at`.
    ///
    /// Panics if they overlap an earlier claim, or if the claims are closed.
    pub(super) fn claim(&self, at: u64, len: u64) {
        let end = at.checked_add(len);
        assert!(end.is_some_and(|end| end < u64::MAX), "a claim must end below 2^64");
        // `fetch_max` orders all claims: whichever of two comes second sees the end of the first,
        // so at most one of two overlapping claims returns.
        let before = self.0.fetch_max(at + len, Ordering::AcqRel);
        assert!(before <= at, "claims must rise: wanted {at}, but claimed up to {before}");
    }

    /// Ends claiming: nothing lies or ever will lie above `bytes`.
    ///
    /// Panics if a claim ends above `bytes`: its writer could write what is being cut off.
    pub(super) fn close(&self, bytes: u64) {
        let before = self.0.swap(u64::MAX, Ordering::AcqRel);
        assert!(
            before <= bytes || before == u64::MAX,
            "cannot cut off at {bytes}: claimed up to {before}"
        );
    }
}

/// A file mapped for reading.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct ReadMap(Mmap);

#[cfg(unix)]
impl ReadMap {
    pub(super) fn new(file: &std::fs::File) -> io::Result<Self> {
        // SAFETY: the bytes stay as they are while the map lives: `File::map` is called for files
        // that are complete (segments, closed logs), which the engine never writes or shortens
        // again (law: a segment or blob file is never opened for writing), and the folder is
        // locked against other processes that keep its rules.
        let map = unsafe { MmapOptions::new().map(file)? };
        Ok(Self(map))
    }

    /// Whether reads jump (no read-ahead) or go from front to back.
    pub(super) fn advise_random(&self, random: bool) {
        let advice = if random { Advice::Random } else { Advice::Normal };
        // Advice that is not taken costs speed only.
        drop(self.0.advise(advice));
    }
}

#[cfg(unix)]
impl Map for ReadMap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn will_need(&self, range: std::ops::Range<usize>) {
        let end = range.end.min(self.0.len());
        let len = end.saturating_sub(range.start);
        if len > 0 {
            // Advice that is not taken costs speed only.
            drop(self.0.advise_range(Advice::WillNeed, range.start, len));
        }
    }
}

/// A file written through a shared map.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct MappedAppend<F> {
    file: F,
    map: MmapRaw,
    claims: Claims,
}

#[cfg(unix)]
impl<F: File + AsRawFd> MappedAppend<F> {
    /// Maps the first `bytes` of `file`, which must be allocated; gives it back if it cannot.
    pub(super) fn new(file: F, bytes: u64) -> Result<Self, F> {
        let long_enough = file.byte_count().is_ok_and(|len| len >= bytes);
        let mapped = match usize::try_from(bytes) {
            Ok(len) if long_enough => MmapOptions::new().len(len).map_raw(&file),
            _ => return Err(file),
        };
        match mapped {
            Ok(map) => Ok(Self { file, map, claims: Claims::default() }),
            Err(_) => Err(file),
        }
    }
}

#[cfg(unix)]
impl<F: File> Append for MappedAppend<F> {
    fn claim(self: Arc<Self>, at: u64, len: u64) -> Span {
        self.claims.claim(at, len);
        Span::new(self, at, len)
    }

    fn fill(&self, bytes: &[u8], at: u64, _place: Claimed) -> io::Result<()> {
        if bytes.len() >= WRITE_FROM {
            return write_all_at(&self.file, bytes, at);
        }
        let mapped = self.map.len() as u64;
        let inside = usize::try_from(mapped.saturating_sub(at)).unwrap_or(usize::MAX);
        let (head, tail) = bytes.split_at(inside.min(bytes.len()));
        if !head.is_empty() {
            // SAFETY: source: `head` is a live slice, in memory that cannot be this map (nobody
            // has a reference into it). Destination: `head` was cut so that `at + head.len()` is
            // at most the mapped length, and the pages lie inside the file: it was allocated to
            // the mapped length, and `finish` cuts only above the end of the last claim (3).
            // No race: `Claimed` proves that the place is a span's own, spans are disjoint (1),
            // and `Span::write` takes `&mut`.
            unsafe {
                let to = self.map.as_mut_ptr().add(at as usize);
                std::ptr::copy_nonoverlapping(head.as_ptr(), to, head.len());
            }
        }
        if tail.is_empty() {
            return Ok(());
        }
        write_all_at(&self.file, tail, at + head.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        // Covers pages dirtied through the map: the kernel collects their dirty bits first.
        self.file.sync()
    }

    fn finish(&self, bytes: u64) -> io::Result<()> {
        self.claims.close(bytes);
        self.file.truncate(bytes)
    }

    fn access(&self) -> Access {
        Access::Mapped
    }
}

/// Zeroed memory in pages of its own, large ones where the system has them.
pub struct Pages(memmap2::MmapMut);

impl Pages {
    /// Errors: `OutOfMemory`.
    pub fn zeroed(bytes: usize) -> io::Result<Self> {
        let map = memmap2::MmapMut::map_anon(bytes)?;
        #[cfg(target_os = "linux")]
        // Only a wish: without large pages it is slower, not wrong.
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self(map))
    }

    /// Where they begin; they stay there until `self` is dropped.
    pub fn start(&mut self) -> std::ptr::NonNull<u8> {
        std::ptr::NonNull::from(&mut self.0[..]).cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_touch_are_disjoint() {
        let claims = Claims::default();
        claims.claim(0, 10);
        claims.claim(10, 0);
        claims.claim(10, 5);
        claims.claim(100, 1);
        claims.close(101);
    }

    #[test]
    #[should_panic(expected = "claims must rise")]
    fn a_claim_that_overlaps_panics() {
        let claims = Claims::default();
        claims.claim(0, 10);
        claims.claim(9, 1);
    }

    #[test]
    #[should_panic(expected = "cannot cut off")]
    fn a_file_cannot_be_cut_below_a_claim() {
        let claims = Claims::default();
        claims.claim(0, 10);
        claims.close(9);
    }

    #[test]
    #[should_panic(expected = "claims must rise")]
    fn nothing_is_claimed_after_the_end() {
        let claims = Claims::default();
        claims.close(0);
        claims.claim(0, 0);
    }
}
