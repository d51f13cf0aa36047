//! What a feed tells, and when: in words, once it is durable, in its place.

use super::{DIR, MANY, all_words, drain, from, open, options, words};
use esker::env::sim::{Loss, Sim};
use esker::operators::Append;
use esker::{Access, Action, Change, Compression, Db, ErrorKind, MergeOperator, Settings};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn what_was_done_is_told_in_words_that_anyone_understands() {
    let world = Sim::new(1);
    let db = open(&world, MANY);
    let c = db.collection("a/b").unwrap();
    c.insert("k", "v").unwrap();
    c.remove("k").unwrap();
    c.remove_range("b".."d").unwrap();
    c.remove_range("x"..).unwrap();
    c.configure(&Settings::default().filter(9).merge_operator(Append::new(":").name())).unwrap();
    c.merge("k", "m").unwrap();
    let mut batch = db.batch();
    let new = batch.create_collection("new").unwrap();
    batch.insert(&new, "k", "v").unwrap();
    batch.commit().unwrap();
    let snapshot = db.name_snapshot("x").unwrap();
    db.rename_collection(&c, "moved").unwrap();
    c.insert("k", vec![7; 5000]).unwrap();
    db.delete_collection(&new).unwrap();
    db.forget_snapshot("x").unwrap();
    db.sync().unwrap();
    let want = [
        "named a filter None named a/b filter None".to_owned(),
        "a/b:k=v".into(),
        "a/b:-k".into(),
        "a/b:-b..d".into(),
        "a/b:-x..".into(),
        "named a/b filter Some(9)".into(),
        "a/b:k+m".into(),
        "new:k=v named new filter None".into(),
        format!("snapshot x of {}", snapshot.sequence()),
        "unnamed a/b named moved filter Some(9)".into(),
        "moved:k=5000 bytes".into(),
        "new:-.. unnamed new".into(),
        "forgot x".into(),
    ];
    assert_eq!(all_words(&from(&db, 1)), want);
    // Names are those of then, as far as they are not written over in segments.
    let all = from(&db, 1);
    let renamed = all.iter().position(|change| words(change).starts_with("unnamed")).unwrap();
    let later = from(&db, all[renamed].last() + 1);
    assert_eq!(all_words(&later), [&want[renamed + 1], "?:-.. unnamed new", "forgot x"]);
}

/// F-15: what a power loss could take is not told.
#[test]
fn only_what_is_durable_is_told() {
    let world = Sim::new(2);
    let db = open(&world, MANY);
    let c = db.collection("c").unwrap();
    db.sync().unwrap();
    let mut changes = db.changes(db.changes_held().unwrap().end).unwrap();
    c.insert("a", "1").unwrap();
    assert_eq!(changes.try_next().unwrap(), None);
    db.sync().unwrap();
    assert_eq!(words(&changes.try_next().unwrap().unwrap()), "c:a=1");
    c.insert("b", "1").unwrap();
    assert_eq!(changes.next_timeout(Duration::from_secs(1)).unwrap(), None);
    world.advance(Duration::from_secs(2));
    let found = changes.next_timeout(Duration::from_secs(1)).unwrap().unwrap();
    assert_eq!(words(&found), "c:b=1", "the interval has passed");
    c.insert_with("c", "1", esker::Durability::Sync).unwrap();
    c.insert("d", "1").unwrap();
    assert_eq!(all_words(&drain(&mut changes)), ["c:c=1"]);
    db.flush().unwrap();
    assert_eq!(all_words(&drain(&mut changes)), ["c:d=1"]);
    c.insert("e", "1").unwrap();
    drop((c, changes.position()));
    db.close().unwrap();
    let rest: Vec<_> = changes.by_ref().map(|change| words(&change.unwrap())).collect();
    assert_eq!(rest, ["c:e=1"], "then it ends");
    assert!(changes.next().is_none());
}

/// Of a database that was not closed well, and is only read, nothing is told that may still be lost.
#[test]
fn what_is_only_read_tells_what_is_durable_and_ends() {
    let world = Sim::new(15);
    let db = open(&world, MANY);
    let c = db.collection("c").unwrap();
    c.insert("a", "1").unwrap();
    db.flush().unwrap();
    c.insert("a", "2").unwrap();
    let killed = world.crash(Loss::None);
    let read = |world: &Arc<Sim>| options(world).read_only(true).open(DIR).unwrap();
    let all =
        |db: &Db| -> Vec<_> { db.changes(1).unwrap().map(|it| words(&it.unwrap())).collect() };
    assert_eq!(all(&read(&killed))[1..], ["c:a=1"]);
    drop((c, db));
    assert_eq!(all(&read(&world))[1..], ["c:a=1", "c:a=2"]);
    drop(open(&killed, MANY));
    assert_eq!(all(&read(&killed))[1..], ["c:a=1", "c:a=2"]);
}

/// F-15: nor is what lies in a log that is sealed, until it is synced or flushed.
#[test]
fn what_is_sealed_is_told_once_it_is_durable() {
    let world = Sim::new(17);
    let options = options(&world).sync_interval(None).keep_logs(MANY);
    let db = options.open(DIR).unwrap();
    let c = db.collection("c").unwrap();
    let mut changes = db.changes(1).unwrap();
    let (mut told, mut most) = (0, 0);
    for n in 0..200u32 {
        c.insert(n.to_be_bytes(), [7; 500]).unwrap();
        most = most.max(db.stats().memtables);
        let found = drain(&mut changes);
        assert!(found.last().is_none_or(|change| change.last() <= db.stats().durable), "{n}");
        told += found.len();
    }
    assert!(most > 2, "{most}");
    db.sync().unwrap();
    assert_eq!(told + drain(&mut changes).len(), 201);
}

#[test]
fn a_number_inside_a_batch_gives_all_of_it_and_one_above_the_present_waits() {
    let world = Sim::new(3);
    let db = open(&world, MANY);
    let c = db.collection("c").unwrap();
    let mut batch = db.batch();
    (0..5u8).for_each(|key| batch.insert(&c, [key], "v").unwrap());
    batch.commit().unwrap();
    c.insert("z", "1").unwrap();
    db.sync().unwrap();
    let all = from(&db, 1);
    let [.., batch, single] = &all[..] else { panic!("{all:?}") };
    assert_eq!(batch.last() - batch.first(), 4);
    for number in batch.first()..=batch.last() {
        assert_eq!(from(&db, number), [batch.clone(), single.clone()]);
    }
    let mut ahead = db.changes(single.last() + 3).unwrap();
    for value in ["1", "2", "3", "4"] {
        c.insert("z", value).unwrap();
    }
    db.sync().unwrap();
    let found = drain(&mut ahead);
    assert!(found.iter().all(|change| change.last() >= single.last() + 3), "{found:?}");
    assert_eq!(found.last().map(words).unwrap(), "c:z=4");
    assert_eq!(db.changes(u64::MAX).unwrap().try_next().unwrap(), None);
}

/// A follower that falls behind is told so, and where it can begin; it never misses anything unawares.
#[test]
fn who_is_too_slow_gets_an_error_that_names_what_is_held() {
    let world = Sim::new(4);
    let db = open(&world, 0);
    let c = db.collection("c").unwrap();
    c.insert("a", "1").unwrap();
    c.insert("a", "2").unwrap();
    db.sync().unwrap();
    let begin = db.changes_held().unwrap().start;
    let (mut reading, mut waiting) = (db.changes(begin).unwrap(), db.changes(begin).unwrap());
    assert!(reading.try_next().unwrap().is_some());
    db.flush().unwrap();
    c.insert("a", "3").unwrap();
    db.sync().unwrap();
    assert_eq!(all_words(&drain(&mut reading)), ["c:a=1", "c:a=2", "c:a=3"], "an open file stays");
    let held = db.changes_held().unwrap();
    for _ in 0..2 {
        let error = waiting.try_next().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = format!(
            "from number {begin} on are not held any more: want a number from {} on",
            held.start
        );
        assert!(error.message().contains(&text), "{error}");
    }
    assert!(waiting.next().unwrap().is_err());
    assert_eq!(db.changes(begin).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(all_words(&from(&db, held.start)), ["c:a=3"]);
    db.flush().unwrap();
    c.insert("a", "4").unwrap();
    db.flush().unwrap();
    c.insert("a", "5").unwrap();
    db.sync().unwrap();
    let error = reading.try_next().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "not 5 without 4: {error}");
}

/// Writes that pass the log stand in their places, with keep_logs and without.
#[test]
fn an_ingest_and_a_revert_are_told_where_they_lie() {
    for keep in [0, MANY] {
        let world = Sim::new(5);
        let db = open(&world, keep);
        let c = db.collection("c").unwrap();
        db.sync().unwrap();
        let mut changes = db.changes(db.changes_held().unwrap().end).unwrap();
        c.insert("a", "1").unwrap();
        db.sync().unwrap();
        assert_eq!(all_words(&drain(&mut changes)), ["c:a=1"]);
        db.name_snapshot("x").unwrap();
        c.ingest([("a", "2")]).unwrap();
        c.insert("b", "1").unwrap();
        db.sync().unwrap();
        let found = drain(&mut changes);
        assert_eq!(all_words(&found[1..]), ["bulk", "c:b=1"], "{keep}");
        let seen = db.stats().sequence;
        c.ingest([("a", "3")]).unwrap();
        assert!(db.revert("x").unwrap() > 0);
        assert!(db.stats().sequence > seen);
        let found = drain(&mut changes);
        assert_eq!(all_words(&found), ["bulk"], "two beside each other are told as one");
        assert_eq!(found[0].last(), db.stats().sequence);
        c.ingest([("a", "4")]).unwrap();
        let found = drain(&mut changes);
        assert_eq!(all_words(&found), ["bulk"], "and a third behind them");
        assert_eq!(found[0].first(), found[0].last().min(found[0].first()));
        drop((c, db));
        let db = open(&world, keep);
        assert_eq!(drain(&mut db.changes(changes.position()).unwrap()), []);
    }
}

/// F-12: numbers that a crash skips are no loss, and are not told as one.
#[test]
fn a_jump_in_the_numbers_is_nothing() {
    let mut world = Sim::new(6);
    let mut position = 1;
    let mut found = Vec::new();
    for round in 0..4 {
        let db = open(&world, MANY);
        let c = db.collection("c").unwrap();
        c.insert("a", round.to_string()).unwrap();
        db.sync().unwrap();
        let mut changes = db.changes(position).unwrap();
        found.extend(all_words(&drain(&mut changes)));
        position = changes.position();
        world = world.crash(Loss::All);
    }
    assert_eq!(found, ["named c filter None", "c:a=0", "c:a=1", "c:a=2", "c:a=3"]);
    assert!(position > 3 << 28);
}

/// Values in line, raw, packed; read from the log as it is written, kept, copied, and taken over.
#[test]
fn large_values_come_as_they_were_given() {
    for access in [Access::Mapped, Access::Positioned] {
        let world = Sim::new(8);
        let options = options(&world).access(access).keep_logs(MANY).sync_interval(None);
        let db = options.background_compaction(false).open(DIR).unwrap();
        let packed = Settings::default().blob_compression(Compression::Lz4).blob_threshold(300);
        let all = [db.collection("raw").unwrap(), db.collection_with("packed", &packed).unwrap()];
        let in_line = Settings::default().blob_threshold(usize::MAX);
        let line = db.collection_with("line", &in_line).unwrap();
        let start = db.stats().sequence + 1;
        let (mut want, lens) = (Vec::new(), [0, 299, 599, 2000, 40_000, 3 << 20]);
        for (n, len) in lens.into_iter().enumerate() {
            for c in all.iter().chain([&line]) {
                let value: Vec<u8> = (0..len).map(|at| (at / 7 * n % 251) as u8).collect();
                c.insert([n as u8], &value).unwrap();
                want.push(value);
            }
        }
        let check = |db: &Db| {
            let found = from(db, start).into_iter().take(want.len()).map(|change| match change {
                Change::Batch { operations, .. } => match &operations[0].action {
                    Action::Put { value, .. } => value.to_vec(),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            });
            assert!(found.eq(want.iter().cloned()));
        };
        db.sync().unwrap();
        check(&db);
        db.flush().unwrap();
        assert!(db.stats().logs_adopted > 0);
        check(&db);
        all.iter().for_each(|c| c.clear().unwrap());
        db.compact().unwrap();
        check(&db);
        assert!(db.verify().unwrap().is_whole());
    }
}

/// A put says when it expires; that it has is nobody's write, and not told.
#[test]
fn what_expires_is_told_once_with_its_time() {
    let world = Sim::new(16);
    let db = open(&world, MANY);
    let c = db.collection("c").unwrap();
    c.insert_with_ttl("a", "1", Duration::from_secs(5)).unwrap();
    c.insert("b", "2").unwrap();
    let expires = c.expires_at("a").unwrap();
    assert!(expires.is_some());
    let told = |db: &Db| -> Vec<Option<u64>> {
        let found = from(db, 1).into_iter().skip(1).map(|change| match change {
            Change::Batch { operations, .. } => match &operations[0].action {
                Action::Put { value, expires, .. } if value.len() == 1 => *expires,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        });
        found.collect()
    };
    db.sync().unwrap();
    let want = told(&db);
    assert!(want[0].is_some() && want[1].is_none(), "{want:?}");
    world.advance(Duration::from_secs(9));
    db.compact().unwrap();
    assert_eq!(told(&db), want);
}
