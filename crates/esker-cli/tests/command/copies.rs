//! Copies of databases: made, refused, and equal.

use crate::bench::{Bench, noise};

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
