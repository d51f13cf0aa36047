//! What is taken for a frame, and what is not.

use super::super::frame::{Layout, place, write};
use super::*;
use crate::base::coding::put_varint;

const PAYLOAD: &[u8] = b"some payload of a frame";

fn framed(header: &[u8]) -> Vec<u8> {
    let length = u8::try_from(header.len()).unwrap();
    [&[length], header, PAYLOAD].concat()
}

fn field(tag: u8, value: u64) -> Vec<u8> {
    let mut out = vec![tag];
    put_varint(&mut out, value);
    out
}

fn parts() -> [Vec<u8>; 3] {
    let crc = crc32c::crc32c(PAYLOAD).to_le_bytes();
    [field(0x50, PAYLOAD.len() as u64), field(0x58, 1), [&[0x65], &crc[..]].concat()]
}

fn frame_at(position: usize, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(&place(position as u64, payload.len() as u64, Layout::Blocks), payload, &mut out);
    out
}

/// SST-9: fields in any order, unknown and repeated ones; Esker's own logs have none of that.
#[test]
fn headers_that_the_crate_tolerates_are_foreign() {
    let [size, kind, crc] = parts();
    let tolerated = [
        [&crc[..], &kind, &size].concat(),
        [&size[..], &kind, &crc, &field(0x78, 5)].concat(),
        [&field(0x58, 7)[..], &size, &kind, &crc].concat(),
    ];
    for header in tolerated {
        let log = framed(&header);
        assert_eq!(locate(&log, 0, Rules::Foreign).unwrap().unwrap().end, log.len());
        assert!(locate(&log, 0, Rules::Esker).is_err());
    }
    let log = framed(&[&size[..], &kind, &crc].concat());
    assert_eq!(locate(&log, 0, Rules::Esker), locate(&log, 0, Rules::Foreign));
}

/// SST-8.3 to 8.7, SST-9.
#[test]
fn headers_that_the_crate_refuses_are_refused() {
    let [size, kind, crc] = parts();
    let [n, ..] = size[1..] else { panic!("one byte") };
    let refused = [
        [&[0x50, n | 0x80, 0][..], &kind, &crc].concat(),
        [&size[..], &field(0x58, 0), &crc].concat(),
        [&size[..], &field(0x58, 3), &crc].concat(),
        [&size[..], &field(0x58, 4), &crc].concat(),
        [&size[..], &crc].concat(),
        [&size[..], &kind, &crc[..3]].concat(),
        [&size[..], &kind, &[0x65, 0, 0, 0, 0]].concat(),
        [&field(0x50, u64::MAX)[..], &kind].concat(),
        [&field(0x50, FOREIGN_BYTES_MAX + 1)[..], &kind, &crc].concat(),
        [&field(0x50, 0)[..], &kind, &[0x65, 0, 0, 0, 0]].concat(),
        vec![0; 20],
    ];
    for header in refused {
        let log = framed(&header);
        for rules in [Rules::Esker, Rules::Foreign] {
            assert_eq!(locate(&log, 0, rules).unwrap_err().at, 0, "{header:?}");
        }
    }
}

/// SST-8.2, SST-10: the crate takes zeros up to 20 bytes before a border; Esker its own padding,
/// whatever is in it, and nothing but zeros as the end.
#[test]
fn zeros_are_padding_the_end_or_a_fault() {
    for room in 1..40 {
        let start = BLOCK - room;
        let mut log = vec![0; BLOCK];
        let own_end = locate(&log, start, Rules::Esker);
        assert_eq!(own_end, Ok(None), "zeros to the end of the file are the end");
        assert_eq!(locate(&log, start, Rules::Foreign).is_ok(), room <= 20);
        log.extend(frame_at(BLOCK, PAYLOAD));
        let own = locate(&log, start, Rules::Esker);
        assert_eq!(own.is_ok(), room <= 19, "zeros where a frame should be");
        assert_eq!(locate(&log, start, Rules::Foreign).is_ok(), room <= 20);
        log[start] ^= 0x40;
        let flipped = locate(&log, start, Rules::Esker);
        assert_eq!(flipped, if room <= 19 { own } else { flipped.clone() }, "F-33: harmless");
    }
}

/// SST-10: a FIRST frame needs its SECOND, exactly at the border.
#[test]
fn half_a_split_payload_is_a_fault() {
    let start = BLOCK - 60;
    let whole = [vec![0; start], frame_at(start, &[7; 93])].concat();
    assert!(locate(&whole, start, Rules::Esker).is_ok());
    for cut in start + 1..whole.len() {
        let fault = locate(&whole[..cut], start, Rules::Esker).unwrap_err();
        assert_eq!(fault.at, start);
    }
    let other = [&whole[..BLOCK], &frame_at(BLOCK, &[7; 93])].concat();
    assert!(locate(&other, start, Rules::Esker).is_err());
    assert!(locate(&whole, BLOCK, Rules::Esker).is_err(), "a SECOND alone");
}

#[test]
fn the_next_frame_behind_damage_is_found_byte_by_byte() {
    let mut log = b"\x09\x50 damage \x09\x50\x05\x58\x01".to_vec();
    let at = log.len();
    log.extend(frame_at(at, PAYLOAD));
    let mut resync = Resync::new(log.len());
    assert_eq!(resync.next(&log, 0).unwrap().unwrap().at, at);
    assert_eq!(resync.next(&log, at + 1), Ok(None));
}

/// F-39: a file of headers that each claim most of it costs no more than a few passes.
#[test]
fn a_hostile_file_cannot_make_the_search_quadratic() {
    let header = [&[0x0b, 0x50][..], &[0x80, 0x80, 0x20], &[0x58, 1, 0x65, 0, 0, 0, 0]].concat();
    let log = header.repeat(200_000);
    assert!(Resync::new(log.len()).next(&log, 0).is_err());
}
