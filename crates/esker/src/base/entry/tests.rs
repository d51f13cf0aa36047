//! Entries as they are logged: lengths, fields, what the crate takes and refuses.

use super::super::batch::Batch;
use super::super::coding::put_varint;
use super::*;

const KINDS: [Kind; 4] = [Kind::Put, Kind::Delete, Kind::Merge, Kind::RangeDelete];

fn op<'a>(kind: Kind, key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op { kind, collection: CollectionId(7), key, value, expires: None }
}

fn full(id: u32, key: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], key].concat()
}

#[test]
fn every_kind_round_trips_at_every_length_of_number_and_parts() {
    let bytes = vec![9; 70_000];
    for kind in KINDS {
        for len in [0, 1, 100, 123, 124, 127, 128, 16_380, 16_384, 65_536] {
            for seq in [0, 127, 128, (1 << 56) - 1, u64::MAX].map(SeqNo) {
                let value = if kind == Kind::Delete { &[] } else { &bytes[..len] };
                let op = op(kind, &bytes[..len], value);
                let mut out = Vec::new();
                put_entry(&mut out, &op, seq);
                assert_eq!(out.len(), entry_len(&op, seq));
                let entries: Vec<_> = Entries::new(&out).map(Result::unwrap).collect();
                let key = full(7, op.key);
                let end = full(if len == 0 { 8 } else { 7 }, value);
                let value = if kind == Kind::RangeDelete { &end[..] } else { value };
                let entry = Entry { key: &key, seq, kind, value };
                assert_eq!(entries, [Logged { entry, packed: None, expiry: None }]);
                let mut again = Vec::new();
                put_entry_at_rest(&mut again, &entry);
                assert_eq!(again, out);
            }
        }
    }
}

/// A ref, and behind it what is stored: as an operation of a packed value has them.
fn packed(len: u32, stored: &[u8]) -> (BlobRef, Vec<u8>) {
    let (address, stored_len) = (Address(77), stored.len() as u32);
    let blob = BlobRef { address, digest: 5, len, stored: stored_len, codec: Codec::Lz4 };
    (blob, [&blob.encode()[..], stored].concat())
}

#[test]
fn a_packed_value_round_trips_and_ends_its_entry() {
    for (len, stored) in [(256, 1), (5000, 124), (70_000, 127), (1 << 30, 17_000)] {
        let (blob, value) = packed(len, &vec![3; stored]);
        let op = op(Kind::Blob, b"key", &value);
        for seq in [0, 127, 128, u64::MAX].map(SeqNo) {
            let (mut out, mut front) = (Vec::new(), Vec::new());
            put_entry(&mut out, &op, seq);
            put_entry_front(&mut front, &op, seq);
            assert_eq!(out.len(), entry_len(&op, seq));
            assert_eq!([&front, logged_value(&op)].concat(), out);
            assert_eq!(logged_value(&op).len(), stored);
            let logged = Entries::new(&out).next().unwrap().unwrap();
            let key = full(7, b"key");
            let entry = Entry { key: &key, seq, kind: Kind::Put, value: &value[24..] };
            assert_eq!(logged.entry, entry);
            assert_eq!(logged.packed.unwrap().blob(blob.address, stored).unwrap(), blob);
            let mut again = Vec::new();
            put_entry_at_rest(&mut again, &Entry { kind: Kind::Blob, value: &value, ..entry });
            assert_eq!(again, out);
        }
    }
}

/// Of every length, in line and packed; never is not written.
#[test]
fn an_expiry_round_trips_and_the_value_ends_the_entry() {
    let (blob, large) = packed(5000, b"stored");
    for time in [0, 127, 128, 1 << 40, u64::MAX - 1, u64::MAX].map(Time) {
        for (kind, value) in [(Kind::Put, &b"value"[..]), (Kind::Blob, &large)] {
            let op = Op { expires: Some(time), ..op(kind, b"key", value) };
            let (mut out, mut front) = (Vec::new(), Vec::new());
            put_entry(&mut out, &op, SeqNo(u64::MAX));
            put_entry_front(&mut front, &op, SeqNo(u64::MAX));
            assert_eq!(out.len(), entry_len(&op, SeqNo(u64::MAX)));
            assert_eq!([&front, logged_value(&op)].concat(), out);
            let logged = Entries::new(&out).next().unwrap().unwrap();
            assert_eq!(logged.expiry, (time != Time::NEVER).then_some(time));
            assert_eq!((logged.kind, logged.value), (Kind::Put, logged_value(&op)));
            let packed = logged.packed.map(|it| it.blob(blob.address, 6).unwrap());
            assert_eq!(packed, (kind == Kind::Blob).then_some(blob));
            if kind == Kind::Put && time != Time::NEVER {
                let (key, value) = (full(7, b"key"), [value, &time.0.to_le_bytes()].concat());
                let entry = Entry { key: &key, kind: Kind::Expiring, value: &value, ..*logged };
                let mut again = Vec::new();
                put_entry_at_rest(&mut again, &entry);
                assert_eq!(again, out);
            }
        }
    }
}

/// Law 10: what no writer says of a packed value is refused.
#[test]
fn what_cannot_be_a_packed_value_is_no_ref() {
    let good = Packed { codec: 1, len: 5000, digest: 5 };
    let kind = |packed: Packed, stored| packed.blob(Address(1), stored).unwrap_err().kind();
    assert!(good.blob(Address(1), 4999).is_ok());
    for stored in [0, 5000, 1 << 31, usize::MAX] {
        assert_eq!(kind(good, stored), ErrorKind::Corruption);
    }
    let raw = Packed { codec: 0, ..good };
    assert!(raw.blob(Address(1), 5000).is_ok());
    for stored in [0, 4999, 5001] {
        assert_eq!(kind(raw, stored), ErrorKind::Corruption);
    }
    for len in [0, 255, (1 << 30) + 1, u64::MAX] {
        assert_eq!(kind(Packed { len, ..good }, 100), ErrorKind::Corruption);
    }
    for codec in [3, 255, 256, 257, u64::MAX] {
        assert_eq!(kind(Packed { codec, ..good }, 100), ErrorKind::Unsupported);
    }
}

#[test]
fn a_measure_holds_for_exactly_the_numbers_of_its_length() {
    let mut batch = Batch::default();
    for count in 1..4u64 {
        batch.push(op(Kind::Put, b"k", b"v")).unwrap();
        for near in [0, 100, 124, 125, 126, 127, 128, 16_381, 16_384, (1 << 56) - 2] {
            let len = OpsLen::at(&batch, SeqNo(near));
            assert_eq!(len.count(), count);
            assert!(len.fits(SeqNo(near)));
            for first in [near.saturating_sub(3), near.saturating_sub(1), near, near + 1] {
                let exact = ops_len(&batch, SeqNo(first)) as u64;
                assert!(!len.fits(SeqNo(first)) || len.bytes() == exact, "{near} {first}");
            }
        }
    }
    assert!(OpsLen::at(&batch, SeqNo(200)).fits(SeqNo(16_000)));
    assert!(!OpsLen::at(&batch, SeqNo(200)).fits(SeqNo(100)));
}

fn put_with(fields: &[u8]) -> Vec<u8> {
    let mut out = vec![PUT];
    put_varint(&mut out, fields.len() as u64);
    out.extend_from_slice(fields);
    out
}

/// SST-9: omitted fields are 0, unknown ones are skipped, order is free.
#[test]
fn what_the_crate_tolerates_in_an_entry_is_tolerated() {
    type Case<'a> = (&'a [u8], &'a [u8], u64, &'a [u8]);
    let cases: [Case<'_>; 5] = [
        (&[], b"", 0, b""),
        (&[0x18, 5], b"", 5, b""),
        (&[0x22, 1, b'v', 0x18, 5, 0x12, 1, b'k', 0x08, 0], b"k", 5, b"v"),
        (&[0x12, 1, b'k', 0x7a, 2, 1, 2, 0x78, 9, 0x7d, 1, 2, 3, 4], b"k", 0, b""),
        (&[0x12, 1, b'k', 0x78, 0x89, 0, 0x7a, 0x81, 0, 7], b"k", 0, b""), // longer than need be
    ];
    for (fields, key, seq, value) in cases {
        let bytes = put_with(fields);
        let entry = Entries::new(&bytes).next().unwrap().unwrap();
        assert_eq!(*entry, Entry { key, seq: SeqNo(seq), kind: Kind::Put, value });
    }
    let long_tag_and_length = [0xc2, 0x00, 0x82, 0x00, 0x18, 0x05];
    assert_eq!(Entries::new(&long_tag_and_length).next().unwrap().unwrap().seq, SeqNo(5));
}

/// SST-9, SST-8.8: what the crate refuses is refused, with the offset; nothing follows it.
#[test]
fn what_the_crate_refuses_in_an_entry_is_refused() {
    let cases: [&[u8]; 9] = [
        &[0xc0, 0xa3, 0x09, 0],             // field 19,000
        &[0xf8, 0xe1, 0x09, 0],             // field 19,999
        &[0x80, 0x80, 0x80, 0x80, 0x10, 0], // field 2^29
        &[0x08, 1],                         // shared
        &[0x18, 0x85, 0x00],                // number longer than it need be
        &[0x12, 0x81, 0x00, 7],             // length longer than it need be
        &[0x12, 9, 7],                      // past the end
        &[0x1b],                            // no such wire type
        &[0x18],                            // no value
    ];
    let good = put_with(&[0x18, 5]);
    for fields in cases {
        let mut bytes = [good.clone(), put_with(fields)].concat();
        bytes.extend(&good);
        let mut entries = Entries::new(&bytes);
        assert!(entries.next().unwrap().is_ok());
        assert_eq!(entries.next().unwrap().unwrap_err().offset, good.len(), "{fields:?}");
        assert!(entries.next().is_none());
    }
    assert!(Entries::new(&[0x52, 0]).next().unwrap().is_err());
}

/// F-39: any bytes give entries or an error, never a panic.
#[test]
fn every_cut_and_every_flip_of_a_payload_is_survived() {
    let mut bytes = Vec::new();
    for (kind, seq) in KINDS.into_iter().zip(1..) {
        put_entry(&mut bytes, &op(kind, b"key", b"value"), SeqNo(seq));
    }
    put_entry(&mut bytes, &op(Kind::Blob, b"key", &packed(300, b"packed").1), SeqNo(5));
    for at in 0..bytes.len() {
        let _ = Entries::new(&bytes[..at]).count();
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let _ = Entries::new(&flipped).count();
        }
    }
}
