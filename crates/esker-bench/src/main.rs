//! `esker-bench`: workloads on Esker and its peers, side by side.
//!
//! parent   rounds → one child an engine → rows → medians → table or JSON     (`parent`, `report`)
//! child    engine ← stage ← workload → times, costs → rows as JSON lines     (`workloads`, `meter`)
//!
//! The rules that make the table fair are in this crate's README.md; each is kept in one place.

mod cli;
mod client;
mod data;
mod engine;
mod engines;
mod job;
mod meter;
mod parent;
mod report;
mod sample;
mod workloads;

use anyhow::Result;
use clap::Parser;
use cli::{Child, Cli};
use job::Job;
use std::process::ExitCode;

/// Meets the engine that the parent named.
struct Runner(Job);

impl engines::Visit for Runner {
    fn visit<E: engine::Engine>(self) -> Result<()> {
        workloads::run::<E>(&self.0)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.child {
        Some(Child::Run { engine, job }) => serde_json::from_str(job)
            .map_err(anyhow::Error::from)
            .and_then(|job| engines::with_engine(engine, Runner(job))),
        None => parent::run(&cli.plan),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("esker-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}
