//! The workloads by name, and the stage they run on: one engine, open on one folder.
//!
//! 1. A workload that fills starts from an empty folder, whatever ran before it.
//! 2. A workload that reads finds a filled database (it is filled untimed if need be), settled: what
//!    was written is flushed and background work has ended. Settling is a row of its own.
//! 3. Durable workloads have a database of their own, which is gone when they end.
//! 4. Every value that is read is touched and checked, and every hit is counted.

mod fill;
mod life;
mod mixed;
mod queue;
mod range;
mod read;
mod stage;
mod sync;
mod transfer;
mod update;
mod ycsb;

pub(crate) use stage::run;

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Inserts in the order of the keys, one a commit.
    FillSeq,
    /// Inserts all over the key space, one a commit.
    FillRandom,
    /// Scattered inserts, a thousand a commit.
    Batch,
    /// Durable scattered inserts by this many writers.
    Sync(usize),
    /// Gets of present keys, each as likely as any other.
    ReadRandom,
    /// Gets of absent keys.
    ReadMissing,
    /// Seeks to a present key and reads a few pairs.
    Seek,
    /// Seeks to a present key and reads a hundred pairs.
    Seek100,
    /// Reads everything forward.
    Scan,
    /// Reads everything backward.
    ReverseScan,
    /// Skewed replacement of present keys.
    Overwrite,
    /// Skewed replacement of every tenth key, as many times as there are keys.
    OverwriteTenth,
    /// One of the YCSB mixes.
    Ycsb(ycsb::Mix),
    /// Removes every second key.
    Delete,
    /// Scans from the start of a database whose first keys are removed, and a queue that goes on
    /// from there; in a database of its own.
    TombstoneScan,
    /// Removes every second hundred of keys, a hundred a call, in a database of its own.
    RangeDelete,
    /// Gets, while one more thread overwrites as fast as it can.
    ReadWhileWriting,
    /// Closes, opens, and gets one key.
    Reopen,
    /// Optimistic transactions that move money between accounts, in a database of its own.
    Transfer,
}

/// The long run: fill, read, overwrite as long again, read again.
pub(crate) const BIG: &[Workload] = &[
    Workload::FillRandom,
    Workload::ReadRandom,
    Workload::ReadMissing,
    Workload::Seek,
    Workload::Seek100,
    Workload::Scan,
    Workload::OverwriteTenth,
    Workload::ReadRandom,
    Workload::ReadMissing,
    Workload::Seek,
    Workload::Seek100,
    Workload::Scan,
];

impl Workload {
    /// Its name on the command line and in the table.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The workload called `name`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }
}

impl ValueEnum for Workload {
    fn value_variants<'a>() -> &'a [Self] {
        use ycsb::Mix;
        &[
            Self::FillSeq,
            Self::Batch,
            Self::Sync(1),
            Self::Sync(8),
            Self::Sync(32),
            Self::TombstoneScan,
            Self::RangeDelete,
            Self::FillRandom,
            Self::ReadRandom,
            Self::ReadMissing,
            Self::Seek,
            Self::Seek100,
            Self::Scan,
            Self::ReverseScan,
            Self::Ycsb(Mix::C),
            Self::Ycsb(Mix::B),
            Self::Ycsb(Mix::A),
            Self::Ycsb(Mix::F),
            Self::Ycsb(Mix::E),
            Self::Overwrite,
            Self::OverwriteTenth,
            Self::ReadWhileWriting,
            Self::Delete,
            Self::Reopen,
            Self::Transfer,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        use ycsb::Mix;
        Some(PossibleValue::new(match self {
            Self::FillSeq => "fillseq",
            Self::FillRandom => "fillrandom",
            Self::Batch => "batch",
            Self::Sync(1) => "sync1",
            Self::Sync(8) => "sync8",
            Self::Sync(32) => "sync32",
            Self::Sync(_) => return None,
            Self::ReadRandom => "readrandom",
            Self::ReadMissing => "readmissing",
            Self::Seek => "seek",
            Self::Seek100 => "seek100",
            Self::Scan => "scan",
            Self::ReverseScan => "reverse-scan",
            Self::Overwrite => "overwrite",
            Self::OverwriteTenth => "overwrite-tenth",
            Self::Ycsb(Mix::A) => "ycsb-a",
            Self::Ycsb(Mix::B) => "ycsb-b",
            Self::Ycsb(Mix::C) => "ycsb-c",
            Self::Ycsb(Mix::E) => "ycsb-e",
            Self::Ycsb(Mix::F) => "ycsb-f",
            Self::Delete => "delete",
            Self::TombstoneScan => "tombstone-scan",
            Self::RangeDelete => "range-delete",
            Self::ReadWhileWriting => "read-while-writing",
            Self::Reopen => "reopen",
            Self::Transfer => "transfer",
        }))
    }
}
