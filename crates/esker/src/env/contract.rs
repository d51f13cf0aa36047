//! What every environment promises, as tests that run on each of them.

use super::{Access, Env, File, Listed, Next, read_exact_at, read_whole, write_all_at};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn written(env: &dyn Env, path: &Path, bytes: &[u8]) -> Arc<dyn File> {
    let file = env.create(path).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file
}

fn content(env: &dyn Env, path: &Path) -> Vec<u8> {
    let file = env.open(path).unwrap();
    read_whole(&*file, Access::Positioned).unwrap().bytes().to_vec()
}

type Test = fn(&dyn Env, &Path);

/// All of them, in a folder of its own each.
pub(super) fn check(env: &dyn Env, dir: &Path) {
    let all: [(&str, Test); 12] = [
        ("create", a_file_is_created_once),
        ("write", what_is_written_is_read),
        ("truncate", a_longer_file_is_filled_with_zeros),
        ("names", names_are_renamed_removed_and_listed),
        ("links", a_file_may_have_two_names),
        ("folders", folders_are_created_with_their_parents),
        ("lock", a_lock_is_held_by_one_and_names_its_holder),
        ("map", a_map_shows_the_whole_file),
        ("append", spans_are_filled_in_any_order),
        ("clocks", clocks_tell_the_time_of_day_and_intervals),
        ("missing", what_is_missing_is_not_found),
        ("workers", workers_run_when_woken_and_stop_when_dropped),
    ];
    for (name, test) in all {
        let own = dir.join(name);
        env.create_dir(&own).unwrap();
        test(env, &own);
    }
}

fn a_file_is_created_once(env: &dyn Env, dir: &Path) {
    let path = dir.join("a");
    drop(env.create(&path).unwrap());
    assert_eq!(env.create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let append = env.create_append(&path, 10, Access::Mapped);
    assert_eq!(append.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(env.exists(&path).unwrap());
}

fn what_is_written_is_read(env: &dyn Env, dir: &Path) {
    let path = dir.join("a");
    let file = written(env, &path, b"hello");
    write_all_at(&*file, b"world", 8).unwrap();
    assert_eq!(file.byte_count().unwrap(), 13);
    file.sync().unwrap();
    env.sync_dir(dir).unwrap();
    assert_eq!(content(env, &path), b"hello\0\0\0world");

    let reader = env.open(&path).unwrap();
    reader.advise_random(true);
    let mut bytes = [0; 5];
    read_exact_at(&*reader, &mut bytes, 8).unwrap();
    assert_eq!(&bytes, b"world");
    let past = read_exact_at(&*reader, &mut bytes, 9).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(reader.read_at(&mut bytes, 1 << 40).unwrap(), 0);
    assert!(reader.write_at(b"x", 0).is_err(), "opened for reading only");
    assert!(reader.truncate(0).is_err(), "opened for reading only");
}

fn a_longer_file_is_filled_with_zeros(env: &dyn Env, dir: &Path) {
    let path = dir.join("a");
    let file = written(env, &path, b"abcdef");
    file.truncate(2).unwrap();
    file.truncate(4).unwrap();
    assert_eq!(content(env, &path), b"ab\0\0");
    file.truncate(0).unwrap();
    assert_eq!(file.byte_count().unwrap(), 0);
}

fn names_are_renamed_removed_and_listed(env: &dyn Env, dir: &Path) {
    let [a, b, c] = ["a", "b", "c"].map(|name| dir.join(name));
    let open = written(env, &a, b"1");
    drop(written(env, &b, b"22"));
    env.create_dir(&c).unwrap();
    let listed = |name: &str, is_file, bytes| Listed { name: name.to_owned(), is_file, bytes };
    let files = |env: &dyn Env| {
        let mut found = env.list(dir).unwrap();
        found.retain(|entry| entry.is_file);
        found
    };
    assert_eq!(env.list(dir).unwrap().len(), 3);
    assert_eq!(files(env), [listed("a", true, 1), listed("b", true, 2)]);

    env.rename(&a, &b).unwrap();
    assert_eq!(files(env), [listed("b", true, 1)]);
    assert!(!env.exists(&a).unwrap());
    env.remove(&b).unwrap();
    assert_eq!(files(env), []);
    // A file that is open outlives its name.
    let mut byte = [0];
    read_exact_at(&*open, &mut byte, 0).unwrap();
    assert_eq!(&byte, b"1");
    assert!(env.open(&c).is_err(), "a folder is not a file");
}

fn a_file_may_have_two_names(env: &dyn Env, dir: &Path) {
    let [a, b, c] = ["a", "b", "c"].map(|name| dir.join(name));
    let file = written(env, &a, b"one");
    env.link(&a, &b).unwrap();
    env.sync_dir(dir).unwrap();
    write_all_at(&*file, b"bytes", 0).unwrap();
    file.sync().unwrap();
    for name in [&a, &b] {
        assert_eq!(content(env, name), b"bytes");
    }
    drop(written(env, &c, b"other"));
    for taken in [&a, &b, &c] {
        assert_eq!(env.link(&a, taken).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
    assert_eq!(content(env, &c), b"other");
    env.remove(&a).unwrap();
    assert_eq!(content(env, &b), b"bytes");
    // Its old name is free, and names another file.
    drop(written(env, &a, b"new"));
    assert_eq!(content(env, &b), b"bytes");
    assert!(env.link(dir, &dir.join("d")).is_err(), "a folder has one name");
}

fn folders_are_created_with_their_parents(env: &dyn Env, dir: &Path) {
    let deep = dir.join("x").join("y");
    env.create_dir(&deep).unwrap();
    env.create_dir(&deep).unwrap();
    drop(written(env, &deep.join("a"), b"1"));
    env.sync_dir(&deep).unwrap();
    assert_eq!(env.list(dir).unwrap()[0].name, "x");
    assert!(!env.list(dir).unwrap()[0].is_file);
}

/// F-42: a second opener learns who has it.
fn a_lock_is_held_by_one_and_names_its_holder(env: &dyn Env, dir: &Path) {
    let path = dir.join("LOCK");
    drop(env.lock(&path, "a holder with a long name").unwrap());
    let held = env.lock(&path, "process 7").unwrap();
    let refused = env.lock(&path, "process 8").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    assert_eq!(refused.to_string(), "process 7");
    assert_eq!(env.lock_shared(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(held);
    drop(env.lock(&path, "process 8").unwrap());
    let readers = [env.lock_shared(&path).unwrap(), env.lock_shared(&path).unwrap()];
    assert_eq!(env.lock(&path, "process 9").unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(readers);
    drop(env.lock(&path, "process 9").unwrap());
    assert!(env.lock_shared(&dir.join("none")).is_err());
}

fn a_map_shows_the_whole_file(env: &dyn Env, dir: &Path) {
    let path = dir.join("a");
    let file = written(env, &path, &[7; 5000]);
    file.truncate(6000).unwrap();
    let reader = env.open(&path).unwrap();
    reader.advise_random(true);
    let map = reader.map().unwrap().unwrap();
    reader.advise_random(false);
    assert_eq!(map.bytes().len(), 6000);
    assert_eq!(map.bytes()[4999..5001], [7, 0]);
    drop(reader);
    env.remove(&path).unwrap();
    assert_eq!(map.bytes()[0], 7, "a map outlives its file's name and handle");

    let empty = env.create(&path).unwrap();
    assert_eq!(read_whole(&*empty, Access::Mapped).unwrap().bytes(), b"");
}

fn spans_are_filled_in_any_order(env: &dyn Env, dir: &Path) {
    for access in [Access::Mapped, Access::Positioned] {
        let path = dir.join(format!("{access:?}"));
        let file = env.create_append(&path, 10_000, access).unwrap();
        let mut first = Arc::clone(&file).claim(0, 100);
        let mut second = Arc::clone(&file).claim(100, 9_890);
        let mut across = Arc::clone(&file).claim(9_990, 30);
        across.write(&[3; 30], 0).unwrap();
        second.write(&[2; 9_880], 10).unwrap();
        first.write(&[1; 100], 0).unwrap();
        file.sync().unwrap();
        assert_eq!((second.at(), second.len()), (100, 9_890));
        file.finish(10_025).unwrap();
        env.sync_dir(dir).unwrap();
        let mut want = vec![1; 100];
        want.extend([0; 10]);
        want.extend([2; 9_880]);
        want.extend([3; 30]);
        want.extend([0; 5]);
        assert!(content(env, &path) == want, "{access:?}");
    }
}

fn what_is_missing_is_not_found(env: &dyn Env, dir: &Path) {
    let path = dir.join("none");
    let below = path.join("deep");
    assert!(!env.exists(&path).unwrap());
    let errors = [
        env.open(&path).err(),
        env.create(&below).err(),
        env.remove(&path).err(),
        env.rename(&path, &below).err(),
        env.link(&path, &dir.join("other")).err(),
        env.list(&path).err(),
        env.sync_dir(&path).err(),
    ];
    for error in errors {
        assert_eq!(error.unwrap().kind(), ErrorKind::NotFound);
    }
}

/// The time of day may be set: nothing is said of two of its answers but that they are of this age.
fn clocks_tell_the_time_of_day_and_intervals(env: &dyn Env, _: &Path) {
    let year = std::time::Duration::from_secs(365 * 24 * 3600);
    assert!((50 * year..500 * year).contains(&env.unix_time()));
    let before = env.now();
    assert!(env.now() >= before);
}

/// Runs or waits for workers until `done` says so.
fn settle(env: &dyn Env, mut done: impl FnMut() -> bool) {
    let start = env.now();
    while !done() {
        if !env.help() {
            std::thread::yield_now();
        }
        let limit = std::time::Duration::from_secs(10);
        assert!(!env.has_threads() || env.now() - start < limit, "the worker does not run");
    }
}

/// F-31: a worker that panicked takes nothing else down.
fn workers_run_when_woken_and_stop_when_dropped(env: &dyn Env, _: &Path) {
    let runs = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&runs);
    let job = move || {
        let run = theirs.fetch_add(1, Ordering::SeqCst);
        if run == 0 { Next::Again } else { Next::Wait(None) }
    };
    let worker = env.spawn("counter", Box::new(job)).unwrap();
    settle(env, || runs.load(Ordering::SeqCst) == 2);
    worker.wake();
    settle(env, || runs.load(Ordering::SeqCst) == 3);
    drop(worker);
    assert_eq!(Arc::strong_count(&runs), 1, "a stopped worker's job is dropped");

    let failed = Arc::clone(&runs);
    let job = move || -> Next {
        failed.fetch_add(1, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new("a job that fails"));
    };
    let worker = env.spawn("failing", Box::new(job)).unwrap();
    settle(env, || runs.load(Ordering::SeqCst) == 4);
    worker.wake();
    drop(worker);
    assert_eq!(runs.load(Ordering::SeqCst), 4, "it never runs again");
}
