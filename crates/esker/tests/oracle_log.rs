//! The public `sst` crate as oracle of the log: it reads what Esker writes, Esker reads what it
//! writes, and both refuse the same (SST-2 to SST-11, SST-15).

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use esker::base::batch::{Batch, Op, Ops};
use esker::base::blob::{BlobRef, Codec, digest};
use esker::base::codec::{Compression, unpack};
use esker::base::entry::{Entries, OpsLen, put_entry, put_entry_at_rest};
use esker::base::id::{CollectionId, FileId, SeqNo};
use esker::base::key::{Entry, Kind};
use esker::commit::outline::{Outline, Outlined};
use esker::env::real::Real;
use esker::env::{Access, Env, Map, path_in, read_whole};
use esker::log::frame::{BLOCK_BYTES, Layout, place, write};
use esker::log::reader::{LogReader, Promise};
use esker::log::writer::LogFile;
use proptest::prelude::*;
use sst::log::{WriteBatch, truncate_final_partial_frame};
use sst::{Builder, LogBuilder, LogIterator, LogOptions, Setsum};
use std::io::Cursor;
use std::sync::Arc;

/// Key, number, value; no value is a delete.
type Row = (Vec<u8>, u64, Option<Vec<u8>>);

#[derive(Debug)]
struct InMemory(Vec<u8>);

impl Map for InMemory {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn foreign(bytes: &[u8]) -> LogReader {
    LogReader::foreign("plain", Arc::new(InMemory(bytes.to_vec())))
}

fn row(entry: &Entry<'_>) -> Row {
    let value = match entry.kind {
        Kind::Put => Some(entry.value.to_vec()),
        Kind::Delete => None,
        other => panic!("{other:?} is not of the crate"),
    };
    (entry.key.to_vec(), entry.seq.0, value)
}

/// What Esker reads of a plain log, and whether it ended clean.
fn esker_reads(bytes: &[u8]) -> (Vec<Row>, bool) {
    let (mut reader, mut rows) = (foreign(bytes), Vec::new());
    loop {
        match reader.next() {
            Ok(Some(frame)) => rows.extend(frame.entries().map(|entry| row(&entry))),
            Ok(None) => return (rows, true),
            Err(_) => return (rows, false),
        }
    }
}

/// What the crate reads, its setsum of that, and whether it ended clean.
fn crate_reads(bytes: &[u8]) -> (Vec<Row>, Setsum, bool) {
    let options = LogOptions::default();
    let mut entries = LogIterator::from_reader(options, Cursor::new(bytes)).unwrap();
    let (mut rows, mut sum) = (Vec::new(), Setsum::default());
    loop {
        match entries.next() {
            Ok(Some(entry)) => {
                rows.push((entry.key.into(), entry.timestamp, entry.value.map(Into::into)));
                sum.insert(entry);
            }
            Ok(None) => return (rows, sum, true),
            Err(_) => return (rows, sum, false),
        }
    }
}

/// The SHA3 setsum of what Esker read, as a tool would add it up.
fn setsum(rows: &[Row]) -> Setsum {
    let mut sum = Setsum::default();
    for (key, seq, value) in rows {
        match value {
            Some(value) => sum.put(key, *seq, value),
            None => sum.del(key, *seq),
        }
    }
    sum
}

fn esker_writes(log: &mut Vec<u8>, rows: &[Row], layout: Layout) {
    let mut payload = Vec::new();
    for (key, seq, value) in rows {
        let kind = if value.is_some() { Kind::Put } else { Kind::Delete };
        let value = value.as_deref().unwrap_or_default();
        put_entry_at_rest(&mut payload, &Entry { key, seq: SeqNo(*seq), kind, value });
    }
    write(&place(log.len() as u64, payload.len() as u64, layout), &payload, log);
}

fn crate_writes(batches: &[Vec<Row>]) -> (Vec<u8>, Setsum) {
    let mut bytes = Vec::new();
    let mut log = LogBuilder::from_write(LogOptions::default(), &mut bytes).unwrap();
    for rows in batches {
        let mut batch = WriteBatch::new();
        for (key, seq, value) in rows {
            match value {
                Some(value) => batch.put(key, *seq, value).unwrap(),
                None => batch.del(key, *seq).unwrap(),
            }
        }
        log.append(&batch).unwrap();
    }
    let (sum, _) = log.seal().unwrap();
    (bytes, sum)
}

/// Both writers make the same bytes; both readers read the same from them, with the same setsum.
fn assert_agreement(batches: &[Vec<Row>]) {
    let mut own = Vec::new();
    for rows in batches {
        esker_writes(&mut own, rows, Layout::Blocks);
    }
    let (theirs, sum) = crate_writes(batches);
    assert!(own == theirs, "different bytes");
    let rows = batches.concat();
    let (read, clean) = esker_reads(&theirs);
    assert!(clean && read == rows, "esker reads something else");
    assert_eq!(setsum(&read), sum);
    let (read, read_sum, clean) = crate_reads(&own);
    assert!(clean && read == rows && read_sum == sum, "the crate reads something else");
}

fn sized(seq: u64, bytes: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut left = bytes;
    // The crate takes no value above 32 KiB.
    while left > 0 {
        let value = left.min(30_000);
        rows.push((b"key".to_vec(), seq, Some(vec![b'v'; value])));
        left -= value;
    }
    rows
}

fn payload_len(rows: &[Row]) -> u64 {
    let mut log = Vec::new();
    let mut payload = 0;
    for (key, seq, value) in rows {
        let value = value.as_deref().unwrap();
        log.clear();
        put_entry_at_rest(&mut log, &Entry { key, seq: SeqNo(*seq), kind: Kind::Put, value });
        payload += log.len() as u64;
    }
    payload
}

/// SST-3, SST-4, SST-7: 0 to 25 bytes left in the block, then payloads of every kind of size.
#[test]
fn both_write_the_same_bytes_whatever_is_left_in_the_block() {
    let mut tested = 0;
    for left in 0..=25u64 {
        let filler = (1..)
            .map(|trim| sized(1, BLOCK_BYTES as usize - 700 - trim))
            .find(|rows| {
                let end = place(0, payload_len(rows), Layout::Blocks).end;
                end <= BLOCK_BYTES - 60 - left
            })
            .unwrap();
        let at = place(0, payload_len(&filler), Layout::Blocks).end;
        let gap = (BLOCK_BYTES - left - at) as usize;
        // One more frame that ends exactly `left` bytes before the border.
        let exact = (gap.saturating_sub(40)..gap)
            .map(|bytes| sized(2, bytes))
            .find(|rows| place(at, payload_len(rows), Layout::Blocks).end == BLOCK_BYTES - left);
        // Where a length's varint grows, one length cannot be had.
        let Some(exact) = exact else { continue };
        tested += 1;
        for next in [1, 60, 100, 300, 20_000] {
            assert_agreement(&[filler.clone(), exact.clone(), sized(3, next), sized(4, 5)]);
        }
    }
    assert!(tested >= 24, "{tested} of 26");
}

/// SST-4, SST-5: payloads of about 1 MiB, at the beginning of a block and near its end.
#[test]
fn both_write_the_same_bytes_for_batches_of_about_a_block() {
    for target in (1_048_540..=1_048_576).step_by(3) {
        let rows = (0..2000)
            .map(|trim| sized(7, target as usize - trim))
            .find(|rows| payload_len(rows) <= target)
            .unwrap();
        assert_agreement(&[rows.clone(), sized(8, 40), rows.clone(), sized(9, 5)]);
    }
}

/// SST-5: the crate reads Esker's WHOLE frames above 1 MiB, across borders.
#[test]
fn the_crate_reads_frames_that_cross_borders() {
    let mut log = Vec::new();
    let large = (vec![b'k'; 20_000], 2, Some(vec![7; 5_000_000]));
    let many: Vec<Row> = (3..103).map(|seq| (vec![1], seq, Some(vec![8; 32_700]))).collect();
    let contiguous = vec![(vec![2], 200, Some(vec![9; 600_000]))];
    let after = vec![(vec![3], 300, None)];
    let batches = [(vec![large], Layout::Blocks), (many, Layout::Blocks)];
    for (rows, layout) in &batches {
        esker_writes(&mut log, rows, *layout);
    }
    esker_writes(&mut log, &contiguous, Layout::Whole);
    esker_writes(&mut log, &contiguous, Layout::Whole);
    esker_writes(&mut log, &after, Layout::Blocks);
    let (rows, sum, clean) = crate_reads(&log);
    let own = esker_reads(&log);
    assert!(clean && own.1 && rows == own.0);
    assert_eq!((rows.len(), sum), (1 + 100 + 2 + 1, setsum(&own.0)));
}

/// A closed log of a database, on a real file, with origin and marks, is a log of the crate.
#[test]
fn a_closed_log_of_a_database_is_read_by_the_crate() {
    let folder = tempfile::tempdir().unwrap();
    for (access, id) in [(Access::Mapped, FileId(1)), (Access::Positioned, FileId(2))] {
        let env = Real::new();
        let file = LogFile::create(&*env, folder.path(), id, 4 << 20, access).unwrap();
        let (mut tail, mut next, mut scratch) = (file.begin(None), SeqNo(1), Vec::new());
        for n in 0..300usize {
            let mut batch = Batch::default();
            for m in 0..=n % 4 {
                let kind = if m == 3 { Kind::Delete } else { Kind::Put };
                let value = if m == 3 { vec![] } else { vec![n as u8; n * 31 + m] };
                let key = format!("key {n} {m}");
                let collection = CollectionId(5);
                batch
                    .push(Op {
                        kind,
                        collection,
                        key: key.as_bytes(),
                        value: &value,
                        expires: None,
                    })
                    .unwrap();
            }
            let len = OpsLen::at(&batch, next);
            let reservation = tail.reserve(&len, next, Layout::Blocks).unwrap();
            next = reservation.last().next();
            reservation.fill(&batch, &mut scratch).unwrap();
            if n % 50 == 0 {
                file.sync().unwrap();
                file.note_durable(tail.position());
            }
            assert_eq!(batch.count(), 1 + n % 4);
        }
        file.finish(tail.position()).unwrap();
        let path = path_in(folder.path(), file.name());
        let map = read_whole(&*env.open(&path).unwrap(), Access::Positioned).unwrap();
        let (rows, sum, clean) = crate_reads(map.bytes());
        assert!(clean);
        let promise = Promise { length: Some(tail.position()), last: Some(SeqNo(next.0 - 1)) };
        let mut reader = LogReader::new(id, map.clone(), promise);
        let mut own = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            own.extend(frame.entries().map(|entry| row(&entry)));
        }
        assert_eq!(own.len() as u64, next.0 - 1);
        assert!(own == rows);
        assert_eq!(setsum(&own), sum);
    }
}

/// SST-9: of a packed value the crate reads what is stored, and skips what is said of it.
#[test]
fn the_crate_reads_what_is_stored_of_packed_values() {
    let value: Vec<u8> = (0..20_000_u32).flat_map(|n| (n / 50).to_le_bytes()).collect();
    for compression in [Compression::Lz4, Compression::None] {
        let mut batch = Batch::default();
        for (key, value) in [(&b"a"[..], &b"small"[..]), (b"b", &value), (b"c", &[7; 300])] {
            let collection = CollectionId(5);
            batch.push(Op { kind: Kind::Put, collection, key, value, expires: None }).unwrap();
        }
        let (rules, clock) = Default::default();
        let outline = Outline { least: 300, compression, rules, clock };
        let mut outlined = Outlined::of(&batch, &outline).unwrap();
        let mut payload = Vec::new();
        for (op, seq) in outlined.stored().iter().zip(1..) {
            put_entry(&mut payload, &op, SeqNo(seq));
        }
        outlined.place(FileId(1), 0, SeqNo(1));
        let mut log = Vec::new();
        write(&place(0, payload.len() as u64, Layout::Whole), &payload, &mut log);
        let (rows, sum, clean) = crate_reads(&log);
        assert!(clean && rows.len() == 3);
        assert_eq!((rows.clone(), clean), esker_reads(&log));
        assert_eq!(sum, setsum(&rows));
        for ((_, _, stored), op) in rows.iter().zip(outlined.iter()) {
            let stored = stored.as_deref().unwrap();
            let Some(blob) = BlobRef::decode(op.value).filter(|_| op.kind == Kind::Blob) else {
                assert_eq!(stored, b"small");
                continue;
            };
            assert_eq!(blob.codec == Codec::Raw, compression == Compression::None);
            let unpacked = unpack(blob.codec, stored, blob.len as usize).unwrap();
            assert_eq!(digest(&unpacked), blob.digest);
        }
    }
}

/// SST-9: the crate refuses, loudly, a log with Esker's own entries.
#[test]
fn the_crate_refuses_merges_and_range_deletes() {
    for kind in [Kind::Merge, Kind::RangeDelete] {
        let (mut log, mut payload) = (Vec::new(), Vec::new());
        let op = Op { kind, collection: CollectionId(1), key: b"k", value: b"v", expires: None };
        put_entry(&mut payload, &op, SeqNo(1));
        write(&place(0, payload.len() as u64, Layout::Blocks), &payload, &mut log);
        assert!(!crate_reads(&log).2);
        assert!(foreign(&log).next().unwrap().is_some());
    }
}

/// The vector of SST-10: a split batch of 93 bytes, then one of 10.
fn torn_vector() -> (Vec<u8>, usize) {
    let start = BLOCK_BYTES as usize - 60;
    let mut log = Vec::new();
    let filler = (0..)
        .map(|trim| sized(1, start - 600 - trim))
        .find(|rows| place(0, payload_len(rows), Layout::Blocks).end < start as u64 - 400);
    let filler = filler.unwrap();
    esker_writes(&mut log, &filler, Layout::Blocks);
    let left = start - log.len();
    let exact = (left - 40..left).map(|bytes| sized(2, bytes)).find(|rows| {
        place(log.len() as u64, payload_len(rows), Layout::Blocks).end == start as u64
    });
    esker_writes(&mut log, &exact.unwrap(), Layout::Blocks);
    assert_eq!(log.len(), start);
    let long = (1..100).map(|bytes| sized(3, bytes)).find(|rows| payload_len(rows) == 93);
    esker_writes(&mut log, &long.unwrap(), Layout::Blocks);
    esker_writes(&mut log, &[(vec![], 4, Some(vec![]))], Layout::Blocks);
    (log, start)
}

/// SST-10, SST-15: at every cut both say the same; the crate knows where to cut off half a split
/// batch, Esker where to cut off any tear.
#[test]
fn both_say_the_same_of_a_log_cut_at_any_byte() {
    let (log, start) = torn_vector();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for cut in start..=log.len() {
        let bytes = &log[..cut];
        let (rows, sum, clean) = crate_reads(bytes);
        assert_eq!((rows.clone(), clean), esker_reads(bytes), "cut {}", cut - start);
        assert_eq!(sum, setsum(&rows));
        let mut reader = foreign(bytes);
        while matches!(reader.next(), Ok(Some(_))) {}
        let position = reader.position() as usize;
        assert_eq!(position == cut, clean);
        Real::new().create(&path).unwrap().write_at(bytes, 0).unwrap();
        if let Ok(Some(theirs)) = truncate_final_partial_frame(LogOptions::default(), &path) {
            assert!((51..=60).contains(&(cut - start)));
            assert_eq!(theirs as usize, position);
        }
        Real::new().remove(&path).unwrap();
    }
}

/// SST-8, SST-9, SST-10: a flipped bit anywhere: both read the same entries, or both refuse.
#[test]
fn both_say_the_same_of_a_log_with_any_bit_flipped() {
    let mut log = Vec::new();
    for seq in 1..5u64 {
        let rows = [(vec![b'k'; seq as usize], seq, Some(vec![9; 10])), (vec![1], seq, None)];
        esker_writes(&mut log, &rows, Layout::Blocks);
    }
    for at in 0..log.len() {
        for bit in 0..8 {
            let mut bytes = log.clone();
            bytes[at] ^= 1 << bit;
            let (rows, _, clean) = crate_reads(&bytes);
            assert_eq!((rows, clean), esker_reads(&bytes), "byte {at} bit {bit}");
        }
    }
}

/// The entries of a payload until the first that is refused, as the crate sees them.
fn crate_decodes(payload: &[u8]) -> (Vec<Row>, bool) {
    let mut log = Vec::new();
    write(&place(0, payload.len() as u64, Layout::Blocks), payload, &mut log);
    let (rows, _, clean) = crate_reads(&log);
    (rows, clean)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Any batches of puts and deletes.
    #[test]
    fn both_write_and_read_the_same(
        batches in proptest::collection::vec(
            proptest::collection::vec(
                (
                    proptest::collection::vec(any::<u8>(), 0..40),
                    any::<u64>(),
                    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
                ),
                1..6,
            ),
            1..8,
        )
    ) {
        assert_agreement(&batches);
    }

    /// SST-9: what is tolerated and refused inside a payload is the same, byte by byte.
    #[test]
    fn both_decode_changed_payloads_alike(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        inserts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut payload = Vec::new();
        for (seq, kind) in [(300, Kind::Put), (7, Kind::Delete), (1 << 40, Kind::Put)] {
            let value: &[u8] = if kind == Kind::Put { b"value" } else { b"" };
            put_entry_at_rest(&mut payload, &Entry { key: b"key", seq: SeqNo(seq), kind, value });
        }
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        for (at, byte) in inserts {
            payload.insert(at.index(payload.len()), byte);
        }
        let (mut rows, mut clean) = (Vec::new(), true);
        for entry in Entries::new(&payload) {
            match entry {
                Ok(entry) if matches!(entry.kind, Kind::Put | Kind::Delete) => {
                    rows.push(row(&entry));
                }
                _ => {
                    clean = false;
                    break;
                }
            }
        }
        prop_assert_eq!((rows, clean), crate_decodes(&payload));
    }
}
