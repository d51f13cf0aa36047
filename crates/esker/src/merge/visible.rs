//! What one snapshot sees of a walk, from both ends.
//!
//! ```text
//!              start bound                                     end bound
//!  entries          │ a9 a4 b7× c8 c2 d3 │ e5 …  … │ x6 y1 y0 z4× │        × tombstone
//!  at number 7      │    a4     c2 d3    │         │ x6 y1    ·   │
//!                        └─ front ─▶                 ◀─ back ─┘          they meet exactly once
//! ```
//!
//! 1. Of each key: the newest version at or below the snapshot's number. If that is a tombstone, or has
//!    expired by the time at which the walk was made, nothing (HEST-2, SST-K1), unless
//!    [`Tombstones::Shown`] asks for it (MOSS-17).
//! 2. Each end has a cursor of its own, opened at its first use; a key that one end has passed is
//!    never given by the other. An end that meets the other or its bound ends both; the front is
//!    where a seek has put it, before it has given anything from there.
//! 3. A bound that lies the wrong way round is an empty range, not an error (MOSS-14).
//! 4. After 16 steps over versions of one key it searches instead (MOSS-16).
//! 5. What a range delete covers is absent ([`Visible::under`]); entries that are range deletes are
//!    stepped over. A key whose newest version is a merge operand is folded, if someone said how
//!    ([`Visible::folding`]), and shown as a put of that version's number.
//! 6. Whoever wants it is told of gaps: more than 64 keys in a row, within the range, of which the
//!    snapshot sees nothing; from just above a visible key, or a bound, up to the next.
//! 7. An error is repeated by every later call, until a [`Visible::seek`] succeeds (F-28).

use super::fold::{Backing, fold_under};
use crate::base::cursor::Cursor;
use crate::base::error::{Error, Result};
use crate::base::id::{CollectionId, SeqNo};
use crate::base::key::{Entry, Kind, key_after};
use crate::base::span::{Cover, Probe, Span};
use crate::base::time::{Time, expiry_of, is_absence, user_value};
use crate::base::value::{Key, Value};
use std::ops::Bound;
use std::sync::Arc;

/// Steps over versions of one key before it searches.
const STEPS_MAX: usize = 16;

/// So many keys in a row of which nothing is visible are not yet a gap.
const GAP_KEYS: u64 = 64;

/// Who is told of a gap.
pub type Tell = Box<dyn FnMut(Span) + Send>;

/// Whether tombstones are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tombstones {
    /// A deleted key is absent.
    #[default]
    Hidden,
    /// A deleted key is an item of kind [`Kind::Delete`], for tools.
    Shown,
}

/// What to show: a snapshot and a range of full keys.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Versions above it do not exist.
    pub seq: SeqNo,
    /// What expires by then is gone.
    pub now: Time,
    /// Where the range begins.
    pub start: Bound<Box<[u8]>>,
    /// Where it ends.
    pub end: Bound<Box<[u8]>>,
    /// Whether deleted keys are items too.
    pub tombstones: Tombstones,
}

/// One visible key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The user key: the full key without its collection id.
    pub key: Key,
    /// Its value, pinned; empty for a tombstone; a ref for one that lies out of line.
    pub value: Value,
    /// The number of the operation that wrote it.
    pub seq: SeqNo,
    /// [`Kind::Put`] or [`Kind::Blob`], or [`Kind::Delete`] where tombstones are shown.
    pub kind: Kind,
    /// When it expires; none if never.
    pub expiry: Option<Time>,
}

impl Item {
    /// What a version shows, as far as `now` is concerned. Errors: `Corruption` if it must have an
    /// expiry and has none.
    #[inline(never)]
    fn of(full_key: &[u8], found: Found, now: Time) -> Result<Self> {
        let Found { value, seq, kind } = found;
        let key = user_key(full_key);
        if is_absence(kind, &value, now) {
            return Ok(Self { key, value: Value::EMPTY, seq, kind: Kind::Delete, expiry: None });
        }
        let expiry = expiry_of(kind, &value);
        let value = user_value(kind, value)?;
        let kind = if kind == Kind::Expiring { Kind::Put } else { kind };
        Ok(Self { key, value, seq, kind, expiry })
    }
}

/// Opens one more cursor over the same sources.
pub type Open<C> = Box<dyn FnMut() -> Result<C> + Send>;

/// The keys that one snapshot sees in a range, from both ends.
pub struct Visible<C> {
    open: Open<C>,
    scope: Scope,
    /// What range deletes cover, asked by both ends.
    probe: Probe,
    tell: Option<Tell>,
    /// What operands are folded with.
    backing: Option<Arc<dyn Backing>>,
    /// What those of the key that the front has found came to.
    folded: Option<(SeqNo, Kind, Value)>,
    /// The number and kind of what the front stands on.
    shown: (SeqNo, Kind),
    /// Keys stepped over of which nothing was visible.
    stepped: u64,
    front: End<C>,
    back: End<C>,
    done: bool,
    failed: Option<Error>,
}

/// A key at which a range begins or ends; none if nothing bounds it.
type Limit = Option<Box<[u8]>>;

/// One end of the walk.
struct End<C> {
    cursor: Option<C>,
    /// Whether the cursor stands where the last call left it; if not, it must be placed first.
    placed: bool,
    /// Whether it stands on what was given last.
    stands: bool,
    trail: Trail,
    /// Where a seek has put the end, empty without one: nothing below is between the ends.
    sought: Vec<u8>,
}

/// The keys that an end has come by.
#[derive(Default)]
struct Trail {
    /// The last that it has decided, empty before the first (no full key is empty).
    passed: Vec<u8>,
    /// That of the call before, once this one has decided any.
    before: Vec<u8>,
    has_passed: bool,
}

impl Trail {
    /// Takes note that a call has begun: what is passed now is the last key that was given.
    #[inline]
    fn begin(&mut self) {
        self.has_passed = false;
    }

    #[inline]
    fn pass(&mut self, key: &[u8]) {
        if !self.has_passed {
            std::mem::swap(&mut self.passed, &mut self.before);
            self.has_passed = true;
        }
        self.passed.clear();
        self.passed.extend_from_slice(key);
    }

    /// The last key that was given before the call that decides now.
    fn given(&self) -> &[u8] {
        if self.has_passed { &self.before } else { &self.passed }
    }
}

impl<C: Cursor> End<C> {
    fn new() -> Self {
        let (cursor, trail, sought) = Default::default();
        Self { cursor, placed: false, stands: false, trail, sought }
    }

    /// Where the end was before it passed anything: at `bound`, unless a seek has put it elsewhere.
    fn put_at(&self, bound: Option<Box<[u8]>>) -> Option<Box<[u8]>> {
        if self.sought.is_empty() { bound } else { Some(self.sought.as_slice().into()) }
    }
}

/// What the back end found of one key, before it stepped on.
struct Found {
    value: Value,
    seq: SeqNo,
    kind: Kind,
}

impl<C: Cursor> Visible<C> {
    /// The keys of `scope`, read through cursors that `open` makes: at most one for each end, when
    /// that end is first used. Nothing is read before.
    pub fn new(open: Open<C>, scope: Scope) -> Self {
        let (front, back, probe) = (End::new(), End::new(), Probe::default());
        let (tell, backing, folded, failed) = Default::default();
        let (stepped, done, shown) = (0, false, (SeqNo::ZERO, Kind::Put));
        Self {
            open,
            scope,
            probe,
            tell,
            backing,
            folded,
            shown,
            stepped,
            front,
            back,
            done,
            failed,
        }
    }

    /// Hides what `cover` covers, which must suit the scope's number.
    #[must_use]
    pub fn under(self, cover: Cover) -> Self {
        Self { probe: Probe::new(cover), ..self }
    }

    /// Has `tell` told of gaps.
    #[must_use]
    pub fn telling(self, tell: Tell) -> Self {
        Self { tell: Some(tell), ..self }
    }

    /// Has operands folded with what `backing` says.
    #[must_use]
    pub fn folding(self, backing: Arc<dyn Backing>) -> Self {
        Self { backing: Some(backing), ..self }
    }

    /// What expires by then is not shown.
    pub fn now(&self) -> Time {
        self.scope.now
    }

    /// Whether both ends have given all there was.
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.done
    }

    /// How many entries it has met that did not show: newer ones, tombstones, what was covered.
    pub fn stepped(&self) -> u64 {
        self.stepped
    }

    /// Where the range begins and ends, as keys: the first inside, and the first above.
    fn limits(&self) -> (Limit, Limit) {
        let start = match &self.scope.start {
            Bound::Included(start) => Some(start.clone()),
            Bound::Excluded(start) => Some(key_after(start)),
            Bound::Unbounded => None,
        };
        let end = match &self.scope.end {
            Bound::Included(end) => Some(key_after(end)),
            Bound::Excluded(end) => Some(end.clone()),
            Bound::Unbounded => None,
        };
        (start, end)
    }

    /// Tells of what the front has stepped over in this call, up to what it found.
    #[cold]
    fn tell_front(&mut self, is_found: bool) {
        let (start, end) = self.limits();
        let (given, back) = (self.front.trail.given(), &self.back.trail.passed);
        let start = match given.is_empty() {
            false => Some(key_after(given)),
            true => self.front.put_at(start),
        };
        let end = match is_found {
            true => Some(self.front.trail.passed.as_slice().into()),
            false if back.is_empty() => end,
            false => Some(back.as_slice().into()),
        };
        self.tell(start, end);
    }

    /// The same for the back.
    #[cold]
    fn tell_back(&mut self, is_found: bool) {
        let (start, end) = self.limits();
        let (given, front) = (self.back.trail.given(), &self.front.trail.passed);
        let start = match (is_found, front.is_empty()) {
            (true, _) => Some(key_after(&self.back.trail.passed)),
            (false, false) => Some(key_after(front)),
            (false, true) => self.front.put_at(start),
        };
        let end = if given.is_empty() { end } else { Some(given.into()) };
        self.tell(start, end);
    }

    fn tell(&mut self, start: Limit, end: Limit) {
        if let (Some(tell), Some(start), Some(end)) = (&mut self.tell, start, end) {
            tell(Span { start: start.into(), end: end.into(), seq: self.scope.seq });
        }
    }

    fn may_tell(&self, unseen: u64) -> bool {
        unseen > GAP_KEYS && self.tell.is_some() && self.scope.tombstones == Tombstones::Hidden
    }

    /// The next key from the front. Cost beside the walk: one copy of the key, one pin.
    ///
    /// Errors: those of the sources, and of folding operands.
    pub fn next_front(&mut self) -> Result<Option<Item>> {
        self.check()?;
        match self.advance_front() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(self.fail(error)),
        }
        let key = &self.front.trail.passed;
        let found = match self.folded.take() {
            Some((seq, kind, value)) => Found { value, seq, kind },
            None => {
                let ((seq, kind), cursor) = (self.shown, &self.front.cursor);
                let value = cursor.as_ref().map_or(Value::EMPTY, Cursor::value);
                // What most are.
                if kind == Kind::Put {
                    return Ok(Some(Item { key: user_key(key), value, seq, kind, expiry: None }));
                }
                Found { value, seq, kind }
            }
        };
        let item = Item::of(key, found, self.scope.now);
        item.map(Some).map_err(|error| self.fail(error))
    }

    /// The next key from the front, lent until the next call: its full key, nothing pinned; its entry as
    /// it is at rest. The fast path for counting, copying and key-only scans. Errors as
    /// [`Self::next_front`].
    pub fn advance(&mut self) -> Result<Option<Entry<'_>>> {
        self.check()?;
        match self.advance_front() {
            Ok(true) => Ok(match &self.folded {
                None => self.front.cursor.as_ref().and_then(Cursor::entry),
                Some((seq, kind, value)) => {
                    let key = &self.front.trail.passed;
                    Some(Entry { key, seq: *seq, kind: *kind, value })
                }
            }),
            Ok(false) => Ok(None),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The next key from the back. Cost beside the walk: one copy of the key, one pin a version.
    ///
    /// Errors as [`Self::next_front`].
    pub fn next_back(&mut self) -> Result<Option<Item>> {
        self.check()?;
        match self.advance_back() {
            Ok(Some(found)) => {
                let item = Item::of(&self.back.trail.passed, found, self.scope.now);
                item.map(Some).map_err(|error| self.fail(error))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Places the front before the first key of the range at or after the full key `key`, which may
    /// lie behind what was already given: that is then given again. The back keeps its place.
    ///
    /// A successful seek clears an earlier error.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.failed = None;
        self.done = false;
        let below_start = match &self.scope.start {
            Bound::Unbounded => false,
            Bound::Included(start) | Bound::Excluded(start) => *key <= **start,
        };
        self.front.trail.passed.clear();
        self.front.stands = false;
        self.front.sought.clear();
        self.front.sought.extend_from_slice(if below_start { &[] } else { key });
        let placed =
            if below_start { self.place_front() } else { self.place_front_at(key, SeqNo::MAX) };
        placed.map_err(|error| self.fail(error))
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed = Some(error.clone());
        error
    }

    /// The front's cursor, opened if it is not.
    fn front_cursor(&mut self) -> Result<&mut C> {
        match &mut self.front.cursor {
            Some(cursor) => Ok(cursor),
            slot => Ok(slot.insert((self.open)()?)),
        }
    }

    fn place_front_at(&mut self, key: &[u8], seq: SeqNo) -> Result<()> {
        self.front.placed = true;
        self.front_cursor()?.seek(key, seq)
    }

    fn place_front(&mut self) -> Result<()> {
        self.front.placed = true;
        match self.scope.start.clone() {
            Bound::Unbounded => self.front_cursor()?.seek_first(),
            Bound::Included(start) => self.place_front_at(&start, SeqNo::MAX),
            Bound::Excluded(start) => {
                self.front.trail.pass(&start);
                self.place_front_at(&start, SeqNo::ZERO)
            }
        }
    }

    fn place_back(&mut self) -> Result<()> {
        self.back.placed = true;
        let cursor = match &mut self.back.cursor {
            Some(cursor) => cursor,
            slot => slot.insert((self.open)()?),
        };
        match &self.scope.end {
            Bound::Unbounded => cursor.seek_last(),
            Bound::Excluded(end) => cursor.seek_before(end),
            Bound::Included(end) => cursor.seek_before(&key_after(end)),
        }
    }

    /// Puts the front on the next visible entry; false if there is none.
    fn advance_front(&mut self) -> Result<bool> {
        if self.done {
            return Ok(false);
        }
        if !self.front.placed {
            self.place_front()?;
        } else if let Some(cursor) = &mut self.front.cursor
            && self.front.stands
        {
            cursor.next()?;
        }
        self.front.stands = false;
        self.front.trail.begin();
        self.folded = None;
        let mut unseen = 0;
        let is_found = self.walk_front(&mut unseen)?;
        self.stepped += unseen;
        if self.may_tell(unseen) {
            self.tell_front(is_found);
        }
        self.done |= !is_found;
        Ok(is_found)
    }

    /// Walks on to the next visible entry, and counts the others on the way.
    fn walk_front(&mut self, unseen: &mut u64) -> Result<bool> {
        let Self { scope, probe, backing, folded, shown, front, back, .. } = self;
        let End { cursor, stands, trail, .. } = front;
        let Some(cursor) = cursor else { return Ok(false) };
        let mut steps = 0;
        while let Some(entry) = cursor.entry() {
            let passed = *entry.key == *trail.passed;
            if !passed && !is_before_end(scope, &back.trail.passed, entry.key) {
                break;
            }
            if passed || entry.seq > scope.seq {
                *unseen += u64::from(!passed);
                skip(cursor, &mut steps, (!passed).then_some(scope.seq))?;
                continue;
            }
            steps = 0;
            let kind = entry.kind;
            if kind != Kind::RangeDelete {
                let covered = kind != Kind::Delete && probe.hides(entry.key, entry.seq);
                let is_shown = kind == Kind::Put
                    || !entry.is_absence(scope.now)
                    || scope.tombstones == Tombstones::Shown;
                *shown = (entry.seq, kind);
                trail.pass(entry.key);
                if kind == Kind::Merge && !covered {
                    *folded = Some(fold_under(cursor, probe, backing.as_deref(), scope.now)?);
                    return Ok(true);
                }
                if is_shown && !covered {
                    *stands = true;
                    return Ok(true);
                }
            }
            *unseen += 1;
            cursor.next()?;
        }
        Ok(false)
    }

    /// Decides the next key from the back, leaves its name in `trail.passed`, and the cursor on the
    /// last entry of the key before.
    fn advance_back(&mut self) -> Result<Option<Found>> {
        if self.done {
            return Ok(None);
        }
        if !self.back.placed {
            self.place_back()?;
        }
        self.back.trail.begin();
        let mut unseen = 0;
        let found = self.walk_back(&mut unseen)?;
        self.stepped += unseen;
        if self.may_tell(unseen) {
            self.tell_back(found.is_some());
        }
        self.done |= found.is_none();
        Ok(found)
    }

    fn walk_back(&mut self, unseen: &mut u64) -> Result<Option<Found>> {
        let Self { scope, probe, backing, front, back, .. } = self;
        let End { cursor, trail, .. } = back;
        let Some(cursor) = cursor else { return Ok(None) };
        while let Some(entry) = cursor.entry() {
            if !is_after_start(scope, &front.trail.passed, entry.key) || *entry.key < *front.sought
            {
                break;
            }
            trail.pass(entry.key);
            let found = newest_backward(cursor, &trail.passed, scope.seq)?;
            *unseen += 1;
            let Some(found) = found else { continue };
            if found.kind != Kind::Delete && probe.hides(&trail.passed, found.seq) {
                continue;
            }
            match found.kind {
                Kind::Merge => {
                    // A chain goes from its newest operand on: the other way.
                    cursor.seek(&trail.passed, found.seq)?;
                    let (seq, kind, value) =
                        fold_under(cursor, probe, backing.as_deref(), scope.now)?;
                    cursor.seek_before(&trail.passed)?;
                    *unseen -= 1;
                    return Ok(Some(Found { value, seq, kind }));
                }
                Kind::RangeDelete => {}
                Kind::Put | Kind::Blob | Kind::Expiring | Kind::Delete => {
                    let is_absence = is_absence(found.kind, &found.value, scope.now);
                    if !is_absence || scope.tombstones == Tombstones::Shown {
                        *unseen -= 1;
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// From the last entry of `key`: its newest version at or below `seq`, if any. Leaves the cursor
/// on the last entry of the key before.
fn newest_backward(cursor: &mut impl Cursor, key: &[u8], seq: SeqNo) -> Result<Option<Found>> {
    let mut newest = None;
    for _ in 0..STEPS_MAX {
        let Some(entry) = cursor.entry().filter(|entry| *entry.key == *key) else {
            return Ok(newest);
        };
        if entry.seq <= seq && entry.kind != Kind::RangeDelete {
            newest = Some(Found { value: cursor.value(), seq: entry.seq, kind: entry.kind });
        }
        cursor.prev()?;
    }
    // Many versions: find the one by search, then leave the key in one leap.
    cursor.seek(key, seq)?;
    while let Some(entry) = cursor.entry().filter(|entry| *entry.key == *key) {
        if entry.kind != Kind::RangeDelete {
            newest = Some(Found { value: cursor.value(), seq: entry.seq, kind: entry.kind });
            break;
        }
        cursor.next()?;
    }
    cursor.seek_before(key)?;
    Ok(newest)
}

/// Leaves an entry that is not wanted: a step, or after many a search for `version` of its key
/// (none: for the next key).
#[inline]
fn skip(cursor: &mut impl Cursor, steps: &mut usize, version: Option<SeqNo>) -> Result<()> {
    *steps += 1;
    if *steps <= STEPS_MAX {
        return cursor.next();
    }
    *steps = 0;
    let Some(key) = cursor.entry().map(|entry| entry.key.to_vec()) else { return Ok(()) };
    cursor.seek(&key, version.unwrap_or(SeqNo::ZERO))?;
    // A version numbered zero cannot be sought past.
    if version.is_none() && is_at(cursor, &key) { cursor.next() } else { Ok(()) }
}

fn is_at(cursor: &impl Cursor, key: &[u8]) -> bool {
    cursor.entry().is_some_and(|entry| *entry.key == *key)
}

#[inline]
fn is_before_end(scope: &Scope, back_passed: &[u8], key: &[u8]) -> bool {
    let inside = match &scope.end {
        Bound::Unbounded => true,
        Bound::Included(end) => *key <= **end,
        Bound::Excluded(end) => *key < **end,
    };
    inside && (back_passed.is_empty() || *key < *back_passed)
}

#[inline]
fn is_after_start(scope: &Scope, front_passed: &[u8], key: &[u8]) -> bool {
    let inside = match &scope.start {
        Bound::Unbounded => true,
        Bound::Included(start) => *key >= **start,
        Bound::Excluded(start) => *key > **start,
    };
    inside && *key > *front_passed
}

fn user_key(full: &[u8]) -> Key {
    Key::from(full.get(CollectionId::BYTES..).unwrap_or_default())
}

#[cfg(test)]
mod tests;
