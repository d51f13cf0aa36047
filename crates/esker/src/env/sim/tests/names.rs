//! What becomes of names.

use super::*;

/// Invariant 5, F-7.
#[test]
fn a_synced_file_whose_name_is_not_durable_is_gone() {
    let sim = world();
    put(&sim, "a", b"bytes").sync().unwrap();
    assert_eq!(file_names(&sim.crash(Loss::All)), [""; 0]);
    let seen = outcomes(&sim, Loss::Pieces, |after| after.read_file(&at("a")).ok());
    assert_eq!(seen, [None, Some(b"bytes".to_vec())].into());
}

/// Invariant 3: a folder is a name too.
#[test]
fn a_folder_whose_name_is_not_durable_takes_all_it_holds_with_it() {
    let sim = Sim::new(1);
    sim.create_dir(Path::new("/x/y")).unwrap();
    sim.create(Path::new("/x/y/a")).unwrap().sync().unwrap();
    sim.sync_dir(Path::new("/x/y")).unwrap();
    sim.sync_dir(Path::new("/x")).unwrap();
    assert!(!sim.crash(Loss::All).exists(Path::new("/x")).unwrap());
    sim.sync_dir(Path::new("/")).unwrap();
    assert!(sim.crash(Loss::All).exists(Path::new("/x/y/a")).unwrap());
}

/// Invariant 8.
#[test]
fn each_new_name_survives_on_its_own() {
    let sim = world();
    for name in ["a", "b", "c"] {
        drop(put(&sim, name, b""));
    }
    assert_eq!(outcomes(&sim, Loss::Pieces, file_names).len(), 8);
    // A torn folder keeps the first so many.
    let want = [&[][..], &["a"], &["a", "b"], &["a", "b", "c"]];
    let want = want.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    assert_eq!(outcomes(&sim, Loss::Torn, file_names), want.into());
}

/// Invariant 8, F-8.
#[test]
fn a_rename_leaves_the_old_name_the_new_or_both() {
    let sim = world();
    drop(put_durably(&sim, "a", b"1"));
    sim.rename(&at("a"), &at("b")).unwrap();
    assert_eq!(file_names(&sim.crash(Loss::All)), ["a"]);
    for loss in [Loss::Pieces, Loss::Torn] {
        let seen = outcomes(&sim, loss, |after| file_names(after).concat());
        assert_eq!(seen, ["a", "ab", "b"].map(str::to_owned).into(), "{loss:?}");
    }
    sim.sync_dir(db()).unwrap();
    assert_eq!(outcomes(&sim, Loss::Pieces, file_names).len(), 1);
}

/// Invariant 8: what adoption of a log may leave.
#[test]
fn a_link_survives_or_not_and_the_first_name_is_not_touched() {
    let sim = world();
    drop(put_durably(&sim, "log", b"bytes"));
    sim.link(&at("log"), &at("blob")).unwrap();
    assert_eq!(file_names(&sim.crash(Loss::All)), ["log"]);
    assert_eq!(file_names(&sim.crash(Loss::None)), ["blob", "log"]);
    let both = [vec!["blob", "log"], vec!["log"]].map(|names| names.join(" "));
    for loss in [Loss::Pieces, Loss::Torn] {
        let seen = outcomes(&sim, loss, |after| file_names(after).join(" "));
        assert_eq!(seen, both.clone().into(), "{loss:?}");
    }
    sim.sync_dir(db()).unwrap();
    sim.remove(&at("log")).unwrap();
    for name in ["blob", "log"] {
        let seen = outcomes(&sim, Loss::Pieces, |after| after.read_file(&at(name)).ok());
        assert!(seen.contains(&Some(b"bytes".to_vec())), "{name}");
        assert_eq!(seen.contains(&None), name == "log", "{name}");
    }
}

/// Invariants 2 and 8: a sync through one name is a sync of the file; a name that is removed before
/// the other is durable may leave none.
#[test]
fn two_names_share_contents_but_not_their_fate() {
    let sim = world();
    drop(put_durably(&sim, "a", b"old"));
    sim.link(&at("a"), &at("b")).unwrap();
    sim.sync_dir(db()).unwrap();
    let file = put(&sim, "c", b"new");
    sim.link(&at("c"), &at("d")).unwrap();
    file.sync().unwrap();
    sim.remove(&at("c")).unwrap();
    let seen = outcomes(&sim, Loss::Pieces, |after| file_names(after).concat());
    assert_eq!(seen, ["ab", "abc", "abcd", "abd"].map(str::to_owned).into());
    let seen = outcomes(&sim, Loss::Pieces, |after| after.read_file(&at("d")).ok());
    assert_eq!(seen, [None, Some(b"new".to_vec())].into());
    // Both names count once against the capacity.
    sim.set_capacity(Some(3 + 3 + 1));
    file.write_at(b"x", 3).unwrap();
    assert_eq!(file.write_at(b"x", 4).unwrap_err().kind(), ErrorKind::StorageFull);
}

/// Invariant 8, F-8: the old manifest or the new.
#[test]
fn what_a_rename_replaces_is_there_until_it_is_replaced() {
    let sim = world();
    drop(put_durably(&sim, "target", b"old"));
    drop(put_durably(&sim, "new", b"new"));
    sim.rename(&at("new"), &at("target")).unwrap();
    for loss in [Loss::Pieces, Loss::Torn] {
        let seen = outcomes(&sim, loss, |after| after.read_file(&at("target")).unwrap());
        assert_eq!(seen, [b"new".to_vec(), b"old".to_vec()].into());
    }
}

/// F-9.
#[test]
fn a_removed_file_comes_back_with_its_bytes() {
    let sim = world();
    drop(put_durably(&sim, "a", b"bytes"));
    sim.remove(&at("a")).unwrap();
    assert_eq!(sim.crash(Loss::All).read_file(&at("a")).unwrap(), b"bytes");
    sim.sync_dir(db()).unwrap();
    assert_eq!(outcomes(&sim, Loss::Pieces, file_names), [vec![]].into());
}

/// Invariant 8: a name used again is the new file, or the old one, or absent; F-9.
#[test]
fn a_name_used_again_never_mixes_two_files() {
    let sim = world();
    drop(put_durably(&sim, "a", b"old"));
    sim.remove(&at("a")).unwrap();
    put(&sim, "a", b"new").sync().unwrap();
    let seen = outcomes(&sim, Loss::Pieces, |after| after.read_file(&at("a")).ok());
    assert_eq!(seen, [None, Some(b"new".to_vec()), Some(b"old".to_vec())].into());
}

/// Invariant 8: whatever is lost, a file that had a name all the time has one after the crash.
#[test]
fn no_file_is_lost_between_two_names() {
    let names = ["a", "b", "c", "d", "e"];
    for seed in 0..500 {
        let sim = Sim::new(seed);
        for name in ["a", "b", "c"] {
            sim.write_file(&at(name), name).unwrap();
        }
        let mut chance = Chance::new(seed);
        for _ in 0..chance.below(9) {
            let [from, to] = [(); 2].map(|()| at(names[chance.index(names.len())]));
            if sim.exists(&from).unwrap() && !sim.exists(&to).unwrap() {
                sim.rename(&from, &to).unwrap();
            }
        }
        for loss in Loss::MODELS {
            let after = sim.crash(loss);
            let left: BTreeSet<_> =
                file_names(&after).iter().map(|name| after.read_file(&at(name)).unwrap()).collect();
            assert_eq!(left.len(), 3, "seed {seed}, {loss:?}: {after:?}");
        }
    }
}

#[test]
fn a_rename_to_another_folder_is_not_simulated() {
    let sim = world();
    drop(put(&sim, "a", b""));
    let error = sim.rename(&at("a"), Path::new("/a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CrossesDevices);
}
