//! Tools around the engine. `cargo xtask map` redraws the map in `ARCHITECTURE.md`; `cargo xtask
//! tour` does Esker's main job before your eyes, on files that you have:
//!
//! ```text
//! build   the command `esker`, in release mode
//! load    FOLDER (by default the Rust toolchain's own) into a fresh database
//! kill    the loader when it is half way; no warning, no clean-up (kill -9); or `--kills N` times
//! verify  what the killed process left
//! load    again: what is there is skipped, the rest is added
//! verify  again, with the whole balance
//! unload  into a second folder, and compare the two trees byte for byte
//! ```
//!
//! 1. Only the standard library and the toolchain's own programs are needed.
//! 2. Every figure printed was measured in the run that prints it.
//! 3. The tour writes below `target/tour` (or `--at DIR`) alone, and removes it in the end (`--keep`: not).

#![expect(
    clippy::disallowed_methods,
    reason = "a tool around the engine: it has files, a clock and child processes of its own"
)]

mod map;
mod tour;
mod tree;

use std::process::ExitCode;

const USAGE: &str =
    "usage: cargo xtask tour [FOLDER] [--at DIR] [--kills N] [--keep] | cargo xtask map";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let outcome = match args.next() {
        Some(verb) if verb == "tour" => tour::Tour::parse(args).and_then(tour::Tour::run),
        Some(verb) if verb == "map" => map::write(),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
