//! Bytes of files, kept in memory under a budget. It does not know what they mean.
//!
//! 1. What it holds may vanish at any moment: a miss is never an error, only slower (HEST-10).
//! 2. The budget counts the bytes held and what holding them costs. A budget of 0 keeps nothing.
//! 3. A key is a file and an offset. File numbers are never used again, so nothing goes stale, and
//!    what a removed file left behind ages out.
//! 4. No randomness: the same calls in the same order keep the same blocks.
//!
//! Admission and eviction (S3-FIFO like) are the `quick_cache` crate's.

pub mod open;

use crate::base::id::FileId;
use crate::env::tally::Tally;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Bytes that were read from one place of a file.
pub struct Block(Box<[u8]>);

impl Block {
    /// Takes ownership; no copy if the capacity is exact.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into_boxed_slice())
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block of {} bytes", self.0.len())
    }
}

/// Where a block came from.
type Place = (FileId, u64);

/// Bytes that one block costs beside its own: slot, reference counts, allocator.
const BLOCK_OVERHEAD_BYTES: u64 = 96;
/// What a block typically weighs, to size the tables.
const BLOCK_BYTES_TYPICAL: u64 = 4096;
/// Locks. A fixed number, so that the number of processors does not change what is kept.
const SHARDS: usize = 16;

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Place, Arc<Block>> for ByBytes {
    fn weight(&self, _: &Place, block: &Arc<Block>) -> u64 {
        block.len() as u64 + BLOCK_OVERHEAD_BYTES
    }
}

/// Mixes the two words of a [`Place`].
#[derive(Clone, Copy, Debug, Default)]
struct PlaceHasher(u64);

impl Hasher for PlaceHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

type Blocks = Cache<
    Place,
    Arc<Block>,
    ByBytes,
    BuildHasherDefault<PlaceHasher>,
    DefaultLifecycle<Place, Arc<Block>>,
>;

/// A cache of blocks that every open file shares.
pub struct BlockCache {
    blocks: Option<Blocks>,
    asked: Tally<2>,
}

/// What [`BlockCache::get`] counts.
const HIT: usize = 0;
const MISS: usize = 1;

impl BlockCache {
    /// A cache that holds at most about `capacity_bytes`, overhead included.
    pub fn new(capacity_bytes: u64) -> Self {
        let items = usize::try_from(capacity_bytes / BLOCK_BYTES_TYPICAL).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(capacity_bytes)
            .shards(SHARDS)
            .build();
        let blocks = options.ok().filter(|_| capacity_bytes > 0).map(|options| {
            let hasher = BuildHasherDefault::default();
            Blocks::with_options(options, ByBytes, hasher, DefaultLifecycle::default())
        });
        Self { blocks, asked: Tally::default() }
    }

    /// The bytes of `file` at `at`, if they are still here.
    #[inline]
    pub fn get(&self, file: FileId, at: u64) -> Option<Arc<Block>> {
        let found = self.blocks.as_ref().and_then(|blocks| blocks.get(&(file, at)));
        self.asked.count(if found.is_some() { HIT } else { MISS });
        found
    }

    /// Offers a block. It need not be kept, and may push others out.
    pub fn insert(&self, file: FileId, at: u64, block: Arc<Block>) {
        if let Some(blocks) = &self.blocks {
            blocks.insert((file, at), block);
        }
    }

    /// Forgets everything, for tests of what happens then.
    pub fn clear(&self) {
        if let Some(blocks) = &self.blocks {
            blocks.clear();
        }
    }

    /// Bytes held now, overhead included.
    pub fn used_bytes(&self) -> u64 {
        self.blocks.as_ref().map_or(0, Blocks::weight)
    }

    /// How many times [`BlockCache::get`] found what it was asked for.
    pub fn hits(&self) -> u64 {
        self.asked.sum(HIT)
    }

    /// How many times it did not.
    pub fn misses(&self) -> u64 {
        self.asked.sum(MISS)
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache")
            .field("used_bytes", &self.used_bytes())
            .field("hits", &self.hits())
            .field("misses", &self.misses())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: usize) -> Arc<Block> {
        Arc::new(Block::new(vec![7; bytes]))
    }

    #[test]
    fn what_was_inserted_is_found_under_its_file_and_offset_only() {
        let cache = BlockCache::new(1 << 20);
        cache.insert(FileId(1), 4096, block(10));
        assert_eq!(cache.get(FileId(1), 4096).unwrap().len(), 10);
        assert!(cache.get(FileId(2), 4096).is_none());
        assert!(cache.get(FileId(1), 0).is_none());
        assert_eq!((cache.hits(), cache.misses()), (1, 2));
    }

    #[test]
    fn the_budget_holds_whatever_is_inserted() {
        for capacity in [0, 1, 5000, 100_000, 1 << 20] {
            let cache = BlockCache::new(capacity);
            for at in 0..3000 {
                cache.insert(FileId(at % 7), at, block(usize::try_from(at * 3).unwrap()));
                assert!(cache.used_bytes() <= capacity, "{} of {capacity}", cache.used_bytes());
            }
        }
    }

    /// HEST-10: a cache of size 0 works.
    #[test]
    fn a_cache_without_capacity_keeps_nothing() {
        let cache = BlockCache::new(0);
        cache.insert(FileId(1), 0, block(1));
        assert!(cache.get(FileId(1), 0).is_none());
        assert_eq!(cache.used_bytes(), 0);
    }

    #[test]
    fn a_block_outlives_its_eviction() {
        let cache = BlockCache::new(1 << 20);
        cache.insert(FileId(1), 0, block(3));
        let held = cache.get(FileId(1), 0).unwrap();
        cache.clear();
        assert!(cache.get(FileId(1), 0).is_none());
        assert_eq!(&held[..], [7, 7, 7]);
    }
}
