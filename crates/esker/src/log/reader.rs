//! Strict replay of a log: every frame, then how it ended; or what is damaged, and where.
//!
//! What follows from what is found at the end of the last good frame, for Esker's own logs. A byte
//! is *promised* if it lies below a durable mark (in a frame before or behind it), or below the
//! final length that the manifest or a durable successor tells ([`Promise`]).
//!
//! | found | unpromised | promised |
//! |---|---|---|
//! | end of the file, or zeros to its end | [`End::Clean`] | `Corruption` |
//! | a frame cut short by the end of the file, or by zeros | [`End::Torn`] | `Corruption` |
//! | a frame whose header or checksum is wrong, good frames behind it or not | `Torn` | `Corruption` |
//! | a frame whose numbers are not above those before it, or with a mark of another place | `Torn` | `Corruption` |
//! | a frame with its checksum right and entries or marks that cannot be | `Corruption` | `Corruption` |
//! | changed bytes in the padding of a block | no effect | no effect |
//! | anything but zeros behind the promised final length | `Torn`; a frame that continues the log: `Corruption` | |
//!
//! 1. `Torn` drops everything from the first bad byte on and says how much: never is a frame
//!    replayed that lies behind a bad one, never is a bad one skipped (SST-L3).
//! 2. An error is sticky: every later call gives the same, until [`LogReader::salvage`].
//! 3. Nothing is allocated beyond the payload of one split frame, at most 1 MiB and what the file
//!    really holds.
//! 4. A search for marks behind a bad frame is linear in the file; one that is made to be more
//!    ends as `Corruption`.
//! 5. Frames of plain sst logs ([`LogReader::foreign`]) are read by the crate's rules: any end but
//!    a clean one is `Corruption`, and [`LogReader::position`] says where to cut (SST-8, SST-15).
//!
//! Source: SST-8 to SST-11, SST-15; F-3, F-5, F-10, F-16, F-33, F-34, F-39.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::locate::{Fault, Located, Resync, Rules, is_zero, locate};
use super::marks::{Identity, Mark, Previous, Says, is_mark};
use crate::base::coding::to_u64;
use crate::base::entry::{Bad, Entries, Logged};
use crate::base::error::{Error, Result};
use crate::base::id::{CollectionId, FileId, SeqNo};
use crate::base::key::Kind;
use crate::env::Map;
use crate::env::names::FileKind;
use std::sync::Arc;

/// What others know of a log: the manifest of a clean close, or a successor with a durable mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// The log's final length. All of it is there, or it is damaged.
    pub length: Option<u64>,
    /// The last sequence number in it.
    pub last: Option<SeqNo>,
}

/// How a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind its last frame, at `length`.
    Clean {
        /// Bytes of frames.
        length: u64,
        /// The last sequence number.
        last: SeqNo,
    },
    /// In something that was never promised: a tail lost or half written.
    Torn {
        /// Where the dropped part begins; the log's length without it.
        at: u64,
        /// Bytes dropped, up to the last that is not zero.
        dropped: u64,
        /// The last sequence number before it.
        last: SeqNo,
    },
}

impl End {
    /// Where the good part ends.
    pub fn length(&self) -> u64 {
        match *self {
            Self::Clean { length, .. } => length,
            Self::Torn { at, .. } => at,
        }
    }

    /// The last sequence number in the good part.
    pub fn last(&self) -> SeqNo {
        match *self {
            Self::Clean { last, .. } | Self::Torn { last, .. } => last,
        }
    }
}

/// What [`LogReader::salvage`] stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The first byte that was skipped.
    pub from: u64,
    /// Where a good frame begins again, or the end of the file.
    pub to: u64,
}

/// One frame, checked.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Where it begins in the file.
    pub at: u64,
    /// Where it ends.
    pub end: u64,
    /// Its entries' bytes.
    pub payload: &'a [u8],
    /// Where those lie in the file; none if a block border splits them.
    pub payload_at: Option<u64>,
    /// The number of its first entry.
    pub first: SeqNo,
    /// The number of its last entry, marks included.
    pub last: SeqNo,
}

impl<'a> Frame<'a> {
    /// Its entries in order, marks included.
    pub fn entries(&self) -> impl Iterator<Item = Logged<'a>> + use<'a> {
        // `LogReader::next` has decoded all of them before it gave the frame out.
        Entries::new(self.payload).map_while(Result::ok)
    }

    /// Its entries in order without the marks: what replay puts into the memtable.
    pub fn operations(&self) -> impl Iterator<Item = Logged<'a>> + use<'a> {
        self.entries().filter(|entry| !is_mark(entry.key))
    }
}

/// Reads a log from front to back.
#[derive(Debug)]
pub struct LogReader {
    name: String,
    map: Arc<dyn Map>,
    rules: Rules,
    promise: Promise,
    identity: Identity,
    /// Whether the nonce is known, because the origin was read.
    identified: bool,
    previous: Option<Previous>,
    position: usize,
    last: SeqNo,
    /// The highest offset that a mark promised.
    durable: u64,
    joined: Vec<u8>,
    resync: Resync,
    stop: Option<Stop>,
}

#[derive(Debug)]
enum Stop {
    End(End),
    Failed(Error),
}

/// What the entries of a frame say, taken together.
pub(super) struct Summary {
    pub(super) first: SeqNo,
    pub(super) last: SeqNo,
    pub(super) rising: bool,
    pub(super) mark: Option<Mark>,
}

impl LogReader {
    /// A reader of Esker's log `id`, whose file is `map`.
    pub fn new(id: FileId, map: Arc<dyn Map>, promise: Promise) -> Self {
        let name = FileKind::Log.name(id).to_string();
        Self::with(name, map, Rules::Esker, id, promise)
    }

    /// A reader of a log that the `sst` crate wrote; `name` is for the messages.
    pub fn foreign(name: impl Into<String>, map: Arc<dyn Map>) -> Self {
        Self::with(name.into(), map, Rules::Foreign, FileId(0), Promise::default())
    }

    fn with(name: String, map: Arc<dyn Map>, rules: Rules, log: FileId, promise: Promise) -> Self {
        let resync = Resync::new(map.bytes().len());
        Self {
            name,
            map,
            rules,
            promise,
            identity: Identity { log, nonce: 0 },
            identified: false,
            previous: None,
            position: 0,
            last: SeqNo::ZERO,
            durable: 0,
            joined: Vec::new(),
            resync,
            stop: None,
        }
    }

    /// Where the last good frame ended.
    pub fn position(&self) -> u64 {
        to_u64(self.position)
    }

    /// The highest offset that a mark has promised so far. Above 0, all earlier logs are durable
    /// too: their [`Promise`] is then [`LogReader::previous`].
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The log before this one, as the first frame tells it. None before that was read, or if this
    /// is the first log of its database.
    pub fn previous(&self) -> Option<Previous> {
        self.previous
    }

    /// How the log ended; none before [`next`](LogReader::next) has returned none.
    pub fn end(&self) -> Option<End> {
        match &self.stop {
            Some(Stop::End(end)) => Some(*end),
            _ => None,
        }
    }

    /// The next frame; none at the end, of which [`end`](LogReader::end) then tells.
    ///
    /// Cost: one checksum and one decoding of the payload; a copy only if it is split.
    /// Errors: `Corruption`, and for ever: verify, restore or salvage.
    #[expect(clippy::should_implement_trait, reason = "frames borrow from the reader")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>> {
        match &self.stop {
            Some(Stop::End(_)) => return Ok(None),
            Some(Stop::Failed(error)) => return Err(error.clone()),
            None => {}
        }
        match self.step() {
            Ok(Ok((located, summary))) => Ok(Some(self.frame(&located, &summary))),
            Ok(Err(end)) => {
                self.stop = Some(Stop::End(end));
                Ok(None)
            }
            Err(error) => {
                self.stop = Some(Stop::Failed(error.clone()));
                Err(error)
            }
        }
    }

    /// After an error or a torn end: steps over the damage to the next frame that is whole and
    /// whose numbers are above those before. None if there is no more damage to step over.
    ///
    /// What follows may lack operations that lay in between: this is for repair, never for replay.
    pub fn salvage(&mut self) -> Option<Skipped> {
        if matches!(self.stop, None | Some(Stop::End(End::Clean { .. }))) {
            return None;
        }
        let map = self.map.clone();
        let bytes = map.bytes();
        let from = self.position;
        let mut next = from + 1;
        let to = loop {
            let Ok(Some(found)) = self.resync.next(bytes, next) else { break bytes.len() };
            let whole = self.summary(bytes, &found).is_ok_and(|summary| {
                let own = summary.mark.is_none_or(|mark| self.is_own(&mark, found.at));
                summary.rising && own
            });
            if whole {
                break found.at;
            }
            next = found.at + 1;
        };
        self.position = to;
        self.promise = Promise::default();
        self.durable = 0;
        self.stop = None;
        if to == bytes.len() {
            self.stop = Some(Stop::End(End::Clean { length: to_u64(to), last: self.last }));
        }
        Some(Skipped { from: to_u64(from), to: to_u64(to) })
    }

    fn frame(&self, located: &Located, summary: &Summary) -> Frame<'_> {
        let payload = match located.second {
            None => self.map.bytes().get(located.payload.clone()).unwrap_or_default(),
            Some(_) => &self.joined,
        };
        let payload_at = located.second.is_none().then(|| to_u64(located.payload.start));
        let (at, end) = (to_u64(located.at), to_u64(located.end));
        Frame { at, end, payload, payload_at, first: summary.first, last: summary.last }
    }

    fn step(&mut self) -> Result<Result<(Located, Summary), End>> {
        let map = self.map.clone();
        let bytes = map.bytes();
        let found = locate(bytes, self.position, self.rules);
        if self.promise.length == Some(self.position()) {
            return self.behind_the_promised_end(bytes, found).map(Err);
        }
        let located = match found {
            Ok(Some(located)) => located,
            Ok(None) => return self.clean_end().map(Err),
            Err(fault) => return self.fault(bytes, fault).map(Err),
        };
        let summary = self.summary(bytes, &located)?;
        if self.rules == Rules::Esker
            && let Err(fault) = self.admit(&located, &summary)?
        {
            return self.fault(bytes, fault).map(Err);
        }
        self.position = located.end;
        self.last = summary.last;
        Ok(Ok((located, summary)))
    }

    /// Takes a frame's mark into account, or says why the frame does not continue the log.
    fn admit(&mut self, located: &Located, summary: &Summary) -> Result<Result<(), Fault>> {
        let at = located.at;
        if let Some(length) = self.promise.length
            && to_u64(located.end) > length
        {
            return Ok(Err(Fault {
                at,
                want: format!("a frame that ends at or below byte {length}"),
                found: format!("one that ends at byte {}", located.end),
            }));
        }
        if !summary.rising {
            let want = format!("numbers that rise from {}", self.last);
            return Ok(Err(Fault { at, want, found: format!("number {}", summary.first) }));
        }
        if let Some(mark) = summary.mark
            && !self.is_own(&mark, at)
        {
            // The origin of a whole first frame is what names the log: files were swapped.
            let Identity { log, .. } = mark.identity;
            if self.position == 0 {
                return Err(self.damage(at, format!("a mark of log {}", self.identity.log), log));
            }
            let found = format!("one of log {log} at byte {}", mark.at);
            return Ok(Err(Fault { at, want: "a mark of this log and place".into(), found }));
        }
        let begins = self.position == 0;
        match summary.mark.map(|mark| (mark.says, mark.identity.nonce)) {
            Some((Says::Origin(previous), nonce)) if begins => {
                self.identified = true;
                self.identity.nonce = nonce;
                self.previous = previous;
            }
            Some((Says::Durable(offset), _)) if !begins && offset <= to_u64(at) => {
                self.durable = self.durable.max(offset);
            }
            None if !begins => {}
            _ => {
                let want = "an origin in the first frame and only there, promises below themselves";
                return Err(self.damage(at, want, "other marks"));
            }
        }
        if let Some(previous) = self.previous
            && summary.first <= previous.last
        {
            let want = format!("numbers above {}", previous.last);
            return Err(self.damage(at, want, summary.first));
        }
        Ok(Ok(()))
    }

    fn is_own(&self, mark: &Mark, at: usize) -> bool {
        let same_nonce = !self.identified || mark.identity.nonce == self.identity.nonce;
        mark.identity.log == self.identity.log && same_nonce && mark.at == to_u64(at)
    }

    /// Decodes all entries of a frame, joining its parts.
    fn summary(&mut self, bytes: &[u8], located: &Located) -> Result<Summary> {
        let payload = match &located.second {
            None => bytes.get(located.payload.clone()).unwrap_or_default(),
            Some(second) => {
                self.joined.clear();
                for part in [&located.payload, second] {
                    let part = bytes.get(part.clone()).unwrap_or_default();
                    self.joined.extend_from_slice(part);
                }
                &self.joined
            }
        };
        let summed = summarize(payload, self.last, self.rules);
        summed.map_err(|bad| {
            let found = format!("{} at byte {} of its payload", bad.found, bad.offset);
            self.damage(located.at, bad.want, found)
        })
    }

    fn damage(
        &self,
        at: usize,
        want: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Error {
        Error::corruption(&self.name, to_u64(at), want, found)
    }

    fn promised(&self) -> u64 {
        self.promise.length.unwrap_or(0).max(self.durable)
    }

    fn clean_end(&self) -> Result<End> {
        let promised = self.promised();
        if self.position() < promised {
            let want = format!("frames up to byte {promised}, as promised");
            return Err(self.damage(self.position, want, "the end of the log"));
        }
        Ok(End::Clean { length: self.position(), last: self.last })
    }

    /// Judges a bad frame: damage if it was promised, else the end.
    fn fault(&mut self, bytes: &[u8], fault: Fault) -> Result<End> {
        let at = self.position;
        let bad = self.damage(fault.at, fault.want, fault.found);
        if self.rules == Rules::Foreign || to_u64(at) < self.promised() {
            return Err(bad);
        }
        if let Some((mark_at, durable)) = self.later_mark(bytes, at)? {
            let why = format!("the mark at byte {mark_at} promises all below byte {durable}");
            return Err(bad.context(why));
        }
        Ok(self.torn(bytes))
    }

    fn torn(&self, bytes: &[u8]) -> End {
        let rest = bytes.get(self.position..).unwrap_or_default();
        let dropped = rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        End::Torn { at: self.position(), dropped: to_u64(dropped), last: self.last }
    }

    /// The first mark behind `bad` that promised bytes beyond it (F-34).
    fn later_mark(&mut self, bytes: &[u8], bad: usize) -> Result<Option<(usize, u64)>> {
        let mut next = bad + 1;
        loop {
            let found = match self.resync.next(bytes, next) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(None),
                Err(at) => return Err(self.damage(at, "frames", "too much that looks like one")),
            };
            next = found.end;
            let mark = self.summary(bytes, &found).ok().filter(|summary| summary.rising);
            if let Some(mark) = mark.and_then(|summary| summary.mark)
                && let Says::Durable(durable) = mark.says
                && self.is_own(&mark, found.at)
                && durable > to_u64(bad)
            {
                return Ok(Some((found.at, durable)));
            }
        }
    }

    /// All that was promised has been read.
    fn behind_the_promised_end(
        &mut self,
        bytes: &[u8],
        found: std::result::Result<Option<Located>, Fault>,
    ) -> Result<End> {
        let at = self.position;
        if let Some(last) = self.promise.last
            && last != self.last
        {
            return Err(self.damage(at, format!("number {last} as the last"), self.last));
        }
        if let Ok(Some(located)) = found
            && self.summary(bytes, &located).is_ok_and(|summary| summary.rising)
        {
            return Err(self.damage(at, "the end of the log, as promised", "another frame"));
        }
        if is_zero(bytes.get(at..).unwrap_or_default()) {
            return Ok(End::Clean { length: self.position(), last: self.last });
        }
        Ok(self.torn(bytes))
    }
}

/// Decodes all entries of a payload; their numbers rise if they do so from `after`.
pub(super) fn summarize(payload: &[u8], after: SeqNo, rules: Rules) -> Result<Summary, Bad> {
    let mut summary = Summary { first: SeqNo::ZERO, last: after, rising: true, mark: None };
    let mut entries = Entries::new(payload);
    loop {
        let offset = entries.offset();
        let Some(entry) = entries.next().transpose()? else { return Ok(summary) };
        if offset == 0 {
            summary.first = entry.seq;
        }
        summary.rising &= entry.seq > summary.last;
        summary.last = entry.seq;
        if rules == Rules::Foreign {
            continue;
        }
        let bad = |want, found| Bad { offset, want, found };
        let full = |key: &[u8]| key.len() >= CollectionId::BYTES;
        if !full(entry.key) || (entry.kind == Kind::RangeDelete && !full(entry.value)) {
            return Err(bad("a full key, with its collection", "a shorter one".into()));
        }
        if entry.seq > SeqNo::MAX {
            return Err(bad("a number of at most 56 bits", entry.seq.to_string()));
        }
        if is_mark(entry.key) {
            let mark = Mark::decode(&entry);
            summary.mark = Some(mark.ok_or_else(|| bad("a mark of version 1", "another".into()))?);
        }
    }
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "tests know their numbers")]
mod tests;
