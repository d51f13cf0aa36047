//! Which step of compaction comes next: what the policy is shown, and what it chose, taken hold of.
//!
//! ```text
//!   version, pins, what is going on ─▶ Shape ─ policy ─▶ step ─▶ Picked: its files, busy from now on
//! ```
//!
//! 1. Looking and taking hold are one moment, under the lock of [`Steps`](super::steps::Steps).
//! 2. What the policy is told of waste is what a rewrite could drop now: nobody comes back for nothing.

use super::due::expired;
use super::plan::Picked;
use super::steps::{Busy, Claimed, Running, Want};
use crate::base::id::{FileId, SeqNo};
use crate::base::span::Skyline;
use crate::base::time::Time;
use crate::compaction::policy::{
    Action, Claim, File, LAST, Policy, Run, Shape, Waste, choose, choose_all,
};
use crate::db::core::{Core, Writing};
use crate::merge::run::Segments;
use crate::segment::SegmentMeta;
use crate::segment::handle::Segment;
use crate::tree::version::Version;
use std::collections::HashSet;

impl Core {
    /// Whether nobody writes and nothing waits to be flushed.
    pub(super) fn is_at_rest(&self, writing: &Writing) -> bool {
        let is_quiet = writing.committer.memtable_is_empty() || writing.committer.is_resting();
        writing.queue.is_empty() && is_quiet
    }

    fn policy(&self, writing: &Writing) -> Policy {
        let at_rest = self.is_at_rest(writing);
        let overwrites = writing.steps.running.lock().overwrites.percent();
        let flush_bytes = self.options.slab() as u64;
        Policy { flush_bytes, at_rest, overwrites, ..self.options.compaction }
    }

    /// Chooses a step, and holds its files and its range.
    pub(super) fn pick(&self, writing: &Writing, want: Want) -> Option<(Picked, Busy)> {
        let policy = self.policy(writing);
        let now = match want {
            Want::Due => self.now(),
            // The clock may have been set back.
            Want::All(until) => self.now().max(until),
        };
        let mut running = writing.steps.running.lock();
        let version = self.views.load_full().version.clone();
        let pins = self.snapshots.pinned();
        // What expires while all is compacted is none of it: that would not end.
        let seen_at = if let Want::All(until) = want { until } else { now };
        let shape = shape_of(&version, &running, &pins, seen_at);
        let step = match want {
            Want::Due => choose(&shape, &policy),
            Want::All(_) => choose_all(&shape, &policy),
        };
        drop(shape);
        if step.is_none() && !pins.is_empty() {
            self.snapshots.hold_back();
        }
        let step = step?;
        let wanted: HashSet<FileId> = step.inputs.iter().copied().collect();
        let inputs = version.runs.iter().map(|run| {
            let part = run.segments.iter().filter(|segment| wanted.contains(&segment.meta().id));
            part.cloned().collect::<Segments>()
        });
        let inputs = inputs.filter(|part| !part.is_empty()).collect();
        let total_bytes = version.segments().map(|segment| segment.meta().bytes).sum();
        running.next_token += 1;
        running.count += 1;
        let token = running.next_token;
        running.busy.extend(wanted);
        if step.action != Action::Drop {
            let (level, run, keys) = (step.level, step.run, step.keys.clone());
            running.claims.push(Claimed { token, level, run, keys });
        }
        drop(running);
        let busy = Busy { steps: writing.steps.clone(), token, inputs: step.inputs.clone() };
        Some((Picked { step, version, inputs, policy, total_bytes, now }, busy))
    }
}

/// What the policy sees of a version.
fn shape_of<'a>(
    version: &'a Version,
    running: &'a Running,
    pins: &[SeqNo],
    now: Time,
) -> Shape<'a> {
    let skyline = version.spans.skyline(SeqNo::MAX);
    let seen = Seen { version, running, pins, skyline: &skyline, now };
    let runs = version.runs.iter().enumerate().map(|(place, run)| Run {
        level: run.level,
        number: run.number,
        files: run.segments.iter().map(|segment| seen.file(segment, place)).collect(),
    });
    let claims = running.claims.iter().map(|claim| Claim {
        level: claim.level,
        run: claim.run.unwrap_or(u64::MAX),
        smallest: &claim.keys.0,
        largest: &claim.keys.1,
    });
    Shape { runs: runs.collect(), claims: claims.collect() }
}

/// What decides how the policy sees a file.
struct Seen<'a> {
    version: &'a Version,
    running: &'a Running,
    pins: &'a [SeqNo],
    skyline: &'a Skyline,
    now: Time,
}

impl Seen<'_> {
    /// A file of the run at `place`.
    fn file<'b>(&self, segment: &'b Segment, place: usize) -> File<'b> {
        let meta = segment.meta();
        File {
            id: meta.id,
            bytes: meta.bytes,
            entries: meta.entries,
            deletes: meta.deletes,
            smallest: &meta.smallest,
            largest: &meta.largest,
            reach: segment.reach(),
            has_ranges: meta.range_deletes > 0,
            blob_bytes: meta.blob_bytes,
            busy: self.running.busy.contains(&meta.id),
            waste: self.waste(segment, place),
        }
    }

    fn waste(&self, segment: &Segment, place: usize) -> Waste {
        let meta = segment.meta();
        let expired = expired(self.version, place, meta, self.now);
        if expired == Waste::All || self.is_covered(meta) {
            return Waste::All;
        }
        let level = self.version.runs.get(place).map(|run| run.level).unwrap_or_default();
        let is_unpinned = self.pins.first().is_none_or(|oldest| *oldest >= meta.seq_max);
        let has_tombstones = meta.deletes + meta.range_deletes > 0;
        let has_any = has_tombstones || self.running.kept_for_pins.contains(&meta.id);
        let is_waste = level == LAST && has_any && is_unpinned;
        // What the last rewrite could not drop stays until the reader has gone for whom it was kept: it
        // is no reason to come back, what has expired since is.
        let kept_at = self.running.kept_expired.get(&meta.id).filter(|_| !is_unpinned);
        let is_new = |moment: Time| kept_at.is_none_or(|kept| *kept < moment);
        match expired {
            Waste::Most if is_new(meta.expiries.half) => Waste::Most,
            _ if is_waste && !self.covers_above(segment) => Waste::Some,
            Waste::Few | Waste::Most if is_new(self.now) => Waste::Few,
            _ => Waste::None,
        }
    }

    /// Whether a younger run may hold what range deletes of `segment` cover: they could not go.
    fn covers_above(&self, segment: &Segment) -> bool {
        let meta = segment.meta();
        let above = self.version.runs.iter().filter(|run| run.level < LAST);
        let mut above = above.flat_map(|run| run.between(&meta.smallest, segment.reach()));
        meta.range_deletes > 0 && above.any(|held| held.meta().seq_min < meta.seq_max)
    }

    /// Whether range deletes hide every entry from every reader there can be. A file with range
    /// deletes of its own stays: they may reach further.
    fn is_covered(&self, meta: &SegmentMeta) -> bool {
        if self.skyline.is_empty() || meta.range_deletes > 0 {
            return false;
        }
        let mut key = &*meta.smallest;
        loop {
            let fragment = self.skyline.at(key);
            // A reader between the two sees entries that the range delete hides from later ones.
            let between = |pin: &SeqNo| meta.seq_min <= *pin && *pin < fragment.seq;
            if fragment.seq <= meta.seq_max || self.pins.iter().any(between) {
                return false;
            }
            match fragment.end {
                Some(end) if *end <= *meta.largest => key = end,
                _ => return true,
            }
        }
    }
}
