//! Copies of databases: made, refused, and equal; and what a repair makes of damaged ones.

use crate::bench::{Bench, noise};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Small values and large ones.
fn some_pairs() -> Bench {
    let bench = Bench::new();
    let large = noise(1, 9000);
    bench.plant("files", &[("a", &b"1"[..]), ("b/c", b""), ("large", &large)]);
    bench.run("load db files").ok();
    bench
}

/// What `verify` says of the sum of all operations.
fn checksum(bench: &Bench, db: &str) -> String {
    let line = bench.run(&format!("verify {db}")).ok();
    line.rsplit_once("checksum ").expect("a checksum").1.trim().to_owned()
}

#[test]
fn a_checkpoint_has_the_same_files_and_is_refused_where_something_is() {
    let bench = some_pairs();
    let said = bench.run("checkpoint db copy").ok();
    assert!(said.ends_with(&format!("checksum {}\n", checksum(&bench, "copy"))), "{said}");
    bench.run("unload copy again").ok();
    assert_eq!(bench.tree("again"), bench.tree("files"));
    let refused = bench.run("checkpoint db files").error();
    assert!(refused.contains("files is not empty"), "{refused}");
    assert!(bench.run("checkpoint none copy2").error().contains("none has no database"));
}

#[test]
fn backups_are_restored_as_they_were_and_the_oldest_go() {
    let bench = some_pairs();
    let first = bench.run("backup db backups").ok();
    assert!(first.starts_with("backup 1: "), "{first}");
    bench.run("put db default a 2").ok();
    let second = bench.run("backup db backups").ok();
    assert!(second.contains(&checksum(&bench, "db")), "{second}");
    let said = bench.run("restore backups old --number 1").ok();
    assert!(said.starts_with("backup 1 restored: "), "{said}");
    assert!(first.ends_with(&format!("checksum {}\n", checksum(&bench, "old"))), "{first}");
    bench.run("unload old again").ok();
    assert_eq!(bench.tree("again"), bench.tree("files"));
    let said = bench.run("restore backups new").ok();
    assert!(said.starts_with("backup 2 restored: "), "{said}");
    assert_eq!(bench.run("get new default a").ok(), "2");
    assert!(bench.run("backup db backups --keep 1").ok().ends_with("\n1 backups kept\n"));
    let gone = bench.run("restore backups none --number 1").error();
    assert!(gone.contains("backups has no backup 1"), "{gone}");
    assert!(bench.run("restore backups new").error().contains("new is not empty"));
}

#[test]
fn a_backup_that_lost_something_is_told_by_the_next_one() {
    let bench = some_pairs();
    bench.run("backup db backups").ok();
    std::fs::write(bench.path("backups").join("backup-000001"), "no text").expect("a file");
    let run = bench.run("backup db backups");
    let text = String::from_utf8(run.out).expect("text");
    assert_eq!((run.code, run.err.as_str()), (Some(1), ""), "{text}");
    assert!(text.starts_with("backup-000001: ") && text.contains("\nbackup 2: "), "{text}");
    bench.run("restore backups new").ok();
    assert!(bench.run("restore backups old --number 1").error().contains("backup-000001"));
}

/// Starts the program and kills it after that time; whether it was still at work.
fn killed(bench: &Bench, line: &str, after: Duration) -> bool {
    let mut command = bench.command(line.split_whitespace());
    let mut child = command.stdout(Stdio::null()).spawn().expect("the program starts");
    #[expect(clippy::disallowed_methods, reason = "a kill comes at any moment")]
    std::thread::sleep(after);
    child.kill().expect("a kill");
    !child.wait().expect("it ends").success()
}

const KILLS: u64 = 50;

/// F-14: a moment of so many milliseconds at most.
fn moment(kill: u64, ms: u64) -> Duration {
    Duration::from_micros(u64::from(noise(kill, 1)[0]) * ms * 1000 / 256)
}

/// F-14: whatever the moment, the database and every backup are whole.
#[test]
fn a_backup_killed_fifty_times_loses_nothing() {
    let bench = some_pairs();
    let mut at_work = 0;
    for kill in 0..KILLS {
        let value = noise(kill, 20_000);
        bench.run_with(&format!("put db default turn-{kill}"), &value).ok();
        at_work += u64::from(killed(&bench, "backup db backups", moment(kill, 30)));
    }
    assert!(at_work > 0, "no backup was killed while it was at work");
    let said = bench.run("backup db backups").ok();
    let number: u64 =
        said["backup ".len()..].split(':').next().expect("a number").parse().expect("one");
    assert_eq!(bench.run("count db default").ok(), format!("{}\n", 3 + KILLS));
    bench.run("unload db whole").ok();
    let whole = bench.tree("whole");
    for backup in 1..=number {
        bench.run(&format!("restore backups copy-{backup} --number {backup}")).ok();
        bench.run(&format!("unload copy-{backup} out-{backup}")).ok();
        let part = bench.tree(&format!("out-{backup}"));
        assert!(part.iter().all(|(path, bytes)| whole.get(path) == Some(bytes)), "{backup}");
        assert!(part.len() == whole.len() || backup < number);
    }
}

/// F-14: whatever the moment, what was restored is whole or no database, and the backup stays.
#[test]
fn a_restore_killed_fifty_times_leaves_a_whole_database_or_none() {
    let bench = some_pairs();
    bench.run_with("put db default huge", &noise(9, 8 << 20)).ok();
    bench.run("backup db backups").ok();
    let want = checksum(&bench, "db");
    let mut at_work = 0;
    for kill in 0..KILLS {
        at_work += u64::from(killed(&bench, "restore backups copy", moment(kill, 40)));
        let verdict = bench.run("verify copy");
        match verdict.code {
            Some(0) => assert!(verdict.ok().ends_with(&format!("checksum {want}\n"))),
            _ => assert!(bench.run("count copy default").error().contains("copy"), "{verdict:?}"),
        }
        remove(&bench.path("copy"));
    }
    assert!(at_work > 0, "no restore was killed while it was at work");
    bench.run("restore backups copy").ok();
    assert_eq!(checksum(&bench, "copy"), want);
}

fn remove(folder: &Path) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("a folder of a test");
    }
}

/// The files of a database whose names begin so.
fn names(folder: &Path, kind: &str) -> Vec<std::path::PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    let mut names: Vec<_> = entries
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(kind)))
        .collect();
    names.sort();
    names
}

#[test]
fn a_repair_says_what_is_lost_and_leaves_a_whole_database_alone() {
    let bench = some_pairs();
    assert_eq!(bench.run("repair db").ok(), "whole: nothing was changed\n");
    for manifest in names(&bench.path("db"), "manifest-") {
        std::fs::remove_file(manifest).expect("a manifest");
    }
    let text = bench.run("repair db").ok();
    assert!(text.contains("want a manifest") && text.contains("\nrepaired: "), "{text}");
    bench.run("unload db again").ok();
    assert_eq!(bench.tree("again"), bench.tree("files"));
    let segment = &names(&bench.path("db"), "seg-")[0];
    let mut bytes = std::fs::read(segment).expect("a segment");
    bytes[9] ^= 1;
    std::fs::write(segment, bytes).expect("a segment");
    let run = bench.run("repair db");
    let text = String::from_utf8(run.out).expect("text");
    assert_eq!((run.code, run.err.as_str()), (Some(1), ""), "{text}");
    assert!(text.contains("\nmoved: lost/seg-") && text.starts_with("seg-"), "{text}");
    assert_eq!(bench.run("repair db").ok(), "whole: nothing was changed\n");
    assert!(bench.run("repair none").error().contains("none has no database"));
}

/// F-14: whatever the moment, the next repair finds all that one in one piece would have found.
#[test]
fn a_repair_killed_fifty_times_loses_nothing() {
    let bench = some_pairs();
    bench.run_with("put db default huge", &noise(9, 4 << 20)).ok();
    bench.run("backup db backups").ok();
    bench.run("unload db whole").ok();
    let mut at_work = 0;
    for kill in 0..KILLS {
        for manifest in names(&bench.path("db"), "manifest-") {
            std::fs::remove_file(manifest).expect("a manifest");
        }
        at_work += u64::from(killed(&bench, "repair db", moment(kill, 60)));
    }
    assert!(at_work > 0, "no repair was killed while it was at work");
    bench.run("repair db");
    assert!(bench.run("verify db").ok().starts_with("whole: "));
    bench.run("unload db again").ok();
    assert!(bench.tree("again") == bench.tree("whole"));
}
