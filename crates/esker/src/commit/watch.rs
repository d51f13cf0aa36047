//! Who wants to know of writes to a collection.
//!
//! ```text
//!   watch    register ─▶ note the count ─▶ take a view and its number
//!   write    … visible ─▶ is anybody registered? ─▶ raise the counts of its collections ─▶ return
//! ```
//!
//! 1. A write that returns after a watch was registered has raised the count, or is seen by the view
//!    that was taken behind it: registering, looking for who is registered, and becoming visible are
//!    in one order.
//! 2. Without a watch a write pays for one load.

use crate::base::batch::Ops;
use crate::base::id::CollectionId;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// Counts of writes, kept while somebody watches.
#[derive(Debug, Default)]
pub struct Watches {
    watching: AtomicUsize,
    counts: RwLock<BTreeMap<CollectionId, Arc<Count>>>,
}

#[derive(Debug, Default)]
struct Count {
    writes: AtomicU64,
    /// Raised and lowered under the lock of the counts.
    watching: AtomicUsize,
}

impl Watches {
    /// Watches a collection from now on. Take a view behind it.
    pub fn watch(self: &Arc<Self>, collection: CollectionId) -> Watch {
        let mut counts = self.counts.write();
        let count = counts.entry(collection).or_default().clone();
        count.watching.fetch_add(1, SeqCst);
        self.watching.fetch_add(1, SeqCst);
        drop(counts);
        let seen = count.writes.load(SeqCst);
        Watch { watches: self.clone(), collection, count, seen }
    }

    /// Says that `ops` are visible.
    #[inline]
    pub fn note(&self, ops: &impl Ops) {
        if self.watching.load(SeqCst) > 0 {
            self.note_all(ops.iter().map(|op| op.collection));
        }
    }

    /// Says that something is visible in these collections.
    pub fn note_all(&self, collections: impl IntoIterator<Item = CollectionId>) {
        let counts = self.counts.read();
        let mut last = None;
        for collection in collections {
            if last.replace(collection) != Some(collection)
                && let Some(count) = counts.get(&collection)
            {
                count.writes.fetch_add(1, SeqCst);
            }
        }
    }
}

/// Knows whether its collection was written to.
#[derive(Debug)]
pub struct Watch {
    watches: Arc<Watches>,
    collection: CollectionId,
    count: Arc<Count>,
    seen: u64,
}

impl Watch {
    /// Whether the collection was written to since. Cost: a load.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.count.writes.load(SeqCst) != self.seen
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut counts = self.watches.counts.write();
        self.watches.watching.fetch_sub(1, SeqCst);
        if self.count.watching.fetch_sub(1, SeqCst) == 1 {
            counts.remove(&self.collection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch::Op;
    use crate::base::key::Kind;

    #[test]
    fn a_watch_ends_with_the_first_write_to_its_collection() {
        let put = |id| Op {
            kind: Kind::Put,
            collection: CollectionId(id),
            key: b"k",
            value: b"",
            expires: None,
        };
        let watches = Arc::new(Watches::default());
        watches.note(&put(1));
        let (first, other) = (watches.watch(CollectionId(1)), watches.watch(CollectionId(2)));
        assert!(!first.is_over());
        watches.note(&put(1));
        let second = watches.watch(CollectionId(1));
        assert!(first.is_over() && !other.is_over() && !second.is_over());
        drop(first);
        watches.note(&put(1));
        assert!(second.is_over());
        drop((second, other));
        assert!(watches.counts.read().is_empty());
        assert_eq!(watches.watching.load(SeqCst), 0);
    }
}
