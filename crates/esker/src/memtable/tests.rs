//! The memtable as a whole, against a model.

use super::*;
use crate::base::batch::{Batch, Op};
use crate::base::cursor::Cursor;
use crate::base::key::{KEY_BYTES_MAX, split_full_key};
use crate::base::span::{Cover, Probe};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

const USERS: CollectionId = CollectionId(7);

fn op<'a>(kind: Kind, key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op { kind, collection: USERS, key, value, expires: None }
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    op(Kind::Put, key, value)
}

fn write(table: &Memtable, ops: &impl Ops, first: u64) {
    let slot = table.reserve(Memtable::need(ops)).expect("room");
    table.fill(slot, ops, SeqNo(first));
}

/// A memtable with these keys, written in this order, numbered from 1.
fn table_of(keys: &[&[u8]]) -> Memtable {
    let table = Memtable::with_capacity(1 << 16).unwrap();
    for (seq, key) in (1..).zip(keys) {
        write(&table, &put(key, key), seq);
    }
    table
}

fn look(table: &Memtable, key: &[u8], up_to: u64) -> Option<(u64, Kind, Vec<u8>)> {
    let lookup = Lookup::new(USERS, key);
    let found = table.get(&lookup, SeqNo(up_to));
    let pinned = table.get_value(&lookup, SeqNo(up_to));
    let found = found.map(|found| (found.seq.0, found.kind, found.value.to_vec()));
    assert_eq!(found, pinned.map(|(seq, kind, value)| (seq.0, kind, value.to_vec())));
    found
}

fn full(key: &[u8]) -> Vec<u8> {
    Lookup::new(USERS, key).full().to_vec()
}

/// The user key that the cursor is on.
fn user_key(cursor: &MemCursor) -> Option<Vec<u8>> {
    let entry = cursor.entry()?;
    assert_eq!(cursor.value(), entry.value);
    Some(split_full_key(entry.key).unwrap().1.to_vec())
}

fn seek(cursor: &mut MemCursor, key: &[u8]) -> Option<Vec<u8>> {
    cursor.seek(&full(key), SeqNo::MAX).unwrap();
    user_key(cursor)
}

type Row = (Vec<u8>, u64, Kind, Vec<u8>);

fn row(cursor: &MemCursor) -> Option<Row> {
    let entry = cursor.entry()?;
    Some((entry.key.to_vec(), entry.seq.0, entry.kind, entry.value.to_vec()))
}

fn forward(cursor: &mut MemCursor) -> Vec<Row> {
    cursor.seek_first().unwrap();
    std::iter::from_fn(|| {
        let row = row(cursor);
        cursor.next().unwrap();
        row
    })
    .collect()
}

fn backward(cursor: &mut MemCursor) -> Vec<Row> {
    cursor.seek_last().unwrap();
    std::iter::from_fn(|| {
        let row = row(cursor);
        cursor.prev().unwrap();
        row
    })
    .collect()
}

/// MOSS-15, in one run and in several, each seek also after a seek to the far end.
#[test]
fn the_seek_matrix_holds_in_one_run_and_in_several() {
    let keys: [&[u8]; 5] = [b"1", b"3", b"5", b"7", b"9"];
    for sort_between in [false, true] {
        let table = Memtable::with_capacity(1 << 16).unwrap();
        for (seq, key) in (1..).zip([&b"9"[..], b"5", b"1", b"7", b"3"]) {
            write(&table, &put(key, key), seq);
            if sort_between {
                table.sort_ahead(SeqNo::MAX);
            }
        }
        let mut cursor = table.cursor(SeqNo::MAX);
        for end in [&b""[..], b"999"] {
            for probe in b'0'..=b'9' {
                let want = keys.iter().find(|key| key[0] >= probe).map(|key| key.to_vec());
                for _twice in 0..2 {
                    assert_eq!(seek(&mut cursor, &[probe]), want);
                }
                cursor.seek(&full(end), SeqNo::MAX).unwrap();
            }
            assert_eq!(seek(&mut cursor, b"999"), None);
            assert_eq!(seek(&mut cursor, b"999"), None);
        }
    }
}

/// MOSS-12: the row of the vector, and the same from above for `seek_before`.
#[test]
fn a_seek_is_a_lower_bound() {
    let keys: [&[u8]; 3] = [b"b", b"d", b"f"];
    for size in 0..=3 {
        let table = table_of(&keys[..size]);
        let mut cursor = table.cursor(SeqNo::MAX);
        for probe in [&b""[..], b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"b\0"] {
            let at = keys[..size].partition_point(|key| *key < probe);
            let key_at = |i: usize| keys[..size].get(i).map(|key| key.to_vec());
            assert_eq!(seek(&mut cursor, probe), key_at(at));
            cursor.seek_before(&full(probe)).unwrap();
            assert_eq!(user_key(&cursor), at.checked_sub(1).and_then(key_at));
        }
    }
}

/// MOSS-13: off an end a cursor has nothing, stays off, and comes back by a seek.
#[test]
fn a_cursor_off_the_end_stays_off_until_it_seeks() {
    let table = table_of(&[b"b", b"a"]);
    let mut cursor = table.cursor(SeqNo::MAX);
    assert_eq!(user_key(&cursor), None);
    cursor.next().unwrap();
    assert_eq!(user_key(&cursor), None);
    cursor.seek_last().unwrap();
    cursor.next().unwrap();
    cursor.prev().unwrap();
    assert_eq!(user_key(&cursor), None);
    assert_eq!(cursor.value(), b"");
    cursor.seek_first().unwrap();
    assert_eq!(user_key(&cursor), Some(b"a".to_vec()));
    cursor.prev().unwrap();
    cursor.next().unwrap();
    assert_eq!(user_key(&cursor), None);
}

/// A bound may be shorter than a collection id, as the end of a prefix is.
#[test]
fn a_bound_without_a_whole_collection_id_sorts_bytewise() {
    let table = table_of(&[b"", b"x"]);
    let mut cursor = table.cursor(SeqNo::MAX);
    for bound in [&b""[..], b"\0", b"\0\0\0", b"\0\0\0\x07"] {
        cursor.seek(bound, SeqNo::MAX).unwrap();
        assert_eq!(user_key(&cursor), Some(vec![]));
        cursor.seek_before(bound).unwrap();
        assert_eq!(user_key(&cursor), None);
    }
    for bound in [&b"\x01"[..], b"\0\0\x01", b"\0\0\0\x08"] {
        cursor.seek(bound, SeqNo::MAX).unwrap();
        assert_eq!(user_key(&cursor), None);
        cursor.seek_before(bound).unwrap();
        assert_eq!(user_key(&cursor), Some(b"x".to_vec()));
    }
}

/// MOSS-3: the empty key and the empty value are there, a tombstone is found, the rest is absent.
#[test]
fn empty_deleted_and_absent_are_three_answers() {
    let table = Memtable::with_capacity(4096).unwrap();
    write(&table, &put(b"", b""), 1);
    write(&table, &put(b"k", b"v"), 2);
    write(&table, &op(Kind::Delete, b"k", b""), 3);
    assert_eq!(look(&table, b"", 9), Some((1, Kind::Put, vec![])));
    assert_eq!(look(&table, b"k", 9), Some((3, Kind::Delete, vec![])));
    assert_eq!(look(&table, b"k", 2), Some((2, Kind::Put, b"v".to_vec())));
    assert_eq!(look(&table, b"k", 1), None);
    assert_eq!(look(&table, b"\0", 9), None);
    let mut cursor = table.cursor(SeqNo::MAX);
    cursor.seek_first().unwrap();
    assert_eq!(user_key(&cursor), Some(vec![]));
}

/// MOSS-6: the same key twice in a batch; each has a number of its own and the later wins.
#[test]
fn the_later_of_two_operations_in_a_batch_wins() {
    let table = Memtable::with_capacity(4096).unwrap();
    let mut batch = Batch::default();
    batch.push(put(b"k", b"1")).unwrap();
    batch.push(put(b"k", b"2")).unwrap();
    write(&table, &batch, 5);
    assert_eq!(look(&table, b"k", 9), Some((6, Kind::Put, b"2".to_vec())));
    assert_eq!(look(&table, b"k", 5), Some((5, Kind::Put, b"1".to_vec())));
}

/// MOSS-10: counters prove that only those who need order pay for it, and once.
#[test]
fn puts_and_gets_never_sort_and_a_cursor_sorts_once() {
    let table = Memtable::with_capacity(1 << 20).unwrap();
    for seq in 1..=1000u64 {
        write(&table, &put(&(seq * 7919 % 1000).to_be_bytes(), b"v"), seq);
        look(&table, &seq.to_be_bytes(), seq);
    }
    assert_eq!((table.stats().sorts, table.stats().items_moved), (0, 0));
    let rows = forward(&mut table.cursor(SeqNo(1000)));
    assert_eq!(rows.len(), 1000);
    for up_to in [1, 500, 1000] {
        assert_eq!(forward(&mut table.cursor(SeqNo(up_to))).len() as u64, up_to);
    }
    assert_eq!((table.stats().sorts, table.stats().items_moved), (1, 1000));
    write(&table, &put(b"new", b"v"), 1001);
    assert_eq!(forward(&mut table.cursor(SeqNo(1000))).len(), 1000);
    assert_eq!(table.stats().sorts, 1);
    assert_eq!(forward(&mut table.cursor(SeqNo(1001))).len(), 1001);
    assert_eq!((table.stats().sorts, table.stats().records), (2, 1001));
}

/// A scan after every write: runs stay few, and items move O(log n) times.
#[test]
fn a_cursor_after_every_write_costs_logarithmic_merging() {
    let table = Memtable::with_capacity(1 << 20).unwrap();
    let count = 4096u64;
    for seq in 1..=count {
        write(&table, &put(&(seq * 7919 % 5003).to_be_bytes(), b""), seq);
        let mut cursor = table.cursor(SeqNo(seq));
        cursor.seek_first().unwrap();
        assert!(cursor.entry().is_some());
    }
    let stats = table.stats();
    assert_eq!(stats.sorts, count);
    assert!(stats.items_moved < 40 * count, "moved {} items", stats.items_moved);
    let rows = forward(&mut table.cursor(SeqNo(count)));
    assert_eq!(rows.len() as u64, count);
    assert!(rows.is_sorted());
}

/// Every limit of a record: empty, largest key, value larger than a default memtable.
#[test]
fn records_of_every_size_fit_exactly_their_footprint() {
    let long_key = vec![b'k'; KEY_BYTES_MAX];
    let large = vec![b'v'; (64 << 20) + 1];
    for (key, value) in [
        (&b""[..], &b""[..]),
        (b"", b"v"),
        (b"k", b""),
        (&long_key, b""),
        (&long_key, &long_key),
        (b"k", &large),
    ] {
        let need = Memtable::need(&put(key, value));
        let footprint = Memtable::footprint(key.len(), value.len());
        assert!(need.is_multiple_of(8) && footprint.is_multiple_of(8));
        assert!(need <= footprint && footprint <= need + 8);
        let table = Memtable::with_capacity(need).unwrap();
        assert_eq!(table.capacity(), need);
        assert!(table.reserve(need + 1).is_none());
        write(&table, &put(key, value), 1);
        assert_eq!((table.used_bytes(), table.reserve(1).is_none()), (need, true));
        assert_eq!(look(&table, key, 1), Some((1, Kind::Put, value.to_vec())));
        assert_eq!(forward(&mut table.cursor(SeqNo(1))).len(), 1);
    }
}

/// A reservation by the rounded footprint, or one that is dropped, is a hole and hides nothing.
#[test]
fn a_hole_hides_nothing_below_or_above_it() {
    let table = Memtable::with_capacity(1 << 16).unwrap();
    let mut seq = 0;
    for length in 0..100 {
        let key = vec![b'k'; length];
        seq += 1;
        let slot = table.reserve(Memtable::footprint(length, 1)).unwrap();
        drop(table.reserve(length).unwrap());
        table.fill(slot, &put(&key, b"v"), SeqNo(seq));
        table.sort_ahead(SeqNo(seq));
    }
    assert_eq!(forward(&mut table.cursor(SeqNo(seq))).len() as u64, seq);
    assert_eq!(table.entries().count() as u64, seq);
}

/// A memtable that was made ready ahead of time is as any other; one in use is left alone.
#[test]
fn touching_memory_ahead_changes_nothing() {
    let mut table = Memtable::with_capacity(1 << 16).unwrap();
    table.touch();
    assert!(table.is_empty() && table.entries().next().is_none());
    write(&table, &put(b"a", b"1"), 1);
    let cursor = table.cursor(SeqNo::MAX);
    table.touch();
    drop(cursor);
    table.touch();
    assert_eq!(look(&table, b"a", 1), Some((1, Kind::Put, b"1".to_vec())));
}

/// Law 1: an open reservation hides what lies behind it from order, until it closes.
#[test]
fn an_open_slot_ends_what_is_sorted_and_a_closed_one_does_not() {
    let table = table_of(&[b"a", b"b"]);
    let open = table.reserve(64).unwrap();
    write(&table, &put(b"d", b""), 4);
    assert_eq!(forward(&mut table.cursor(SeqNo(2))).len(), 2);
    assert_eq!(table.entries().count(), 2);
    table.fill(open, &put(b"c", b""), SeqNo(3));
    let keys: Vec<_> = forward(&mut table.cursor(SeqNo(4))).into_iter().map(|r| r.0).collect();
    assert_eq!(keys, [full(b"a"), full(b"b"), full(b"c"), full(b"d")]);
    assert_eq!(table.entries().map(|entry| entry.seq.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn range_deletes_are_records_and_a_list_but_no_answer_to_a_get() {
    let table = table_of(&[b"a"]);
    assert!(!table.has_range_deletes());
    write(&table, &op(Kind::RangeDelete, b"a", b"m"), 2);
    assert!(table.has_range_deletes());
    assert_eq!(look(&table, b"a", 9), Some((1, Kind::Put, b"a".to_vec())));
    assert_eq!(table.range_deletes(SeqNo(1)), []);
    let all = table.range_deletes(SeqNo(2));
    assert_eq!((all[0].key, all[0].value), (&full(b"a")[..], &full(b"m")[..]));
    let rows = forward(&mut table.cursor(SeqNo(9)));
    assert_eq!(rows[0], (full(b"a"), 2, Kind::RangeDelete, full(b"m")));
    assert_eq!(rows.len(), 2);
}

/// SST-K3: what a cursor and a value hold stays theirs when the memtable is gone.
#[test]
fn cursors_and_values_outlive_the_memtable() {
    let table = table_of(&[b"b", b"a"]);
    let mut cursor = table.cursor(SeqNo::MAX);
    let value = table.get_value(&Lookup::new(USERS, b"b"), SeqNo::MAX).unwrap().2;
    drop(table);
    assert_eq!(forward(&mut cursor).len(), 2);
    assert_eq!(value, b"b");
    std::thread::scope(|scope| {
        scope.spawn(move || assert_eq!(backward(&mut cursor).len(), 2));
    });
}

/// Sorting eight bytes at a time: long shared prefixes, zeros, keys that end within a word.
#[test]
fn keys_that_share_long_prefixes_sort_bytewise() {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for shared in [0, 3, 7, 8, 9, 15, 16, 17, 40, 1100] {
        for zeros in 0..20 {
            keys.push([vec![b'p'; shared], vec![0; zeros]].concat());
            keys.push([vec![b'p'; shared], vec![0; zeros], vec![1]].concat());
        }
    }
    let table = Memtable::with_capacity(1 << 22).unwrap();
    let mut seq = 0;
    let mut model = Vec::new();
    for round in 0..6u64 {
        for i in 0..keys.len() as u64 {
            let key = &keys[(i * 37 + round) as usize % keys.len()];
            seq += 1;
            write(&table, &put(key, b""), seq);
            model.push((full(key), Reverse(seq)));
        }
    }
    model.sort();
    let rows = forward(&mut table.cursor(SeqNo::MAX));
    let rows: Vec<_> = rows.into_iter().map(|row| (row.0, Reverse(row.1))).collect();
    assert!(rows == model, "not in order");
}

type Model = BTreeMap<(Vec<u8>, Reverse<u64>), (Kind, Vec<u8>)>;

fn rows_of(model: &Model, up_to: u64) -> Vec<Row> {
    let visible = model.iter().filter(|((_, seq), _)| seq.0 <= up_to);
    visible.map(|((key, seq), (kind, value))| (key.clone(), seq.0, *kind, value.clone())).collect()
}

fn key_strategy() -> impl Strategy<Value = Vec<u8>> {
    let few = prop::collection::vec(prop::sample::select(vec![0u8, 1, b'a', 255]), 0..4);
    let shared =
        (0usize..12, any::<u8>()).prop_map(|(len, end)| [vec![b'p'; len], vec![end]].concat());
    prop_oneof![few, shared]
}

fn check_snapshot(table: &Memtable, model: &Model, up_to: u64, probes: &[Vec<u8>]) {
    let rows = rows_of(model, up_to);
    let mut cursor = table.cursor(SeqNo(up_to));
    assert_eq!(forward(&mut cursor), rows);
    assert_eq!(backward(&mut cursor), rows.iter().rev().cloned().collect::<Vec<_>>());
    for probe in probes {
        let key = full(probe);
        let newest = rows.iter().find(|row| row.0 == key);
        let newest = newest.map(|row| (row.1, row.2, row.3.clone()));
        assert_eq!(look(table, probe, up_to), newest);
        for seq in [0, up_to / 2, up_to, SeqNo::MAX.0] {
            cursor.seek(&key, SeqNo(seq)).unwrap();
            let at = rows.partition_point(|r| (&r.0, Reverse(r.1)) < (&key, Reverse(seq)));
            assert_eq!(row(&cursor).as_ref(), rows.get(at));
            cursor.prev().unwrap();
            let before = rows.get(at).and(at.checked_sub(1)).and_then(|i| rows.get(i));
            assert_eq!(row(&cursor).as_ref(), before);
        }
        cursor.seek_before(&key).unwrap();
        let at = rows.partition_point(|r| r.0 < key);
        assert_eq!(row(&cursor).as_ref(), at.checked_sub(1).and_then(|i| rows.get(i)));
        cursor.next().unwrap();
        assert_eq!(row(&cursor).as_ref(), rows.get(at).filter(|_| at > 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Random operations, cursors made at random moments; a snapshot at every number is the model's.
    #[test]
    fn every_snapshot_equals_the_model(
        ops in prop::collection::vec((key_strategy(), 0usize..4, any::<bool>()), 1..60),
        probes in prop::collection::vec(key_strategy(), 1..6),
    ) {
        let table = Memtable::with_capacity(1 << 14).unwrap();
        let mut model = Model::new();
        let mut early = Vec::new();
        for (seq, (key, choice, is_scanned)) in (1..).zip(&ops) {
            let kind = [Kind::Put, Kind::Put, Kind::Delete, Kind::Merge][*choice];
            let value = if kind == Kind::Delete { vec![] } else { vec![*choice as u8; *choice] };
            write(&table, &op(kind, key, &value), seq);
            model.insert((full(key), Reverse(seq)), (kind, value));
            if *is_scanned {
                early.push((seq, table.cursor(SeqNo(seq))));
            }
        }
        for (seq, mut cursor) in early {
            assert_eq!(forward(&mut cursor), rows_of(&model, seq));
        }
        let mut probes = probes;
        probes.extend(ops.iter().take(5).map(|(key, ..)| key.clone()));
        for up_to in 0..=ops.len() as u64 {
            check_snapshot(&table, &model, up_to, &probes);
        }
    }

    /// Range deletes asked about at random moments, by readers of every age.
    #[test]
    fn what_covers_a_key_equals_a_look_at_every_range_delete(
        ops in prop::collection::vec((0u8..12, 0u8..12, prop::option::of(0u64..80)), 1..80),
    ) {
        let table = Memtable::with_capacity(1 << 14).unwrap();
        let mut spans: Vec<Span> = Vec::new();
        for (seq, (start, end, asked)) in (1u64..).zip(ops) {
            write(&table, &op(Kind::RangeDelete, &[start], &[end]), seq);
            spans.extend(table.range_deletes(SeqNo(seq)).last().and_then(Span::of));
            let Some(up_to) = asked.map(|asked| SeqNo(asked.min(seq))) else { continue };
            let cover = Cover::of(table.skylines(up_to));
            for key in 0..12 {
                let key = full(&[key]);
                let covering = spans.iter().filter(|span| span.seq <= up_to && span.covers(&key));
                let wanted = covering.map(|span| span.seq).max().unwrap_or_default();
                prop_assert_eq!(table.cover(&key, up_to), wanted);
                prop_assert_eq!(Probe::new(cover.clone()).at(&key), wanted);
            }
        }
        prop_assert_eq!(&*table.spans(), &spans[..]);
        prop_assert_eq!(table.newest_range_delete(), spans.last().unwrap().seq);
    }

    /// BLOB-7: slots filled in any order give the same state.
    #[test]
    fn slots_filled_in_any_order_give_the_same_state(
        keys in prop::collection::vec(0u8..4, 1..24),
        turns in prop::collection::vec(any::<prop::sample::Index>(), 24),
    ) {
        let table = Memtable::with_capacity(1 << 14).unwrap();
        let mut model = Model::new();
        let mut open = Vec::new();
        for (seq, key) in (1..).zip(&keys) {
            let need = Memtable::need(&put(&[*key], &[*key]));
            open.push((seq, *key, table.reserve(need).unwrap()));
            model.insert((full(&[*key]), Reverse(seq)), (Kind::Put, vec![*key]));
        }
        for turn in turns.iter().take(keys.len()) {
            let (seq, key, slot) = open.swap_remove(turn.index(open.len()));
            table.fill(slot, &put(&[key], &[key]), SeqNo(seq));
        }
        let probes: Vec<_> = (0..5).map(|key| vec![key]).collect();
        for up_to in 0..=keys.len() as u64 {
            check_snapshot(&table, &model, up_to, &probes);
        }
    }
}

/// BLOB-1: four writers with reserved slots, readers that get and scan what is visible meanwhile.
#[test]
fn readers_see_every_visible_record_while_four_threads_write() {
    const PER_THREAD: u64 = 3000;
    const KEYS: u64 = 500;
    let table = Memtable::with_capacity(4 << 20).unwrap();
    let total = 4 * PER_THREAD;
    let ticket = Mutex::new(0u64);
    let written: Vec<_> = (0..=total).map(|_| AtomicBool::new(false)).collect();
    let visible = AtomicUsize::new(0);
    let key_of = |seq: u64| (seq * 7919 % KEYS).to_be_bytes();
    let publish = || {
        let mut seen = visible.load(Ordering::Acquire);
        while seen < total as usize && written[seen + 1].load(Ordering::Acquire) {
            seen += 1;
            visible.fetch_max(seen, Ordering::AcqRel);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..PER_THREAD {
                    let (seq, slot) = {
                        let mut last = ticket.lock();
                        *last += 1;
                        let op = put(&[0; 8], &[0; 8]);
                        (*last, table.reserve(Memtable::need(&op)).unwrap())
                    };
                    table.fill(slot, &put(&key_of(seq), &seq.to_be_bytes()), SeqNo(seq));
                    written[seq as usize].store(true, Ordering::Release);
                    publish();
                }
            });
        }
        for scans in [false, true] {
            let (table, visible) = (&table, &visible);
            scope.spawn(move || {
                loop {
                    let up_to = visible.load(Ordering::Acquire) as u64;
                    for seq in (1..=up_to).rev().take(50) {
                        let found = look(table, &key_of(seq), seq).unwrap();
                        assert_eq!(found, (seq, Kind::Put, seq.to_be_bytes().to_vec()));
                    }
                    if scans {
                        let rows = forward(&mut table.cursor(SeqNo(up_to)));
                        assert_eq!(rows.len() as u64, up_to);
                        assert!(rows.is_sorted_by_key(|row| (row.0.clone(), Reverse(row.1))));
                    }
                    if up_to == total {
                        break;
                    }
                }
            });
        }
    });
    let mut rows = forward(&mut table.cursor(SeqNo(total)));
    rows.sort_by_key(|row| row.1);
    assert!(rows.iter().map(|row| row.1).eq(1..=total));
    assert!(table.entries().map(|entry| entry.seq.0).eq(1..=total));
    assert_eq!(table.stats().records as u64, total);
}
