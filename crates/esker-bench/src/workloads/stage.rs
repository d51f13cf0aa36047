//! The stage: the engine that is open now, what it holds, and how a workload becomes a row.

#![expect(clippy::disallowed_methods, reason = "a benchmark makes and removes its folders")]

use super::{Workload, fill, life, mixed, queue, range, read, sync, transfer, update, ycsb};
use crate::data::{KEY_BYTES, Shape, Values};
use crate::engine::{Durability, Engine, Figures, Order};
use crate::job::{Event, Job, Rest, Row};
use crate::meter::{self, Measured, Times, Usage};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The row of what an engine does, after the last write, until it is at rest.
const SETTLE: &str = "(settle)";

/// What a filled database holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loaded {
    /// How its keys were made.
    pub shape: Shape,
    /// Its counters are below this, …
    pub count: u64,
    /// … and it has this many pairs.
    pub live: u64,
    /// Whether the even ones were removed.
    pub halved: bool,
    /// Whether nothing was written since it was settled.
    pub settled: bool,
}

impl Loaded {
    /// `pick`, or its neighbour if that one was removed.
    pub(super) fn present(&self, pick: u64) -> u64 {
        if self.halved && (pick | 1) < self.count { pick | 1 } else { pick }
    }
}

/// One engine, open on one folder, and the job.
pub(super) struct Stage<'a, E> {
    /// What is to be done.
    pub job: &'a Job,
    /// Makes values.
    pub values: Values,
    db: Option<E>,
    loaded: Option<Loaded>,
    folders: usize,
    step: usize,
    /// What was written since the database was at rest.
    unrest: Rest,
    /// What the engine counted by then.
    counted: Figures,
}

/// What a workload did, beside its times.
pub(super) struct Outcome {
    /// Its times.
    pub measured: Measured,
    /// Pairs written by the user.
    pub pairs_written: u64,
    /// Keys removed by the user.
    pub keys_removed: u64,
    /// What else was timed meanwhile, for a row without costs of its own.
    pub companion: Option<(&'static str, Measured)>,
}

impl Outcome {
    /// Of a workload that writes nothing.
    pub(super) fn reads(measured: Measured) -> Self {
        Self { measured, pairs_written: 0, keys_removed: 0, companion: None }
    }

    /// Of a workload whose every operation writes a pair.
    pub(super) fn writes(measured: Measured) -> Self {
        Self { pairs_written: measured.operations, ..Self::reads(measured) }
    }
}

/// Runs all workloads of `job` on one engine, and says on standard output how it went.
pub(crate) fn run<E: Engine>(job: &Job) -> Result<()> {
    let values = Values::new(job.value_bytes, job.seed);
    let (harness_ns, harness_bytes) = (harness_ns(&values), meter::anonymous_bytes("self"));
    send(&Event::Ready { harness_ns, harness_bytes })?;
    let (unrest, counted) = (Rest::default(), Figures::new());
    let mut stage: Stage<'_, E> =
        Stage { job, values, db: None, loaded: None, folders: 0, step: 0, unrest, counted };
    for name in &job.workloads {
        let workload = Workload::by_name(name).with_context(|| format!("no workload {name}"))?;
        stage.play(workload).with_context(|| format!("in {name}"))?;
        stage.step += 1;
    }
    stage.clear()
}

impl<E: Engine> Stage<'_, E> {
    fn play(&mut self, workload: Workload) -> Result<()> {
        match workload {
            Workload::FillSeq | Workload::FillRandom | Workload::Batch => self.start_empty()?,
            Workload::Sync(_) => self.clear()?,
            Workload::TombstoneScan => return queue::tombstones(self),
            Workload::RangeDelete => return range::delete(self),
            Workload::Transfer => return self.transfer(),
            _ => self.ensure_loaded()?,
        }
        if workload_reads_only(workload) {
            self.ensure_settled()?;
        }
        let durability = match workload {
            Workload::Sync(_) => Durability::Durable,
            _ => Durability::Buffered,
        };
        let name = workload.name();
        self.row(&name, durability, |stage| match workload {
            Workload::FillSeq => fill::one_by_one(stage, Shape::Sequential),
            Workload::FillRandom => fill::one_by_one(stage, Shape::Scattered),
            Workload::Batch => fill::in_batches(stage),
            Workload::Sync(writers) => sync::run(stage, writers),
            Workload::ReadRandom => read::present(stage),
            Workload::ReadMissing => read::missing(stage),
            Workload::Seek => range::seek(stage, stage.job.seek_pairs),
            Workload::Seek100 => range::seek(stage, 100),
            Workload::Scan => range::whole(stage, Order::Forward),
            Workload::ReverseScan => range::whole(stage, Order::Reverse),
            Workload::Overwrite => update::overwrite(stage),
            Workload::OverwriteTenth => update::overwrite_tenth(stage),
            Workload::Delete => update::delete(stage),
            Workload::Ycsb(mix) => ycsb::run(stage, mix),
            Workload::ReadWhileWriting => mixed::run(stage),
            Workload::Reopen => life::reopen(stage),
            Workload::TombstoneScan | Workload::RangeDelete | Workload::Transfer => {
                bail!("it makes rows of its own")
            }
        })
    }

    /// The row of transactions, where the engine has them.
    fn transfer(&mut self) -> Result<()> {
        let dir = self.new_folder()?;
        let settings = self.job.settings(Durability::Buffered);
        let Some(bank) = E::open_bank(&dir, &settings)? else { return Ok(()) };
        self.row(&Workload::Transfer.name(), Durability::Buffered, |stage| {
            transfer::run(stage, &*bank)
        })
    }

    /// Runs `work`, and sends what it did and used as a row called `name`.
    pub(super) fn row(
        &mut self,
        name: &str,
        durability: Durability,
        work: impl FnOnce(&mut Self) -> Result<Outcome>,
    ) -> Result<()> {
        send(&Event::Begin { workload: name.to_owned() })?;
        meter::reset_memory_peak();
        let (before, counted) = (Usage::now()?, self.figures()?);
        let outcome = work(self)?;
        let after = Usage::now()?;
        let disk_end_bytes = meter::disk_bytes(&self.job.dir);
        let mut row = Row {
            user_bytes: outcome.pairs_written * self.pair_bytes()
                + outcome.keys_removed * KEY_BYTES as u64,
            dirtied_bytes: after.dirtied_bytes.saturating_sub(before.dirtied_bytes),
            wchar_bytes: after.wchar_bytes.saturating_sub(before.wchar_bytes),
            disk_peak_bytes: disk_end_bytes,
            disk_end_bytes,
            memory_peak_bytes: meter::memory_peak_bytes(),
            anonymous_peak_bytes: meter::anonymous_bytes("self"),
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            figures: risen(&counted, &self.figures()?),
            ..self.times_row(name, durability, &outcome.measured)
        };
        self.note(&row);
        if name == SETTLE {
            row.rest = Some(self.at_rest(&row)?);
        }
        send(&Event::Row(Box::new(row)))?;
        if let Some((aside, measured)) = &outcome.companion {
            let name = format!("{name} {aside}");
            send(&Event::Row(Box::new(self.times_row(&name, durability, measured))))?;
        }
        Ok(())
    }

    fn times_row(&self, name: &str, durability: Durability, measured: &Measured) -> Row {
        let Measured { operations, elapsed, times } = measured;
        let seconds = elapsed.as_secs_f64().max(1e-9);
        // Times may be of a thousand operations each.
        let each = *operations as f64 / times.count().max(1) as f64;
        let pairs = |ended: &u64| (*ended as f64 * each) as u64;
        let per_second: Vec<u64> = times.per_second().iter().map(pairs).collect();
        Row {
            step: self.step,
            workload: name.to_owned(),
            durability,
            operations: *operations,
            seconds,
            rate: *operations as f64 / seconds,
            p50_ns: times.quantile(0.5),
            p99_ns: times.quantile(0.99),
            p999_ns: times.quantile(0.999),
            max_ns: times.quantile(1.0),
            slowest_second: per_second.iter().min().copied(),
            per_second,
            ..Row::default()
        }
    }

    /// Adds a row to what was written since the database was at rest.
    fn note(&mut self, row: &Row) {
        self.unrest.user_bytes += row.user_bytes;
        self.unrest.dirtied_bytes += row.dirtied_bytes;
        if row.user_bytes > 0 {
            self.unrest = Rest {
                after: row.workload.clone(),
                rate: row.rate,
                slowest_second: row.slowest_second,
                p999_ns: row.p999_ns,
                max_ns: row.max_ns,
                ..self.unrest.clone()
            };
        }
    }

    /// What all writes came to, now that the database is at rest; and begins anew.
    fn at_rest(&mut self, settle: &Row) -> Result<Rest> {
        let (_, loaded) = self.loaded()?;
        let now = self.figures()?;
        let written = risen(&self.counted, &now);
        let of = |name| written.iter().find(|(each, _)| each == name).map(|(_, bytes)| *bytes);
        let filled_bytes = match self.unrest.filled_bytes {
            0 => settle.disk_end_bytes,
            filled => filled,
        };
        self.counted = now;
        let rest = Rest {
            settle_seconds: settle.seconds,
            live_bytes: loaded.live * self.pair_bytes(),
            disk_bytes: settle.disk_end_bytes,
            reported_bytes: ["bytes_logged", "bytes_flushed", "bytes_compacted"]
                .into_iter()
                .map(of)
                .sum(),
            filled_bytes,
            ..std::mem::take(&mut self.unrest)
        };
        self.unrest.filled_bytes = filled_bytes;
        Ok(rest)
    }

    /// What the engine that is open, if any, has counted.
    fn figures(&self) -> Result<Figures> {
        self.db.as_ref().map_or_else(|| Ok(Figures::new()), E::figures)
    }

    /// Bytes of a key and a value.
    fn pair_bytes(&self) -> u64 {
        (KEY_BYTES + self.values.value_bytes()) as u64
    }

    /// The engine and what it holds.
    pub(super) fn loaded(&self) -> Result<(&E, Loaded)> {
        let db = self.db.as_ref().context("no database is open")?;
        Ok((db, self.loaded.context("no database is loaded")?))
    }

    /// The engine that is open.
    pub(super) fn db(&self) -> Result<&E> {
        self.db.as_ref().context("no database is open")
    }

    /// Notes that the empty database was filled.
    pub(super) fn filled(&mut self, shape: Shape) {
        let count = self.job.n;
        self.loaded = Some(Loaded { shape, count, live: count, halved: false, settled: false });
    }

    /// Notes that nobody can tell any more what the database holds.
    pub(super) fn spoilt(&mut self) {
        self.loaded = None;
    }

    /// Notes what a filled database holds after writes.
    pub(super) fn wrote(&mut self, loaded: Loaded) {
        self.loaded = Some(Loaded { settled: false, ..loaded });
    }

    /// A database of its own for `work`, which is closed and removed afterwards.
    pub(super) fn apart<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&E) -> Result<T>,
    ) -> Result<T> {
        let dir = self.new_folder()?;
        let db = E::open(&dir, &self.job.settings(durability))?;
        let result = work(&db)?;
        db.close()?;
        Ok(result)
    }

    /// Closes the engine and opens it again on the same folder, timing both.
    pub(super) fn reopen(&mut self) -> Result<(Duration, Duration)> {
        let began = Instant::now();
        self.db.take().context("no database is open")?.close()?;
        let closed = Instant::now();
        let settings = self.job.settings(Durability::Buffered);
        self.db = Some(E::open(&self.folder(), &settings)?);
        let opening = closed.elapsed();
        self.counted = Figures::new(); // it counts from the open
        Ok((closed - began, opening))
    }

    fn folder(&self) -> PathBuf {
        self.job.dir.join(format!("{}", self.folders))
    }

    fn new_folder(&mut self) -> Result<PathBuf> {
        self.folders += 1;
        let dir = self.folder();
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }

    /// Closes and removes the database there is, if any, so that it disturbs no one.
    fn clear(&mut self) -> Result<()> {
        if let Some(db) = self.db.take() {
            db.close()?;
        }
        self.loaded = None;
        if self.folders > 0 && self.folder().exists() {
            fs::remove_dir_all(self.folder())?;
        }
        Ok(())
    }

    /// An engine open on an empty folder.
    pub(super) fn start_empty(&mut self) -> Result<()> {
        self.clear()?;
        let dir = self.new_folder()?;
        (self.unrest, self.counted) = (Rest::default(), Figures::new());
        self.db = Some(E::open(&dir, &self.job.settings(Durability::Buffered))?);
        Ok(())
    }

    fn ensure_loaded(&mut self) -> Result<()> {
        if self.loaded.is_none() {
            self.start_empty()?;
            self.row("(load)", Durability::Buffered, fill::in_batches)?;
        }
        Ok(())
    }

    fn ensure_settled(&mut self) -> Result<()> {
        let (_, loaded) = self.loaded()?;
        if loaded.settled {
            return Ok(());
        }
        self.row(SETTLE, Durability::Buffered, |stage| {
            let began = Instant::now();
            stage.db()?.settle()?;
            let quiet = meter::wait_until_quiet().context("background work did not end")?;
            Ok(Outcome::reads(Measured::once(quiet - began)))
        })?;
        self.loaded = Some(Loaded { settled: true, ..loaded });
        Ok(())
    }
}

/// How far each figure rose.
fn risen(before: &Figures, after: &Figures) -> Figures {
    let old = |name| before.iter().find(|(each, _)| each == name).map_or(0, |(_, value)| *value);
    after.iter().map(|(name, new)| (name.clone(), new.saturating_sub(old(name)))).collect()
}

/// Checks that every read of a row found what it had to.
pub(super) fn expect_hits(found: u64, wanted: u64) -> Result<()> {
    if found != wanted {
        bail!("{found} reads found the right value, of {wanted} that should have");
    }
    Ok(())
}

const fn workload_reads_only(workload: Workload) -> bool {
    matches!(
        workload,
        Workload::ReadRandom
            | Workload::ReadMissing
            | Workload::Seek
            | Workload::Seek100
            | Workload::Scan
            | Workload::ReverseScan
            | Workload::Ycsb(ycsb::Mix::C)
    )
}

fn send(event: &Event) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, event)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// What the harness costs by itself: a key, a value, two readings of the clock, an entry.
fn harness_ns(values: &Values) -> f64 {
    const ROUNDS: u64 = 200_000;
    let (mut values, mut times, began) = (values.clone(), Times::new(), Instant::now());
    for index in 0..ROUNDS {
        let key = crate::data::key(Shape::Scattered, index);
        let value = values.make(&key, index);
        times.time(|| std::hint::black_box(value.len()));
    }
    assert!(times.count() == ROUNDS, "each is counted once");
    began.elapsed().as_nanos() as f64 / ROUNDS as f64
}
