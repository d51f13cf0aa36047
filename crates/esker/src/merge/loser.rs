//! Many sorted cursors as one, by a tournament of losers, in both directions.
//!
//! ```text
//!                 winner                   next: move the winner's source, then play it up its
//!                   │                      path: one comparison a level, log2(n) in all
//!             loser of final
//!             ╱            ╲               head: the first 24 bytes of a source's key in three
//!        loser             loser           words, its length, its sequence number. Most games
//!        ╱    ╲            ╱    ╲          are decided by heads alone; a source is asked for
//!    head 0  head 1    head 2  head 3      its key only when two long keys begin alike
//! ```
//!
//! 1. Order is total: entry order, then the newer source (the lower index). Two sources with the
//!    same (key, number) both come out, newest source first: to drop one here would hide a fault
//!    from the balance. [`Retain`](super::Retain) refuses such a pair; [`Visible`](super::Visible)
//!    shows the newer.
//! 2. Going forward, every other source is on its first entry after the winner's, or off its end;
//!    going backward, on its last entry before it, or off its front. So a turn is one step of each
//!    source (a seek to the far end for one that is off).
//! 3. One source takes a direct path: no heads, no tree, exactly the moves asked for (MOSS-16).
//! 4. A source's error puts the merge off and is returned by every step until a seek succeeds.
//!
//! After Knuth, TAOCP volume 3, 5.4.1.

use crate::base::cursor::Cursor;
use crate::base::error::{Error, Result};
use crate::base::id::SeqNo;
use crate::base::key::Entry;
use crate::base::value::Value;
use std::cmp::Ordering;

const WORDS: usize = 3;
const HEAD_BYTES: usize = WORDS * 8;

/// What the tournament knows of a source without asking it.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// The first bytes of the key, big-endian, padded with zeros.
    words: [u64; WORDS],
    /// Length of the whole key; none if the source is off.
    key_bytes: Option<usize>,
    seq: SeqNo,
}

impl Head {
    const OFF: Self = Self { words: [0; WORDS], key_bytes: None, seq: SeqNo::ZERO };

    #[inline]
    fn of(entry: Option<Entry<'_>>) -> Self {
        let Some(entry) = entry else { return Self::OFF };
        let mut padded = [0; HEAD_BYTES];
        let front = match entry.key.first_chunk::<HEAD_BYTES>() {
            Some(front) => front,
            None => {
                padded[..entry.key.len()].copy_from_slice(entry.key);
                &padded
            }
        };
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(front.as_chunks::<8>().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        Self { words, key_bytes: Some(entry.key.len()), seq: entry.seq }
    }

    fn is_on(&self) -> bool {
        self.key_bytes.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// Sorted sources walked as one.
pub struct Merged {
    sources: Vec<Box<dyn Cursor>>,
    heads: Vec<Head>,
    /// `[0]` is the winner, `[n]` the loser of the game at inner node n; empty for one source.
    tree: Vec<usize>,
    direction: Direction,
    failed: Option<Error>,
}

impl Merged {
    /// Merges `sources`, the newest first. Nothing is moved until the first seek.
    pub fn new(sources: Vec<Box<dyn Cursor>>) -> Self {
        let heads = vec![Head::OFF; sources.len()];
        let tree = if sources.len() > 1 { vec![0; sources.len()] } else { Vec::new() };
        Self { sources, heads, tree, direction: Direction::Forward, failed: None }
    }

    /// Order of the entries of two sources that are on.
    #[inline]
    fn order(&self, a: usize, b: usize) -> Ordering {
        let (head_a, head_b) = (&self.heads[a], &self.heads[b]);
        let by_words = head_a.words.cmp(&head_b.words);
        if by_words != Ordering::Equal {
            return by_words;
        }
        self.order_of_alike(a, b)
    }

    /// Order where the first bytes are equal.
    fn order_of_alike(&self, a: usize, b: usize) -> Ordering {
        let (head_a, head_b) = (&self.heads[a], &self.heads[b]);
        let short = |head: &Head| head.key_bytes.is_some_and(|len| len <= HEAD_BYTES);
        // Alike and padded with zeros: if one of them is short, the shorter key is the lower.
        let by_key = if short(head_a) || short(head_b) {
            head_a.key_bytes.cmp(&head_b.key_bytes)
        } else {
            let key = |i: usize| self.sources[i].entry().map(|entry| entry.key);
            key(a).cmp(&key(b))
        };
        by_key.then(head_b.seq.cmp(&head_a.seq)).then(a.cmp(&b))
    }

    /// Whether source `a` comes before source `b` in the direction of the walk.
    #[inline]
    fn beats(&self, a: usize, b: usize) -> bool {
        if !self.heads[b].is_on() {
            return true;
        }
        if !self.heads[a].is_on() {
            return false;
        }
        match self.direction {
            Direction::Forward => self.order(a, b) == Ordering::Less,
            Direction::Backward => self.order(a, b) == Ordering::Greater,
        }
    }

    /// Reads the head of source `i` anew.
    #[inline]
    fn look(&mut self, i: usize) {
        self.heads[i] = Head::of(self.sources[i].entry());
    }

    /// Plays the whole tournament. Cost: one comparison a source.
    fn build(&mut self) {
        let count = self.sources.len();
        (0..count).for_each(|i| self.look(i));
        let mut winners: Vec<usize> =
            (0..2 * count).map(|node| node.saturating_sub(count)).collect();
        for node in (1..count).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            let left_wins = self.beats(left, right);
            winners[node] = if left_wins { left } else { right };
            self.tree[node] = if left_wins { right } else { left };
        }
        self.tree[0] = winners[1];
    }

    /// Plays source `i`, the last winner, up its path again.
    #[inline]
    fn replay(&mut self, i: usize) {
        self.look(i);
        let mut winner = i;
        let mut node = (i + self.sources.len()) / 2;
        while node > 0 {
            let loser = self.tree[node];
            if self.beats(loser, winner) {
                self.tree[node] = winner;
                winner = loser;
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }

    fn winner(&self) -> Option<usize> {
        let winner = *self.tree.first()?;
        (self.failed.is_none() && self.heads[winner].is_on()).then_some(winner)
    }

    /// Moves every source by `seek`, then plays.
    fn seek_all(
        &mut self,
        direction: Direction,
        mut seek: impl FnMut(&mut dyn Cursor) -> Result<()>,
    ) -> Result<()> {
        self.direction = direction;
        let moved = self.sources.iter_mut().try_for_each(|source| seek(source));
        self.failed = moved.as_ref().err().cloned();
        if moved.is_ok() && !self.tree.is_empty() {
            self.build();
        }
        moved
    }

    /// Turns around on the entry of `winner`: every other source steps over it.
    fn turn(&mut self, winner: usize, direction: Direction) -> Result<()> {
        self.direction = direction;
        for (i, source) in self.sources.iter_mut().enumerate() {
            if i == winner {
                continue;
            }
            match (self.heads[i].is_on(), direction) {
                (true, Direction::Forward) => source.next()?,
                (true, Direction::Backward) => source.prev()?,
                (false, Direction::Forward) => source.seek_first()?,
                (false, Direction::Backward) => source.seek_last()?,
            }
        }
        Ok(())
    }

    fn step(&mut self, direction: Direction) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let moved = self.step_whole(direction);
        self.failed = moved.as_ref().err().cloned();
        moved
    }

    #[inline]
    fn step_whole(&mut self, direction: Direction) -> Result<()> {
        let one = |source: &mut Box<dyn Cursor>| match direction {
            Direction::Forward => source.next(),
            Direction::Backward => source.prev(),
        };
        if let [source] = self.sources.as_mut_slice() {
            return one(source);
        }
        let Some(winner) = self.winner() else { return Ok(()) };
        let turned = self.direction != direction;
        if turned {
            self.turn(winner, direction)?;
        }
        one(&mut self.sources[winner])?;
        if turned {
            self.build();
        } else {
            self.replay(winner);
        }
        Ok(())
    }
}

impl Cursor for Merged {
    fn seek_first(&mut self) -> Result<()> {
        self.seek_all(Direction::Forward, |source| source.seek_first())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.seek_all(Direction::Backward, |source| source.seek_last())
    }

    fn seek(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        self.seek_all(Direction::Forward, |source| source.seek(key, seq))
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.seek_all(Direction::Backward, |source| source.seek_before(key))
    }

    fn next(&mut self) -> Result<()> {
        self.step(Direction::Forward)
    }

    fn prev(&mut self) -> Result<()> {
        self.step(Direction::Backward)
    }

    fn entry(&self) -> Option<Entry<'_>> {
        match self.sources.as_slice() {
            [source] if self.failed.is_none() => source.entry(),
            _ => self.sources[self.winner()?].entry(),
        }
    }

    fn value(&self) -> Value {
        match self.sources.as_slice() {
            [source] if self.failed.is_none() => source.value(),
            _ => self.winner().map_or(Value::EMPTY, |winner| self.sources[winner].value()),
        }
    }
}

#[cfg(test)]
mod tests;
