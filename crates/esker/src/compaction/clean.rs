//! Which blob files to clean: a pure function from what is dead in them.
//!
//! ```text
//!   blob-12  ▓▓▓▓▓▓▓▓  wholly dead: goes at once, unread
//!   blob-15  ▓▓░▓▓▓░▓  ┐
//!   blob-31  ░▓▓▓░▓▓▓  ├▶ blob-57 ░░░░   what lives, in the order of addresses
//!   blob-33  ▓▓▓░▓▓▓▓  ┘
//! ```
//!
//! 1. Cleaning waits for garbage: a file that is being overwritten empties itself, so the colder of
//!    two files with the same garbage goes first.
//! 2. A file with hardly any garbage is left alone, whatever its score: so a chain of choices ends
//!    when nothing more dies.
//!
//! After mace's garbage score with the last two update times of a file (MACE-14), which is that of
//! Stoica and Ailamaki's frequency-based page migration.

use crate::base::id::FileId;
use std::cmp::Ordering;

/// A blob file, as far as the choice depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub id: FileId,
    /// Bytes that cleaning it frees. What a file has beside its values, and the next one would have
    /// as well, is none: else some files would be cleaned for ever.
    pub garbage: u64,
    /// Bytes of its live values.
    pub live_bytes: u64,
    /// How many live values it has.
    pub live_values: u64,
    /// The tick before the one in which a value of it last died.
    pub up2: u64,
    /// Whether a job that runs has it as an input.
    pub busy: bool,
}

/// When and how much to clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaning {
    /// What files may amount to, in hundredths of what lives in them.
    pub space_percent: u64,
    /// Live bytes that are gathered into one file.
    pub file_bytes: u64,
}

impl Cleaning {
    /// While there are writes.
    pub const BUSY_PERCENT: u64 = 120;
    /// When they have come to rest.
    pub const REST_PERCENT: u64 = 115;
    /// When somebody asks for all that can be had.
    pub const ALL_PERCENT: u64 = 102;
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing lives in these: forget them, unread.
    Forget(Vec<FileId>),
    /// Copy what lives in these into one new file.
    Copy(Vec<FileId>),
}

/// Files with less garbage are left alone, in hundredths of their length.
const GARBAGE_PERCENT_MIN: u64 = 10;
/// So many small files are made one.
const SMALL_FILES: usize = 16;
/// A file is small below this part of a full one.
const SMALL_PART: u64 = 16;
/// Files that one job takes at most.
const FILES_MAX: usize = 64;

impl Candidate {
    fn bytes(&self) -> u64 {
        self.live_bytes.saturating_add(self.garbage)
    }

    /// How much is paid for what is gained, and how soon waiting would gain more: the lower, the
    /// better. None if it should not be cleaned now, whatever the need.
    pub fn score(&self, now: u64) -> Option<f64> {
        let (live, free) = (self.live_bytes as f64, self.garbage as f64);
        let age = now.saturating_sub(self.up2) as f64;
        if free == 0.0 || age == 0.0 {
            return None;
        }
        Some((live / free).powi(2) / (self.live_values.max(1) as f64 * age))
    }

    fn has_garbage(&self) -> bool {
        self.garbage.saturating_mul(100) >= self.bytes().saturating_mul(GARBAGE_PERCENT_MIN)
    }
}

/// The next job; none if all is well. `now` is the manifest's tick.
pub fn choose(files: &[Candidate], now: u64, cleaning: &Cleaning) -> Option<Choice> {
    let idle = || files.iter().filter(|file| !file.busy);
    let dead: Vec<FileId> = idle().filter(|f| f.live_values == 0).map(|f| f.id).collect();
    if !dead.is_empty() {
        return Some(Choice::Forget(dead));
    }
    // What runs is as good as done.
    let garbage: u64 = idle().map(|file| file.garbage).sum();
    let live: u64 = files.iter().map(|file| file.live_bytes).sum();
    let allowed = u128::from(live) * u128::from(cleaning.space_percent.saturating_sub(100)) / 100;
    if u128::from(garbage) > allowed {
        let mut scored: Vec<(f64, &Candidate)> = idle()
            .filter(|file| file.has_garbage())
            .filter_map(|file| Some((file.score(now)?, file)))
            .collect();
        scored.sort_by(|(a, x), (b, y)| {
            let by_score = a.partial_cmp(b).unwrap_or(Ordering::Equal);
            by_score.then_with(|| (x.up2, x.live_bytes, x.id).cmp(&(y.up2, y.live_bytes, y.id)))
        });
        let taken = take(scored.into_iter().map(|(_, file)| file), cleaning.file_bytes);
        if !taken.is_empty() {
            return Some(Choice::Copy(taken));
        }
    }
    let small = || idle().filter(|f| f.bytes() < cleaning.file_bytes / SMALL_PART);
    (small().count() >= SMALL_FILES).then(|| Choice::Copy(take(small(), cleaning.file_bytes)))
}

/// As many as fill one file.
fn take<'a>(files: impl Iterator<Item = &'a Candidate>, bytes: u64) -> Vec<FileId> {
    let mut sum = 0u64;
    let mut taken = Vec::new();
    for file in files.take(FILES_MAX) {
        if !taken.is_empty() && sum.saturating_add(file.live_bytes) > bytes {
            break;
        }
        sum += file.live_bytes;
        taken.push(file.id);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: u64, live_bytes: u64, live_values: u64, up2: u64) -> Candidate {
        Candidate {
            id: FileId(id),
            garbage: 100 - live_bytes,
            live_bytes,
            live_values,
            up2,
            busy: false,
        }
    }

    const CLEANING: Cleaning = Cleaning { space_percent: 130, file_bytes: 1000 };

    /// MACE-14, the vectors.
    #[test]
    fn the_score_is_that_of_the_vectors() {
        let score = |live, values, up2| file(1, live, values, up2).score(50);
        assert_eq!(score(80, 10, 40), Some(0.16));
        assert_eq!(score(50, 5, 40), Some(0.02));
        assert_eq!(score(50, 5, 10), Some(0.005));
        assert_eq!(score(0, 0, 40), Some(0.0));
        assert_eq!(score(100, 5, 40), None);
        assert_eq!(score(50, 5, 50), None);
    }

    #[test]
    fn what_is_dead_goes_first_and_unread() {
        let files = [file(1, 50, 5, 1), file(2, 0, 0, 49), file(3, 0, 0, 49)];
        assert_eq!(choose(&files, 50, &CLEANING), Some(Choice::Forget(vec![FileId(2), FileId(3)])));
    }

    #[test]
    fn nothing_is_cleaned_below_the_bound() {
        let files = [file(1, 80, 5, 1), file(2, 80, 5, 1), file(3, 100, 9, 1)];
        assert_eq!(choose(&files, 50, &CLEANING), None);
        let rest = Cleaning { space_percent: 110, ..CLEANING };
        assert_eq!(choose(&files, 50, &rest), Some(Choice::Copy(vec![FileId(1), FileId(2)])));
    }

    /// The colder of two goes first; one that has just lost a value waits.
    #[test]
    fn cold_garbage_goes_before_hot() {
        let files = [file(1, 50, 5, 45), file(2, 50, 5, 10), file(3, 50, 5, 50)];
        let one = Cleaning { file_bytes: 60, ..CLEANING };
        assert_eq!(choose(&files, 50, &one), Some(Choice::Copy(vec![FileId(2)])));
        assert_eq!(choose(&files, 50, &CLEANING), Some(Choice::Copy(vec![FileId(2), FileId(1)])));
    }

    #[test]
    fn what_is_busy_is_neither_taken_nor_counted() {
        let busy = |file| Candidate { busy: true, ..file };
        let files = [busy(file(1, 0, 0, 1)), busy(file(2, 20, 5, 1)), file(3, 90, 5, 1)];
        assert_eq!(choose(&files, 50, &CLEANING), None);
    }

    #[test]
    fn many_small_files_become_one() {
        let large = Cleaning { file_bytes: 101 * SMALL_PART, ..CLEANING };
        let files: Vec<_> = (1..=SMALL_FILES as u64).map(|id| file(id, 100, 3, 1)).collect();
        let all = files.iter().map(|file| file.id).collect();
        assert_eq!(choose(&files, 50, &large), Some(Choice::Copy(all)));
        assert_eq!(choose(&files[1..], 50, &large), None);
    }

    /// A chain of choices ends, also where files stay mostly alive.
    #[test]
    fn choices_come_to_an_end() {
        let mut files: Vec<_> = (1..=200).map(|id| file(id, 40 + id % 55, 5, id % 7)).collect();
        let mut next = 1000;
        let rest = Cleaning { space_percent: 105, file_bytes: 300 };
        for jobs in 0.. {
            assert!(jobs < 500, "it does not end");
            match choose(&files, 50, &rest) {
                None => break,
                Some(Choice::Forget(_)) => unreachable!("something lives in each"),
                Some(Choice::Copy(ids)) => {
                    let is_taken = |file: &Candidate| ids.contains(&file.id);
                    let live: u64 =
                        files.iter().filter(|f| is_taken(f)).map(|f| f.live_bytes).sum();
                    files.retain(|file| !is_taken(file));
                    next += 1;
                    files.push(Candidate { live_bytes: live, garbage: 0, ..file(next, 0, 9, 9) });
                }
            }
        }
        let garbage: u64 = files.iter().map(|file| file.garbage).sum();
        let live: u64 = files.iter().map(|file| file.live_bytes).sum();
        assert!(garbage * 100 <= live * 12, "{garbage} of {live}");
    }
}
