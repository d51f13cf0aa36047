//! Large values: loaded and unloaded in pieces, and what the verbs show of the files that have them.

use crate::bench::{Bench, noise};
use esker::{Compression, Db};
use std::fs;
use std::path::PathBuf;

const MIB: usize = 1 << 20;

/// A database with one log of large values that was taken over, in which one is dead, and one value
/// that was copied out of a log of small ones.
fn filled(bench: &Bench) -> Db {
    let options = Db::options().background_compaction(false).sync_interval(None);
    let db = options.open(bench.path("db")).expect("a database");
    let c = db.collection("c").expect("a collection");
    c.insert("large-0", noise(100, 5000)).expect("a write");
    for n in 0..5 {
        c.insert(format!("large-{n}"), noise(n, 5000)).expect("a write");
    }
    db.flush().expect("a flush");
    for n in 0..500 {
        c.insert(format!("small-{n}"), noise(n, 100)).expect("a write");
    }
    c.insert("large-7", noise(7, 3000)).expect("a write");
    c.remove("large-1").expect("a write");
    c.insert("large-3", "small now").expect("a write");
    db.flush().expect("a flush");
    db
}

fn with_blobs() -> Bench {
    let bench = Bench::new();
    filled(&bench).close().expect("closes");
    bench
}

/// The blob files of the database, oldest first.
fn blobs(bench: &Bench) -> Vec<PathBuf> {
    let files = fs::read_dir(bench.path("db")).expect("a database");
    let mut blobs: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    blobs.retain(|path| path.to_string_lossy().contains("/blob-"));
    blobs.sort();
    blobs
}

#[test]
fn files_of_any_size_go_in_and_come_out_the_same() {
    let bench = Bench::new();
    let at_limit = noise(1, 16 * MIB);
    let above = noise(2, 16 * MIB + 1);
    let mut far_above = noise(3, 40 * MIB);
    let files: [(&str, &[u8]); 5] =
        [("a", b"1"), ("b", &at_limit), ("c", &above), ("d/e", &far_above), ("f", b"")];
    bench.plant("in", &files);
    let summary = bench.run("load db in").ok();
    assert!(summary.starts_with("loaded 5 files, "), "{summary}");
    let summary = bench.run("load db in --sync").ok();
    assert!(summary.starts_with("loaded 0 files, 0 bytes"), "{summary}");
    assert!(summary.ends_with("; 5 files were there already\n"), "{summary}");
    // The same length, another last byte; and one that was cut off.
    *far_above.last_mut().expect("bytes") ^= 1;
    bench.plant("in", &[("d/e", &far_above[..]), ("c", &above[..17_000_000 - 1_000_000])]);
    let summary = bench.run("load db in").ok();
    assert!(summary.starts_with("loaded 2 files, "), "{summary}");
    assert_eq!(bench.run("count db default").ok(), "5\n");
    assert_eq!(bench.run("scan db default --keys --reverse").ok(), "f\nd/e\nc\nb\na\n");
    let value = bench.run("get db default d/e");
    assert!(value.code == Some(0) && value.out == far_above);
    bench.plant("out", &[("d/e", &noise(3, 40 * MIB)[..]), ("b", &at_limit[..])]);
    for _ in 0..2 {
        bench.run("unload db out").ok();
        assert!(bench.tree("in") == bench.tree("out"));
    }
}

#[test]
fn stats_and_verify_count_large_values() {
    let bench = with_blobs();
    let json = bench.run("stats db --json").ok();
    let stats: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&stats["blobs"], &stats["blob_values"]), (&2.into(), &6.into()), "{json}");
    assert_eq!(stats["blob_live_bytes"], 28_000, "{json}");
    assert!(bench.run("verify db").ok().starts_with("whole: "));
}

#[test]
fn blob_shows_a_log_that_was_taken_over_and_a_file_with_a_table() {
    let bench = with_blobs();
    let files = blobs(&bench);
    for (file, kind, values, bytes) in
        [(&files[0], "log", 6, 30_000), (&files[1], "table", 1, 3000)]
    {
        let shown = bench.run_args(["blob".as_ref(), file.as_os_str()]).ok();
        for line in [
            format!("kind\t{kind}"),
            format!("values\t{values}"),
            format!("stored_bytes\t{bytes}"),
            format!("dead_values\t{}", if kind == "log" { 1 } else { 0 }),
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
        }
        let args = ["blob".as_ref(), file.as_os_str(), "--values".as_ref(), "--json".as_ref()];
        let json = bench.run_args(args).ok();
        let mut lines: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let summary = lines.pop().expect("a summary");
        assert_eq!((&summary["kind"], &summary["values"]), (&kind.into(), &values.into()));
        assert_eq!(lines.len(), values);
        let held = fs::read(file).expect("a file");
        for value in &lines {
            let at = |name: &str| usize::try_from(value[name].as_u64().expect("a figure")).unwrap();
            let bytes = &held[at("offset")..at("offset") + at("stored")];
            let ours = (0..=100).find(|n| bytes == noise(*n, bytes.len())).expect("one of ours");
            assert!(value["codec"] == "raw" && value["dead"] == (ours == 100), "{value}");
        }
    }
}

/// What died is known from the manifest beside the file, and from nowhere else.
#[test]
fn blob_tells_what_is_dead_if_a_manifest_names_the_file() {
    let bench = with_blobs();
    let db = Db::options().background_compaction(false).open(bench.path("db")).expect("it opens");
    db.compact().expect("a compaction");
    db.close().expect("closes");
    let shown: String = blobs(&bench)
        .iter()
        .map(|file| bench.run_args(["blob".as_ref(), file.as_os_str(), "--values".as_ref()]).ok())
        .collect();
    assert_eq!(shown.lines().filter(|line| line.ends_with("\tlive")).count(), 4, "{shown}");
    let file = blobs(&bench).remove(0);
    for name in ["copy", "blob-000999"] {
        fs::copy(&file, bench.path(name)).expect("a copy");
        let run = bench.run(&format!("blob {name} --values"));
        if name == "copy" || run.code == Some(0) {
            let shown = run.ok();
            assert!(
                shown.contains("\nvalues\t") && shown.contains("\ndead_values\t-\n"),
                "{shown}"
            );
            assert!(shown.lines().any(|line| line.ends_with("\t-")), "{shown}");
        } else {
            // A file with a table says its own number.
            assert!(run.err.contains("blob-000999 at byte "), "{}", run.err);
        }
    }
}

/// F-33: what is whole is shown, then the error with file and offset.
#[test]
fn a_damaged_blob_file_is_named_with_the_offset() {
    let bench = with_blobs();
    for (n, file) in blobs(&bench).iter().enumerate() {
        let good = fs::read(file).expect("a file");
        let mut bad = good.clone();
        let at = if n == 0 { 24_000 } else { 1000 };
        bad[at] ^= 1;
        fs::write(file, &bad).expect("a file");
        let name = file.file_name().expect("a name").to_string_lossy();
        let run = bench.run_args(["blob".as_ref(), file.as_os_str(), "--values".as_ref()]);
        assert_eq!(run.code, Some(2));
        let is_named = run.err.contains(&*name) && run.err.contains(" at byte ");
        assert!(is_named || run.err.contains("log-"), "{}", run.err);
        let shown = String::from_utf8(run.out).expect("text");
        assert_eq!(shown.lines().count(), if n == 0 { 4 } else { 0 }, "{shown}");
        for verb in ["verify db", "audit db"] {
            let run = bench.run(verb);
            let text = String::from_utf8(run.out).expect("text");
            assert_eq!((run.code, run.err.as_str()), (Some(1), ""), "{text}");
            assert!(text.lines().any(|line| line.starts_with(&format!("{name}: "))), "{text}");
        }
        fs::write(file, &good).expect("a file");
    }
    for (bytes, want) in [(&b""[..], "eskerBLB"), (b"no such thing", "eskerBLB")] {
        fs::write(bench.path("other"), bytes).expect("a file");
        let error = bench.run("blob other").error();
        assert!(error.contains(want) && error.contains("other at byte "), "{error}");
    }
    assert!(bench.run("blob nothing").error().starts_with("esker: not found: "));
}

#[test]
fn audit_and_manifest_show_what_became_of_blob_files() {
    let bench = Bench::new();
    let db = filled(&bench);
    db.compact().expect("a compaction");
    // Not closed: a clean close would write the chain anew, as one edit.
    std::mem::forget(db);
    let text = bench.run("audit db").ok();
    assert!(text.contains("  out     blob-"), "{text}");
    assert!(text.contains("  died    2 values of 10000 bytes in blob-"), "{text}");
    let last = text.lines().last().expect("a line");
    assert!(last.starts_with("holds: ") && last.contains(" blob files of "), "{text}");
    let json = bench.run("audit db --json").ok();
    let edits: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let died = edits.iter().filter_map(|edit| edit["blobs_died"].as_array());
    assert!(died.flatten().any(|died| died["values"] == 2), "{json}");
    assert!(edits.last().expect("figures")["blobs"].as_u64() > Some(0), "{json}");
    let shown = bench.run("manifest db").ok();
    assert!(shown.contains("died     2 values of 10000 bytes in blob-"), "{shown}");
}

/// Standard input goes into the value piece by piece, and a value over the limit leaves nothing.
#[test]
fn a_large_value_comes_from_standard_input_in_pieces() {
    let bench = Bench::new();
    for len in [0, MIB - 1, MIB, MIB + 1, 3 * MIB + 7] {
        let value = noise(len as u64, len);
        bench.run_with("put db c key", &value).ok();
        assert!(bench.run("get db c key").out == value, "{len} bytes");
    }
    let key = "k".repeat(70_000);
    let error = bench.run_with(&format!("put db c {key}"), b"value").error();
    assert!(error.starts_with("esker: invalid argument: key of 70000 bytes"), "{error}");
    assert_eq!(bench.run("count db c").ok(), "1\n");
}

/// What is stored packed is shown as it was given, with how it is stored beside it.
#[test]
fn a_packed_value_is_shown_by_log_and_blob() {
    let bench = Bench::new();
    let options = Db::options().background_compaction(false).sync_interval(None);
    let options = options.blob_compression(Compression::Lz4);
    let db = options.open(bench.path("db")).expect("a database");
    let c = db.collection("c").expect("a collection");
    c.insert("packed", [b'e'; 5000]).expect("a write");
    c.insert("raw", noise(1, 5000)).expect("a write");
    db.close().expect("closes");
    let show = |verb: &[&str], kind: &str| -> Vec<serde_json::Value> {
        let file = bench.newest("db", kind);
        let args = verb.iter().map(AsRef::as_ref).chain([file.as_os_str()]);
        let json = bench.run_args(args.collect::<Vec<_>>()).ok();
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let shown = show(&["log", "--json"], "log-");
    let packed = shown.iter().find(|entry| entry["key"] == "packed").expect("the put");
    assert_eq!(packed["value"], "e".repeat(5000));
    assert!(packed["codec"] == "lz4" && packed["stored"].as_u64() < Some(100), "{packed}");
    assert!(shown.iter().all(|entry| entry["key"] == "packed" || entry["codec"].is_null()));

    let db = options.open(bench.path("db")).expect("it opens");
    db.flush().expect("a flush");
    db.close().expect("closes");
    let values = show(&["blob", "--json", "--values"], "blob-");
    let packed = &values[0];
    assert_eq!((&packed["codec"], &packed["length"]), (&"lz4".into(), &5000.into()));
    assert_eq!((&values[1]["codec"], &values[1]["stored"]), (&"raw".into(), &5000.into()));
    assert_eq!(bench.run("get db c packed").ok(), "e".repeat(5000));
}
