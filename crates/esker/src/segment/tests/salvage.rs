//! What is left of a damaged segment.

use super::*;
use crate::segment::salvage;

/// Rows with values of all lengths, a few of them longer than most files.
fn long_rows() -> Vec<Row> {
    let value = |i: u64| {
        let len = [0, 9, 60, 700, 5000, 70_000, 200_000][(noise(i) % 7) as usize];
        (0..len).map(|at| noise(i ^ (at / 7)) as u8).collect::<Vec<u8>>()
    };
    let row = |i| (full(1, format!("{i:04}").as_bytes()), 1 + i, Kind::Put, value(i));
    (0..60).map(row).collect()
}

fn found(bytes: &[u8]) -> Vec<Row> {
    let mut found = Vec::new();
    salvage(bytes, ID, &mut |entry| found.push(owned(entry)));
    found
}

/// SST-21: behind the data nothing is needed, of the data nothing but the blocks.
#[test]
fn without_footer_or_index_every_entry_is_found_however_long() {
    let rows = long_rows();
    for compression in compressions() {
        let world = World::new();
        let options = WriterOptions { block_bytes: 1000, compression, ..Default::default() };
        world.write(ID, &rows, options);
        let good = world.bytes(ID);
        let footer_at = good.len() - format::FOOTER_BYTES;
        let footer = format::decode_footer(&good[footer_at..], footer_at as u64, Some(ID));
        let data = footer.unwrap().0.data as usize;
        for at in (data..good.len()).step_by(37) {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            assert!(found(&bad) == rows, "{compression:?}, byte {at}, data end at {data}");
        }
    }
}

/// A flipped bit of the data takes one block with it.
#[test]
fn a_damaged_block_takes_nothing_else_with_it() {
    let (rows, world) = (long_rows(), World::new());
    let options = WriterOptions { block_bytes: 1000, ..Default::default() };
    world.write(ID, &rows, options);
    let good = world.bytes(ID);
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let found = found(&bad);
        let is_lost = |row: &&Row| !found.contains(row);
        let lost: Vec<&Row> = rows.iter().filter(is_lost).collect();
        let small = lost.iter().filter(|row| row.3.len() < 1000).count();
        let bytes: usize = lost.iter().map(|row| row.3.len()).sum();
        assert!(lost.len() - small <= 1 && bytes < 202_000, "byte {at}: {} rows", lost.len());
        assert_eq!(found.len() + lost.len(), rows.len());
    }
}

/// Law 10: where nothing says where blocks begin and many are damaged, all others are found, and the
/// search ends soon.
#[test]
fn damaged_blocks_without_an_index_cost_some_tries_a_byte_and_hide_no_other() {
    let value = |i: u64| noise(i).to_be_bytes().repeat(5);
    let row = |i: u64| (full(1, &i.to_be_bytes()), 1 + i, Kind::Put, value(i));
    let rows: Vec<Row> = (0..2_000).map(row).collect();
    let world = World::new();
    let options = WriterOptions { compression: Compression::None, ..Default::default() };
    world.write(ID, &rows, options);
    let mut bad = world.bytes(ID);
    let footer_at = bad.len() - 20;
    bad[footer_at] ^= 1;
    let whole = salvage(&bad, ID, &mut |_| {});
    // Most of them in the zeros between the data and the filter.
    assert!(whole.tries < 64 * bad.len() as u64, "{whole:?}");
    let step = bad.len() / 6;
    (0..3).for_each(|part| bad[part * step + 100] ^= 1);
    let damaged = salvage(&bad, ID, &mut |_| {});
    assert_eq!(damaged.blocks, whole.blocks - 3, "{:?}", damaged.lost);
    assert!(damaged.tries < 200 * bad.len() as u64, "{} tries", damaged.tries);
}
