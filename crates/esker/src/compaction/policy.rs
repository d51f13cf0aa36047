//! Which runs to merge next: a pure function of their sizes.
//!
//! Tiers of runs that grow by a factor: a window of adjacent runs is merged when it has at least
//! [`Policy::fan_in`] runs, and each run in it is at most [`Policy::ratio`] times as large as all
//! newer ones of the window together. So a byte is rewritten about `log(size)` times, and at most
//! [`Policy::runs_max`] runs stay.
//!
//! 1. Only runs adjacent in age are merged (law 3): a choice is a range of indexes, newest first.
//! 2. No choice leaves more than `runs_max` runs.

use std::ops::Range;

/// The numbers that steer the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Fewest runs worth a merge.
    pub fan_in: usize,
    /// How many times as large as all newer runs of the window together a run may be.
    pub ratio: u64,
    /// Above so many runs the cheapest window is merged whatever its shape.
    pub runs_max: usize,
}

impl Policy {
    /// While writes come in: few rewrites.
    pub const BUSY: Self = Self { fan_in: 4, ratio: 1, runs_max: 12 };
    /// When everything is flushed and nobody writes: few runs for the readers.
    pub const AT_REST: Self = Self { fan_in: 2, ratio: 2, runs_max: 12 };
}

/// The runs to merge now, as a range over `sizes` (bytes, newest first); none if all is well.
pub fn choose(sizes: &[u64], policy: Policy) -> Option<Range<usize>> {
    let fitting = (0..sizes.len())
        .map(|start| start..start + window(sizes.get(start..).unwrap_or_default(), policy.ratio))
        .find(|range| range.len() >= policy.fan_in);
    if fitting.is_some() || sizes.len() <= policy.runs_max {
        return fitting;
    }
    let cheapest =
        sizes.windows(policy.fan_in).enumerate().min_by_key(|(_, w)| w.iter().sum::<u64>());
    cheapest.map(|(start, _)| start..start + policy.fan_in)
}

/// How many runs from the first on are each at most `ratio` times as large as those before them
/// together.
fn window(sizes: &[u64], ratio: u64) -> usize {
    let mut before = 0u64;
    sizes
        .iter()
        .take_while(|&&size| {
            let fits = before == 0 || size <= before.saturating_mul(ratio);
            before = before.saturating_add(size);
            fits
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_shapes_and_choices() {
        let table: &[(&[u64], Option<Range<usize>>)] = &[
            (&[], None),
            (&[1, 1, 1], None),
            (&[1, 1, 1, 1], Some(0..4)),
            (&[1, 1, 1, 4], None),
            (&[1, 1, 1, 1, 4, 4, 4], Some(0..7)),
            (&[1, 1, 1, 1, 16, 16, 16], Some(0..4)),
            (&[1, 5, 5, 5, 5], Some(1..5)),
            (&[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048], None),
            (&[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096], Some(0..4)),
        ];
        for (sizes, wanted) in table {
            assert_eq!(choose(sizes, Policy::BUSY), *wanted, "{sizes:?}");
        }
    }

    #[test]
    fn at_rest_only_runs_that_outgrow_each_other_stay() {
        let table: &[(&[u64], Option<Range<usize>>)] = &[
            (&[7], None),
            (&[1, 1], Some(0..2)),
            (&[3, 4], Some(0..2)),
            (&[1, 3], None),
            (&[1, 1, 1, 4, 100], Some(0..4)),
        ];
        for (sizes, wanted) in table {
            assert_eq!(choose(sizes, Policy::AT_REST), *wanted, "{sizes:?}");
        }
    }

    #[test]
    fn equal_flushes_keep_few_runs_and_rewrite_each_byte_a_few_times() {
        let (mut sizes, mut written) = (Vec::new(), 0);
        for _ in 0..10_000 {
            sizes.insert(0, 1);
            while let Some(range) = choose(&sizes, Policy::BUSY) {
                let merged: u64 = sizes.drain(range.clone()).sum();
                sizes.insert(range.start, merged);
                written += merged;
            }
            assert!(sizes.len() <= Policy::BUSY.runs_max);
        }
        assert!(written < 10 * 10_000, "each byte was rewritten {} times", written / 10_000);
    }
}
