//! Iterators that own what they read.
//!
//! A range pins one snapshot and the view that was current when it was made; it may be sent to
//! another thread and outlive the database handle.

use super::stream::ValueReader;
use crate::base::error::{Error, Result};
use crate::base::id::CollectionId;
use crate::base::key::{KEY_BYTES_MAX, Kind, check_key, prefix_end};
use crate::base::span::Cover;
use crate::base::value::{Key, Value};
use crate::merge::fold::Backing;
use crate::merge::loser::Merged;
use crate::merge::visible::{Item, Scope, Tombstones, Visible};
use crate::tree::view::{Found, View as TreeView};
use crate::txn::snapshot::Pin;
use std::iter::FusedIterator;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// The pairs of a range in key order, from both ends.
///
/// After an error it stays at that error (F-28); after its last pair it stays at `None`.
pub struct Range {
    visible: Visible<Merged>,
    /// Where values lie out of line.
    view: Arc<TreeView>,
    /// The one that was lent last.
    large: Value,
    /// Why one could not be read.
    failed: Option<Error>,
    _pin: Pin,
}

/// Bounds of full keys.
pub(super) type FullBounds = (Bound<Box<[u8]>>, Bound<Box<[u8]>>);

/// The bounds of a range of user keys within a collection.
pub(super) fn bounds_of<K: AsRef<[u8]>>(
    id: CollectionId,
    range: &impl RangeBounds<K>,
) -> FullBounds {
    let full = |key: &K| [&id.0.to_be_bytes()[..], key.as_ref()].concat().into_boxed_slice();
    let start = match range.start_bound() {
        Bound::Included(key) => Bound::Included(full(key)),
        Bound::Excluded(key) => Bound::Excluded(full(key)),
        Bound::Unbounded => Bound::Included(id.0.to_be_bytes().into()),
    };
    let end = match range.end_bound() {
        Bound::Included(key) => Bound::Included(full(key)),
        Bound::Excluded(key) => Bound::Excluded(full(key)),
        Bound::Unbounded => after(&id.0.to_be_bytes()),
    };
    (start, end)
}

/// The range delete that takes away a range of user keys: its first key, and its end as [`Op`]
/// wants it. None if there can be no key in it.
///
/// Errors: `InvalidArgument` if a bound is over the limit of a key.
///
/// [`Op`]: crate::base::batch::Op
pub(super) fn removal_of<K: AsRef<[u8]>>(
    range: &impl RangeBounds<K>,
) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let (start, end) = (range.start_bound(), range.end_bound());
    for bound in [&start, &end] {
        if let Bound::Included(key) | Bound::Excluded(key) = bound {
            check_key(key.as_ref())?;
        }
    }
    let start = match start {
        Bound::Included(key) => Some(key.as_ref().to_vec()),
        Bound::Excluded(key) => next_key(key.as_ref()),
        Bound::Unbounded => Some(Vec::new()),
    };
    let end = match end {
        Bound::Included(key) => next_key(key.as_ref()),
        Bound::Excluded(key) => Some(key.as_ref().to_vec()),
        Bound::Unbounded => None,
    };
    Ok(match (start, end) {
        (Some(start), Some(end)) => (start < end).then_some((start, end)),
        (Some(start), None) => Some((start, Vec::new())),
        (None, _) => None,
    })
}

/// The same for all keys that begin with `prefix`.
pub(super) fn removal_of_prefix(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (prefix.to_vec(), prefix_end(prefix).unwrap_or_default())
}

/// The first key above `key`; none if there can be no other.
fn next_key(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() < KEY_BYTES_MAX {
        return Some([key, b"\0"].concat());
    }
    // Nothing longer is a key.
    prefix_end(key)
}

fn after(prefix: &[u8]) -> Bound<Box<[u8]>> {
    prefix_end(prefix).map_or(Bound::Unbounded, |end| Bound::Excluded(end.into()))
}

impl Range {
    /// What `pin` sees of `bounds` in `view`, which must be as new as the pin.
    pub(super) fn new(view: Arc<TreeView>, pin: Pin, bounds: FullBounds) -> Self {
        let seq = pin.seq();
        Self::opened(view, pin, bounds, move |view, cover| Ok(view.cursor(seq, cover)))
    }

    /// What `pin` sees in `view` of the keys of a collection that begin with `prefix`.
    pub(super) fn of_prefix(
        view: Arc<TreeView>,
        pin: Pin,
        id: CollectionId,
        prefix: &[u8],
    ) -> Self {
        let seq = pin.seq();
        let full = [&id.0.to_be_bytes()[..], prefix].concat();
        let bounds = (Bound::Included(full.clone().into()), after(&full));
        Self::opened(view, pin, bounds, move |view, cover| view.cursor_of_prefix(seq, cover, &full))
    }

    fn opened(
        view: Arc<TreeView>,
        pin: Pin,
        (start, end): FullBounds,
        open: impl Fn(&Arc<TreeView>, &Cover) -> Result<Merged> + Send + 'static,
    ) -> Self {
        let scope = Scope { seq: pin.seq(), start, end, tombstones: Tombstones::Hidden };
        let (cover, gaps) = (view.cover(pin.seq()), view.gaps.clone());
        let (hidden, walked) = (cover.clone(), view.clone());
        let open = Box::new(move || open(&walked, &hidden));
        let visible = Visible::new(open, scope).under(cover).folding(view.clone());
        let visible = visible.telling(Box::new(move |gap| gaps.remember(gap)));
        Self { visible, view, large: Value::EMPTY, failed: None, _pin: pin }
    }

    /// The next pair, lent until the next call: nothing is copied or pinned, but a value that lies
    /// out of line is read. The fast way to walk forward. Errors: `Corruption`, `Io`; repeated by every later call.
    pub fn next_lent(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Some(entry) = self.visible.advance()? else { return Ok(None) };
        let key = entry.key.get(CollectionId::BYTES..).unwrap_or_default();
        if entry.kind != Kind::Blob {
            return Ok(Some((key, entry.value)));
        }
        let large = self.view.large(entry.value);
        self.large = large.inspect_err(|error| self.failed = Some(error.clone()))?;
        Ok(Some((key, &self.large)))
    }

    /// The same keys, each with a [`ValueReader`]: no value that lies out of line is read before its
    /// reader is. The way to walk over values too large to be held, and over keys alone.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let films = db.collection("films")?;
    /// films.insert("first.mkv", vec![7; 3 << 20])?;
    /// for film in films.iter().readers() {
    ///     let (name, reader) = film?;
    ///     println!("{name:?}: {} bytes", reader.len());
    /// }
    /// # Ok::<(), esker::Error>(())
    /// ```
    pub fn readers(self) -> Readers {
        Readers(self)
    }

    /// A pair of either end. An error is told at every call until somebody stops: a `for` loop over
    /// `?` stops.
    #[inline]
    fn pair(&mut self, item: Result<Option<Item>>) -> Option<Result<(Key, Value)>> {
        match item {
            Ok(Some(Item { key, value, kind: Kind::Blob, .. })) => {
                let large = self.view.large(&value);
                self.failed = large.as_ref().err().cloned();
                Some(large.map(|value| (key, value)))
            }
            item => item.transpose().map(|item| item.map(|item| (item.key, item.value))),
        }
    }
}

impl Iterator for Range {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let item = self.visible.next_front();
        self.pair(item)
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let item = self.visible.next_back();
        self.pair(item)
    }
}

impl FusedIterator for Range {}

/// The pairs of a range, with readers in the place of values; see [`Range::readers`].
///
/// Errors: as of [`Range`]; after one it stays at that error.
#[derive(Debug)]
pub struct Readers(Range);

impl Readers {
    fn pair(&mut self, item: Result<Option<Item>>) -> Option<Result<(Key, ValueReader)>> {
        let Item { key, value, kind, .. } = match item.transpose()? {
            Ok(item) => item,
            Err(error) => return Some(Err(error)),
        };
        let found = match kind {
            Kind::Blob => self.0.view.find_large(&value).map(Found::Large),
            _ => Ok(Found::Value(value)),
        };
        let reader = found.and_then(ValueReader::of);
        self.0.failed = reader.as_ref().err().cloned();
        Some(reader.map(|reader| (key, reader)))
    }
}

impl Iterator for Readers {
    type Item = Result<(Key, ValueReader)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = &self.0.failed {
            return Some(Err(error.clone()));
        }
        let item = self.0.visible.next_front();
        self.pair(item)
    }
}

impl DoubleEndedIterator for Readers {
    fn next_back(&mut self) -> Option<Self::Item> {
        if let Some(error) = &self.0.failed {
            return Some(Err(error.clone()));
        }
        let item = self.0.visible.next_back();
        self.pair(item)
    }
}

impl FusedIterator for Readers {}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").finish_non_exhaustive()
    }
}
