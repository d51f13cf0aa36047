//! Many sorted cursors as one, by a tournament of losers, in both directions.
//!
//! ```text
//!                 winner                   next: move the winner's source, then play it up its
//!                   │                      path: one comparison a level, log2(n) in all
//!             loser of final
//!             ╱            ╲
//!        loser             loser           head of a source, 32 bytes, compared as two words:
//!        ╱    ╲            ╱    ╲          | 24 bytes of the key behind what all keys share |
//!    head 0  head 1    head 2  head 3      | how many of them: u8 | 2^56 − 1 − number       |
//! ```
//!
//! Heads decide without a branch and without asking a source, unless two keys longer than the
//! window begin alike. Going backward all bits of a head are inverted, so that the lower head
//! always wins; a source that is off has the highest. What all keys share is what the heads had in
//! common at the last seek, cut shorter whenever a key comes that does not share it.
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

/// Bytes of a key that a head has.
const WINDOW_BYTES: usize = 24;

/// What the tournament knows of a source without asking it. The lower one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    high: u128,
    low: u128,
}

impl Head {
    /// Above every entry: the count of bytes is at most 25.
    const OFF: Self = Self { high: u128::MAX, low: u128::MAX };

    /// The head of an entry whose key goes on with `key` behind what all share.
    #[inline]
    fn of(key: &[u8], seq: SeqNo, direction: Direction) -> Self {
        let mut padded = [0; WINDOW_BYTES];
        let window = match key.first_chunk::<WINDOW_BYTES>() {
            Some(window) => window,
            None => {
                padded[..key.len()].copy_from_slice(key);
                &padded
            }
        };
        let word = |at: usize| {
            let bytes = window[at..].first_chunk::<8>();
            u128::from(u64::from_be_bytes(bytes.copied().unwrap_or_default()))
        };
        let tail = if key.len() <= WINDOW_BYTES {
            (key.len() as u64) << 56 | (SeqNo::MAX.0 - seq.0)
        } else {
            (WINDOW_BYTES as u64 + 1) << 56
        };
        let invert = if direction == Direction::Backward { u128::MAX } else { 0 };
        let (high, low) = (word(0) << 64 | word(8), word(16) << 64 | u128::from(tail));
        Self { high: high ^ invert, low: low ^ invert }
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
    /// What the keys of all sources that are on begin with, at least.
    shared: Vec<u8>,
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
        let direction = Direction::Forward;
        Self { sources, heads, shared: Vec::new(), tree, direction, failed: None }
    }

    /// Whether source `a` comes before source `b` in the direction of the walk.
    #[inline]
    fn beats(&self, a: usize, b: usize) -> bool {
        let (head_a, head_b) = (self.heads[a], self.heads[b]);
        if head_a == head_b {
            return self.beats_alike(a, b);
        }
        // No branch here: in a merge of random keys each would be guessed wrong half of the time.
        (head_a.high < head_b.high) | ((head_a.high == head_b.high) & (head_a.low < head_b.low))
    }

    /// The same where heads are equal: long keys, or an entry in both sources, or both off.
    #[inline(never)]
    fn beats_alike(&self, a: usize, b: usize) -> bool {
        let order = match (self.sources[a].entry(), self.sources[b].entry()) {
            (Some(entry_a), Some(entry_b)) => entry_a.order(&entry_b),
            _ => Ordering::Equal,
        };
        match self.direction {
            Direction::Forward => order.then(a.cmp(&b)) == Ordering::Less,
            Direction::Backward => order.then(a.cmp(&b)) == Ordering::Greater,
        }
    }

    /// Reads the head of source `i` anew.
    #[inline]
    fn look(&mut self, i: usize) {
        match self.sources[i].entry() {
            None => self.heads[i] = Head::OFF,
            Some(entry) => match entry.key.strip_prefix(self.shared.as_slice()) {
                Some(rest) => self.heads[i] = Head::of(rest, entry.seq, self.direction),
                None => self.look_all(),
            },
        }
    }

    /// Reads all heads anew, behind what they share of what was shared before. Happens at most
    /// once for each byte of it.
    #[cold]
    fn look_all(&mut self) {
        let mut shared = std::mem::take(&mut self.shared);
        for entry in self.sources.iter().filter_map(|source| source.entry()) {
            let alike = shared.iter().zip(entry.key).take_while(|(a, b)| a == b);
            shared.truncate(alike.count());
        }
        self.shared = shared;
        for (head, source) in self.heads.iter_mut().zip(&self.sources) {
            *head = source.entry().map_or(Head::OFF, |entry| {
                let rest = entry.key.get(self.shared.len()..).unwrap_or_default();
                Head::of(rest, entry.seq, self.direction)
            });
        }
    }

    /// Plays the whole tournament. Cost: one comparison a source.
    fn build(&mut self) {
        let count = self.sources.len();
        self.shared.clear();
        if let Some(entry) = self.sources.iter().find_map(|source| source.entry()) {
            self.shared.extend_from_slice(entry.key);
        }
        self.look_all();
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
            let other = self.tree[node];
            let other_wins = self.beats(other, winner);
            self.tree[node] = if other_wins { winner } else { other };
            winner = if other_wins { other } else { winner };
            node /= 2;
        }
        self.tree[0] = winner;
    }

    fn winner(&self) -> Option<usize> {
        let winner = *self.tree.first()?;
        (self.failed.is_none() && self.heads[winner] != Head::OFF).then_some(winner)
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
            match (self.heads[i] != Head::OFF, direction) {
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
        if let Err(error) = &moved {
            self.failed = Some(error.clone());
        }
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
