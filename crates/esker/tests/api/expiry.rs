//! What expires: gone at its time for every reader, wherever it lies, and never showing what is older.
//!
//! The clock is a number that only the tests advance.

use super::{folder, keys, pairs, small};
use esker::env::sim::{Loss, Sim};
use esker::operators::U64Add;
use esker::{Collection, Db, Durability, ErrorKind, Options, Settings};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

/// The hands of a clock.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000)))
    }

    fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.load(SeqCst))
    }

    fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, SeqCst);
    }

    /// Options with this clock, and without workers that compact.
    fn options(&self) -> Options {
        let hands = self.clone();
        let options = small().blob_threshold(256).background_compaction(false);
        options.clock(move || hands.time())
    }

    fn open(&self, folder: &Path) -> (Db, Collection) {
        let db = self.options().open(folder).unwrap();
        let c = db.collection("c").unwrap();
        (db, c)
    }
}

const TTL: Duration = Duration::from_millis(100);

/// Where entries lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Memory,
    Runs,
    Last,
    Replayed,
}

const PLACES: [Place; 4] = [Place::Memory, Place::Runs, Place::Last, Place::Replayed];

/// Brings what was written to its place.
fn settle(
    place: Place,
    hands: &Hands,
    folder: &Path,
    (db, c): (Db, Collection),
) -> (Db, Collection) {
    match place {
        Place::Memory => {}
        Place::Runs => db.flush().unwrap(),
        Place::Last => db.compact().unwrap(),
        Place::Replayed => {
            drop(c);
            db.close().unwrap();
            return hands.open(folder);
        }
    }
    (db, c)
}

/// What every way to read says of the keys: those that are there, each time the same.
fn seen(db: &Db, c: &Collection) -> String {
    let all = ["a", "k", "z"];
    let there = keys(c.iter());
    let by = |is_there: &dyn Fn(&str) -> bool| -> String {
        all.iter().filter(|key| is_there(key)).map(|key| format!("{key} ")).collect()
    };
    assert_eq!(by(&|key| c.get(key).unwrap().is_some()), there, "get");
    assert_eq!(by(&|key| c.contains_key(key).unwrap()), there, "contains_key");
    assert_eq!(by(&|key| c.get_range(key, 0..1).unwrap().is_some()), there, "get_range");
    assert_eq!(by(&|key| c.reader(key).unwrap().is_some()), there, "reader");
    let many = c.multi_get(all).unwrap();
    assert_eq!(by(&|key| many[all.iter().position(|it| *it == key).unwrap()].is_some()), there);
    let mut back: Vec<_> = c.iter().rev().map(|pair| pair.unwrap()).collect();
    back.reverse();
    let same: Vec<_> = c.iter().map(|pair| pair.unwrap()).collect();
    assert_eq!(back, same, "from the back");
    assert_eq!(c.iter().keys().count(), same.len());
    assert_eq!(c.iter().readers().count(), same.len());
    assert_eq!(c.first().unwrap(), same.first().cloned());
    assert_eq!(c.last().unwrap(), same.last().cloned());
    let mut lent = c.iter();
    for (key, value) in &same {
        let found = lent.next_lent().unwrap().unwrap();
        assert_eq!(found, (&**key, &**value));
        assert_eq!(c.get(key).unwrap().unwrap(), *value);
        let mut read = Vec::new();
        c.reader(key).unwrap().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, **value);
        assert_eq!(c.get_range(key, ..).unwrap().unwrap(), *value);
    }
    assert_eq!(lent.next_lent().unwrap(), None);
    assert_eq!(keys(c.fail_fast().iter()), there, "fail-fast");
    assert_eq!(by(&|key| keys(c.prefix(key)) == format!("{key} ")), there, "prefix");
    let txn = db.begin();
    assert_eq!(by(&|key| txn.get(c, key).unwrap().is_some()), there, "transaction");
    assert_eq!(by(&|key| txn.contains_key(c, key).unwrap()), there);
    assert_eq!(txn.iter(c).unwrap().count(), same.len());
    there
}

/// Law 4, HEST-2: to the millisecond, for small and large values, wherever they and what they replaced
/// lie, before and after all of it is merged; and for snapshots from before.
#[test]
fn what_expires_is_there_until_then_and_from_then_on_it_is_a_tombstone() {
    for (old, new) in PLACES.into_iter().flat_map(|old| PLACES.map(|new| (old, new))) {
        for len in [5, 300] {
            let (folder, hands) = (folder(), Hands::new());
            let (db, c) = hands.open(folder.path());
            for key in ["a", "k", "z"] {
                c.insert(key, vec![1; len]).unwrap();
            }
            db.name_snapshot("before").unwrap();
            let (db, c) = settle(old, &hands, folder.path(), (db, c));
            c.insert_with_ttl("k", vec![2; len], TTL).unwrap();
            db.name_snapshot("within").unwrap();
            let (db, c) = settle(new, &hands, folder.path(), (db, c));
            let within = db.named_snapshot("within").unwrap().unwrap();
            hands.advance(99);
            assert_eq!(seen(&db, &c), "a k z ", "{old:?} {new:?}");
            assert_eq!(c.get("k").unwrap().unwrap(), vec![2; len]);
            let expiry = hands.time() + Duration::from_millis(1);
            assert_eq!(c.expires_at("k").unwrap(), Some(expiry));
            assert_eq!(c.at(&within).expires_at("k").unwrap(), Some(expiry));
            assert_eq!(c.expires_at("a").unwrap(), None);
            hands.advance(1);
            for round in ["lying", "merged", "reopened"] {
                assert_eq!(seen(&db, &c), "a z ", "{old:?} {new:?} {round}");
                assert_eq!(c.expires_at("k").unwrap(), None);
                // To whoever sees it, whenever he began; who does not see it sees what was before.
                assert_eq!(keys(c.at(&within).iter()), "a z ");
                let versions = c.versions("k").unwrap();
                assert_eq!(versions[0].1.as_deref(), Some(&vec![1; len][..]), "{round}");
                assert_eq!(versions[1].1, None);
                match round {
                    "lying" => db.compact().unwrap(),
                    _ => assert!(db.verify().unwrap().is_whole()),
                }
            }
            db.forget_snapshot("before").unwrap();
            db.forget_snapshot("within").unwrap();
            db.compact().unwrap();
            assert_eq!(seen(&db, &c), "a z ");
            let left = c.at(&db.snapshot()).entries::<&str>(..).count();
            assert_eq!(left, 2, "nothing of it is left, also for tools");
        }
    }
}

/// MOSS-17: shown to tools as removed, until a compaction forgets it.
#[test]
fn what_has_expired_is_an_entry_without_a_value() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    c.insert("a", "1").unwrap();
    c.insert_with_ttl("k", "2", TTL).unwrap();
    let shown = || {
        let entries = c.at(&db.snapshot()).entries::<&str>(..);
        let text =
            |value: Option<esker::Value>| value.map_or("-".to_owned(), |it| it.len().to_string());
        entries.map(|entry| entry.unwrap()).map(|(_, value)| text(value)).collect::<String>()
    };
    assert_eq!(shown(), "11");
    hands.advance(100);
    assert_eq!(shown(), "1-");
    db.compact().unwrap();
    assert_eq!(shown(), "1");
}

/// An iterator has the time at which it was made, from the first pair to the last.
#[test]
fn a_walk_sees_one_moment_of_the_clock_too() {
    let (folder, hands) = (folder(), Hands::new());
    let (_db, c) = hands.open(folder.path());
    for key in ["a", "b", "c"] {
        c.insert_with_ttl(key, "1", TTL).unwrap();
    }
    let mut walk = c.iter();
    assert!(walk.next().is_some());
    hands.advance(100);
    assert_eq!(keys(walk), "b c ");
    assert_eq!(keys(c.iter()), "");
}

/// A clock that was set back: what was not dropped is there again, for walks that leap over what they know
/// to be empty, too.
#[test]
fn what_was_not_dropped_is_there_again_when_the_clock_is_set_back() {
    let (folder, hands) = (folder(), Hands::new());
    let (_db, c) = hands.open(folder.path());
    for n in 0..200_u8 {
        c.insert_with_ttl([n], "1", TTL).unwrap();
    }
    hands.advance(100);
    for _ in 0..2 {
        assert_eq!(c.iter().count(), 0);
    }
    hands.0.fetch_sub(1, SeqCst);
    assert!(c.get([7]).unwrap().is_some());
    assert_eq!(c.iter().count(), 200);
    hands.advance(1);
    assert_eq!(c.iter().count(), 0);
}

/// Zero is over at once, and still replaces; what no number can hold never is; what is less than a
/// millisecond counts as one.
#[test]
fn the_shortest_and_the_longest_times() {
    let (folder, hands) = (folder(), Hands::new());
    let (_db, c) = hands.open(folder.path());
    c.insert("zero", "old").unwrap();
    c.insert_with_ttl("zero", "new", Duration::ZERO).unwrap();
    c.insert_with_ttl("never", "1", Duration::MAX).unwrap();
    c.insert_with_ttl("short", "1", Duration::from_nanos(1)).unwrap();
    assert_eq!(keys(c.iter()), "never short ");
    assert_eq!(c.expires_at("never").unwrap(), None);
    hands.advance(1);
    assert_eq!(keys(c.iter()), "never ");
    hands.advance(u64::MAX - 2_000_000);
    assert_eq!(keys(c.iter()), "never ");
}

/// What was not renewed goes, what was stays: the newest write alone counts.
#[test]
fn a_later_write_decides_anew() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    for key in ["kept", "longer", "shorter"] {
        c.insert_with_ttl(key, "1", TTL).unwrap();
    }
    db.flush().unwrap();
    c.insert("kept", "2").unwrap();
    c.insert_with_ttl("longer", "2", 2 * TTL).unwrap();
    c.insert_with_ttl("shorter", "2", TTL / 2).unwrap();
    let mut found = Vec::new();
    for _ in 0..3 {
        hands.advance(50);
        found.push(keys(c.iter()));
    }
    hands.advance(50);
    found.push(keys(c.iter()));
    assert_eq!(found, ["kept longer ", "kept longer ", "kept longer ", "kept "]);
}

/// Every way to write takes it, and every way goes through the collection's time to live.
#[test]
fn each_way_to_write_knows_a_time_to_live() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, _) = hands.open(folder.path());
    let settings = Settings::default().time_to_live(TTL);
    let c = db.collection_with("timed", &settings).unwrap();
    c.insert("insert", "1").unwrap();
    let mut batch = db.batch();
    batch.insert(&c, "batch", "1").unwrap();
    batch.insert_with_ttl(&c, "batch, own", "1", 2 * TTL).unwrap();
    let mut slot = batch.reserve(&c, 4, 1).unwrap();
    slot.key_mut().copy_from_slice(b"slot");
    slot.commit();
    batch.commit().unwrap();
    let mut txn = db.begin();
    txn.insert(&c, "txn", "1").unwrap();
    txn.insert_with_ttl(&c, "txn, own", "1", 2 * TTL).unwrap();
    txn.commit().unwrap();
    c.insert_if_absent("absent", "1").unwrap();
    c.fetch_update("update", |_| Some("1")).unwrap();
    c.ingest([("ingest", vec![1; 10]), ("ingest, large", vec![1; 1000])]).unwrap();
    let mut writer = c.writer("writer").with_ttl(2 * TTL);
    std::io::Write::write_all(&mut writer, &[1; 1000]).unwrap();
    writer.finish().unwrap();
    c.insert_with_ttl("never", "1", Duration::MAX).unwrap();
    c.insert("large", vec![1; 1000]).unwrap();
    assert_eq!(c.iter().count(), 13);
    hands.advance(99);
    assert_eq!(c.iter().count(), 13);
    hands.advance(1);
    for _ in 0..2 {
        assert_eq!(keys(c.iter()), "batch, own never txn, own writer ");
        db.compact().unwrap();
    }
    hands.advance(100);
    assert_eq!(keys(c.iter()), "never ");
    assert!(db.verify().unwrap().is_whole());
}

/// Settings decide for what is written from then on, and are kept.
#[test]
fn a_time_to_live_is_set_changed_and_taken_away() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    c.insert("before", "1").unwrap();
    c.configure(&Settings::default().time_to_live(TTL)).unwrap();
    c.insert("first", "1").unwrap();
    drop(c);
    db.close().unwrap();
    let (db, c) = hands.open(folder.path());
    assert_eq!(c.settings().time_to_live, Some(TTL));
    assert_eq!(c.settings().to_string(), "time-to-live=100ms");
    c.insert("second", "1").unwrap();
    c.configure(&Settings::default().time_to_live(2 * TTL)).unwrap();
    c.insert("third", "1").unwrap();
    c.configure(&Settings::default()).unwrap();
    c.insert("fourth", "1").unwrap();
    hands.advance(100);
    assert_eq!(keys(c.iter()), "before fourth third ");
    hands.advance(100);
    assert_eq!(keys(c.iter()), "before fourth ");
    for refused in [
        Settings::default().time_to_live(Duration::from_micros(999)),
        Settings::default().time_to_live(TTL).merge_operator("u64-add"),
    ] {
        let error = c.configure(&refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains("time_to_live"), "{error}");
        assert!(db.collection_with("other", &refused).is_err());
    }
}

/// MOSS-19: operands fold upon what expires while it lives, and stand alone from then on, wherever the
/// parts lie and whatever was merged before.
#[test]
fn operands_upon_what_expires_stand_alone_once_it_has() {
    for (place, len) in PLACES.into_iter().flat_map(|place| [(place, 8), (place, 300)]) {
        let (folder, hands) = (folder(), Hands::new());
        let (db, c) = hands.open(folder.path());
        let operator = if len == 8 { "u64-add" } else { "append:" };
        c.configure(&Settings::default().merge_operator(operator)).unwrap();
        let value = |n: u64| if len == 8 { U64Add::encode(n).to_vec() } else { vec![n as u8; len] };
        c.insert("k", value(1)).unwrap();
        let (db, c) = settle(place, &hands, folder.path(), (db, c));
        c.insert_with_ttl("k", value(10), TTL).unwrap();
        let expiry = c.expires_at("k").unwrap();
        assert!(expiry.is_some());
        let (db, c) = settle(place, &hands, folder.path(), (db, c));
        c.merge("k", value(100)).unwrap();
        let (db, c) = settle(place, &hands, folder.path(), (db, c));
        hands.advance(99);
        let whole = if len == 8 { value(110) } else { [value(10), value(100)].concat() };
        for _ in 0..2 {
            assert_eq!(c.get("k").unwrap().unwrap(), whole, "{place:?}");
            assert_eq!(c.iter().next().unwrap().unwrap().1, whole);
            assert_eq!(c.iter().next_back().unwrap().unwrap().1, whole);
            assert_eq!(c.expires_at("k").unwrap(), expiry, "so a copy of it expires, too");
            db.compact().unwrap();
        }
        db.name_snapshot("whole").unwrap();
        c.clear().unwrap();
        db.revert("whole").unwrap();
        assert_eq!(c.get("k").unwrap().unwrap(), whole);
        assert_eq!(c.expires_at("k").unwrap(), expiry);
        c.merge("k", value(100)).unwrap();
        hands.advance(1);
        for _ in 0..2 {
            assert_eq!(c.get("k").unwrap().unwrap(), value(100), "{place:?}");
            assert_eq!(c.iter().next().unwrap().unwrap().1, value(100));
            assert_eq!(c.iter().next_back().unwrap().unwrap().1, value(100));
            assert_eq!(c.expires_at("k").unwrap(), None);
            db.compact().unwrap();
        }
        assert!(db.verify().unwrap().is_whole());
    }
}

/// What has expired is absent to whoever reads and writes in one step.
#[test]
fn what_reads_and_writes_in_one_step_finds_it_absent() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    c.insert("lock", "older").unwrap();
    c.insert_with_ttl("lock", "one", TTL).unwrap();
    c.insert_with_ttl("first", "x", TTL).unwrap();
    assert_eq!(c.insert_if_absent("lock", "two").unwrap().unwrap(), b"one");
    hands.advance(100);
    db.compact().unwrap();
    assert_eq!(c.compare_and_swap("lock", Some("one"), Some("two")).unwrap(), Err(None));
    assert_eq!(c.compare_and_swap("lock", None::<&str>, Some("two")).unwrap(), Ok(()));
    assert_eq!(c.fetch_update("first", |was| was.map(<[u8]>::to_vec)).unwrap(), None);
    assert_eq!(c.pop_first().unwrap().unwrap().0, b"lock");
}

/// What a transaction has read holds at its commit, or it conflicts (F-46): had what it read expired,
/// and what others wrote over it, nothing would be left to tell of them.
#[test]
fn a_value_that_was_read_and_has_expired_conflicts() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    let reads: [fn(&esker::Transaction, &Collection) -> bool; 4] = [
        |txn, c| txn.get(c, "read").unwrap().is_some(),
        |txn, c| txn.contains_key(c, "read").unwrap(),
        |txn, c| txn.iter(c).unwrap().next().is_some(),
        |txn, c| txn.iter(c).unwrap().next_back().is_some(),
    ];
    for (index, read) in reads.iter().enumerate() {
        for (later, want) in [(99, Ok(())), (100, Err(ErrorKind::Conflict))] {
            c.insert_with_ttl("read", vec![1; if index == 0 { 500 } else { 5 }], TTL).unwrap();
            let mut reader = db.begin();
            assert!(read(&reader, &c));
            let mut writer = db.begin();
            assert_eq!(writer.get(&c, "written").unwrap(), None);
            if want.is_err() {
                writer.insert_with_ttl(&c, "read", "2", TTL / 2).unwrap();
            }
            writer.commit().unwrap();
            reader.insert(&c, "written", "1").unwrap();
            hands.advance(later);
            db.compact().unwrap();
            assert_eq!(reader.commit().map_err(|error| error.kind()), want, "{index} {later}");
            c.clear().unwrap();
        }
    }
    let mut blind = db.begin();
    c.insert_with_ttl("read", "1", TTL).unwrap();
    assert_eq!(blind.get(&c, "read").unwrap(), None);
    hands.advance(100);
    blind.insert(&c, "written", "1").unwrap();
    assert_eq!(blind.commit().unwrap_err().kind(), ErrorKind::Conflict, "it was written since");
}

/// A transaction's own writes expire for itself too, under its operands as well.
#[test]
fn what_a_transaction_has_written_expires_for_it() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, _) = hands.open(folder.path());
    let c = db.collection_with("sums", &Settings::default().merge_operator("u64-add")).unwrap();
    c.insert("a", U64Add::encode(1)).unwrap();
    let mut txn = db.begin();
    txn.insert_with_ttl(&c, "a", U64Add::encode(2), TTL).unwrap();
    txn.insert_with_ttl(&c, "b", U64Add::encode(3), TTL).unwrap();
    txn.merge(&c, "b", U64Add::encode(4)).unwrap();
    let sum = |txn: &esker::Transaction, key: &str| {
        txn.get(&c, key).unwrap().as_deref().and_then(U64Add::decode)
    };
    assert_eq!((sum(&txn, "a"), sum(&txn, "b")), (Some(2), Some(7)));
    hands.advance(100);
    assert_eq!((sum(&txn, "a"), sum(&txn, "b")), (None, Some(4)));
    assert!(!txn.contains_key(&c, "a").unwrap());
    assert_eq!(txn.iter(&c).unwrap().count(), 1);
    txn.commit().unwrap();
    assert_eq!(keys(c.iter()), "b ");
    assert_eq!(c.get("b").unwrap().as_deref().and_then(U64Add::decode), Some(4));
}

/// A revert writes the old value with the old time; what has expired does not come back.
#[test]
fn a_revert_brings_back_when_a_value_expires() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    for (key, len) in [("small", 5), ("large", 500)] {
        c.insert_with_ttl(key, vec![1; len], 2 * TTL).unwrap();
    }
    c.insert_with_ttl("gone", "1", TTL).unwrap();
    c.insert("plain", "1").unwrap();
    let expiry = c.expires_at("small").unwrap();
    db.name_snapshot("then").unwrap();
    c.configure(&Settings::default().time_to_live(10 * TTL)).unwrap();
    c.clear().unwrap();
    c.insert_with_ttl("small", vec![1; 5], 9 * TTL).unwrap();
    hands.advance(100);
    db.revert("then").unwrap();
    assert_eq!(keys(c.iter()), "large plain small ");
    for key in ["small", "large"] {
        assert_eq!(c.expires_at(key).unwrap(), expiry, "{key}");
    }
    assert_eq!(c.expires_at("plain").unwrap(), None);
    hands.advance(100);
    assert_eq!(keys(c.iter()), "plain ");
    assert!(db.verify().unwrap().is_whole());
}

/// Repair, backup and checkpoint take it along.
#[test]
fn copies_and_repairs_keep_when_a_value_expires() {
    let (folder, copies, hands) = (folder(), folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    for key in ["flushed", "logged"] {
        c.insert_with_ttl(format!("{key}, small"), "1", TTL).unwrap();
        c.insert_with_ttl(format!("{key}, large"), vec![1; 500], TTL).unwrap();
        c.insert(format!("{key}, plain"), "1").unwrap();
        if key == "flushed" {
            db.flush().unwrap();
        }
    }
    let copy = copies.path().join("checkpoint");
    db.checkpoint(&copy).unwrap();
    drop(c);
    db.close().unwrap();
    // Without a manifest all is put together from what can be read.
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.to_string_lossy().contains("manifest") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let report = hands.options().repair(folder.path()).unwrap();
    assert!(report.repaired && report.lost_keys.is_empty(), "{report:?}");
    for path in [folder.path(), &copy] {
        let hands = Hands(Arc::new(AtomicU64::new(hands.0.load(SeqCst))));
        let (db, c) = hands.open(path);
        hands.advance(99);
        assert_eq!(c.iter().count(), 6);
        assert_eq!(c.get("logged, large").unwrap().unwrap(), vec![1; 500]);
        hands.advance(1);
        assert_eq!(keys(c.iter()), "flushed, plain logged, plain ");
        db.compact().unwrap();
        assert_eq!(keys(c.iter()), "flushed, plain logged, plain ");
        assert!(db.verify().unwrap().is_whole());
    }
}

/// HEST-24: `expires` goes out and in.
#[test]
fn an_export_says_when_a_pair_expires_and_an_import_keeps_it() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    c.insert("a", "1").unwrap();
    c.insert_with_ttl("b", "2", TTL).unwrap();
    c.insert_with_ttl("c", "3".repeat(300), 2 * TTL).unwrap();
    let mut lines = Vec::new();
    assert_eq!(c.export_json(&mut lines).unwrap(), 3);
    let text = String::from_utf8(lines.clone()).unwrap();
    assert!(text.starts_with(
        "{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\",\"expires\":1000100}\n"
    ));
    hands.advance(100);
    let other = db.collection("other").unwrap();
    other.insert("b", "older").unwrap();
    assert_eq!(other.import_json(&*lines).unwrap(), 3);
    assert_eq!(keys(other.iter()), "a c ");
    assert_eq!(other.expires_at("c").unwrap(), c.expires_at("c").unwrap());
    let mut left = Vec::new();
    assert_eq!(other.export_json(&mut left).unwrap(), 2);
}

/// An estimate does not count what has expired.
#[test]
fn an_estimate_leaves_out_what_has_expired() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    for n in 0..200_u8 {
        c.insert_with_ttl([n], "1", u32::from(n / 2 + 1) * TTL).unwrap();
    }
    let keys = || c.estimate::<&[u8]>(..).unwrap().keys;
    let mut all = vec![keys()];
    db.flush().unwrap();
    all.push(keys());
    for _ in 0..2 {
        hands.advance(50 * 100);
        all.push(keys());
    }
    assert_eq!(all[0], 200);
    // Of a file that others share it is a guess, and so is its half.
    assert!((all[1] * 4 / 10..=all[1] * 6 / 10).contains(&all[2]), "{all:?}");
    assert!(all[3] <= 3, "{all:?}");
    assert_eq!(pairs(c.iter()), "");
}

/// What became durable keeps its time, whatever a crash takes and however it is brought back.
#[test]
fn a_crash_changes_no_time() {
    for loss in Loss::MODELS {
        let sim = Sim::new(20);
        let open =
            |sim: &Arc<Sim>| small().blob_threshold(256).env(sim.clone()).open("/db").unwrap();
        let db = open(&sim);
        let c = db.collection_with("c", &Settings::default().time_to_live(TTL)).unwrap();
        c.insert("flushed", vec![1; 300]).unwrap();
        c.insert_with_ttl("flushed, own", "1", 2 * TTL).unwrap();
        db.flush().unwrap();
        c.insert_with("small", "1", Durability::Sync).unwrap();
        c.insert_with("large", vec![2; 300], Durability::Sync).unwrap();
        let times = |c: &Collection| -> Vec<_> {
            let all = ["flushed", "flushed, own", "small", "large"];
            all.map(|key| c.expires_at(key).unwrap()).into()
        };
        let before = times(&c);
        assert!(before.iter().all(Option::is_some));
        let checksum = db.checksum().unwrap();
        let image = sim.crash(loss);
        let db = open(&image);
        let c = db.collection("c").unwrap();
        assert_eq!(times(&c), before, "{loss:?}");
        assert_eq!(db.checksum().unwrap(), checksum, "what is replayed is what was written");
        image.advance(TTL);
        assert_eq!(keys(c.iter()), "flushed, own ");
        db.compact().unwrap();
        assert_eq!(keys(c.iter()), "flushed, own ");
        assert!(db.verify().unwrap().is_whole());
    }
}

/// MACE-W10: nobody reads, writes or asks; when half of a file has expired it is rewritten, and not
/// before; in the end nothing is left, of large values neither.
#[test]
fn an_idle_database_frees_what_has_expired_by_itself() {
    let sim = Sim::new(21);
    let db = small().blob_threshold(256).env(sim.clone()).open("/db").unwrap();
    let c = db.collection("c").unwrap();
    for n in 0..3000_u32 {
        let value = vec![7; if n % 10 == 0 { 300 } else { 20 }];
        let seconds = u64::from(n % 100) + 10;
        c.insert_with_ttl(n.to_be_bytes(), value, Duration::from_secs(seconds)).unwrap();
    }
    db.flush().unwrap();
    let mut left = Vec::new();
    for _ in 0..120 {
        sim.advance(Duration::from_secs(1));
        sim.settle();
        left.push(db.stats().segment_entries);
    }
    let all = left[5];
    assert!((3000..3010).contains(&all), "{all}");
    assert_eq!(left[50], all, "a few are not worth it");
    assert!(left[62] <= all / 2 + 20, "{left:?}");
    assert!(left[119] < 10, "{left:?}");
    let steps = left.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(steps < 20, "as much goes as stays: {left:?}");
    assert_eq!(db.stats().blob_live_bytes, 0);
    assert_eq!(c.iter().count(), 0);
    assert!(db.verify().unwrap().is_whole());
    // Then it sleeps for good.
    sim.settle();
    assert_eq!(sim.next_due(), None);
}

/// A file in which all has expired goes by an edit alone, with what lies out of line; one above older
/// files hides what they hold, and stays until they are merged.
#[test]
fn a_file_that_has_expired_wholly_goes_unread() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    c.insert([0], "stays").unwrap();
    db.compact().unwrap();
    c.configure(&Settings::default().time_to_live(TTL)).unwrap();
    c.ingest((1..200_u8).map(|n| ([n], vec![n; if n % 10 == 0 { 300 } else { 250 }]))).unwrap();
    db.compact().unwrap();
    let held = db.snapshot();
    hands.advance(100);
    let before = db.stats();
    db.compact().unwrap();
    let after = db.stats();
    assert_eq!(after.bytes_compacted, before.bytes_compacted, "nothing was rewritten");
    assert!(after.segments < before.segments && after.compactions > before.compactions);
    assert_eq!(after.blob_values, 0);
    assert_eq!(keys(c.iter()), "\\x00 ");
    drop(held);

    c.configure(&Settings::default()).unwrap();
    c.ingest((1..200_u8).map(|n| ([n], "older"))).unwrap();
    let held = db.snapshot();
    c.configure(&Settings::default().time_to_live(TTL)).unwrap();
    c.ingest((1..200_u8).map(|n| ([n], "newer"))).unwrap();
    hands.advance(100);
    for _ in 0..2 {
        assert_eq!(keys(c.iter()), "\\x00 ");
        assert_eq!(c.at(&held).iter().count(), 200);
        db.compact().unwrap();
    }
    drop(held);
    db.compact().unwrap();
    assert_eq!(c.at(&db.snapshot()).entries::<&[u8]>(..).count(), 1);
    assert!(db.verify().unwrap().is_whole());
}

/// One key that must stay for a snapshot does not hold back the others that expire later.
#[test]
fn what_is_kept_for_a_snapshot_keeps_nothing_else() {
    let (folder, hands) = (folder(), Hands::new());
    let (db, c) = hands.open(folder.path());
    c.insert([0], "older").unwrap();
    db.name_snapshot("held").unwrap();
    for n in 0..21_u8 {
        let rounds = if n <= 10 { 1 } else { 2 };
        c.insert_with_ttl([n], "1", rounds * TTL).unwrap();
    }
    let mut left = Vec::new();
    for _ in 0..3 {
        for _ in 0..2 {
            db.compact().unwrap();
        }
        left.push(db.stats().segment_entries);
        hands.advance(100);
    }
    let others = left[2] - 2;
    assert_eq!(left, [22 + others, 12 + others, 2 + others], "what is hidden, and what hides it");
    assert!(others < 5, "those of the system");
    db.forget_snapshot("held").unwrap();
    db.compact().unwrap();
    assert_eq!(c.at(&db.snapshot()).entries::<&[u8]>(..).count(), 0);
    assert!(db.verify().unwrap().is_whole());
}
