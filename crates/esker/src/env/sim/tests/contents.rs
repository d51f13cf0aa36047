//! What becomes of bytes and lengths.

use super::*;

/// Invariant 1.
#[test]
fn a_reader_sees_what_is_not_synced() {
    let sim = world();
    let file = put(&sim, "a", b"one");
    let reader = sim.open(&at("a")).unwrap();
    let map = reader.map().unwrap().unwrap();
    write_all_at(&*file, b"two", 0).unwrap();
    let mut bytes = [0; 3];
    read_exact_at(&*reader, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"two");
    assert_eq!(map.bytes(), b"one", "a map is of its moment");
}

/// Invariants 2 and 3.
#[test]
fn what_is_synced_survives_every_loss() {
    let sim = world();
    let file = put_durably(&sim, "a", &[1; 3000]);
    file.truncate(2000).unwrap();
    write_all_at(&*file, &[2; 100], 100).unwrap();
    file.sync().unwrap();
    let want = sim.read_file(&at("a")).unwrap();
    for loss in Loss::MODELS {
        assert_eq!(content_after(&sim, loss, "a"), [want.clone()].into(), "{loss:?}");
    }
}

/// Invariant 5.
#[test]
fn what_is_not_synced_is_lost_with_all() {
    let sim = world();
    let file = put_durably(&sim, "a", b"durable");
    write_all_at(&*file, b"DUR", 0).unwrap();
    write_all_at(&*file, b"more", 7).unwrap();
    assert_eq!(content_after(&sim, Loss::All, "a"), [b"durable".to_vec()].into());
}

/// Invariant 3: an empty file under a durable name.
#[test]
fn a_folder_sync_does_not_keep_contents() {
    let sim = world();
    let _file = put(&sim, "a", b"bytes");
    sim.sync_dir(db()).unwrap();
    assert_eq!(content_after(&sim, Loss::All, "a"), [vec![]].into());
}

/// Invariant 6.
#[test]
fn each_sector_that_was_replaced_is_old_or_new_on_its_own() {
    let sim = world();
    let file = put_durably(&sim, "a", &[1; 4 * SECTOR]);
    write_all_at(&*file, &[2; 4 * SECTOR], 0).unwrap();
    let mut mixes = BTreeSet::new();
    for bytes in content_after(&sim, Loss::Pieces, "a") {
        let mix: Vec<u8> = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
        let whole: Vec<u8> = mix.iter().flat_map(|&byte| [byte; SECTOR]).collect();
        assert!(bytes == whole, "a sector is torn");
        mixes.insert(mix);
    }
    assert_eq!(mixes.len(), 16, "{mixes:?}");
}

/// Invariants 6 and 7, F-2: holes of zeros before bytes that were kept, and every length.
#[test]
fn what_was_appended_has_holes_and_any_length() {
    let sim = world();
    let file = put_durably(&sim, "a", &[1; SECTOR]);
    write_all_at(&*file, &[2; 3 * SECTOR], SECTOR as u64).unwrap();
    let seen: BTreeSet<Vec<u8>> = content_after(&sim, Loss::Pieces, "a")
        .into_iter()
        .map(|bytes| bytes.chunks(SECTOR).map(|sector| sector[0]).collect())
        .collect();
    for want in [&[1][..], &[1, 2], &[1, 0], &[1, 0, 0, 2], &[1, 2, 0, 2], &[1, 0, 0, 0]] {
        assert!(seen.contains(want), "{want:?} in {seen:?}");
    }
    assert!(seen.iter().all(|mix| mix[0] == 1));
}

/// Invariant 6: what a sector held at some moment, never a later write without an earlier one.
#[test]
fn a_sector_goes_through_its_changes_in_order() {
    let sim = world();
    let file = put_durably(&sim, "a", b"....");
    for (place, byte) in [(0, b"1"), (1, b"2"), (0, b"3")] {
        write_all_at(&*file, byte, place).unwrap();
    }
    let want = [b"....", b"1...", b"12..", b"32.."].map(|bytes| bytes.to_vec());
    assert_eq!(content_after(&sim, Loss::Pieces, "a"), want.into());
}

/// Invariant 7.
#[test]
fn a_length_is_kept_apart_from_the_data() {
    let sim = world();
    let file = put_durably(&sim, "a", b"");
    file.truncate(100).unwrap();
    write_all_at(&*file, b"x", 0).unwrap();
    let zeros = vec![0; 100];
    let mut written = zeros.clone();
    written[0] = b'x';
    assert_eq!(content_after(&sim, Loss::Pieces, "a"), [vec![], zeros, written].into());
}

/// Invariant 7: bytes that a durable cut took do not come back, and the last sector before it may
/// still be lost.
#[test]
fn a_cut_is_durable_or_not_and_nothing_lies_behind_one_that_was_lost() {
    let sim = world();
    let file = put_durably(&sim, "a", &[1; 4 * SECTOR]);
    write_all_at(&*file, &[2; SECTOR], 0).unwrap();
    file.truncate(SECTOR as u64).unwrap();
    write_all_at(&*file, &[3; SECTOR], SECTOR as u64).unwrap();
    let seen: BTreeSet<Vec<u8>> = content_after(&sim, Loss::Pieces, "a")
        .into_iter()
        .map(|bytes| bytes.chunks(SECTOR).map(|sector| sector[0]).collect())
        .collect();
    let mut want = BTreeSet::new();
    for first in [1, 2] {
        want.insert(vec![first, 1, 1, 1]);
        want.insert(vec![first]);
        want.insert(vec![first, 0]);
        want.insert(vec![first, 3]);
    }
    assert_eq!(seen, want);
}

/// A log that was allocated ahead, mapped and filled in: its sectors come and go like any other's.
#[test]
fn a_mapped_log_that_is_not_synced_may_lose_any_sector() {
    let sim = world();
    let log = sim.create_append(&at("log"), 8 * SECTOR as u64, Access::Mapped).unwrap();
    log.sync().unwrap();
    sim.sync_dir(db()).unwrap();
    for sector in 0..3 {
        let span = Arc::clone(&log).claim(sector * SECTOR as u64, SECTOR as u64);
        { span }.write(&[9; SECTOR], 0).unwrap();
    }
    let seen: BTreeSet<Vec<u8>> = content_after(&sim, Loss::Pieces, "log")
        .into_iter()
        .map(|bytes| bytes.chunks(SECTOR).map(|sector| sector[0]).collect())
        .collect();
    assert!(seen.iter().all(|mix| mix.len() == 8 && mix[3..] == [0; 5]));
    assert_eq!(seen.len(), 8);
    log.sync().unwrap();
    assert_eq!(sim.crash(Loss::All).read_file(&at("log")).unwrap()[..SECTOR], [9; SECTOR]);
}

/// Invariant 9.
#[test]
fn a_torn_file_keeps_its_first_changes_and_a_part_of_the_next() {
    let sim = world();
    let file = put_durably(&sim, "a", b"");
    write_all_at(&*file, b"abc", 0).unwrap();
    write_all_at(&*file, b"defg", 3).unwrap();
    let want = (0..=7).map(|len| b"abcdefg"[..len].to_vec()).collect();
    assert_eq!(content_after(&sim, Loss::Torn, "a"), want);
}

/// Invariant 10, F-10: the newer file whole and the older without its tail.
#[test]
fn files_are_written_back_in_any_order() {
    let sim = world();
    let older = put_durably(&sim, "a", b"");
    let newer = put_durably(&sim, "b", b"");
    write_all_at(&*older, b"first", 0).unwrap();
    write_all_at(&*newer, b"second", 0).unwrap();
    for loss in [Loss::Pieces, Loss::Torn] {
        let seen = outcomes(&sim, loss, |after| {
            ["a", "b"].map(|name| after.read_file(&at(name)).unwrap())
        });
        assert!(seen.contains(&[b"first".to_vec(), vec![]]), "{loss:?}");
        assert!(seen.contains(&[vec![], b"second".to_vec()]), "{loss:?}");
    }
}

/// F-6: a crash of what a crash left; what is on disk stays there.
#[test]
fn what_a_power_loss_left_is_durable() {
    let sim = world();
    let _file = put(&sim, "a", &[1; 10_000]);
    for loss in [Loss::All, Loss::Pieces, Loss::Torn] {
        let once = sim.crash(loss);
        for again in Loss::MODELS {
            assert_eq!(once.crash(again).fingerprint(), once.fingerprint());
        }
    }
}

/// The laws of the model under random changes: a synced world comes through every loss, and every
/// loss of an unsynced one leaves only sectors that were there at some time.
#[test]
fn random_programs_leave_only_what_was_once_there() {
    for seed in 0..300 {
        let sim = Sim::new(seed);
        let file = {
            sim.create_dir(db()).unwrap();
            put(&sim, "a", b"")
        };
        sim.sync_dir(Path::new("/")).unwrap();
        sim.sync_dir(db()).unwrap();
        let mut chance = Chance::new(seed);
        let mut history = vec![sim.read_file(&at("a")).unwrap()];
        for step in 1..=12_u8 {
            match chance.below(8) {
                0 => file.truncate(chance.below(3000)).unwrap(),
                1 => {
                    file.sync().unwrap();
                    history.clear();
                }
                _ => {
                    let bytes = vec![step; 1 + chance.index(900)];
                    write_all_at(&*file, &bytes, chance.below(2500)).unwrap();
                }
            }
            history.push(sim.read_file(&at("a")).unwrap());
            let left = sim.crash(Loss::Pieces).read_file(&at("a")).unwrap();
            check_sectors(&left, &history, seed);
        }
    }
}

/// Each sector of `left` is, up to the end of `left`, what it was in one of `history`.
fn check_sectors(left: &[u8], history: &[Vec<u8>], seed: u64) {
    for (number, sector) in left.chunks(SECTOR).enumerate() {
        let start = number * SECTOR;
        let was = |old: &Vec<u8>| {
            let mut then = old.get(start..).unwrap_or_default().to_vec();
            then.resize(SECTOR.max(then.len()), 0);
            // Cut off by a length that was kept from another moment, the rest is zero.
            let same = sector.iter().zip(&then).take_while(|(a, b)| a == b).count();
            sector[same..].iter().all(|&byte| byte == 0)
        };
        assert!(history.iter().any(was), "sector {number}, seed {seed}");
    }
}
