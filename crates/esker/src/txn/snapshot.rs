//! The numbers that readers hold on to.
//!
//! 1. A snapshot is taken under the registry's lock, after the number it pins became visible.
//! 2. A rewrite asks for the pinned numbers under the same lock, after all it rewrites is visible.
//!    A snapshot taken later is therefore at or above every number in that rewrite, and needs no
//!    version that the rewrite drops.

use crate::base::id::SeqNo;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pinned numbers, with how many hold each.
#[derive(Debug, Default)]
pub struct Registry {
    pinned: Mutex<BTreeMap<SeqNo, usize>>,
}

impl Registry {
    /// Pins what `visible` answers, until the pin is dropped. Cost: a lock and a map insertion.
    pub fn pin(self: &Arc<Self>, visible: impl FnOnce() -> SeqNo) -> Pin {
        let mut pinned = self.pinned.lock();
        let seq = visible();
        *pinned.entry(seq).or_default() += 1;
        Pin { registry: self.clone(), seq }
    }

    /// The pinned numbers, ascending.
    pub fn pinned(&self) -> Vec<SeqNo> {
        self.pinned.lock().keys().copied().collect()
    }

    /// How many pins are held.
    pub fn count(&self) -> usize {
        self.pinned.lock().values().sum()
    }
}

/// Keeps every version that a reader at its number can see.
#[derive(Debug)]
pub struct Pin {
    registry: Arc<Registry>,
    seq: SeqNo,
}

impl Pin {
    /// The number it pins.
    pub fn seq(&self) -> SeqNo {
        self.seq
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        self.registry.pin(|| self.seq)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.registry.pinned.lock();
        if let Some(count) = pinned.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                pinned.remove(&self.seq);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_pinned_until_its_last_holder_lets_go() {
        let registry = Arc::new(Registry::default());
        let first = registry.pin(|| SeqNo(5));
        let second = first.clone();
        drop(first);
        assert_eq!(registry.pinned(), [SeqNo(5)]);
        drop(second);
        assert_eq!(registry.count(), 0);
    }
}
