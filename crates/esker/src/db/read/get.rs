//! What a collection is asked, now or at a snapshot: single keys, many at once, where walks begin.

use super::range::{FullBounds, Hold, Range, bounds_of};
use super::reader::{ValueReader, get_range};
use crate::base::error::Result;
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::Lookup;
use crate::base::time::Time;
use crate::base::value::{Key, Value};
use crate::db::collections::collection::{Collection, View};
use crate::tree::estimate::Estimate;
use crate::tree::view::View as TreeView;
use std::ops::RangeBounds;
use std::time::SystemTime;

impl Collection {
    /// The value of a key, pinned where it lies: no copy.
    ///
    /// It sees every write that has returned. Errors: `Corruption`, `Io`; never a false `None`.
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let core = &self.handle.core;
        core.check_open()?;
        let lookup = Lookup::new(self.id, key.as_ref());
        // First the view, then the number: what the view has is then never too new for the number,
        // and nothing older that it still needs can have been dropped from it.
        let view = core.views.load();
        view.get(&lookup, core.visible())
    }

    /// Bytes `range` of the value of a key, as far as it has them: past its end is cut off. None if
    /// the key is absent; empty if the range lies behind the value's end, or ends before it begins.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let films = db.collection("films")?;
    /// films.insert("first.mkv", [b"head".repeat(1000), b"tail".repeat(1000)].concat())?;
    /// assert_eq!(films.get_range("first.mkv", 3998..4002)?.unwrap(), b"adta");
    /// assert_eq!(films.get_range("first.mkv", 7998..)?.unwrap(), b"il");
    /// assert_eq!(films.get_range("second.mkv", ..10)?, None);
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Cost: of a value that lies out of line only that part is read, into memory of its own; one that
    /// is stored compressed is read whole. **No checksum covers a part** of a value that lies out of
    /// line: what comes is what the disk gave. [`Collection::get`] and [`Collection::reader`] verify.
    /// Errors as of [`Collection::get`].
    pub fn get_range(
        &self,
        key: impl AsRef<[u8]>,
        range: impl RangeBounds<u64>,
    ) -> Result<Option<Value>> {
        let core = &self.handle.core;
        core.check_open()?;
        let lookup = Lookup::new(self.id, key.as_ref());
        let view = core.views.load();
        get_range(&view, &lookup, core.visible(), &range)
    }

    /// A reader of the value of a key, which gives it piece by piece: a `std::io::Read`, `BufRead` and
    /// `Seek`. None if the key is absent.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let films = db.collection("films")?;
    /// # let mut copy = Vec::new();
    /// use std::io::{Read, Seek, SeekFrom};
    /// films.insert("first.mkv", vec![7; 3 << 20])?;
    /// let mut reader = films.reader("first.mkv")?.unwrap();
    /// std::io::copy(&mut reader, &mut copy)?; // verified, or an error
    /// assert_eq!(copy, vec![7; 3 << 20]);
    /// let mut last = [0; 2];
    /// reader.seek(SeekFrom::End(-2))?;
    /// reader.read_exact(&mut last)?;
    /// assert_eq!(last, [7; 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Cost: to open, that of a get without its value; then one read of the file for each 256 KiB.
    /// What is verified when: see [`ValueReader`]. Errors as of [`Collection::get`].
    pub fn reader(&self, key: impl AsRef<[u8]>) -> Result<Option<ValueReader>> {
        let core = &self.handle.core;
        core.check_open()?;
        let lookup = Lookup::new(self.id, key.as_ref());
        let view = core.views.load();
        ValueReader::open(&view, &lookup, core.visible())
    }

    /// The values of many keys at one moment, in the order of `keys`.
    ///
    /// Cost: a sort of the keys, then as that many gets, but neighbours share the parts of the index
    /// and the blocks they need: the closer the keys, the cheaper. Errors as of
    /// [`Collection::get`]; one error is the answer to all.
    pub fn multi_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Value>>> {
        let core = &self.handle.core;
        core.check_open()?;
        let view = core.views.load_full();
        get_all(&view, self.id, keys, core.visible())
    }

    /// Whether a key is present; a value out of line is not read for it. Errors as of
    /// [`Collection::get`].
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let core = &self.handle.core;
        core.check_open()?;
        let lookup = Lookup::new(self.id, key.as_ref());
        let view = core.views.load();
        view.contains(&lookup, core.visible())
    }

    /// When the value of a key expires; none if it does not, or the key is absent. Cost and errors as of
    /// [`Collection::contains_key`].
    pub fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<SystemTime>> {
        let core = &self.handle.core;
        core.check_open()?;
        let lookup = Lookup::new(self.id, key.as_ref());
        let view = core.views.load();
        expires_at(&view, &lookup, core.visible())
    }

    /// The pair with the smallest key.
    pub fn first(&self) -> Result<Option<(Key, Value)>> {
        self.iter().next().transpose()
    }

    /// The pair with the largest key.
    pub fn last(&self) -> Result<Option<(Key, Value)>> {
        self.iter().next_back().transpose()
    }

    /// About how many keys there are in a range, and how many bytes.
    ///
    /// Cost: a few reads of indexes, however much there is; it walks over nothing. Old versions and
    /// what was removed with a range count until compaction has dropped them, so a range that is often
    /// overwritten looks larger than it is. Errors: `Corruption`, `Io`.
    pub fn estimate<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<Estimate> {
        let core = &self.handle.core;
        core.check_open()?;
        let (start, end) = bounds_of(self.id, &range).keys();
        core.views.load_full().estimate(&start, &end)
    }

    /// The pairs of a range of keys, as of now.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        self.now().range(range)
    }

    /// The pairs whose keys begin with `prefix`, as of now.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        self.now().prefix(prefix)
    }

    /// All pairs, as of now.
    pub fn iter(&self) -> Range {
        self.now().iter()
    }

    fn now(&self) -> View {
        View { handle: self.handle.clone(), id: self.id, pin: self.handle.pin() }
    }
}

impl View {
    /// The value of a key at that moment. Errors: `Corruption`, `Io`; never a false `None`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let core = &self.handle.core;
        core.check_open()?;
        core.views.load().get(&Lookup::new(self.id, key.as_ref()), self.pin.seq())
    }

    /// Bytes `range` of the value of a key at that moment. No checksum covers a part; cost and errors
    /// as of [`Collection::get_range`].
    pub fn get_range(
        &self,
        key: impl AsRef<[u8]>,
        range: impl RangeBounds<u64>,
    ) -> Result<Option<Value>> {
        let core = &self.handle.core;
        core.check_open()?;
        let lookup = Lookup::new(self.id, key.as_ref());
        get_range(&core.views.load(), &lookup, self.pin.seq(), &range)
    }

    /// A reader of the value of a key at that moment; see [`Collection::reader`].
    pub fn reader(&self, key: impl AsRef<[u8]>) -> Result<Option<ValueReader>> {
        let core = &self.handle.core;
        core.check_open()?;
        let lookup = Lookup::new(self.id, key.as_ref());
        ValueReader::open(&core.views.load(), &lookup, self.pin.seq())
    }

    /// The values of many keys at that moment, in the order of `keys`. Cost and errors as of
    /// [`Collection::multi_get`].
    pub fn multi_get<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Value>>> {
        let core = &self.handle.core;
        core.check_open()?;
        get_all(&core.views.load_full(), self.id, keys, self.pin.seq())
    }

    /// Whether a key was present; a value out of line is not read for it.
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let core = &self.handle.core;
        core.check_open()?;
        core.views.load().contains(&Lookup::new(self.id, key.as_ref()), self.pin.seq())
    }

    /// When the value that a key had at that moment expires; none if it has, does not, or the key was
    /// absent. See [`Collection::expires_at`].
    pub fn expires_at(&self, key: impl AsRef<[u8]>) -> Result<Option<SystemTime>> {
        let core = &self.handle.core;
        core.check_open()?;
        expires_at(&core.views.load(), &Lookup::new(self.id, key.as_ref()), self.pin.seq())
    }

    /// The pair with the smallest key.
    pub fn first(&self) -> Result<Option<(Key, Value)>> {
        self.iter().next().transpose()
    }

    /// The pair with the largest key.
    pub fn last(&self) -> Result<Option<(Key, Value)>> {
        self.iter().next_back().transpose()
    }

    /// The pairs of a range of keys. A range that ends before it starts is empty (MOSS-14).
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Range {
        self.open(bounds_of(self.id, &range))
    }

    /// The pairs whose keys begin with `prefix`. Files that hold none of them are left unread, as far
    /// as their borders tell, and with [`Options::prefix_filter`](crate::Options::prefix_filter)
    /// their filters.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Range {
        let view = self.handle.core.views.load_full();
        Range::of_prefix(view, Hold::Pin(self.pin.clone()), self.id, prefix.as_ref())
    }

    /// All pairs.
    pub fn iter(&self) -> Range {
        self.range::<&[u8]>(..)
    }

    fn open(&self, bounds: FullBounds) -> Range {
        // Loaded after the pin was taken: it is as new as the pin.
        let view = self.handle.core.views.load_full();
        Range::new(view, Hold::Pin(self.pin.clone()), bounds)
    }
}

/// When what a key has as of `at` expires.
fn expires_at(view: &TreeView, key: &Lookup, at: SeqNo) -> Result<Option<SystemTime>> {
    let found = view.look_closely(key, at)?;
    Ok(found.and_then(|(_, expiry)| expiry).and_then(Time::to_system))
}

/// The values of `keys` in their order, which need not be that of the tree.
fn get_all<K: AsRef<[u8]>>(
    view: &TreeView,
    id: CollectionId,
    keys: impl IntoIterator<Item = K>,
    at: SeqNo,
) -> Result<Vec<Option<Value>>> {
    let lookups = keys.into_iter().map(|key| Lookup::new(id, key.as_ref()));
    let mut lookups: Vec<(usize, Lookup)> = lookups.enumerate().collect();
    lookups.sort_by(|(_, a), (_, b)| a.full().cmp(b.full()));
    let (places, lookups): (Vec<usize>, Vec<Lookup>) = lookups.into_iter().unzip();
    let mut answers = vec![None; places.len()];
    for (place, value) in places.into_iter().zip(view.get_all(&lookups, at)?) {
        answers[place] = value;
    }
    Ok(answers)
}
