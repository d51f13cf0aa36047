//! audit on a whole database and on damaged ones.

use crate::bench::Bench;
use std::fs;

fn three_pairs() -> Bench {
    let bench = Bench::new();
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        bench.run(&format!("put db c {key} {value}")).ok();
    }
    bench
}

/// With `flush` there are segments, so that there is something to add up.
fn with_segments() -> Bench {
    let bench = Bench::new();
    let options = esker::Db::options().background_compaction(false).sync_interval(None);
    let db = options.open(bench.path("db")).expect("a database");
    let c = db.collection("c").expect("a collection");
    for round in ["one", "two"] {
        for key in ["a", "b", "c"] {
            c.insert(key, round).expect("a write");
        }
        db.flush().expect("a flush");
    }
    c.remove("b").expect("a write");
    db.compact().expect("a compaction");
    // Not closed: a clean close would write the chain anew, as one edit.
    std::mem::forget(db);
    bench
}

#[test]
fn audit_of_a_whole_database_says_so_and_adds_up_every_edit() {
    let bench = three_pairs();
    let text = bench.run("audit db").ok();
    assert!(text.starts_with("edit 1 at byte "), "{text}");
    assert!(text.contains(": whole\n"), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("holds: ")), "{text}");
    let json = bench.run("audit db --json").ok();
    let last = json.lines().last().expect("a line");
    let object: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(object["holds"], true, "{json}");
}

/// What stands in the text whatever numbers the files have: edits of segments, in order.
fn without_numbers(text: &str) -> String {
    let mut kept = String::new();
    for edit in text.split_inclusive("  ok\n").filter(|edit| !edit.contains(": numbers\n")) {
        for line in edit.lines() {
            let mut before = "";
            for word in line.split_inclusive(' ') {
                let bare = word.trim_end_matches([' ', ':']);
                let is_number = bare.len() < 20 && bare.parse::<u64>().is_ok();
                let is_file = bare.starts_with("seg-");
                if is_number && before != "level" || is_file {
                    kept.push_str(if is_file { "seg-N" } else { "N" });
                    kept.push_str(&word[bare.len()..]);
                } else {
                    kept.push_str(word);
                }
                before = bare;
            }
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn the_audit_of_a_small_database_is_this() {
    let bench = with_segments();
    let text = without_numbers(&bench.run("audit db").ok());
    assert_eq!(text, include_str!("audit.txt"), "{text}");
}

/// A flipped bit in a segment, and a figure of the chain that is not so.
#[test]
fn audit_of_a_damaged_database_names_what_does_not_hold_and_exits_with_1() {
    for (kind, from_end) in [("seg-", 0), ("manifest-", 30)] {
        let bench = with_segments();
        let file = bench.newest("db", kind);
        let mut bytes = fs::read(&file).expect("a file");
        let at = if from_end == 0 { 10 } else { bytes.len() / 2 };
        bytes[at] ^= 1;
        fs::write(&file, bytes).expect("a file");
        let run = bench.run("audit db");
        let text = String::from_utf8(run.out).expect("text");
        assert_eq!((run.code, run.err.as_str()), (Some(1), ""), "{text}");
        let name = file.file_name().expect("a name").to_string_lossy();
        assert!(text.lines().any(|line| line.starts_with(&*name)), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.starts_with("BROKEN: ")), "{text}");
        let run = bench.run("audit db --json");
        assert_eq!(run.code, Some(1));
        assert!(String::from_utf8(run.out).expect("text").contains("\"holds\":false"));
    }
    assert_eq!(Bench::new().run("audit .").code, Some(2));
}
