//! Iterators that own what they read.
//!
//! A range pins one snapshot and the view that was current when it was made; it may be sent to
//! another thread and outlive the database handle. One that fails fast pins no snapshot, and ends
//! with an error once its collection was written to.

use super::scans::{Keys, Readers};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{KEY_BYTES_MAX, Kind, check_key, full_key, key_after, prefix_end};
use crate::base::span::Cover;
use crate::base::time::{Time, split};
use crate::base::value::{Key, Value};
use crate::commit::watch::Watch;
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
    collection: CollectionId,
    visible: Visible<Merged>,
    /// Where values lie out of line.
    view: Arc<TreeView>,
    /// The one that was lent last.
    large: Value,
    /// Why one could not be read.
    failed: Option<Error>,
    hold: Hold,
}

/// A pair, lent, and when it expires.
pub(super) type LentClosely<'a> = (&'a [u8], &'a [u8], Option<Time>);

/// How a range keeps to its moment.
#[derive(Debug)]
pub(super) enum Hold {
    /// The versions that it sees are kept.
    Pin(Pin),
    /// They are those of the view, up to a number; it ends when they are no longer the newest.
    Watch(Watch, SeqNo),
}

impl Hold {
    fn seq(&self) -> SeqNo {
        match self {
            Self::Pin(pin) => pin.seq(),
            Self::Watch(_, seq) => *seq,
        }
    }
}

/// Bounds of full keys, all of one collection.
pub(in crate::db) struct FullBounds {
    pub(in crate::db) collection: CollectionId,
    pub(in crate::db) start: Bound<Box<[u8]>>,
    pub(in crate::db) end: Bound<Box<[u8]>>,
}

impl FullBounds {
    /// The first full key inside, and the first one above.
    pub(in crate::db) fn keys(self) -> (Box<[u8]>, Box<[u8]>) {
        let start = match self.start {
            Bound::Included(key) => key,
            Bound::Excluded(key) => key_after(&key),
            Bound::Unbounded => Box::default(),
        };
        let end = match self.end {
            Bound::Included(key) => key_after(&key),
            Bound::Excluded(key) => key,
            // Above every collection.
            Bound::Unbounded => [u8::MAX; CollectionId::BYTES + 1].into(),
        };
        (start, end)
    }
}

/// Which end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum Side {
    Front,
    Back,
}

/// The bounds of a range of user keys within a collection.
pub(in crate::db) fn bounds_of<K: AsRef<[u8]>>(
    id: CollectionId,
    range: &impl RangeBounds<K>,
) -> FullBounds {
    let full = |key: &K| full_key(id, key.as_ref());
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
    FullBounds { collection: id, start, end }
}

/// The range delete that takes away a range of user keys: its first key, and its end as [`Op`]
/// wants it. None if there can be no key in it.
///
/// Errors: `InvalidArgument` if a bound is over the limit of a key.
///
/// [`Op`]: crate::base::batch::Op
pub(in crate::db) fn removal_of<K: AsRef<[u8]>>(
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
pub(in crate::db) fn removal_of_prefix(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
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

fn interrupted() -> Error {
    let message = "the collection was written to while it was walked: begin again";
    Error::new(ErrorKind::Interrupted, message)
}

fn after(prefix: &[u8]) -> Bound<Box<[u8]>> {
    prefix_end(prefix).map_or(Bound::Unbounded, |end| Bound::Excluded(end.into()))
}

impl Range {
    /// What there is of `bounds` in `view`, which must be as new as a pin in `hold`.
    pub(super) fn new(view: Arc<TreeView>, hold: Hold, bounds: FullBounds) -> Self {
        Self::showing(Tombstones::Hidden, view, hold, bounds)
    }

    /// The same, perhaps with deleted keys.
    pub(super) fn showing(
        tombstones: Tombstones,
        view: Arc<TreeView>,
        hold: Hold,
        bounds: FullBounds,
    ) -> Self {
        let seq = hold.seq();
        Self::opened(tombstones, view, hold, bounds, move |view, cover| Ok(view.cursor(seq, cover)))
    }

    /// What there is in `view` of the keys of a collection that begin with `prefix`.
    pub(super) fn of_prefix(
        view: Arc<TreeView>,
        hold: Hold,
        id: CollectionId,
        prefix: &[u8],
    ) -> Self {
        let seq = hold.seq();
        let full = full_key(id, prefix);
        let (start, end) = (Bound::Included(full.clone()), after(&full));
        let bounds = FullBounds { collection: id, start, end };
        Self::opened(Tombstones::Hidden, view, hold, bounds, move |view, cover| {
            view.cursor_of_prefix(seq, cover, &full)
        })
    }

    fn opened(
        tombstones: Tombstones,
        view: Arc<TreeView>,
        hold: Hold,
        bounds: FullBounds,
        open: impl Fn(&Arc<TreeView>, &Cover) -> Result<Merged> + Send + 'static,
    ) -> Self {
        let FullBounds { collection, start, end } = bounds;
        let (seq, now) = (hold.seq(), view.clock.now());
        let scope = Scope { seq, now, start, end, tombstones };
        let (cover, gaps) = (view.cover(seq, now), view.gaps.clone());
        let (hidden, walked) = (cover.clone(), view.clone());
        let open = Box::new(move || open(&walked, &hidden));
        let visible = Visible::new(open, scope).under(cover).folding(view.clone());
        let visible = match hold {
            Hold::Pin(_) => visible.telling(Box::new(move |gap| gaps.remember(gap, now))),
            // Its view may lack what its number has: what it does not find may be there.
            Hold::Watch(..) => visible,
        };
        Self { collection, visible, view, large: Value::EMPTY, failed: None, hold }
    }

    /// The next pair, lent until the next call: nothing is copied or pinned, but a value that lies
    /// out of line is read. The fast way to walk forward. Errors: `Corruption`, `Io`; repeated by every later call.
    pub fn next_lent(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        Ok(self.next_lent_closely()?.map(|(key, value, _)| (key, value)))
    }

    /// The same, and when it expires.
    pub(in crate::db) fn next_lent_closely(&mut self) -> Result<Option<LentClosely<'_>>> {
        self.check()?;
        let Some(entry) = self.visible.advance()? else { return Ok(None) };
        let key = entry.key.get(CollectionId::BYTES..).unwrap_or_default();
        if entry.kind != Kind::Blob {
            let parts = split(entry.kind, entry.value);
            let (value, expiry) = parts.inspect_err(|error| self.failed = Some(error.clone()))?;
            return Ok(Some((key, value, expiry)));
        }
        let expiry = entry.expiry();
        let large = self.view.large(entry.value);
        self.large = large.inspect_err(|error| self.failed = Some(error.clone()))?;
        Ok(Some((key, &self.large, expiry)))
    }

    /// The same keys, each with a [`ValueReader`](crate::ValueReader): no value that lies out of line is
    /// read before its reader is. The way to walk over values too large to be held, and over keys alone.
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

    /// The same keys without their values: no value is pinned or read.
    pub fn keys(self) -> Keys {
        Keys(self)
    }

    /// Places the front before the first key at or after `key`, or at the start of the range if that is
    /// higher; it may go back to what was given already. The back keeps its place: what that end has
    /// given is not given again (MOSS-15).
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let users = db.collection("users")?;
    /// users.insert("alice", "1")?;
    /// users.insert("carol", "3")?;
    /// let mut range = users.iter();
    /// range.seek("b")?;
    /// assert_eq!(range.next().unwrap()?.0, b"carol");
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Cost: a search in each source. Errors: `Corruption`, `Io`; an earlier error is forgotten if it
    /// succeeds, unless it was `Interrupted`.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.check_watch()?;
        let full = full_key(self.collection, key.as_ref());
        self.failed = None;
        self.visible.seek(&full)
    }

    /// What expires by then is not among its pairs.
    pub(in crate::db) fn now(&self) -> Time {
        self.visible.now()
    }

    /// Errors: what ended the range.
    fn check(&mut self) -> Result<()> {
        if !self.visible.has_ended() {
            self.check_watch()?;
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Errors: `Interrupted` once its collection was written to.
    #[inline]
    fn check_watch(&mut self) -> Result<()> {
        match &self.hold {
            Hold::Watch(watch, _) if watch.is_over() => Err(interrupted()),
            _ => Ok(()),
        }
    }

    /// The next item of either end, or why there is none.
    #[inline]
    pub(in crate::db) fn item(&mut self, side: Side) -> Result<Option<Item>> {
        self.check()?;
        match side {
            Side::Front => self.visible.next_front(),
            Side::Back => self.visible.next_back(),
        }
    }

    /// The next key from the front, without its value.
    pub(super) fn next_key(&mut self) -> Result<Option<Key>> {
        self.check()?;
        let entry = self.visible.advance()?;
        Ok(entry.map(|entry| Key::from(entry.key.get(CollectionId::BYTES..).unwrap_or_default())))
    }

    /// Has it stay at an error, if there is one.
    pub(in crate::db) fn settle<T>(&mut self, result: Result<T>) -> Result<T> {
        self.failed = result.as_ref().err().cloned();
        result
    }

    /// A pair of either end. An error is told at every call until somebody stops: a `for` loop over
    /// `?` stops.
    #[inline]
    fn pair(&mut self, side: Side) -> Option<Result<(Key, Value)>> {
        match self.item(side) {
            Ok(Some(item)) => Some(self.value(item)),
            item => item.transpose().map(|item| item.map(|item| (item.key, item.value))),
        }
    }

    /// An item with its value, read if it lies out of line.
    #[inline]
    pub(in crate::db) fn value(&mut self, item: Item) -> Result<(Key, Value)> {
        if item.kind != Kind::Blob {
            return Ok((item.key, item.value));
        }
        let large = self.view.large(&item.value);
        self.settle(large).map(|value| (item.key, value))
    }

    /// What an item refers to, not read yet.
    pub(in crate::db) fn found(&self, value: Value, kind: Kind) -> Result<Found> {
        match kind {
            Kind::Blob => self.view.find_large(&value).map(Found::Large),
            _ => Ok(Found::Value(value)),
        }
    }
}

impl Iterator for Range {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pair(Side::Front)
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.pair(Side::Back)
    }
}

impl FusedIterator for Range {}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Range").finish_non_exhaustive()
    }
}
