//! The parent: rounds of children, one engine at a time, so that all meet the same machine.
//!
//! 1. Engines take turns within a round, and each round begins with another one.
//! 2. Before a child starts, what the last one left is removed and the disk has caught up.
//! 3. A child that fails costs its engine the rest of the round, and nobody else anything.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts processes and removes folders")]

use crate::cli::Plan;
use crate::job::{Event, Job, Row};
use crate::report::{self, Harness};
use crate::sample::Sampler;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the plan and prints what came of it.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    plan.check()?;
    fs::create_dir_all(&plan.dir).with_context(|| format!("make {}", plan.dir.display()))?;
    let bar = progress_bar(plan);
    let mut runs = Runs { plan, bar: &bar, rows: Vec::new(), harness: Harness::default() };
    let mut failures = Vec::new();
    for round in 1..=plan.rounds {
        for turn in 0..plan.engines.len() {
            let engine = &plan.engines[(turn + round - 1) % plan.engines.len()];
            if let Err(error) = runs.child(engine, round) {
                failures.push(format!("{engine}, round {round}: {error:#}"));
            }
            bar.set_position(((round - 1) * plan.engines.len() + turn + 1) as u64 * steps(plan));
        }
    }
    bar.finish_and_clear();
    fs::remove_dir(&plan.dir).or_else(|error| match error.kind() {
        std::io::ErrorKind::DirectoryNotEmpty => Ok(()), // somebody else's files
        _ => Err(error),
    })?;
    report::print(plan, &runs.rows, runs.harness)?;
    if !failures.is_empty() {
        bail!("{}", failures.join("\nesker-bench: "));
    }
    Ok(())
}

/// What was gathered so far.
struct Runs<'a> {
    plan: &'a Plan,
    bar: &'a ProgressBar,
    rows: Vec<Row>,
    harness: Harness,
}

impl Runs<'_> {
    fn child(&mut self, engine: &str, round: usize) -> Result<()> {
        let dir = self.plan.dir.join(format!("{engine}-{round}"));
        start_clean(&dir)?;
        let job = serde_json::to_string(&job(self.plan, &dir))?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["run", engine, &job])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a child")?;
        let sampler = Sampler::new(child.id(), dir.clone());
        let lines = BufReader::new(child.stdout.take().context("the child has no output")?).lines();
        let mut unrest_peak = 0;
        for line in lines {
            let event = serde_json::from_str(&line?)?;
            self.take(event, (engine, round), &sampler, &mut unrest_peak)?;
        }
        let status = child.wait()?;
        drop(sampler);
        fs::remove_dir_all(&dir)?;
        if !status.success() {
            bail!("the child ended with {status}");
        }
        Ok(())
    }

    /// Takes in an event; `unrest_peak` is the most anonymous memory since the database was at rest.
    fn take(
        &mut self,
        event: Event,
        of: (&str, usize),
        sampler: &Sampler,
        unrest_peak: &mut u64,
    ) -> Result<()> {
        let (engine, round) = of;
        match event {
            Event::Ready { harness_ns, harness_bytes } => {
                self.harness.ns.push(harness_ns);
                self.harness.bytes.push(harness_bytes as f64);
            }
            Event::Begin { workload } => {
                self.bar.set_message(format!("round {round}: {engine}, {workload}"));
                sampler.take();
            }
            Event::Row(mut row) => {
                let (disk, anonymous) = sampler.take();
                engine.clone_into(&mut row.engine);
                row.round = round;
                row.disk_peak_bytes = row.disk_peak_bytes.max(disk);
                row.anonymous_peak_bytes = row.anonymous_peak_bytes.max(anonymous);
                *unrest_peak = row.anonymous_peak_bytes.max(*unrest_peak);
                if let Some(rest) = &mut row.rest {
                    rest.anonymous_peak_bytes = std::mem::take(unrest_peak);
                }
                self.bar.inc(1);
                if self.plan.json {
                    report::print_json("row", &row)?;
                }
                self.rows.push(*row);
            }
        }
        Ok(())
    }
}

fn job(plan: &Plan, dir: &Path) -> Job {
    Job {
        workloads: plan.workloads().iter().map(|workload| workload.name()).collect(),
        n: plan.n,
        operations: plan.operations(),
        value_bytes: plan.value,
        threads: plan.threads,
        seek_pairs: plan.seek_pairs,
        sync_seconds: plan.sync_seconds,
        cache_bytes: plan.cache_mib << 20,
        seed: plan.seed,
        dir: dir.to_path_buf(),
    }
}

/// An empty folder, and a disk that has written what others left behind.
fn start_clean(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    rustix::fs::sync();
    Ok(())
}

fn steps(plan: &Plan) -> u64 {
    plan.workloads().len() as u64
}

fn progress_bar(plan: &Plan) -> ProgressBar {
    let all = (plan.rounds * plan.engines.len()) as u64 * steps(plan);
    let shown = std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(all), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {elapsed}  {msg}") {
        bar.set_style(style);
    }
    bar
}
