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
//! 1. A reader sees the operands down to and with the first put; a delete, a put that has expired, or a
//!    range delete of a higher number, ends that. If nothing ends it, what lies beneath is seen.
//! 2. A drop is refused if some reader (a snapshot or the present) sees another thing without it.
//!    So a wrong verdict ends the job before anything is published.
//! 3. A range delete may go if it was said to be spent and nothing older lies beneath, or if those
//!    that stay, and those that are spent, hide all of it from every reader who sees it. What it covers in the input is judged
//!    without it.
//! 4. What was made must be what the operator gives, asked once more, on what goes for it: upon the put
//!    that a reader there sees below the operands, or upon nothing. For a reader it stands for these.
//!    An operator that does not give the same twice is not asked again ([`Folds`](super::folds::Folds)).
//! 5. Nothing is shared with the code that discards but the words of `base`, the [`Keep`], and how an
//!    operator is called.

use super::operator;
use super::retain::{Below, Keep, Verdict};
use super::rules::Rules;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::base::key::{Entry, Kind, split_full_key};
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
    /// How many were made beside them.
    pub made: u64,
}

/// A version of the key that is walked.
#[derive(Clone, Debug)]
struct Seen {
    seq: SeqNo,
    kind: Kind,
    /// Whether it has expired.
    is_over: bool,
    verdict: Verdict,
    /// Known from the first version on that was made.
    value: Box<[u8]>,
}

impl Seen {
    /// Whether it is there before the rewrite, or after.
    fn is_there(&self, before: bool) -> bool {
        match self.verdict {
            Verdict::Keep => true,
            Verdict::Drop => before,
            Verdict::Make => !before,
        }
    }
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
    rules: &'a Rules,
    /// Range deletes that begin above the key, the next one last.
    coming: Vec<&'a Span>,
    /// Those that cover the key.
    open: Vec<&'a Span>,
    key: Vec<u8>,
    versions: Vec<Seen>,
    /// Whether one of `versions` goes.
    loses: bool,
    /// Whether one of `versions` was made.
    makes: bool,
    /// Range deletes that go, and where the last of them ends.
    gone: Vec<Span>,
    gone_numbers: BTreeSet<SeqNo>,
    gone_end: Box<[u8]>,
    judgement: Judgement,
}

impl<'a> Judge<'a> {
    /// Judges a walk that has to keep `keep`, and folds as `rules` say. Cost: a sort of its range
    /// deletes.
    pub fn new(keep: &'a Keep, rules: &'a Rules) -> Self {
        let mut coming: Vec<&Span> = keep.spans.iter().collect();
        coming.sort_unstable_by(|a, b| b.start.cmp(&a.start));
        Self {
            keep,
            rules,
            coming,
            open: Vec::new(),
            key: Vec::new(),
            versions: Vec::new(),
            loses: false,
            makes: false,
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
        let (goes, is_made) = (verdict == Verdict::Drop, verdict == Verdict::Make);
        self.judgement.entries += u64::from(!is_made);
        self.judgement.dropped += u64::from(goes);
        self.judgement.made += u64::from(is_made);
        if entry.kind == Kind::RangeDelete {
            if goes {
                self.note_gone(entry);
            }
        } else if !goes || !self.is_behind(entry.seq) {
            self.loses |= goes;
            self.makes |= is_made;
            let value = if self.makes { entry.value.into() } else { Box::default() };
            let is_over = entry.expiry().is_some_and(|expiry| expiry <= self.keep.now);
            let (seq, kind) = (entry.seq, entry.kind);
            self.versions.push(Seen { seq, kind, is_over, verdict, value });
        }
        Ok(())
    }

    /// Judges what is left. Errors: as of [`Self::see`], and for a range delete that must stay.
    pub fn finish(mut self) -> Result<Judgement> {
        self.end_key()?;
        // Whether one is hidden takes a look at all: of ten thousand, most are spent.
        if let Some(odd) =
            self.gone.iter().find(|span| !self.is_spent(span) && !self.is_hidden(span))
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
        if self.loses || self.makes || *self.key < *self.gone_end {
            self.judge_key()?;
        }
        self.versions.clear();
        self.loses = false;
        self.makes = false;
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
        // What was made comes before the operand whose number it has.
        let order = |version: &Seen| (Reverse(version.seq), version.verdict != Verdict::Make);
        self.versions.sort_unstable_by_key(order);
        for made in self.versions.iter().filter(|version| version.verdict == Verdict::Make) {
            self.check_made(made)?;
        }
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
    fn answer(&self, at: SeqNo, before: bool) -> Answer {
        let spans = self.open.iter().map(|span| span.seq);
        let spans = spans.filter(|seq| *seq <= at && (before || !self.gone_numbers.contains(seq)));
        let cover = spans.max().unwrap_or(SeqNo::ZERO);
        let mut shown = Vec::new();
        for version in self.versions.iter().filter(|v| v.seq <= at && v.is_there(before)) {
            if version.seq < cover {
                break;
            }
            match version.kind {
                kind if version.verdict == Verdict::Make => {
                    // It stands for what came in.
                    let Answer { shown: of, floor } = self.answer(version.seq, true);
                    if kind != Kind::Merge {
                        shown.extend(of);
                        return Answer { shown, floor };
                    }
                    shown.extend(self.combined(version.seq, &of).map(|operand| operand.seq));
                }
                Kind::Delete => return Answer { shown, floor: Some(version.seq) },
                _ if version.is_over => return Answer { shown, floor: Some(version.seq) },
                Kind::Put | Kind::Blob | Kind::Expiring => {
                    shown.push(version.seq);
                    return Answer { shown, floor: None };
                }
                _ => shown.push(version.seq),
            }
        }
        Answer { shown, floor: Some(cover) }
    }

    /// Of `shown`, which a reader at `from` sees: the operands from there on that go for what was made
    /// of that number.
    fn combined<'b>(&'b self, from: SeqNo, shown: &'b [SeqNo]) -> impl Iterator<Item = &'b Seen> {
        shown.iter().map_while(move |&seq| {
            let at = self.versions.partition_point(|version| version.seq > seq);
            let mut here = self.versions[at..].iter().take_while(|version| version.seq == seq);
            let first = here.next()?;
            let is_made = first.verdict == Verdict::Make;
            let version = if is_made { here.next()? } else { first };
            let goes = version.kind == Kind::Merge && version.verdict == Verdict::Drop;
            (goes && (!is_made || seq == from)).then_some(version)
        })
    }

    /// Whether `made` is what the operator gives on what goes for it.
    fn check_made(&self, made: &Seen) -> Result<()> {
        let (collection, key) = split_full_key(&self.key).unwrap_or_default();
        let rule = self.rules.of(collection);
        let Answer { shown, floor } = self.answer(made.seq, true);
        let operator = rule.operator.as_deref();
        let again =
            operator.ok_or_else(|| "there is no operator".to_owned()).and_then(|operator| {
                let mut of: Vec<&Seen> = self.combined(made.seq, &shown).collect();
                let lowest = of.last().ok_or("no operand goes for it")?.seq;
                of.reverse();
                let of: Vec<&[u8]> = of.iter().map(|operand| &*operand.value).collect();
                if made.kind == Kind::Merge {
                    let all = operator::partial_of_all(operator, key, &of);
                    return all.map(Into::into).ok_or_else(|| "they do not combine".to_owned());
                }
                if floor.is_some() && shown.len() == of.len() {
                    let is_end = |version: &Seen| Some(version.seq) == floor;
                    if !self.versions.iter().any(is_end)
                        && self.may_lie_beneath(&self.key, None, lowest)
                    {
                        return Err("what they came upon may lie beneath".to_owned());
                    }
                    return operator::full(operator, key, None, &of);
                }
                let base = self.versions.iter().find(|version| {
                    version.kind == Kind::Put
                        && version.verdict != Verdict::Make
                        && shown.get(of.len()) == Some(&version.seq)
                });
                let base = base.ok_or("what they came upon is not known")?;
                operator::full(operator, key, Some(&base.value), &of)
            });
        let said = match again {
            Ok(value) if *value == *made.value => return Ok(()),
            Ok(value) => format!("its operator gives {} bytes that are others", value.len()),
            Err(said) => said,
        };
        self.rules.folds.distrust(collection);
        let (key, seq) = (self.key.escape_ascii(), made.seq);
        let message = format!("a fold is refused: of key \"{key}\", number {seq}: {said}");
        Err(Error::new(ErrorKind::Corruption, message))
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
