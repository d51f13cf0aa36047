//! What a change feed gives: batches as they were committed, read from their frames.
//!
//! ```text
//!   frame   put 7:k=v   delete 7:j   put 0:collection/b → 7   delete 0:collection/a   mark
//!   change  Put k=v     Remove j     Named b                  Unnamed a               –
//! ```
//!
//! 1. Every operation of a batch is told, in order, but those that nobody has asked for: marks, and the
//!    counter of collections. Values are those that the user gave, however they are stored.
//! 2. Records of the system collection are told as what they mean, never as bytes.
//! 3. Paths are those after the batch; of a collection that it deletes, the last one.

use crate::base::entry::Logged;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::CollectionId;
use crate::base::key::Kind;
use crate::base::time::Time;
use crate::base::value::{Key, Value};
use crate::commit::fill::op_of;
use crate::db::collections::catalog::{PATH_PREFIX, is_counter, record, record_path};
use crate::db::collections::settings::Settings;
use crate::db::past::named::{NAME_PREFIX, moment};
use crate::env::names::FileName;
use crate::log::large::value_of;
use crate::log::reader::Frame;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was committed as one; see [`Changes`](crate::Changes).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A batch, or a single write, which is a batch of one.
    Batch {
        /// Its first sequence number.
        first: u64,
        /// Its last: the next change has a higher one.
        last: u64,
        /// What it consists of, in order.
        operations: Vec<Operation>,
    },
    /// Ingests and reverts: what they wrote went past the log and is not told. Whoever follows reads
    /// the database as of now, whole, and goes on behind that.
    Bulk {
        /// The number of the first of them.
        first: u64,
        /// The number of the last of them.
        last: u64,
    },
}

impl Change {
    /// Its first sequence number.
    pub fn first(&self) -> u64 {
        match self {
            Self::Batch { first, .. } | Self::Bulk { first, .. } => *first,
        }
    }

    /// Its last sequence number: a follower that has it goes on from the next.
    pub fn last(&self) -> u64 {
        match self {
            Self::Batch { last, .. } | Self::Bulk { last, .. } => *last,
        }
    }
}

/// One operation of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Its number.
    pub sequence: u64,
    /// The number of the collection, which it keeps for good; none where there is none, or where that
    /// of a path that goes is not known.
    pub collection: Option<u32>,
    /// The path of the collection. None if it is not known: its record was written anew since the
    /// feed's beginning, and what it was before is not there any more. Follow by number.
    pub path: Option<Arc<str>>,
    /// What was done.
    pub action: Action,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The key has this value.
    Put {
        /// The key.
        key: Key,
        /// The value, as it was given.
        value: Value,
        /// When it expires, in milliseconds since the Unix epoch; none if never. That it has is not told.
        expires: Option<u64>,
    },
    /// The key is absent.
    Remove {
        /// The key.
        key: Key,
    },
    /// The operand is applied to what the key has, by the collection's merge operator.
    Merge {
        /// The key.
        key: Key,
        /// The operand.
        operand: Value,
    },
    /// Every key from `start` to `end`, that one not included, is absent.
    RemoveRange {
        /// The first key.
        start: Key,
        /// Where it ends; none: all keys of the collection from `start` on.
        end: Option<Key>,
    },
    /// The collection has the path, and these settings. It is new, unless its number was seen before:
    /// then it was renamed or configured. One that had the path before was deleted, as by `Unnamed`.
    Named {
        /// All that is set for it.
        settings: Settings,
    },
    /// No collection has the path any more. The one that had it was deleted, with all that was in it;
    /// unless the batch names it otherwise.
    Unnamed,
    /// A snapshot of the moment of a number was named.
    SnapshotNamed {
        /// Its name.
        name: String,
        /// The last number that it sees.
        sequence: u64,
    },
    /// The name of a snapshot was forgotten.
    SnapshotForgotten {
        /// It.
        name: String,
    },
}

/// What collections are called, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Names {
    paths: BTreeMap<CollectionId, Arc<str>>,
    ids: BTreeMap<Arc<str>, CollectionId>,
}

impl Names {
    /// Takes in a record of the system collection; others than those that name collections are left
    /// alone.
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.starts_with(PATH_PREFIX) {
            self.put(record(key, value)?.0, record_path(key)?.into());
        }
        Ok(())
    }

    fn put(&mut self, id: CollectionId, path: Arc<str>) {
        self.paths.insert(id, path.clone());
        self.ids.insert(path, id);
    }

    /// Which one no longer has the path.
    fn take(&mut self, path: &str) -> Option<CollectionId> {
        let id = self.ids.remove(path)?;
        if self.paths.get(&id).is_some_and(|now| **now == *path) {
            self.paths.remove(&id);
        }
        Some(id)
    }
}

/// The batch in a frame of the log `name`; none if there are only marks in it.
///
/// Cost: one copy of the payload; a large value that is packed is unpacked. Errors: `Corruption` naming
/// the file and offset; `Unsupported` for what a newer version wrote.
pub(super) fn change_of(
    name: FileName,
    frame: &Frame<'_>,
    names: &mut Names,
) -> Result<Option<Change>> {
    let of_frame =
        |error: Error| error.context(format_args!("{name}, the batch at byte {}", frame.at));
    for entry in frame.operations() {
        note_name(&entry, names).map_err(of_frame)?;
    }
    let payload: Arc<Box<[u8]>> = Arc::new(frame.payload.into());
    let lend = |value: &[u8]| {
        let start = value.as_ptr().addr().wrapping_sub(frame.payload.as_ptr().addr());
        Value::lent(payload.clone(), |all| all.get(start..start + value.len()).unwrap_or_default())
    };
    let mut operations = Vec::new();
    for entry in frame.operations() {
        let value = match value_of(name.id, frame, &entry)? {
            Cow::Borrowed(value) => lend(value),
            Cow::Owned(value) => Value::lent(Arc::new(value), |value| value),
        };
        operations.extend(operation(&entry, value, names).map_err(of_frame)?);
    }
    if operations.is_empty() {
        return Ok(None);
    }
    let (first, last) = (frame.first.0, frame.last.0);
    Ok(Some(Change::Batch { first, last, operations }))
}

/// Takes in what a record of the catalog calls a collection.
fn note_name(entry: &Logged<'_>, names: &mut Names) -> Result<()> {
    let Some(op) = op_of(entry).filter(|op| op.collection == CollectionId::SYSTEM) else {
        return Ok(());
    };
    if op.kind == Kind::Put { names.load(op.key, op.value) } else { Ok(()) }
}

/// The operation of an entry; none for the counter.
fn operation(entry: &Logged<'_>, value: Value, names: &mut Names) -> Result<Option<Operation>> {
    let op = op_of(entry).ok_or_else(|| {
        Error::new(ErrorKind::Corruption, "want a key with a collection id, found a shorter one")
    })?;
    let sequence = entry.seq.0;
    if op.collection == CollectionId::SYSTEM {
        return system_operation(sequence, op.kind, op.key, op.value, names);
    }
    let key = Key::from(op.key);
    let action = match op.kind {
        Kind::Put | Kind::Blob | Kind::Expiring => {
            Action::Put { key, value, expires: entry.expiry.map(|Time(time)| time) }
        }
        Kind::Delete => Action::Remove { key },
        Kind::Merge => Action::Merge { key, operand: value },
        Kind::RangeDelete => {
            let end = Some(op.value).filter(|end| !end.is_empty()).map(Key::from);
            Action::RemoveRange { start: key, end }
        }
    };
    let (collection, path) = (Some(op.collection.0), names.paths.get(&op.collection).cloned());
    Ok(Some(Operation { sequence, collection, path, action }))
}

/// What a record of the system collection means; none for the counter.
fn system_operation(
    sequence: u64,
    kind: Kind,
    key: &[u8],
    value: &[u8],
    names: &mut Names,
) -> Result<Option<Operation>> {
    let of_all = |action| Operation { sequence, collection: None, path: None, action };
    let name = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    Ok(match (kind, key.strip_prefix(NAME_PREFIX)) {
        _ if is_counter(key) => None,
        (Kind::Put, Some(_)) => moment(key, value)?.map(|(name, seq)| {
            of_all(Action::SnapshotNamed { name: name.to_owned(), sequence: seq.0 })
        }),
        (Kind::Delete, Some(forgotten)) => {
            Some(of_all(Action::SnapshotForgotten { name: name(forgotten) }))
        }
        (Kind::Put, None) if key.starts_with(PATH_PREFIX) => {
            let (id, settings) = record(key, value)?;
            let (collection, path) = (Some(id.0), Some(record_path(key)?.into()));
            Some(Operation { sequence, collection, path, action: Action::Named { settings } })
        }
        (Kind::Delete, None) if key.starts_with(PATH_PREFIX) => {
            let path = record_path(key)?;
            let collection = names.take(path).map(|id| id.0);
            let path = Some(path.into());
            Some(Operation { sequence, collection, path, action: Action::Unnamed })
        }
        _ => {
            let message = format!("record {} of the system collection", key.escape_ascii());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}
