//! put, get, rm, scan, count, collections, stats: one pair at a time, and how they exit.

use crate::bench::{Bench, noise};
use std::fs;
use std::process::Stdio;

fn fruits() -> Bench {
    let bench = Bench::new();
    for (key, value) in [("apple", "1"), ("banana", "2"), ("blueberry", "3"), ("cherry", "4")] {
        bench.run(&format!("put db fruits {key} {value}")).ok();
    }
    bench
}

#[test]
fn what_was_put_is_got_raw_and_what_was_removed_is_absent() {
    let bench = Bench::new();
    assert_eq!(bench.run("put db c k hello").ok(), "");
    assert_eq!(bench.run("get db c k").ok(), "hello");
    assert_eq!(bench.run("rm db c k").ok(), "");
    let absent = bench.run("get db c k");
    assert_eq!((absent.code, absent.out, absent.err.as_str()), (Some(1), vec![], ""));
    assert_eq!(bench.run("rm db c k").ok(), "", "removing what is absent is fine");
    assert_eq!(bench.run("get db nowhere k").code, Some(1), "no collection, no key");
}

#[test]
fn a_value_comes_from_standard_input_byte_for_byte() {
    let bench = Bench::new();
    let value = noise(7, 300_000);
    bench.run_with("put db c k", &value).ok();
    let got = bench.run("get db c k");
    assert_eq!((got.code, got.out), (Some(0), value));
    bench.run_with("put db c empty", b"").ok();
    assert_eq!(bench.run("get db c empty").ok(), "", "empty is not absent");
}

#[cfg(unix)]
#[test]
fn keys_and_values_that_are_not_utf8_work_and_stand_as_base64_in_json() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    let raw = OsStr::from_bytes(b"\xff\x00".split_last().expect("two bytes").1);
    let args = [OsStr::new("put"), OsStr::new("db"), OsStr::new("c"), raw, raw];
    bench.run_args(args).ok();
    assert_eq!(bench.run_args([OsStr::new("get"), "db".as_ref(), "c".as_ref(), raw]).out, b"\xff");
    let json = "{\"key_base64\":\"/w==\",\"value_base64\":\"/w==\"}\n";
    assert_eq!(bench.run("scan db c --json").ok(), json);
    assert_eq!(bench.run("scan db c").ok(), "\\xff\t\\xff\n");
}

#[test]
fn scan_writes_a_range_in_order_both_ways() {
    let bench = fruits();
    let keys = |options: &str| bench.run(&format!("scan db fruits --keys {options}")).ok();
    assert_eq!(keys(""), "apple\nbanana\nblueberry\ncherry\n");
    assert_eq!(keys("--prefix b"), "banana\nblueberry\n");
    assert_eq!(keys("--from banana --to cherry"), "banana\nblueberry\n");
    assert_eq!(keys("--from bb"), "blueberry\ncherry\n");
    assert_eq!(keys("--to banana"), "apple\n");
    assert_eq!(keys("--from cherry --to apple"), "");
    assert_eq!(keys("--reverse --limit 2"), "cherry\nblueberry\n");
    assert_eq!(keys("--prefix b --reverse"), "blueberry\nbanana\n");
    assert_eq!(keys("--limit 0"), "");
    assert_eq!(bench.run("scan db fruits --limit 1").ok(), "apple\t1\n");
    let json = "{\"key\":\"apple\",\"value\":\"1\"}\n";
    assert_eq!(bench.run("scan db fruits --limit 1 --json").ok(), json);
    assert_eq!(bench.run("scan db fruits --limit 1 --json --keys").ok(), "{\"key\":\"apple\"}\n");
}

#[test]
fn count_counts_all_or_a_prefix() {
    let bench = fruits();
    assert_eq!(bench.run("count db fruits").ok(), "4\n");
    assert_eq!(bench.run("count db fruits --prefix b").ok(), "2\n");
    assert_eq!(bench.run("count db fruits --prefix x").ok(), "0\n");
}

#[test]
fn collections_are_listed_sorted() {
    let bench = Bench::new();
    for name in ["zebras", "ants", "default"] {
        bench.run(&format!("put db {name} k v")).ok();
    }
    assert_eq!(bench.run("collections db").ok(), "ants\ndefault\nzebras\n");
}

#[test]
fn what_is_set_for_a_collection_stands_behind_its_path() {
    let bench = Bench::new();
    bench.run("put db users/archive k v").ok();
    let db = esker::Db::open(bench.path("db")).expect("a database");
    let settings = esker::Settings::default().filter(12).compression(esker::Compression::Lz4);
    db.collection_with("logs", &settings).expect("a collection");
    db.close().expect("a clean end");
    let want = "logs  compression=lz4 filter=12\nusers\nusers/archive\n";
    assert_eq!(bench.run("collections db --settings").ok(), want);
    assert_eq!(bench.run("collections db").ok(), "logs\nusers\nusers/archive\n");
}

#[test]
fn stats_are_a_table_or_one_json_object() {
    let bench = fruits();
    assert!(bench.run("stats db").ok().contains("collections"));
    let json = bench.run("stats db --json").ok();
    let object: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(object["collections"], 1, "{json}");
    assert_eq!(json.lines().count(), 1);
}

#[test]
fn errors_are_one_line_and_exit_with_2() {
    let bench = fruits();
    bench.plant("photos", &[("cat.jpg", &b"meow"[..])]);
    for (line, what) in [
        ("get nowhere c k", "nowhere"),
        ("rm nowhere c k", "nowhere"),
        ("scan db nothing", "collection \"nothing\" in db"),
        ("count db nothing", "collection \"nothing\" in db"),
        ("unload db out", "collection \"default\" in db"),
        ("load db2 nowhere", "list nowhere"),
        ("put photos c k v", "not a database"),
        ("log nowhere", "nowhere"),
        ("segment photos/cat.jpg", "cat.jpg"),
        ("manifest photos", "photos"),
        ("put db a/../\u{7} k v", "invalid argument"),
        ("frobnicate db", "unrecognized subcommand"),
        ("get db c", "<KEY>"),
        ("scan db c --prefix a --from b", "--from"),
        ("scan db c --limit many", "--limit"),
        ("", "no verb is given"),
    ] {
        let error = bench.run(line).error();
        assert!(error.contains(what), "{line}: {error}");
    }
    assert_eq!(bench.tree("photos").len(), 1, "a folder that is no database stays as it is");
    assert!(!bench.path("nowhere").exists());
    assert!(!bench.path("db2").exists(), "a load of nothing creates nothing");
}

#[test]
fn help_and_version_are_no_errors() {
    let bench = Bench::new();
    assert!(bench.run("--help").ok().contains("verify"));
    assert!(bench.run("load --help").ok().contains("--sync"));
    assert!(bench.run("--version").ok().starts_with("esker "));
}

#[test]
fn verbs_that_read_change_no_byte() {
    let bench = fruits();
    let before = bench.tree("db");
    for line in [
        "get db fruits apple",
        "get db fruits x",
        "scan db fruits",
        "count db fruits",
        "collections db",
        "stats db",
        "verify db",
        "manifest db",
        "unload db out --collection fruits",
    ] {
        bench.run(line);
        assert!(bench.tree("db") == before, "{line} changed the database");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let bench = Bench::new();
    let files: Vec<_> = (0..3000).map(|i| (format!("{i:04}"), noise(i, 100))).collect();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name, bytes.as_slice())).collect();
    bench.plant("in", &files);
    bench.run("load db in").ok();
    let mut command = bench.command(["scan", "db", "default"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

/// F-42: a second process gets a clear error, and whatever holds the lock is not disturbed.
#[test]
fn a_second_process_is_told_that_the_database_is_busy() {
    let bench = fruits();
    let db = esker::Db::open(bench.path("db")).expect("the test opens it");
    fs::create_dir(bench.path("in")).expect("a folder");
    for line in ["put db fruits k v", "get db fruits apple", "verify db", "load db in"] {
        let error = bench.run(line).error();
        assert!(error.starts_with("esker: busy: db is open in another process"), "{error}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }
    let fruits = db.collection("fruits").expect("still open");
    fruits.insert("elderberry", "6").expect("still writable");
    db.close().expect("closes");
    assert_eq!(bench.run("get db fruits elderberry").ok(), "6");
}

/// HEST-24: export, import, compare; and the moment a line turns bad.
#[test]
fn what_was_exported_is_imported_and_a_bad_line_is_named() {
    let bench = Bench::new();
    bench.run_with("put db c a", b"1\n2").ok();
    bench.run_with("put db c b", &[0xff, 0]).ok();
    let lines = bench.run("export db c").ok();
    assert_eq!(
        lines,
        "{\"key\":\"a\",\"value\":\"1\\n2\"}\n{\"key\":\"b\",\"value_base64\":\"/wA=\"}\n"
    );
    assert_eq!(bench.run("scan db c --json").ok(), lines);
    assert_eq!(bench.run_with("import other d", lines.as_bytes()).ok(), "imported 2 pairs\n");
    assert_eq!(bench.run("export other d").ok(), lines);
    let bad = format!("{}nothing\n", lines.replace("\"a\"", "\"c\""));
    let error = bench.run_with("import other d", bad.as_bytes()).error();
    assert!(error.contains("line 3: want a pair"), "{error}");
    assert_eq!(bench.run("count other d").ok(), "3\n");
    assert!(bench.run("export db none").error().contains("not found: collection"));
}
