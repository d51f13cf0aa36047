//! Named snapshots: given, listed, forgotten, gone back to; and what was done, line by line.

use crate::bench::Bench;

#[test]
fn snapshots_are_named_listed_and_forgotten() {
    let bench = Bench::new();
    bench.run("put db c a 1").ok();
    assert_eq!(bench.run("snapshots db").ok(), "");
    assert_eq!(bench.run("snapshot db zebra").ok(), "");
    bench.run("put db c a 2").ok();
    bench.run("snapshot db ant").ok();
    let lines = bench.run("snapshots db").ok();
    let names: Vec<_> = lines.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(names, ["zebra", "ant"], "the oldest first");
    let error = bench.run("snapshot db ant").error();
    assert!(error.contains("snapshot \"ant\" exists"), "{error}");
    bench.run("snapshot db zebra --forget").ok();
    let json = bench.run("snapshots db --json").ok();
    assert!(json.starts_with("{\"name\":\"ant\",\"sequence\":"), "{json}");
    assert_eq!(json.lines().count(), 1);
    let error = bench.run("snapshot db zebra --forget").error();
    assert!(error.contains("snapshot \"zebra\" is not there"), "{error}");
    assert!(bench.run("snapshot nowhere a").error().contains("nowhere"));
}

/// What only a snapshot keeps is read through its name.
#[test]
fn reading_verbs_see_what_a_named_snapshot_sees() {
    let bench = Bench::new();
    bench.run("put db c a 1").ok();
    bench.run("put db c b 1").ok();
    bench.run("snapshot db then").ok();
    bench.run("put db c a 2").ok();
    bench.run("rm db c b").ok();
    assert_eq!(bench.run("get db c a --at then").ok(), "1");
    assert_eq!(bench.run("get db c b --at then").ok(), "1");
    assert_eq!(bench.run("get db c a").ok(), "2");
    assert_eq!(bench.run("scan db c --at then --reverse").ok(), "b\t1\na\t1\n");
    assert_eq!(bench.run("scan db c --at then --prefix a --keys").ok(), "a\n");
    assert_eq!(bench.run("count db c --at then").ok(), "2\n");
    assert_eq!(bench.run("count db c").ok(), "1\n");
    assert_eq!(bench.run("export db c --at then").ok().lines().count(), 2);
    let error = bench.run("scan db c --at never").error();
    assert!(error.contains("snapshot \"never\" in db"), "{error}");
}

#[test]
fn a_revert_brings_everything_back_and_says_how_much() {
    let bench = Bench::new();
    bench.run("put db c a 1").ok();
    bench.run("put db c b 1").ok();
    bench.run("snapshot db before").ok();
    bench.run("put db c a 2").ok();
    bench.run("rm db c b").ok();
    bench.run("put db another k v").ok();
    bench.run("snapshot db after").ok();
    // Two keys of c, one of another, and its record.
    assert_eq!(bench.run("revert db before").ok(), "4 keys written again or removed\n");
    assert_eq!(bench.run("scan db c").ok(), "a\t1\nb\t1\n");
    assert_eq!(bench.run("collections db").ok(), "c\n");
    assert_eq!(bench.run("revert db before").ok(), "0 keys written again or removed\n");
    bench.run("revert db after").ok();
    assert_eq!(bench.run("scan db c").ok(), "a\t2\n");
    assert_eq!(bench.run("scan db another").ok(), "k\tv\n");
    let error = bench.run("revert db never").error();
    assert!(error.contains("snapshot \"never\" is not there"), "{error}");
}

#[test]
fn what_was_committed_is_written_line_by_line() {
    let bench = Bench::new();
    bench.run("put db c a 1").ok();
    bench.run("put db c b 2").ok();
    bench.run("rm db c a").ok();
    bench.run("snapshot db one").ok();
    let lines = bench.run("watch db").ok();
    let actions: Vec<_> = lines.lines().map(|line| field(line, "action")).collect();
    assert_eq!(actions, ["\"named\"", "\"put\"", "\"put\"", "\"remove\"", "\"snapshot\""]);
    let put = lines.lines().nth(2).expect("a put");
    assert!(put.ends_with("\"path\":\"c\",\"key\":\"b\",\"value\":\"2\"}"), "{put}");
    let rest = bench.run(&format!("watch db --from {}", field(put, "batch"))).ok();
    assert_eq!(rest.lines().collect::<Vec<_>>(), lines.lines().skip(2).collect::<Vec<_>>());
    let ahead = bench.run("watch db --from 99999").ok();
    assert_eq!(ahead, "");
    bench.run("snapshot db one --forget").ok();
    let error = bench.run("watch db --from 1").error();
    assert!(error.contains("not held any more: want a number from"), "{error}");
    assert!(bench.run("watch nowhere").error().contains("nowhere"));
}

/// What a line of JSON has in a field.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!("\"{name}\":")).expect("the field");
    rest.split([',', '}']).next().unwrap_or_default()
}
