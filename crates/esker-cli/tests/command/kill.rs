//! F-14: the loader is killed at many moments; nothing that is there is damaged or half written,
//! and a load that is let run makes the whole.

use crate::bench::{Bench, noise};
use std::process::Stdio;
use std::time::Duration;

const FILES: u64 = 4000;

/// Kills the loader of `in` after each of `delays`; returns how many were still at work.
fn kill_after(bench: &Bench, options: &[&str], delays: impl Iterator<Item = Duration>) -> usize {
    let mut at_work = 0;
    for delay in delays {
        let args = ["load", "db", "in"].iter().chain(options);
        let mut command = bench.command(args);
        let mut loader = command.stdout(Stdio::null()).spawn().expect("the program starts");
        #[expect(clippy::disallowed_methods, reason = "a kill comes at any moment")]
        std::thread::sleep(delay);
        loader.kill().expect("a kill");
        if !loader.wait().expect("it ends").success() {
            at_work += 1;
        }
        check(bench);
    }
    at_work
}

/// Whatever the moment: the database is whole, and every file in it is as it was loaded.
fn check(bench: &Bench) {
    let verdict = bench.run("verify db");
    if verdict.code == Some(2) {
        assert!(verdict.err.contains("not found"), "killed before there was one: {}", verdict.err);
        return;
    }
    assert!(verdict.ok().starts_with("whole: "));
    if !bench.run("collections db").ok().lines().any(|name| name == "default") {
        return;
    }
    let out = format!("out-{}", bench.run("count db default").ok().trim());
    bench.run(&format!("unload db {out}")).ok();
    let (whole, part) = (bench.tree("in"), bench.tree(&out));
    assert!(part.iter().all(|(path, bytes)| whole.get(path) == Some(bytes)));
}

fn planted() -> Bench {
    let bench = Bench::new();
    let files: Vec<_> = (0..FILES)
        .map(|i| (format!("{:02}/{i}", i % 37), noise(i, (i as usize * 131) % 20_000)))
        .collect();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name, bytes.as_slice())).collect();
    bench.plant("in", &files);
    bench
}

#[test]
fn a_loader_killed_many_times_loses_nothing_and_is_finished_by_the_next() {
    let bench = planted();
    let at_work = kill_after(&bench, &[], (0..12).map(|n| Duration::from_millis(n * n)));
    let at_work =
        at_work + kill_after(&bench, &["--sync"], (5..9).map(|n| Duration::from_millis(n * 5)));
    assert!(at_work > 0, "no loader was killed while it was at work");
    let summary = bench.run("load db in").ok();
    assert!(summary.starts_with("loaded "), "{summary}");
    assert_eq!(bench.run("count db default").ok(), format!("{FILES}\n"));
    assert!(bench.run("verify db").ok().starts_with("whole: "));
    bench.run("unload db out").ok();
    assert!(bench.tree("in") == bench.tree("out"));
}

/// An exit code of 0 is an acknowledgement: it holds although nobody closed or synced what follows.
#[test]
fn what_a_finished_put_stored_survives_killed_ones() {
    let bench = planted();
    bench.run("put db acknowledged k v").ok();
    kill_after(&bench, &[], [3, 6, 9, 30].into_iter().map(Duration::from_millis));
    assert_eq!(bench.run("get db acknowledged k").ok(), "v");
}

/// Files larger than a generation: the one in use is sealed before anything was written to its log,
/// and the chain of logs must go over it. It once did not, and a database could refuse to open after
/// a second kill.
#[test]
fn a_loader_of_files_larger_than_a_generation_may_be_killed_again_and_again() {
    let bench = Bench::new();
    let (a, b) = (noise(1, 40 << 20), noise(2, 35 << 20));
    bench.plant("in", &[("a", &a[..]), ("b", &b[..]), ("c", b"small")]);
    kill_after(&bench, &[], [40, 80, 120, 160, 10, 200].into_iter().map(Duration::from_millis));
    bench.run("load db in").ok();
    bench.run("unload db out").ok();
    assert!(bench.tree("in") == bench.tree("out"));
}
