//! Damage to every byte, sector, length and name of a database: found, or harmless; never wrong data.
//!
//! ```text
//!   image A: closed cleanly         ┐  copy ─▶ damage ─▶ open ─▶ read all ─▶ verify
//!   image D: the same, large values │
//!   image E: the same, and packed   │
//!   images B, C: killed, with marks ┘                    └ error that names a file, or all is right,
//!                                                          or (B and C) a reported torn tail
//! ```
//!
//! 1. What is read must be one state: the last; in B and C also an older one, but none that lacks a frame
//!    before the damage, nor any if a durable mark behind the damage is whole (F-34).
//! 2. What is lost is reported, unless nothing but zeros or the end of the file is left of it.
//! 3. Every place is tried, none is sampled. The tables that are printed are measured.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

mod support;

use esker::base::id::FileId;
use esker::env::names::FileName;
use esker::env::sim::{Loss, Sim};
use esker::manifest::line::Chain;
use esker::{Compression, Damage, Db, Durability, Error, ErrorKind, Key, Options, Value};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::guarded;
use support::program::dir;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type Contents = BTreeMap<&'static str, Pairs>;
type Checked<T = ()> = Result<T, String>;

const NAMES: [&str; 2] = ["a", "b"];
const KEYS: u32 = 12;

/// The bytes of one commit in a log that is still needed.
struct Frame {
    log: PathBuf,
    start: usize,
    end: usize,
    sync: bool,
    /// The state before it.
    before: usize,
}

/// A database on a disk, and all that it may hold.
struct Image {
    world: Arc<Sim>,
    files: Vec<(PathBuf, Vec<u8>)>,
    /// What was there after each commit.
    states: Vec<Contents>,
    /// Empty after a clean close: all is promised.
    frames: Vec<Frame>,
    /// A manifest as it once was.
    older: (PathBuf, Vec<u8>),
}

/// What was done to a file: bytes of it are other ones, or it is gone.
type Harm = (Range<usize>, Option<Vec<u8>>);

/// At open, on read, by verify; then harmless and torn.
const OUTCOMES: [&str; 5] = ["at open", "on read", "by verify", "harmless", "torn"];
const HARMLESS: usize = 3;
const TORN: usize = 4;

fn options(world: &Arc<Sim>) -> Options {
    let options = Db::options().env(world.clone()).slab_bytes(4 << 10).memory_budget(1 << 20);
    options.background_compaction(false).sync_interval(None).blob_threshold(256)
}

fn files(world: &Sim) -> Vec<(PathBuf, Vec<u8>)> {
    let listed = world.list_all().into_iter().map(|(path, _)| path);
    listed.map(|path| (path.clone(), world.read_file(&path).unwrap())).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// What a file holds: `log`, `seg`, `manifest` or `LOCK`.
fn kind(path: &Path) -> &str {
    name(path).split('-').next().unwrap()
}

fn key(number: u32) -> Vec<u8> {
    format!("key-{number:03}").into_bytes()
}

/// Builds an image commit by commit.
struct Builder {
    world: Arc<Sim>,
    db: Db,
    dice: support::Dice,
    keys: u32,
    /// How many different bytes values are of: few pack well.
    letters: u64,
    states: Vec<Contents>,
    frames: Vec<Frame>,
}

impl Builder {
    fn new(compression: Compression) -> Self {
        Self::with(|options| options.compression(compression))
    }

    fn with(set: impl FnOnce(Options) -> Options) -> Self {
        let world = Sim::new(7);
        let db = set(options(&world)).open(dir()).unwrap();
        let empty = NAMES.map(|name| (name, Pairs::new())).into();
        for name in NAMES {
            db.collection(name).unwrap();
        }
        let (dice, states) = (support::Dice::new(3), vec![empty]);
        Self { world, db, dice, keys: KEYS, letters: 8, states, frames: Vec::new() }
    }

    fn commit(&mut self, changes: usize, bytes: usize, how: Durability) {
        let mut state = self.states.last().unwrap().clone();
        let mut batch = self.db.batch();
        for _ in 0..changes {
            let (name, key) =
                (self.dice.pick(&NAMES), key(self.dice.below(self.keys.into()) as u32));
            let collection = self.db.collection(name).unwrap();
            let pairs = state.get_mut(name).unwrap();
            if self.dice.one_in(6) {
                batch.remove(&collection, &key).unwrap();
                pairs.remove(&key);
            } else {
                let value: Vec<u8> =
                    (0..bytes).map(|_| self.dice.below(self.letters) as u8 + b'a').collect();
                batch.insert(&collection, &key, &value).unwrap();
                pairs.insert(key, value);
            }
        }
        batch.commit_with(how).unwrap();
        self.note_frame(how == Durability::Sync);
        self.states.push(state);
    }

    fn note_frame(&mut self, sync: bool) {
        let end_of = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map(|at| at + 1);
        let mut logs = files(&self.world).into_iter().filter(|(path, _)| kind(path) == "log").rev();
        let (log, end) = logs.find_map(|(log, bytes)| Some((log, end_of(&bytes)?))).unwrap();
        let last = self.frames.last().filter(|last| last.log == log);
        let start = last.map_or(0, |last| last.end);
        let before = self.states.len() - 1;
        self.frames.push(Frame { log, start, end, sync, before });
    }

    fn flush(&mut self) {
        self.db.flush().unwrap();
        self.frames.clear();
    }

    fn manifest(&self) -> (PathBuf, Vec<u8>) {
        let mut files = files(&self.world).into_iter();
        files.rfind(|(path, _)| kind(path) == "manifest").unwrap()
    }

    fn close(self, older: (PathBuf, Vec<u8>)) -> Image {
        let Self { world, db, states, .. } = self;
        db.close().unwrap();
        Image { files: files(&world), world, states, frames: Vec::new(), older }
    }
}

/// Image A: three segments, two of one length, and a log; closed cleanly.
fn closed() -> Image {
    let mut builder = Builder::new(Compression::None);
    for _ in 0..2 {
        builder.commit(10, 24, Durability::Buffered);
        builder.flush();
    }
    let older = builder.manifest();
    builder.commit(10, 60, Durability::Sync);
    builder.flush();
    (0..4).for_each(|_| builder.commit(3, 30, Durability::Buffered));
    builder.close(older)
}

/// Images B and C: compressed segments and two logs with marks, in C also in the later log; the
/// process was killed.
fn killed(later: &[bool]) -> Image {
    let mut builder = Builder::new(Compression::Lz4);
    builder.commit(10, 60, Durability::Sync);
    builder.flush();
    let older = builder.manifest();
    builder.commit(10, 90, Durability::Buffered);
    builder.flush();
    let durable = [false, true, false, true, false, true, false, true, false, false];
    for &sync in durable.iter().chain(later) {
        let how = if sync { Durability::Sync } else { Durability::Buffered };
        builder.commit(4, 90, how);
    }
    let Builder { world: living, db, states, frames, .. } = builder;
    let world = living.crash(Loss::None);
    living.kill();
    drop(db);
    Image { files: files(&world), world, states, frames, older }
}

/// Images D and E: a log that was taken over, a file of large values with a table, a log with one
/// more; closed cleanly.
fn large(compression: Compression) -> Image {
    let mut builder = Builder::with(|options| options.blob_compression(compression));
    let is_packed = compression != Compression::None;
    builder.letters = if is_packed { 2 } else { 8 };
    builder.commit(6, if is_packed { 1500 } else { 300 }, Durability::Buffered);
    builder.flush();
    let older = builder.manifest();
    builder.commit(14, 90, Durability::Sync);
    builder.commit(4, 260, Durability::Buffered);
    builder.flush();
    builder.commit(1, 280, Durability::Buffered);
    let stats = builder.db.stats();
    assert_eq!((stats.logs_adopted, stats.logs_copied, stats.blobs), (1, 1, 2), "{stats}");
    let logged =
        files(&builder.world).into_iter().find(|(path, _)| kind(path) == "blob").unwrap().1;
    let has_codec = logged.windows(2).any(|bytes| bytes == [0x48, 1]);
    assert_eq!(has_codec, is_packed, "the field of a codec");
    builder.close(older)
}

fn images() -> [(&'static str, Image); 5] {
    [
        ("A", closed()),
        ("B", killed(&[false])),
        ("C", killed(&[true, false, true, false, true])),
        ("D", large(Compression::None)),
        ("E", large(Compression::Lz4)),
    ]
}

impl Image {
    /// The oldest state that may be found after damage to the bytes `from..to` of `path`.
    fn floor(&self, path: &Path, from: usize, to: usize) -> usize {
        let newest = self.states.len() - 1;
        let mut frames = self.frames.iter();
        let Some(hit) = frames.position(|frame| frame.log == path && frame.end > from) else {
            return newest;
        };
        let mut behind = self.frames[hit..].iter().enumerate().filter(|(_, frame)| frame.sync);
        // Its mark rides in the next frame of its log, and only there.
        let promised = behind.any(|(index, sync)| {
            let next = self.frames.get(hit + index + 1);
            next.is_some_and(|m| m.log == sync.log && (m.log != path || m.start >= to))
        });
        if promised { newest } else { self.frames[hit].before }
    }

    /// Whether nothing of the frames from state `from` on is left in the log `path`.
    fn is_gone(&self, world: &Sim, path: &Path, from: usize) -> bool {
        let frame = self.frames.iter().find(|frame| frame.before == from && frame.log == path);
        let bytes = world.read_file(path).unwrap_or_default();
        let rest = frame.and_then(|frame| bytes.get(frame.start..));
        frame.is_some() && rest.unwrap_or_default().iter().all(|byte| *byte == 0)
    }

    /// The files of one kind.
    fn of(&self, wanted: &str) -> Vec<&(PathBuf, Vec<u8>)> {
        self.files.iter().filter(|(path, _)| kind(path) == wanted).collect()
    }

    /// A copy in which some files are other ones.
    fn with<const N: usize>(&self, files: [(&Path, &[u8]); N]) -> Arc<Sim> {
        let world = self.world.snapshot();
        files.iter().for_each(|(path, bytes)| world.write_file(path, *bytes).unwrap());
        world
    }

    /// Does a harm to a copy, and says what it gives. Errors: what must not be.
    fn judge(&self, path: &Path, (place, bytes): Harm) -> Checked<usize> {
        let world = self.world.snapshot();
        match bytes {
            Some(bytes) => world.write_file(path, bytes).unwrap(),
            None => world.remove_file(path).unwrap(),
        }
        self.examine(&world, path, self.floor(path, place.start, place.end))
    }

    /// Opens, reads and verifies what lies in `world`, of which `path` is damaged.
    fn examine(&self, world: &Arc<Sim>, path: &Path, floor: usize) -> Checked<usize> {
        let mut outcome = HARMLESS;
        guarded(|| self.examined(world, path, floor).map(|is| outcome = is))?;
        if world.panics() == 0 { Ok(outcome) } else { Err("a worker panicked".into()) }
    }

    fn examined(&self, world: &Arc<Sim>, path: &Path, floor: usize) -> Checked<usize> {
        let damaged = world.snapshot();
        let db = match options(world).open(dir()) {
            Ok(db) => db,
            Err(error) => return named(&error).map(|()| 0),
        };
        let states: Vec<_> = (floor..self.states.len()).collect();
        let mut reading = Reading { states, image: self, errors: 0 };
        reading.all(&db)?;
        let lost = !reading.states.contains(&(self.states.len() - 1));
        let report = db.recovery();
        let told = !report.torn.is_empty() || report.manifest_torn_bytes > 0;
        if lost && !told && !self.is_gone(&damaged, path, reading.states[0]) {
            return Err(format!("{report}: but state {:?} came back", reading.states));
        }
        let verified = db.verify().map_err(|error| error.to_string())?;
        let is_vague = |damage: &&Damage| FileName::parse(&damage.file).is_none();
        if let Some(vague) = verified.damages.iter().find(is_vague) {
            return Err(format!("no file is named: {}", vague.message));
        }
        match (reading.errors > 0, verified.is_whole()) {
            (true, true) => Err("verify did not see what reading met".into()),
            (true, false) => Ok(1),
            (false, false) => Ok(2),
            (false, true) => Ok(if lost || told { TORN } else { HARMLESS }),
        }
    }
}

/// An error must be of damage, and name a file.
fn named(error: &Error) -> Checked {
    let parts = error.message().split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let names = parts.filter_map(FileName::parse).count();
    match error.kind() {
        ErrorKind::Corruption | ErrorKind::Unsupported if names > 0 => Ok(()),
        _ => Err(format!("an error that does not name the damaged file: {error}")),
    }
}

/// Whether what was read is so in a state.
type Is<'a> = &'a dyn Fn(&Contents) -> bool;

/// Reads everything, and keeps the states that agree with all that was read.
struct Reading<'a> {
    image: &'a Image,
    states: Vec<usize>,
    errors: usize,
}

impl Reading<'_> {
    /// Notes an error, or keeps the states in which what was read is so.
    fn keep(&mut self, read: Result<(), Error>, what: &str, is: Is<'_>) -> Checked {
        if let Err(error) = read {
            self.errors += 1;
            return named(&error);
        }
        let before = self.states.clone();
        self.states.retain(|&state| is(&self.image.states[state]));
        let wrong = format!("{what} gave what is in none of the states {before:?}");
        if self.states.is_empty() { Err(wrong) } else { Ok(()) }
    }

    fn all(&mut self, db: &Db) -> Checked {
        for name in NAMES {
            let collection = db.existing_collection(name).map_err(|error| error.to_string())?;
            let collection = collection.ok_or_else(|| format!("collection {name} is missing"))?;
            for key in (0..KEYS).map(key) {
                let (mut found, read) = (None, collection.get(&key));
                let read = read.map(|value| found = value.map(|value| value.to_vec()));
                self.keep(read, "get", &|state| state[name].get(&key) == found.as_ref())?;
            }
            for absent in ["", "key-", "key-005x", "zzz"] {
                let (mut found, read) = (false, collection.contains_key(absent));
                self.keep(read.map(|is| found = is), "contains", &|_| !found)?;
            }
            for back in [false, true] {
                let (mut pairs, all) = (Vec::new(), collection.iter());
                let mut push = |(k, v): (Key, Value)| pairs.push((k.to_vec(), v.to_vec()));
                let all: Box<dyn Iterator<Item = _>> =
                    if back { Box::new(all.rev()) } else { Box::new(all) };
                let read = { all }.try_for_each(|pair| pair.map(&mut push));
                let whole = read.is_ok();
                if !whole {
                    self.keep(read, "scan", &|_| true)?;
                }
                self.keep(Ok(()), "scan", &|state| {
                    let want = state[name].iter();
                    let want: Vec<_> = if back { want.rev().collect() } else { want.collect() };
                    let start = want.iter().zip(&pairs).all(|(w, p)| *w == (&p.0, &p.1));
                    start && pairs.len() <= want.len() && (!whole || pairs.len() == want.len())
                })?;
            }
        }
        Ok(())
    }
}

/// Counts of outcomes, by kind of file and image.
type Table = BTreeMap<(String, &'static str), [usize; 5]>;

/// Does every harm to every image, each in a copy of its own; prints what came of them.
fn run(title: &str, of: impl Fn(&[u8], usize) -> Vec<Harm>) -> Table {
    let (mut table, mut failures) = (Table::new(), Vec::new());
    for (letter, image) in images() {
        for (path, bytes) in &image.files {
            for harm in (0..bytes.len()).flat_map(|at| of(bytes, at)) {
                let place = harm.0.clone();
                let row = table.entry((kind(path).to_owned(), letter)).or_default();
                match image.judge(path, harm) {
                    Ok(outcome) => row[outcome] += 1,
                    Err(why) => failures.push(format!("{letter} {} {place:?}: {why}", name(path))),
                }
            }
        }
    }
    let mut text = format!("{title}\n  {:<12}{:>10}", "", "places");
    text.extend(OUTCOMES.map(|outcome| format!("{outcome:>10}")));
    for ((kind, letter), row) in &table {
        text += &format!("\n  {letter} {kind:<10}{:>10}", row.iter().sum::<usize>());
        text.extend(row.map(|count| format!("{count:>10}")));
    }
    let _ = writeln!(std::io::stderr(), "{text}");
    let shown = failures.get(..20).unwrap_or(&failures);
    assert!(failures.is_empty(), "{} failures: {}", failures.len(), support::listed(shown));
    table
}

/// F-33, F-34: one bit, at every byte of every file; with `ESKER_LONG`, every bit.
#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let table = run("one bit flipped", |bytes, at| {
        let bits = if support::long() > 1 { 0..8 } else { at % 8..at % 8 + 1 };
        bits.map(|bit| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 1 << bit;
            (at..at + 1, Some(bytes))
        })
        .collect()
    });
    for ((kind, image), row) in &table {
        let is_all_live = ["seg", "blob"].contains(&kind.as_str())
            || kind == "manifest" && ["A", "D", "E"].contains(image);
        assert!(!is_all_live || row[HARMLESS] + row[TORN] == 0, "{image} {kind}: {row:?}");
    }
}

/// F-35: every sector of every file reads as zeros.
#[test]
fn a_lost_sector_is_found_or_harmless() {
    run("one sector zeroed", |bytes, at| {
        let (mut zeroed, to) = (bytes.to_vec(), bytes.len().min(at + 512));
        zeroed[at..to].fill(0);
        let changes = at % 512 == 0 && zeroed != bytes;
        if changes { vec![(at..to, Some(zeroed))] } else { Vec::new() }
    });
}

/// F-3, F-16: every file ends at every byte; after a clean close each such cut is an error.
#[test]
fn a_cut_is_found_and_after_a_clean_close_never_taken_for_a_torn_tail() {
    let table = run("cut", |bytes, at| vec![(at..usize::MAX, Some(bytes[..at].to_vec()))]);
    for ((kind, image), row) in &table {
        let harmless = kind == "LOCK" || !["A", "D", "E"].contains(image);
        assert!(harmless || row[HARMLESS] + row[TORN] == 0, "{image} {kind}: {row:?}");
    }
}

/// F-37: a file that is not there is missed at once.
#[test]
fn a_missing_file_is_found_when_the_database_opens() {
    run("missing", |_, at| if at == 0 { vec![(0..usize::MAX, None)] } else { Vec::new() });
}

fn expect_found(image: &Image, world: &Arc<Sim>, path: &Path) {
    let newest = image.states.len() - 1;
    let outcome = image.examine(world, path, newest).unwrap();
    assert!(outcome < HARMLESS, "{}: {}", path.display(), OUTCOMES[outcome]);
}

/// F-36: bytes that are whole, but of another file or another time.
#[test]
fn swapped_segments_and_an_older_manifest_are_found() {
    for (_, image) in images() {
        let segments = image.of("seg");
        assert!(segments.len() > 1);
        for (index, (one, bytes)) in segments.iter().enumerate() {
            for (two, others) in &segments[..index] {
                let world = image.with([(one, others), (two, bytes)]);
                expect_found(&image, &world, one);
            }
        }
        let (path, _) = image.of("manifest")[0];
        let (old, bytes) = &image.older;
        expect_found(&image, &image.with([(path, bytes)]), path);
        if old != path {
            let world = image.with([(old, bytes)]);
            world.remove_file(path).unwrap();
            expect_found(&image, &world, old);
        }
    }
}

/// Where the uncompressed pieces at the start of a segment lie.
fn pieces(bytes: &[u8], id: FileId) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        let place = [&[0][..], &id.0.to_le_bytes(), &(at as u64).to_le_bytes()].concat();
        let mut crc = 0;
        let end = bytes[at..].windows(5).zip(at..).find_map(|(trailer, end)| {
            let whole = crc32c::crc32c_append(crc, &place).to_le_bytes();
            crc = crc32c::crc32c_append(crc, &trailer[..1]);
            (end > at && trailer[0] == 0 && trailer[1..] == whole).then_some(end + 5)
        });
        let Some(end) = end else { return found };
        found.push(at..end);
        at = end;
    }
}

/// F-36: blocks of a segment, each whole, in another's place.
#[test]
fn a_block_moved_within_a_segment_is_found() {
    let mut builder = Builder::new(Compression::None);
    builder.keys = 900;
    builder.commit(900, 60, Durability::Buffered);
    builder.flush();
    let older = builder.manifest();
    let (image, mut moved) = (builder.close(older), 0);
    for (path, bytes) in image.of("seg") {
        let pieces = pieces(bytes, FileName::parse(name(path)).unwrap().id);
        let pairs = pieces.iter().flat_map(|one| pieces.iter().map(move |two| (one, two)));
        for (one, two) in pairs.filter(|(one, two)| one != two && one.len() >= two.len()) {
            let mut moving = bytes.clone();
            moving.copy_within(two.clone(), one.start);
            if one.len() == two.len() {
                moving[two.clone()].copy_from_slice(&bytes[one.clone()]);
            }
            expect_found(&image, &image.with([(path, &moving)]), path);
            moved += 1;
        }
    }
    assert!(moved > 1);
}

/// The format must be refused, at open with the folder untouched, or when it is read.
fn refused(world: &Arc<Sim>) {
    let folder = files(world);
    let read = |db: &Db, name| db.collection(name)?.iter().try_for_each(|pair| pair.map(drop));
    let opened = options(world).open(dir()).inspect_err(|_| assert!(folder == files(world)));
    let read = opened.and_then(|db| NAMES.iter().try_for_each(|name| read(&db, name)));
    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    named(&error).unwrap();
}

/// F-38: a manifest of a newer format, its checksums right, is refused and nothing is touched; a
/// segment of one is refused when it is read.
#[test]
fn a_newer_format_is_refused_and_the_folder_left_as_it_was() {
    for (_, image) in images() {
        let (path, bytes) = image.of("manifest")[0];
        let id = FileName::parse(name(path)).unwrap().id;
        let (mut before, mut after, mut out) = (Chain::new(id), Chain::new(id), Vec::new());
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let text = before.check(line).unwrap();
            after.seal(&text.replace("esker manifest 1 ", "esker manifest 2 "), &mut out);
        }
        refused(&image.with([(path, &out)]));
        for (path, bytes) in image.of("seg") {
            let mut bytes = bytes.clone();
            let major = bytes.len() - 12;
            bytes[major] += 1;
            refused(&image.with([(path, &bytes)]));
        }
    }
}

/// F-41: what is not ours stays as it is, and changes nothing.
#[test]
fn stray_names_are_ignored_and_left_alone() {
    for (_, image) in images() {
        let bytes: usize = image.files.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes <= 40 << 10, "every byte of {bytes} is tried above");
        let world = image.world.snapshot();
        let strays = ["notes.txt", "log-7", "seg-000003.tmp", "manifest-000099~", ".hidden", "é"];
        for stray in strays {
            world.write_file(&dir().join(stray), *b"not a database's").unwrap();
        }
        let newest = image.states.len() - 1;
        let outcome = image.examine(&world, dir(), newest).unwrap();
        assert_eq!(outcome, HARMLESS);
        for stray in strays {
            assert_eq!(world.read_file(&dir().join(stray)).unwrap(), b"not a database's");
        }
    }
}
