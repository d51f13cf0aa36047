//! Blob files: written, taken over, read in every way, damaged in every way.

use super::format::{ENTRY_BYTES, FOOTER_BYTES, Layout, checksum, find};
use super::*;
use crate::base::blob::{BLOB_BYTES_MIN, Codec};
use crate::base::entry::OpsLen;
use crate::base::error::{ErrorKind, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::Kind;
use crate::base::value::Value;
use crate::base::{batch::Op, blob::digest};
use crate::cache::open::{Places, Trash};
use crate::env::names::FileKind;
use crate::env::sim::{Calls, Errno, Fault, Sim};
use crate::env::{Access, Env, path_in};
use crate::log::frame;
use crate::log::writer::LogFile;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ID: FileId = FileId(57);
const LOG: FileId = FileId(41);
const BOTH: [Access; 2] = [Access::Mapped, Access::Positioned];

/// A ref, what is stored for it, and the value itself.
type Row = (BlobRef, Vec<u8>, Vec<u8>);

fn at(file: u64, offset: u64) -> Address {
    Address::new(FileId(file), offset).unwrap()
}

/// Bytes that differ from place to place and from value to value.
fn value(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (digest(&((seed << 32) | (i / 5)).to_le_bytes()) >> 8) as u8).collect()
}

fn raw(address: Address, value: Vec<u8>) -> Row {
    (BlobRef::raw(address, &value), value.clone(), value)
}

fn lz4(address: Address, value: Vec<u8>) -> Row {
    let stored = lz4_flex::block::compress(&value);
    let short = stored.len() as u32;
    let blob = BlobRef { stored: short, codec: Codec::Lz4, ..BlobRef::raw(address, &value) };
    (blob, stored, value)
}

/// Rows of two older files, one of them compressed.
fn rows() -> Vec<Row> {
    vec![
        raw(at(3, 100), value(1, 40)),
        lz4(at(3, 900), value(2, 60)),
        raw(at(3, 901), value(3, 1)),
        raw(at(8, 14), value(4, 33)),
    ]
}

fn intervals() -> Vec<(Address, Address)> {
    vec![(at(3, 0), at(3, 5000)), (at(8, 0), at(8, 700))]
}

struct World {
    sim: Arc<Sim>,
    env: Arc<dyn Env>,
    dir: PathBuf,
}

impl World {
    fn new() -> Self {
        let (sim, dir) = (Sim::new(1), PathBuf::from("/db"));
        let env: Arc<dyn Env> = sim.clone();
        env.create_dir(&dir).unwrap();
        Self { sim, env, dir }
    }

    fn path(&self, id: FileId) -> PathBuf {
        path_in(&self.dir, FileKind::Blob.name(id))
    }

    fn writer(&self, id: FileId) -> BlobWriter {
        BlobWriter::create(&self.env, &self.dir, id).unwrap()
    }

    fn write(&self, id: FileId, rows: &[Row], intervals: Vec<(Address, Address)>) -> BlobMeta {
        let mut writer = self.writer(id);
        for (blob, stored, _) in rows {
            writer.add(blob, stored).unwrap();
        }
        assert_eq!(writer.value_count(), rows.len() as u64);
        let bytes = writer.byte_count();
        let meta = writer.finish(intervals).unwrap();
        assert_eq!(meta.bytes - bytes, (meta.intervals.len() * 16 + FOOTER_BYTES) as u64);
        assert_eq!(meta.bytes, self.bytes(id).len() as u64);
        meta
    }

    fn open(&self, meta: &BlobMeta, access: Access) -> Result<BlobReader> {
        BlobReader::open(&self.env, &self.dir, meta, access)
    }

    fn bytes(&self, id: FileId) -> Vec<u8> {
        self.sim.read_file(&self.path(id)).unwrap()
    }

    fn replace(&self, id: FileId, bytes: &[u8]) {
        self.sim.write_file(&self.path(id), bytes).unwrap();
    }

    /// A log with these values, closed, and linked as a blob file; of the rows only the large ones are
    /// left, with their addresses.
    fn adopt(&self, rows: &mut Vec<Row>, layout: frame::Layout) -> BlobMeta {
        let log = LogFile::create(&*self.env, &self.dir, LOG, 4 << 20, BOTH[0]).unwrap();
        let (mut tail, mut next, mut scratch) = (log.begin(None), SeqNo(1), Vec::new());
        let mut length = 0;
        for (blob, stored, _) in &*rows {
            let packed = [&blob.encode()[..], stored].concat();
            let (kind, value) = match blob.codec {
                Codec::Raw => (Kind::Put, stored),
                _ => (Kind::Blob, &packed),
            };
            let op = Op { kind, collection: CollectionId(7), key: b"key", value, expires: None };
            let reservation = tail.reserve(&OpsLen::at(&op, next), next, layout).unwrap();
            (next, length) = (reservation.last().next(), reservation.end());
            reservation.fill(&op, &mut scratch).unwrap();
        }
        log.finish(length).unwrap();
        log.sync().unwrap();
        let name = path_in(&self.dir, FileKind::Log.name(LOG));
        self.env.link(&name, &self.path(LOG)).unwrap();
        self.env.remove(&name).unwrap();
        self.env.sync_dir(&self.dir).unwrap();
        let bytes = self.bytes(LOG);
        rows.retain(|(blob, ..)| blob.codec != Codec::Raw || blob.len as usize >= BLOB_BYTES_MIN);
        for (blob, stored, _) in &mut *rows {
            let place = bytes.windows(stored.len()).position(|at| at == stored);
            blob.address = at(LOG.0, place.unwrap_or(0) as u64);
        }
        let refs: Vec<_> = rows.iter().map(|row| row.0).collect();
        BlobMeta::adopted(LOG, length, BLOB_BYTES_MIN as u32, &refs)
    }

    fn shelf(&self, places: &Arc<Places>) -> Arc<BlobShelf> {
        let (env, dir, places) = (self.env.clone(), self.dir.clone(), places.clone());
        let trash = Trash::default();
        Arc::new(BlobShelf { env, dir, access: Access::Positioned, places, trash })
    }
}

fn walked(reader: &BlobReader) -> Result<Vec<(BlobRef, Vec<u8>)>> {
    let mut found = Vec::new();
    reader.walk(|blob, stored| {
        found.push((*blob, stored.to_vec()));
        Ok(())
    })?;
    Ok(found)
}

fn refs(reader: &BlobReader) -> Vec<BlobRef> {
    let mut found = Vec::new();
    let mut note = |blob: &BlobRef| {
        found.push(*blob);
        Ok(())
    };
    reader.refs(&mut note).unwrap();
    found
}

fn stored(rows: &[Row]) -> Vec<(BlobRef, Vec<u8>)> {
    rows.iter().map(|(blob, stored, _)| (*blob, stored.clone())).collect()
}

/// Reads each value; those that are read are right. How many failed, all of them as corruption.
fn failed_reads(reader: &BlobReader, rows: &[Row], what: &str) -> usize {
    let is_wrong = |(blob, _, value): &&Row| match reader.read(blob) {
        Ok(found) => {
            assert_eq!(found, *value, "{what}");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
            true
        }
    };
    rows.iter().filter(is_wrong).count()
}

/// MACE-8.
#[test]
fn values_are_found_by_their_addresses_wherever_they_lie() {
    let world = World::new();
    let mut rows = rows();
    // Longer than what is gathered, than what a walk reads at once; many in one piece.
    rows.push(raw(at(8, 50), value(5, 300_000)));
    rows.push(lz4(at(8, 60), value(6, 3_000_000)));
    rows.extend((100..400).map(|i| raw(at(8, i), value(i, 4000))));
    let meta = world.write(ID, &rows, intervals());
    assert_eq!(meta.values, rows.len() as u64);
    assert_eq!(meta.stored_bytes, rows.iter().map(|row| row.1.len() as u64).sum::<u64>());
    let sum = rows.iter().fold(Setsum::ZERO, |sum, row| sum + Setsum::of_blob(&row.0));
    assert_eq!((meta.setsum, meta.least, &meta.intervals), (sum, 0, &intervals()));
    for access in BOTH {
        let reader = world.open(&meta, access).unwrap();
        assert_eq!(failed_reads(&reader, &rows, "whole"), 0);
        assert_eq!(walked(&reader).unwrap(), stored(&rows));
        assert_eq!(refs(&reader), rows.iter().map(|row| row.0).collect::<Vec<_>>());
        for (blob, _, value) in &rows {
            let part = |range| reader.read_part(blob, range);
            if blob.codec != Codec::Raw {
                assert_eq!(part(0..1).unwrap_err().kind(), ErrorKind::InvalidArgument);
                continue;
            }
            assert_eq!(part(0..u64::MAX).unwrap(), *value);
            assert_eq!(part(u64::MAX..u64::MAX).unwrap(), Value::EMPTY);
            let end = value.len().min(17);
            assert_eq!(part(1..17).unwrap(), value[1.min(end)..end]);
        }
        let absent = BlobRef::raw(at(8, 15), b"no such value");
        let error = reader.read(&absent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.message().contains("blob-000057 at byte"), "{error}");
    }
    let empty = world.write(FileId(58), &[], Vec::new());
    assert_eq!(walked(&world.open(&empty, Access::Mapped).unwrap()).unwrap(), []);
}

/// MACE-8, MACE-10: what is out of order, of another length, or nobody's, is refused; then nothing
/// more is taken.
#[test]
fn a_writer_takes_what_can_be_found_again() {
    let world = World::new();
    let rows = rows();
    for (number, address) in [(60, at(3, 100)), (61, at(3, 99)), (62, at(2, 1 << 33))] {
        let mut writer = world.writer(FileId(number));
        writer.add(&rows[0].0, &rows[0].1).unwrap();
        let odd = BlobRef { address, ..rows[1].0 };
        let error = writer.add(&odd, &rows[1].1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(writer.add(&rows[2].0, &rows[2].1).is_err());
        assert!(writer.finish(intervals()).is_err());
    }
    let mut writer = world.writer(FileId(63));
    assert!(writer.add(&rows[0].0, &rows[0].1[1..]).is_err());
    // What is copied must be the value.
    for (number, (blob, stored, _)) in (64..).zip(&rows) {
        let mut writer = world.writer(FileId(number));
        let changed = [&stored[1..], &[!stored[0]]].concat();
        assert_eq!(writer.copy(blob, &changed).unwrap_err().kind(), ErrorKind::Corruption);
        assert!(writer.copy(blob, stored).is_err(), "the first error is the last word");
    }
    let odd = [
        vec![(at(3, 101), at(9, 0))],
        vec![(at(3, 0), at(8, 13))],
        vec![(at(3, 0), at(3, 900)), (at(3, 900), at(9, 0))],
        vec![(at(8, 0), at(9, 0)), (at(3, 0), at(7, 0))],
        vec![(at(9, 0), at(3, 0))],
        vec![],
    ];
    for (number, intervals) in (70..).zip(odd) {
        let mut writer = world.writer(FileId(number));
        rows.iter().for_each(|row| writer.add(&row.0, &row.1).unwrap());
        let error = writer.finish(intervals).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    assert!(BlobWriter::create(&world.env, &world.dir, FileId(70)).is_err(), "it exists");
}

/// F-33: whatever bit is flipped, a walk sees it, and a read is right or an error.
#[test]
fn a_flipped_bit_is_never_a_wrong_value_and_a_walk_always_sees_it() {
    let world = World::new();
    let rows = rows();
    let meta = world.write(ID, &rows, intervals());
    let good = world.bytes(ID);
    let values = rows.iter().map(|row| row.1.len()).sum::<usize>();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        world.replace(ID, &bad);
        for access in BOTH {
            match world.open(&meta, access) {
                Ok(reader) => {
                    assert!(bit / 8 < values, "bit {bit}: the tables are checked at once");
                    assert!(failed_reads(&reader, &rows, &format!("bit {bit}")) <= 1);
                    assert!(walked(&reader).is_err(), "bit {bit}");
                }
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::Corruption | ErrorKind::Unsupported),
                    "bit {bit}: {error}"
                ),
            }
        }
    }
}

/// F-25, F-35, F-36: cut anywhere, longer, zeroed, another file's, an older file's.
#[test]
fn a_file_that_is_not_the_one_that_was_written_is_damage() {
    let world = World::new();
    let rows = rows();
    let meta = world.write(ID, &rows, intervals());
    let other = world.write(FileId(58), &rows, intervals());
    let good = world.bytes(ID);
    let refused = |bytes: &[u8], meta: &BlobMeta, what: &str| {
        world.replace(ID, bytes);
        for access in BOTH {
            let error = world.open(meta, access).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
            assert!(error.message().starts_with("blob-000057 at byte "), "{what}: {error}");
        }
    };
    for cut in 0..good.len() {
        refused(&good[..cut], &meta, "cut");
        // As if the manifest had been cut with it.
        refused(&good[..cut], &BlobMeta { bytes: cut as u64, ..meta.clone() }, "both cut");
    }
    refused(&[&good[..], b"x"].concat(), &meta, "longer");
    refused(&world.bytes(FileId(58)), &meta, "swapped");
    refused(&vec![0; good.len()], &meta, "zeros");
    world.replace(ID, &good);
    for odd in [
        BlobMeta { values: 3, ..meta.clone() },
        BlobMeta { stored_bytes: 3, ..meta.clone() },
        BlobMeta { setsum: Setsum(3), ..meta.clone() },
        BlobMeta { intervals: vec![(at(3, 0), at(9, 0))], ..meta.clone() },
    ] {
        refused(&good, &odd, "another manifest");
    }
    assert_eq!(other, BlobMeta { id: FileId(58), ..meta });
    // Two values of one length in each other's places: each bound to its own.
    let pair = [raw(at(3, 1), value(1, 50)), raw(at(3, 2), value(2, 50))];
    let meta = world.write(FileId(59), &pair, intervals());
    let mut bytes = world.bytes(FileId(59));
    bytes[..100].rotate_left(50);
    world.replace(FileId(59), &bytes);
    let reader = world.open(&meta, Access::Mapped).unwrap();
    assert_eq!(failed_reads(&reader, &pair, "swapped"), 2);
    assert!(walked(&reader).is_err());
}

/// MACE-9, F-39: counts and offsets under right checksums that cannot be allocate nothing.
#[test]
fn hostile_counts_and_offsets_are_damage() {
    let world = World::new();
    let rows = rows();
    let meta = world.write(ID, &rows, intervals());
    let good = world.bytes(ID);
    let forge = |good: &[u8], change: &dyn Fn(&mut [u8])| {
        let mut bytes = good.to_vec();
        let length = bytes.len();
        let footer_at = length - FOOTER_BYTES;
        change(&mut bytes);
        let words = [&bytes[footer_at..footer_at + 48], &bytes[length - 12..length - 8]].concat();
        let sum = checksum(&words, ID, footer_at as u64).to_le_bytes();
        bytes[footer_at + 48..footer_at + 56].copy_from_slice(&sum);
        bytes
    };
    assert_eq!(forge(&good, &|_| {}), good);
    let refused = |bytes: &[u8]| {
        world.replace(ID, bytes);
        BOTH.map(|access| world.open(&meta, access).map(drop).unwrap_err().kind())
    };
    for word in 0..6 {
        for hostile in [0, 1, 7, 1 << 32, 1 << 58, u64::MAX / 40, u64::MAX] {
            let bad = forge(&good, &|bytes| {
                let at = bytes.len() - FOOTER_BYTES + word * 8;
                bytes[at..at + 8].copy_from_slice(&hostile.to_le_bytes());
            });
            if bad != good {
                assert_eq!(refused(&bad), [ErrorKind::Corruption; 2], "word {word}: {hostile}");
            }
        }
    }
    // F-38: another version, under its own checksum.
    let newer = forge(&good, &|bytes| bytes[good.len() - 12] = 2);
    assert_eq!(refused(&newer), [ErrorKind::Unsupported; 2]);
    let minor = forge(&good, &|bytes| bytes[good.len() - 10] = 2);
    world.replace(ID, &minor);
    world.open(&meta, Access::Mapped).unwrap();

    // A table that lies, under its own checksum.
    let layout = Layout::decode(&good[good.len() - FOOTER_BYTES..], meta.bytes, ID).unwrap();
    let table_at = layout.table_at as usize;
    let table_end = table_at + rows.len() * ENTRY_BYTES;
    assert_eq!(find(&good[table_at..table_end], at(8, 14)).unwrap().blob, rows[3].0);
    for byte in table_at..table_end {
        if (byte - table_at) % ENTRY_BYTES >= 32 {
            continue;
        }
        for hostile in [0, 1, 0x7f, 0xff] {
            let bad = forge(&good, &|bytes| {
                bytes[byte] = hostile;
                let sum = checksum(&bytes[table_at..table_end], ID, layout.table_at);
                let at = bytes.len() - FOOTER_BYTES + 16;
                bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
            });
            if bad != good {
                assert_eq!(refused(&bad), [ErrorKind::Corruption; 2], "byte {byte}: {hostile}");
            }
        }
    }
}

/// Large values among short ones, of which one packs to fewer bytes than a large one has.
fn logged() -> Vec<Row> {
    let lens = [300, 10, 256, 255, 2000];
    let mut rows: Vec<_> =
        lens.iter().zip(1..).map(|(&len, seed)| raw(Address(0), value(seed, len))).collect();
    rows.insert(2, lz4(Address(0), value(6, 1500)));
    rows.push(lz4(Address(0), vec![7; 900]));
    rows
}

#[test]
fn a_log_that_is_taken_over_gives_its_large_values() {
    let mut rows = logged();
    rows.push(raw(Address(0), value(9, (1 << 20) + 5)));
    rows.push(lz4(Address(0), value(10, 3 << 20)));
    rows.push(raw(Address(0), value(11, 700_000)));
    let world = World::new();
    let meta = world.adopt(&mut rows, frame::Layout::Whole);
    assert!(rows.iter().any(|row| row.1.len() < BLOB_BYTES_MIN));
    assert_eq!((meta.values, rows.len(), meta.is_adopted()), (8, 8, true));
    assert_eq!(meta.intervals, [(at(LOG.0, 0), at(LOG.0, meta.bytes - 1))]);
    for access in BOTH {
        let reader = world.open(&meta, access).unwrap();
        assert_eq!(failed_reads(&reader, &rows, "whole"), 0);
        assert_eq!(walked(&reader).unwrap(), stored(&rows));
        assert_eq!(refs(&reader), rows.iter().map(|row| row.0).collect::<Vec<_>>());
        assert_eq!(reader.read_part(&rows[0].0, 7..9).unwrap(), rows[0].2[7..9]);
        let odd = [
            BlobRef { address: at(LOG.0 + 1, 20), ..rows[0].0 },
            BlobRef { address: at(LOG.0, (1 << 34) - 1), ..rows[0].0 },
            BlobRef { len: u32::MAX, stored: u32::MAX, ..rows[0].0 },
            BlobRef { codec: Codec::Lz4, ..rows[0].0 },
        ];
        for blob in odd {
            let error = reader.read(&blob).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
            assert!(error.message().contains("blob-000041"), "{error}");
        }
    }
}

/// F-33: as of files with a table. What a walk does not see lies in no value.
#[test]
fn a_flipped_bit_in_a_log_that_was_taken_over_is_damage_or_harmless() {
    let world = World::new();
    let mut rows = logged();
    let meta = world.adopt(&mut rows, frame::Layout::Whole);
    let good = world.bytes(LOG);
    for bit in (0..good.len() * 8).step_by(3) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        world.replace(LOG, &bad);
        let reader = world.open(&meta, Access::Mapped).unwrap();
        assert!(failed_reads(&reader, &rows, &format!("bit {bit}")) <= 1);
        assert_eq!(walked(&reader).unwrap_err().kind(), ErrorKind::Corruption, "bit {bit}");
    }
    for cut in 0..good.len() {
        world.replace(LOG, &good[..cut]);
        let error = world.open(&meta, Access::Mapped).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let shorter = BlobMeta { bytes: cut as u64, ..meta.clone() };
        if let Ok(reader) = world.open(&shorter, Access::Mapped) {
            assert!(walked(&reader).is_err(), "cut at {cut}");
        }
    }
    world.replace(LOG, &good);
    for odd in [
        BlobMeta { values: meta.values + 1, ..meta.clone() },
        BlobMeta { setsum: Setsum(1), ..meta.clone() },
        BlobMeta { least: 10, ..meta.clone() },
        BlobMeta { least: 257, ..meta.clone() },
    ] {
        assert!(walked(&world.open(&odd, Access::Mapped).unwrap()).is_err());
    }
}

#[test]
fn a_large_value_that_a_block_of_the_log_splits_is_damage() {
    let whole = |seed| raw(Address(0), value(seed, 900_000));
    let packed = |seed| lz4(Address(0), value(seed, 1_100_000));
    for (mut rows, want) in [
        (vec![whole(1), whole(2)], "want 2 values of 1800000 bytes"),
        (vec![packed(1), packed(2)], "want a frame in one piece"),
    ] {
        let world = World::new();
        let meta = world.adopt(&mut rows, frame::Layout::Blocks);
        let error = walked(&world.open(&meta, Access::Mapped).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.message().contains(want), "{error}");
    }
}

/// F-18, F-21: the first failure is the last word.
#[test]
fn a_failed_write_or_sync_is_final() {
    let world = World::new();
    let rows = [raw(at(3, 1), value(1, 300_000)), raw(at(3, 2), value(2, 5))];
    for (number, calls) in [(1, Calls::WRITE), (2, Calls::SYNC)] {
        let mut writer = world.writer(FileId(number));
        world.sim.fail_at(world.sim.count(calls) + 1, Fault::refuse(Errno::NoSpace, calls));
        let added = rows.iter().try_for_each(|row| writer.add(&row.0, &row.1));
        assert_eq!(added.is_err(), calls == Calls::WRITE);
        if let Err(error) = added {
            let again = writer.add(&rows[1].0, &rows[1].1).unwrap_err();
            assert_eq!(again.to_string(), error.to_string());
        }
        let error = writer.finish(intervals()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    }
    assert!(world.open(&BlobMeta { id: FileId(9), ..dummy(9) }, BOTH[0]).is_err(), "none there");
}

fn dummy(id: u64) -> BlobMeta {
    let intervals = vec![(at(id, 0), at(id, 99)), (at(id, 200), at(id, 299))];
    BlobMeta { intervals, ..BlobMeta::adopted(FileId(id), 300, 1, &[]) }
}

/// Law 7, and F-22's bound on open files: all files share it.
#[test]
fn a_doomed_file_goes_to_the_trash_after_its_last_user_and_few_stay_open() {
    let world = World::new();
    let places = Arc::new(Places::at_most(3));
    let shelf = world.shelf(&places);
    let metas: Vec<_> = (1..=9)
        .map(|id| {
            let rows = [raw(at(id, 1), value(id, 300))];
            world.write(FileId(id), &rows, vec![(at(id, 0), at(id, 10))])
        })
        .collect();
    let live = LiveBlobs::new(&shelf, &metas, &LiveBlobs::default(), &[]).unwrap();
    for _ in 0..3 {
        for id in 1..=9 {
            let blob = BlobRef::raw(at(id, 1), &value(id, 300));
            assert_eq!(live.read(&blob).unwrap(), value(id, 300));
            assert!(places.open_count() <= 3);
            assert!(world.sim.open_handles() <= 3);
        }
    }
    let mut walked = 0;
    for blob in live.iter() {
        let count = |_: &BlobRef, _: &[u8]| {
            walked += 1;
            Ok(())
        };
        blob.walk(count).unwrap();
    }
    assert_eq!((walked, places.open_count()), (9, 3));

    let told = Arc::new(AtomicUsize::new(0));
    let tell = told.clone();
    shelf.trash.on_filled(move || {
        tell.fetch_add(1, Ordering::SeqCst);
    });
    let after = LiveBlobs::new(&shelf, &metas[2..], &live, &[]).unwrap();
    live.doom_missing(&after);
    let (kept, reader) = (live.clone(), live.get(FileId(2)).unwrap().clone());
    drop(live);
    assert_eq!(shelf.trash.take(), []);
    drop(kept);
    assert_eq!((shelf.trash.take(), told.load(Ordering::SeqCst)), (vec![FileId(1)], 1));
    reader.read(&BlobRef::raw(at(2, 1), &value(2, 300))).unwrap();
    drop(reader);
    assert_eq!(shelf.trash.take(), [FileId(2)]);
    drop(after);
    assert_eq!(shelf.trash.take(), [], "what is not doomed stays");
    assert!(world.env.exists(&world.path(FileId(1))).unwrap(), "nothing here removes a file");
}

#[test]
fn the_live_file_of_an_address_is_found_and_kept_between_versions() {
    let world = World::new();
    let shelf = world.shelf(&Arc::new(Places::at_most(3)));
    let metas = [7, 3, 5].map(dummy);
    let fresh = Arc::new(Blob::new(shelf.clone(), dummy(5)));
    let before = LiveBlobs::default();
    let live = LiveBlobs::new(&shelf, &metas, &before, std::slice::from_ref(&fresh)).unwrap();
    let id = |address| live.find(address).map(|blob| blob.meta().id.0);
    for file in [3, 5, 7] {
        for (offset, is_in) in
            [(0, true), (99, true), (100, false), (199, false), (200, true), (300, false)]
        {
            assert_eq!(id(at(file, offset)), is_in.then_some(file), "{file}:{offset}");
        }
        assert_eq!(id(at(file - 1, 50)), None);
    }
    assert_eq!(id(Address(u64::MAX)), None);
    let error = live.read(&BlobRef::raw(at(6, 1), b"x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(Arc::ptr_eq(live.get(FileId(5)).unwrap(), &fresh));
    let next = LiveBlobs::new(&shelf, &metas[..2], &live, &[]).unwrap();
    assert!(Arc::ptr_eq(next.get(FileId(7)).unwrap(), live.get(FileId(7)).unwrap()));
    assert!(next.get(FileId(5)).is_none());

    let overlapping = BlobMeta { intervals: vec![(at(5, 99), at(5, 99))], ..dummy(9) };
    let error = LiveBlobs::new(&shelf, &[dummy(5), overlapping], &before, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.message().contains("blob-000005 and blob-000009"), "{error}");
}

/// The file of `docs/format.md`: a change of these bytes is a change of the format.
#[test]
fn the_golden_file_is_what_is_written() {
    let world = World::new();
    let rows = [raw(at(41, 4096), b"a large value".to_vec()), lz4(at(44, 12), vec![b'e'; 40])];
    let intervals = vec![(at(41, 0), at(41, 8191)), (at(44, 0), at(44, 99))];
    let meta = world.write(ID, &rows, intervals);
    let hex: String = world.bytes(ID).iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<_> = hex.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let golden = include_str!("../../tests/golden/blob-v1.hex");
    assert_eq!(lines.join("\n"), golden.trim_end(), "{meta:?}");
}
