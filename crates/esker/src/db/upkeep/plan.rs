//! What a step of compaction is to do: what it may drop, and in which parts it is carried out.
//!
//! 1. What a step may drop is decided from the version and the pins at its start. Later changes only
//!    bring newer data, so the decision stays right.
//! 2. A merge that is large enough is cut by keys into [`parts`](super::parts), which whoever compacts
//!    takes before he chooses another step. Their sums together are those of the whole (law 6), and
//!    one edit publishes them. A merge with range deletes stays whole: one of them is judged together
//!    with all that it covers.

#[cfg(test)]
use super::steps::{Busy, Steps};
use crate::base::error::Result;
use crate::base::id::SeqNo;
use crate::base::setsum::Setsum;
use crate::base::time::Time;
use crate::compaction::cuts::{Part, Wish, cut, stretches};
use crate::compaction::policy::{Action, LAST, Policy, Step};
use crate::db::core::Core;
use crate::merge::retain::{Beneath, Keep};
use crate::merge::run::Segments;
use crate::segment::SegmentMeta;
use crate::segment::handle::Segment;
use crate::tree::version::{LiveRun, Version};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A step that was chosen.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) step: Step,
    pub(super) version: Arc<Version>,
    /// The inputs, run by run, newest first.
    pub(super) inputs: Vec<Segments>,
    pub(super) policy: Policy,
    pub(super) total_bytes: u64,
    /// What expires by then is gone.
    pub(super) now: Time,
}

/// A step with all that its parts need.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) picked: Picked,
    /// At least one.
    pub(super) parts: Vec<Part>,
    pub(super) keep: Keep,
    /// Where outputs end in any case.
    pub(super) borders: Vec<Box<[u8]>>,
}

impl Core {
    /// Decides what `picked` may drop, and cuts it into parts.
    pub(super) fn plan(&self, picked: Picked) -> Result<Job> {
        if picked.step.action != Action::Merge {
            let parts = vec![Part::default()];
            return Ok(Job { picked, parts, keep: Keep::default(), borders: Vec::new() });
        }
        let snapshots = self.snapshots.pinned();
        let keep = Keep {
            beneath: picked.beneath(),
            spans: picked.version.spans.all().clone(),
            spent: picked.spent(&snapshots)?,
            now: picked.now,
            snapshots,
        };
        let last = picked.version.runs.iter().filter(|run| run.level == LAST);
        let last = last.flat_map(|run| run.segments.iter()).map(|s| s.meta().smallest.clone());
        let is_last = picked.step.level == LAST;
        let borders: Vec<Box<[u8]>> = if is_last { Vec::new() } else { last.collect() };
        let bytes = picked.step.bytes;
        let part_bytes_min = picked.policy.flush_bytes.max(1);
        let parts_max = self.options.compaction_threads;
        let is_large = parts_max > 1 && bytes / 2 >= part_bytes_min;
        let has_ranges = picked.metas().any(|meta| meta.range_deletes > 0);
        let mut parts = Vec::new();
        if is_large && !has_ranges {
            let wish = Wish { parts_max, part_bytes_min, borders: &borders };
            parts = cut(&stretches(&picked.inputs)?, &wish);
        }
        if parts.len() < 2 {
            parts = vec![Part { bytes, ..Part::default() }];
        }
        Ok(Job { picked, parts, keep, borders })
    }
}

impl Picked {
    pub(super) fn metas(&self) -> impl Iterator<Item = &SegmentMeta> {
        self.inputs.iter().flat_map(|run| run.iter()).map(|segment| segment.meta())
    }

    /// The sum of the inputs, as the manifest knows it.
    pub(super) fn input(&self) -> Setsum {
        self.metas().fold(Setsum::ZERO, |sum, meta| sum + meta.setsum)
    }

    fn is_input(&self, segment: &Segment) -> bool {
        self.inputs.iter().any(|run| {
            let meta = segment.meta();
            let at = run.partition_point(|input| input.meta().smallest < meta.smallest);
            run.get(at).is_some_and(|input| input.meta().id == meta.id)
        })
    }

    /// What older runs hold over the keys of the inputs, beside them.
    fn beneath(&self) -> Beneath {
        let (smallest, largest) = &self.step.keys;
        let has_input = |run: &LiveRun| run.segments.iter().any(|s| self.is_input(s));
        let newest = self.version.runs.iter().position(has_input);
        let older = self.version.runs.iter().skip(newest.unwrap_or(0));
        let parts = older.map(|run| {
            let part = run.between(smallest, largest).iter().filter(|s| !self.is_input(s));
            part.cloned().collect::<Segments>()
        });
        Beneath::of(parts.filter(|part| !part.is_empty()).collect())
    }

    /// The range deletes of the inputs that can go: nothing that they cover is left elsewhere, and
    /// no pin is older (law 4).
    fn spent(&self, pins: &[SeqNo]) -> Result<BTreeSet<SeqNo>> {
        let mut spent = BTreeSet::new();
        for segment in self.inputs.iter().flat_map(|run| run.iter()) {
            for span in segment.spans()?.iter() {
                let mut covered = self.version.runs.iter().flat_map(|run| {
                    run.between(&span.start, &span.end).iter().filter(|s| {
                        let meta = s.meta();
                        meta.seq_min < span.seq && *meta.smallest < *span.end && !self.is_input(s)
                    })
                });
                let is_pinned = pins.first().is_some_and(|oldest| *oldest < span.seq);
                if covered.next().is_none() && !is_pinned {
                    spent.insert(span.seq);
                }
            }
        }
        Ok(spent)
    }
}

#[cfg(test)]
impl Job {
    /// A step of `parts` parts with nothing in it, which runs in `steps`.
    pub(super) fn sample(steps: &Arc<Steps>, parts: usize) -> (Self, Busy) {
        let step = Step {
            action: Action::Merge,
            inputs: Vec::new(),
            level: LAST,
            run: None,
            keys: Default::default(),
            bytes: 0,
        };
        let version = Arc::default();
        let (inputs, policy, total_bytes) = (Vec::new(), Policy::BALANCED, 0);
        let now = Time::default();
        let picked = Picked { step, version, inputs, policy, total_bytes, now };
        let parts = vec![Part::default(); parts];
        steps.running.lock().count += 1;
        let busy = Busy { steps: steps.clone(), token: 0, inputs: Vec::new() };
        (Self { picked, parts, keep: Keep::default(), borders: Vec::new() }, busy)
    }
}
