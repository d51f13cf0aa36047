//! load and unload: a folder in, the same folder out.

use crate::bench::{Bench, noise};
use std::fs;
use std::path::Path;

fn planted() -> Bench {
    let bench = Bench::new();
    let large = noise(1, 3 << 20);
    let files: [(&str, &[u8]); 7] = [
        ("a", b"1"),
        ("a.b", b"beside a folder's name"),
        ("dir/a", b""),
        ("dir/deep/er/file", b"deep"),
        ("dir-e", b"sorts between dir and dir/a"),
        ("with space and ü", b"2"),
        ("large", &large),
    ];
    bench.plant("in", &files);
    bench
}

#[test]
fn a_folder_loaded_and_unloaded_is_the_same() {
    let bench = planted();
    let summary = bench.run("load db in").ok();
    assert!(summary.starts_with("loaded 7 files, 3145783 bytes (3.0 MiB) in "), "{summary}");
    assert_eq!(summary.lines().count(), 1, "no progress bar in a pipe");
    assert_eq!(bench.run("count db default").ok(), "7\n");
    assert_eq!(bench.run("get db default dir/deep/er/file").ok(), "deep");
    let summary = bench.run("unload db out").ok();
    assert!(summary.starts_with("unloaded 7 files, 3145783 bytes (3.0 MiB) in "), "{summary}");
    assert!(bench.tree("in") == bench.tree("out"));
    assert!(bench.run("verify db").ok().starts_with("whole: "));
}

#[test]
fn folders_go_into_collections_of_their_own() {
    let bench = planted();
    bench.plant("other", &[("a", &b"another"[..])]);
    bench.run("load db in --collection first --sync").ok();
    bench.run("load db other --collection second").ok();
    assert_eq!(bench.run("collections db").ok(), "first\nsecond\n");
    bench.run("unload db out --collection first").ok();
    bench.run("unload db out2 --collection second").ok();
    assert!(bench.tree("in") == bench.tree("out"));
    assert!(bench.tree("other") == bench.tree("out2"));
}

#[test]
fn a_second_load_skips_what_is_there_and_stores_what_changed() {
    let bench = planted();
    bench.run("load db in").ok();
    bench.plant("in", &[("a", &b"changed"[..]), ("new", &b"new"[..])]);
    let summary = bench.run("load db in").ok();
    assert!(summary.starts_with("loaded 2 files, 10 bytes"), "{summary}");
    assert!(summary.ends_with("; 6 files were there already\n"), "{summary}");
    bench.run("unload db out").ok();
    assert!(bench.tree("in") == bench.tree("out"));
}

#[test]
fn an_unload_replaces_what_differs_and_leaves_the_rest() {
    let bench = planted();
    bench.run("load db in").ok();
    bench.plant("out", &[("a", &b"old"[..]), ("mine", &b"mine"[..])]);
    bench.run("unload db out").ok();
    assert_eq!(fs::read(bench.path("out/a")).unwrap(), b"1");
    assert_eq!(fs::read(bench.path("out/mine")).unwrap(), b"mine");
}

#[test]
fn an_empty_folder_loads_as_an_empty_collection() {
    let bench = Bench::new();
    fs::create_dir(bench.path("in")).unwrap();
    assert!(bench.run("load db in").ok().starts_with("loaded 0 files, 0 bytes (0 B) in "));
    assert_eq!(bench.run("count db default").ok(), "0\n");
    bench.run("unload db out").ok();
    assert!(bench.tree("out").is_empty());
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_are_kept() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    let name = Path::new(OsStr::from_bytes(b"dir/\xff\xfe\n"));
    bench.plant("in", &[(name, &b"odd"[..])]);
    bench.run("load db in").ok();
    assert_eq!(bench.run("scan db default --keys").ok(), "dir/\\xff\\xfe\\n\n");
    assert_eq!(
        bench.run("scan db default --keys --json").ok(),
        "{\"key_base64\":\"ZGlyL//+Cg==\"}\n"
    );
    bench.run("unload db out").ok();
    assert!(bench.tree("in") == bench.tree("out"));
}

/// F-41: links are neither followed nor stored, and the summary says so.
#[cfg(unix)]
#[test]
fn links_are_skipped_and_counted() {
    use std::os::unix::fs::symlink;
    let bench = planted();
    symlink("/etc", bench.path("in/link-to-folder")).unwrap();
    symlink("a", bench.path("in/link-to-file")).unwrap();
    symlink("nowhere", bench.path("in/dangling")).unwrap();
    let summary = bench.run("load db in").ok();
    assert!(summary.starts_with("loaded 7 files"), "{summary}");
    assert!(summary.ends_with("; 3 links and special files skipped\n"), "{summary}");
}

/// F-41: an unload writes nothing through a link.
#[cfg(unix)]
#[test]
fn an_unload_follows_no_link() {
    use std::os::unix::fs::symlink;
    let bench = planted();
    bench.run("load db in").ok();
    for (link, name) in [("dir", "something that is no folder"), ("a", "something that is no file")]
    {
        let target = bench.path("target");
        fs::create_dir_all(&target).unwrap();
        fs::create_dir_all(bench.path("out")).unwrap();
        symlink(&target, bench.path("out").join(link)).unwrap();
        let error = bench.run("unload db out").error();
        assert!(error.contains(name), "{error}");
        assert!(bench.tree("target").is_empty());
        fs::remove_dir_all(bench.path("out")).unwrap();
    }
}

#[test]
fn keys_that_would_leave_the_folder_refuse_the_whole_unload() {
    for key in ["../escaped", "/escaped", "a//b", "dir/..", "."] {
        let bench = Bench::new();
        bench.run("put db default fine 1").ok();
        bench.run(&format!("put db default {key} 2")).ok();
        let error = bench.run("unload db out").error();
        assert!(error.contains(key) && error.contains("names no file"), "{error}");
        assert!(!bench.path("out").exists() && !bench.path("escaped").exists());
    }
}

#[test]
fn a_database_in_its_own_input_and_an_output_in_its_database_are_refused() {
    let bench = planted();
    let error = bench.run("load in/db in").error();
    assert!(error.contains("lies in the folder to load"), "{error}");
    assert!(!bench.path("in/db").exists());
    bench.run("load db in").ok();
    let error = bench.run("unload db db/out").error();
    assert!(error.contains("lies in the database"), "{error}");
    assert!(!bench.path("db/out").exists());
}
