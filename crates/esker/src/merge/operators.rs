//! Ready-made merge operators. Every database knows them by name, without being told.
//!
//! | operator | name | operand | folds with a partial |
//! |---|---|---|---|
//! | [`U64Add`] | `u64-add` | 8 bytes, little-endian | yes |
//! | [`Append`] | `append:` and the separator | any bytes | yes |
//! | [`Max`], [`Min`] | `max`, `min` | any bytes, compared bytewise | yes |
//! | [`SetUnion`] | `set-union` | a set: see [`SetUnion::encode`] | yes |
//!
//! 1. What an operand says does not depend on what lies beneath: so all of them combine neighbours,
//!    and a load that only merges reads nothing (MOSS-D12).
//! 2. An operand that is not in the form above has no result: the read says so, and neither it nor
//!    its neighbours are lost.

use super::operator::MergeOperator;
use crate::base::coding::{Decoder, put_varint, to_u64};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The ready-made operator called `name`.
pub(super) fn ready_made(name: &str) -> Option<Arc<dyn MergeOperator>> {
    Some(match name {
        "u64-add" => Arc::new(U64Add),
        "max" => Arc::new(Max),
        "min" => Arc::new(Min),
        "set-union" => Arc::new(SetUnion),
        name => Arc::new(Append::new(name.strip_prefix(APPEND)?)),
    })
}

/// A counter: adds operands of 8 bytes, little-endian, modulo 2^64.
///
/// Modulo, so that the two's complement of a negative number subtracts: `(-3_i64).to_le_bytes()` is an
/// operand too. Where nothing exists it begins at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct U64Add;

impl U64Add {
    /// The number that a value or an operand stands for; none unless it has 8 bytes.
    pub fn decode(bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(u64::from_le_bytes)
    }

    /// The operand that adds `number`, which is also the value `number`.
    pub fn encode(number: u64) -> [u8; 8] {
        number.to_le_bytes()
    }
}

impl MergeOperator for U64Add {
    fn name(&self) -> &str {
        "u64-add"
    }

    fn full(&self, _: &[u8], existing: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut sum = 0_u64;
        for bytes in existing.iter().chain(all) {
            let number = Self::decode(bytes)
                .ok_or_else(|| format!("want 8 bytes, found {}", bytes.len()))?;
            sum = sum.wrapping_add(number);
        }
        Ok(Self::encode(sum).to_vec())
    }

    fn partial(&self, _: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        let sum = Self::decode(left)?.wrapping_add(Self::decode(right)?);
        Some(Self::encode(sum).to_vec())
    }
}

const APPEND: &str = "append:";

/// A list: appends the separator and then the operand, to whatever exists.
///
/// The separator comes before every operand, also before the first where nothing exists: with ":" the
/// operands a and b give ":a:b", and upon x they give "x:a:b" (MOSS-20).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    name: String,
}

impl Append {
    /// With this separator, which may be empty.
    pub fn new(separator: &str) -> Self {
        Self { name: format!("{APPEND}{separator}") }
    }

    fn separator(&self) -> &[u8] {
        self.name.as_bytes().get(APPEND.len()..).unwrap_or_default()
    }
}

impl MergeOperator for Append {
    fn name(&self) -> &str {
        &self.name
    }

    fn full(&self, _: &[u8], existing: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut value = existing.unwrap_or_default().to_vec();
        for operand in all {
            value.extend_from_slice(self.separator());
            value.extend_from_slice(operand);
        }
        Ok(value)
    }

    fn partial(&self, _: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        Some([left, self.separator(), right].concat())
    }
}

/// The greatest of what exists and the operands, compared bytewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Max;

impl MergeOperator for Max {
    fn name(&self) -> &str {
        "max"
    }

    fn full(&self, _: &[u8], existing: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        Ok(existing.iter().chain(all).max().copied().unwrap_or_default().to_vec())
    }

    fn partial(&self, _: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        Some(left.max(right).to_vec())
    }
}

/// The least of what exists and the operands, compared bytewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Min;

impl MergeOperator for Min {
    fn name(&self) -> &str {
        "min"
    }

    fn full(&self, _: &[u8], existing: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        Ok(existing.iter().chain(all).min().copied().unwrap_or_default().to_vec())
    }

    fn partial(&self, _: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        Some(left.min(right).to_vec())
    }
}

/// A set of byte strings: its operands are sets, and it unites them.
///
/// ```
/// use esker::operators::SetUnion;
/// let set = SetUnion::encode(["red", "green", "red"]);
/// assert_eq!(SetUnion::decode(&set).unwrap(), [&b"green"[..], b"red"]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetUnion;

impl SetUnion {
    /// The bytes of a set, as value and as operand: its items in ascending order, each once and after
    /// its length, a LEB128 varint. The empty set is empty.
    pub fn encode<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
        let items: Vec<T> = items.into_iter().collect();
        encode_set(items.iter().map(AsRef::as_ref).collect())
    }

    /// The items of a set, ascending; none if `bytes` is not what [`SetUnion::encode`] makes.
    ///
    /// Cost: a pass; nothing is copied.
    pub fn decode(bytes: &[u8]) -> Option<Vec<&[u8]>> {
        let mut input = Decoder::new(bytes);
        let mut items: Vec<&[u8]> = Vec::new();
        while !input.is_empty() {
            let len = usize::try_from(input.minimal_varint()?).ok()?;
            let item = input.bytes(len)?;
            if items.last().is_some_and(|last| *last >= item) {
                return None;
            }
            items.push(item);
        }
        Some(items)
    }
}

fn encode_set(items: BTreeSet<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        put_varint(&mut out, to_u64(item.len()));
        out.extend_from_slice(item);
    }
    out
}

impl MergeOperator for SetUnion {
    fn name(&self) -> &str {
        "set-union"
    }

    fn full(&self, _: &[u8], existing: Option<&[u8]>, all: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut union = BTreeSet::new();
        for bytes in existing.iter().chain(all) {
            let items = Self::decode(bytes)
                .ok_or_else(|| format!("want a set, found \"{}\"", brief(bytes)))?;
            union.extend(items);
        }
        Ok(encode_set(union))
    }

    fn partial(&self, _: &[u8], left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
        let items = Self::decode(left)?.into_iter().chain(Self::decode(right)?);
        Some(encode_set(items.collect()))
    }
}

fn brief(bytes: &[u8]) -> String {
    bytes.get(..16).map_or_else(
        || bytes.escape_ascii().to_string(),
        |start| format!("{}… of {} bytes", start.escape_ascii(), bytes.len()),
    )
}

#[cfg(test)]
mod tests;
