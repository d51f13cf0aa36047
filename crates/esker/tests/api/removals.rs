//! Range deletes: their bounds, what they hide and from whom, wherever they and the keys lie.

use super::{SHAPES, Shape, Shaped, folder, in_every_shape, keys, open, small};
use esker::{Access, Collection, Db, Durability, ErrorKind};
use std::ops::Bound::{self, Excluded, Included, Unbounded};

const ALL: [(&str, Option<&str>); 5] =
    [("", Some("0")), ("b", Some("1")), ("bb", Some("2")), ("d", Some("3")), ("f", Some("4"))];

/// Forward, backward and by point reads a collection has the keys `want`, of those in `asked`.
fn assert_has(c: &Collection, asked: &[&str], want: &[&str], what: &str) {
    let found: Vec<_> = c.iter().map(|pair| pair.unwrap().0).collect();
    assert!(found.iter().map(|key| &key[..]).eq(want.iter().map(|key| key.as_bytes())), "{what}");
    let mut back: Vec<_> = c.iter().rev().map(|pair| pair.unwrap().0).collect();
    back.reverse();
    assert_eq!(found, back, "{what}, from the back");
    for key in asked {
        assert_eq!(c.get(key).unwrap().is_some(), want.contains(key), "{what}, {key:?}");
    }
    let values = c.multi_get(asked).unwrap();
    let there: Vec<_> = asked.iter().zip(&values).filter(|(_, value)| value.is_some()).collect();
    assert_eq!(there.len(), want.len(), "{what}, many at once");
}

/// What can become of a removal after it was made.
const FATES: [&str; 4] = ["stays in memory", "is flushed", "is compacted", "is replayed"];

/// `db` with its collection `c` after `fate`.
fn suffer(fate: &str, shaped: Shaped) -> Shaped {
    match fate {
        "is flushed" => shaped.db.flush().unwrap(),
        "is compacted" => shaped.db.compact().unwrap(),
        "is replayed" => {
            let Shaped { _folder, db, c } = shaped;
            return Shaped::reopen(_folder, db, c);
        }
        _ => {}
    }
    shaped
}

/// MOSS-14: every pair of bounds of every kind removes what a range of them would show.
#[test]
fn every_kind_of_bounds_removes_what_it_shows() {
    let bounds: Vec<Bound<&str>> = ["", "a", "b", "bb", "c", "f", "g"]
        .into_iter()
        .flat_map(|key| [Included(key), Excluded(key)])
        .chain([Unbounded])
        .collect();
    let asked = ALL.map(|step| step.0);
    for shape in [Shape::ManyCommits, Shape::ManyRuns, Shape::Mixed, Shape::Compacted] {
        let shaped = Shaped::new(shape, &ALL);
        for &start in &bounds {
            for &end in &bounds {
                let gone: Vec<_> =
                    shaped.c.range::<&str>((start, end)).map(|pair| pair.unwrap().0).collect();
                shaped.c.remove_range::<&str>((start, end)).unwrap();
                let is_left = |key: &&&str| !gone.iter().any(|gone| *gone == key.as_bytes());
                let want: Vec<&str> = asked.iter().filter(is_left).copied().collect();
                assert_has(&shaped.c, &asked, &want, &format!("{shape:?} {start:?} {end:?}"));
                for (key, value) in ALL {
                    shaped.c.insert(key, value.unwrap()).unwrap();
                }
            }
        }
    }
}

/// F-43, F-44: a snapshot from before still sees what was removed, whatever becomes of the removal;
/// what is written afterwards is there.
#[test]
fn a_removal_hides_what_was_there_and_nothing_else() {
    let asked = ["", "b", "bb", "d", "f", "c", "e"];
    for fate in FATES {
        for shape in SHAPES {
            let what = format!("{shape:?}, the removal {fate}");
            let shaped = Shaped::new(shape, &ALL);
            let (before, c) = (shaped.db.snapshot(), &shaped.c);
            c.remove_range("b".."f").unwrap();
            assert_has(c, &asked, &["", "f"], &what);
            let between = shaped.db.snapshot();
            c.insert("c", "new").unwrap();
            c.insert("d", "new").unwrap();
            let (old, gone) = (c.at(&before), c.at(&between));
            let in_memory = fate == "is replayed";
            let shaped = if in_memory {
                drop((old, gone, before, between));
                suffer(fate, shaped)
            } else {
                let shaped = suffer(fate, shaped);
                assert_eq!(keys(old.iter()), " b bb d f ", "{what}");
                assert_eq!(old.get("bb").unwrap().as_deref(), Some(&b"2"[..]), "{what}");
                assert_eq!(keys(gone.iter()), " f ", "{what}");
                assert_eq!(gone.get("d").unwrap(), None, "{what}");
                shaped
            };
            assert_has(&shaped.c, &asked, &["", "c", "d", "f"], &what);
            assert_eq!(shaped.c.get("d").unwrap().as_deref(), Some(&b"new"[..]), "{what}");
            // With the snapshots gone, a compaction leaves only what is seen.
            shaped.db.compact().unwrap();
            assert_has(&shaped.c, &asked, &["", "c", "d", "f"], &what);
            assert!(shaped.db.verify().unwrap().is_whole(), "{what}");
            // Neighbours were never touched.
            let other = |name| shaped.db.collection(name).unwrap().iter().count();
            assert_eq!((other("b"), other("d")), (1, 1), "{what}");
        }
    }
}

/// A range delete hides only what came before it in its batch, and is whole with it.
#[test]
fn a_removal_in_a_batch_takes_its_place_in_the_order() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let other = db.collection("other").unwrap();
    c.insert("a", "old").unwrap();
    let mut batch = db.batch();
    batch.insert(&c, "b", "before").unwrap();
    batch.insert(&other, "b", "another's").unwrap();
    batch.remove_range(&c, "a".."m").unwrap();
    batch.insert(&c, "c", "after").unwrap();
    batch.remove_range::<&str>(&c, "z".."y").unwrap();
    assert_eq!(batch.len(), 4, "an empty range is no operation");
    batch.commit().unwrap();
    for flushed in [false, true] {
        if flushed {
            db.flush().unwrap();
        }
        assert_eq!((keys(c.iter()), keys(other.iter())), ("c ".into(), "b ".into()));
        assert_eq!((c.get("a").unwrap(), c.get("b").unwrap()), (None, None));
    }
    let mut batch = db.batch();
    batch.remove_prefix(&c, "c").unwrap();
    batch.clear(&other).unwrap();
    batch.commit().unwrap();
    assert_eq!((c.iter().count(), other.iter().count()), (0, 0));
}

/// MOSS-14: an empty range, or one the wrong way round, writes nothing at all.
#[test]
fn an_empty_range_writes_nothing() {
    in_every_shape(&ALL, |db, c, shape| {
        let before = (db.stats().sequence, db.checksum().unwrap());
        c.remove_range("d".."d").unwrap();
        c.remove_range("d".."b").unwrap();
        c.remove_range("".."").unwrap();
        c.remove_range::<&str>((Excluded("b"), Excluded("b"))).unwrap();
        c.remove_range::<&str>((Excluded("b"), Included("b"))).unwrap();
        assert_eq!((db.stats().sequence, db.checksum().unwrap()), before, "{shape:?}");
        assert_eq!(c.iter().count(), 5);
    });
}

/// Whoever asks for a synced write relies on everything before it, also if there is nothing to write.
#[test]
fn a_synced_removal_of_nothing_makes_durable_what_came_before() {
    let folder = folder();
    let (db, c) = open(folder.path());
    c.insert("a", "1").unwrap();
    let written = db.stats().sequence;
    assert!(db.stats().durable < written);
    c.remove_range_with("b".."a", Durability::Sync).unwrap();
    assert!(db.stats().durable >= written);
    c.insert("a", "2").unwrap();
    let written = db.stats().sequence;
    db.batch().commit_with(Durability::Sync).unwrap();
    assert!(db.stats().durable >= written);
}

/// The longest key has no key right behind it; a prefix of bytes 255 has no end.
#[test]
fn removals_at_the_limits_of_keys() {
    let folder = folder();
    let (_db, c) = open(folder.path());
    let longest = vec![b'k'; 64 << 10];
    let highest = vec![0xff; 64 << 10];
    let refill = || {
        for key in [&longest[..], b"k", b"l", b"\xff", &highest] {
            c.insert(key, "v").unwrap();
        }
    };
    let left = || c.iter().map(|pair| pair.unwrap().0.len()).collect::<Vec<_>>();
    refill();
    c.remove_range(&longest[..]..=&longest[..]).unwrap();
    assert_eq!(left(), [1, 1, 1, 64 << 10]);
    refill();
    c.remove_range::<&[u8]>((Excluded(&longest[..]), Unbounded)).unwrap();
    assert_eq!(left(), [1, 64 << 10]);
    refill();
    c.remove_range::<&[u8]>((Excluded(&highest[..]), Unbounded)).unwrap();
    assert_eq!(left().len(), 5, "there is no key above it");
    c.remove_range(&highest[..]..=&highest[..]).unwrap();
    assert_eq!(left(), [1, 64 << 10, 1, 1]);
    c.remove_prefix(b"\xff").unwrap();
    assert_eq!(left(), [1, 64 << 10, 1]);
    let over = vec![0; (64 << 10) + 1];
    let refused = c.remove_range(&over[..]..).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert_eq!(c.remove_range(..&over[..]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(c.remove_prefix(&over).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(left().len(), 3);
}

/// The last collection there is has an end as well, and `clear` is not its removal.
#[test]
fn clear_empties_one_collection() {
    in_every_shape(&ALL, |db, c, shape| {
        c.clear_with(Durability::Sync).unwrap();
        assert_eq!((c.iter().count(), c.first().unwrap()), (0, None), "{shape:?}");
        assert_eq!(db.collections().unwrap(), ["b", "c", "d"]);
        assert_eq!(db.collection("d").unwrap().iter().count(), 1);
        c.insert("x", "y").unwrap();
        assert_eq!(keys(c.iter()), "x ");
    });
}

/// A database of another is refused, whatever the range.
#[test]
fn a_batch_refuses_to_remove_from_another_database() {
    let (one, two) = (folder(), folder());
    let (db, _) = open(one.path());
    let (_other, c) = open(two.path());
    let mut batch = db.batch();
    assert!(batch.clear(&c).is_err());
    assert!(batch.remove_range::<&str>(&c, "b".."a").is_err());
    assert!(batch.is_empty());
}

/// Range deletes do not gather: a compaction leaves none of
/// those that newer ones hide.
#[test]
fn a_compaction_drops_the_range_deletes_that_newer_ones_hide() {
    let folder = folder();
    let db: Db = small().background_compaction(false).open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    for round in 0..50 {
        c.insert(format!("{round:02}"), "v").unwrap();
        c.remove_range(..format!("{round:02}").as_str()).unwrap();
        db.flush().unwrap();
    }
    db.compact().unwrap();
    assert_eq!(keys(c.iter()), "49 ");
    assert!(db.stats().segment_entries < 10, "{} entries are left", db.stats().segment_entries);
    assert!(db.verify().unwrap().is_whole());
}

/// Blocks that were asked for since the open.
fn blocks(db: &Db) -> u64 {
    let stats = db.stats();
    stats.cache_hits + stats.cache_misses
}

/// Ten thousand range deletes over ten thousand keys in files: a scan from either end reads what is
/// left, and not what is covered.
#[test]
fn scans_leap_over_what_is_covered_in_files() {
    let folder = folder();
    let options = Db::options().access(Access::Positioned).background_compaction(false);
    let db: Db = options.slab_bytes(4 << 20).open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    for n in 0..10_000 {
        c.insert(format!("{n:05}"), [7; 100]).unwrap();
    }
    db.flush().unwrap();
    let all = blocks(&db);
    assert_eq!(c.iter().count(), 10_000);
    let all = blocks(&db) - all;
    for n in 0..9_999 {
        c.remove_range(format!("{n:05}")..format!("{:05}", n + 1)).unwrap();
    }
    for flushed in [false, true] {
        if flushed {
            db.flush().unwrap();
        }
        for back in [false, true] {
            let before = blocks(&db);
            let mut found = c.iter();
            let pair = if back { found.next_back() } else { found.next() };
            assert_eq!(pair.unwrap().unwrap().0, "09999");
            assert!(if back { found.next_back() } else { found.next() }.is_none());
            let read = blocks(&db) - before;
            assert!(read * 10 < all, "{read} of {all} blocks, flushed: {flushed}, back: {back}");
        }
    }
}
