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
//! 3. What it cannot fold stays as it is, and reading it is an error: no operand is ever lost. A
//!    panic of its is a failure like any other.
//!
//! After moss's `MergeOperator`, and RocksDB's.

use super::operators::ready_made;
use crate::base::key::{VALUE_BYTES_MAX, check_value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Folds the operands of a key into its value.
///
/// It is called by whoever reads a key that has operands, and in the background by whoever rewrites
/// one: from any thread, more than once for the same operands. It must not call the database.
///
/// ```
/// /// Keeps the last three operands.
/// #[derive(Debug)]
/// struct LastThree;
///
/// impl esker::MergeOperator for LastThree {
///     fn name(&self) -> &str {
///         "last-three"
///     }
///
///     fn full(
///         &self,
///         _key: &[u8],
///         existing: Option<&[u8]>,
///         operands: &[&[u8]],
///     ) -> Result<Vec<u8>, String> {
///         let all: Vec<u8> = existing.into_iter().chain(operands.iter().copied()).flatten().copied().collect();
///         Ok(all[all.len().saturating_sub(3)..].to_vec())
///     }
/// }
/// ```
pub trait MergeOperator: Debug + Send + Sync {
    /// Its name, by which a collection's settings refer to it: it must never change, and what it
    /// names must never fold otherwise.
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
    ///
    /// With it a flush makes one operand of many, although it does not know what they came upon.
    fn partial(&self, _key: &[u8], _left: &[u8], _right: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

impl<T: MergeOperator + ?Sized> MergeOperator for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn full(&self, key: &[u8], old: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        (**self).full(key, old, all)
    }

    fn partial(&self, key: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        (**self).partial(key, left, right)
    }
}

/// Calls [`MergeOperator::full`]; a panic, or a result that is no value, is a failure.
pub(super) fn full(
    operator: &dyn MergeOperator,
    key: &[u8],
    existing: Option<&[u8]>,
    operands: &[&[u8]],
) -> Result<Vec<u8>, String> {
    let called = catch_unwind(AssertUnwindSafe(|| operator.full(key, existing, operands)));
    let value = called.unwrap_or_else(|panic| Err(format!("panicked{}", said(&*panic))))?;
    check_value(&value).map_err(|error| error.message().to_owned())?;
    Ok(value)
}

/// Calls [`MergeOperator::partial`]; one that panics, or gives what is no operand, declines.
fn partial(operator: &dyn MergeOperator, key: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
    let called = catch_unwind(AssertUnwindSafe(|| operator.partial(key, left, right)));
    called.unwrap_or_default().filter(|operand| operand.len() <= VALUE_BYTES_MAX)
}

/// One operand for all of `operands`, oldest first, of which there is at least one: of each half one,
/// then one of both, so that nothing is copied more often than they can be halved. None if the operator
/// declines anywhere.
pub(super) fn partial_of_all<'a>(
    operator: &dyn MergeOperator,
    key: &[u8],
    operands: &[&'a [u8]],
) -> Option<Cow<'a, [u8]>> {
    if let [operand] = operands {
        return Some(Cow::Borrowed(operand));
    }
    let (older, newer) = operands.split_at_checked(operands.len() / 2)?;
    let left = partial_of_all(operator, key, older)?;
    let right = partial_of_all(operator, key, newer)?;
    partial(operator, key, &left, &right).map(Cow::Owned)
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(String::new, |text| format!(": {text}"))
}

/// Operators by name: those that were registered, and those that are ready made.
#[derive(Clone, Debug, Default)]
pub struct Operators(BTreeMap<String, Arc<dyn MergeOperator>>);

impl Operators {
    /// Registers `operator` by its name, in the place of another of that name.
    pub fn register(&mut self, operator: Arc<dyn MergeOperator>) {
        self.0.insert(operator.name().to_owned(), operator);
    }

    /// The operator called `name`.
    pub fn find(&self, name: &str) -> Option<Arc<dyn MergeOperator>> {
        self.0.get(name).cloned().or_else(|| ready_made(name))
    }
}
