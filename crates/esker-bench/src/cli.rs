//! The command line.

use crate::data::VALUE_BYTES_MIN;
use crate::engines;
use crate::workloads::{BIG, Workload};
use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs workloads on Esker and its peers side by side, each in a process of its own.
#[derive(Debug, Parser)]
#[command(name = "esker-bench", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// What the parent runs itself with.
    #[command(subcommand)]
    pub child: Option<Child>,
    /// What to run.
    #[command(flatten)]
    pub plan: Plan,
}

/// What only the parent says.
#[derive(Debug, Subcommand)]
pub(crate) enum Child {
    /// Runs one engine, as a job given as JSON says.
    #[command(hide = true)]
    Run {
        /// The engine.
        engine: String,
        /// The job.
        job: String,
    },
}

/// What a user says.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Engines, in the order of the table; without it, all of this build.
    #[arg(long, value_delimiter = ',', default_values_t = engines::NAMES.iter().map(|n| n.to_string()))]
    pub engines: Vec<String>,
    /// Workloads, in order; one may come twice. Without it, all.
    #[arg(long, value_delimiter = ',', value_enum)]
    workloads: Vec<Workload>,
    /// The long run: 50 million pairs, 64 MiB, one round; fill, read, overwrite a tenth, read again.
    /// Each of these can still be said otherwise.
    #[arg(long)]
    big: bool,
    /// Pairs that a filling workload inserts.
    #[arg(long, default_value_t = 1_000_000, default_value_if("big", "true", "50000000"))]
    pub n: u64,
    /// Operations of the workloads that read or update [default: as --n, at most a million].
    #[arg(long)]
    pub ops: Option<u64>,
    /// Bytes of a value; from 4096 on, stored apart from its key where the engine can.
    #[arg(long, default_value_t = 200)]
    pub value: usize,
    /// Threads of the buffered workloads.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Rounds; every engine runs once in each, and medians are shown.
    #[arg(long, default_value_t = 3, default_value_if("big", "true", "1"))]
    pub rounds: usize,
    /// Cache of a peer, and all the memory that Esker may own, in MiB.
    #[arg(long, default_value_t = 256, default_value_if("big", "true", "64"))]
    pub cache_mib: u64,
    /// Pairs that each seek reads.
    #[arg(long, default_value_t = 10)]
    pub seek_pairs: usize,
    /// Seconds that each durable workload runs, and the most that a scan of tombstones does.
    #[arg(long, default_value_t = 5.0)]
    pub sync_seconds: f64,
    /// Where every choice of key begins.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for the databases, which are removed afterwards: on the disk to be measured.
    #[arg(long, default_value = "esker-bench.tmp")]
    pub dir: PathBuf,
    /// Prints one JSON object a line: every row of every round, then the medians.
    #[arg(long)]
    pub json: bool,
}

impl Plan {
    /// What to run, in order.
    pub(crate) fn workloads(&self) -> &[Workload] {
        match (self.workloads.as_slice(), self.big) {
            ([], true) => BIG,
            ([], false) => Workload::value_variants(),
            (named, _) => named,
        }
    }

    /// Operations of the workloads that read or update.
    pub(crate) fn operations(&self) -> u64 {
        self.ops.unwrap_or(self.n.min(1_000_000))
    }

    /// Refuses what cannot be run, before anything is.
    pub(crate) fn check(&self) -> Result<()> {
        for engine in &self.engines {
            let known = engines::NAMES.contains(&engine.as_str());
            ensure!(
                known,
                "no engine {engine} in this build: it has {}",
                engines::NAMES.join(", ")
            );
        }
        ensure!(!self.engines.is_empty(), "no engine to run: build with some as features");
        ensure!(self.value >= VALUE_BYTES_MIN, "--value must be at least {VALUE_BYTES_MIN}");
        ensure!((2..=1 << 40).contains(&self.n), "--n must be 2 to 2^40");
        ensure!(self.operations() > 0, "--ops must be at least 1");
        ensure!((1..=256).contains(&self.threads), "--threads must be 1 to 256");
        ensure!(self.rounds > 0, "--rounds must be at least 1");
        ensure!(self.seek_pairs > 0, "--seek-pairs must be at least 1");
        ensure!(self.cache_mib > 0, "--cache-mib must be at least 1");
        ensure!(self.sync_seconds > 0.0, "--sync-seconds must be above 0");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_run_changes_what_was_not_said_and_nothing_changes_without_it() {
        let plan = |words: &[&str]| {
            let words = ["esker-bench"].iter().chain(words);
            Cli::try_parse_from(words).expect("a command line").plan
        };
        let (usual, big, small) = (plan(&[]), plan(&["--big"]), plan(&["--big", "--n", "500"]));
        assert_eq!((usual.n, usual.rounds, usual.cache_mib), (1_000_000, 3, 256));
        assert_eq!((big.n, big.rounds, big.cache_mib), (50_000_000, 1, 64));
        assert_eq!((small.n, small.rounds, small.cache_mib), (500, 1, 64));
        assert_eq!(
            (usual.workloads().len(), big.workloads()),
            (Workload::value_variants().len(), BIG)
        );
    }
}
