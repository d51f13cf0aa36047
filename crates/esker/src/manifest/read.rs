//! Reading manifests: which one wins, what is torn, what is damage.
//!
//! ```text
//!  newest first:   incomplete ─▶ next older      complete ─▶ it wins       damaged ─▶ error
//!  in it:          t1 end 1 │ t2 end 2 │ t3 …                a tail without a valid `end`:
//!                                       └ torn, if it is cut or has zeros in it, and no other
//!                                         transaction follows; anything else is damage
//! ```
//!
//! 1. Nothing is written. Memory: the file, and what it describes.
//! 2. A transaction counts when every line of it fits the chain, its `end` has the next ordinal,
//!    and its edit can be applied.
//! 3. A flipped bit in the last transaction is damage too: a tear leaves a cut or zeros, a flip
//!    leaves neither. Only a flip that makes a single zero byte beside a sector border is taken for
//!    a tear; what its edit named is then found missing, or was not needed yet.
//! 4. Whoever opens for writing first makes sure that every file named is there, and only then
//!    removes what is not named: the other order would turn a damaged manifest into lost data.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::edit::{Balance, Closed, Dead, Edit, Whole};
use super::line::{Chain, Mismatch, canonical, claims_end};
use super::state::State;
use crate::base::coding::to_u64;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::FileId;
use crate::base::setsum::Setsum;
use crate::blob::BlobMeta;
use crate::env::names::{FileKind, FileName};
use crate::env::{Access, Env, Listed, Map, path_in, read_whole};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The major version of the format.
pub(super) const VERSION: u64 = 1;
/// What a header begins with.
pub(super) const HEADER: &str = "esker manifest";
/// What an end begins with.
pub(super) const END: &str = "end ";

const SECTOR_BYTES: usize = 512;

/// What was read, and what was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReport {
    /// The manifest that won.
    pub file: FileId,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whole transactions in it.
    pub transactions: u64,
    /// Where its torn tail begins; its length if there is none.
    pub torn_at: u64,
    /// Bytes of a torn last transaction, which was never acknowledged and is dropped.
    pub torn_bytes: u64,
    /// Other manifests, older or incomplete: to be removed once a newer complete one is durable.
    pub others: Vec<FileId>,
}

/// One transaction of a manifest.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Counted from 1.
    pub ordinal: u64,
    /// Where it begins in the file.
    pub at: u64,
    /// Its lines as they are.
    pub text: &'a str,
    /// What it changes; for the first one of a file, everything.
    pub edit: &'a Edit,
    /// What is live after it.
    pub state: &'a State,
}

/// What one file holds.
struct Replayed {
    /// None if its first transaction is not whole.
    state: Option<State>,
    transactions: u64,
    /// Where the last whole transaction ends.
    whole: usize,
}

/// The winning manifest, with its bytes.
struct Found {
    file: FileId,
    map: Arc<dyn Map>,
    replayed: Replayed,
    others: Vec<FileId>,
}

/// A number above that of every file of a database in `names`: safe for the next file, also where
/// there is no database yet but a torn attempt to create one.
///
/// Errors: `Corruption` at the highest number there is.
pub fn next_file(names: &[Listed]) -> Result<FileId> {
    let Some(highest) = parsed(names).map(|name| name.id).max() else { return Ok(FileId(1)) };
    let next = highest.0.checked_add(1).map(FileId);
    next.ok_or_else(|| Error::corruption(highest, 0, "a file number below the highest", highest))
}

/// Reads the manifest that wins. See [`Store::read`](super::Store::read).
pub(super) fn read(
    env: &Arc<dyn Env>,
    dir: &Path,
    names: &[Listed],
) -> Result<Option<(State, ReadReport)>> {
    let Some(Found { file, map, replayed, others }) = find(env, dir, names)? else {
        return Ok(None);
    };
    let Some(mut state) = replayed.state else { return Ok(None) };
    // Also above strays of a crash: their numbers are burnt (F-11).
    state.next_file = state.next_file.max(next_file(names)?);
    let (bytes, torn_at) = (to_u64(map.bytes().len()), to_u64(replayed.whole));
    let torn_bytes = bytes.saturating_sub(torn_at);
    let transactions = replayed.transactions;
    Ok(Some((state, ReadReport { file, bytes, transactions, torn_at, torn_bytes, others })))
}

/// Reads a manifest that must be whole. See [`Store::decode`](super::Store::decode).
pub(super) fn decode(file: FileId, bytes: &[u8]) -> Result<State> {
    let Replayed { state, whole, .. } = replay(file, bytes, &mut |_| {})?;
    state.filter(|_| whole == bytes.len()).ok_or_else(|| {
        let (name, at) = (FileKind::Manifest.name(file), to_u64(whole));
        Error::corruption(name, at, "a complete manifest", "a cut one")
    })
}

/// Calls `each` for every transaction of the manifest that wins, from the first, checking the chain
/// of balances on the way; then says what was read. None if there is no database.
///
/// Errors: those of [`Store::read`](super::Store::read), after the transactions before the damage.
pub fn audit(
    env: &Arc<dyn Env>,
    dir: &Path,
    names: &[Listed],
    each: &mut dyn FnMut(&Step<'_>),
) -> Result<Option<ReadReport>> {
    // The highest may be the damaged one: show what it has before the error.
    for file in manifests(names) {
        let map = load(env, dir, file)?;
        if replay(file, map.bytes(), each)?.state.is_some() {
            break;
        }
    }
    Ok(read(env, dir, names)?.map(|(_, report)| report))
}

/// The manifest that wins as lines for a person: its file, then each transaction with its meaning.
///
/// Errors: those of [`audit`]; [`audit`] itself shows the transactions before the damage.
pub fn describe(env: &Arc<dyn Env>, dir: &Path, names: &[Listed]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut each = |step: &Step<'_>| lines.extend(step.to_string().lines().map(str::to_owned));
    let Some(report) = audit(env, dir, names, &mut each)? else {
        let message = format!("{}: no database", dir.display());
        return Err(Error::new(ErrorKind::NotFound, message));
    };
    let ReadReport { file, bytes, transactions, torn_at, torn_bytes, .. } = report;
    let name = FileKind::Manifest.name(file);
    lines.insert(0, format!("{name}: {bytes} bytes, {transactions} transactions"));
    if torn_bytes > 0 {
        lines.push(format!("torn tail at byte {torn_at}: {torn_bytes} bytes, never acknowledged"));
    }
    Ok(lines)
}

/// Manifests among `names`, the highest first. Links and folders are not ours (F-41).
fn manifests(names: &[Listed]) -> Vec<FileId> {
    let files = names.iter().filter(|listed| listed.is_file);
    let parsed = files.filter_map(|listed| FileName::parse(&listed.name));
    let manifests = parsed.filter(|name| name.kind == FileKind::Manifest);
    let mut ids: Vec<_> = manifests.map(|name| name.id).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

fn parsed(names: &[Listed]) -> impl Iterator<Item = FileName> {
    names.iter().filter_map(|listed| FileName::parse(&listed.name))
}

fn load(env: &Arc<dyn Env>, dir: &Path, id: FileId) -> Result<Arc<dyn Map>> {
    let name = FileKind::Manifest.name(id);
    env.open(&path_in(dir, name))
        .and_then(|file| read_whole(&*file, Access::Positioned))
        .map_err(|error| Error::io(format!("read {name}"), error))
}

fn find(env: &Arc<dyn Env>, dir: &Path, names: &[Listed]) -> Result<Option<Found>> {
    let ids = manifests(names);
    let mut incomplete = None;
    for &file in &ids {
        let map = load(env, dir, file)?;
        let replayed = replay(file, map.bytes(), &mut |_| {})?;
        if replayed.state.is_some() {
            let others = ids.iter().copied().filter(|id| *id != file).collect();
            return Ok(Some(Found { file, map, replayed, others }));
        }
        incomplete = incomplete.or(Some((file, map.bytes().len())));
    }
    let Some(other) = parsed(names).find(|name| name.kind != FileKind::Manifest) else {
        return Ok(None);
    };
    let found = format!("none, and {other}");
    Err(match incomplete {
        Some((file, bytes)) => {
            let (name, at) = (FileKind::Manifest.name(file), to_u64(bytes));
            Error::corruption(name, at, "the end of a complete manifest", found)
        }
        None => Error::corruption(dir.display(), 0, "a manifest", found),
    })
}

/// Walks one file.
struct Replay<'a> {
    name: FileName,
    bytes: &'a [u8],
    chain: Chain,
    /// Where the transaction begins that is being read.
    begun: usize,
    lines: Vec<(usize, &'a str)>,
    state: Option<State>,
    transactions: u64,
}

fn replay(file: FileId, bytes: &[u8], each: &mut dyn FnMut(&Step<'_>)) -> Result<Replayed> {
    let mut replay = Replay {
        name: FileKind::Manifest.name(file),
        bytes,
        chain: Chain::new(file),
        begun: 0,
        lines: Vec::new(),
        state: None,
        transactions: 0,
    };
    let mut at = 0;
    while let Some(line) = line_at(bytes, at) {
        match replay.chain.check(line) {
            Ok(text) => {
                let next = at.saturating_add(line.len()).saturating_add(1);
                replay.take(at, next, text, each)?;
                at = next;
            }
            Err(mismatch) => {
                replay.check_torn(at, Some(mismatch))?;
                return Ok(replay.done());
            }
        }
    }
    replay.check_torn(at, None)?;
    Ok(replay.done())
}

impl<'a> Replay<'a> {
    fn done(self) -> Replayed {
        let Self { state, transactions, begun, .. } = self;
        Replayed { state, transactions, whole: begun }
    }

    /// Takes in a line that fits the chain.
    fn take(
        &mut self,
        at: usize,
        next: usize,
        text: &'a str,
        each: &mut dyn FnMut(&Step<'_>),
    ) -> Result<()> {
        if at == 0 {
            return self.check_header(text);
        }
        let Some(ordinal) = text.strip_prefix(END) else {
            self.lines.push((at, text));
            return Ok(());
        };
        let expected = self.transactions.saturating_add(1);
        if canonical(ordinal) != Some(expected) {
            let want = format!("{END}{expected}");
            return Err(Error::corruption(self.name, to_u64(at), want, text));
        }
        let edit = self.finish()?;
        self.transactions = expected;
        let text = self.bytes.get(self.begun..next).unwrap_or_default();
        if let (Some(state), Ok(text)) = (&self.state, std::str::from_utf8(text)) {
            let at = to_u64(self.begun);
            each(&Step { ordinal: expected, at, text, edit: &edit, state });
        }
        self.begun = next;
        Ok(())
    }

    /// Parses the lines of a whole transaction and applies it.
    fn finish(&mut self) -> Result<Edit> {
        let (mut edit, mut whole) = (Edit::default(), Whole::default());
        for (at, text) in self.lines.drain(..) {
            let place = format!("{} at byte {at}", self.name);
            edit.take(text, &mut whole).map_err(|error| error.context(place))?;
        }
        // Taken, so that nothing is copied: after an error nobody asks for it.
        let applied = match self.state.take() {
            None => State::restore(&edit, &whole),
            Some(state) => {
                edit.add_log = whole.logs.pop();
                if whole == Whole::default() {
                    state.with(&edit)
                } else {
                    let message = "words of a first transaction in a later one";
                    Err(Error::new(ErrorKind::Corruption, message))
                }
            }
        };
        let place = format!("{} at byte {}", self.name, self.begun);
        self.state = Some(applied.map_err(|error| error.context(place))?);
        Ok(edit)
    }

    fn check_header(&self, text: &str) -> Result<()> {
        let want = format!("{HEADER} {VERSION} {}", self.name.id);
        if text == want {
            return Ok(());
        }
        let rest = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix(' '));
        let version = rest.and_then(|rest| canonical::<u64>(rest.split(' ').next()?));
        match version {
            Some(version) if version != VERSION => {
                let message = format!("{}: format version {version}, want {VERSION}", self.name);
                Err(Error::new(ErrorKind::Unsupported, message))
            }
            _ => Err(Error::corruption(self.name, 0, want, text)),
        }
    }

    /// Whether what lies behind the last whole transaction is a tear. `bad` is what is wrong with
    /// the line at `at`, if one is; without, the file ends there, perhaps within a line.
    ///
    /// Errors: `Corruption` if it is not.
    fn check_torn(&self, at: usize, bad: Option<Mismatch>) -> Result<()> {
        let damage = |at: usize, want: &str, found: &str| {
            Err(Error::corruption(self.name, to_u64(at), want, found))
        };
        // A line feed turned into another byte looks like a cut, but the line before it fits. Only
        // if it was alone in its sector the write of it may be what was lost.
        let piece = self.bytes.get(at..).unwrap_or_default();
        if let (None, Some((odd, line))) = (&bad, piece.split_last())
            && self.chain.clone().check(line).is_ok()
        {
            let at = at.saturating_add(line.len());
            if *odd != 0 || !at.is_multiple_of(SECTOR_BYTES) {
                return damage(at, "a line feed", &[*odd].escape_ascii().to_string());
            }
        }
        let expected = self.transactions.saturating_add(1);
        let mut from = at;
        while let Some(line) = line_at(self.bytes, from) {
            let next = from.saturating_add(line.len()).saturating_add(1);
            match claims_end(line) {
                Some(ordinal) if ordinal != expected || next < self.bytes.len() => {
                    let found = format!("damage, and {END}{ordinal} at byte {from}");
                    return damage(at, "the lines before another transaction", &found);
                }
                _ => from = next,
            }
        }
        match bad {
            Some(Mismatch { want, found }) if !has_hole(self.bytes, self.begun) => {
                damage(at, &want, &found)
            }
            _ => Ok(()),
        }
    }
}

/// The line that begins at `at`, without its line feed; none if there is no line feed.
fn line_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let len = rest.iter().position(|&byte| byte == b'\n')?;
    rest.get(..len)
}

/// Whether zeros lie behind `from` as a lost write leaves them: several in a row, or up to a border
/// of a sector, of the write or of the file.
fn has_hole(bytes: &[u8], from: usize) -> bool {
    let mut at = from;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&b| b == 0)) {
        let start = at.saturating_add(found);
        let zeros = bytes.iter().skip(start).take_while(|&&byte| byte == 0).count();
        let end = start.saturating_add(zeros);
        let border = |at: usize| at.is_multiple_of(SECTOR_BYTES) || at == from || at == bytes.len();
        if zeros > 1 || border(start) || border(end) {
            return true;
        }
        at = end;
    }
    false
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

impl Step<'_> {
    fn show_blobs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Edit { add_blobs, remove_blobs, dead, .. } = self.edit;
        for id in remove_blobs {
            writeln!(f, "  removed  {}", FileKind::Blob.name(*id))?;
        }
        for meta in add_blobs {
            let BlobMeta { id, bytes, values, stored_bytes, intervals, .. } = meta;
            let name = FileKind::Blob.name(*id);
            write!(f, "  added    {name}: {values} values of {stored_bytes} bytes, {bytes} bytes")?;
            if let (Some((first, _)), Some((_, last))) = (intervals.first(), intervals.last()) {
                write!(f, ", addresses {first} to {last}")?;
            }
            writeln!(f, " in {}", counted(intervals.len(), "interval"))?;
        }
        for Dead { file, bytes, addresses } in dead {
            let (name, values) = (FileKind::Blob.name(*file), counted(addresses.len(), "value"));
            write!(f, "  died     {values} of {bytes} bytes in {name}")?;
            match self.state.blobs.get(*file) {
                Some(blob) => writeln!(f, ", {} of {} live", blob.live_values(), blob.meta.values)?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step<'_> {
    /// What the transaction means, for a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Edit { add, remove, .. } = self.edit;
        let why = match &self.edit.balance {
            _ if self.ordinal == 1 => "everything".to_owned(),
            Some(balance) => balance.reason.to_string(),
            None => "numbers".to_owned(),
        };
        writeln!(f, "transaction {} at byte {}: {why}", self.ordinal, self.at)?;
        for id in remove {
            writeln!(f, "  removed  {}", FileKind::Segment.name(*id))?;
        }
        for placed in add {
            let meta = &placed.meta;
            writeln!(
                f,
                "  added    {}: level {}, run {}, {} entries ({} deletes), {} bytes, numbers {} to \
                 {}, keys \"{}\" to \"{}\"",
                FileKind::Segment.name(meta.id),
                placed.level,
                placed.run,
                meta.entries,
                meta.deletes,
                meta.bytes,
                meta.seq_min,
                meta.seq_max,
                meta.smallest.escape_ascii(),
                meta.largest.escape_ascii(),
            )?;
        }
        self.show_blobs(f)?;
        if let Some(balance) = &self.edit.balance {
            let Balance { input, output, dropped, created, .. } = balance;
            let created = match *created {
                Setsum::ZERO => String::new(),
                created => format!(" - created {created}"),
            };
            writeln!(f, "  balance  in {input} = out {output} + dropped {dropped}{created}")?;
        }
        if let Some(closed) = &self.edit.closed {
            let (log, length, last) = (FileKind::Log.name(closed.log), closed.length, closed.last);
            writeln!(f, "  closed   {log} ends at byte {length} with number {last}")?;
        }
        for Closed { log, length, last } in &self.edit.keep {
            let name = FileKind::Kept.name(*log);
            writeln!(f, "  kept     {name}, {length} bytes of changes up to number {last}")?;
        }
        if let Some(gone) = self.edit.forget {
            writeln!(f, "  forgot   changes up to number {gone}")?;
        }
        let State { runs, log_min, flushed, next_file, .. } = self.state;
        let segments = self.state.segments().count();
        writeln!(
            f,
            "  now      {segments} segments in {} runs, total {}",
            runs.len(),
            self.state.total()
        )?;
        if !self.state.blobs.is_empty() {
            let (mut live, mut stored) = (0_u64, 0_u64);
            for blob in self.state.blobs.iter() {
                live = live.saturating_add(blob.live_bytes());
                stored = stored.saturating_add(blob.meta.stored_bytes);
            }
            let files = counted(self.state.blobs.len(), "blob file");
            writeln!(f, "           {files}, {live} of {stored} stored bytes live")?;
        }
        write!(f, "           flushed {flushed}, logs from {log_min}, next file {next_file}")
    }
}

#[cfg(test)]
pub(super) mod tests;
