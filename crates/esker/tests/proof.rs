//! Law 6 against planted faults: whatever goes wrong between the walk and the writer, in an input
//! or in a verdict is caught before anything is published.
//!
//! ```text
//!   plant ─▶ job ─▶ Corruption     no edit, no file, inputs live, every read as before
//!   take away ─▶ job ─▶ done       every read as before, verify is clean
//! ```
//!
//! F-36 names the kinds: lost, doubled, altered, out of order; SST-17 and SST-18 the proof.

#![expect(clippy::disallowed_methods, reason = "a test flips bits of a real file under a map")]
#![expect(clippy::unwrap_used, reason = "the world of a test is built by functions")]

use esker::base::blob::{Address, BlobRef};
use esker::base::id::SeqNo;
use esker::base::key::{Entry, Kind};
use esker::base::time::Time;
use esker::env::sim::Sim;
use esker::merge::rewrite::{Ends, Plant};
use esker::merge::{Beneath, Keep};
use esker::{Access, Collection, Db, ErrorKind, Options, Result, Settings, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// An entry does not reach the writer.
    Lost,
    /// An entry comes twice.
    Doubled,
    /// An entry comes with another value.
    Value,
    /// An entry comes under another key that fits in.
    Key,
    /// An entry comes with another number.
    Number,
    /// An entry comes with another kind.
    OtherKind,
    /// An entry comes after the one that it should precede.
    Late,
    /// An entry comes with the same large value at another address.
    Address,
    /// The walk takes it that nothing lies beneath.
    NothingBeneath,
    /// The walk takes it that no snapshot is held.
    NoSnapshots,
    /// The walk takes it that every range delete is spent.
    Spent,
    /// The walk takes it to be much later.
    Later,
    /// A part ends before the last key below where the next one begins.
    Gap,
    /// A part ends behind the key with which the next one begins.
    Overlap,
    /// A part walks everything.
    Everything,
    /// Operands are folded to something else.
    Fold,
    /// A value that is copied does not reach the writer.
    Unwritten,
    /// Of a value that is copied another byte reaches the writer.
    Stored,
    /// Another value is copied, with its own ref.
    Another,
    /// A value is copied to another address.
    Elsewhere,
}

const BETWEEN_WALK_AND_WRITER: [Fault; 7] = [
    Fault::Lost,
    Fault::Doubled,
    Fault::Value,
    Fault::Key,
    Fault::Number,
    Fault::OtherKind,
    Fault::Late,
];

/// Which of the entries is hit.
const HIT: usize = 3;

#[derive(Debug, Default)]
struct Planted(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    written: usize,
    /// Parts that were begun.
    parts: usize,
    /// Large values that were copied.
    copied: usize,
    late: Option<(Vec<u8>, SeqNo, Kind, Vec<u8>)>,
}

impl Planted {
    fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap() = State { fault, ..State::default() };
    }
}

impl Plant for Planted {
    fn keep(&self, keep: &Keep) -> Option<Keep> {
        let keep = keep.clone();
        match self.0.lock().unwrap().fault? {
            Fault::NothingBeneath => Some(Keep { beneath: Beneath::nothing(), ..keep }),
            Fault::NoSnapshots => Some(Keep { snapshots: Vec::new(), ..keep }),
            Fault::Spent => {
                let spent = keep.spans.iter().map(|span| span.seq).collect();
                Some(Keep { spent, ..keep })
            }
            Fault::Later => Some(Keep { now: Time(u64::MAX - 1), ..keep }),
            _ => None,
        }
    }

    fn clip(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Option<Ends> {
        let mut state = self.0.lock().unwrap();
        state.parts += 1;
        let (fault, to) = (state.fault?, to?);
        let lower = |key: &[u8]| {
            let (last, rest) = key.split_last().unwrap();
            [rest, &[last - 1]].concat()
        };
        let to = match fault {
            Fault::Gap => lower(to),
            Fault::Overlap => [to, b"\0"].concat(),
            Fault::Everything => return Some((None, None)),
            _ => return None,
        };
        Some((from.map(Into::into), Some(to.into())))
    }

    fn fold(&self, value: &[u8]) -> Option<Vec<u8>> {
        let is_planted = self.0.lock().unwrap().fault == Some(Fault::Fold);
        is_planted.then(|| [value, b"!"].concat())
    }

    fn copy(
        &self,
        blob: &BlobRef,
        stored: &[u8],
        write: &mut dyn FnMut(&BlobRef, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.0.lock().unwrap().copy(blob, stored, write)
    }

    fn write(
        &self,
        entry: &Entry<'_>,
        write: &mut dyn FnMut(&Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        let place = state.written;
        state.written += 1;
        if let Some((key, seq, kind, value)) = state.late.take() {
            write(entry)?;
            return write(&Entry { key: &key, seq, kind, value: &value });
        }
        let Some(fault) = state.fault.filter(|_| place == HIT) else { return write(entry) };
        let other_key = [entry.key, b"\0"].concat();
        match fault {
            Fault::Lost => Ok(()),
            Fault::Doubled => write(entry).and_then(|()| write(entry)),
            Fault::Value if entry.kind == Kind::Blob => {
                let another = BlobRef::raw(address(entry), b"another").encode();
                write(&Entry { value: &another, ..*entry })
            }
            Fault::Value => write(&Entry { value: b"another", ..*entry }),
            Fault::Address => {
                let blob = BlobRef::decode(entry.value).unwrap();
                let there = address(entry);
                let address = Address::new(there.file(), there.offset() + 1).unwrap();
                write(&Entry { value: &BlobRef { address, ..blob }.encode(), ..*entry })
            }
            Fault::Key => write(&Entry { key: &other_key, ..*entry }),
            Fault::Number => write(&Entry { seq: SeqNo(entry.seq.0 - 1), ..*entry }),
            Fault::OtherKind => write(&Entry { kind: Kind::Merge, ..*entry }),
            Fault::Late => {
                let (key, value) = (entry.key.to_vec(), entry.value.to_vec());
                state.late = Some((key, entry.seq, entry.kind, value));
                Ok(())
            }
            _ => write(entry),
        }
    }
}

impl State {
    /// Hands on what a cleaning copies, as the fault wants it.
    fn copy(
        &mut self,
        blob: &BlobRef,
        stored: &[u8],
        write: &mut dyn FnMut(&BlobRef, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.copied += 1;
        let Some(fault) = self.fault.filter(|_| self.copied - 1 == HIT) else {
            return write(blob, stored);
        };
        let changed = [&stored[..stored.len() - 1], b"?"].concat();
        match fault {
            Fault::Unwritten => Ok(()),
            Fault::Stored => write(blob, &changed),
            Fault::Another => write(&BlobRef::raw(blob.address, &changed), &changed),
            Fault::Elsewhere => {
                let there = blob.address;
                let address = Address::new(there.file(), there.offset() - 1).unwrap();
                write(&BlobRef { address, ..*blob }, stored)
            }
            other => panic!("{other:?} is not of a cleaning"),
        }
    }
}

/// Where the large value of `entry` lies.
fn address(entry: &Entry<'_>) -> Address {
    BlobRef::decode(entry.value).unwrap().address
}

/// A database on a simulated disk whose jobs run when they are told to.
struct World {
    sim: Arc<Sim>,
    planted: Arc<Planted>,
    db: Db,
    c: Collection,
}

impl World {
    fn new(access: Access) -> Self {
        Self::with(Db::options().access(access))
    }

    fn with(options: Options) -> Self {
        Self::of(options, &Settings::default())
    }

    /// With these settings of the collection.
    fn of(options: Options, settings: &Settings) -> Self {
        let (sim, planted) = (Sim::new(36), Arc::new(Planted::default()));
        let options = options.env(sim.clone()).plant(planted.clone());
        let db = options.background_compaction(false).open("/db").unwrap();
        let c = db.collection_with("c", settings).unwrap();
        Self { sim, planted, db, c }
    }

    /// Two runs that lie on each other.
    fn two_runs() -> Self {
        let world = Self::new(Access::Mapped);
        for round in 0..2 {
            for i in 0..20 {
                world.c.insert(format!("k{i:02}"), format!("v{round}-{i}")).unwrap();
            }
            world.c.remove(format!("k0{round}")).unwrap();
            world.db.flush().unwrap();
        }
        world
    }

    /// The same, of large values.
    fn two_large_runs() -> Self {
        let world = Self::new(Access::Mapped);
        for round in 0..2 {
            for i in 0..20 {
                world.c.insert(format!("k{i:02}"), large(round, i)).unwrap();
            }
            world.c.remove(format!("k0{round}")).unwrap();
            world.db.flush().unwrap();
        }
        world
    }

    fn files(&self, kind: &str) -> BTreeSet<PathBuf> {
        let all = self.sim.list_all().into_iter().map(|(path, _)| path);
        all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(kind)).collect()
    }

    /// The lines of the manifest that name segments and balances.
    fn manifest(&self) -> Vec<String> {
        let newest = self.files("manifest-").pop_last().unwrap();
        let text = String::from_utf8(self.sim.read_file(&newest).unwrap()).unwrap();
        let says = |line: &str| [" add ", " remove ", " balance "].iter().any(|w| line.contains(w));
        text.lines().filter(|line| says(line)).map(str::to_owned).collect()
    }

    /// All that is read, now and at `snapshot`.
    fn read(&self, snapshot: &Snapshot) -> Vec<(Vec<u8>, Vec<u8>)> {
        let now = self.c.iter().map(Result::unwrap);
        let then = self.c.at(snapshot).iter().map(Result::unwrap);
        now.chain(then).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    /// Plants `fault`, runs `job`, and looks at what it left; then again without the fault.
    fn catches(&self, fault: Fault, snapshot: &Snapshot, job: impl Fn(&Db) -> Result<()>) {
        let segments = self.files("seg-");
        let (read, manifest) = (self.read(snapshot), self.manifest());
        self.planted.set(Some(fault));
        let error = job(&self.db).expect_err(&format!("{fault:?}"));
        assert_eq!(error.kind(), ErrorKind::Corruption, "{fault:?}: {error}");
        assert_eq!(self.files("seg-"), segments, "{fault:?}");
        assert_eq!(self.manifest(), manifest, "{fault:?}");
        assert_eq!(self.read(snapshot), read, "{fault:?}");
        let report = self.db.verify().unwrap();
        assert!(report.is_whole(), "{fault:?}: {:?}", report.damages);

        self.planted.set(None);
        job(&self.db).unwrap();
        assert_eq!(self.read(snapshot), read, "{fault:?}");
        let report = self.db.verify().unwrap();
        assert!(report.is_whole(), "{fault:?}: {:?}", report.damages);
        assert_ne!(self.files("seg-"), segments, "{fault:?}");
    }
}

#[test]
fn a_flush_that_loses_doubles_alters_or_disorders_an_entry_is_not_published() {
    for fault in BETWEEN_WALK_AND_WRITER {
        let world = World::two_runs();
        for i in 0..10 {
            world.c.insert(format!("n{i}"), "new").unwrap();
        }
        let snapshot = world.db.snapshot();
        world.catches(fault, &snapshot, Db::flush);
    }
}

/// Law 4, SST-18: what the walk takes for expired and is not is caught, a value in line or out of line,
/// and as what operands came upon.
#[test]
fn a_value_that_still_lives_is_not_dropped_as_expired() {
    let hour = Duration::from_secs(3600);
    for large in [5, 5000] {
        let world = World::new(Access::Mapped);
        for i in 0..20 {
            world.c.insert(format!("k{i:02}"), "old").unwrap();
        }
        world.db.flush().unwrap();
        for i in 0..20 {
            world.c.insert_with_ttl(format!("k{i:02}"), vec![1; large], hour).unwrap();
        }
        world.db.flush().unwrap();
        let snapshot = world.db.snapshot();
        world.catches(Fault::Later, &snapshot, Db::compact);
        world.sim.advance(hour);
        world.db.compact().unwrap();
        assert!(world.read(&snapshot).is_empty());
        assert!(world.db.verify().unwrap().is_whole());
    }
    let world = World::of(Db::options(), &Settings::default().merge_operator("append:"));
    world.c.insert_with_ttl("k", "base", hour).unwrap();
    world.db.flush().unwrap();
    world.c.merge("k", "1").unwrap();
    world.c.merge("k", "2").unwrap();
    world.db.flush().unwrap();
    let snapshot = world.db.snapshot();
    world.catches(Fault::Later, &snapshot, Db::compact);
}

/// A value that lies out of line.
fn large(round: usize, i: usize) -> Vec<u8> {
    format!("v{round}-{i};").repeat(600).into_bytes()
}

#[test]
fn a_flush_or_compaction_of_large_values_that_alters_a_ref_is_not_published() {
    for fault in BETWEEN_WALK_AND_WRITER.into_iter().chain([Fault::Address]) {
        for flush in [true, false] {
            let world = World::two_large_runs();
            for i in 0..10 {
                world.c.insert(format!("n{i}"), large(2, i)).unwrap();
            }
            if !flush {
                world.db.flush().unwrap();
            }
            let snapshot = world.db.snapshot();
            assert!(!world.files("blob-").is_empty());
            world.catches(fault, &snapshot, if flush { Db::flush } else { Db::compact });
        }
    }
}

impl World {
    /// Large values in one file, every other of them dead.
    fn to_clean() -> Self {
        let world = Self::new(Access::Mapped);
        for i in 0..40 {
            world.c.insert(format!("k{i:02}"), large(0, i)).unwrap();
        }
        world.db.flush().unwrap();
        (0..40).step_by(2).for_each(|i| world.c.remove(format!("k{i:02}")).unwrap());
        world
    }

    fn pairs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = self.c.iter().map(Result::unwrap);
        pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }
}

/// MACE-15, law 6: a value that is lost, altered or mistaken on its way into the new file is caught by
/// the balance, or by the digest that the writer looks at last.
#[test]
fn a_cleaning_that_loses_or_alters_a_value_is_not_published() {
    for fault in [Fault::Unwritten, Fault::Stored, Fault::Another, Fault::Elsewhere] {
        let world = World::to_clean();
        let read = world.pairs();
        world.planted.set(Some(fault));
        // What comes before the cleaning is done with the first try.
        world.db.compact().expect_err(&format!("{fault:?}"));
        let files = || (world.files("seg-"), world.files("blob-"));
        let before = (files(), world.manifest());
        world.planted.set(Some(fault));
        let error = world.db.compact().expect_err(&format!("{fault:?}"));
        assert_eq!(error.kind(), ErrorKind::Corruption, "{fault:?}: {error}");
        assert_eq!((files(), world.manifest()), before, "{fault:?}");
        assert_eq!(world.pairs(), read, "{fault:?}");
        assert!(world.db.verify().unwrap().is_whole(), "{fault:?}");
        assert_eq!(world.db.stats().cleanings, 0);

        world.planted.set(None);
        world.db.compact().unwrap();
        assert_eq!(world.pairs(), read, "{fault:?}");
        assert!(world.db.verify().unwrap().is_whole(), "{fault:?}");
        assert_eq!((world.db.stats().cleanings, world.db.stats().blob_values), (1, 20));
        assert_ne!(world.files("blob-"), before.0.1);
    }
}

#[test]
fn a_compaction_that_loses_doubles_alters_or_disorders_an_entry_is_not_published() {
    for fault in BETWEEN_WALK_AND_WRITER {
        let world = World::two_runs();
        let snapshot = world.db.snapshot();
        world.catches(fault, &snapshot, Db::compact);
    }
}

/// Keys of one length, in runs that lie on each other and are large enough to be merged in parts.
fn world_of_parts() -> World {
    let world = World::with(Db::options().slab_bytes(16 << 10).compaction_threads(3));
    for round in 0..2 {
        for i in 0..240 {
            let key = format!("k{:03}", i * 101 % 240);
            world.c.insert(key, format!("v{round}-{i}").repeat(40)).unwrap();
        }
        world.c.remove(format!("k0{round}0")).unwrap();
        world.db.flush().unwrap();
        if round == 0 {
            // Or the oldest run would move down unread.
            world.db.compact().unwrap();
        }
    }
    world
}

/// A part that goes wrong is caught, and so are parts of which each is right and all together are
/// not: where one ends and the next begins nothing may be left out or come twice.
#[test]
fn a_compaction_in_parts_that_goes_wrong_in_one_or_between_two_is_not_published() {
    let between = [Fault::Gap, Fault::Overlap, Fault::Everything];
    for fault in BETWEEN_WALK_AND_WRITER.into_iter().chain(between) {
        let world = world_of_parts();
        let snapshot = world.db.snapshot();
        let before = world.db.stats().compaction_parts;
        world.catches(fault, &snapshot, Db::compact);
        let parts = world.planted.0.lock().unwrap().parts as u64;
        assert!(parts > 1, "{fault:?}: {parts}");
        assert_eq!(parts, world.db.stats().compaction_parts - before, "{fault:?}");
    }
}

/// The output of a merge in parts is that of a merge in one, but for where files end.
#[test]
fn a_compaction_in_parts_gives_what_one_in_one_gives() {
    let worlds = [1, 3].map(|threads| {
        let world = world_of_parts();
        world.db.close().unwrap();
        let options = Db::options().slab_bytes(16 << 10).compaction_threads(threads);
        let db = options.background_compaction(false).env(world.sim.clone()).open("/db").unwrap();
        db.compact().unwrap();
        assert!(db.verify().unwrap().is_whole());
        let stats = db.stats();
        assert_eq!(stats.compaction_parts > 1, threads > 1);
        let pairs: Vec<_> = db.collection("c").unwrap().iter().map(Result::unwrap).collect();
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        (pairs, stats.segment_entries, db.checksum().unwrap())
    });
    assert_eq!(worlds[0], worlds[1]);
}

/// Whoever flushes knows nothing of what lies beneath: all that hides something must stay.
#[test]
fn a_tombstone_that_hides_what_lies_beneath_is_not_dropped() {
    let world = World::new(Access::Mapped);
    for i in 0..20 {
        world.c.insert(format!("k{i:02}"), "old").unwrap();
    }
    world.c.remove("k05").unwrap();
    let snapshot = world.db.snapshot();
    world.catches(Fault::NothingBeneath, &snapshot, Db::flush);
}

#[test]
fn what_a_snapshot_needs_is_not_dropped() {
    for is_range in [false, true] {
        for flush in [false, true] {
            let world = World::new(Access::Mapped);
            for i in 0..20 {
                world.c.insert(format!("k{i:02}"), "old").unwrap();
            }
            let snapshot = world.db.snapshot();
            if !flush {
                world.db.flush().unwrap();
            }
            if is_range {
                world.c.remove_range("k03".."k07").unwrap();
            } else {
                world.c.remove("k05").unwrap();
            }
            if !flush {
                world.db.flush().unwrap();
            }
            let job = if flush { Db::flush } else { Db::compact };
            world.catches(Fault::NoSnapshots, &snapshot, job);
        }
    }
}

#[test]
fn a_range_delete_that_hides_what_lies_beneath_or_is_read_is_not_dropped() {
    for flush in [true, false] {
        let world = World::two_runs();
        let snapshot = world.db.snapshot();
        world.c.remove_range("k03".."k07").unwrap();
        if !flush {
            world.db.flush().unwrap();
        }
        world.catches(Fault::Spent, &snapshot, if flush { Db::flush } else { Db::compact });
    }
}

/// A world whose collection appends.
fn world_of_lists() -> World {
    World::of(Db::options(), &Settings::default().merge_operator("append::"))
}

/// Upon a put, upon nothing, and where only neighbours are combined.
#[test]
fn a_fold_that_gives_something_else_is_not_published() {
    for (flush, base) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = world_of_lists();
        for i in 0..10 {
            if base {
                world.c.insert(format!("k{i}"), "base").unwrap();
            }
            world.c.merge(format!("k{i}"), "one").unwrap();
            if !flush && i == 5 {
                world.db.flush().unwrap();
            }
            world.c.merge(format!("k{}", i / 2), "two").unwrap();
        }
        if !flush {
            world.db.flush().unwrap();
        }
        let snapshot = world.db.snapshot();
        world.catches(Fault::Fold, &snapshot, if flush { Db::flush } else { Db::compact });
    }
}

/// Operands must not be folded upon nothing where something may lie beneath, nor those that a snapshot
/// sees with those that it does not.
#[test]
fn a_fold_that_leaves_out_what_lies_beneath_or_mixes_what_a_snapshot_sees_is_not_published() {
    for fault in [Fault::NothingBeneath, Fault::NoSnapshots] {
        let world = world_of_lists();
        for i in 0..10 {
            world.c.merge(format!("k{i}"), "one").unwrap();
        }
        let snapshot = world.db.snapshot();
        for i in 0..10 {
            world.c.merge(format!("k{i}"), "two").unwrap();
        }
        world.catches(fault, &snapshot, Db::flush);
    }
}

/// Flips a bit in each block of the older input, readers having looked at all of them before: a
/// checksum that was right once proves nothing of an input.
fn flips(
    db: &Db,
    segments: &dyn Fn() -> BTreeMap<PathBuf, u64>,
    flip: &dyn Fn(&Path, u64),
) -> Result<()> {
    let c = db.collection("c")?;
    for round in 0..2 {
        for i in 0..100 {
            c.insert(format!("k{i:03}"), format!("{round}-{i}").repeat(100))?;
        }
        db.flush()?;
    }
    let snapshot = db.snapshot();
    let read = || {
        let view = c.at(&snapshot);
        c.iter().chain(view.iter()).collect::<Result<Vec<_>>>()
    };
    let (before, files) = (read()?, segments());
    let (oldest, bytes) = files.first_key_value().unwrap();
    let name = oldest.file_name().unwrap().to_string_lossy();
    let places: Vec<u64> = (100..bytes * 9 / 10).step_by(4 << 10).collect();
    assert!(places.len() > 5, "{bytes} bytes");
    for at in places {
        flip(oldest, at);
        let error = db.compact().expect_err(&format!("byte {at}"));
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert!(error.message().contains(&*name), "{error}");
        assert_eq!(segments(), files, "byte {at}");
        let damages = db.verify()?.damages;
        assert!(damages.len() == 1 && damages.iter().all(|d| d.file == name), "{damages:?}");
        flip(oldest, at);
    }
    assert_eq!(read()?, before);
    db.compact()?;
    assert_eq!(read()?, before);
    assert!(db.verify()?.is_whole());
    Ok(())
}

#[test]
fn a_flipped_bit_in_any_block_of_an_input_stops_the_compaction() {
    let World { sim, db, .. } = World::new(Access::Positioned);
    let is_segment = |(path, _): &(PathBuf, u64)| path.to_string_lossy().contains("/seg-");
    let segments = || sim.list_all().into_iter().filter(is_segment).collect();
    flips(&db, &segments, &|path, at| sim.flip(path, at, 3).unwrap()).unwrap();
}

/// The same through a map, which only the real disk changes under a reader.
#[test]
fn a_flipped_bit_under_a_map_stops_the_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::options().background_compaction(false).open(folder.path()).unwrap();
    let segments = || {
        let files = fs::read_dir(folder.path()).unwrap().map(std::result::Result::unwrap);
        let files = files.map(|file| (file.path(), file.metadata().unwrap().len()));
        files.filter(|(path, _)| path.to_string_lossy().contains("/seg-")).collect()
    };
    let flip = |path: &Path, at: u64| {
        let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[byte[0] ^ 8]).unwrap();
    };
    flips(&db, &segments, &flip).unwrap();
}
