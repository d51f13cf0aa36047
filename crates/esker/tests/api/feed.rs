//! The change feed beside threads that write.

use super::{folder, small};
use esker::{Action, Change, Changes, Collection, Db, Durability};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

const THREADS: u8 = 3;
const BATCHES: u32 = 400;

/// The numbers of the batches that each thread has written, in the order of a feed, up to its end.
fn follow(changes: Changes) -> BTreeMap<u8, Vec<u32>> {
    let mut found: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    let mut last = 0;
    for change in changes {
        let change = change.unwrap();
        assert!(change.first() > last);
        last = change.last();
        let Change::Batch { operations, .. } = change else { panic!("{change:?}") };
        let parts = operations.iter().map(|operation| match &operation.action {
            Action::Put { key, value, .. } => (key[0], &key[1..5], key[5], value),
            other => panic!("{other:?}"),
        });
        let parts: Vec<_> = parts.collect();
        let (thread, bytes, _, _) = parts[0];
        assert!(parts.iter().map(|part| part.2).eq(0..3), "a batch is whole");
        assert!(parts.iter().all(|part| part.1 == bytes && part.3[..4] == *bytes));
        found.entry(thread).or_default().push(u32::from_be_bytes(bytes.try_into().unwrap()));
    }
    found
}

fn write(db: &Db, c: &Collection, thread: u8) {
    for number in 0..BATCHES {
        let mut batch = db.batch();
        let bytes = number.to_be_bytes();
        for part in 0..3u8 {
            let key = [&[thread], &bytes[..], &[part]].concat();
            batch.insert(c, key, bytes.repeat(1 + (number as usize * 7 + 3) % 200)).unwrap();
        }
        let durability = if number % 16 == 0 { Durability::Sync } else { Durability::Buffered };
        batch.commit_with(durability).unwrap();
        if number % 100 == 50 {
            db.flush().unwrap();
        }
    }
}

/// F-15: nothing is missed, doubled or out of order, whatever is flushed, sealed and synced meanwhile;
/// and a feed ends when the database does, with all that was written.
#[test]
fn who_follows_beside_writers_gets_every_batch_once_and_in_order() {
    let folder = folder();
    let options = small().keep_logs(1 << 30).sync_interval(Some(Duration::from_millis(1)));
    let db = options.open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    let from = db.snapshot().sequence() + 1;
    let want: BTreeMap<u8, Vec<u32>> =
        (0..THREADS).map(|thread| (thread, (0..BATCHES).collect())).collect();
    std::thread::scope(|scope| {
        let followers = [(); 2].map(|()| db.changes(from).unwrap());
        let followers = followers.map(|changes| scope.spawn(move || follow(changes)));
        let (db, c) = (&db, &c);
        let writers: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || write(db, c, thread))).collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        db.clone().close().unwrap();
        followers.into_iter().for_each(|follower| assert_eq!(follower.join().unwrap(), want));
    });
    drop((c, db));
    let db = options.read_only(true).open(folder.path()).unwrap();
    assert_eq!(follow(db.changes(from).unwrap()), want, "and the same is kept");
}

/// A feed keeps no database open: with the last handle it closes, and whoever waits is woken.
#[test]
fn who_waits_is_woken_when_the_last_handle_goes() {
    let folder = folder();
    let db = small().open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    let mut changes = db.changes(db.snapshot().sequence() + 1).unwrap();
    assert_eq!(changes.next_timeout(Duration::from_millis(1)).unwrap(), None);
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(move || changes.map(|change| change.unwrap()).collect::<Vec<_>>());
        c.insert("a", "1").unwrap();
        drop((c, db));
        assert_eq!(waiting.join().unwrap().len(), 1);
    });
    drop(small().open(folder.path()).unwrap());
}

/// What goes past the log beside writers is told before anything that came behind it, and after all
/// that came before, however the feed and the writers are interleaved.
#[test]
fn an_ingest_beside_writers_is_never_passed_over() {
    const INGESTS: u32 = 30;
    let folder = folder();
    let db = small().keep_logs(1 << 30).open(folder.path()).unwrap();
    let (c, marks) = (db.collection("c").unwrap(), db.collection("marks").unwrap());
    let changes = db.changes(db.snapshot().sequence() + 1).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let look = |change: &Change| {
                // Whoever reads the database anew finds what it was told of.
                assert!(db.snapshot().sequence() >= change.last());
            };
            changes.map(|change| change.unwrap()).inspect(look).collect::<Vec<_>>()
        });
        let beside = scope.spawn(|| {
            for number in 0_u32.. {
                if stop.load(SeqCst) {
                    return;
                }
                c.insert_with(number.to_be_bytes(), "v", Durability::Sync).unwrap();
            }
        });
        for number in 0..INGESTS {
            marks.insert_with([0], number.to_be_bytes(), Durability::Sync).unwrap();
            c.ingest([("ingested", number.to_be_bytes())]).unwrap();
            marks.insert_with([1], number.to_be_bytes(), Durability::Sync).unwrap();
        }
        stop.store(true, SeqCst);
        beside.join().unwrap();
        db.clone().close().unwrap();
        let (mut bulks, mut is_told, mut ended) = (0, false, 0);
        for change in follower.join().unwrap() {
            let Change::Batch { operations, .. } = change else {
                (bulks, is_told) = (bulks + 1, true);
                continue;
            };
            match (operations[0].path.as_deref(), &operations[0].action) {
                (Some("marks"), Action::Put { key, .. }) if **key == [0] => is_told = false,
                (Some("marks"), _) => {
                    assert!(is_told, "the ingest before mark {ended} was passed over");
                    ended += 1;
                }
                _ => {}
            }
        }
        assert_eq!((ended, bulks), (INGESTS, INGESTS));
    });
}
