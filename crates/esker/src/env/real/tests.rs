//! What is true of the operating system alone.

use super::*;
use std::sync::atomic::AtomicUsize;

#[test]
fn the_system_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    super::super::contract::check(&Real::default(), dir.path());
}

#[test]
fn randomness_differs_and_time_does_not_go_back() {
    let env = Real::new();
    assert_ne!(env.random(), env.random());
    let before = env.now();
    assert!(env.now() >= before);
}

/// F-41: a link to a file elsewhere is refused, a pipe does not block the opener.
#[cfg(unix)]
#[test]
fn links_and_pipes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [file, link, pipe] = ["file", "link", "pipe"].map(|name| dir.path().join(name));
    let env = Real::new();
    drop(env.create(&file).unwrap());
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(env.open(&link).is_err());
    assert!(env.lock(&link, "me").is_err());
    assert!(env.create(&link).is_err());
    assert!(env.open(&pipe).is_err());
    assert!(!env.list(dir.path()).unwrap()[1].is_file);
}

#[test]
fn a_worker_wakes_by_itself_after_its_time() {
    let runs = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&runs);
    let job = move || {
        theirs.fetch_add(1, Ordering::SeqCst);
        Next::Wait(Some(Duration::from_millis(1)))
    };
    let env = Real::new();
    let worker = env.spawn("timer", Box::new(job)).unwrap();
    while runs.load(Ordering::SeqCst) < 5 {
        thread::yield_now();
    }
    drop(worker);
}

#[test]
fn a_worker_may_drop_its_own_handle() {
    let place: Arc<Mutex<Option<Worker>>> = Arc::default();
    let theirs = Arc::clone(&place);
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    let env = Real::new();
    let mut taken = place.lock();
    let job = move || {
        drop(theirs.lock().take());
        end.store(true, Ordering::SeqCst);
        Next::Again
    };
    *taken = Some(env.spawn("suicide", Box::new(job)).unwrap());
    drop(taken);
    while !ended.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

#[test]
fn many_threads_fill_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let env = Real::new();
    let path = dir.path().join("log");
    let file = env.create_append(&path, 1 << 20, Access::Mapped).unwrap();
    assert_eq!(file.access(), Access::Mapped);
    thread::scope(|scope| {
        for k in 0..64_u8 {
            let mut span = Arc::clone(&file).claim(u64::from(k) << 14, 1 << 14);
            scope.spawn(move || span.write(&[k; 1 << 14], 0).unwrap());
        }
    });
    file.sync().unwrap();
    let map = env.open(&path).unwrap().map().unwrap().unwrap();
    assert!(map.bytes().iter().enumerate().all(|(at, &byte)| usize::from(byte) == at >> 14));
}
