//! The report: medians of the rounds, as one table a durability level, or as JSON lines.
//!
//! 1. A figure is the median of its column over the rounds; the worst time is the worst of them all.
//! 2. The ratio is taken within each round, from runs side by side, and then its median.
//! 3. Buffered and durable rows are never in one table.
//! 4. What writing cost is told once the database is at rest, flushes and compactions included.

use crate::cli::Plan;
use crate::engine::{Durability, Figures};
use crate::job::{Rest, Row};
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write as _;

/// The engine that others are compared with.
const OURS: &str = "esker";

/// What the harness costs by itself, of every child.
#[derive(Default)]
pub(crate) struct Harness {
    /// Nanoseconds of every operation.
    pub ns: Vec<f64>,
    /// Bytes of anonymous memory.
    pub bytes: Vec<f64>,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
struct Line {
    /// Rounds that it is the median of.
    rounds: usize,
    /// This engine's rate by Esker's, in the same round.
    ratio_to_esker: Option<f64>,
    /// The medians.
    #[serde(flatten)]
    row: Row,
}

/// A line of JSON.
#[derive(Serialize)]
struct Tagged<'a, T> {
    kind: &'a str,
    #[serde(flatten)]
    content: &'a T,
}

/// Prints `content` as one line of JSON.
pub(crate) fn print_json(kind: &str, content: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(&Tagged { kind, content })?);
    Ok(())
}

/// Prints the medians of `rows`.
pub(crate) fn print(plan: &Plan, rows: &[Row], mut harness: Harness) -> Result<()> {
    let lines = lines(plan, rows);
    let totals: Vec<Total> = plan.engines.iter().filter_map(|e| Total::of(e, rows)).collect();
    if plan.json {
        lines.iter().try_for_each(|line| print_json("median", line))?;
        return totals.iter().try_for_each(|total| print_json("total", total));
    }
    println!(
        "{} pairs of 16 + {} bytes, {} operations, {} thread(s), cache {} MiB, median of {} round(s)",
        plan.n,
        plan.value,
        plan.operations(),
        plan.threads,
        plan.cache_mib,
        plan.rounds
    );
    for durability in [Durability::Buffered, Durability::Durable] {
        let lines: Vec<&Line> =
            lines.iter().filter(|line| line.row.durability == durability).collect();
        if !lines.is_empty() {
            print!("\n{durability} writes\n{}", table(HEADS, &cells(&lines)));
        }
    }
    let rests = rest_cells(&lines);
    if !rests.is_empty() {
        print!("\nat rest\n{}", table(REST_HEADS, &rests));
    }
    print!("\nall rows together\n{}", table(TOTAL_HEADS, &total_cells(&totals)));
    print!("{}", counted(&lines));
    println!(
        "\nwritten: pages made dirty, also through maps; calls: bytes given to write calls; says: \
         what the engine itself\ncounts. low/s: operations in the slowest whole second. Rates of \
         batch and scan are pairs, their times those of\n1,000. The harness itself takes {:.0} ns \
         of every operation (key, value, clock) and {:.1} MB of anon MB.",
        median(&mut harness.ns),
        median(&mut harness.bytes) / 1e6
    );
    Ok(())
}

/// What engines counted themselves, a line for each row in which anything was.
fn counted(lines: &[Line]) -> String {
    let mut text = String::new();
    for row in lines.iter().map(|line| &line.row) {
        let risen = row.figures.iter().filter(|(_, value)| *value > 0);
        let risen: Vec<String> = risen.map(|(name, value)| format!("{name} {value}")).collect();
        if !risen.is_empty() {
            let before = if text.is_empty() { "\ncounted by the engine itself\n" } else { "" };
            let _ = writeln!(
                text,
                "{before}{:<24} {:<9} {}",
                row.workload,
                row.engine,
                risen.join(", ")
            );
        }
    }
    text
}

fn lines(plan: &Plan, rows: &[Row]) -> Vec<Line> {
    let mut places: Vec<(usize, &str)> = Vec::new();
    for row in rows {
        let place = (row.step, row.workload.as_str());
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.sort_by_key(|(step, _)| *step);
    let line = |place: (usize, &str), engine: &String| {
        let of = |engine: &str| -> Vec<&Row> {
            let same =
                |row: &&Row| row.engine == engine && (row.step, row.workload.as_str()) == place;
            rows.iter().filter(same).collect()
        };
        let (ours, theirs) = (of(OURS), of(engine));
        let mut ratios: Vec<f64> = theirs
            .iter()
            .filter_map(|row| {
                let side = ours.iter().find(|our| our.round == row.round)?;
                Some(row.rate / side.rate)
            })
            .collect();
        let ratio_to_esker = (!ratios.is_empty()).then(|| median(&mut ratios));
        median_row(&theirs).map(|row| Line { rounds: theirs.len(), ratio_to_esker, row })
    };
    let engines = &plan.engines;
    places.iter().flat_map(|place| engines.iter().filter_map(|e| line(*place, e))).collect()
}

fn median_row(rows: &[&Row]) -> Option<Row> {
    let first = *rows.first()?;
    let float =
        |field: fn(&Row) -> f64| median(&mut rows.iter().map(|r| field(r)).collect::<Vec<_>>());
    let whole = |field: fn(&Row) -> u64| {
        let mut values: Vec<u64> = rows.iter().map(|row| field(row)).collect();
        values.sort_unstable();
        values[(values.len() - 1) / 2]
    };
    Some(Row {
        engine: first.engine.clone(),
        workload: first.workload.clone(),
        durability: first.durability,
        step: first.step,
        round: 0,
        operations: whole(|row| row.operations),
        seconds: float(|row| row.seconds),
        rate: float(|row| row.rate),
        p50_ns: whole(|row| row.p50_ns),
        p99_ns: whole(|row| row.p99_ns),
        p999_ns: whole(|row| row.p999_ns),
        max_ns: rows.iter().map(|row| row.max_ns).max()?,
        user_bytes: whole(|row| row.user_bytes),
        dirtied_bytes: whole(|row| row.dirtied_bytes),
        wchar_bytes: whole(|row| row.wchar_bytes),
        disk_peak_bytes: whole(|row| row.disk_peak_bytes),
        disk_end_bytes: whole(|row| row.disk_end_bytes),
        memory_peak_bytes: whole(|row| row.memory_peak_bytes),
        anonymous_peak_bytes: whole(|row| row.anonymous_peak_bytes),
        cpu_seconds: float(|row| row.cpu_seconds),
        slowest_second: rows.iter().filter_map(|row| row.slowest_second).min(),
        per_second: Vec::new(),
        figures: median_figures(rows),
        rest: median_rest(rows),
    })
}

fn median_figures(rows: &[&Row]) -> Figures {
    let names = rows.first().map_or(&[][..], |row| &row.figures);
    let of = |name: &str| {
        let all = rows.iter().flat_map(|row| &row.figures).filter(|(each, _)| each == name);
        median(&mut all.map(|(_, value)| *value as f64).collect::<Vec<_>>()) as u64
    };
    names.iter().map(|(name, _)| (name.clone(), of(name))).collect()
}

fn median_rest(rows: &[&Row]) -> Option<Rest> {
    let rests: Vec<&Rest> = rows.iter().filter_map(|row| row.rest.as_ref()).collect();
    let first = *rests.first()?;
    let float =
        |field: fn(&Rest) -> f64| median(&mut rests.iter().map(|r| field(r)).collect::<Vec<_>>());
    let whole = |field: fn(&Rest) -> u64| {
        let mut values: Vec<u64> = rests.iter().map(|rest| field(rest)).collect();
        values.sort_unstable();
        values[(values.len() - 1) / 2]
    };
    Some(Rest {
        after: first.after.clone(),
        rate: float(|rest| rest.rate),
        slowest_second: rests.iter().filter_map(|rest| rest.slowest_second).min(),
        p999_ns: whole(|rest| rest.p999_ns),
        max_ns: rests.iter().map(|rest| rest.max_ns).max()?,
        settle_seconds: float(|rest| rest.settle_seconds),
        user_bytes: whole(|rest| rest.user_bytes),
        dirtied_bytes: whole(|rest| rest.dirtied_bytes),
        reported_bytes: first.reported_bytes.map(|_| whole(|r| r.reported_bytes.unwrap_or(0))),
        live_bytes: whole(|rest| rest.live_bytes),
        disk_bytes: whole(|rest| rest.disk_bytes),
        filled_bytes: whole(|rest| rest.filled_bytes),
        anonymous_peak_bytes: whole(|rest| rest.anonymous_peak_bytes),
    })
}

/// What one engine used in a median round, all rows together.
#[derive(Debug, Serialize)]
struct Total {
    engine: String,
    seconds: f64,
    user_bytes: f64,
    dirtied_bytes: f64,
    wchar_bytes: f64,
    disk_peak_bytes: f64,
    memory_peak_bytes: f64,
    anonymous_peak_bytes: f64,
    cpu_seconds: f64,
}

impl Total {
    fn of(engine: &str, rows: &[Row]) -> Option<Self> {
        let rounds = rows.iter().filter(|row| row.engine == engine).map(|row| row.round).max()?;
        let each = |fold: fn(f64, f64) -> f64, field: fn(&Row) -> f64| {
            let of_round = |round| {
                let ours = |row: &&Row| row.engine == engine && row.round == round;
                rows.iter().filter(ours).map(field).fold(0.0, fold)
            };
            median(&mut (1..=rounds).map(of_round).collect::<Vec<_>>())
        };
        let sum = |field: fn(&Row) -> f64| each(|a, b| a + b, field);
        let most = |field: fn(&Row) -> f64| each(f64::max, field);
        Some(Self {
            engine: engine.to_owned(),
            seconds: sum(|row| row.seconds),
            user_bytes: sum(|row| row.user_bytes as f64),
            dirtied_bytes: sum(|row| row.dirtied_bytes as f64),
            wchar_bytes: sum(|row| row.wchar_bytes as f64),
            disk_peak_bytes: most(|row| row.disk_peak_bytes as f64),
            memory_peak_bytes: most(|row| row.memory_peak_bytes as f64),
            anonymous_peak_bytes: most(|row| row.anonymous_peak_bytes as f64),
            cpu_seconds: sum(|row| row.cpu_seconds),
        })
    }
}

const HEADS: &[&str] = &[
    "workload",
    "engine",
    "ops/s",
    "low/s",
    "vs esker",
    "p50",
    "p99",
    "p99.9",
    "max",
    "user MB",
    "written MB",
    "calls MB",
    "disk MB",
    "disk peak",
    "memory MB",
    "anon MB",
    "cpu s",
];

const REST_HEADS: &[&str] = &[
    "workload",
    "engine",
    "ops/s",
    "low/s",
    "p99.9",
    "max",
    "settle s",
    "user MB",
    "written MB",
    "written/user",
    "says/user",
    "live MB",
    "disk MB",
    "disk/live",
    "disk/filled",
    "anon peak",
];

const TOTAL_HEADS: &[&str] = &[
    "engine",
    "seconds",
    "user MB",
    "written MB",
    "calls MB",
    "written/user",
    "disk peak",
    "memory MB",
    "anon MB",
    "cpu s",
];

fn cells(lines: &[&Line]) -> Vec<Vec<String>> {
    let mut before = "";
    let mut all = Vec::new();
    for line in lines {
        let row = &line.row;
        let name = if row.workload == before { "" } else { &row.workload };
        before = &row.workload;
        all.push(vec![
            name.to_owned(),
            row.engine.clone(),
            short(row.rate),
            row.slowest_second.map_or_else(|| "-".to_owned(), |low| short(low as f64)),
            line.ratio_to_esker.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            time(row.p50_ns),
            time(row.p99_ns),
            time(row.p999_ns),
            time(row.max_ns),
            megabytes(row.user_bytes as f64),
            megabytes(row.dirtied_bytes as f64),
            megabytes(row.wchar_bytes as f64),
            megabytes(row.disk_end_bytes as f64),
            megabytes(row.disk_peak_bytes as f64),
            megabytes(row.memory_peak_bytes as f64),
            megabytes(row.anonymous_peak_bytes as f64),
            format!("{:.2}", row.cpu_seconds),
        ]);
    }
    all
}

fn rest_cells(lines: &[Line]) -> Vec<Vec<String>> {
    let ratio = |a: u64, b: u64| format!("{:.2}", a as f64 / b.max(1) as f64);
    let cells = |line: &Line| {
        let rest = line.row.rest.as_ref()?;
        let or_none = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        Some(vec![
            format!("after {}", rest.after),
            line.row.engine.clone(),
            short(rest.rate),
            or_none(rest.slowest_second.map(|low| short(low as f64))),
            time(rest.p999_ns),
            time(rest.max_ns),
            format!("{:.1}", rest.settle_seconds),
            megabytes(rest.user_bytes as f64),
            megabytes(rest.dirtied_bytes as f64),
            ratio(rest.dirtied_bytes, rest.user_bytes),
            or_none(rest.reported_bytes.map(|bytes| ratio(bytes, rest.user_bytes))),
            megabytes(rest.live_bytes as f64),
            megabytes(rest.disk_bytes as f64),
            ratio(rest.disk_bytes, rest.live_bytes),
            ratio(rest.disk_bytes, rest.filled_bytes),
            megabytes(rest.anonymous_peak_bytes as f64),
        ])
    };
    lines.iter().filter_map(cells).collect()
}

fn total_cells(totals: &[Total]) -> Vec<Vec<String>> {
    let line = |total: &Total| {
        vec![
            total.engine.clone(),
            format!("{:.1}", total.seconds),
            megabytes(total.user_bytes),
            megabytes(total.dirtied_bytes),
            megabytes(total.wchar_bytes),
            format!("{:.2}", total.dirtied_bytes / total.user_bytes.max(1.0)),
            megabytes(total.disk_peak_bytes),
            megabytes(total.memory_peak_bytes),
            megabytes(total.anonymous_peak_bytes),
            format!("{:.1}", total.cpu_seconds),
        ]
    };
    totals.iter().map(line).collect()
}

/// Lays out cells in columns: words to the left, figures to the right.
fn table(heads: &[&str], lines: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let words = heads.iter().take_while(|head| matches!(**head, "workload" | "engine")).count();
    let mut text = String::new();
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    for line in std::iter::once(&heads).chain(lines) {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if column < words {
                write!(shown, "{cell:<width$}  ")
            } else {
                write!(shown, "{cell:>width$}  ")
            };
        }
        let _ = writeln!(text, "{}", shown.trim_end());
    }
    text
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

fn short(rate: f64) -> String {
    match rate {
        1e6.. => format!("{:.2}M", rate / 1e6),
        1e5.. => format!("{:.0}k", rate / 1e3),
        1e4.. => format!("{:.1}k", rate / 1e3),
        1e3.. => format!("{:.2}k", rate / 1e3),
        _ => format!("{rate:.1}"),
    }
}

fn time(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        1e9.. => format!("{:.2} s", ns / 1e9),
        1e6.. => format!("{:.1} ms", ns / 1e6),
        1e3.. => format!("{:.1} µs", ns / 1e3),
        _ => format!("{ns:.0} ns"),
    }
}

fn megabytes(bytes: f64) -> String {
    match bytes / 1e6 {
        0.0 => "-".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}
