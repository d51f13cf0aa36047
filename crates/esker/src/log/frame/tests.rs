//! Golden bytes and the geometry of blocks.

use super::super::locate::{Rules, locate};
use super::*;
use crate::base::entry::{Entries, put_entry_at_rest};
use crate::base::id::SeqNo;
use crate::base::key::{Entry, Kind};
use proptest::prelude::*;

const VECTORS: &str = include_str!("../../../tests/golden/log-vectors.txt");

fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace().filter(|word| *word != "-") {
        let (digits, times) = word.split_once('*').unwrap_or((word, "1"));
        let one: Vec<u8> = (0..digits.len() / 2)
            .map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        bytes.extend(one.repeat(times.parse().unwrap()));
    }
    bytes
}

fn append(log: &mut Vec<u8>, payload: &[u8], layout: Layout) -> Placement {
    let place = place(log.len() as u64, payload.len() as u64, layout);
    write(&place, payload, log);
    assert_eq!(log.len() as u64, place.end);
    place
}

fn payload_of(located: &super::super::locate::Located, log: &[u8]) -> Vec<u8> {
    let second = located.second.clone().unwrap_or(0..0);
    [&log[located.payload.clone()], &log[second]].concat()
}

fn put(key: &[u8], seq: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_entry_at_rest(&mut out, &Entry { key, seq: SeqNo(seq), kind: Kind::Put, value });
    out
}

/// SST-2, SST-6: every vector is written byte for byte, and read back.
#[test]
fn the_vectors_of_the_sst_crate_are_written_and_read_byte_for_byte() {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    for (line, number) in lines.zip(1..) {
        let mut parts = line.split('|');
        let (frames, want) = (parts.next().unwrap(), unhex(parts.next().unwrap()));
        let mut log = Vec::new();
        let mut payloads = Vec::new();
        for frame in frames.split(';') {
            let mut payload = Vec::new();
            for entry in frame.split(',') {
                let words: Vec<_> = entry.split_whitespace().collect();
                let (key, seq) = (unhex(words[1]), SeqNo(words[2].parse().unwrap()));
                let value = unhex(words.get(3).unwrap_or(&"-"));
                let kind = if words[0] == "put" { Kind::Put } else { Kind::Delete };
                put_entry_at_rest(&mut payload, &Entry { key: &key, seq, kind, value: &value });
            }
            append(&mut log, &payload, Layout::Blocks);
            payloads.push(payload);
        }
        assert_eq!(log, want, "vector {number}");
        let mut position = 0;
        for payload in payloads {
            let located = locate(&log, position, Rules::Foreign).unwrap().unwrap();
            assert_eq!(payload_of(&located, &log), payload);
            assert!(Entries::new(&payload).all(|entry| entry.is_ok()));
            position = located.end;
        }
        assert_eq!(locate(&log, position, Rules::Foreign), Ok(None));
    }
    assert_eq!(Header::whole(19, 0x5475_cb53).bytes(), unhex("09501358016553cb7554"));
}

/// SST-7: 33 puts, of which the 32nd is split at the first border.
#[test]
fn the_border_vector_has_its_length_checksum_and_bytes() {
    let payload = put(&[b'A'; 64], 42, &vec![b'B'; 32_768]);
    let mut log = Vec::new();
    let places: Vec<_> = (0..33).map(|_| append(&mut log, &payload, Layout::Blocks)).collect();
    assert_eq!((log.len(), crc32c::crc32c(&log)), (1_084_332, 0x1f40_5a4e));
    assert_eq!(places[31].at(), 1_018_598);
    assert_eq!(places[31].shape, Shape::Split { first: 29_959, gap: 7 });
    assert_eq!(log[1_018_598..][..12], unhex("0b5087ea01580265a683b56a"));
    let border = [vec![0x42; 13], vec![0; 7], unhex("0a50c7165803652cf9506b"), vec![0x42; 9]];
    assert_eq!(log[1_048_556..1_048_596], border.concat());
}

/// SST-7: a payload of `n` bytes with `r` bytes left in the block.
#[test]
fn placement_at_a_border_is_that_of_the_sst_crate() {
    let border = 3 * BLOCK_BYTES;
    let split = |first, gap| Shape::Split { first, gap };
    let cases = [
        (20, 100, 0, split(1, 9), border + 10 + 99),
        (21, 100, 0, split(2, 9), border + 10 + 98),
        (109, 100, 0, split(90, 9), border + 10 + 10),
        (110, 100, 0, Shape::Whole, border),
        (111, 100, 0, Shape::Whole, border - 1),
        (BLOCK_BYTES, 1_048_564, 0, Shape::Whole, border),
        (BLOCK_BYTES, 1_048_565, 0, split(1_048_557, 7), border + 10 + 8),
        (BLOCK_BYTES, 1_048_576, 0, split(1_048_557, 7), border + 10 + 19),
        (20, 1_048_565, 0, split(1, 9), border + BLOCK_BYTES),
        (20, 1_048_576, 0, split(1, 9), border + BLOCK_BYTES + 11),
        (19, 1_048_576, 19, split(1_048_557, 7), border + BLOCK_BYTES + 10 + 19),
    ];
    for (room, payload, pad, shape, end) in cases {
        let start = border - room;
        let want = Placement { start, pad, shape, payload, end };
        assert_eq!(place(start, payload, Layout::Blocks), want, "{room} {payload}");
    }
    for room in 1..=19 {
        let placed = place(border - room, 100, Layout::Blocks);
        assert_eq!((placed.pad, placed.at(), placed.shape), (room, border, Shape::Whole));
    }
}

/// SST-4: the parts of a split payload are never empty, the gap is 7, 8 or 9.
#[test]
fn both_parts_of_a_split_payload_have_bytes() {
    for room in (1..300).chain(16_300..16_500).chain(1_048_300..=BLOCK_BYTES) {
        for payload in [8, 100, 300, 16_400, 1_048_564, 1_048_565, SPLIT_BYTES_MAX] {
            let start = 5 * BLOCK_BYTES - room;
            let placed = place(start, payload, Layout::Blocks);
            if let Shape::Split { first, gap } = placed.shape {
                assert!(first >= 1 && payload - first >= 8 && (7..=9).contains(&gap));
            }
            assert_eq!(placed.end - start, placed.span());
        }
    }
}

/// SST-5: what must stay contiguous, and what is over 1 MiB, crosses borders in one frame.
#[test]
fn a_large_payload_is_whole_and_never_begins_in_the_padding() {
    for (payload, layout) in [(SPLIT_BYTES_MAX + 1, Layout::Blocks), (3000, Layout::Whole)] {
        for room in 1..3000 {
            let placed = place(BLOCK_BYTES - room, payload, layout);
            assert_eq!(placed.shape, Shape::Whole);
            assert_eq!(placed.pad, if room <= HEADER_BYTES_MAX { room } else { 0 });
            assert_eq!(placed.end, placed.at() + header_len(payload) + payload);
        }
    }
}

/// SST-L13: offsets above 2^31 and 2^32 are as good as any.
#[test]
fn placement_does_not_depend_on_how_far_the_log_has_come() {
    for base in [1u64 << 31, 1 << 32, 1 << 40] {
        for (room, payload) in [(20, 100), (7, 100), (BLOCK_BYTES, SPLIT_BYTES_MAX), (5000, 90)] {
            let near = place(BLOCK_BYTES - room, payload, Layout::Blocks);
            let far = place(base + BLOCK_BYTES - room, payload, Layout::Blocks);
            assert_eq!((near.shape, near.pad), (far.shape, far.pad));
            assert_eq!(near.end + base, far.end);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any payloads, from any offset near a border, are read back by both rules, and no more.
    #[test]
    fn frames_round_trip_around_borders(
        room in 0u64..60,
        lens in proptest::collection::vec((12usize..200, proptest::bool::ANY), 1..5),
        large in 1_048_500usize..1_048_650,
    ) {
        let start = (BLOCK_BYTES - room) as usize;
        let mut log = vec![0; start];
        let mut payloads: Vec<(Vec<u8>, Layout)> = lens
            .iter()
            .map(|&(len, whole)| {
                (vec![len as u8; len], if whole { Layout::Whole } else { Layout::Blocks })
            })
            .collect();
        payloads.insert(payloads.len() / 2, (vec![77; large], Layout::Blocks));
        let ends: Vec<_> = payloads
            .iter()
            .map(|(payload, layout)| append(&mut log, payload, *layout).end as usize)
            .collect();
        for rules in [Rules::Esker, Rules::Foreign] {
            let mut position = start;
            for ((payload, _), end) in payloads.iter().zip(&ends) {
                let located = locate(&log, position, rules).unwrap().unwrap();
                prop_assert_eq!(located.end, *end);
                prop_assert!(payload_of(&located, &log) == *payload);
                position = located.end;
            }
            prop_assert_eq!(locate(&log, position, rules), Ok(None));
        }
    }
}
