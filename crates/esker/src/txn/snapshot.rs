//! The numbers that readers hold on to.
//!
//! 1. A snapshot is taken under the registry's lock, after the number it pins became visible.
//! 2. A rewrite asks for the pinned numbers under the same lock, after all it rewrites is visible.
//!    A snapshot taken later is therefore at or above every number in that rewrite, and needs no
//!    version that the rewrite drops.
//! 3. When a rewrite has kept something for the sake of a pin, whoever can drop it later is told as
//!    soon as the oldest pin is gone.

use crate::base::id::SeqNo;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

/// Pinned numbers, with how many hold each.
#[derive(Default)]
pub struct Registry {
    pinned: Mutex<BTreeMap<SeqNo, usize>>,
    /// Whether something was kept for the sake of a pin.
    held_back: AtomicBool,
    released: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("pinned", &self.pinned).finish_non_exhaustive()
    }
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

    /// Calls `released` when the oldest pin is gone and something was held back. Set once.
    pub fn on_release(&self, released: impl Fn() + Send + Sync + 'static) {
        let _ = self.released.set(Box::new(released));
    }

    /// Says that something was kept for the sake of a pin.
    pub fn hold_back(&self) {
        self.held_back.store(true, SeqCst);
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
        let Some(count) = pinned.get_mut(&self.seq) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        pinned.remove(&self.seq);
        let was_oldest = pinned.first_key_value().is_none_or(|(oldest, _)| *oldest > self.seq);
        drop(pinned);
        if was_oldest
            && self.registry.held_back.swap(false, SeqCst)
            && let Some(released) = self.registry.released.get()
        {
            released();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

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

    #[test]
    fn the_end_of_the_oldest_pin_is_told_if_something_was_held_back() {
        let (registry, told) = (Arc::new(Registry::default()), Arc::new(AtomicUsize::new(0)));
        let teller = told.clone();
        registry.on_release(move || {
            teller.fetch_add(1, SeqCst);
        });
        let pins = [5, 7, 9].map(|seq| registry.pin(|| SeqNo(seq)));
        let [oldest, newer, newest] = pins;
        drop(newer);
        assert_eq!(told.load(SeqCst), 0);
        registry.hold_back();
        drop(newest);
        assert_eq!(told.load(SeqCst), 0);
        drop(oldest);
        assert_eq!(told.load(SeqCst), 1);
        drop(registry.pin(|| SeqNo(9)));
        assert_eq!(told.load(SeqCst), 1);
    }
}
