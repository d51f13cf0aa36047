//! Whole segments: written, and read in every way. [`damage`] has what goes wrong with them.

mod damage;
mod salvage;

use super::*;
use crate::base::codec::Compression;
use crate::base::cursor::Cursor;
use crate::base::error::{ErrorKind, Result};
use crate::base::id::{CollectionId, FileId, SeqNo};
use crate::base::key::{Entry, Kind, Lookup, split_full_key};
use crate::base::setsum::Setsum;
use crate::cache::BlockCache;
use crate::env::names::FileKind;
use crate::env::real::Real;
use crate::env::sim::Sim;
use crate::env::{Access, Env, path_in, read_exact_at};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

type Row = (Vec<u8>, u64, Kind, Vec<u8>);

const ID: FileId = FileId(42);
const BOTH: [Access; 2] = [Access::Mapped, Access::Positioned];

/// Those that this build has.
fn compressions() -> impl Iterator<Item = Compression> {
    let all = [Compression::None, Compression::Lz4, Compression::Zstd];
    all.into_iter().filter(|compression| compression.check().is_ok())
}

/// A folder, an environment and a cache.
struct World {
    env: Arc<dyn Env>,
    sim: Arc<Sim>,
    dir: PathBuf,
    cache: Arc<BlockCache>,
    _real: Option<TempDir>,
}

impl World {
    /// Simulated.
    fn new() -> Self {
        Self::with_cache(1 << 20)
    }

    fn with_cache(capacity_bytes: u64) -> Self {
        let (sim, dir) = (Sim::new(1), PathBuf::from("db"));
        let env: Arc<dyn Env> = sim.clone();
        env.create_dir(&dir).unwrap();
        let cache = Arc::new(BlockCache::new(capacity_bytes));
        Self { env, sim, dir, cache, _real: None }
    }

    /// The operating system.
    fn real() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_path_buf();
        Self { env: Real::new(), dir, _real: Some(folder), ..Self::new() }
    }

    fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, id: FileId) -> PathBuf {
        path_in(&self.dir, FileKind::Segment.name(id))
    }

    fn write(&self, id: FileId, rows: &[Row], options: WriterOptions) -> SegmentMeta {
        let mut writer = SegmentWriter::create(&self.env, self.dir(), id, options).unwrap();
        for row in rows {
            writer.add(&entry(row)).unwrap();
        }
        assert_eq!(writer.entry_count(), rows.len() as u64);
        let data_bytes = writer.byte_count();
        let meta = writer.finish().unwrap();
        assert!(meta.bytes >= data_bytes || options.compression != Compression::None);
        meta
    }

    fn open(&self, meta: &SegmentMeta, access: Access) -> Result<Arc<SegmentReader>> {
        SegmentReader::open(&self.env, self.dir(), meta, access, &self.cache).map(Arc::new)
    }

    fn bytes(&self, id: FileId) -> Vec<u8> {
        let file = self.env.open(&self.path(id)).unwrap();
        let mut bytes = vec![0; file.byte_count().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        bytes
    }

    /// Puts `bytes` in the place of a segment.
    fn replace(&self, id: FileId, bytes: &[u8]) {
        self.sim.write_file(&self.path(id), bytes).unwrap();
    }
}

fn entry(row: &Row) -> Entry<'_> {
    Entry { key: &row.0, seq: SeqNo(row.1), kind: row.2, value: &row.3 }
}

fn owned(entry: &Entry<'_>) -> Row {
    (entry.key.to_vec(), entry.seq.0, entry.kind, entry.value.to_vec())
}

fn full(collection: u32, key: &[u8]) -> Vec<u8> {
    [&collection.to_be_bytes()[..], key].concat()
}

fn noise(i: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes())
}

/// Keys of three collections: empty, shared prefixes, all kinds, one to five versions each.
fn rows(count: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    for i in 0..count {
        let dice = noise(i);
        let collection = 1 + (3 * i / count) as u32;
        let key = match dice % 4 {
            0 => format!("{:05}", i / 2).into_bytes(),
            1 => format!("users/archive/{:06}/{}", i, "x".repeat((dice >> 9) as usize % 30))
                .into_bytes(),
            2 => Vec::from(dice.to_be_bytes()),
            _ => vec![(dice >> 8) as u8; (dice >> 16) as usize % 6],
        };
        for version in 0..=(dice >> 40) % 5 {
            let (kind, len) = match (dice >> 20).wrapping_add(version) % 8 {
                0 => (Kind::Delete, 0),
                1 => (Kind::Merge, 8),
                2 => (Kind::RangeDelete, 12),
                3 => (Kind::Put, 0),
                _ => (Kind::Put, (dice >> 30) as usize % 200),
            };
            let mut value = vec![0; len];
            value.iter_mut().zip(0..).for_each(|(byte, at)| *byte = noise(dice ^ (at / 3)) as u8);
            rows.push((full(collection, &key), 1 + i * 10 + version, kind, value));
        }
    }
    sorted(rows)
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| entry(a).order(&entry(b)));
    rows.dedup_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
    rows
}

/// The shapes of files under which every way of reading must give the same.
fn shapes() -> Vec<WriterOptions> {
    let base = WriterOptions::default();
    let mut shapes = vec![base];
    for compression in compressions() {
        for (block_bytes, restart_interval) in [(1, 1), (100, 3), (600, 16), (1 << 20, 8)] {
            shapes.push(WriterOptions { block_bytes, restart_interval, compression, ..base });
        }
    }
    shapes.push(WriterOptions { filter_bits_per_key: 0, ..base });
    shapes.push(WriterOptions { filter_bits_per_key: 0, prefix_filter: 2, ..base });
    shapes.push(WriterOptions { block_bytes: 600, prefix_filter: 3, ..base });
    shapes
}

fn get(reader: &Arc<SegmentReader>, key: &[u8], at: u64) -> Result<Option<Row>> {
    let collection = CollectionId(u32::from_be_bytes(key[..4].try_into().unwrap()));
    let found = reader.get(&Lookup::new(collection, &key[4..]), SeqNo(at))?;
    Ok(found.map(|(seq, kind, value)| (key.to_vec(), seq.0, kind, value.to_vec())))
}

fn here(cursor: &impl Cursor) -> Option<Row> {
    let row = cursor.entry().map(|entry| owned(&entry));
    assert_eq!(cursor.value(), row.as_ref().map_or(&[][..], |row| &row.3));
    row
}

/// All entries, forwards and backwards; the first error ends it.
fn scan(reader: &Arc<SegmentReader>) -> Result<Vec<Row>> {
    let mut found = Vec::new();
    let mut cursor = reader.cursor();
    cursor.seek_first()?;
    while let Some(row) = here(&cursor) {
        found.push(row);
        cursor.next()?;
    }
    let mut behind = found.iter().rev();
    cursor.seek_last()?;
    while let Some(row) = here(&cursor) {
        assert_eq!(Some(&row), behind.next());
        cursor.prev()?;
    }
    assert_eq!(behind.next(), None);
    Ok(found)
}

fn verify(reader: &SegmentReader) -> Result<Setsum> {
    let mut bytes = 0;
    let sum = reader.verify(&mut |more| bytes += more)?;
    assert_eq!(bytes, reader.meta().bytes);
    Ok(sum)
}

#[test]
fn every_shape_gives_back_what_was_written() {
    let rows = rows(300);
    let want: Setsum = rows.iter().fold(Setsum::ZERO, |sum, row| sum + Setsum::of(&entry(row)));
    let worlds = [World::new, World::real];
    for (options, new) in shapes().into_iter().flat_map(|shape| worlds.map(|new| (shape, new))) {
        let world = new();
        let meta = world.write(ID, &rows, options);
        assert_eq!(meta.entries, rows.len() as u64);
        assert_eq!(
            (&*meta.smallest, &*meta.largest),
            (&rows[0].0[..], &rows.last().unwrap().0[..])
        );
        assert_eq!(meta.seq_min.0, rows.iter().map(|row| row.1).min().unwrap());
        assert_eq!(meta.seq_max.0, rows.iter().map(|row| row.1).max().unwrap());
        let of = |kind| rows.iter().filter(|row| row.2 == kind).count() as u64;
        assert_eq!((meta.deletes, meta.range_deletes), (of(Kind::Delete), of(Kind::RangeDelete)));
        assert_eq!(meta.setsum, want);
        for access in BOTH {
            let reader = world.open(&meta, access).unwrap();
            assert_eq!(reader.pages().is_some(), access == Access::Mapped);
            assert_eq!(scan(&reader).unwrap(), rows, "{options:?} {access:?}");
            assert_eq!(verify(&reader).unwrap(), want);
            let ranges = reader.range_tombstones().unwrap();
            assert_eq!(ranges.len() as u64, meta.range_deletes);
        }
    }
}

#[test]
fn a_get_finds_the_newest_version_at_or_below_a_number() {
    let rows = rows(150);
    for options in shapes() {
        let world = World::new();
        let meta = world.write(ID, &rows, options);
        for access in BOTH {
            let reader = world.open(&meta, access).unwrap();
            for (key, seq, ..) in &rows {
                for at in [0, seq - 1, *seq, seq + 1, SeqNo::MAX.0] {
                    let want = rows.iter().find(|row| row.0 == *key && row.1 <= at);
                    assert_eq!(get(&reader, key, at).unwrap().as_ref(), want, "{options:?}");
                }
                let missing = [&key[..], b"\0"].concat();
                let want = rows.iter().find(|row| row.0 == missing);
                assert_eq!(get(&reader, &missing, SeqNo::MAX.0).unwrap().as_ref(), want);
            }
        }
    }
}

/// The rules of `base::cursor`, at every place, against a sorted list.
#[test]
fn a_cursor_does_what_a_sorted_list_does() {
    let rows = rows(60);
    for options in shapes() {
        let world = World::new();
        let meta = world.write(ID, &rows, options);
        for access in BOTH {
            let reader = world.open(&meta, access).unwrap();
            let mut cursor = reader.cursor();
            assert_eq!(here(&cursor), None);
            cursor.next().unwrap();
            cursor.prev().unwrap();
            assert_eq!(here(&cursor), None, "a new cursor stays off");
            for i in 0..rows.len() {
                check_place(&mut cursor, &rows, i);
            }
            cursor.seek(&full(9, b""), SeqNo::MAX).unwrap();
            assert_eq!(here(&cursor), None);
            cursor.prev().unwrap();
            assert_eq!(here(&cursor), None, "off stays off");
            cursor.seek_before(&full(9, b"")).unwrap();
            assert_eq!(here(&cursor).as_ref(), rows.last());
            cursor.seek_before(&full(0, b"")).unwrap();
            assert_eq!(here(&cursor), None);
        }
    }
}

fn check_place(cursor: &mut SegmentCursor, rows: &[Row], i: usize) {
    let (key, seq, ..) = &rows[i];
    let before = |at: usize| at.checked_sub(1).map(|at| &rows[at]);
    cursor.seek(key, SeqNo(*seq)).unwrap();
    assert_eq!(here(cursor).as_ref(), Some(&rows[i]));
    cursor.next().unwrap();
    assert_eq!(here(cursor).as_ref(), rows.get(i + 1));
    cursor.seek(key, SeqNo(*seq)).unwrap();
    cursor.prev().unwrap();
    assert_eq!(here(cursor).as_ref(), before(i));
    cursor.next().unwrap();
    assert_eq!(here(cursor).as_ref(), (i > 0).then_some(&rows[i]), "a turn, unless it is off");
    // Two back, two forward, one back.
    cursor.seek(key, SeqNo(*seq)).unwrap();
    for back in [1, 2] {
        cursor.prev().unwrap();
        assert_eq!(here(cursor).as_ref(), i.checked_sub(back).map(|at| &rows[at]));
    }
    if i >= 2 {
        cursor.next().unwrap();
        cursor.next().unwrap();
        cursor.prev().unwrap();
        assert_eq!(here(cursor).as_ref(), before(i));
    }
    let first = rows.partition_point(|row| row.0 < *key);
    cursor.seek_before(key).unwrap();
    assert_eq!(here(cursor).as_ref(), before(first));
    for probe in [[&key[..], b"\0"].concat(), key[..key.len() - 1].to_vec()] {
        let first = rows.partition_point(|row| row.0 < probe);
        cursor.seek(&probe, SeqNo::MAX).unwrap();
        assert_eq!(here(cursor).as_ref(), rows.get(first));
        cursor.seek_before(&probe).unwrap();
        assert_eq!(here(cursor).as_ref(), before(first));
    }
    cursor.seek(key, SeqNo(seq - 1)).unwrap();
    assert_eq!(here(cursor).as_ref(), rows.get(i + 1));
}

#[test]
fn versions_of_one_key_may_fill_many_blocks() {
    let mut rows: Vec<Row> =
        (1..=500).map(|seq| (full(1, b"hot"), seq, Kind::Merge, vec![1; 50])).collect();
    rows.push((full(1, b"cold"), 3, Kind::Put, vec![]));
    rows.push((full(1, b"wet"), 4, Kind::Put, vec![]));
    let rows = sorted(rows);
    let world = World::new();
    let options = WriterOptions { block_bytes: 300, ..WriterOptions::default() };
    let meta = world.write(ID, &rows, options);
    let reader = world.open(&meta, Access::Mapped).unwrap();
    assert!(reader.describe().index_partitions > 1 && reader.describe().keys == 3);
    let mut cursor = reader.cursor();
    for seq in 1..=500 {
        assert_eq!(get(&reader, &full(1, b"hot"), seq).unwrap().unwrap().1, seq);
        cursor.seek(&full(1, b"hot"), SeqNo(seq)).unwrap();
        assert_eq!(here(&cursor).unwrap().1, seq);
    }
    assert_eq!(get(&reader, &full(1, b"hot"), 0).unwrap(), None);
    cursor.seek_before(&full(1, b"wet")).unwrap();
    assert_eq!(here(&cursor).unwrap().1, 1);
    verify(&reader).unwrap();
}

#[test]
fn keys_and_values_of_every_size_are_kept() {
    let mut rows = vec![(full(0, b""), 9, Kind::Put, Vec::new())];
    for len in [1, 255, 4096, 64 << 10] {
        rows.push((full(1, &vec![b'k'; len]), 9, Kind::Put, vec![b'v'; len * 7]));
    }
    rows.push((full(2, b"zeros"), 9, Kind::Put, vec![0; 5 << 20]));
    rows.push((full(2, b"zeros!"), 9, Kind::Put, vec![0; 33 << 20]));
    for compression in compressions() {
        let world = World::new();
        let options = WriterOptions { compression, ..WriterOptions::default() };
        let meta = world.write(ID, &rows, options);
        for access in BOTH {
            let reader = world.open(&meta, access).unwrap();
            assert!(scan(&reader).unwrap() == rows);
            for row in &rows {
                assert!(get(&reader, &row.0, 9).unwrap().as_ref() == Some(row));
            }
            verify(&reader).unwrap();
        }
    }
}

/// HEST-9: {} → absent.
#[test]
fn a_segment_without_entries_is_legal() {
    let world = World::new();
    let meta = world.write(ID, &[], WriterOptions::default());
    for access in BOTH {
        let reader = world.open(&meta, access).unwrap();
        assert_eq!(get(&reader, &full(1, b"a"), 9).unwrap(), None);
        assert_eq!(scan(&reader).unwrap(), []);
        assert_eq!(verify(&reader).unwrap(), Setsum::ZERO);
        let mut cursor = reader.cursor();
        cursor.seek_before(b"x").unwrap();
        assert_eq!(here(&cursor), None);
    }
}

/// MOSS-26: strictly ascending, no duplicates; the error names both.
#[test]
fn an_entry_out_of_order_is_refused_for_good() {
    let put = |key: &[u8], seq| (full(1, key), seq, Kind::Put, vec![]);
    for (first, second) in [
        (put(b"b", 1), put(b"a", 2)),
        (put(b"a", 5), put(b"a", 5)),
        (put(b"a", 5), put(b"a", 6)),
        (put(b"ab", 5), put(b"a", 4)),
    ] {
        let world = World::new();
        let mut writer =
            SegmentWriter::create(&world.env, world.dir(), ID, WriterOptions::default()).unwrap();
        writer.add(&entry(&first)).unwrap();
        let error = writer.add(&entry(&second)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        for row in [&first, &second] {
            assert!(error.message().contains(&row.0.escape_ascii().to_string()), "{error}");
        }
        assert!(writer.add(&entry(&put(b"z", 9))).is_err());
        assert!(writer.finish().is_err());
    }
}

/// A value outlives cursor, reader, cache and the name of its file.
#[test]
fn a_value_pins_what_it_lies_in() {
    let rows = rows(50);
    for compression in compressions() {
        for access in BOTH {
            let world = World::new();
            let options = WriterOptions { compression, ..WriterOptions::default() };
            let meta = world.write(ID, &rows, options);
            let reader = world.open(&meta, access).unwrap();
            let mut cursor = reader.cursor();
            cursor.seek_last().unwrap();
            let value = cursor.value();
            drop(cursor);
            drop(reader);
            drop(world);
            assert_eq!(value, rows.last().unwrap().3);
        }
    }
}

/// HEST-10: evict before, during and after: the answers never change; a cache of 0 works.
#[test]
fn anything_may_be_evicted_at_any_moment() {
    let rows = rows(80);
    for (capacity, compression) in [0, 2000, 1 << 20]
        .into_iter()
        .flat_map(|capacity| compressions().map(move |c| (capacity, c)))
    {
        let world = World::with_cache(capacity);
        let options = WriterOptions { block_bytes: 300, compression, ..WriterOptions::default() };
        let meta = world.write(ID, &rows, options);
        for access in BOTH {
            let reader = world.open(&meta, access).unwrap();
            let mut cursor = reader.cursor();
            let mut held = Held::default();
            cursor.seek_first().unwrap();
            for (i, row) in rows.iter().enumerate() {
                if i % 3 == 0 {
                    world.cache.clear();
                }
                assert_eq!(here(&cursor).as_ref(), Some(row));
                assert_eq!(get(&reader, &row.0, row.1).unwrap().as_ref(), Some(row));
                let (collection, key) = split_full_key(&row.0).unwrap();
                let lookup = Lookup::new(collection, key);
                let beside = reader.get_beside(&lookup, SeqNo(row.1), &mut held).unwrap().unwrap();
                assert_eq!((beside.0.0, beside.1, &*beside.2), (row.1, row.2, &row.3[..]));
                cursor.next().unwrap();
            }
        }
        assert!(world.cache.used_bytes() <= capacity);
    }
}

/// By position, a read of a key that is there asks the cache for its data block, and for little
/// else; for one that is absent it asks for nothing.
#[test]
fn a_positioned_read_asks_the_cache_at_most_twice() {
    let (world, rows) = (World::with_cache(8 << 20), rows(3000));
    let meta = world.write(ID, &rows, WriterOptions::default());
    let reader = world.open(&meta, Access::Positioned).unwrap();
    let asked = || world.cache.hits() + world.cache.misses();
    for turn in 0..2 {
        let before = asked();
        for row in &rows {
            get(&reader, &row.0, row.1).unwrap().unwrap();
        }
        let times = asked() - before;
        let most = rows.len() as u64 * 6 / 5;
        assert!(turn == 0 || times <= most, "{times} for {} keys", rows.len());
        let before = asked();
        for i in 0..3000 {
            get(&reader, &full(2, format!("absent/{i}").as_bytes()), 9).unwrap();
        }
        let times = asked() - before;
        assert!(times <= 3000 / 8, "{times} for 3000 absent keys");
    }
    let before = world.cache.misses();
    world.cache.clear();
    get(&reader, &rows[0].0, rows[0].1).unwrap().unwrap();
    assert!(world.cache.misses() >= before + 4, "nothing is at hand that the cache has dropped");
}

#[test]
fn no_prefix_of_a_key_is_refused_and_most_others_are() {
    let rows = rows(400);
    for (prefix_filter, access) in
        [1, 3, 9, 40, usize::MAX].into_iter().zip(BOTH.into_iter().cycle())
    {
        let world = World::new();
        let meta = world.write(ID, &rows, WriterOptions { prefix_filter, ..Default::default() });
        let reader = world.open(&meta, access).unwrap();
        for row in &rows {
            for end in 0..=row.0.len() {
                assert!(reader.may_contain_prefix(&row.0[..end]).unwrap());
            }
            assert!(get(&reader, &row.0, row.1).unwrap().is_some());
        }
        let absent = |i: u64| full(9, &[&noise(i).to_be_bytes()[..], &[7; 40]].concat());
        let passed = (0..1000).filter(|i| reader.may_contain_prefix(&absent(*i)).unwrap()).count();
        let least = if prefix_filter == usize::MAX { 1000 } else { 0 };
        assert!((least..=least + 60).contains(&passed), "{passed} at {prefix_filter}");
        verify(&reader).unwrap();
    }
}

#[test]
fn a_missing_file_is_not_found_and_an_existing_one_is_not_written_over() {
    let world = World::new();
    let meta = world.write(ID, &rows(3), WriterOptions::default());
    let gone = SegmentMeta { id: FileId(7), ..meta };
    let error = world.open(&gone, Access::Mapped).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("seg-000007"), "{error}");
    let error =
        SegmentWriter::create(&world.env, world.dir(), ID, WriterOptions::default()).unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::AlreadyExists));
}

#[test]
fn a_segment_alone_says_what_it_holds() {
    let (world, rows) = (World::new(), rows(100));
    let meta = world.write(ID, &rows, WriterOptions::default());
    let open = |name: &str| {
        let path = path_in(world.dir(), name);
        SegmentReader::open_alone(&world.env, &path, Access::Mapped, &world.cache)
    };
    assert_eq!(open("seg-000042").unwrap().1, meta);
    let from = path_in(world.dir(), "seg-000042");
    world.env.rename(&from, &path_in(world.dir(), "copy")).unwrap();
    let (reader, found) = open("copy").unwrap();
    assert_eq!(found, meta);
    let shape = reader.describe();
    let parts = [shape.data_bytes, shape.filter_bytes, shape.range_bytes, shape.index_bytes];
    let total = parts.iter().sum::<u64>() + shape.property_bytes;
    assert!(meta.bytes >= total && meta.bytes < total + 4096);
    world.env.rename(&path_in(world.dir(), "copy"), &path_in(world.dir(), "seg-000041")).unwrap();
    assert_eq!(open("seg-000041").unwrap_err().kind(), ErrorKind::Corruption);
}

/// Fences ascend to the largest key, divide the blocks about evenly, and add up to the file; of a
/// large file there are no more than it has partitions.
#[test]
fn fences_divide_a_file() {
    for count in [1, 40, 400, 40_000] {
        let rows: Vec<Row> = (0..count)
            .map(|i| (format!("key {i:06}").into_bytes(), 1, Kind::Put, vec![7; 100]))
            .collect();
        for access in BOTH {
            let world = World::new();
            let meta = world.write(ID, &rows, WriterOptions::default());
            let reader = world.open(&meta, access).unwrap();
            let fences = reader.fences().unwrap();
            let shape = reader.describe();
            let few = shape.index_partitions < 4;
            let want = if few { shape.data_blocks } else { shape.index_partitions };
            assert_eq!(fences.len() as u64, want);
            assert!(fences.is_sorted_by(|a, b| a.key < b.key));
            assert_eq!(fences[fences.len() - 1].key, meta.largest);
            let sum: u64 = fences.iter().map(|fence| fence.bytes).sum();
            assert!(sum <= meta.bytes && meta.bytes - sum <= want, "{sum} of {}", meta.bytes);
            let most = fences.iter().map(|fence| fence.bytes).max().unwrap();
            assert!(most <= 2 * meta.bytes / want, "{most}");
            assert_eq!(world.cache.used_bytes(), 0, "nothing is kept");
        }
    }
}
