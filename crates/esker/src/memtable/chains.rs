//! The hash index: a fixed table of chains of records, which never moves, grows or locks.
//!
//! ```text
//! head    filter bits | address of the first record        the address in as many low bits as the
//! link    address of the next record, or 0                  slab needs, the filter in what is left
//! ```
//!
//! 1. A chain is ordered by address, highest first, whoever linked first. Addresses rise with
//!    sequence numbers, for both are drawn under one lock; so of two writers of one key, in either
//!    order of arrival, readers find the newer (BLOB-7), and linking reads no other record.
//! 2. A record is whole before it is linked, and the link is stored with `Release`; whoever sees
//!    the link sees the record. Records are never unlinked, so a link once read stays good.
//! 3. Filter before index (BLOB-6): the filter bit of a record is in its head no later than the
//!    record itself, and never goes away. A reader who misses its bit misses its key, unread.
//! 4. A put costs one exchange of the head, unless newer records of the chain came first.
//!
//! The core is generic over its links, so that the checker of schedules explores the same source.
//! After the hash index of blobcache and the sorted insertion of Harris's lists, without removal.

use super::slab::{At, Heads, Slab, mark_of};
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::key::Lookup;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of slab for each chain: half a chain for a record of a 16-byte key and a 200-byte value.
const BYTES_PER_CHAIN: usize = 128;
const CHAINS_MAX: usize = 1 << 27;

/// A word that threads exchange.
pub(super) trait Link {
    /// What it holds; what was written before that was stored is seen.
    fn get(&self) -> u32;
    /// Fills the link of a record that is not yet shared.
    fn set(&self, now: u32);
    /// Replaces `was` by `now`, or tells what it holds instead.
    fn exchange(&self, was: u32, now: u32) -> Result<u32, u32>;
}

impl Link for AtomicU32 {
    #[inline]
    fn get(&self) -> u32 {
        self.load(Ordering::Acquire)
    }

    #[inline]
    fn set(&self, now: u32) {
        self.store(now, Ordering::Relaxed);
    }

    #[inline]
    fn exchange(&self, was: u32, now: u32) -> Result<u32, u32> {
        self.compare_exchange(was, now, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// The records that chains run through.
pub(super) trait Nodes {
    type Link: Link;
    fn next(&self, at: At) -> &Self::Link;
}

impl Nodes for Slab {
    type Link = AtomicU32;

    #[inline]
    fn next(&self, at: At) -> &AtomicU32 {
        Slab::next(self, at)
    }
}

/// How a head divides into filter and address.
#[derive(Clone, Copy, Debug)]
struct Shape {
    address: u32,
    filter_bits: u32,
}

impl Shape {
    /// For addresses below `units`.
    fn new(units: u32) -> Self {
        let filter_bits = units.leading_zeros();
        Self { address: u32::MAX.checked_shr(filter_bits).unwrap_or(0), filter_bits }
    }

    /// The filter bit of a hash; no bit if there is no room for any.
    #[inline]
    fn bit(self, hash: u64) -> u32 {
        if self.filter_bits == 0 {
            return 0;
        }
        // The top 16 bits of the hash: the chain comes of the lowest, the mark of the middle ones.
        let place = ((hash >> 48) as u32 * self.filter_bits) >> 16;
        1 << (u32::BITS - 1 - place)
    }
}

/// Links the record `at` into the chain of `head`.
#[inline]
fn insert<N: Nodes>(nodes: &N, head: &N::Link, shape: Shape, bit: u32, at: At) {
    let (link, address) = (nodes.next(at), at.units());
    let mut was = head.get();
    loop {
        let (filter, first) = (was & !shape.address, was & shape.address);
        let is_newest = first < address;
        if is_newest {
            link.set(first);
        } else if filter | bit == filter {
            break;
        }
        match head.exchange(was, filter | bit | first.max(address)) {
            Ok(_) if is_newest => return,
            Ok(_) => break,
            Err(found) => was = found,
        }
    }
    // Records are never unlinked: `prev` stays in the chain, and stays newer than `at`.
    let mut prev = At::from_link(was & shape.address);
    while let Some(newer) = prev {
        let place = nodes.next(newer);
        let mut found = place.get();
        while found < address {
            link.set(found);
            match place.exchange(found, address) {
                Ok(_) => return,
                Err(other) => found = other,
            }
        }
        prev = At::from_link(found);
    }
    unreachable!("a chain whose first record is newer has a place for an older one");
}

/// The first record of the chain that is wanted; none unread if the filter lacks `bit`.
#[inline]
fn find<N: Nodes>(
    nodes: &N,
    head: &N::Link,
    shape: Shape,
    bit: u32,
    mut is_wanted: impl FnMut(At) -> bool,
) -> Option<At> {
    let head = head.get();
    if head & bit != bit {
        return None;
    }
    let mut next = At::from_link(head & shape.address);
    while let Some(at) = next {
        if is_wanted(at) {
            return Some(at);
        }
        next = At::from_link(nodes.next(at).get());
    }
    None
}

/// The hash index of one slab.
pub(super) struct Chains {
    heads: Heads,
    shape: Shape,
}

impl Chains {
    /// An empty index for `slab`. Cost: 4 bytes for each 128 of the slab, or up to twice that.
    pub(super) fn new(slab: &Slab) -> Result<Self> {
        let count = slab.capacity().div_ceil(BYTES_PER_CHAIN).next_power_of_two();
        let heads = Heads::new(count.clamp(2, CHAINS_MAX))?;
        Ok(Self { heads, shape: Shape::new(slab.units()) })
    }

    #[inline]
    fn head(&self, hash: u64) -> &AtomicU32 {
        let heads = self.heads.words();
        &heads[hash as usize & (heads.len() - 1)]
    }

    pub(super) fn touch(&mut self) {
        self.heads.touch();
    }

    /// Bytes of the table.
    pub(super) fn byte_count(&self) -> usize {
        size_of_val(self.heads.words())
    }

    /// Lets readers find the record `at` of `slab`.
    #[inline]
    pub(super) fn link(&self, slab: &Slab, hash: u64, at: At) {
        insert(slab, self.head(hash), self.shape, self.shape.bit(hash), at);
    }

    /// The newest record of a key with a number at or below `up_to`.
    ///
    /// Cost: a cache miss for the head, and one for each record that is newer and shares the chain.
    #[inline]
    pub(super) fn find(&self, slab: &Slab, key: &Lookup, up_to: SeqNo) -> Option<At> {
        self.find_if(slab, key, up_to, |_| true)
    }

    /// The same for the newest of which `is_it` says so; it is shown one after the other.
    #[inline]
    pub(super) fn find_if(
        &self,
        slab: &Slab,
        key: &Lookup,
        up_to: SeqNo,
        mut is_it: impl FnMut(At) -> bool,
    ) -> Option<At> {
        let (hash, full) = (key.hash(), key.full());
        let mark = mark_of(hash, full.len());
        let is_wanted = |at| slab.is_key(at, mark, full) && slab.seq(at) <= up_to && is_it(at);
        find(slab, self.head(hash), self.shape, self.shape.bit(hash), is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shuttle::sync::atomic::AtomicU32 as Explored;
    use std::sync::Arc;

    impl Link for Explored {
        fn get(&self) -> u32 {
            self.load(Ordering::Acquire)
        }
        fn set(&self, now: u32) {
            self.store(now, Ordering::Relaxed);
        }
        fn exchange(&self, was: u32, now: u32) -> Result<u32, u32> {
            self.compare_exchange(was, now, Ordering::AcqRel, Ordering::Acquire)
        }
    }

    /// Record `n` is of the key `n % 2`.
    struct Model {
        head: Explored,
        links: Vec<Explored>,
        shape: Shape,
    }

    impl Nodes for Model {
        type Link = Explored;
        fn next(&self, at: At) -> &Explored {
            &self.links[at.units() as usize]
        }
    }

    impl Model {
        fn new() -> Arc<Self> {
            let links = (0..10).map(|_| Explored::new(0)).collect();
            Arc::new(Self { head: Explored::new(0), links, shape: Shape::new(1 << 20) })
        }

        fn bit(&self, key: u32) -> u32 {
            self.shape.bit(u64::from(key) << 63)
        }

        fn put(&self, record: u32) {
            let at = At::from_link(record).unwrap();
            insert(self, &self.head, self.shape, self.bit(record % 2), at);
        }

        fn get(&self, key: u32, up_to: u32) -> Option<u32> {
            let is_wanted = |at: At| at.units() % 2 == key && at.units() <= up_to;
            find(self, &self.head, self.shape, self.bit(key), is_wanted).map(At::units)
        }
    }

    fn schedules(times: usize, test: impl Fn() + Send + Sync + 'static) {
        shuttle::check_random(test, times);
    }

    /// BLOB-7: whoever links first, readers find the newer; a snapshot finds the older.
    #[test]
    fn two_writers_of_one_key_may_link_in_either_order() {
        schedules(3000, || {
            let model = Model::new();
            let writers: Vec<_> = [2, 4, 3]
                .into_iter()
                .map(|record| {
                    let model = model.clone();
                    shuttle::thread::spawn(move || model.put(record))
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            assert_eq!(model.get(0, u32::MAX), Some(4));
            assert_eq!(model.get(0, 3), Some(2));
            assert_eq!(model.get(1, u32::MAX), Some(3));
            assert_eq!(model.get(1, 2), None);
        });
    }

    /// BLOB-6: what was linked is found, however many others are being linked around it.
    #[test]
    fn a_reader_misses_nothing_while_others_are_linked() {
        schedules(3000, || {
            let model = Model::new();
            model.put(6);
            let writers = [[2, 8], [5, 7]].map(|records| {
                let model = model.clone();
                shuttle::thread::spawn(move || records.into_iter().for_each(|r| model.put(r)))
            });
            let reader = model.clone();
            let reader = shuttle::thread::spawn(move || {
                let newest = reader.get(0, u32::MAX).unwrap();
                assert!(newest == 6 || newest == 8);
                assert!(reader.get(0, u32::MAX).unwrap() >= newest);
                assert_eq!(reader.get(0, 7), Some(6));
            });
            reader.join().unwrap();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            let all: Vec<_> = (2..=8).filter_map(|n| model.get(n % 2, n)).collect();
            assert_eq!(all, [2, 2, 5, 6, 7, 8]);
        });
    }

    #[test]
    fn a_head_has_room_for_an_address_and_whatever_filter_is_left() {
        for units in [2, 3, 1 << 20, (1 << 31) - 1, 1 << 31, u32::MAX] {
            let shape = Shape::new(units);
            assert!(shape.address >= units - 1);
            for hash in [0, u64::MAX, 1 << 63, 0x1234 << 48] {
                assert_eq!(shape.bit(hash) & shape.address, 0);
                assert_eq!(shape.bit(hash) == 0, shape.filter_bits == 0);
            }
        }
    }
}
