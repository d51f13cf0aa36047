//! Blocks: searching, both directions, damage.

use super::*;

const COLLECTION: [u8; 4] = [0, 0, 0, 1];

fn full(key: &[u8]) -> Vec<u8> {
    [&COLLECTION[..], key].concat()
}

/// Keys of many shapes, each with one to four versions.
fn rows(count: u64) -> Vec<(Vec<u8>, u64, Vec<u8>)> {
    let mut rows = Vec::new();
    for i in 0..count {
        let noise = xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes());
        let tail = vec![b'a' + u8::try_from(noise % 3).unwrap(); (noise >> 8) as usize % 20];
        let key = [&(i / 3).to_be_bytes()[6..], &tail].concat();
        for version in 0..1 + noise % 4 {
            rows.push((full(&key), 10 * version + 1, vec![7; (noise >> 16) as usize % 300]));
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    rows.dedup_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
    rows
}

fn entry(row: &(Vec<u8>, u64, Vec<u8>)) -> Entry<'_> {
    Entry { key: &row.0, seq: SeqNo(row.1), kind: Kind::Put, value: &row.2 }
}

fn build(rows: &[(Vec<u8>, u64, Vec<u8>)], interval: usize) -> Vec<u8> {
    let mut builder = BlockBuilder::new(interval);
    let mut last: &[u8] = &[];
    for row in rows {
        builder.push(shared_len(last, &row.0), &entry(row));
        last = &row.0;
    }
    builder.finish().to_vec()
}

#[test]
fn shared_len_counts_the_common_bytes() {
    for len in 0..40 {
        for differ in 0..len {
            let (a, mut b) = (vec![1u8; len], vec![1u8; len]);
            b[differ] = 2;
            assert_eq!(shared_len(&a, &b), differ);
            assert_eq!(shared_len(&a[..differ], &a), differ);
        }
        assert_eq!(shared_len(&vec![1; len], &vec![1; len]), len);
    }
}

#[test]
fn a_search_finds_the_newest_version_at_or_below_a_number() {
    let rows = rows(60);
    for interval in [1, 2, 8, 16, 1000] {
        let block = build(&rows, interval);
        for (key, _, _) in &rows {
            for at in [0, 1, 5, 11, 21, 31, 99] {
                let want = rows.iter().find(|row| row.0 == *key && row.1 <= at);
                match (search(&block, key, SeqNo(at)).unwrap(), want) {
                    (Found::Here(seq, Kind::Put, range), Some(row)) => {
                        assert_eq!((seq, &block[range]), (SeqNo(row.1), &row.2[..]));
                    }
                    (Found::Absent | Found::Beyond, None) => {}
                    (found, want) => panic!("{key:?} at {at}: {found:?}, want {want:?}"),
                }
            }
        }
    }
}

#[test]
fn a_search_between_keys_says_whether_later_blocks_may_have_it() {
    let rows = rows(60);
    let block = build(&rows, 8);
    for (key, _, _) in &rows {
        for probe in [[&key[..], &[0]].concat(), key[..key.len() - 1].to_vec(), full(b"")] {
            let absent = !rows.iter().any(|row| row.0 == probe);
            let beyond = rows.iter().all(|row| row.0 < probe);
            let found = search(&block, &probe, SeqNo::MAX).unwrap();
            let want = if beyond { Found::Beyond } else { Found::Absent };
            assert!(!absent || found == want, "{probe:?}: {found:?}");
        }
    }
}

#[test]
fn a_walk_goes_both_ways_and_turns_anywhere() {
    let rows = rows(50);
    for interval in [1, 3, 16] {
        let block = build(&rows, interval);
        let mut walk = Walk::default();
        for turn in 0..rows.len() {
            walk.load(&block).unwrap();
            for row in &rows[..=turn] {
                assert!(walk.next(&block).unwrap());
                assert_eq!(walk.entry(&block), Some(entry(row)));
            }
            for row in rows[..turn].iter().rev() {
                assert!(walk.prev(&block).unwrap());
                assert_eq!(walk.entry(&block), Some(entry(row)));
            }
            assert!(walk.next(&block).unwrap() || rows.len() == 1);
            assert_eq!(walk.entry(&block), Some(entry(&rows[1])));
        }
        assert!(walk.last(&block).unwrap());
        assert_eq!(walk.entry(&block), Some(entry(rows.last().unwrap())));
    }
}

#[test]
fn a_seek_goes_to_the_first_entry_at_or_after() {
    let rows = rows(40);
    let block = build(&rows, 4);
    let mut walk = Walk::default();
    for (key, seq, _) in &rows {
        for (key, seq) in [(key.clone(), seq + 1), (key.clone(), *seq), (full(b"zz"), 0)] {
            let probe = Entry { key: &key, seq: SeqNo(seq), kind: Kind::Put, value: b"" };
            let want = rows.iter().find(|row| entry(row).order(&probe) != Ordering::Less);
            assert_eq!(walk.seek(&block, &key, SeqNo(seq)).unwrap(), want.is_some());
            if let Some(want) = want {
                assert_eq!(walk.entry(&block), Some(entry(want)));
            }
        }
    }
}

/// F-39: whatever the bytes, no call panics or goes on for ever.
#[test]
fn hostile_blocks_end_in_an_error_or_an_end() {
    let good = build(&rows(12), 3);
    let probe = |bytes: &[u8]| {
        let mut walk = Walk::default();
        let _ = search(bytes, &full(b"\0\x02a"), SeqNo(3));
        let _ = walk.seek(bytes, &full(b"\0\x02a"), SeqNo(3)).is_ok() && walk.prev(bytes).is_ok();
        if walk.load(bytes).is_ok() {
            while let Ok(true) = walk.next(bytes) {}
        }
        if walk.last(bytes).is_ok() {
            while let Ok(true) = walk.prev(bytes) {}
        }
    };
    for at in 0..good.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1, good[at].wrapping_add(1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            probe(&bad);
        }
        probe(&good[..at]);
        probe(&good[at..]);
    }
}
