//! What the parent tells a child to do, and what the child answers: JSON, one object a line.

use crate::engine::{Durability, Figures, Settings};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that decides a run, but for the engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// What to run, in this order, by name.
    pub workloads: Vec<String>,
    /// Pairs inserted by the workloads that fill.
    pub n: u64,
    /// Operations of the workloads that read or update.
    pub operations: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Threads of the buffered workloads.
    pub threads: usize,
    /// Pairs read by each seek.
    pub seek_pairs: usize,
    /// How long each durable workload runs.
    pub sync_seconds: f64,
    /// Bytes for the cache of a peer, or for everything Esker owns.
    pub cache_bytes: u64,
    /// Where every choice of key begins.
    pub seed: u64,
    /// The folder of this child alone.
    pub dir: PathBuf,
}

impl Job {
    /// What an engine is opened with.
    pub(crate) const fn settings(&self, durability: Durability) -> Settings {
        Settings { durability, cache_bytes: self.cache_bytes, value_bytes: self.value_bytes }
    }
}

/// A line from a child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event {
    /// A child is ready.
    Ready {
        /// What the harness itself costs: making a pair and reading the clock.
        harness_ns: f64,
        /// Anonymous memory before an engine is opened.
        harness_bytes: u64,
    },
    /// A workload begins.
    Begin {
        /// Its name.
        workload: String,
    },
    /// A workload ended.
    Row(Box<Row>),
}

/// What one engine did in one workload of one round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The engine, by name; the parent fills it in.
    pub engine: String,
    /// The round, from 1; the parent fills it in.
    pub round: usize,
    /// Place of the workload in the job, so that one may be run twice.
    pub step: usize,
    /// Its name.
    pub workload: String,
    /// What a write of this row promises.
    pub durability: Durability,
    /// Operations; pairs, for a whole scan.
    pub operations: u64,
    /// How long they took together.
    pub seconds: f64,
    /// Operations a second.
    pub rate: f64,
    /// Half of the operations were faster, in nanoseconds.
    pub p50_ns: u64,
    /// All but one in 100 were.
    pub p99_ns: u64,
    /// All but one in 1,000 were.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
    /// Keys and values that the user asked to write.
    pub user_bytes: u64,
    /// Bytes of pages the engine made dirty (`write_bytes`).
    pub dirtied_bytes: u64,
    /// Bytes it gave to write calls.
    pub wchar_bytes: u64,
    /// Most bytes on disk while the workload ran; the parent samples it.
    pub disk_peak_bytes: u64,
    /// Bytes on disk at its end.
    pub disk_end_bytes: u64,
    /// Peak of resident memory, maps included.
    pub memory_peak_bytes: u64,
    /// Peak of anonymous memory: what it is at the end, and what the parent samples.
    pub anonymous_peak_bytes: u64,
    /// Processor time of the whole process.
    pub cpu_seconds: f64,
    /// The fewest operations in a whole second; nothing, if it took less than one.
    pub slowest_second: Option<u64>,
    /// Operations in each whole second; the medians leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_second: Vec<u64>,
    /// What the engine counted itself meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Figures,
    /// What all writes until now came to; only in rows that settle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// A database at rest: what was written since it was at rest before, and what is left of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rest {
    /// The workload that wrote.
    pub after: String,
    /// Its operations a second.
    pub rate: f64,
    /// Its slowest second.
    pub slowest_second: Option<u64>,
    /// Its 99.9th percentile, in nanoseconds.
    pub p999_ns: u64,
    /// Its longest operation.
    pub max_ns: u64,
    /// From the call to settle until the engine was quiet.
    pub settle_seconds: f64,
    /// Keys and values that the user asked to write.
    pub user_bytes: u64,
    /// Bytes of pages the engine made dirty, settling included.
    pub dirtied_bytes: u64,
    /// Bytes that the engine says it wrote to log and tables, if it says so.
    pub reported_bytes: Option<u64>,
    /// Keys and values that are live.
    pub live_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes on disk when the database came to rest first, filled and with all of it live.
    pub filled_bytes: u64,
    /// Peak of anonymous memory in any row since it was at rest before; the parent fills it in.
    pub anonymous_peak_bytes: u64,
}
