//! Records in a slab, written side by side.

use super::*;

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Op<'a> {
    Op { kind: Kind::Put, collection: CollectionId(1), key, value, expires: None }
}

fn seqs(slab: &Slab) -> Vec<u64> {
    slab.walk(0).map(|at| slab.seq(at).0).collect()
}

#[test]
fn a_slot_that_is_dropped_unfilled_hides_nothing_behind_it() {
    let slab = Arc::new(Slab::new(1024).unwrap());
    let mut slots: Vec<_> = (0..3).map(|_| slab.reserve(64).unwrap()).collect();
    slots[0].push(&put(b"a", b"1"), SeqNo(1));
    slots[2].push(&put(b"c", b"3"), SeqNo(3));
    assert_eq!(seqs(&slab), [1]);
    drop(slots);
    assert_eq!(seqs(&slab), [1, 3]);
}

#[test]
fn a_slab_takes_exactly_its_capacity() {
    let op = put(b"key", b"value");
    let slab = Arc::new(Slab::new(2 * need(&op)).unwrap());
    assert_eq!(slab.capacity(), 2 * need(&op));
    let mut all = slab.reserve(slab.capacity()).unwrap();
    assert!(slab.reserve(1).is_none());
    assert!(slab.reserve(usize::MAX).is_none());
    all.push(&op, SeqNo(1));
    all.push(&op, SeqNo(2));
    drop(all);
    assert_eq!(seqs(&slab), [1, 2]);
    assert_eq!(slab.used(), slab.capacity());
}

#[test]
fn a_slab_over_the_reach_of_addresses_is_refused() {
    assert!(Slab::new(BYTES_MAX).is_err());
    assert!(Slab::new(usize::MAX).is_err());
}

#[test]
#[should_panic(expected = "a slot too small")]
fn a_record_larger_than_its_slot_is_not_written() {
    let slab = Arc::new(Slab::new(1024).unwrap());
    slab.reserve(24).unwrap().push(&put(b"key", b"value"), SeqNo(1));
}

#[test]
fn a_value_outlives_the_slab_handle() {
    let slab = Arc::new(Slab::new(1024).unwrap());
    let at = slab.reserve(64).unwrap().push(&put(b"a", b"hello"), SeqNo(1)).0;
    let value = slab.pin(at);
    drop(slab);
    assert_eq!(value, b"hello");
}

/// The end of a range is a full key, so that it compares with any other.
#[test]
fn the_end_of_a_range_is_stored_with_its_collection() {
    let slab = Arc::new(Slab::new(1024).unwrap());
    let op = Op { kind: Kind::RangeDelete, ..put(b"a", b"m") };
    let at = slab.reserve(need(&op)).unwrap().push(&op, SeqNo(1)).0;
    assert_eq!(slab.entry(at).value, b"\0\0\0\x01m");
    // One without an end goes up to the next collection, as it does in the log.
    let op = Op { kind: Kind::RangeDelete, ..put(b"a", b"") };
    let at = slab.reserve(need(&op)).unwrap().push(&op, SeqNo(2)).0;
    assert_eq!(slab.entry(at).value, b"\0\0\0\x02");
}
