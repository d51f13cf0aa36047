//! Calls that fail, and what they leave behind.

use super::*;

fn next(sim: &Sim, on: Calls) -> u64 {
    sim.count(on) + 1
}

#[test]
fn a_fault_hits_the_call_it_is_planned_for_and_no_other() {
    for errno in Errno::ALL {
        let sim = world();
        let file = put(&sim, "a", b"1");
        sim.fail_at(next(&sim, Calls::WRITE) + 1, Fault::refuse(errno, Calls::WRITE));
        file.write_at(b"2", 0).unwrap();
        file.sync().unwrap();
        let error = file.write_at(b"3", 0).unwrap_err();
        assert_eq!(error.to_string(), errno.error().to_string());
        assert_eq!(sim.read_file(&at("a")).unwrap(), b"2");
        file.write_at(b"4", 0).unwrap();
    }
}

#[test]
fn every_class_of_calls_can_be_hit_and_then_changes_nothing() {
    type Act = fn(&Sim) -> io::Result<()>;
    let acts: [(Calls, Act); 12] = [
        (Calls::CREATE, |sim| sim.create(&at("n")).map(drop)),
        (Calls::CREATE, |sim| sim.create_append(&at("n"), 9, Access::Mapped).map(drop)),
        (Calls::OPEN, |sim| sim.open(&at("a")).map(drop)),
        (Calls::RENAME, |sim| sim.rename(&at("a"), &at("b"))),
        (Calls::REMOVE, |sim| sim.remove(&at("a"))),
        (Calls::SYNC_DIR, |sim| sim.sync_dir(db())),
        (Calls::CREATE_DIR, |sim| sim.create_dir(&at("dir"))),
        (Calls::LIST, |sim| sim.list(db()).map(drop)),
        (Calls::LOOK, |sim| sim.exists(&at("a")).map(drop)),
        (Calls::LOCK, |sim| sim.lock(&at("LOCK"), "me").map(drop)),
        (Calls::MAP, |sim| sim.open(&at("a"))?.map().map(drop)),
        (Calls::READ, |sim| sim.open(&at("a"))?.read_at(&mut [0], 0).map(drop)),
    ];
    for (on, act) in acts {
        let sim = world();
        drop(put(&sim, "a", b"1"));
        let before = sim.fingerprint();
        sim.fail_at(next(&sim, on), Fault::refuse(Errno::TooManyFiles, on));
        let error = act(&sim).unwrap_err();
        assert_eq!(error.to_string(), Errno::TooManyFiles.error().to_string());
        assert_eq!(sim.fingerprint(), before, "{on:?}");
        act(&sim).unwrap();
    }
}

/// F-27.
#[test]
fn a_lasting_fault_stays_until_it_is_healed() {
    let sim = world();
    sim.fail_from(1, Fault::refuse(Errno::ReadOnly, Calls::CHANGES));
    for _ in 0..3 {
        let error = sim.create(&at("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    }
    assert!(sim.list(db()).is_ok());
    sim.heal();
    drop(put(&sim, "a", b""));
}

/// Invariant 12, F-18.
#[test]
fn a_refused_sync_leaves_its_pages_dirty() {
    let sim = world();
    let file = put_durably(&sim, "a", b"old");
    write_all_at(&*file, b"new", 0).unwrap();
    sim.fail_at(next(&sim, Calls::SYNC), Fault::refuse(Errno::Io, Calls::SYNC));
    file.sync().unwrap_err();
    assert_eq!(content_after(&sim, Loss::Pieces, "a").len(), 2);
    file.sync().unwrap();
    assert_eq!(sim.crash(Loss::All).read_file(&at("a")).unwrap(), b"new");
}

/// Invariant 12, F-19: the next sync succeeds, and has written nothing of it.
#[test]
fn a_sync_that_drops_pages_never_writes_them_again() {
    let mut kept = BTreeSet::new();
    for seed in 0..100 {
        let sim = Sim::new(seed);
        sim.write_file(&at("a"), b"").unwrap();
        let file = sim.create(&at("b")).unwrap();
        file.truncate(3 * SECTOR as u64).unwrap();
        file.sync().unwrap();
        sim.sync_dir(db()).unwrap();
        write_all_at(&*file, &[1; 2 * SECTOR], 0).unwrap();
        let fault = Fault { trouble: Trouble::DropPages, on: Calls::SYNC };
        sim.fail_at(next(&sim, Calls::SYNC), fault);
        file.sync().unwrap_err();

        write_all_at(&*file, &[2; SECTOR], 2 * SECTOR as u64).unwrap();
        file.sync().unwrap();
        let sectors = |bytes: Vec<u8>| [0, 1, 2].map(|sector| bytes[sector * SECTOR]);
        assert_eq!(sectors(sim.read_file(&at("b")).unwrap()), [1, 1, 2], "still in memory");
        let durable = sectors(sim.crash(Loss::All).read_file(&at("b")).unwrap());
        assert_eq!(durable[2], 2, "what was written later is synced");
        sim.evict();
        assert_eq!(sectors(sim.read_file(&at("b")).unwrap()), durable, "read back from disk");
        kept.insert([durable[0], durable[1]]);
    }
    assert_eq!(kept.len(), 4, "any of it may have been written: {kept:?}");
}

/// Invariant 12: evicting keeps what is still to be written.
#[test]
fn pages_that_are_dirty_are_not_evicted() {
    let sim = world();
    let file = put_durably(&sim, "a", &[1; SECTOR]);
    let fault = Fault { trouble: Trouble::DropPages, on: Calls::SYNC };
    write_all_at(&*file, &[2; 100], 0).unwrap();
    sim.fail_at(next(&sim, Calls::SYNC), fault);
    file.sync().unwrap_err();
    write_all_at(&*file, &[3; 100], 200).unwrap();
    sim.evict();
    assert_eq!(sim.read_file(&at("a")).unwrap()[200..300], [3; 100]);
    assert_eq!(sim.crash(Loss::All).read_file(&at("a")).unwrap()[200..300], [1; 100]);
}

/// Invariant 13, F-21.
#[test]
fn a_full_disk_takes_what_fits_and_then_refuses() {
    let sim = world();
    let other = put(&sim, "other", &[0; 60]);
    sim.set_capacity(Some(100));
    let file = sim.create(&at("a")).unwrap();
    assert_eq!(file.write_at(&[1; 50], 0).unwrap(), 40);
    let full = file.write_at(&[1; 10], 40).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[2; 50], 10).unwrap(), 30, "replacing needs no room");
    assert_eq!(file.truncate(41).unwrap_err().kind(), ErrorKind::StorageFull);
    let append = sim.create_append(&at("log"), 1, Access::Mapped).unwrap_err();
    assert_eq!(append.kind(), ErrorKind::StorageFull);
    assert_eq!(file_names(&sim), ["a", "other"], "a file that cannot be allocated is not there");

    sim.remove(&at("other")).unwrap();
    assert!(file.write_at(&[1; 10], 40).is_err(), "still open");
    drop(other);
    assert_eq!(file.write_at(&[1; 10], 40).unwrap(), 10);
}

/// F-21, at any write.
#[test]
fn a_disk_that_fills_up_in_a_write_takes_a_part_of_it() {
    let sim = world();
    let file = put(&sim, "a", b"");
    sim.fail_at(next(&sim, Calls::WRITE), Fault { trouble: Trouble::Full, on: Calls::WRITE });
    let error = write_all_at(&*file, &[1; 1000], 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let taken = sim.read_file(&at("a")).unwrap().len();
    assert!((1..1000).contains(&taken), "{taken}");
}

/// F-24, F-25.
#[test]
fn short_transfers_and_interruptions_are_survived_and_a_zero_write_is_an_error() {
    let sim = world();
    sim.set_weather(Weather { short_reads: 900, short_writes: 900, interrupts: 300 });
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let file = put(&sim, "a", &bytes);
    let mut back = vec![0; bytes.len()];
    read_exact_at(&*file, &mut back, 0).unwrap();
    assert!(back == bytes);
    assert!(sim.count(Calls::READ) > 3 && sim.count(Calls::WRITE) > 3);

    sim.heal();
    sim.fail_at(next(&sim, Calls::WRITE), Fault { trouble: Trouble::Zero, on: Calls::WRITE });
    let error = write_all_at(&*file, b"x", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

/// F-28.
#[test]
fn a_place_that_cannot_be_read_fails_every_time_and_is_not_mapped() {
    let sim = world();
    let file = put_durably(&sim, "a", &[1; 100]);
    sim.break_reads(&at("a"), 50..60).unwrap();
    let mut bytes = [0; 10];
    for (place, works) in [(0, true), (40, true), (41, false), (59, false), (60, true)] {
        assert_eq!(file.read_at(&mut bytes, place).is_ok(), works, "{place}");
    }
    assert!(file.map().unwrap().is_none());
    assert!(sim.crash(Loss::All).open(&at("a")).unwrap().read_at(&mut bytes, 50).is_err());
    sim.heal();
    assert!(file.read_at(&mut bytes, 50).is_ok());
}

/// F-30.
#[test]
fn a_disk_that_stalls_takes_simulated_time() {
    let sim = world();
    let file = put(&sim, "a", b"1");
    let stall = Trouble::Stall(Duration::from_secs(5));
    let on = Calls::SYNC | Calls::READ;
    sim.fail_from(1, Fault { trouble: stall, on });
    file.sync().unwrap();
    file.read_at(&mut [0], 0).unwrap();
    assert_eq!(sim.now(), Duration::from_secs(10));
}

/// Invariant 14.
#[test]
fn a_copy_into_a_map_cannot_fail_and_a_positioned_one_can() {
    for (access, works) in [(Access::Mapped, true), (Access::Positioned, false)] {
        let sim = world();
        let log = sim.create_append(&at("log"), 100, access).unwrap();
        sim.fail_from(1, Fault::refuse(Errno::Io, Calls::ALL));
        let mut span = Arc::clone(&log).claim(0, 200);
        assert_eq!(span.write(&[1; 100], 0).is_ok(), works);
        assert!(span.write(&[1; 1], 100).is_err(), "beyond the map it is a write");
    }
}

#[test]
fn without_mapping_files_are_written_and_read_by_position() {
    let sim = world();
    sim.set_mapping(false);
    let log = sim.create_append(&at("log"), 100, Access::Mapped).unwrap();
    assert_eq!(log.access(), Access::Positioned);
    assert!(sim.open(&at("log")).unwrap().map().unwrap().is_none());
    assert!(sim.crash(Loss::None).open(&at("log")).unwrap().map().unwrap().is_none());
}
