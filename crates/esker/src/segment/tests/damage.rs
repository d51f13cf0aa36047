//! Segments that were damaged, and systems that fail while one is written or read.

use super::*;
use crate::base::blob::{Address, BlobRef};
use crate::env::sim::{Calls, Errno, Fault, Trouble, Weather};

/// F-33: one flipped bit anywhere is an error, or the answer is right all the same; `verify`
/// always sees it. Also F-40: a damaged filter or index never says "absent".
#[test]
fn a_flipped_bit_is_never_a_wrong_answer_and_verify_always_sees_it() {
    let rows = rows(14);
    let world = World::with_cache(0);
    for compression in compressions() {
        let options = WriterOptions { block_bytes: 300, compression, ..WriterOptions::default() };
        let meta = world.write(ID, &rows, options);
        let good = world.bytes(ID);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            world.replace(ID, &bad);
            for access in BOTH {
                let Ok(reader) = world.open(&meta, access) else { continue };
                if let Ok(found) = scan(&reader) {
                    assert_eq!(found, rows, "bit {bit}");
                }
                for row in &rows {
                    if let Ok(found) = get(&reader, &row.0, row.1) {
                        assert_eq!(found.as_ref(), Some(row), "bit {bit}");
                    }
                }
                assert!(verify(&reader).is_err(), "bit {bit}");
            }
        }
        world.sim.remove_file(&world.path(ID)).unwrap();
    }
}

/// F-35, F-39: any byte replaced, any stretch zeroed: an error or the right answer.
#[test]
fn a_zeroed_stretch_is_an_error_or_harmless() {
    let rows = rows(40);
    let world = World::new();
    let meta = world.write(ID, &rows, WriterOptions { block_bytes: 500, ..Default::default() });
    let good = world.bytes(ID);
    for from in (0..good.len()).step_by(64) {
        let mut bad = good.clone();
        let to = good.len().min(from + 512);
        bad[from..to].fill(0);
        world.replace(ID, &bad);
        for access in BOTH {
            world.cache.clear();
            let Ok(reader) = world.open(&meta, access) else { continue };
            assert_eq!(verify(&reader).is_err(), bad != good);
            if let Ok(found) = scan(&reader) {
                assert_eq!(found, rows);
            }
        }
    }
}

/// F-25: a file that ends early is damage, wherever it ends.
#[test]
fn a_file_cut_at_any_byte_is_damage() {
    let world = World::new();
    let meta = world.write(ID, &rows(20), WriterOptions::default());
    let good = world.bytes(ID);
    for cut in 0..good.len() {
        world.replace(ID, &good[..cut]);
        for access in BOTH {
            let error = world.open(&meta, access).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "cut at {cut}: {error}");
        }
    }
    world.replace(ID, &[&good[..], b"x"].concat());
    assert!(world.open(&meta, Access::Mapped).is_err());
}

/// F-36: two segments swapped, an older copy put back, a block moved.
#[test]
fn bytes_at_another_place_are_damage() {
    let (world, rows) = (World::new(), rows(60));
    let options = WriterOptions { block_bytes: 400, ..WriterOptions::default() };
    let meta = world.write(ID, &rows, options);
    let other = world.write(FileId(43), &rows, options);
    let (good, swapped) = (world.bytes(ID), world.bytes(FileId(43)));
    assert_eq!(meta.bytes, other.bytes);
    world.replace(ID, &swapped);
    let error = world.open(&meta, Access::Mapped).unwrap_err();
    assert!(error.message().starts_with("seg-000042 at byte "), "{error}");
    let path = world.path(ID);
    assert!(SegmentReader::open_alone(&world.env, &path, BOTH[0], &world.cache).is_err());

    let older = world.write(FileId(44), &rows[1..], options);
    let manifest = SegmentMeta { id: FileId(44), ..meta.clone() };
    assert!(world.open(&manifest, Access::Mapped).is_err());
    world.open(&older, Access::Mapped).unwrap();

    // The second block of the same length in the place of the first.
    world.replace(ID, &good);
    let reader = world.open(&meta, Access::Mapped).unwrap();
    let top = reader.top(super::super::reader::Trust::Nothing).unwrap();
    let top = super::super::index::Index::of(top.bytes()).unwrap();
    let partition =
        reader.partition(top.child(0).unwrap(), super::super::reader::Trust::Nothing).unwrap();
    let blocks = super::super::index::Index::of(partition.bytes()).unwrap();
    let place = |i: usize| {
        let child = blocks.child(i).unwrap();
        (child.at as usize, child.len as usize)
    };
    let (a, b) = (0..blocks.count())
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .map(|(a, b)| (place(a), place(b)))
        .find(|(a, b)| a.1 == b.1)
        .unwrap();
    let mut bad = good.clone();
    bad[a.0..a.0 + a.1].copy_from_slice(&good[b.0..b.0 + b.1]);
    world.replace(ID, &bad);
    let reader = world.open(&meta, Access::Positioned).unwrap();
    assert_eq!(verify(&reader).unwrap_err().kind(), ErrorKind::Corruption);
    assert!(scan(&reader).is_err());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damages a file behind the back of its map")]
fn a_rewrite_cursor_verifies_again_and_caches_nothing() {
    let (world, rows) = (World::real(), rows(200));
    let meta = world.write(ID, &rows, WriterOptions::default());
    let reader = world.open(&meta, Access::Positioned).unwrap();
    let mut cursor = reader.rewrite_cursor();
    cursor.seek_first().unwrap();
    for row in &rows {
        assert_eq!(here(&cursor).as_ref(), Some(row));
        cursor.next().unwrap();
    }
    assert_eq!((here(&cursor), world.cache.used_bytes()), (None, 0));
    assert_eq!(scan(&reader).unwrap(), rows);
    // Damage after the first touch: reads that remember it see nothing, a rewrite does.
    let path = world.path(ID);
    let mapped = world.open(&meta, Access::Mapped).unwrap();
    assert_eq!(scan(&mapped).unwrap(), rows);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, &[0xff; 8], 100).unwrap();
    let mut cursor = mapped.rewrite_cursor();
    assert_eq!(cursor.seek_first().unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(here(&cursor), None);
    cursor.next().unwrap();
    assert_eq!(here(&cursor), None, "after an error a cursor is off until a seek succeeds");
}

/// F-28, F-40: a read that fails is an error wherever it is, never "absent", and the cursor is off
/// until a seek succeeds.
#[test]
fn a_part_that_cannot_be_read_is_an_error_and_never_absent() {
    let (world, rows) = (World::with_cache(0), rows(60));
    let options = WriterOptions { block_bytes: 300, ..WriterOptions::default() };
    let meta = world.write(ID, &rows, options);
    let reader = world.open(&meta, Access::Positioned).unwrap();
    for from in (0..meta.bytes).step_by(50) {
        world.sim.break_reads(&world.path(ID), from..from + 1).unwrap();
        assert_eq!(verify(&reader).unwrap_err().kind(), ErrorKind::Io);
        let mut failures = 0;
        for row in &rows {
            match get(&reader, &row.0, row.1) {
                Ok(found) => assert_eq!(found.as_ref(), Some(row)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Io);
                    assert!(error.message().contains("seg-000042"), "{error}");
                    failures += 1;
                }
            }
        }
        assert!(failures > 0 || from >= reader.layout.ranges_at() || from >= reader.layout.data);
        let mut cursor = reader.cursor();
        let mut moved = cursor.seek_first();
        let mut found = 0;
        while moved.is_ok() && cursor.entry().is_some() {
            assert_eq!(here(&cursor).as_ref(), Some(&rows[found]));
            found += 1;
            moved = cursor.next();
        }
        if moved.is_err() {
            cursor.next().unwrap();
            assert_eq!(here(&cursor), None, "an iterator stays failed");
        } else {
            assert_eq!(found, rows.len());
        }
        world.sim.heal();
        cursor.seek_first().unwrap();
        assert_eq!(here(&cursor).as_ref(), rows.first());
    }
}

/// F-25: short and interrupted reads are carried on.
#[test]
fn short_reads_and_interruptions_do_no_harm() {
    let (world, rows) = (World::with_cache(0), rows(60));
    world.sim.set_weather(Weather { short_reads: 500, short_writes: 500, interrupts: 200 });
    let meta = world.write(ID, &rows, WriterOptions::default());
    for access in BOTH {
        let reader = world.open(&meta, access).unwrap();
        assert_eq!(scan(&reader).unwrap(), rows);
        verify(&reader).unwrap();
    }
}

/// F-18, F-20, F-21, F-24, F-27: a writer that failed once fails for good, and no sync is repeated.
#[test]
fn a_failed_write_or_sync_is_final() {
    let rows: Vec<Row> = (0..3000u32)
        .map(|i| (full(1, &i.to_be_bytes()), 1, Kind::Put, vec![i as u8; 500]))
        .collect();
    let troubles = [
        Trouble::Refuse(Errno::Io),
        Trouble::Refuse(Errno::NoSpace),
        Trouble::DropPages,
        Trouble::Full,
        Trouble::Zero,
    ];
    for trouble in troubles {
        for n in 1.. {
            let world = World::new();
            let mut writer =
                SegmentWriter::create(&world.env, world.dir(), ID, Default::default()).unwrap();
            let on = Calls::WRITE | Calls::SYNC;
            world.sim.fail_at(n, Fault { trouble, on });
            let added = rows.iter().try_for_each(|row| writer.add(&entry(row)));
            let first = world.sim.count(on);
            if let Err(error) = added {
                assert_eq!(error.kind(), ErrorKind::Io);
                assert!(error.message().contains("seg-000042"), "{error}");
                assert!(writer.add(&entry(&rows[2999])).is_err());
                assert!(writer.finish().is_err());
                assert_eq!(world.sim.count(on), first, "nothing is tried again");
                continue;
            }
            let syncs = world.sim.count(Calls::SYNC);
            match writer.finish() {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Io),
                Ok(meta) => {
                    assert!(n > 4, "a fault that hit nothing, after {n} calls");
                    verify(&world.open(&meta, Access::Mapped).unwrap()).unwrap();
                    assert_eq!(world.sim.count(Calls::SYNC), syncs + 1);
                    break;
                }
            }
            assert!(world.sim.count(Calls::SYNC) <= syncs + 1);
        }
    }
}

/// What `finish` returned for survives a power cut once the folder is synced.
#[test]
fn a_finished_segment_is_durable() {
    let (mut world, rows) = (World::new(), rows(40));
    let meta = world.write(ID, &rows, WriterOptions::default());
    for dir in [world.dir(), Path::new("/")] {
        world.env.sync_dir(dir).unwrap();
    }
    world.sim = world.sim.crash(crate::env::sim::Loss::All);
    world.env = world.sim.clone();
    let reader = world.open(&meta, Access::Mapped).unwrap();
    assert_eq!(scan(&reader).unwrap(), rows);
}

/// The bytes of version 1. If this fails, the format has changed: raise the version.
#[test]
fn the_bytes_of_a_segment_are_those_of_version_1() {
    let golden = include_str!("../../../tests/golden/segment-v1.hex");
    assert_golden(0, &[], golden);
}

/// Without prefixes in the filter a file has the bytes it always had; with them, these.
#[test]
fn the_bytes_of_a_segment_with_prefixes_are_those_of_version_1() {
    let golden = include_str!("../../../tests/golden/segment-v1-prefix.hex");
    assert_golden(3, &[], golden);
}

/// Where nothing expires a file has the bytes it always had; where something does, these.
#[test]
fn the_bytes_of_a_segment_with_what_expires_are_those_of_version_1() {
    let golden = include_str!("../../../tests/golden/segment-v1-expiry.hex");
    let until = |value: &[u8], time: u64| [value, &time.to_le_bytes()].concat();
    let blob = BlobRef::raw(Address(7), &[b'e'; 300]).encode();
    let row = |key: &[u8], seq, kind, value| (full(7, key), seq, kind, value);
    let rows = [
        row(b"epsilon", 7, Kind::Expiring, until(b"soon", 1_700_000_000_000)),
        row(b"eta", 8, Kind::Blob, until(&blob, 1_800_000_000_000)),
    ];
    assert_golden(0, &rows, golden);
}

fn assert_golden(prefix_filter: usize, more: &[Row], golden: &str) {
    let row = |key: &[u8], seq, kind, value: &[u8]| (full(7, key), seq, kind, value.to_vec());
    let mut rows = vec![
        row(b"", 3, Kind::Put, b"the empty key"),
        row(b"alpha", 9, Kind::Put, b""),
        row(b"alpha", 2, Kind::Merge, b"+1"),
        row(b"alpine", 4, Kind::Delete, b""),
        row(b"beta", 5, Kind::RangeDelete, &full(7, b"delta")),
        row(b"gamma", 6, Kind::Put, &[b'g'; 200]),
    ];
    rows.extend_from_slice(more);
    let rows = sorted(rows);
    let options = WriterOptions {
        block_bytes: 128,
        restart_interval: 2,
        compression: Compression::Lz4,
        filter_bits_per_key: 10,
        prefix_filter,
    };
    let world = World::new();
    let meta = world.write(ID, &rows, options);
    let mut hex = String::new();
    for line in world.bytes(ID).chunks(32) {
        hex.extend(line.iter().map(|byte| format!("{byte:02x}")));
        hex.push('\n');
    }
    assert!(hex == golden, "not the golden bytes:\n{hex}");
    verify(&world.open(&meta, Access::Mapped).unwrap()).unwrap();
}
