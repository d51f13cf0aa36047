//! Other things to get of a range than pairs: readers of values, keys alone, what was removed; and
//! ranges that pin nothing and fail fast.

use super::range::{FullBounds, Hold, Range, Side, bounds_of};
use super::reader::ValueReader;
use crate::base::error::Result;
use crate::base::key::Kind;
use crate::base::value::{Key, Value};
use crate::db::collections::collection::{Collection, View};
use crate::merge::visible::Tombstones;
use std::iter::FusedIterator;
use std::ops::RangeBounds;

/// The pairs of a range, with readers in the place of values; see [`Range::readers`].
///
/// Errors: as of [`Range`]; after one it stays at that error.
#[derive(Debug)]
pub struct Readers(pub(in crate::db) Range);

impl Readers {
    fn next_at(&mut self, side: Side) -> Option<Result<(Key, ValueReader)>> {
        let item = match self.0.item(side).transpose()? {
            Ok(item) => item,
            Err(error) => return Some(Err(error)),
        };
        let reader = self.0.found(item.value, item.kind).and_then(ValueReader::of);
        Some(self.0.settle(reader).map(|reader| (item.key, reader)))
    }
}

/// The keys of a range; see [`Range::keys`]. Errors: as of [`Range`].
#[derive(Debug)]
pub struct Keys(pub(in crate::db) Range);

impl Iterator for Keys {
    type Item = Result<Key>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_key().transpose()
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.item(Side::Back).transpose().map(|item| item.map(|item| item.key))
    }
}

/// The keys of a range with their values, or none where a key was removed; see [`View::entries`].
/// Errors: as of [`Range`].
#[derive(Debug)]
pub struct Entries(Range);

impl Entries {
    fn next_at(&mut self, side: Side) -> Option<Result<(Key, Option<Value>)>> {
        let item = match self.0.item(side).transpose()? {
            Ok(item) => item,
            Err(error) => return Some(Err(error)),
        };
        Some(match item.kind {
            Kind::Delete | Kind::RangeDelete => Ok((item.key, None)),
            _ => self.0.value(item).map(|(key, value)| (key, Some(value))),
        })
    }
}

macro_rules! both_ends {
    ($($walk:ident => $item:ty;)*) => {
        $(
            impl Iterator for $walk {
                type Item = Result<$item>;

                fn next(&mut self) -> Option<Self::Item> {
                    self.next_at(Side::Front)
                }
            }

            impl DoubleEndedIterator for $walk {
                fn next_back(&mut self) -> Option<Self::Item> {
                    self.next_at(Side::Back)
                }
            }

            impl FusedIterator for $walk {}
        )*
    };
}

both_ends! {
    Readers => (Key, ValueReader);
    Entries => (Key, Option<Value>);
}

impl FusedIterator for Keys {}

impl View {
    /// The keys of a range with their values, and those that were removed and not written since, as
    /// long as compaction has not forgotten them: for tools. Keys that were removed with a range are
    /// not among them (MOSS-17).
    pub fn entries<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Entries {
        let bounds = bounds_of(self.id, &range);
        let view = self.handle.core.views.load_full();
        Entries(Range::showing(Tombstones::Shown, view, Hold::Pin(self.pin.clone()), bounds))
    }
}

/// A collection whose ranges fail fast; see [`Collection::fail_fast`].
#[derive(Clone, Debug)]
pub struct FailFast(Collection);

impl Collection {
    /// Ranges that pin nothing, and end with `Interrupted` at the first step after a write to the
    /// collection has returned, whatever its key, so that what they give is always the newest there is
    /// (HEST-3). Snapshot ranges, as of [`Collection::range`], go on and give what there was.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let users = db.collection("users")?;
    /// # users.insert("alice", "1")?;
    /// # users.insert("bob", "2")?;
    /// let mut range = users.fail_fast().iter();
    /// assert_eq!(range.next().unwrap()?.0, b"alice");
    /// users.insert("carol", "3")?;
    /// assert_eq!(range.next().unwrap().unwrap_err().kind(), esker::ErrorKind::Interrupted);
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// For long walks beside which old versions should not be kept, and for readers who would rather
    /// begin again than see what is old. Cost: a load a step; while there is such a range, each write
    /// to the database looks for it.
    pub fn fail_fast(&self) -> FailFast {
        FailFast(self.clone())
    }
}

impl FailFast {
    /// The pairs of a range of keys, until the collection is written to.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        self.open(bounds_of(self.0.id, &range))
    }

    /// The pairs whose keys begin with `prefix`, until the collection is written to.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        let (hold, view) = self.0.watch();
        Range::of_prefix(view, hold, self.0.id, prefix.as_ref())
    }

    /// All pairs, until the collection is written to.
    pub fn iter(&self) -> Range {
        self.range::<&[u8]>(..)
    }

    fn open(&self, bounds: FullBounds) -> Range {
        let (hold, view) = self.0.watch();
        Range::new(view, hold, bounds)
    }
}

impl Collection {
    /// Watches the collection, and the view that it has from now on.
    fn watch(&self) -> (Hold, std::sync::Arc<crate::tree::view::View>) {
        let core = &self.handle.core;
        let watches = core.writing.as_ref().map(|writing| writing.committer.watches().clone());
        let watch = watches.unwrap_or_default().watch(self.id);
        // First the view, then the number, as a get does: nothing of the view that the number needs
        // can have been dropped, and what is newer than the view has ended the watch.
        let view = core.views.load_full();
        (Hold::Watch(watch, core.visible()), view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::watch::Watches;
    use crate::db::Db;
    use crate::env::sim::Sim;
    use std::sync::Arc;

    /// What is visible and has not returned may lie in a memtable that the view of such a range lacks,
    /// though its number is lower: it must not tell others that nothing is there.
    #[test]
    fn a_range_that_pins_nothing_hides_nothing_from_others() {
        let db = Db::options().env(Sim::new(1)).open("/db").unwrap();
        let c = db.collection("c").unwrap();
        for key in 0..100_u8 {
            c.insert([key], "old").unwrap();
            c.remove([key]).unwrap();
        }
        let core = db.core();
        let view = core.views.load_full();
        // Another writes between its view and its number, in a new generation.
        core.writing().unwrap().committer.seal().unwrap();
        c.insert([50], "new").unwrap();
        let watch = Arc::new(Watches::default()).watch(c.id);
        let bounds = bounds_of(c.id, &([0]..[200]));
        let range = Range::new(view, Hold::Watch(watch, core.visible()), bounds);
        assert_eq!(range.count(), 0);
        assert_eq!(c.range([0]..[200]).count(), 1);
    }
}
