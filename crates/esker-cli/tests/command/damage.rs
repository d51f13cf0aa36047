//! verify and the verbs that look into single files, on whole, torn, damaged and foreign ones.

use crate::bench::{Bench, noise};
use std::fs;
use std::path::Path;

/// A database with at least one segment, by loading more than a generation holds.
fn loaded() -> Bench {
    let bench = Bench::new();
    let files: Vec<_> = (0..96).map(|i| (format!("{i:02}"), noise(i, 1 << 20))).collect();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name, bytes.as_slice())).collect();
    bench.plant("in", &files);
    bench.run("load db in").ok();
    bench
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("a file");
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn verify_of_a_whole_database_says_so() {
    let bench = loaded();
    let text = bench.run("verify db").ok();
    assert!(text.starts_with("whole: "), "{text}");
    let json = bench.run("verify db --json").ok();
    let object: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(object["whole"], true, "{json}");
    assert!(object["entries"].as_u64().is_some_and(|entries| entries > 0), "{json}");
}

/// F-33: verify names the damaged file and the offset.
#[test]
fn verify_of_a_damaged_segment_names_file_and_offset_and_exits_with_1() {
    let bench = loaded();
    let segment = bench.newest("db", "seg-");
    flip(&segment, 100);
    let run = bench.run("verify db");
    let text = String::from_utf8(run.out).expect("text");
    assert_eq!((run.code, run.err.as_str()), (Some(1), ""), "{text}");
    let name = name_of(&segment);
    assert!(text.starts_with(&name) && text.contains("at byte"), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("DAMAGED")), "{text}");

    let run = bench.run("verify db --json");
    assert_eq!(run.code, Some(1));
    let text = String::from_utf8(run.out).expect("text");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["file"], name.as_str(), "{text}");
    assert!(lines[0]["offset"].as_u64().is_some_and(|offset| offset <= 100), "{text}");
    assert_eq!(lines.last().expect("a summary")["whole"], false, "{text}");

    let run = bench.run_args(["segment".as_ref(), segment.as_os_str()]);
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains(&name), "{}", run.err);
}

/// F-16, F-37: what keeps a database from opening is damage that verify names, not a failure.
#[test]
fn verify_of_a_database_that_does_not_open_names_what_is_damaged() {
    for (kind, at) in [("manifest-", 20), ("log-", 40)] {
        let bench = Bench::new();
        for i in 0..5 {
            bench.run(&format!("put db c key-{i} {}", "v".repeat(50))).ok();
        }
        let file = bench.newest("db", kind);
        flip(&file, at);
        let run = bench.run("verify db");
        let text = String::from_utf8(run.out).expect("text");
        assert_eq!((run.code, run.err.as_str()), (Some(1), ""), "{kind}: {text}");
        assert!(text.contains(&name_of(&file)), "{kind}: {text}");
        let error = bench.run("get db c key-0").error();
        assert!(error.starts_with("esker: corruption: "), "{error}");
    }
    let bench = loaded();
    let segment = bench.newest("db", "seg-");
    fs::remove_file(&segment).unwrap();
    let run = bench.run("verify db");
    assert_eq!(run.code, Some(1));
    assert!(String::from_utf8_lossy(&run.out).contains(&name_of(&segment)));
}

#[test]
fn log_shows_every_entry_and_how_the_log_ends() {
    let bench = Bench::new();
    bench.run("put db c apple red").ok();
    let log = bench.newest("db", "log-");
    let shown = bench.run_args(["log".as_ref(), log.as_os_str()]).ok();
    let entry = shown.lines().find(|line| line.contains("\tapple\tred")).expect("the entry");
    assert!(entry.contains("\tput\t"), "{entry}");
    assert!(shown.contains("\tlog:origin\tthe first log of its database\n"), "{shown}");
    assert!(shown.lines().last().is_some_and(|line| line.starts_with("a log of Esker's: ")));
    let json = bench.run_args(["log".as_ref(), log.as_os_str(), "--json".as_ref()]).ok();
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let entry = lines.iter().find(|line| line["key"] == "apple").expect("the entry");
    assert_eq!((&entry["kind"], &entry["value"]), (&"put".into(), &"red".into()));
    assert_eq!(lines.last().expect("a summary")["native"], true);
}

/// SST-6: a log that the `sst` crate wrote, byte for byte.
#[test]
fn log_reads_a_log_of_the_sst_crate() {
    let bench = Bench::new();
    let bytes = b"\x09\x50\x14\x58\x01\x65\x6c\x6e\xc1\x4b\x42\x12\x08\x00\x12\x04key1\x18\x01\x22\x06value1";
    fs::write(bench.path("foreign"), bytes).unwrap();
    let shown = bench.run("log foreign").ok();
    let want =
        "0\t1\tput\t-\tkey1\tvalue1\na log of the sst crate: 1 entries in 1 frames, 30 bytes\n";
    assert_eq!(shown, want);
}

#[test]
fn a_damaged_log_is_shown_up_to_the_damage() {
    let bench = Bench::new();
    let frame = b"\x09\x50\x14\x58\x01\x65\x6c\x6e\xc1\x4b\x42\x12\x08\x00\x12\x04key1\x18\x01\x22\x06value1";
    let mut bytes = [&frame[..], &frame[..]].concat();
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(bench.path("foreign"), bytes).unwrap();
    let run = bench.run("log foreign");
    assert_eq!((run.code, run.out), (Some(2), b"0\t1\tput\t-\tkey1\tvalue1\n".to_vec()));
    assert!(run.err.contains("foreign at byte 30"), "{}", run.err);
}

#[test]
fn segment_shows_its_properties() {
    let bench = loaded();
    let segment = bench.newest("db", "seg-");
    let shown = bench.run_args(["segment".as_ref(), segment.as_os_str()]).ok();
    assert!(shown.lines().any(|line| line.starts_with("entries\t")), "{shown}");
    let json = bench.run_args(["segment".as_ref(), segment.as_os_str(), "--json".as_ref()]).ok();
    let object: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(object["entries"].as_u64().is_some_and(|entries| entries > 0), "{json}");
    assert!(object["setsum"].is_string(), "{json}");
}

#[test]
fn manifest_shows_its_lines() {
    let bench = Bench::new();
    bench.run("put db c k v").ok();
    let shown = bench.run("manifest db").ok();
    assert!(shown.contains("log"), "{shown}");
}
