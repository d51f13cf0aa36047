//! The change feed: what was committed, batch by batch, from a number on.
//!
//! ```text
//!   number  … gone │ kept-4 │ a bulk │ kept-7 │ log-9 │ log-12 ···│···
//!                  │        │        │        │       │           └ not synced yet: waited for
//!                  ▲ held from here on               ▲ next
//! ```
//!
//! 1. Every change from the first number on is given once, in order, or there is an error in its place:
//!    none is ever skipped. A jump in the numbers, as after a crash, is none.
//! 2. Only what is durable is given: nothing that was given is ever taken back (F-15).
//! 3. What is written past the log lies between two logs, and is in the manifest before anything behind
//!    it is visible. So what lies before a log is known once anything in that log is durable.
//! 4. A feed holds no log back. The file that it reads it can finish, whatever becomes of its name.
//! 5. The write path knows nothing of it: a feed waits for syncs and flushes to tell that more is
//!    durable.
//!
//! Lock order: the ledger, then the commit path's front. Neither is held while a log is read.

use super::change::{Change, Names, change_of};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::id::SeqNo;
use crate::db::Db;
use crate::db::collections::records::each_record;
use crate::db::core::Core;
use crate::env::names::{FileKind, FileName};
use crate::env::{Gate, path_in};
use crate::log::follow::Follower;
use crate::log::writer::LogFile;
use crate::manifest::{Closed, Held};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// What was committed, batch by batch, from a number on; see [`Db::changes`].
///
/// As an iterator it waits for more, and ends when the database was closed and all was given.
/// [`Changes::try_next`] does not wait, [`Changes::next_timeout`] not for long. It keeps no database
/// open. One that met an error stays at that error.
pub struct Changes {
    core: Arc<Core>,
    /// Everything below was given, or was not asked for.
    next: SeqNo,
    open: Option<Open>,
    /// What collections are called; none before the number that was asked for is reached.
    names: Option<Names>,
    failed: Option<Error>,
}

/// The log that is read.
struct Open {
    follower: Follower,
    end: LogEnd,
}

/// Where a log ends.
#[derive(Clone)]
enum LogEnd {
    /// There; all of it is durable.
    Known(Closed),
    /// It may grow, or was written by this process and is not flushed.
    Live(Arc<LogFile>),
}

/// Where a number is to be looked for.
enum Place {
    /// Nothing that is durable has it, or a higher one.
    Nowhere,
    Bulk(SeqNo, SeqNo),
    Log(Open),
}

/// What a database that is only read can give.
#[derive(Debug, Default)]
pub(in crate::db) struct Still {
    pub(in crate::db) held: Held,
    /// Logs that are not flushed, if they are known to be durable.
    pub(in crate::db) earlier: Vec<Closed>,
    /// Everything up to here is known to be durable.
    pub(in crate::db) durable: SeqNo,
}

impl Db {
    /// Follows what is committed, from number `from` on: each batch once, in order, over rotations of
    /// the log, flushes and reopenings, as far as logs are held.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// use esker::{Action, Change};
    /// let db = esker::Db::options().keep_logs(64 << 20).open(folder.path())?;
    /// let users = db.collection("users")?;
    /// let mut changes = db.changes(db.snapshot().sequence() + 1)?;
    /// users.insert("alice", "1")?;
    /// db.sync()?;
    /// let Some(Change::Batch { operations, .. }) = changes.try_next()? else { panic!() };
    /// assert_eq!(operations[0].path.as_deref(), Some("users"));
    /// assert!(matches!(&operations[0].action, Action::Put { value, .. } if *value == *b"1"));
    /// # Ok::<(), esker::Error>(())
    /// ```
    ///
    /// **A batch is never split**: a number inside one gives all of it. A number above the present is
    /// waited for. To follow a copy, go on from the number behind that of the copy
    /// ([`CheckpointReport::sequence`](crate::CheckpointReport::sequence)) or of a snapshot that was
    /// read ([`Snapshot::sequence`](crate::Snapshot::sequence)), and keep [`Changes::position`].
    ///
    /// **Only what is durable is given**, so a feed never shows what a power loss takes back: it lags by
    /// up to [`sync_interval`](crate::Options::sync_interval) behind buffered writes, and [`Db::sync`]
    /// makes it current. In a database that is only read, and was not closed well, nothing is given
    /// that is not in segments.
    ///
    /// **What is held**: logs that are not flushed, and those that
    /// [`keep_logs`](crate::Options::keep_logs) keeps. A feed holds none back: one that falls behind
    /// gets an error. Ingests and reverts pass the log: they are told as [`Change::Bulk`].
    ///
    /// Cost: the log in which `from` lies is read from its beginning; then each byte of a log once.
    /// Memory: 2 MiB, or twice the batch. Errors, here and later: `NotFound` if changes from `from` on
    /// are not held any more: it names the first number that is; copy the database anew, or keep more
    /// logs. `Corruption` naming file and offset; `Unsupported`; `Io`; `ReadOnly` once a write or sync
    /// has failed and all before it was given.
    pub fn changes(&self, from: u64) -> Result<Changes> {
        let core = self.handle.core.clone();
        core.check_open()?;
        let next = SeqNo(from.clamp(1, SeqNo::MAX.0));
        core.with_logs(|held, _| check_held(held, next))?;
        let before = SeqNo(next.0 - 1);
        let is_reached = before <= core.visible();
        let names = is_reached.then(|| names_at(&core, before)).transpose()?;
        Ok(Changes { core, next, open: None, names, failed: None })
    }

    /// The numbers of the changes that are held and durable: from the first that a feed can begin with
    /// up to the next that will be. Cost: two short locks.
    pub fn changes_held(&self) -> Result<Range<u64>> {
        let core = self.core();
        core.check_open()?;
        let durable = core.durable();
        let start = core.with_logs(|held, _| held.gone.next());
        // An open that was cut short may have forgotten what it did not come to flush.
        Ok(start.0..durable.next().max(start).0)
    }
}

impl Changes {
    /// The next change, if one is there now. None also once the database is closed.
    ///
    /// Errors: as of [`Db::changes`].
    pub fn try_next(&mut self) -> Result<Option<Change>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        // Looked at first: what became durable before it failed is given.
        let writing = self.core.writing.as_ref();
        let lives = writing.map_or(Ok(()), |writing| writing.committer.poison().refuse());
        let found = self.step().and_then(|found| match found {
            None => lives.map(|()| None),
            found => Ok(found),
        });
        self.failed = found.as_ref().err().cloned();
        found
    }

    /// The next change; none if there is none for so long, or the database is closed.
    ///
    /// Errors: as of [`Db::changes`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Change>> {
        let core = self.core.clone();
        let end = core.env.now().saturating_add(timeout);
        self.wait_with(|gate, more| {
            let left = end.saturating_sub(core.env.now());
            gate.wait_for(&*core.env, left, more)
        })
    }

    /// The number to go on from: everything below was given, or was below the number that was asked
    /// for.
    pub fn position(&self) -> u64 {
        self.next.0
    }

    /// Gives the next change; while there is none, and may be one, has `wait` wait for more.
    fn wait_with(
        &mut self,
        mut wait: impl FnMut(&Gate, &dyn Fn() -> bool) -> bool,
    ) -> Result<Option<Change>> {
        loop {
            let core = self.core.clone();
            let (seen, is_over) = (core.durable(), core.is_over());
            if let Some(change) = self.try_next()? {
                return Ok(Some(change));
            }
            let Some(writing) = core.writing.as_ref().filter(|_| !is_over) else { return Ok(None) };
            let committer = &writing.committer;
            let more =
                || committer.durable() != seen || core.is_over() || committer.poison().is_set();
            if !wait(committer.durable_moved(), &more) {
                return Ok(None);
            }
        }
    }

    fn step(&mut self) -> Result<Option<Change>> {
        loop {
            let Some(open) = &mut self.open else {
                match self.core.place(self.next)? {
                    Place::Nowhere => return Ok(None),
                    Place::Log(open) => self.open = Some(open),
                    Place::Bulk(first, last) => {
                        self.names = Some(names_at(&self.core, last)?);
                        self.next = last.next();
                        return Ok(Some(Change::Bulk { first: first.0, last: last.0 }));
                    }
                }
                continue;
            };
            let name = open.follower.name();
            let Some(frame) = open.follower.next(open.end.durable(&self.core))? else {
                match open.end.whole() {
                    Some(end) if open.follower.position() == end.length => {
                        open.follower.check_last(end.last)?;
                        self.next = self.next.max(end.last.next());
                        self.open = None;
                        continue;
                    }
                    _ => return Ok(None),
                }
            };
            if frame.last < self.next {
                continue;
            }
            let names = match &mut self.names {
                Some(names) => names,
                none => none.insert(names_at(&self.core, SeqNo(self.next.0 - 1))?),
            };
            let change = change_of(name, &frame, names)?;
            self.next = frame.last.next();
            if change.is_some() {
                return Ok(change);
            }
        }
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    /// Waits for the next change; none once the database is closed and all was given, or at the end of
    /// one that is only read.
    fn next(&mut self) -> Option<Result<Change>> {
        let core = self.core.clone();
        let found = self.wait_with(|gate, more| {
            gate.wait_until(&*core.env, more);
            true
        });
        found.transpose()
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("position", &self.next.0).finish_non_exhaustive()
    }
}

impl LogEnd {
    /// All below this offset is durable.
    fn durable(&self, core: &Core) -> u64 {
        match (self, &core.writing) {
            (Self::Known(end), _) => end.length,
            (Self::Live(log), Some(writing)) => writing.committer.durable_end(log),
            (Self::Live(_), None) => 0,
        }
    }

    /// Where it ends for good, if that is known.
    fn whole(&self) -> Option<Closed> {
        match self {
            Self::Known(end) => Some(*end),
            Self::Live(log) => {
                let id = log.name().id;
                log.ended().map(|(length, last)| Closed { log: id, length, last })
            }
        }
    }
}

/// A log that is held: its file, where it ends, and the last number in it so far.
type HeldLog = (FileName, LogEnd, SeqNo);

impl Core {
    /// Everything up to here is on disk.
    fn durable(&self) -> SeqNo {
        self.writing.as_ref().map_or(self.still.durable, |writing| writing.committer.durable())
    }

    /// Whether nothing more will come.
    fn is_over(&self) -> bool {
        self.writing.is_none() || self.ended.load(SeqCst)
    }

    /// Says, once it is closed, that nothing more will come.
    pub(in crate::db) fn end_feeds(&self) {
        self.ended.store(true, SeqCst);
        if let Some(writing) = &self.writing {
            writing.committer.durable_moved().open();
        }
    }

    /// The logs that are kept.
    pub(in crate::db) fn kept_logs(&self) -> Vec<Closed> {
        self.with_logs(|held, _| held.logs.clone())
    }

    /// Shows what is held at one moment, and the logs in order. Their files keep their names meanwhile.
    fn with_logs<T>(&self, look: impl FnOnce(&Held, Vec<HeldLog>) -> T) -> T {
        let known = |kind: FileKind| {
            move |end: &Closed| (kind.name(end.log), LogEnd::Known(*end), end.last)
        };
        let (kept, live) = (known(FileKind::Kept), known(FileKind::Log));
        let Some(writing) = &self.writing else {
            let Still { held, earlier, .. } = &self.still;
            let logs = held.logs.iter().map(kept).chain(earlier.iter().map(live));
            return look(held, logs.collect());
        };
        let ledger = writing.ledger.lock();
        let state = ledger.state();
        let earlier = writing.earlier.iter().filter(|end| state.logs.contains(&end.log));
        let own = writing.committer.live_logs().into_iter();
        let own = own.map(|(log, last)| (log.name(), LogEnd::Live(log), last));
        let logs = state.held.logs.iter().map(kept).chain(earlier.map(live)).chain(own);
        look(&state.held, logs.collect())
    }

    /// Where the change is that has number `next`, or else the first above it.
    ///
    /// Errors: `NotFound` if it is not held any more.
    fn place(&self, next: SeqNo) -> Result<Place> {
        let durable = self.durable();
        self.with_logs(|held, logs| {
            check_held(held, next)?;
            let log = logs.into_iter().find(|(_, _, last)| *last >= next);
            // Its own numbers are all above a bulk that is below its last.
            let log = log.filter(|(_, end, _)| end.durable(self) > 0);
            let bulk = held.bulks.iter().find(|(_, last)| *last >= next);
            let bulk = bulk.filter(|(_, last)| log.as_ref().is_none_or(|log| *last < log.2));
            if let Some((first, last)) = bulk {
                // What is recorded is shown a moment later.
                let is_shown = *last <= durable;
                return Ok(match is_shown {
                    true => Place::Bulk(next.max(*first), *last),
                    false => Place::Nowhere,
                });
            }
            let Some((name, end, _)) = log else { return Ok(Place::Nowhere) };
            match self.env.open(&path_in(&self.dir, name)) {
                Ok(file) => {
                    let follower = Follower::new(name, name.id, file);
                    Ok(Place::Log(Open { follower, end }))
                }
                // Whoever has opened the database since may have removed it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.is_over() => {
                    Ok(Place::Nowhere)
                }
                Err(error) => Err(Follower::cannot_open(name, error)),
            }
        })
    }
}

fn check_held(held: &Held, next: SeqNo) -> Result<()> {
    if next > held.gone {
        return Ok(());
    }
    let message = format!(
        "changes from number {next} on are not held any more: want a number from {} on; copy the \
         database anew and follow the copy from there, or open with more keep_logs",
        held.gone.next()
    );
    Err(Error::new(ErrorKind::NotFound, message))
}

/// What collections were called at that moment, as far as that can still be known.
///
/// A flush or a compaction that has seen what is newer may have dropped what was true then, and have left
/// what is older. So beside one, only what was not written since is known.
fn names_at(core: &Core, at: SeqNo) -> Result<Names> {
    let view = core.views.load_full();
    let is_all_there = view.version.segments().all(|segment| segment.meta().seq_max <= at);
    let mut names = Names::default();
    let moment = if is_all_there { at } else { SeqNo::MAX };
    each_record(&view, moment, |key, value, seq| match seq <= at {
        true => names.load(key, value),
        false => Ok(()),
    })?;
    Ok(names)
}
