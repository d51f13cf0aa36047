//! A collection, and a collection as a snapshot sees it.

use super::identity::{Guarded, Identity};
use crate::base::batch::{Batch, Op};
use crate::base::error::{Error, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Kind, Lookup, check_key, check_value};
use crate::base::time::Time;
use crate::base::value::{Key, Value};
use crate::commit::Durability;
use crate::db::handle::Handle;
use crate::db::read::range::{FullBounds, Hold, Range, bounds_of, removal_of, removal_of_prefix};
use crate::db::read::stream::{ValueReader, ValueWriter, get_range};
use crate::tree::estimate::Estimate;
use crate::tree::view::View as TreeView;
use crate::txn::snapshot::Pin;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A named set of pairs, sorted by key. Cheap to clone, may be used from any thread.
///
/// A handle is of one collection, whatever it is called: it goes on working when the collection is
/// renamed. Once that is deleted, writes are `NotFound` and reads find nothing, but with a snapshot
/// from before; one of the same name that is created later is another.
///
/// Methods are named as `BTreeMap`'s where it has the operation.
#[derive(Clone)]
pub struct Collection {
    pub(in crate::db) handle: Arc<Handle>,
    pub(in crate::db) id: CollectionId,
    pub(in crate::db) identity: Arc<Identity>,
    pub(in crate::db) name: Arc<str>,
}

impl Collection {
    pub(in crate::db) fn new(handle: Arc<Handle>, identity: Arc<Identity>) -> Self {
        Self { handle, id: identity.id, name: identity.path(), identity }
    }

    /// The path under which this handle was made. See [`Collection::path`] for what became of it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Errors: `InvalidArgument` if it is of another database than `handle`.
    pub(in crate::db) fn check_owner(&self, handle: &Arc<Handle>) -> Result<()> {
        if Arc::ptr_eq(&self.handle, handle) {
            return Ok(());
        }
        Err(Error::invalid(format!("collection {:?} is of another database", self.name)))
    }

    /// Sets the value of a key, as durable as the database's default says.
    ///
    /// Cost: one copy into the log and one into memory; no system call unless synced. Errors:
    /// `InvalidArgument` over the limits (64 KiB, 1 GiB); `NotFound` if the collection was deleted;
    /// `ReadOnly` after a failed write; `Io`.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.insert_with(key, value, self.handle.core.options.durability)
    }

    /// [`Collection::insert`] with a durability of its own.
    pub fn insert_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<()> {
        self.write(Kind::Put, key.as_ref(), value.as_ref(), durability)
    }

    /// Sets the value of a key until `time_to_live` from now on has passed, whatever the collection's
    /// [time to live](crate::Settings::time_to_live) is; as durable as the database's default says.
    /// Then it is exactly as if it had been removed, for every reader, also with a snapshot or under a
    /// name from before; what it had replaced does not come back.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let sessions = db.collection("sessions")?;
    /// use std::time::Duration;
    /// sessions.insert_with_ttl("alice", "here", Duration::from_secs(3600))?;
    /// assert!(sessions.expires_at("alice")?.is_some());
    /// sessions.insert("alice", "stays")?; // which does not expire
    /// assert!(sessions.expires_at("alice")?.is_none());
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// It is a matter of the [clock](crate::Options::clock), to the millisecond and never too early: a
    /// time of zero is over at once, one that no number of milliseconds can hold, as `Duration::MAX`,
    /// never. A transaction that has read it conflicts once it has expired. Its space is freed
    /// by compactions, which come for a file of the last level when half of it has expired, also where
    /// nobody writes.
    ///
    /// Operands that are merged upon it fold upon it as long as it lives, and stand alone from then on;
    /// what they come to until then expires with it, also where an export or a revert copies it.
    ///
    /// Cost: that of an insert, 8 bytes, and a look at the clock. Errors as of [`Collection::insert`].
    pub fn insert_with_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time_to_live: Duration,
    ) -> Result<()> {
        let expires = Some(self.handle.core.expiry_after(time_to_live));
        let (key, value) = (key.as_ref(), value.as_ref());
        let op = Op { kind: Kind::Put, collection: self.id, key, value, expires };
        self.write_op(op, self.handle.core.options.durability)
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

    /// Removes a key; nothing happens if it is absent. Cost and errors as of
    /// [`Collection::insert`]; it does not read.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.remove_with(key, self.handle.core.options.durability)
    }

    /// [`Collection::remove`] with a durability of its own.
    pub fn remove_with(&self, key: impl AsRef<[u8]>, durability: Durability) -> Result<()> {
        self.write(Kind::Delete, key.as_ref(), &[], durability)
    }

    /// Removes all keys of a range that are there now: those that come later stay. A range that is
    /// empty, or ends before it begins, writes nothing (MOSS-14).
    ///
    /// Cost: that of one insert, however many keys there are; it does not read. Space is freed as
    /// compactions come by, sooner where whole files are covered. Errors as of
    /// [`Collection::insert`]; a bound over the limit of a key is `InvalidArgument`.
    pub fn remove_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        self.remove_range_with(range, self.handle.core.options.durability)
    }

    /// [`Collection::remove_range`] with a durability of its own.
    pub fn remove_range_with<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        durability: Durability,
    ) -> Result<()> {
        self.remove_span(removal_of(&range)?, durability)
    }

    /// Removes all keys that begin with `prefix`. Cost and errors as of
    /// [`Collection::remove_range`].
    pub fn remove_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.remove_prefix_with(prefix, self.handle.core.options.durability)
    }

    /// [`Collection::remove_prefix`] with a durability of its own.
    pub fn remove_prefix_with(
        &self,
        prefix: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<()> {
        self.remove_span(Some(removal_of_prefix(prefix.as_ref())), durability)
    }

    /// Removes all keys; the collection stays. Cost and errors as of [`Collection::remove_range`].
    pub fn clear(&self) -> Result<()> {
        self.clear_with(self.handle.core.options.durability)
    }

    /// [`Collection::clear`] with a durability of its own.
    pub fn clear_with(&self, durability: Durability) -> Result<()> {
        self.remove_prefix_with("", durability)
    }

    /// One that is empty is refused where any other would be, and writes nothing; synced, it makes
    /// durable what came before it as any other does.
    fn remove_span(&self, span: Option<(Vec<u8>, Vec<u8>)>, durability: Durability) -> Result<()> {
        match span {
            Some((start, end)) => self.write(Kind::RangeDelete, &start, &end, durability),
            None => self.handle.core.writing()?.committer.commit(&Batch::default(), durability),
        }
    }

    /// A writer of one value for `key`, which takes it piece by piece: a `std::io::Write`. Nothing is
    /// written before its `finish`.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// # let films = db.collection("films")?;
    /// # let mut file = std::io::Cursor::new(vec![7; 3 << 20]);
    /// let mut writer = films.writer("first.mkv").with_len(3 << 20)?;
    /// std::io::copy(&mut file, &mut writer)?;
    /// writer.finish_with(esker::Durability::Sync)?;
    /// assert_eq!(films.reader("first.mkv")?.unwrap().len(), 3 << 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Cost: the value is gathered in memory once, and written to the log from there; with
    /// [`ValueWriter::with_len`] that memory is taken at once. Errors: here none; a key over its limit
    /// is one of the first write, and of the finish.
    pub fn writer(&self, key: impl AsRef<[u8]>) -> ValueWriter {
        ValueWriter::new(self.clone(), key.as_ref())
    }

    pub(in crate::db) fn default_durability(&self) -> Durability {
        self.handle.core.options.durability
    }

    pub(in crate::db) fn write(
        &self,
        kind: Kind,
        key: &[u8],
        value: &[u8],
        durability: Durability,
    ) -> Result<()> {
        self.write_op(Op { kind, collection: self.id, key, value, expires: None }, durability)
    }

    pub(in crate::db) fn write_op(&self, op: Op<'_>, durability: Durability) -> Result<()> {
        check_key(op.key)?;
        check_value(op.value)?;
        let ops = Guarded { ops: &op, to: std::slice::from_ref(&self.identity) };
        self.handle.core.writing()?.committer.commit(&ops, durability)
    }

    /// Puts in many pairs at once, whose keys ascend strictly, past log and memory: all become visible
    /// together, and are durable on return with every write before them. Answers how many there were.
    /// A write that returned before is older, one that begins afterwards newer.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let db = esker::Db::open(folder.path())?;
    /// let squares = db.collection("squares")?;
    /// let pairs = (0..1000_u64).map(|n| (n.to_be_bytes(), (n * n).to_be_bytes()));
    /// assert_eq!(squares.ingest(pairs)?, 1000);
    /// assert_eq!(squares.get(9_u64.to_be_bytes())?.unwrap(), 81_u64.to_be_bytes());
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// Cost: one write of each pair, and no rewrite where nothing older lies in their range; a flush
    /// of memory and some syncs besides, so it pays from some thousand pairs on. Pairs are not
    /// gathered in memory. Ingests wait for each other: `pairs` must not ingest itself. Other writers
    /// go on, and wait only for the flush of the last memtable at the end.
    ///
    /// Errors: `InvalidArgument` if a key is not above the one before or over a limit; `Busy` if
    /// more than 2^27 operations were written meanwhile (split it and try again); why a flush failed;
    /// `Io`. Then nothing changed, and it may be tried again; but `Io` of the manifest is final: then
    /// it is absent or whole after reopening.
    pub fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64> {
        self.handle.core.ingest(&self.identity, pairs)
    }

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

    /// The collection as `snapshot` sees it.
    pub fn at(&self, snapshot: &Snapshot) -> View {
        View { handle: self.handle.clone(), id: self.id, pin: snapshot.pin.clone() }
    }

    fn now(&self) -> View {
        View { handle: self.handle.clone(), id: self.id, pin: self.handle.pin() }
    }
}

impl std::fmt::Debug for Collection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection").field("name", &self.name).field("id", &self.id).finish()
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

/// One moment of the whole database, over all collections. Pins the versions it sees until the
/// last clone, view and iterator of it is dropped.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(in crate::db) pin: Pin,
}

impl Snapshot {
    /// The last sequence number that it sees.
    pub fn sequence(&self) -> u64 {
        self.pin.seq().0
    }
}

/// A collection at one moment; see [`Collection::at`].
#[derive(Clone)]
pub struct View {
    pub(in crate::db) handle: Arc<Handle>,
    pub(in crate::db) id: CollectionId,
    pub(in crate::db) pin: Pin,
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

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("collection", &self.id).field("seq", &self.pin.seq()).finish()
    }
}
