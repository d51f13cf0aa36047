//! Batches stay whole under threads; syncs are shared; background work disturbs nobody.

use super::{folder, open, small};
use esker::{Collection, Db, Durability, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

const WRITERS: u64 = 8;

fn number(value: &[u8]) -> i64 {
    i64::from_le_bytes(value[..8].try_into().unwrap())
}

/// Moves an amount between two collections, so that all values together are always zero.
fn transfer(db: &Db, [plus, minus]: [&Collection; 2], writer: u64, turn: i64) {
    let mut batch = db.batch();
    let mut value = turn.to_le_bytes().to_vec();
    value.resize(40 + (turn as usize * 7) % 200, 1);
    batch.insert(plus, format!("writer {writer}"), &value).unwrap();
    value[..8].copy_from_slice(&(-turn).to_le_bytes());
    batch.insert(minus, format!("writer {writer}"), &value).unwrap();
    batch.commit().unwrap();
}

/// MOSS-4: readers over two collections never see half a batch; by snapshots, scans and gets.
#[test]
fn no_reader_ever_sees_half_a_batch() {
    let folder = folder();
    let (db, plus) = open(folder.path());
    let minus = db.collection("minus").unwrap();
    let (done, looks) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (db, plus, minus, done, looks) = (&db, &plus, &minus, &done, &looks);
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for turn in 1..=500 {
                    transfer(db, [plus, minus], writer, turn);
                }
                done.fetch_add(1, SeqCst);
            });
        }
        for _ in 0..2 {
            scope.spawn(move || {
                let mut before = 0;
                while done.load(SeqCst) < WRITERS {
                    let snapshot = db.snapshot();
                    let all = plus.at(&snapshot).iter().chain(minus.at(&snapshot).iter().rev());
                    let sum: i64 = all.map(|pair| number(&pair.unwrap().1)).sum();
                    assert_eq!(sum, 0);
                    let now: i64 = plus.iter().map(|pair| number(&pair.unwrap().1)).sum();
                    assert!(now >= before, "a scan went back in time");
                    before = now;
                    let one = plus.at(&snapshot).get("writer 3").unwrap();
                    let two = minus.at(&snapshot).get("writer 3").unwrap();
                    let both = [one, two].map(|value| value.map_or(0, |value| number(&value)));
                    assert_eq!(both[0] + both[1], 0);
                    looks.fetch_add(1, SeqCst);
                }
            });
        }
        scope.spawn(move || {
            while done.load(SeqCst) < WRITERS {
                db.flush().unwrap();
                db.compact().unwrap();
            }
        });
    });
    assert!(looks.load(SeqCst) > 0);
    assert_eq!(plus.iter().count() as u64, WRITERS);
    let report = db.verify().unwrap();
    assert!(report.is_whole(), "{:?}", report.damages);
}

/// SST-12: one sync covers all that arrived before it.
#[test]
fn durable_commits_share_their_syncs() {
    let folder = folder();
    let (db, c) = open(folder.path());
    const TURNS: u64 = 60;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let c = &c;
            scope.spawn(move || {
                for turn in 0..TURNS {
                    c.insert_with(format!("{writer} {turn}"), "v", Durability::Sync).unwrap();
                }
            });
        }
    });
    let stats = db.stats();
    assert!(stats.syncs < WRITERS * TURNS, "{} syncs for {} commits", stats.syncs, WRITERS * TURNS);
    assert!(stats.syncs > 0);
    assert!(stats.durable >= WRITERS * TURNS);
    assert_eq!(c.iter().count() as u64, WRITERS * TURNS);
}

#[test]
fn a_synced_commit_is_durable_when_it_returns() {
    let folder = folder();
    let db = small().sync_interval(None).open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    c.insert("a", "1").unwrap();
    assert!(db.stats().durable < db.stats().sequence);
    c.insert_with("b", "1", Durability::Sync).unwrap();
    assert_eq!(db.stats().durable, db.stats().sequence);
    c.insert("c", "1").unwrap();
    assert!(db.stats().durable < db.stats().sequence);
    db.sync().unwrap();
    assert_eq!(db.stats().durable, db.stats().sequence);
    drop(c);
    db.close().unwrap();
    let db = small().sync(true).open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    c.insert("d", "1").unwrap();
    assert_eq!(db.stats().durable, db.stats().sequence);
}

/// Two threads that create the same name get the same collection.
#[test]
fn a_collection_is_created_once_by_however_many_threads() {
    let folder = folder();
    let db = small().open(folder.path()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..20 {
                    let c = db.collection(&format!("collection {n}")).unwrap();
                    c.insert(format!("{writer}"), "v").unwrap();
                }
            });
        }
    });
    let names = db.collections().unwrap();
    assert_eq!(names.len(), 20);
    for name in names {
        assert_eq!(db.collection(&name).unwrap().iter().count(), 4, "{name}");
    }
}

/// Each thread owns keys and knows what they hold; flush and compact go on below.
#[test]
fn four_threads_find_what_they_wrote_under_flush_and_compaction() {
    let folder = folder();
    let (db, c) = open(folder.path());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (db, c, stop) = (&db, &c, &stop);
        let workers: Vec<_> = (0..4_u64)
            .map(|worker| {
                scope.spawn(move || {
                    let mut chance = worker + 1;
                    let mut model = std::collections::BTreeMap::new();
                    for turn in 0..2500_u64 {
                        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let key = format!("{worker} {:02}", (chance >> 33) % 60);
                        match (chance >> 60) % 8 {
                            0 => {
                                c.remove(&key).unwrap();
                                model.remove(&key);
                            }
                            1..4 => {
                                let value = vec![turn as u8; (chance >> 40) as usize % 500];
                                c.insert(&key, &value).unwrap();
                                model.insert(key, value);
                            }
                            4..7 => {
                                let found = c.get(&key).unwrap();
                                assert_eq!(found.as_deref(), model.get(&key).map(|v| &v[..]));
                            }
                            _ => {
                                let found = c.prefix(format!("{worker} ")).map(|p| p.unwrap());
                                let found: Vec<_> = found.collect();
                                assert_eq!(found.len(), model.len());
                                for ((key, value), (wanted, bytes)) in found.iter().zip(&model) {
                                    assert_eq!((key, &**value), (key, &bytes[..]));
                                    assert_eq!(*key, wanted.as_bytes());
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !stop.load(SeqCst) {
                db.flush().unwrap();
                db.compact().unwrap();
                let report = db.verify().unwrap();
                assert!(report.is_whole(), "{:?}", report.damages);
            }
        });
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stop.store(true, SeqCst);
        assert!(ended.into_iter().all(|worker| worker.is_ok()));
    });
}

/// Large merges are carried out in parts by as many threads as there are, those of `compact` among
/// them; readers find at all times what there is, and a close does not wait for the end.
#[test]
fn merges_in_parts_disturb_no_reader_and_no_close() {
    const KEYS: u64 = 4000;
    let folder = folder();
    let db = small().compaction_threads(3).open(folder.path()).unwrap();
    let c = db.collection("c").unwrap();
    let key = |i: u64| format!("{:05}", i * 1237 % KEYS);
    let write = |round: u64| {
        for i in 0..KEYS {
            let mut value = round.to_le_bytes().to_vec();
            value.resize(100, round as u8);
            c.insert(key(i), value).unwrap();
        }
    };
    write(1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (db, c, stop) = (&db, &c, &stop);
        let readers: Vec<_> = (0..2_u64)
            .map(|reader| {
                scope.spawn(move || {
                    let mut least = 1;
                    let mut chance = reader;
                    while !stop.load(SeqCst) {
                        let snapshot = db.snapshot();
                        let view = c.at(&snapshot);
                        let rounds = view.iter().map(|pair| number(&pair.unwrap().1));
                        let rounds: Vec<_> = rounds.collect();
                        assert_eq!(rounds.len() as u64, KEYS);
                        let (now, before) =
                            (rounds.iter().max().unwrap(), rounds.iter().min().unwrap());
                        assert!(*before >= least && *now - *before <= 1, "{before} to {now}");
                        least = *before;
                        for _ in 0..100 {
                            chance = (chance + 1) * 31 % KEYS;
                            let found = view.get(key(chance)).unwrap().map(|v| number(&v));
                            assert!(found == Some(*now) || found == Some(*before));
                        }
                    }
                })
            })
            .collect();
        for round in 2..6 {
            write(round);
            db.flush().unwrap();
            let compacts: Vec<_> = (0..2).map(|_| scope.spawn(|| db.compact().unwrap())).collect();
            compacts.into_iter().for_each(|compact| compact.join().unwrap());
        }
        stop.store(true, SeqCst);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert!(db.stats().compaction_parts > 0, "{}", db.stats());
    let report = db.verify().unwrap();
    assert!(report.is_whole(), "{:?}", report.damages);
    let other = db.clone();
    write(7);
    db.flush().unwrap();
    let compacting = std::thread::spawn(move || other.compact());
    db.close().unwrap();
    if let Err(error) = compacting.join().unwrap() {
        let is_told = [ErrorKind::Interrupted, ErrorKind::InvalidArgument].contains(&error.kind());
        assert!(is_told, "{error}");
    }
    drop(c);
    let db = small().open(folder.path()).unwrap();
    assert_eq!(db.collection("c").unwrap().iter().count() as u64, KEYS);
    assert!(db.verify().unwrap().is_whole());
}
