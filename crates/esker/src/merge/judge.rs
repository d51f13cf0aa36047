//! The second opinion: whether what a rewrite drops may go.
//!
//! ```text
//!   Retain ─ entry, verdict ─▶ Rewrite ─ keep ─▶ writer
//!                                 └────────────▶ Judge: every reader sees the same, or the job ends
//! ```
//!
//! [`Retain`](super::Retain) discards, by stripes and in passing; this judges, and does nothing
//! else (SST-18). It knows no stripes: it plays each reader over the versions of a key, once with
//! all that came in and once with what is kept.
//!
//! 1. A reader sees the operands down to and with the first put; a delete, or a range delete of a
//!    higher number, ends that. If nothing ends it, what lies beneath is seen.
//! 2. A drop is refused if some reader (a snapshot or the present) sees another thing without it.
//!    So a wrong verdict ends the job before anything is published.
//! 3. A range delete may go if it was said to be spent and nothing older lies beneath, or if those
//!    that stay, and those that are spent, hide all of it from every reader who sees it. What it covers in the input is judged
//!    without it.
//! 4. Nothing is shared with the code that discards but the words of `base` and the [`Keep`].

use super::retain::{Below, Keep, Verdict};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::key::{Entry, Kind};
use crate::base::span::Span;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// How many entries were judged, and how many of them go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Entries.
    pub entries: u64,
    /// Of these, dropped.
    pub dropped: u64,
}

/// A version of the key that is walked.
#[derive(Clone, Copy, Debug)]
struct Seen {
    seq: SeqNo,
    kind: Kind,
    stays: bool,
}

/// What a reader sees of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    /// Numbers of the operands, newest first, and of the put below them.
    shown: Vec<SeqNo>,
    /// Where no put ends it: numbers beneath up to this one are not seen.
    floor: Option<SeqNo>,
}

/// Watches the verdicts on a sorted walk.
pub struct Judge<'a> {
    keep: &'a Keep,
    /// Range deletes that begin above the key, the next one last.
    coming: Vec<&'a Span>,
    /// Those that cover the key.
    open: Vec<&'a Span>,
    key: Vec<u8>,
    versions: Vec<Seen>,
    /// Whether one of `versions` goes.
    loses: bool,
    /// Range deletes that go, and where the last of them ends.
    gone: Vec<Span>,
    gone_numbers: BTreeSet<SeqNo>,
    gone_end: Box<[u8]>,
    judgement: Judgement,
}

impl<'a> Judge<'a> {
    /// Judges a walk that has to keep `keep`. Cost: a sort of its range deletes.
    pub fn new(keep: &'a Keep) -> Self {
        let mut coming: Vec<&Span> = keep.spans.iter().collect();
        coming.sort_unstable_by(|a, b| b.start.cmp(&a.start));
        Self {
            keep,
            coming,
            open: Vec::new(),
            key: Vec::new(),
            versions: Vec::new(),
            loses: false,
            gone: Vec::new(),
            gone_numbers: BTreeSet::new(),
            gone_end: Box::default(),
            judgement: Judgement::default(),
        }
    }

    /// Takes in a verdict; those of a key come together, keys ascend.
    ///
    /// Cost: a comparison with the key before, most times. Errors: `Corruption` if a reader could
    /// tell what goes of the key before.
    #[inline]
    pub fn see(&mut self, entry: &Entry<'_>, verdict: Verdict) -> Result<()> {
        if *self.key != *entry.key {
            self.end_key()?;
            self.key.clear();
            self.key.extend_from_slice(entry.key);
        }
        let stays = verdict == Verdict::Keep;
        self.judgement.entries += 1;
        self.judgement.dropped += u64::from(!stays);
        if entry.kind == Kind::RangeDelete {
            if !stays {
                self.note_gone(entry);
            }
        } else if stays || !self.is_behind(entry.seq) {
            self.loses |= !stays;
            self.versions.push(Seen { seq: entry.seq, kind: entry.kind, stays });
        }
        Ok(())
    }

    /// Judges what is left. Errors: as of [`Self::see`], and for a range delete that must stay.
    pub fn finish(mut self) -> Result<Judgement> {
        self.end_key()?;
        if let Some(odd) =
            self.gone.iter().find(|span| !self.is_hidden(span) && !self.is_spent(span))
        {
            let (start, end) = (odd.start.escape_ascii(), odd.end.escape_ascii());
            let message = format!(
                "a drop is refused: the range delete {} of \"{start}\" to \"{end}\" is needed",
                odd.seq
            );
            return Err(Error::new(ErrorKind::Corruption, message));
        }
        Ok(self.judgement)
    }

    /// Whether the version met last ends what every reader sees who could see `seq`. A version like
    /// that need not be remembered: it goes, and nobody sees it either way.
    fn is_behind(&self, seq: SeqNo) -> bool {
        let Some(last) = self.versions.last() else { return false };
        (last.kind.is_put() || last.kind == Kind::Delete)
            && last.seq > seq
            && self.reader_from(seq).is_none_or(|reader| reader >= last.seq)
    }

    /// The lowest snapshot at or above `seq`.
    fn reader_from(&self, seq: SeqNo) -> Option<SeqNo> {
        let at = self.keep.snapshots.partition_point(|&snapshot| snapshot < seq);
        self.keep.snapshots.get(at).copied()
    }

    fn note_gone(&mut self, entry: &Entry<'_>) {
        self.gone.extend(Span::of(entry));
        self.gone_numbers.insert(entry.seq);
        if *self.gone_end < *entry.value {
            self.gone_end = entry.value.into();
        }
    }

    fn end_key(&mut self) -> Result<()> {
        if self.loses || *self.key < *self.gone_end {
            self.judge_key()?;
        }
        self.versions.clear();
        self.loses = false;
        Ok(())
    }

    /// Plays every reader who may see another thing than the one below.
    #[cold]
    fn judge_key(&mut self) -> Result<()> {
        let key = self.key.as_slice();
        while let Some(span) = self.coming.pop_if(|span| *span.start <= *key) {
            self.open.push(span);
        }
        self.open.retain(|span| *span.end > *key);
        self.versions.sort_unstable_by_key(|version| Reverse(version.seq));
        let mut moments: Vec<SeqNo> = self.versions.iter().map(|version| version.seq).collect();
        moments.extend(self.open.iter().map(|span| span.seq));
        moments.sort_unstable();
        for (at, &from) in moments.iter().enumerate() {
            // Readers up to the next moment see what one at this moment sees.
            let until = moments.get(at + 1).copied();
            let is_read = until.is_none_or(|until| {
                self.reader_from(from).is_some_and(|snapshot| snapshot < until)
            });
            if !is_read {
                continue;
            }
            let (before, after) = (self.answer(from, true), self.answer(from, false));
            if !self.are_alike(&before, &after) {
                return Err(self.refused(from, &before, &after));
            }
        }
        Ok(())
    }

    /// What a reader at `at` sees of the key: of all that came in, or of what stays.
    fn answer(&self, at: SeqNo, all: bool) -> Answer {
        let spans = self.open.iter().map(|span| span.seq);
        let spans = spans.filter(|seq| *seq <= at && (all || !self.gone_numbers.contains(seq)));
        let cover = spans.max().unwrap_or(SeqNo::ZERO);
        let mut shown = Vec::new();
        for version in self.versions.iter().filter(|v| v.seq <= at && (all || v.stays)) {
            if version.seq < cover {
                break;
            }
            match version.kind {
                Kind::Delete => return Answer { shown, floor: Some(version.seq) },
                Kind::Put | Kind::Blob => {
                    shown.push(version.seq);
                    return Answer { shown, floor: None };
                }
                _ => shown.push(version.seq),
            }
        }
        Answer { shown, floor: Some(cover) }
    }

    fn are_alike(&self, before: &Answer, after: &Answer) -> bool {
        before.shown == after.shown
            && match (before.floor, after.floor) {
                (Some(a), Some(b)) => a == b || !self.may_lie_beneath(&self.key, None, a.max(b)),
                (a, b) => a == b,
            }
    }

    /// Whether a segment beneath may hold, of the keys from `start` up to `end` (without one: of
    /// `start` alone), a version below `seq`.
    fn may_lie_beneath(&self, start: &[u8], end: Option<&[u8]>, seq: SeqNo) -> bool {
        let Below::Runs(runs) = self.keep.beneath.below() else { return true };
        runs.iter().any(|run| {
            let first = run.partition_point(|segment| *segment.meta().largest < *start);
            run.iter()
                .skip(first)
                .take_while(|segment| {
                    let smallest = &*segment.meta().smallest;
                    end.map_or(smallest <= start, |end| smallest < end)
                })
                .any(|segment| segment.meta().seq_min < seq)
        })
    }

    /// Whether range deletes that stay hide all of `span` from the first reader who sees it; later
    /// ones see these, too.
    fn is_hidden(&self, span: &Span) -> bool {
        let reader = self.reader_from(span.seq).unwrap_or(SeqNo::MAX);
        // One that goes because it is spent hides as well: where it lies nothing older is left.
        let counts = |other: &Span| !self.gone_numbers.contains(&other.seq) || self.is_spent(other);
        let hides = |other: &&Span| other.seq > span.seq && other.seq <= reader && counts(other);
        let mut hiding: Vec<&Span> = self.keep.spans.iter().filter(hides).collect();
        hiding.sort_unstable_by(|a, b| a.start.cmp(&b.start));
        let mut reach = &span.start;
        for other in hiding {
            if other.start <= *reach && other.end > *reach {
                reach = &other.end;
            }
        }
        *reach >= span.end
    }

    fn is_spent(&self, span: &Span) -> bool {
        let said = self.keep.spent.contains(&span.seq);
        said && !self.may_lie_beneath(&span.start, Some(&span.end), span.seq)
    }

    #[cold]
    fn refused(&self, at: SeqNo, before: &Answer, after: &Answer) -> Error {
        let words = |answer: &Answer| match (answer.shown.as_slice(), answer.floor) {
            ([], Some(SeqNo::ZERO)) => "what lies beneath".to_owned(),
            ([], Some(floor)) => format!("nothing up to {floor}"),
            (shown, _) => shown.iter().map(SeqNo::to_string).collect::<Vec<_>>().join(" and "),
        };
        let message = format!(
            "a drop is refused: of key \"{}\" a reader at {at} sees {}, and would see {}",
            self.key.escape_ascii(),
            words(before),
            words(after)
        );
        Error::new(ErrorKind::Corruption, message)
    }
}

#[cfg(test)]
mod tests;
