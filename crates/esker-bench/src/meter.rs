//! What a row costs: the time of every operation, and what the process used meanwhile.
//!
//! 1. An operation is timed alone: making its key and value is outside, two clock readings inside.
//! 2. `write_bytes` counts pages made dirty, also through a map; `wchar` counts bytes given to write
//!    calls, which a map never makes. Both come from `/proc/self/io` and cover the whole process.
//! 3. A row costs a fixed amount of memory and a number a second, however many operations it has.
//! 4. The peak of resident memory is set back at the start of a row, where the kernel allows it.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and its own /proc")]

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// The longest time that is told from longer ones: an hour.
const TIME_NS_MAX: u64 = 3600 * 1_000_000_000;

/// Times of single operations, in nanoseconds, to three digits; and how many ended in each second.
pub(crate) struct Times {
    histogram: Histogram<u64>,
    seconds: Seconds,
}

impl Times {
    /// None yet.
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, TIME_NS_MAX, 3);
        Self {
            histogram: histogram.expect("bounds and digits are allowed"),
            seconds: Seconds::default(),
        }
    }

    /// Adds one that ended now.
    pub(crate) fn add(&mut self, time: Duration) {
        self.add_at(time, Instant::now());
    }

    /// Adds one that ended at `now`.
    pub(crate) fn add_at(&mut self, time: Duration, now: Instant) {
        self.record(time);
        self.seconds.count(time, now);
    }

    fn record(&mut self, time: Duration) {
        self.histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Runs `operation` and adds what it took.
    pub(crate) fn time<T>(&mut self, operation: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = operation();
        let now = Instant::now();
        self.add_at(now - began, now);
        result
    }

    /// Adds all of `other`, which was taken at the same time.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("histograms of the same kind");
        self.seconds.merge(&other.seconds);
    }

    /// The time that `share` of the operations stayed within.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// How many ended in each whole second since the first began.
    pub(crate) fn per_second(&self) -> &[u64] {
        &self.seconds.whole
    }
}

/// A count for every second since the first operation began.
#[derive(Default)]
struct Seconds {
    /// When the running second ends.
    ends: Option<Instant>,
    /// Operations in it so far.
    running: u64,
    /// The seconds before it.
    whole: Vec<u64>,
}

impl Seconds {
    const LENGTH: Duration = Duration::from_secs(1);

    fn count(&mut self, time: Duration, now: Instant) {
        let mut ends = self.ends.unwrap_or_else(|| now - time + Self::LENGTH);
        while now >= ends {
            self.whole.push(std::mem::take(&mut self.running));
            ends += Self::LENGTH;
        }
        self.ends = Some(ends);
        self.running += 1;
    }

    /// Adds, second by second, what another thread counted; only seconds that both saw whole.
    fn merge(&mut self, other: &Self) {
        if self.ends.is_none() {
            self.whole.clone_from(&other.whole);
            self.ends = other.ends;
            return;
        }
        self.whole.truncate(other.whole.len());
        self.whole.iter_mut().zip(&other.whole).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// What one run of a workload did.
pub(crate) struct Measured {
    /// Operations done; pairs, for a whole scan.
    pub operations: u64,
    /// From the start of the first thread to the end of the last.
    pub elapsed: Duration,
    /// Of every operation.
    pub times: Times,
}

impl Measured {
    /// A single operation, of which no rate can be told.
    pub(crate) fn once(elapsed: Duration) -> Self {
        let mut times = Times::new();
        times.record(elapsed);
        Self { operations: 1, elapsed, times }
    }
}

/// Runs `work` in `threads` threads that start together; a thread gets its number.
///
/// One thread is the calling one, so that an engine sees the thread it was opened in.
pub(crate) fn together(
    threads: usize,
    work: impl Fn(usize, &mut Times) -> Result<u64> + Sync,
) -> Result<Measured> {
    if threads == 1 {
        let (mut times, began) = (Times::new(), Instant::now());
        let operations = work(0, &mut times)?;
        return Ok(Measured { operations, elapsed: began.elapsed(), times });
    }
    let start = Barrier::new(threads);
    let run = |number| {
        let mut times = Times::new();
        start.wait();
        let began = Instant::now();
        work(number, &mut times).map(|operations| (operations, began, Instant::now(), times))
    };
    let run = &run;
    let parts: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || run(number))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(crate::engine::died())))
            .collect::<Result<_>>()
    })?;
    let began = parts.iter().map(|part| part.1).min().context("no threads")?;
    let ended = parts.iter().map(|part| part.2).max().context("no threads")?;
    let mut times = Times::new();
    parts.iter().for_each(|part| times.merge(&part.3));
    let operations = parts.iter().map(|part| part.0).sum();
    Ok(Measured { operations, elapsed: ended - began, times })
}

/// What the process has used since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Bytes of pages it made dirty.
    pub dirtied_bytes: u64,
    /// Bytes it gave to write calls.
    pub wchar_bytes: u64,
    /// Seconds of processor time, user and system, of all threads that ever were.
    pub cpu_seconds: f64,
}

impl Usage {
    /// Reads the counters now.
    pub(crate) fn now() -> Result<Self> {
        let io = fs::read_to_string("/proc/self/io").context("read /proc/self/io")?;
        Ok(Self {
            dirtied_bytes: number_after(&io, "\nwrite_bytes:").unwrap_or(0),
            wchar_bytes: number_after(&io, "\nwchar:").unwrap_or(0),
            cpu_seconds: cpu_seconds(),
        })
    }
}

/// Seconds of processor time that this process has used.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Sets the peak of resident memory back to what is resident now.
pub(crate) fn reset_memory_peak() {
    // A kernel that refuses leaves the peak of the whole process, which is merely less precise.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Peak of resident memory of this process, in bytes.
pub(crate) fn memory_peak_bytes() -> u64 {
    status_bytes("self", "\nVmHWM:")
}

/// Resident anonymous memory of `process` (`self`, or its number), in bytes; zero once it is gone.
pub(crate) fn anonymous_bytes(process: &str) -> u64 {
    status_bytes(process, "\nRssAnon:")
}

fn status_bytes(process: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    number_after(&status, name).unwrap_or(0) * 1024
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.split_once(name)?.1.split_whitespace().next()?.parse().ok()
}

/// Bytes that the files below `dir` occupy on the disk, holes not counted.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0, // removed since it was listed
    };
    entries.flatten().map(size).sum()
}

/// How long the process must do next to nothing to count as quiet.
const QUIET: Duration = Duration::from_millis(500);
/// When to stop hoping.
const QUIET_WAIT_MAX: Duration = Duration::from_secs(3600);

/// Waits until background work has ended, and says since when; nothing, if it does not end.
///
/// It has ended once the process used less than 3 % of a processor and wrote nothing for [`QUIET`].
pub(crate) fn wait_until_quiet() -> Option<Instant> {
    let limit = Instant::now() + QUIET_WAIT_MAX;
    while Instant::now() < limit {
        let (since, before) = (Instant::now(), Usage::now().ok()?);
        std::thread::sleep(QUIET);
        let after = Usage::now().ok()?;
        let worked = after.cpu_seconds - before.cpu_seconds > QUIET.as_secs_f64() * 0.03;
        if !worked && after.dirtied_bytes <= before.dirtied_bytes {
            return Some(since);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_an_operation_counts_as_zero_and_the_last_part_of_one_not_at_all() {
        let (mut seconds, began) = (Seconds::default(), Instant::now());
        for after_ms in [100, 200, 900, 3500, 3900, 4100] {
            seconds.count(Duration::from_millis(100), began + Duration::from_millis(after_ms));
        }
        assert_eq!(seconds.whole, [3, 0, 0, 2]);
        assert_eq!(seconds.running, 1);
    }
}
