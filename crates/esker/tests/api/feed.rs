//! The change feed beside threads that write.

use super::{folder, small};
use esker::{Action, Change, Changes, Collection, Db, Durability};
use std::collections::BTreeMap;
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
