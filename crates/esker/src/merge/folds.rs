//! What came of folding in rewrites, told to all of them and to `stats`.
//!
//! 1. An operator whose results differ from one call to the next would have its every fold refused by
//!    the judge, and no flush would end: after the first refusal operands of its collection are no
//!    longer folded, but kept, until the database is opened anew.
//! 2. Whatever keeps operands from being folded is warned of once for each collection.

use crate::base::id::CollectionId;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// See the module.
#[derive(Debug, Default)]
pub struct Folds {
    folded: AtomicU64,
    kept: AtomicU64,
    distrusted: Mutex<BTreeSet<CollectionId>>,
    warned: Mutex<BTreeSet<CollectionId>>,
}

impl Folds {
    /// Notes that so many operands were folded.
    pub(super) fn note_folded(&self, operands: u64) {
        self.folded.fetch_add(operands, Relaxed);
    }

    /// Notes that so many operands are kept as they are, and why.
    pub(super) fn note_kept(&self, operands: u64, of: CollectionId, why: impl Display) {
        self.kept.fetch_add(operands, Relaxed);
        if self.warned.lock().insert(of) {
            tracing::warn!("operands of collection {of} are kept unfolded: {why}");
        }
    }

    /// Says that a fold was refused: nothing of this collection is folded any more.
    pub(super) fn distrust(&self, collection: CollectionId) {
        self.distrusted.lock().insert(collection);
    }

    /// Whether a fold was refused.
    pub(super) fn is_distrusted(&self, collection: CollectionId) -> bool {
        self.distrusted.lock().contains(&collection)
    }

    /// Operands that rewrites have folded.
    pub fn folded(&self) -> u64 {
        self.folded.load(Relaxed)
    }

    /// How often a rewrite has kept an operand because there was no operator, or it failed.
    pub fn kept(&self) -> u64 {
        self.kept.load(Relaxed)
    }
}
