//! Watches a child from outside: its anonymous memory every 10 ms, its disk every 50 ms.
//!
//! Outside, so that the watching costs the child no time and does not count as its own.

#![expect(clippy::disallowed_methods, reason = "a benchmark watches with a thread of its own")]

use crate::meter::{anonymous_bytes, disk_bytes};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two looks at the memory.
const EVERY: Duration = Duration::from_millis(10);
/// Looks at the memory for each look at the disk, which takes a call for every file.
const LOOKS_PER_DISK: u32 = 5;

/// Peaks since they were last taken.
#[derive(Default)]
struct Peaks {
    disk: AtomicU64,
    anonymous: AtomicU64,
    done: AtomicBool,
}

/// A thread that watches one child until this is dropped.
pub(crate) struct Sampler {
    peaks: Arc<Peaks>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Watches process `pid` and its folder.
    pub(crate) fn new(pid: u32, dir: PathBuf) -> Self {
        let peaks = Arc::new(Peaks::default());
        let (seen, process) = (Arc::clone(&peaks), pid.to_string());
        let thread = std::thread::spawn(move || {
            for look in 0_u32.. {
                if seen.done.load(Ordering::Relaxed) {
                    break;
                }
                if look.is_multiple_of(LOOKS_PER_DISK) {
                    seen.disk.fetch_max(disk_bytes(&dir), Ordering::Relaxed);
                }
                seen.anonymous.fetch_max(anonymous_bytes(&process), Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
        });
        Self { peaks, thread: Some(thread) }
    }

    /// The peaks of disk and anonymous memory since the last call, in bytes.
    pub(crate) fn take(&self) -> (u64, u64) {
        (
            self.peaks.disk.swap(0, Ordering::Relaxed),
            self.peaks.anonymous.swap(0, Ordering::Relaxed),
        )
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.peaks.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A sampler that panicked only lost peaks.
            let _ = thread.join();
        }
    }
}
