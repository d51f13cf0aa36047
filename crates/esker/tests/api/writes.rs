//! Pairs, limits, batches, removals, values of any size.

use super::{folder, in_every_shape, open, pairs, small};
use esker::{Db, Durability, ErrorKind};

/// MOSS-3: an empty value is present, the empty key is the first.
#[test]
fn empty_keys_and_empty_values_are_not_absent() {
    let steps = [("b", Some("")), ("", Some("empty key")), ("a", Some("1")), ("gone", None)];
    in_every_shape(&steps, |_, c, shape| {
        assert_eq!(c.get("").unwrap().as_deref(), Some(&b"empty key"[..]), "{shape:?}");
        assert_eq!(c.get("b").unwrap().as_deref(), Some(&b""[..]), "{shape:?}");
        assert_eq!(c.get("gone").unwrap(), None, "{shape:?}");
        assert!(c.contains_key("").unwrap() && !c.contains_key("gone").unwrap());
        assert_eq!(pairs(c.iter()), "=empty key a=1 b= ", "{shape:?}");
        assert_eq!(c.first().unwrap().unwrap().0, *b"");
        assert_eq!(c.last().unwrap().unwrap().0, *b"b");
    });
}

/// MOSS-3: an empty key over an empty value, and then removed.
#[test]
fn the_empty_pair_can_be_removed() {
    in_every_shape(&[("", Some("")), ("", None)], |_, c, shape| {
        assert_eq!(c.get("").unwrap(), None, "{shape:?}");
        assert_eq!(c.first().unwrap(), None, "{shape:?}");
    });
}

/// MOSS-2: judged before anything is changed.
#[test]
fn a_key_may_have_64_kib_and_not_a_byte_more() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let longest = vec![b'k'; 64 << 10];
    let too_long = vec![b'k'; (64 << 10) + 1];
    c.insert(&longest, "value").unwrap();
    let sequence = db.stats().sequence;
    let mut batch = db.batch();
    batch.insert(&c, "a", "1").unwrap();
    for error in [
        c.insert(&too_long, "value").unwrap_err(),
        c.remove(&too_long).unwrap_err(),
        batch.insert(&c, &too_long, "value").unwrap_err(),
        batch.remove(&c, &too_long).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!((batch.len(), batch.byte_count()), (1, 2));
    assert_eq!(db.stats().sequence, sequence);
    // What cannot be there is absent, and no error.
    assert_eq!(c.get(&too_long).unwrap(), None);
    assert!(c.range(too_long.as_slice()..).next().is_none());
    db.flush().unwrap();
    assert_eq!(c.get(&longest).unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(c.last().unwrap().unwrap().0, longest);
}

/// MOSS-6, SST-K2: the later operation wins, in memory, in files and after replay.
#[test]
fn of_the_same_key_twice_in_a_batch_the_later_wins() {
    for how in ["memory", "flushed", "replayed"] {
        let folder = folder();
        let (db, c) = open(folder.path());
        let mut batch = db.batch();
        batch.insert(&c, "a", "1").unwrap();
        batch.insert(&c, "b", "1").unwrap();
        batch.remove(&c, "a").unwrap();
        batch.insert(&c, "a", "2").unwrap();
        batch.remove(&c, "b").unwrap();
        assert_eq!(batch.len(), 5);
        batch.commit().unwrap();
        let (db, c) = match how {
            "flushed" => {
                db.flush().unwrap();
                (db, c)
            }
            "replayed" => {
                drop(c);
                db.close().unwrap();
                open(folder.path())
            }
            _ => (db, c),
        };
        assert_eq!(pairs(c.iter()), "a=2 ", "{how}");
        assert_eq!(c.get("b").unwrap(), None, "{how}");
        drop(db);
    }
}

/// MOSS-5.
#[test]
fn an_empty_batch_changes_nothing() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    let before = db.stats().sequence;
    let batch = db.batch();
    assert!(batch.is_empty());
    batch.commit().unwrap();
    db.batch().commit_with(Durability::Sync).unwrap();
    assert_eq!(db.stats().sequence, before);
}

#[test]
fn a_dropped_batch_is_forgotten() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let mut batch = db.batch();
    batch.insert(&c, "a", "1").unwrap();
    drop(batch);
    assert_eq!(c.first().unwrap(), None);
}

/// SST-K1: a tombstone masks what lies below, for gets and for scans alike.
#[test]
fn what_was_removed_is_in_no_scan() {
    let steps = [
        ("a", Some("1")),
        ("b", Some("1")),
        ("c", Some("1")),
        ("b", None),
        ("a", None),
        ("a", Some("2")),
        ("never", None),
    ];
    in_every_shape(&steps, |_, c, shape| {
        assert_eq!(pairs(c.iter()), "a=2 c=1 ", "{shape:?}");
        assert_eq!(pairs(c.range("b".."c")), "", "{shape:?}");
        assert_eq!(c.iter().rev().count(), 2, "{shape:?}");
        assert_eq!(c.get("b").unwrap(), None, "{shape:?}");
    });
}

#[test]
fn a_get_sees_the_writes_that_have_returned() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for turn in 0..3000_u32 {
        let key = format!("key {}", turn % 100);
        c.insert(&key, turn.to_be_bytes()).unwrap();
        assert_eq!(c.get(&key).unwrap().unwrap(), turn.to_be_bytes());
        if turn % 7 == 0 {
            c.remove(&key).unwrap();
            assert_eq!(c.get(&key).unwrap(), None);
        }
    }
    assert!(db.stats().flushes + db.stats().memtables > 1, "{}", db.stats());
}

#[test]
fn collections_do_not_see_each_other() {
    let folder = folder();
    let (db, one) = open(folder.path());
    let two = db.collection("two").unwrap();
    one.insert("k", "1").unwrap();
    two.insert("k", "2").unwrap();
    one.remove("k").unwrap();
    assert_eq!((pairs(one.iter()), pairs(two.iter())), (String::new(), "k=2 ".into()));
    assert_eq!(two.name(), "two");
}

#[test]
fn a_batch_refuses_a_collection_of_another_database() {
    let (one, two) = (folder(), folder());
    let (db, _) = open(one.path());
    let (_other, foreign) = open(two.path());
    let mut batch = db.batch();
    let error = batch.insert(&foreign, "k", "v").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(batch.is_empty());
}

fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed) as u8).collect()
}

/// BLOB-B2: there is no value that a generation cannot take.
#[test]
fn values_may_have_any_size() {
    const SLAB: usize = 64 << 10;
    let sizes = [0, 1, 127, 128, 4096, SLAB / 4, SLAB - 64, SLAB, SLAB + 1, 5 * SLAB, 3 << 20];
    let folder = folder();
    let (db, c) = open(folder.path());
    let check = |c: &esker::Collection| {
        for size in sizes {
            let value = c.get(format!("{size:08}")).unwrap().unwrap();
            assert!(*value == bytes(size, size), "{size}");
        }
        let lengths: Vec<usize> = c.iter().map(|pair| pair.unwrap().1.len()).collect();
        assert_eq!(lengths, sizes);
    };
    for size in sizes {
        c.insert(format!("{size:08}"), bytes(size, size)).unwrap();
    }
    check(&c);
    db.flush().unwrap();
    check(&c);
    let mut batch = db.batch();
    for size in sizes {
        batch.insert(&c, format!("{size:08}"), bytes(size, size)).unwrap();
    }
    batch.commit().unwrap();
    check(&c);
    drop(c);
    db.close().unwrap();
    let (db, c) = open(folder.path());
    check(&c);
    db.compact().unwrap();
    check(&c);
}

#[test]
fn a_value_of_100_mib_comes_back() {
    let folder = folder();
    let value = bytes(100 << 20, 7);
    let db = Db::options().memory_budget(16 << 20).open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    c.insert("large", &value).unwrap();
    assert!(*c.get("large").unwrap().unwrap() == *value);
    db.flush().unwrap();
    assert!(*c.get("large").unwrap().unwrap() == *value);
    drop(c);
    db.close().unwrap();
    let db = small().open(folder.path()).unwrap();
    let (key, back) = db.collection("c").unwrap().last().unwrap().unwrap();
    assert_eq!(key, *b"large");
    assert!(*back == *value);
}

/// MOSS-7: of a slot that is dropped the batch does not even know its collection.
#[test]
fn a_batch_does_not_go_where_a_slot_was_dropped() {
    let folder = folder();
    let (db, c) = open(folder.path());
    for creates in [false, true] {
        let gone = db.collection("gone").unwrap();
        let mut batch = db.batch();
        drop(batch.reserve(&gone, 1, 1).unwrap());
        assert!(batch.reserve(&gone, 65_537, 0).is_err());
        batch.insert(&c, "k", "v").unwrap();
        let mut written = batch.clone();
        written.insert(&gone, "k", "v").unwrap();
        if creates {
            batch.create_collection("new").unwrap();
        }
        db.delete_collection(&gone).unwrap();
        batch.commit().unwrap();
        assert_eq!(written.commit().unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// MOSS-7: pairs are written where they will lie; a slot that is dropped leaves nothing.
#[test]
fn pairs_are_written_in_place() {
    let (folder, other) = (folder(), folder());
    let (db, c) = open(folder.path());
    let (_other, theirs) = open(other.path());
    let mut batch = db.batch();
    for n in 0..3_u8 {
        let mut slot = batch.reserve(&c, 1, 5000).unwrap();
        slot.key_mut()[0] = b'a' + n;
        slot.value_mut().fill(n);
        slot.truncate(usize::from(n) * 2400);
        slot.commit();
        drop(batch.reserve(&c, 3, 3).unwrap());
    }
    assert_eq!(batch.len(), 3);
    assert!(batch.reserve(&c, 65_537, 0).is_err());
    assert!(batch.reserve(&theirs, 1, 1).is_err());
    batch.commit().unwrap();
    let lens: Vec<_> = c.iter().map(|pair| pair.unwrap().1.to_vec()).collect();
    assert_eq!(lens, [vec![], vec![1; 2400], vec![2; 4800]]);
}
