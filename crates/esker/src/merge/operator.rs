//! Merge operators: what the operands of a key come to.
//!
//! ```text
//!   versions, newest first     merge c · merge b · put a · …
//!   what is asked              full(key, existing = a, operands = [b, c])       oldest first
//! ```
//!
//! 1. An operator is a pure function of what it is given: it is asked again at every read until a
//!    rewrite has folded the operands, and must answer the same each time.
//! 2. A tombstone, or nothing, beneath the operands means that nothing exists (MOSS-20).
//!
//! After moss's `MergeOperator`, and RocksDB's.

use std::fmt::Debug;

/// Folds the operands of a key into its value.
pub trait MergeOperator: Debug + Send + Sync {
    /// Its name, by which a collection's settings refer to it: it must never change.
    fn name(&self) -> &str;

    /// The value of `key` after `operands`, oldest first (there is at least one), came upon
    /// `existing`.
    ///
    /// Errors: why these operands have no result. The read fails with it, and no operand is lost.
    fn full(
        &self,
        key: &[u8],
        existing: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String>;

    /// One operand that does what `left` and then `right` do, whatever lies beneath; none if there is
    /// no such operand. Folding with it must give what [`MergeOperator::full`] gives without it.
    fn partial(&self, _key: &[u8], _left: &[u8], _right: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
