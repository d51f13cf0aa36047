//! Folding for readers: the operands of a key, and what they came upon, become its value.
//!
//! ```text
//!   newest first    merge c · merge b · put a · …        a chain ends at a put, a delete, what a
//!                   └──── operands ────┘ └ base           range delete covers, or with the last source
//! ```
//!
//! 1. A chain is gathered whole, over all sources, and folded once (MOSS-19): what comes out does not
//!    depend on where its parts lie.
//! 2. A base that lies out of line is read. One that has expired is as good as a delete.
//! 3. Without an operator, or if it fails, a read is an error that names key, collection and operator.

use super::operator::{self, MergeOperator};
use super::rules::Rule;
use crate::base::cursor::Cursor;
use crate::base::error::{Error, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Kind, split_full_key};
use crate::base::span::Probe;
use crate::base::time::{Time, expiry_of, is_absence, user_value};
use crate::base::value::Value;
use std::fmt::Display;
use std::sync::Arc;

/// What a fold asks for beside the entries.
pub trait Backing: Send + Sync {
    /// What holds for a collection.
    fn rule(&self, collection: CollectionId) -> Arc<Rule>;

    /// The value that lies out of line where `blob` says, which are the bytes of a ref.
    fn large(&self, blob: &[u8]) -> Result<Value>;
}

/// What operands came upon.
#[derive(Debug, Default)]
enum Base {
    #[default]
    Nothing,
    Value(Value),
    /// One with its expiry behind it.
    Expiring(Value),
    /// A ref.
    Outside(Value),
}

/// The operands of a key that one reader sees, and what they came upon.
#[derive(Debug)]
pub struct Chain {
    /// What expires by then is gone.
    now: Time,
    /// Newest first.
    operands: Vec<Value>,
    base: Base,
    /// When that expires.
    expiry: Option<Time>,
}

impl Chain {
    /// Nothing yet; for a reader at this time.
    pub fn at(now: Time) -> Self {
        let (operands, base, expiry) = Default::default();
        Self { now, operands, base, expiry }
    }

    /// Takes in the next older version, which nothing covers. False if it ends the chain.
    pub fn take(&mut self, kind: Kind, value: Value) -> bool {
        let expiry = expiry_of(kind, &value);
        match kind {
            Kind::Merge => self.operands.push(value),
            _ if is_absence(kind, &value, self.now) => {}
            Kind::Put => self.base = Base::Value(value),
            Kind::Expiring => (self.base, self.expiry) = (Base::Expiring(value), expiry),
            Kind::Blob => (self.base, self.expiry) = (Base::Outside(value), expiry),
            Kind::Delete | Kind::RangeDelete => {}
        }
        kind == Kind::Merge
    }

    /// The value that it comes to, as a put at rest: one that expires when what the operands came upon
    /// does. Errors: `InvalidArgument` if there is no operator or it fails; those of reading a base that
    /// lies out of line.
    pub fn fold(&self, full_key: &[u8], backing: &dyn Backing) -> Result<(Kind, Value)> {
        let (collection, key) = split_full_key(full_key).unwrap_or_default();
        let rule = backing.rule(collection);
        let operator = operator_of(&rule, collection).map_err(|error| at_key(&error, key))?;
        let read;
        let existing = match &self.base {
            Base::Nothing => None,
            Base::Value(value) => Some(&**value),
            Base::Expiring(value) => {
                read = user_value(Kind::Expiring, value.clone())?;
                Some(&*read)
            }
            Base::Outside(blob) => {
                read = backing.large(blob)?;
                Some(&*read)
            }
        };
        let operands: Vec<&[u8]> = self.operands.iter().rev().map(|value| &**value).collect();
        let mut value = operator::full(operator, key, existing, &operands).map_err(|said| {
            let name = operator.name();
            let error = format!("the merge operator {name:?} of collection {collection}: {said}");
            at_key(&Error::invalid(error), key)
        })?;
        let kind = match self.expiry {
            None => Kind::Put,
            Some(Time(expiry)) => {
                value.extend_from_slice(&expiry.to_le_bytes());
                Kind::Expiring
            }
        };
        Ok((kind, Value::lent(Arc::new(value), Vec::as_slice)))
    }
}

/// The operator of a collection. Errors: `InvalidArgument` if it has none, or the process does not
/// know the one that it has.
pub fn operator_of(rule: &Rule, collection: CollectionId) -> Result<&dyn MergeOperator> {
    if let Some(operator) = &rule.operator {
        return Ok(&**operator);
    }
    let Some(name) = &rule.missing else { return Err(no_operator(collection)) };
    Err(Error::invalid(format!(
        "the merge operator {name:?} of collection {collection} is not registered: open the database \
         with Options::merge_operator"
    )))
}

fn no_operator(collection: CollectionId) -> Error {
    Error::invalid(format!(
        "collection {collection} has no merge operator: its settings can name one"
    ))
}

fn at_key(error: &Error, key: &[u8]) -> Error {
    fn shown(key: &[u8]) -> impl Display {
        key.get(..64).unwrap_or(key).escape_ascii()
    }
    error.clone().context(format_args!("merge operands of key \"{}\"", shown(key)))
}

/// Folds the chain whose newest operand `cursor` is on: the put that it comes to, at rest. The cursor
/// goes on to where the chain ends, within the key or just behind it.
#[cold]
pub(super) fn fold_under(
    cursor: &mut impl Cursor,
    probe: &mut Probe,
    backing: Option<&dyn Backing>,
    now: Time,
) -> Result<(SeqNo, Kind, Value)> {
    let Some(newest) = cursor.entry() else { return Ok((SeqNo::ZERO, Kind::Put, Value::EMPTY)) };
    let (key, seq) = (newest.key.to_vec(), newest.seq);
    let mut chain = Chain::at(now);
    while let Some(entry) = cursor.entry().filter(|entry| *entry.key == *key) {
        // What a range delete does is told by what covers the key.
        let is_point = entry.kind != Kind::RangeDelete;
        if is_point && (probe.hides(&key, entry.seq) || !chain.take(entry.kind, cursor.value())) {
            break;
        }
        cursor.next()?;
    }
    let (kind, value) = match backing {
        Some(backing) => chain.fold(&key, backing)?,
        None => return Err(at_key(&no_operator(split_full_key(&key).unwrap_or_default().0), &key)),
    };
    Ok((seq, kind, value))
}
