//! Figures of a running database.

use super::core::Core;
use crate::base::error::Result;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A figure that only rises.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is counted since the open.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) transactions: Counter,
    pub(super) conflicts: Counter,
    pub(super) flushes: Counter,
    pub(super) compactions: Counter,
    pub(super) compaction_parts: Counter,
    pub(super) bytes_flushed: Counter,
    pub(super) bytes_compacted: Counter,
    pub(super) logs_adopted: Counter,
    pub(super) logs_copied: Counter,
    pub(super) blobs_forgotten: Counter,
    pub(super) cleanings: Counter,
    pub(super) bytes_cleaned: Counter,
}

/// Figures of a database at one moment; see [`Db::stats`](super::Db::stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The highest number that readers see: about how many operations there ever were.
    pub sequence: u64,
    /// The highest number that is on disk.
    pub durable: u64,
    /// Collections.
    pub collections: u64,
    /// Snapshots and iterators that pin old versions.
    pub snapshots: u64,
    /// Memtables: the one that is written and those that wait for their flush.
    pub memtables: u64,
    /// Bytes used in them.
    pub memtable_bytes: u64,
    /// Sorted runs.
    pub runs: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of segment files.
    pub segment_bytes: u64,
    /// Entries in segments, tombstones and old versions among them.
    pub segment_entries: u64,
    /// Tombstones in segments.
    pub segment_tombstones: u64,
    /// Files of large values.
    pub blobs: u64,
    /// Bytes of them.
    pub blob_bytes: u64,
    /// Large values that are live: nothing has overwritten or removed them, as far as compaction has
    /// found out.
    pub blob_values: u64,
    /// Their bytes, as stored.
    pub blob_live_bytes: u64,
    /// Logs that are kept for the change feed.
    pub kept_logs: u64,
    /// Bytes of them.
    pub kept_log_bytes: u64,
    /// Segment and blob files that are open or mapped now.
    pub open_files: u64,
    /// Bytes of blocks in the cache.
    pub cache_bytes: u64,
    /// Blocks found in the cache.
    pub cache_hits: u64,
    /// Blocks not found there.
    pub cache_misses: u64,
    /// How often gets have asked the filter of a segment since the open.
    pub filter_probes: u64,
    /// How often the filter let them pass: the key may be there.
    pub filter_passes: u64,
    /// How often the segment then had nothing for them: a read in vain.
    pub filter_false: u64,
    /// Transactions that have written and committed since the open.
    pub transactions: u64,
    /// Transactions that lost against other writers since the open.
    pub conflicts: u64,
    /// Memtables flushed since the open.
    pub flushes: u64,
    /// Compactions since the open.
    pub compactions: u64,
    /// Parts that large compactions among them were cut into, to be carried out side by side.
    pub compaction_parts: u64,
    /// Bytes that commits have written to logs since the open.
    pub bytes_logged: u64,
    /// Bytes that flushes have written since the open.
    pub bytes_flushed: u64,
    /// Bytes that compactions have written since the open.
    pub bytes_compacted: u64,
    /// Logs that flushes have taken over as files of large values, since the open: not a byte of
    /// these values was written again.
    pub logs_adopted: u64,
    /// Files of large values that flushes have written instead, because most of the log was not
    /// worth keeping, or because it was replayed.
    pub logs_copied: u64,
    /// Files of large values that left because nothing lived in them, unread, since the open.
    pub blobs_forgotten: u64,
    /// Files of large values that cleanings have written since the open.
    pub cleanings: u64,
    /// Bytes of them.
    pub bytes_cleaned: u64,
    /// Merge operands that flushes and compactions have folded since the open.
    pub operands_folded: u64,
    /// How often a flush or compaction has kept an operand as it was, because its operator failed or
    /// is not known.
    pub operands_kept: u64,
    /// Syncs that durable commits have shared since the open.
    pub syncs: u64,
    /// How often a writer waited because flushes were behind.
    pub flush_waits: u64,
    /// How long in all, in microseconds.
    pub flush_wait_us: u64,
    /// How often a writer waited because compactions were behind, and flushes waited for them.
    pub compaction_waits: u64,
    /// How long in all, in microseconds.
    pub compaction_wait_us: u64,
    /// Whether a failed write has made the database read-only.
    pub read_only: bool,
}

impl Stats {
    pub(super) fn of(core: &Core) -> Result<Self> {
        core.check_open()?;
        let view = core.views.load_full();
        let metas = || view.version.segments().map(|segment| segment.meta());
        let filters = core.shelves.segments.readers.filter_figures();
        let mut stats = Self {
            sequence: core.visible().0,
            durable: core.visible().0,
            collections: core.catalog.read().len() as u64,
            snapshots: core.snapshots.count() as u64,
            memtables: view.memtables.len() as u64,
            memtable_bytes: view.memtables.iter().map(|m| m.used_bytes() as u64).sum(),
            runs: view.version.runs.len() as u64,
            segments: metas().count() as u64,
            segment_bytes: metas().map(|meta| meta.bytes).sum(),
            segment_entries: metas().map(|meta| meta.entries).sum(),
            segment_tombstones: metas().map(|meta| meta.deletes).sum(),
            open_files: core.shelves.segments.readers.open_count(),
            cache_bytes: core.shelves.segments.cache.used_bytes(),
            cache_hits: core.shelves.segments.cache.hits(),
            cache_misses: core.shelves.segments.cache.misses(),
            filter_probes: filters.probes,
            filter_passes: filters.passes,
            filter_false: filters.false_passes,
            transactions: core.counters.transactions.get(),
            conflicts: core.counters.conflicts.get(),
            flushes: core.counters.flushes.get(),
            compactions: core.counters.compactions.get(),
            compaction_parts: core.counters.compaction_parts.get(),
            bytes_flushed: core.counters.bytes_flushed.get(),
            bytes_compacted: core.counters.bytes_compacted.get(),
            logs_adopted: core.counters.logs_adopted.get(),
            logs_copied: core.counters.logs_copied.get(),
            blobs_forgotten: core.counters.blobs_forgotten.get(),
            cleanings: core.counters.cleanings.get(),
            bytes_cleaned: core.counters.bytes_cleaned.get(),
            operands_folded: core.rules.folds.folded(),
            operands_kept: core.rules.folds.kept(),
            blobs: view.version.blobs.iter().count() as u64,
            blob_bytes: view.version.blobs.iter().map(|blob| blob.meta().bytes).sum(),
            ..Self::default()
        };
        let blobs = match &core.writing {
            Some(writing) => writing.ledger.lock().state().blobs.clone(),
            None => core.blobs.clone(),
        };
        let kept = core.kept_logs();
        stats.kept_logs = kept.len() as u64;
        stats.kept_log_bytes = kept.iter().fold(0, |sum, log| sum.saturating_add(log.length));
        stats.blob_values = blobs.iter().map(|blob| blob.live_values()).sum();
        stats.blob_live_bytes = blobs.iter().map(|blob| blob.live_bytes()).sum();
        if let Some(writing) = &core.writing {
            stats.durable = writing.committer.durable().0;
            stats.syncs = writing.committer.syncs();
            stats.bytes_logged = writing.committer.bytes_logged();
            let pace = writing.committer.pace();
            stats.flush_waits = pace.flush_waits().count();
            stats.flush_wait_us = pace.flush_waits().nanos() / 1000;
            stats.compaction_waits = pace.compaction_waits().count();
            stats.compaction_wait_us = pace.compaction_waits().nanos() / 1000;
            stats.read_only = writing.committer.poison().is_set();
        }
        Ok(stats)
    }

    /// Every figure with its name, for tools.
    pub fn fields(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("sequence", self.sequence),
            ("durable", self.durable),
            ("collections", self.collections),
            ("snapshots", self.snapshots),
            ("memtables", self.memtables),
            ("memtable_bytes", self.memtable_bytes),
            ("runs", self.runs),
            ("segments", self.segments),
            ("segment_bytes", self.segment_bytes),
            ("segment_entries", self.segment_entries),
            ("segment_tombstones", self.segment_tombstones),
            ("blobs", self.blobs),
            ("blob_bytes", self.blob_bytes),
            ("blob_values", self.blob_values),
            ("blob_live_bytes", self.blob_live_bytes),
            ("kept_logs", self.kept_logs),
            ("kept_log_bytes", self.kept_log_bytes),
            ("open_files", self.open_files),
            ("cache_bytes", self.cache_bytes),
            ("cache_hits", self.cache_hits),
            ("cache_misses", self.cache_misses),
            ("filter_probes", self.filter_probes),
            ("filter_passes", self.filter_passes),
            ("filter_false", self.filter_false),
            ("transactions", self.transactions),
            ("conflicts", self.conflicts),
            ("flushes", self.flushes),
            ("compactions", self.compactions),
            ("compaction_parts", self.compaction_parts),
            ("bytes_logged", self.bytes_logged),
            ("bytes_flushed", self.bytes_flushed),
            ("bytes_compacted", self.bytes_compacted),
            ("logs_adopted", self.logs_adopted),
            ("logs_copied", self.logs_copied),
            ("blobs_forgotten", self.blobs_forgotten),
            ("cleanings", self.cleanings),
            ("bytes_cleaned", self.bytes_cleaned),
            ("operands_folded", self.operands_folded),
            ("operands_kept", self.operands_kept),
            ("syncs", self.syncs),
            ("flush_waits", self.flush_waits),
            ("flush_wait_us", self.flush_wait_us),
            ("compaction_waits", self.compaction_waits),
            ("compaction_wait_us", self.compaction_wait_us),
            ("read_only", u64::from(self.read_only)),
        ]
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.fields() {
            writeln!(f, "{name:20} {value:>16}")?;
        }
        Ok(())
    }
}
