//! Read-ahead: a walk that goes forward fetches more than the block it needs.
//!
//! ```text
//! blocks     │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │ …        a walk from block 0 on
//! fetched    └──16 KiB──┴───── 32 KiB ─────┴ … 256 KiB at a time
//! ```
//!
//! 1. Only a walk that goes straight on fetches more than it needs: a point read and the first block
//!    of a seek fetch one block.
//! 2. What is fetched ends with the data blocks. It is verified piece by piece as the walk gets there.
//! 3. A chunk that cannot be read is no error: the block that is needed is then read alone.
//!
//! A cursor of a file that is read by position keeps one chunk in memory. Of a mapped file the system
//! is told what will be needed, a chunk before it is: told at the moment of need it is slower than
//! its own read-ahead (docs/decisions, number 8, has the figures).

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::format::to_usize;
use super::index::Child;
use std::ops::Range;

/// The first chunk.
const CHUNK_BYTES_MIN: u64 = 16 << 10;
/// The largest chunk that is read into memory.
const CHUNK_BYTES_MAX: u64 = 256 << 10;
/// The most that the system is asked for ahead of a walk.
const ADVICE_BYTES_MAX: u64 = 4 << 20;

/// How far a walk has fetched.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Where a walk that goes straight on finds its next block.
    next: u64,
    is_straight: bool,
    /// Bytes of the last chunk; 0 before the first.
    chunk_bytes: u64,
    /// Where the last chunk ends.
    end: u64,
    /// The last chunk, where it must be kept, and where it begins.
    pub(super) bytes: Vec<u8>,
    pub(super) at: u64,
}

impl Ahead {
    /// Notes that the walk has come to the block `child`.
    pub(super) fn step(&mut self, child: Child) {
        self.is_straight = child.at == self.next;
        self.next = child.at.saturating_add(child.len);
        if !self.is_straight {
            self.chunk_bytes = 0;
            self.end = 0;
        }
    }

    /// What to fetch now, from `child` on, if that is not done; data ends at `data_end`.
    pub(super) fn want(&mut self, child: Child, data_end: u64) -> Option<Range<u64>> {
        if !self.is_straight || self.next <= self.end {
            return None;
        }
        Some(self.grow(child.at, child, data_end, CHUNK_BYTES_MAX))
    }

    /// What to tell the system now: the chunk behind the one that the walk is in.
    pub(super) fn advise(&mut self, child: Child, data_end: u64) -> Option<Range<u64>> {
        let is_far = self.next.saturating_add(self.chunk_bytes) <= self.end;
        if !self.is_straight || is_far || self.end >= data_end {
            return None;
        }
        Some(self.grow(self.end.max(child.at), child, data_end, ADVICE_BYTES_MAX))
    }

    fn grow(&mut self, from: u64, child: Child, data_end: u64, most: u64) -> Range<u64> {
        self.chunk_bytes = (self.chunk_bytes * 2).clamp(CHUNK_BYTES_MIN, most);
        self.end = from.saturating_add(self.chunk_bytes.max(child.len)).min(data_end);
        from..self.end
    }

    /// Forgets the chunk: it could not be read.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
        self.end = 0;
    }

    /// The piece `child` out of the chunk, if it is there whole.
    pub(super) fn piece(&self, child: Child) -> Option<&[u8]> {
        let from = to_usize(child.at.checked_sub(self.at)?);
        self.bytes.get(from..from.checked_add(to_usize(child.len))?)
    }

    /// Room for the chunk at `range`.
    pub(super) fn room(&mut self, range: &Range<u64>) -> &mut [u8] {
        self.at = range.start;
        self.bytes.resize(to_usize(range.end.saturating_sub(range.start)), 0);
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(at: u64, len: u64) -> Child {
        Child { ordinal: 0, at, len }
    }

    #[test]
    fn chunks_grow_while_the_walk_goes_straight_and_begin_anew_after_a_leap() {
        let mut ahead = Ahead::default();
        let mut fetched = Vec::new();
        let blocks = (0..300).map(|i| child(i * 4096, 4096));
        for block in blocks.chain([child(9 << 20, 4096), child((9 << 20) + 4096, 100)]) {
            ahead.step(block);
            fetched.extend(ahead.want(block, 10 << 20).map(|range| range.end - range.start));
        }
        let kib: Vec<_> = fetched.iter().map(|bytes| bytes >> 10).collect();
        assert_eq!(kib, [16, 32, 64, 128, 256, 256, 256, 256, 16]);
    }

    #[test]
    fn the_system_is_told_before_the_walk_gets_there() {
        let (mut ahead, data_end) = (Ahead::default(), 64 << 20);
        let mut told = 0;
        for i in 0..data_end / 4096 {
            let block = child(i * 4096, 4096);
            ahead.step(block);
            if let Some(range) = ahead.advise(block, data_end) {
                assert_eq!(range.start, told, "without gaps");
                told = range.end;
            }
            assert!(told >= (block.at + 2 * 4096).min(data_end), "{told} at block {i}");
        }
        assert_eq!(told, data_end);
    }

    #[test]
    fn nothing_is_fetched_beyond_the_data_and_a_large_block_whole() {
        let mut ahead = Ahead::default();
        let large = child(0, 1 << 20);
        ahead.step(large);
        assert_eq!(ahead.want(large, 2 << 20), Some(0..1 << 20));
        let last = child(1 << 20, 5000);
        ahead.step(last);
        assert_eq!(ahead.want(last, (1 << 20) + 5000), Some(1 << 20..(1 << 20) + 5000));
        assert_eq!(ahead.room(&(10..20)).len(), 10);
        assert_eq!(ahead.piece(child(12, 8)).map(<[u8]>::len), Some(8));
        assert!(ahead.piece(child(12, 9)).is_none() && ahead.piece(child(9, 2)).is_none());
    }
}
