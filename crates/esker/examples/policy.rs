//! What the compaction policy costs: a table for six loads, from a simulation without I/O.
//!
//! `cargo run --release --example policy`

use esker::compaction::policy::Policy;
use esker::compaction::simulate::{Figures, Load, Simulation};

fn main() {
    let policies = [
        ("balanced", Policy::BALANCED),
        ("write-heavy", Policy::WRITE_HEAVY),
        ("read-heavy", Policy::READ_HEAVY),
    ];
    for (name, policy) in policies {
        println!("{name}");
        println!("| load | operations | write | read | space | largest step | files |");
        println!("|---|--:|--:|--:|--:|--:|--:|");
        for load in Load::ALL {
            // A flush of a thousand pairs to a million and a half: as 8 MiB to 12 GB.
            let policy = Policy { flush_bytes: 216 << 10, ..policy };
            let mut simulation = Simulation::new(policy, 7);
            let needs_keys = matches!(load, Load::Uniform | Load::Skewed);
            if needs_keys {
                simulation.run(Load::Scattered, 500_000);
            }
            for _ in 0..3 {
                simulation.run(load, 500_000);
                row(load, "", simulation.figures());
            }
            simulation.rest();
            row(load, ", at rest", simulation.figures());
        }
        println!();
    }
}

fn row(load: Load, when: &str, figures: Figures) {
    let Figures { operations, write, read, space, step_bytes, files } = figures;
    println!(
        "| {load:?}{when} | {operations} | {write:.2} | {read:.1} | {space:.2} | {} kB | {files} |",
        step_bytes >> 10
    );
}
