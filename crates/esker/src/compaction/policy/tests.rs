//! Shapes and the steps that they call for, one a line.
//!
//! A shape is runs, newest first, as `level.number file…`; a file is `smallest-largest:bytes` with
//! marks behind it: `b` busy, `w` some waste, `f` a few that have expired, `m` most, `a` all waste, `d` as many deletes as a tenth of its
//! bytes, `>x` reaches to x. Files are numbered from 1 in the order of writing.

use super::*;

const POLICY: Policy =
    Policy { fan_in: 3, young_percent: 50, flush_bytes: 100, at_rest: false, overwrites: 50 };
const AT_REST: Policy = Policy { at_rest: true, fan_in: 6, ..POLICY };

/// Owns the bytes that a shape borrows.
#[derive(Debug)]
struct Drawn<'a> {
    runs: Vec<Run<'a>>,
}

fn drawn(text: &str) -> Drawn<'_> {
    let mut next = 1;
    let mut runs = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let (level, number) = words.next().unwrap().split_once('.').unwrap();
        let files = words.map(|word| {
            let (keys, rest) = word.split_once(':').unwrap();
            let (smallest, largest) = keys.split_once('-').unwrap();
            let (rest, reach) = rest.split_once('>').unwrap_or((rest, largest));
            let digits = rest.trim_end_matches(|c: char| c.is_alphabetic());
            let marks = &rest[digits.len()..];
            let bytes: u64 = digits.parse().unwrap();
            next += 1;
            File {
                blob_bytes: 0,
                id: FileId(next - 1),
                bytes,
                entries: bytes / 10,
                deletes: if marks.contains('d') { bytes / 10 } else { 0 },
                smallest: smallest.as_bytes(),
                largest: largest.as_bytes(),
                reach: reach.as_bytes(),
                has_ranges: reach != largest,
                busy: marks.contains('b'),
                waste: match marks {
                    _ if marks.contains('a') => Waste::All,
                    _ if marks.contains('w') => Waste::Some,
                    _ if marks.contains('f') => Waste::Few,
                    _ if marks.contains('m') => Waste::Most,
                    _ => Waste::None,
                },
            }
        });
        let files = files.collect();
        runs.push(Run { level: level.parse().unwrap(), number: number.parse().unwrap(), files });
    }
    Drawn { runs }
}

/// `action inputs → level.run`, or nothing.
fn told(step: Option<Step>) -> String {
    step.map_or_else(String::new, |step| {
        let inputs: Vec<String> = step.inputs.iter().map(|id| id.0.to_string()).collect();
        let run = step.run.map_or("new".to_owned(), |run| run.to_string());
        let action = format!("{:?}", step.action).to_lowercase();
        format!("{action} {} → {}.{run}", inputs.join(" "), step.level)
    })
}

fn check(policy: &Policy, table: &[(&str, &str)]) {
    for (text, want) in table {
        let shape = Shape { runs: drawn(text).runs, claims: Vec::new() };
        assert_eq!(told(choose(&shape, policy)), *want, "{text}");
    }
}

#[test]
fn under_load_runs_gather_until_there_are_enough_or_they_weigh_enough() {
    check(
        &POLICY,
        &[
            ("", ""),
            ("0.3 a-z:90\n0.2 a-z:90\n6.1 a-z:900", ""),
            ("0.4 a-z:90\n0.3 a-z:90\n0.2 a-z:90\n6.1 a-z:900", "merge 1 2 3 4 → 6.1"),
            // Into what is there: all that it meets, and nothing else.
            ("0.4 a-m:100\n0.3 a-m:100\n0.2 a-m:100\n6.1 a-k:150 n-z:150", "merge 1 2 3 4 → 6.1"),
            ("0.4 a-m:100\n0.3 n-z:100\n6.1 a-k:900 n-z:900", ""),
        ],
    );
}

#[test]
fn large_trees_use_a_level_between_and_go_down_piece_by_piece() {
    let large = "6.1 a-f:3000 g-m:3000 n-z:3000";
    let young = format!("0.9 a-z:100\n0.8 a-z:100\n0.7 a-z:100\n{large}");
    check(&POLICY, &[(&young, "merge 1 2 3 → 4.new")]);
    // A run that is in the way of nothing takes the output; else there is a new one above it.
    let joins = format!("0.9 a-f:100\n0.8 a-f:100\n0.7 a-f:100\n4.5 g-k:300\n{large}");
    check(&POLICY, &[(&joins, "merge 1 2 3 → 4.5")]);
    let above = format!("0.9 a-f:100\n0.8 a-f:100\n0.7 a-f:100\n4.5 e-k:300\n{large}");
    check(&POLICY, &[(&above, "merge 1 2 3 → 4.new")]);
    // Half of what lies beneath, or three runs over one place.
    let heavy = format!("5.5 a-e:300 h-k:1600\n{large}");
    check(&POLICY, &[(&heavy, "merge 2 4 → 6.1")]);
    let many = format!("5.7 a-e:30\n5.6 b-f:30\n5.5 c-d:30 h-k:900\n{large}");
    check(&POLICY, &[(&many, "merge 1 2 3 5 → 6.1")]);
}

#[test]
fn what_lies_in_the_way_goes_along_or_is_waited_for() {
    // The files of one level that overlap one another are one place, however long the chain.
    let chain = "5.9 a-d:40\n5.8 c-h:40\n5.7 g-m:40\n6.1 a-b:1 k-p:1 q-z:4000";
    check(&POLICY, &[(chain, "merge 1 2 3 4 5 → 6.1")]);
    for busy in ["5.9 a-d:40b\n5.8 c-h:40\n5.7 g-m:40", "5.9 a-d:40\n5.8 c-h:40\n5.7 g-m:40b"] {
        check(&POLICY, &[(&format!("{busy}\n6.1 a-b:1 k-p:1 q-z:4000"), "")]);
    }
    let busy_below = "5.9 a-d:4000\n6.1 a-b:1b q-z:4000";
    check(&POLICY, &[(busy_below, "")]);
}

/// What has expired is freed under load, too, when it is half of a file; less only where all is to go.
#[test]
fn half_of_a_file_that_has_expired_is_due_at_any_time() {
    let text = "0.2 a-z:9\n6.1 a-b:900f c-d:900m e-f:900w g-h:900m";
    check(&POLICY, &[(text, "merge 3 → 6.1")]);
    let busy = "0.2 a-z:9\n6.1 a-b:900f c-d:900mb e-f:900w g-h:900";
    check(&POLICY, &[(busy, "")]);
    let first = "0.4 a-z:90\n0.3 a-z:90\n0.2 a-z:90\n6.1 a-z:900m";
    check(&POLICY, &[(first, "merge 1 2 3 4 → 6.1")]);
    let at_rest = "6.1 a-b:900f c-d:900w";
    check(&AT_REST, &[(at_rest, "merge 2 → 6.1"), ("6.1 a-b:900f", "")]);
    let runs = drawn("6.1 a-b:900f c-d:900").runs;
    let all = choose_all(&Shape { runs, claims: Vec::new() }, &POLICY);
    assert_eq!(told(all), "merge 1 → 6.1");
}

#[test]
fn two_steps_never_write_to_the_same_place() {
    let text = "0.9 a-c:100\n0.8 a-c:100\n0.7 a-c:100\n6.1 b-b:10 d-e:10";
    let keys = [("a", "b", ""), ("e", "f", "merge 1 2 3 4 → 6.1"), ("0", "z", "")];
    for (smallest, largest, want) in keys {
        let (smallest, largest) = (smallest.as_bytes(), largest.as_bytes());
        let claims = vec![Claim { level: LAST, run: u64::MAX, smallest, largest }];
        let shape = Shape { runs: drawn(text).runs, claims };
        assert_eq!(told(choose(&shape, &POLICY)), want);
    }
}

#[test]
fn what_meets_nothing_below_moves_unread_and_what_is_covered_goes_unread() {
    check(
        &POLICY,
        &[
            ("0.2 n-z:100\n6.1 a-m:100", "move 1 → 6.1"),
            ("0.2 a-z:100", "move 1 → 6.new"),
            // The older one first: the newer lies over it.
            ("0.3 a-k:100\n0.2 k-z:100", "move 2 → 6.new"),
            // Too small to be a file of its own; tombstones, which would stay for good; a range
            // delete.
            ("0.2 n-z:10\n6.1 a-m:100", ""),
            ("0.2 n-z:100d\n6.1 a-m:100", ""),
            ("0.2 n-p:100>z\n6.1 a-m:100", ""),
            ("0.2 a-m:100\n5.3 a-c:9a\n6.1 a-m:300a", "drop 2 3 → 6.new"),
            ("0.2 n-z:10\n5.3 a-c:9ab", ""),
        ],
    );
}

#[test]
fn tombstones_count_for_what_they_free() {
    // 25 tombstones free as many pairs of 10 bytes: with their own, half of what is there.
    check(
        &POLICY,
        &[("5.2 a-m:250d\n6.1 a-m:1000", "merge 1 2 → 6.1"), ("5.2 a-m:250\n6.1 a-m:1000", "")],
    );
}

#[test]
fn at_rest_little_is_left_above_the_last_level_and_few_runs() {
    check(
        &AT_REST,
        &[
            ("0.2 a-z:9\n6.1 a-z:100", ""),
            ("0.2 a-z:10\n6.1 a-z:100", "merge 1 2 → 6.1"),
            // Small files of sorted loads join their neighbour.
            ("0.2 n-z:10\n6.1 a-m:40", "merge 1 2 → 6.1"),
            ("0.2 n-z:20\n6.1 a-m:100", "merge 1 → 6.1"),
            // Too little to go down: three such runs become one.
            ("5.4 a-z:3\n5.3 a-z:3\n6.1 a-z:1000", ""),
            ("5.4 a-z:3\n5.3 a-z:3\n5.2 a-z:3\n6.1 a-z:1000", "merge 1 2 3 → 5.4"),
            ("0.4 a-z:3\n0.3 a-z:3\n0.2 a-z:3\n6.1 a-z:1000", "merge 1 2 3 → 5.new"),
            ("6.1 a-m:100w n-z:100", "merge 1 → 6.1"),
            // A range delete goes down to where it frees something.
            ("0.2 b-b:1>d\n6.1 a-c:400 d-z:400", "merge 1 2 3 → 6.1"),
            // What lies above it may be too little to come down ever: nothing waits for it.
            ("0.2 c-d:1\n6.1 a-m:100w", "merge 2 → 6.1"),
        ],
    );
    check(&POLICY, &[("6.1 a-m:100w n-z:100", "")]);
}

#[test]
fn a_range_delete_takes_along_what_it_covers_beyond_its_file() {
    let end = "5.2 a-c:300>p\n6.1 a-d:100 n-q:100 r-z:100";
    check(&POLICY, &[(end, "merge 1 2 3 → 6.1")]);
    let waste = "6.1 a-d:100w>p n-q:100 r-z:100";
    check(&AT_REST, &[(waste, "merge 1 2 → 6.1")]);
    // More than a few: it stays until they are dropped.
    let many: String = (b'd'..b'o').map(|c| format!(" {0}a-{0}z:100", char::from(c))).collect();
    check(&POLICY, &[(&format!("5.2 a-c:300>p\n6.1 a-c:100{many}"), "merge 1 2 → 6.1")]);
    check(&AT_REST, &[(&format!("6.1 a-c:100w>p{many}"), "")]);
}

/// Invariant 4, for shapes that random steps made; and every step is one that law 3 allows.
#[test]
fn a_tree_without_input_comes_to_rest() {
    use crate::compaction::simulate::{Load, Simulation};
    for (seed, load) in (1..).zip(Load::ALL) {
        let mut simulation = Simulation::new(Policy { flush_bytes: 5_000, ..POLICY }, seed);
        simulation.run(Load::Scattered, 300);
        for _ in 0..3 {
            simulation.run(load, 700);
            // Comes back, and loses no key: `figures` looks.
            simulation.rest();
            let figures = simulation.figures();
            assert!(figures.space < 1.15, "{load:?}: {figures:?}");
        }
    }
}

/// The figures that `README.md` shows and [`Policy::BALANCED`] is chosen for.
#[test]
fn the_balanced_policy_writes_six_bytes_for_each_byte_of_scattered_keys() {
    use crate::compaction::simulate::{Load, Simulation};
    let policy = Policy { flush_bytes: 216 * 60, ..Policy::BALANCED };
    let mut simulation = Simulation::new(policy, 7);
    simulation.run(Load::Scattered, 42_000);
    simulation.rest();
    let figures = simulation.figures();
    assert!(figures.write <= 6.5, "{figures:?}");
    assert!(figures.space <= 1.01 && figures.read <= 4.0, "{figures:?}");
}
