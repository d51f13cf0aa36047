//! What to rewrite next: a pure function from the shape of the tree to one step.
//!
//! ```text
//!  level 0     flushed runs, each over all keys        ▭▭▭▭▭▭▭  ┐ many runs a level:
//!  level 5     merged runs, cut at the borders below   ▭│▭│▭│▭  ┘ tiers
//!  level 6     one run, the deepest and the largest    ▭│▭│▭│▭    leveled
//!                                                       └ a step: what lies over a border pair
//! ```
//!
//! Upper levels are tiers: their runs may overlap, and go down together when there are
//! [`Policy::fan_in`] of them over one place. A byte is thus written once a level there. The last
//! level is one run; what lies above a piece of it is merged in when it amounts to
//! [`Policy::young_percent`] of that piece. Levels between the first and the last come into use one
//! by one from below, as the data outgrow the tiers there are ([`Policy::tiers`]).
//!
//! 1. A step takes whole files: from the runs of one level all that lie over a range of keys, and
//!    from the last level what it meets there; so nothing stays that the output could pass (law 3).
//! 2. Files that are busy are not touched, and outputs of two steps never share a range of a run:
//!    steps that this function gives one after the other may run at the same time.
//! 3. Files that a range delete covers wholly, or in which all has expired, are dropped first, unread. A file that meets nothing
//!    below moves down unread. Then young levels come before deep ones.
//! 4. In a tree that gets no more input a chain of steps ends: [`choose`] comes to say none.
//!
//! After Dostoevsky's lazy leveling (Dayan, Idreos 2018), PebblesDB's guards (here the borders of
//! the last level, which need no bookkeeping), and RocksDB's dynamic level sizes.

use crate::base::id::FileId;
use std::collections::BTreeMap;

/// The deepest level.
pub const LAST: u32 = 6;

/// The numbers that steer the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Runs over one place of a level above the last that make it go down.
    pub fan_in: usize,
    /// How much must lie above a piece of the last level to be merged into it, in hundredths of it.
    pub young_percent: u64,
    /// Bytes of a flush, about.
    pub flush_bytes: u64,
    /// Whether nobody writes: then runs that would wait for company are merged for the readers.
    pub at_rest: bool,
    /// Of a hundred large values that come, how many take the place of others, about.
    pub overwrites: u64,
}

/// So much garbage among large values is found out by merging the refs to them, in hundredths of
/// what lives. It costs little: a ref is short.
const GARBAGE_PERCENT: u64 = 6;
/// Runs that gather before it is looked for.
const GARBAGE_RUNS: usize = 2;
/// Tombstones that free so much of a piece of the last level are merged into it, in hundredths.
const FREED_PERCENT: u64 = 40;
/// Above so much of the last level nothing is left at rest, in hundredths.
const REST_PERCENT: u64 = 10;
/// Runs over one place of an upper level that are merged at rest.
const REST_RUNS: usize = 3;
/// Flushed runs that gather before their bytes count.
const YOUNG_RUNS: usize = 4;
/// Of so many files at most a step drags in for the sake of a range delete that ends there.
const REACH_FILES_MAX: usize = 8;
/// How far the upper levels may fall short of `young_percent` before one more comes into use.
const SLACK: u64 = 2;
/// Pieces that the last level is cut into, about.
const PIECES: u64 = 64;

impl Policy {
    /// The usual one: few writes, and space and reads within bounds.
    pub const BALANCED: Self = Self {
        fan_in: 16,
        young_percent: 75,
        flush_bytes: 32 << 20,
        at_rest: false,
        overwrites: 50,
    };
    /// For loads of writes: half of the rewrites, twice the space.
    pub const WRITE_HEAVY: Self = Self { fan_in: 20, young_percent: 150, ..Self::BALANCED };
    /// For loads of reads: few runs, many rewrites.
    pub const READ_HEAVY: Self = Self { fan_in: 4, young_percent: 20, ..Self::BALANCED };

    /// Levels in use above the last, for so many bytes in all.
    pub fn tiers(&self, total_bytes: u64) -> u32 {
        let wanted = total_bytes.saturating_mul(self.young_percent) / 100 / SLACK;
        let mut room = self.flush_bytes.max(1).saturating_mul(self.fan_in as u64);
        let mut tiers = 1;
        while room < wanted && tiers < LAST {
            room = room.saturating_mul(self.fan_in as u64);
            tiers += 1;
        }
        tiers
    }

    /// Bytes of a file on the last level.
    pub fn segment_bytes(&self, total_bytes: u64) -> u64 {
        (total_bytes / PIECES).clamp(2 * self.flush_bytes.max(1), 1 << 30)
    }
}

/// One file, as far as the choice depends on it. Keys are full keys.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its number.
    pub id: FileId,
    /// Its size.
    pub bytes: u64,
    /// How many entries it has.
    pub entries: u64,
    /// How many of them are tombstones of one key.
    pub deletes: u64,
    /// Its first key.
    pub smallest: &'a [u8],
    /// Its last key.
    pub largest: &'a [u8],
    /// The end of its furthest range delete, if that lies above `largest`; else `largest`.
    pub reach: &'a [u8],
    /// Whether it has range deletes.
    pub has_ranges: bool,
    /// Bytes of large values that it refers to.
    pub blob_bytes: u64,
    /// Whether a step that runs has it as an input.
    pub busy: bool,
    /// What can be gained from it alone.
    pub waste: Waste,
}

/// What can be gained from one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waste {
    /// Nothing that is known.
    #[default]
    None,
    /// On the last level: less than half of it has expired. Not worth a rewrite but where all is to go.
    Few,
    /// On the last level: versions or tombstones that nobody needs any more.
    Some,
    /// On the last level: half of it or more has expired. It goes whether others write or not.
    Most,
    /// A range delete covers all of it, and no reader needs it; or all of it has expired, and it hides
    /// nothing.
    All,
}

/// One run: files in ascending order, disjoint.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Its level.
    pub level: u32,
    /// Its number.
    pub number: u64,
    /// Its files.
    pub files: Vec<File<'a>>,
}

/// Keys of a run that the outputs of a running step will take.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The level of the run.
    pub level: u32,
    /// Its number.
    pub run: u64,
    /// The first key, included.
    pub smallest: &'a [u8],
    /// The last key, included.
    pub largest: &'a [u8],
}

/// The tree: runs newest first, and what is going on in it.
#[derive(Clone, Debug, Default)]
pub struct Shape<'a> {
    /// By level, then newest first.
    pub runs: Vec<Run<'a>>,
    /// Of running steps.
    pub claims: Vec<Claim<'a>>,
}

/// What to do with the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Merge them into new files.
    Merge,
    /// Name them in another run: nothing is read.
    Move,
    /// Forget them: nothing is read.
    Drop,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// The inputs, by run newest first.
    pub inputs: Vec<FileId>,
    /// The level of the output.
    pub level: u32,
    /// The run that takes the output; none for a new one, which is named when the step is done, so
    /// that what came down meanwhile is older. On the last level, the run that is there then.
    pub run: Option<u64>,
    /// The first and the last key of all inputs.
    pub keys: (Box<[u8]>, Box<[u8]>),
    /// Bytes of the inputs.
    pub bytes: u64,
}

/// The next step; none if all is well.
pub fn choose(shape: &Shape<'_>, policy: &Policy) -> Option<Step> {
    let tree = Tree { shape, policy, total: total_bytes(shape) };
    tree.drop_covered()
        .or_else(|| tree.move_down())
        .or_else(|| (0..LAST).find_map(|level| tree.merge_down(level)))
        .or_else(|| tree.clean_up(&[Waste::Most]))
        .or_else(|| policy.at_rest.then(|| tree.clean_up(&[Waste::Some])).flatten())
}

/// The next of the steps that bring everything into the last level, whatever it costs.
pub fn choose_all(shape: &Shape<'_>, policy: &Policy) -> Option<Step> {
    let tree = Tree { shape, policy, total: total_bytes(shape) };
    tree.drop_covered()
        .or_else(|| tree.move_down())
        .or_else(|| {
            (0..LAST).find_map(|level| {
                let seeds = tree.level(level).flat_map(|run| &run.files).filter(|file| !file.busy);
                let below = tree.below(level);
                seeds
                    .into_iter()
                    .find_map(|seed| tree.step(tree.gather(level, below, seed)?, below))
            })
        })
        .or_else(|| tree.clean_up(&[Waste::Few, Waste::Some, Waste::Most]))
}

fn total_bytes(shape: &Shape<'_>) -> u64 {
    shape.runs.iter().flat_map(|run| &run.files).map(|file| file.bytes).sum()
}

/// Files that must go together.
#[derive(Debug)]
struct Range<'a> {
    /// The first and the last key, included.
    ends: (&'a [u8], &'a [u8]),
    files: Vec<&'a File<'a>>,
    /// Runs above the target that have a part in it.
    runs: usize,
    young_bytes: u64,
    /// Of these, what tombstones are worth: the bytes that they free.
    freed_bytes: u64,
    /// Whether there are range deletes among them, whose worth is not known.
    has_ranges: bool,
    last_bytes: u64,
    /// Large values that are thought to be dead, in hundredths of what lives.
    garbage_percent: u64,
}

struct Tree<'a> {
    shape: &'a Shape<'a>,
    policy: &'a Policy,
    total: u64,
}

impl<'a> Tree<'a> {
    fn level(&self, level: u32) -> impl Iterator<Item = &'a Run<'a>> {
        self.shape.runs.iter().filter(move |run| run.level == level)
    }

    /// Invariant 3: all files that can go unread, at once.
    fn drop_covered(&self) -> Option<Step> {
        let files = self.shape.runs.iter().flat_map(|run| &run.files);
        let gone: Vec<_> = files.filter(|f| f.waste == Waste::All && !f.busy).collect();
        let first = gone.first()?;
        let smallest = gone.iter().map(|file| file.smallest).min().unwrap_or(first.smallest);
        let largest = gone.iter().map(|file| file.largest).max().unwrap_or(first.largest);
        Some(Step {
            action: Action::Drop,
            inputs: gone.iter().map(|file| file.id).collect(),
            level: LAST,
            run: None,
            keys: (smallest.into(), largest.into()),
            bytes: gone.iter().map(|file| file.bytes).sum(),
        })
    }

    /// A file that meets nothing in any older run, and is large enough to stay as it is.
    fn move_down(&self) -> Option<Step> {
        let large = self.policy.flush_bytes / 4;
        for (at, run) in self.shape.runs.iter().enumerate().rev() {
            if run.level == LAST {
                continue;
            }
            let older = self.shape.runs.get(at + 1..).unwrap_or_default();
            let moves = run.files.iter().find(|file| {
                let meets = |run: &Run<'a>| !overlapping(run, file.smallest, file.reach).is_empty();
                // A tombstone that goes down unread would stay there for good.
                let plain = file.deletes == 0 && !file.has_ranges;
                let meets_none = !file.busy && plain && !older.iter().any(meets);
                meets_none
                    && file.bytes >= large
                    && self.is_free(LAST, None, (file.smallest, file.largest))
            });
            if let Some(file) = moves {
                return Some(Step {
                    action: Action::Move,
                    inputs: vec![file.id],
                    level: LAST,
                    run: self.level(LAST).next().map(|run| run.number),
                    keys: (file.smallest.into(), file.largest.into()),
                    bytes: file.bytes,
                });
            }
        }
        None
    }

    /// Where what leaves `level` goes: the next level in use.
    fn below(&self, level: u32) -> u32 {
        let dynamic = (LAST + 1 - self.policy.tiers(self.total)).max(level + 1);
        let used = self.shape.runs.iter().map(|run| run.level).filter(|used| *used > level).min();
        dynamic.min(used.unwrap_or(LAST)).min(LAST)
    }

    /// The most urgent step out of `level`, if one is due.
    fn merge_down(&self, level: u32) -> Option<Step> {
        let deep = self.policy.at_rest && level > 0;
        let below = if deep { LAST } else { self.below(level) };
        let mut best: Option<(u64, Range<'a>)> = None;
        // What was gathered from one seed is what any file of it gathers; such ranges are disjoint.
        let mut done: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for seed in self.level(level).flat_map(|run| &run.files).filter(|file| !file.busy) {
            let before = done.range(..=seed.smallest).next_back();
            if before.is_some_and(|(_, to)| seed.largest <= *to) {
                continue;
            }
            let Some(range) = self.gather(level, below, seed) else { continue };
            done.insert(range.ends.0, range.ends.1);
            let Some(score) = self.score(level, &range, below) else { continue };
            if best.as_ref().is_none_or(|(other, _)| *other < score) {
                best = Some((score, range));
            }
        }
        if let Some((_, range)) = best {
            return self.step(range, below);
        }
        self.policy.at_rest.then(|| self.merge_within(level, below)).flatten()
    }

    /// How urgent it is that `range` goes to `below`, in hundredths; none if it is not due.
    fn score(&self, level: u32, range: &Range<'a>, below: u32) -> Option<u64> {
        let Policy { fan_in, young_percent, at_rest, .. } = *self.policy;
        let by_runs = range.runs as u64 * 100 / fan_in as u64;
        let percent = range.young_bytes.saturating_mul(100) / range.last_bytes.max(1);
        let by_bytes = match (below, range.last_bytes) {
            (LAST, _) if at_rest => percent.saturating_mul(100) / REST_PERCENT,
            _ if at_rest => range.young_bytes.saturating_mul(10_000) / self.total / REST_PERCENT,
            // A few flushes into a small piece: it is small, but let some more gather.
            (LAST, 1..) if level > 0 || range.runs >= YOUNG_RUNS.min(fan_in) => {
                let freed = range.freed_bytes.saturating_mul(100) / range.last_bytes * 100;
                (percent.saturating_mul(100) / young_percent.max(1)).max(freed / FREED_PERCENT)
            }
            _ => 0,
        };
        // What a range delete covers in part is freed only where the two meet.
        let by_ranges = if at_rest && range.has_ranges { 100 } else { 0 };
        let is_due = below == LAST && range.runs >= GARBAGE_RUNS;
        let by_garbage = if is_due { range.garbage_percent * 100 / GARBAGE_PERCENT } else { 0 };
        let score = by_runs.max(by_bytes).max(by_ranges).max(by_garbage);
        (score >= 100).then_some(score)
    }

    /// At rest: makes one run of those over one place that are too small to go down.
    fn merge_within(&self, level: u32, below: u32) -> Option<Step> {
        for seed in self.level(level).flat_map(|run| &run.files).filter(|file| !file.busy) {
            let Some(range) = self.gather(level, level, seed) else { continue };
            if range.runs >= REST_RUNS {
                // Out of level 0: there, what stays between them in age would lie between in keys of
                // the one run they become.
                let to = if level == 0 { below.min(LAST - 1) } else { level };
                return self.step(range, to);
            }
        }
        None
    }

    /// On the last level: files with such waste, which nobody needs any more. A little that lies above one
    /// may stay there for good at rest, so nothing waits for it.
    fn clean_up(&self, wastes: &[Waste]) -> Option<Step> {
        let run = self.level(LAST).next()?;
        let seeds = run.files.iter().filter(|file| !file.busy && wastes.contains(&file.waste));
        for seed in seeds {
            // A range delete that ends beyond what goes along could not go: nothing would be gained.
            let range = self.gather(LAST, LAST, seed);
            let range = range.filter(|range| {
                let beyond = overlapping(run, range.ends.1, seed.reach);
                beyond.iter().all(|held| range.files.iter().any(|file| file.id == held.id))
            });
            if let Some(range) = range {
                return self.step(range, LAST);
            }
        }
        None
    }

    /// All files of `level` that must go along with `seed`, and those of `to` that they meet there
    /// if that is the last level. None if one of them is busy.
    fn gather(&self, level: u32, to: u32, seed: &'a File<'a>) -> Option<Range<'a>> {
        let (mut smallest, mut largest) = (seed.smallest, seed.largest);
        let levels = |run: &&Run<'a>| {
            run.level == level || to == LAST && (level..=LAST).contains(&run.level)
        };
        let mut count = 0;
        let mut files: Vec<&File<'a>> = Vec::new();
        loop {
            files.clear();
            for run in self.shape.runs.iter().filter(levels) {
                files.extend(overlapping(run, smallest, largest));
            }
            for file in &files {
                smallest = smallest.min(file.smallest);
                largest = largest.max(file.largest);
            }
            if files.len() == count {
                break;
            }
            count = files.len();
        }
        if to == LAST {
            self.reach(level, &mut files, &mut largest);
            self.small_neighbour(level, &mut files, &mut smallest);
        }
        if files.iter().any(|file| file.busy) {
            return None;
        }
        let is_young = |run: &&Run<'a>| run.level != to || level == to;
        let young = self.shape.runs.iter().filter(levels).filter(is_young);
        let young = young.map(|run| overlapping(run, smallest, largest));
        let (mut runs, mut young_bytes, mut deletes, mut has_ranges) = (0, 0, 0, false);
        let mut young_blobs = 0;
        for part in young.filter(|part| !part.is_empty()) {
            runs += 1;
            young_bytes += part.iter().map(|file| file.bytes).sum::<u64>();
            deletes += part.iter().map(|file| file.deletes).sum::<u64>();
            has_ranges |= part.iter().any(|file| file.has_ranges);
            young_blobs += part.iter().map(|file| file.blob_bytes).sum::<u64>();
        }
        let last = self.level(to).filter(|run| level != to && run.level == LAST);
        let last = last.flat_map(|run| overlapping(run, smallest, largest));
        let (mut last_bytes, mut last_entries, mut last_blobs) = (0, 0, 0);
        for file in last {
            last_bytes += file.bytes;
            last_entries += file.entries;
            last_blobs += file.blob_bytes;
        }
        let freed_bytes = deletes.saturating_mul(last_bytes / last_entries.max(1));
        young_bytes += freed_bytes;
        let garbage = young_blobs / 100 * self.policy.overwrites
            + deletes.saturating_mul(last_blobs / last_entries.max(1));
        let lives = (last_blobs + young_blobs).saturating_sub(garbage).max(1);
        let garbage_percent = garbage.saturating_mul(100) / lives;
        let ends = (smallest, largest);
        Some(Range {
            ends,
            files,
            runs,
            young_bytes,
            freed_bytes,
            has_ranges,
            last_bytes,
            garbage_percent,
        })
    }

    /// Takes along what a range delete among `files` still covers beyond them, so that it can go
    /// with it; unless that is much.
    fn reach(&self, level: u32, files: &mut Vec<&'a File<'a>>, largest: &mut &'a [u8]) {
        let reach = files.iter().map(|file| file.reach).max().unwrap_or(*largest);
        if reach <= *largest {
            return;
        }
        let (mut from, mut to) = (*largest, reach);
        let mut more: Vec<&File<'a>> = Vec::new();
        loop {
            let count = more.len();
            more.clear();
            let runs = self.shape.runs.iter().filter(|run| run.level >= level);
            for file in runs.flat_map(|run| overlapping(run, from, to)) {
                more.push(file);
                from = from.min(file.smallest);
                to = to.max(file.largest);
            }
            if more.len() > count + REACH_FILES_MAX || more.len() > files.len() + REACH_FILES_MAX {
                return;
            }
            if more.len() == count {
                break;
            }
        }
        more.retain(|file| files.iter().all(|known| known.id != file.id));
        let is_closed = more.iter().all(|file| file.smallest > *largest);
        if is_closed && more.iter().all(|file| !file.busy) {
            *largest = more.iter().map(|file| file.largest).max().unwrap_or(*largest).max(*largest);
            files.extend(more);
        }
    }

    /// Takes along the file of the last level just before, if both are small: sorted loads in small
    /// flushes would leave many files otherwise.
    fn small_neighbour(&self, level: u32, files: &mut Vec<&'a File<'a>>, smallest: &mut &'a [u8]) {
        let large = self.policy.flush_bytes / 2;
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let Some(last) = self.level(LAST).next().filter(|_| level < LAST && bytes < large) else {
            return;
        };
        let before = last.files.partition_point(|file| file.largest < *smallest);
        let neighbour = before.checked_sub(1).and_then(|at| last.files.get(at));
        if let Some(file) = neighbour.filter(|file| !file.busy && file.bytes < large) {
            *smallest = file.smallest;
            files.push(file);
        }
    }

    /// The step that brings `range` to `level`; none if outputs of another will lie there.
    fn step(&self, range: Range<'a>, level: u32) -> Option<Step> {
        let Range { ends: (smallest, largest), files, .. } = range;
        let stays = |run: &Run<'a>| {
            overlapping(run, smallest, largest)
                .iter()
                .all(|held| files.iter().any(|file| file.id == held.id))
        };
        // The newest run there, if nothing of it that stays lies in the way; else a new one above.
        let newest = self.level(level).next();
        let may_join = |run: &&Run<'a>| {
            stays(run) && self.is_free(level, Some(run.number), (smallest, largest))
        };
        let run = newest.filter(may_join).map(|run| run.number);
        let one_run_only = level == LAST;
        if one_run_only
            && (run.is_some() != newest.is_some() || !self.is_free(LAST, None, (smallest, largest)))
        {
            return None;
        }
        let inputs = self.shape.runs.iter().flat_map(|run| &run.files);
        let inputs = inputs.filter(|f| files.iter().any(|file| file.id == f.id));
        Some(Step {
            action: Action::Merge,
            inputs: inputs.map(|file| file.id).collect(),
            level,
            run,
            keys: (smallest.into(), largest.into()),
            bytes: files.iter().map(|file| file.bytes).sum(),
        })
    }

    /// Whether no running step will put anything from `smallest` to `largest` into `run` of `level`;
    /// without one, into any run there.
    fn is_free(&self, level: u32, run: Option<u64>, (smallest, largest): (&[u8], &[u8])) -> bool {
        let lies_there =
            |claim: &&Claim<'_>| claim.level == level && run.is_none_or(|run| claim.run == run);
        let mut claims = self.shape.claims.iter().filter(lies_there);
        claims.all(|claim| claim.largest < smallest || largest < claim.smallest)
    }
}

/// The files of `run` that may hold a key from `smallest` to `largest`.
fn overlapping<'a>(run: &'a Run<'a>, smallest: &[u8], largest: &[u8]) -> &'a [File<'a>] {
    let from = run.files.partition_point(|file| file.largest < smallest);
    let rest = run.files.get(from..).unwrap_or_default();
    let len = rest.partition_point(|file| file.smallest <= largest);
    rest.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests;
